"""How posts are found, in Postgres: the functions and indexes are those of migration 7."""

from collections.abc import Sequence
from typing import Any, Final

from store.base import StoreRefused
from store.finding import (
    BEST,
    CANDIDATES_MAX,
    EXCERPT_CHARS_READ,
    MARK_BEGIN,
    MARK_END,
    Bookmarked,
    Hit,
    Rank,
    Search,
)
from store.postgres_graph import Fetch, hidden_from
from store.postgres_timelines import listed, listing
from store.rows import Author
from store.statements import AUTHOR_COLUMNS, AUTHOR_SHOWN
from store.timelines import PLACE_MAX, Listed

REWRITTEN_AT_ONCE: Final = 200
"""Rows of one statement that makes them anew for another language."""


class PostgresFinding:
    """See ``store.finding.Finding``; an attribute of ``PostgresStore``, which lends it its ``fetch``."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    # -- bookmarks

    async def bookmarked(self, user: int, post: int) -> Bookmarked:
        ((on, published),) = await self._fetch(_BOOKMARKED, user, post)
        return Bookmarked(on, published)

    async def bookmarks_among(self, user: int, posts: Sequence[int]) -> list[int]:
        found = await self._fetch(_BOOKMARKS_AMONG, user, posts)
        return [post for (post,) in found]

    async def bookmarks_of(self, user: int, limit: int) -> list[int]:
        found = await self._fetch(_BOOKMARKS_OF, user, limit)
        return [post for (post,) in found]

    async def bookmarks(
        self, user: int, *, below: int = PLACE_MAX, limit: int, kinds: tuple[str, ...] = ()
    ) -> list[Listed]:
        return listed(await self._fetch(_BOOKMARKS, user, kinds, below, limit))

    # -- lists

    async def recent(
        self, reader: int, *, tag: str | None = None, below: int = PLACE_MAX, limit: int, kinds: tuple[str, ...] = ()
    ) -> list[Listed]:
        if tag is None:
            return listed(await self._fetch(_RECENT, reader, kinds, below, limit))
        return listed(await self._fetch(_RECENT_TAGGED, reader, kinds, below, limit, tag))

    async def hot(
        self, reader: int, *, tag: str | None = None, below: int = PLACE_MAX, limit: int, kinds: tuple[str, ...] = ()
    ) -> list[Listed]:
        if tag is None:
            return listed(await self._fetch(_HOT, reader, kinds, below, limit))
        return listed(await self._fetch(_HOT_TAGGED, reader, kinds, below, limit, tag))

    # -- search

    async def index(self, post: int, after: int, *, limit: int) -> int:
        ((through,),) = await self._fetch(_INDEX, post, after, limit)
        return int(through)

    async def search(self, search: Search, *, reader: int, after: Rank = BEST, limit: int) -> list[Hit]:
        found = await self._fetch(
            _SEARCH, search.words, search.posts, search.comments, search.tag, reader, *after, limit
        )
        return [_hit(*values) for values in found]

    async def use_language(self, language: str) -> None:
        ((before, known),) = await self._fetch(
            "SELECT search_language, EXISTS ("
            "SELECT FROM pg_ts_config WHERE cfgname = $1 AND pg_ts_config_is_visible(oid)) FROM meta",
            language,
        )
        if not known:
            raise StoreRefused(f'text search configuration "{language}" does not exist')
        if before == language:
            return
        after = (0, -1)
        while True:
            ((count, *last),) = await self._fetch(_REWRITE, language, *after, REWRITTEN_AT_ONCE)
            if not count:
                break
            after = tuple(last)
        # Last: who is interrupted begins anew.
        await self._fetch("UPDATE meta SET search_language = $1", language)


def _hit(rank: int, post: int, comment: int, *rest: Any) -> Hit:
    title, slug, page_url, *face, author_name, author_url, created_ms, excerpt = rest
    author = None if face[0] is None else Author(*face)
    return Hit(Rank(rank, post, comment), title, slug, page_url, author, author_name, author_url, created_ms, excerpt)


_HIDDEN = hidden_from("$1", "post.author_id")

_BOOKMARKED = """\
SELECT EXISTS (SELECT FROM bookmark WHERE user_id = $1 AND post_id = $2),
    EXISTS (SELECT FROM post WHERE id = $2 AND state = 'published')"""

_BOOKMARKS_AMONG = "SELECT post_id FROM bookmark WHERE user_id = $1 AND post_id = ANY ($2)"

_BOOKMARKS_OF = "SELECT post_id FROM bookmark WHERE user_id = $1 ORDER BY post_id LIMIT $2"

_BOOKMARKS = listing("""\
SELECT bookmark.place, bookmark.post_id FROM bookmark
    JOIN post ON post.id = bookmark.post_id AND post.state = 'published'
    WHERE bookmark.user_id = $1 AND bookmark.place < $3
    ORDER BY bookmark.place DESC LIMIT $4""")


def _recent(also: str = "") -> str:
    return listing(f"""\
