"""Timelines in Postgres. What a page is made of is the function ``timeline_pages`` of the migrations."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from store.postgres_graph import Fetch
from store.timelines import ENTRIES_MAX, PLACE_MAX, Listed, Page, Tended, Wishes
from store.together import Together

PAGES_AT_ONCE: Final = 32
PAGES_RUNNING_MAX: Final = 2
"""Postgres works at some while those that it has found are shown."""
PAGES_WAITING_MAX: Final = 5_000
"""Some two seconds of both."""
PUSHES_AT_ONCE: Final = 32
PUSHES_WAITING_MAX: Final = 1_000


class _Place(NamedTuple):
    """Where the page of a timeline begins."""

    reader: int
    below: int
    limit: int


class _Chunk(NamedTuple):
    """Followers to whom a post is pushed: ``limit`` beyond the account ``after``."""

    author: int
    place: int
    after: int
    limit: int


class PostgresTimelines:
    """See ``store.timelines.Timelines``; an attribute of ``PostgresStore``, which lends it its ``fetch``.

    To push it has one of its own: what was published does not wait for a connection behind those who read.
    """

    def __init__(self, fetch: Fetch, push: Fetch) -> None:
        self._fetch = fetch
        self._fetch_to_push = push
        self._pages: dict[tuple[str, ...], Together[_Place, Page]] = {}
        """By the kinds of reaction that they show."""
        self._pushes: Together[_Chunk, int | None] = Together(
            self._push, at_once=PUSHES_AT_ONCE, running_max=1, waiting_max=PUSHES_WAITING_MAX
        )

    async def page(self, reader: int, *, below: int = PLACE_MAX, limit: int, kinds: Sequence[str] = ()) -> Page:
        if (pages := self._pages.get(shown := tuple(kinds))) is None:
            pages = self._pages[shown] = Together(
                partial(self._read, shown),
                at_once=PAGES_AT_ONCE,
                running_max=PAGES_RUNNING_MAX,
                waiting_max=PAGES_WAITING_MAX,
            )
        return await pages.ask(_Place(reader, below, limit))

    async def _read(self, kinds: Sequence[str], places: Sequence[_Place]) -> list[Page]:
        readers, belows, limits = zip(*places, strict=True)
        found = await self._fetch(_TIMELINES, readers, kinds, belows, limits)
        pages: list[list[Sequence[Any]]] = [[] for _ in places]
        for values in found:
            if values[1] is not None:
                pages[values[1] - 1].append(values)
        return [Page(listed(page), horizon=found[0][0]) for page in pages]

    async def posts_of(
        self, author: int, *, reader: int, below: int = PLACE_MAX, limit: int, kinds: Sequence[str] = ()
    ) -> Page:
        found = await self._fetch(_POSTS_OF, reader, kinds, below, limit, author)
        return Page(listed(found), horizon=found[0][0])

    async def push(self, author: int, place: int, *, after: int, limit: int) -> int | None:
        return await self._pushes.ask(_Chunk(author, place, after, limit))

    async def _push(self, chunks: Sequence[_Chunk]) -> list[int | None]:
        ended = await self._fetch_to_push(_PUSH, *zip(*chunks, strict=True))
        return [last if pushed == chunk.limit else None for chunk, (last, pushed) in zip(chunks, ended, strict=True)]

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
    return [Listed._make((*values[2:9], values[9] or {}, values[10])) for values in found if values[2] is not None]


def listing(page: str, *, asked: str = "1", reader: str = "$1") -> str:
    """The entries of ``page`` (place, post_id), as asked for by ``reader``, with kinds of reaction $2.

    One row of NULLs if there are none.
    """
    return f"""\
SELECT horizon.tx, {asked}, page.place, post.id, post.changed_offset, coalesce(account.version, 0), post_state.version,
    coalesce(post_views.views, 0), coalesce(post_views.viewers, 0), mine.given,
    EXISTS (SELECT FROM bookmark WHERE bookmark.user_id = {reader} AND bookmark.post_id = page.post_id)
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
            AND reaction.user_id = {reader} AND reaction.amount > 0
    ) AS mine ON true
) ON true
ORDER BY {asked}, page.place DESC"""


_TIMELINES = listing("SELECT * FROM timeline_pages($1, $3, $4)", asked="page.asked", reader="page.reader")

_POSTS_OF = listing(
    """\
SELECT published_id AS place, id AS post_id FROM post
    WHERE author_id = $5 AND state = 'published' AND page_url IS NULL AND published_id < $3
        AND NOT EXISTS (SELECT FROM block WHERE blocker = $1 AND blocked = $5)
        AND NOT EXISTS (SELECT FROM block WHERE blocker = $5 AND blocked = $1)
    ORDER BY published_id DESC LIMIT $4"""
)

_PUSH = """\
WITH chunk AS MATERIALIZED (
    SELECT job.number, job.author, job.place, edge.follower
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[]) WITH ORDINALITY
        AS job (author, place, after, wanted, number)
    CROSS JOIN LATERAL (
        SELECT follower FROM follow WHERE followee = job.author AND push <> 'pulled' AND follower > job.after
        ORDER BY follower LIMIT job.wanted
    ) AS edge
), pushed AS (
    INSERT INTO timeline (published_id, user_id, author_id)
    SELECT place, follower, author FROM chunk ORDER BY follower, place ON CONFLICT DO NOTHING
)
SELECT max(chunk.follower), count(chunk.follower)
FROM generate_series(1, cardinality($1::bigint[])) AS number LEFT JOIN chunk USING (number)
GROUP BY number ORDER BY number"""

# An edge that a commit holds is left for the next time: who waits for nobody is in nobody's way.
_CLOSE = """\
WITH chunk AS MATERIALIZED (
    SELECT follower FROM follow WHERE followee = $1 AND push <> 'pulled'
    ORDER BY follower LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE follow SET push = 'pulled' FROM chunk WHERE follow.follower = chunk.follower AND follow.followee = $1"""
