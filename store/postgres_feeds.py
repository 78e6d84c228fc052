"""Live feeds in Postgres."""

from collections.abc import Sequence

from store.feeds import NEWEST_OF_EDGE, Followed, Missed, Saved, Swept
from store.postgres_graph import Fetch


class PostgresFeeds:
    """See ``store.feeds.Feeds``; an attribute of ``PostgresStore``, which lends it its ``fetch``."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def followed(self, readers: Sequence[int]) -> tuple[int, dict[int, Followed]]:
        found = await self._fetch(_FOLLOWED, readers)
        return found[0][0], {values[1]: Followed(*values[2:]) for values in found if values[1] is not None}

    async def swept(self, readers: Sequence[int], *, since: int, limit: int) -> Swept:
        found = await self._fetch(_SWEPT, readers, since, limit)
        horizon, now_ms = next(values[1:3] for values in found if values[0] == "horizon")
        posts = sorted((values[4], values[1:4]) for values in found if values[0] == "post")
        more = len(posts) >= limit
        return Swept(
            [Saved(*saved) for _, saved in posts],
            posts[-1][0] + 1 if more else max(since, horizon),
            more,
            {values[1]: values[2] for values in found if values[0] == "ties"},
            now_ms,
        )

    async def missed(self, reader: int, *, since: int, limit: int) -> Missed:
        found = await self._fetch(_MISSED, reader, since, limit, NEWEST_OF_EDGE)
        posts = [(tx, post_id) for _, tx, post_id in found if tx is not None]
        more = len(posts) >= limit
        return Missed(posts, posts[-1][0] + 1 if more else max(since, found[0][0]), more)


_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())"
_FROM_SINCE = f"tx >= $2::bigint::text::xid8 AND tx < {_HORIZON}"
_CAME_TO_LIGHT = "published_id <> 0 AND page_url IS NULL"

_FOLLOWED = f"""\
SELECT horizon.tx, reader.id, coalesce(user_state.ties, 0),
    ARRAY(SELECT followee FROM shown_edge WHERE follower = reader.id), (
        SELECT min(mute.until_at) FROM mute JOIN follow ON follow.follower = mute.muter AND follow.followee = mute.muted
        WHERE mute.muter = reader.id AND mute.until_at > now()
    )
FROM (SELECT {_HORIZON}::text::bigint AS tx) AS horizon
LEFT JOIN (unnest($1::bigint[]) AS reader (id) LEFT JOIN user_state ON user_state.user_id = reader.id) ON true"""

# The clock is read after the snapshot was taken: what was published after a mute's end is not passed by before it.
_SWEPT = f"""\
SELECT 'horizon', {_HORIZON}::text::bigint, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, 0, 0
UNION ALL
SELECT 'ties', user_id, ties, 0, 0 FROM user_state WHERE user_id = ANY ($1)
UNION ALL
(SELECT 'post', id, author_id, changed_offset, tx::text::bigint FROM post
 WHERE {_FROM_SINCE} AND {_CAME_TO_LIGHT} AND author_id IS NOT NULL
 ORDER BY post.tx FETCH FIRST $3 ROWS WITH TIES)"""

# Author by author: each asks an index, which has the posts in this order.
_MISSED = f"""\
SELECT horizon.tx, found.tx::text::bigint, found.post_id
FROM (SELECT {_HORIZON}::text::bigint AS tx) AS horizon
LEFT JOIN (
    SELECT event.tx, event.post_id FROM (
        SELECT changed.tx, changed.id AS post_id
        FROM (SELECT followee AS author_id FROM shown_edge WHERE follower = $1 UNION ALL SELECT $1) AS edge
        CROSS JOIN LATERAL (
            SELECT tx, id FROM post WHERE author_id = edge.author_id AND {_FROM_SINCE} AND {_CAME_TO_LIGHT}
            ORDER BY tx FETCH FIRST $3 ROWS WITH TIES
        ) AS changed
        UNION
        SELECT edge.tx, newest.id FROM (
            SELECT followee, tx FROM shown_edge WHERE follower = $1 AND {_FROM_SINCE}
        ) AS edge
        CROSS JOIN LATERAL (
            SELECT id FROM post WHERE author_id = edge.followee AND state = 'published' AND page_url IS NULL
            ORDER BY published_id DESC LIMIT $4
        ) AS newest
    ) AS event
    ORDER BY event.tx FETCH FIRST $3 ROWS WITH TIES
) AS found ON true
ORDER BY found.tx, found.post_id"""