SELECT published_id AS place, id AS post_id FROM post
    WHERE state = 'published' AND page_url IS NULL AND published_id < $3 {also}
        AND NOT ({_HIDDEN})
    ORDER BY published_id DESC LIMIT $4""")


def _hot(also: str = "") -> str:
    return listing(f"""\
SELECT post_finding.heat AS place, post_finding.post_id FROM post_finding
    JOIN post ON post.id = post_finding.post_id AND post.state = 'published' AND post.page_url IS NULL
    WHERE post_finding.heat < $3 AND post_finding.heat > 0 {also}
        AND NOT ({_HIDDEN})
    ORDER BY post_finding.heat DESC LIMIT $4""")


_TAGGED = "AND post.tags @> ARRAY[$5::text]"
_RECENT, _RECENT_TAGGED = _recent(), _recent(_TAGGED)
_HOT, _HOT_TAGGED = _hot(), _hot(_TAGGED)

# Of two that run at once, the one that read the older text must not have the last word. What is not to be found keeps a
# row without words for the same reason.
_INDEX = """\
WITH subject AS MATERIALIZED (
    SELECT id, changed_offset, state, title, tags, body FROM post WHERE id = $1
), changed AS MATERIALIZED (
    SELECT * FROM (
        (SELECT comment.changed_offset, comment.id AS comment_id, comment.state = 'visible' AS shown, '' AS title,
            '{}'::text[] AS tags, comment.body
        FROM comment WHERE post_id = $1 AND comment.changed_offset > $2
            AND EXISTS (SELECT FROM subject WHERE state <> 'deleted')
        ORDER BY comment.changed_offset LIMIT $3)
        UNION ALL
        SELECT changed_offset, 0, state = 'published', title, tags, body FROM subject WHERE changed_offset > $2
    ) AS both_kinds
    ORDER BY changed_offset LIMIT $3
), indexed AS (
    INSERT INTO searchable (post_id, comment_id, changed_offset, tsv)
    SELECT $1, comment_id, changed_offset, CASE
        WHEN shown THEN words_of(meta.search_language::regconfig, title, tags, body) ELSE ''::tsvector END
    FROM changed, meta
    ON CONFLICT (post_id, comment_id) DO UPDATE SET changed_offset = excluded.changed_offset, tsv = excluded.tsv
    WHERE searchable.changed_offset < excluded.changed_offset
), gone AS (
    DELETE FROM searchable WHERE post_id = $1 AND comment_id > 0
        AND EXISTS (SELECT FROM subject WHERE state = 'deleted')
)
SELECT greatest($2, CASE WHEN count(*) < $3
    THEN coalesce((SELECT head FROM post_state WHERE post_id = $1), 0) ELSE max(changed_offset) END)
FROM changed"""

_SEARCH = f"""\
SELECT page.rank, page.post_id, page.comment_id, post.title, post.slug, post.page_url, {AUTHOR_COLUMNS},
    comment.author_name, comment.author_url, coalesce(comment.created_at, post.published_at),
    ts_headline(asked.language,
        translate(left(coalesce(comment.body, post.body), {EXCERPT_CHARS_READ}), E'{MARK_BEGIN}{MARK_END}', ''),
        asked.query, E'StartSel="{MARK_BEGIN}", StopSel="{MARK_END}", MinWords=20, MaxWords=40')
FROM search_page($1, $2, $3, $4, $5, $6, $7, $8, {CANDIDATES_MAX}, $9) AS page
JOIN post ON post.id = page.post_id
LEFT JOIN comment ON comment.post_id = page.post_id AND comment.id = page.comment_id
LEFT JOIN account ON account.id = coalesce(comment.author_id, post.author_id) AND {AUTHOR_SHOWN}
    AND (page.comment_id = 0 OR comment.author_id IS NOT NULL)
CROSS JOIN (
    SELECT search_language::regconfig AS language, websearch_to_tsquery(search_language::regconfig, $1) AS query
    FROM meta
) AS asked
ORDER BY page.rank DESC, page.post_id DESC, page.comment_id DESC"""

_REWRITE = """\
WITH chunk AS MATERIALIZED (
    SELECT post_id, comment_id FROM searchable WHERE (post_id, comment_id) > ($2, $3)
    ORDER BY post_id, comment_id LIMIT $4
), written AS (
    UPDATE searchable SET tsv = CASE WHEN searchable.comment_id = 0
        THEN words_of($1::text::regconfig, post.title, post.tags, post.body)
        ELSE words_of($1::text::regconfig, '', '{}', comment.body) END
    FROM chunk JOIN post ON post.id = chunk.post_id
    LEFT JOIN comment ON comment.post_id = chunk.post_id AND comment.id = chunk.comment_id
    WHERE searchable.post_id = chunk.post_id AND searchable.comment_id = chunk.comment_id
        AND searchable.tsv <> ''::tsvector
)
SELECT count(*), max(post_id), (SELECT comment_id FROM chunk ORDER BY post_id DESC, comment_id DESC LIMIT 1)
FROM chunk"""
