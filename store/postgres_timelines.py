"""Timelines in Postgres. What a page is made of is the function ``timeline_page`` of the migrations."""

from collections.abc import Sequence
from typing import Any

from store.postgres_graph import Fetch
from store.timelines import ENTRIES_MAX, PLACE_MAX, Listed, Page, Tended, Wishes


class PostgresTimelines:
    """See ``store.timelines.Timelines``; an attribute of ``PostgresStore``, which lends it its ``fetch``."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def page(self, reader: int, *, below: int = PLACE_MAX, limit: int, kinds: Sequence[str] = ()) -> Page:
        return await self._page(_TIMELINE, reader, kinds, below, limit)

    async def posts_of(
        self, author: int, *, reader: int, below: int = PLACE_MAX, limit: int, kinds: Sequence[str] = ()
    ) -> Page:
        return await self._page(_POSTS_OF, reader, kinds, below, limit, author)

    async def _page(self, query: str, *arguments: object) -> Page:
        found = await self._fetch(query, *arguments)
        return Page(listed(found), horizon=found[0][0])

    async def push(self, author: int, place: int, *, after: int, limit: int) -> int | None:
        ((last, pushed),) = await self._fetch(_PUSH, author, place, after, limit)
        return last if pushed == limit else None

    async def close_edges(self, author: int, *, limit: int) -> bool:
        await self._fetch(_CLOSE, author, limit)
        ((left,),) = await self._fetch(
            "SELECT EXISTS (SELECT FROM follow WHERE followee = $1 AND push <> 'pulled')", author
        )
        return bool(left)

    async def tend(
        self, reader: int, wishes: Wishes, *, entries_max: int = ENTRIES_MAX, edges_max: int = 100
    ) -> Tended:
        ((unfinished, open_),) = await self._fetch(
            "SELECT unfinished, open FROM tend_timeline($1, $2, $3, $4, $5, $6, $7)",
            reader,
            wishes.strategy,
            wishes.here,
            wishes.reading,
            wishes.margin,
            entries_max,
            edges_max,
        )
        return Tended(unfinished, open_)


def listed(found: Sequence[Sequence[Any]]) -> list[Listed]:
    """What a query of ``listing`` found."""
    return [Listed._make((*values[1:8], values[8] or {}, values[9])) for values in found if values[1] is not None]


def listing(page: str) -> str:
    """The entries of ``page`` (place, post_id), for reader $1 with kinds of reaction $2; one row of NULLs for none."""
    return f"""\
SELECT horizon.tx, page.place, post.id, post.changed_offset, coalesce(account.version, 0), post_state.version,
    coalesce(post_views.views, 0), coalesce(post_views.viewers, 0), mine.given,
    EXISTS (SELECT FROM bookmark WHERE bookmark.user_id = $1 AND bookmark.post_id = page.post_id)
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS tx) AS horizon
LEFT JOIN (
    ({page}) AS page
    JOIN post ON post.id = page.post_id
    JOIN post_state ON post_state.post_id = page.post_id
    LEFT JOIN post_views ON post_views.post_id = page.post_id
    LEFT JOIN account ON account.id = post.author_id AND account.state = 'active'
    LEFT JOIN LATERAL (
        SELECT jsonb_object_agg(reaction.kind, reaction.amount) AS given FROM reaction
        WHERE reaction.post_id = page.post_id AND reaction.comment_id = 0 AND reaction.kind = ANY ($2)
            AND reaction.user_id = $1 AND reaction.amount > 0
    ) AS mine ON true
) ON true
ORDER BY page.place DESC"""


_TIMELINE = listing("SELECT place, post_id FROM timeline_page($1, $3, $4)")

_POSTS_OF = listing(
    """\
SELECT published_id AS place, id AS post_id FROM post
    WHERE author_id = $5 AND state = 'published' AND page_url IS NULL AND published_id < $3
        AND NOT EXISTS (SELECT FROM block WHERE blocker = $1 AND blocked = $5)
        AND NOT EXISTS (SELECT FROM block WHERE blocker = $5 AND blocked = $1)
    ORDER BY published_id DESC LIMIT $4"""
)

_PUSH = """\
WITH chunk AS (
    SELECT follower FROM follow WHERE followee = $1 AND push <> 'pulled' AND follower > $3 ORDER BY follower LIMIT $4
), pushed AS (
    INSERT INTO timeline (published_id, user_id, author_id)
    SELECT $2, follower, $1 FROM chunk ON CONFLICT DO NOTHING
)
SELECT max(follower), count(*) FROM chunk"""

# An edge that a commit holds is left for the next time: who waits for nobody is in nobody's way.
_CLOSE = """\
WITH chunk AS MATERIALIZED (
    SELECT follower FROM follow WHERE followee = $1 AND push <> 'pulled'
    ORDER BY follower LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE follow SET push = 'pulled' FROM chunk WHERE follow.follower = chunk.follower AND follow.followee = $1"""
