"""How posts are found, in the twin in memory. Words are compared as they are, and ranked by how often they occur."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

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
from store.memory_graph import hidden_from
from store.memory_timelines import listed
from store.rows import BookmarkRow, CommentRow, FindingRow, PostRow, PostStateRow
from store.timelines import PLACE_MAX, Listed
from store.twin import Twin

_LANGUAGES: Final = ("simple",)
_WORD: Final = re.compile(r"\w+")
_TERM: Final = re.compile(r'(-?)(?:"([^"]*)"|(\S+))')
_EXCERPT_CHARS: Final = 240


class _Alternative(Struct):
    """One side of an "or"."""

    wanted: set[str]
    unwanted: set[str]

    def matches(self, words: Mapping[str, int]) -> bool:
        return bool(self.wanted) and self.wanted <= words.keys() and not self.unwanted & words.keys()


class _Found(Struct, frozen=True):
    """What can be searched of a post or a comment."""

    offset: int
    words: dict[str, int]
    """How often each occurs."""


class MemoryFinding:
    """See ``store.finding.Finding``; an attribute of ``MemoryStore``."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._searchable: dict[tuple[int, int], _Found] = {}

    # -- bookmarks

    async def bookmarked(self, user: int, post: int) -> Bookmarked:
        def work() -> Bookmarked:
            return Bookmarked((user, post) in self._twin.table(BookmarkRow), self._published(post) is not None)

        return await self._twin.call("bookmarked", work)

    async def bookmarks_among(self, user: int, posts: Sequence[int]) -> list[int]:
        def work() -> list[int]:
            return [post for post in posts if (user, post) in self._twin.table(BookmarkRow)]

        return await self._twin.call("bookmarks_among", work)

    async def bookmarks_of(self, user: int, limit: int) -> list[int]:
        def work() -> list[int]:
            return sorted(post for one, post in self._twin.table(BookmarkRow) if one == user)[:limit]

        return await self._twin.call("bookmarks_of", work)

    async def bookmarks(
        self, user: int, *, below: int = PLACE_MAX, limit: int, kinds: tuple[str, ...] = ()
    ) -> list[Listed]:
        def work() -> list[Listed]:
            mine = (row for row in self._twin.table(BookmarkRow).values() if row.user_id == user)
            return self._list(((row.place, row.post_id) for row in mine), user, below, limit, kinds, lambda _: True)

        return await self._twin.call("bookmarks", work)

    # -- lists

    async def recent(
        self, reader: int, *, tag: str | None = None, below: int = PLACE_MAX, limit: int, kinds: tuple[str, ...] = ()
    ) -> list[Listed]:
        def work() -> list[Listed]:
            places = ((row.published_id, row.id) for row in self._twin.table(PostRow).values())
            return self._list(places, reader, below, limit, kinds, self._in_lists(reader, tag))

        return await self._twin.call("recent", work)

    async def hot(
        self, reader: int, *, tag: str | None = None, below: int = PLACE_MAX, limit: int, kinds: tuple[str, ...] = ()
    ) -> list[Listed]:
        def work() -> list[Listed]:
            places = ((row.heat, row.post_id) for row in self._twin.table(FindingRow).values() if row.heat)
            return self._list(places, reader, below, limit, kinds, self._in_lists(reader, tag))

        return await self._twin.call("hot", work)

    def _in_lists(self, reader: int, tag: str | None) -> Callable[[PostRow], bool]:
        def shown(post: PostRow) -> bool:
            return (
                post.page_url is None
                and (tag is None or tag in post.tags)
                and not hidden_from(self._twin, reader, post.author_id)
            )

        return shown

    def _list(
        self,
        places: Iterable[tuple[int, int]],
        reader: int,
        below: int,
        limit: int,
        kinds: tuple[str, ...],
        shown: Callable[[PostRow], bool],
    ) -> list[Listed]:
        posts = ((place, self._published(id)) for place, id in places if place < below)
        wanted = [(place, post) for place, post in posts if post is not None and shown(post)]
        newest = sorted(wanted, key=lambda each: each[0], reverse=True)[:limit]
        found = (listed(self._twin, post, place, reader, kinds) for place, post in newest)
        return [each for each in found if each is not None]

    # -- search

    async def index(self, post: int, after: int, *, limit: int) -> int:
        def work() -> int:
            subject, state = self._twin.table(PostRow).get((post,)), self._twin.table(PostStateRow).get((post,))
            if subject is None or state is None:
                return after
            rows: list[PostRow | CommentRow] = [subject]
            if subject.state != "deleted":
                rows += [row for row in self._twin.table(CommentRow).values() if row.post_id == post]
            changed = sorted((row for row in rows if row.changed_offset > after), key=lambda row: row.changed_offset)
            for row in changed[:limit]:
                place = (post, 0) if isinstance(row, PostRow) else (post, row.id)
                self._searchable[place] = _Found(row.changed_offset, _words(row))
            if subject.state == "deleted":
                for place in [place for place in self._searchable if place[0] == post and place[1]]:
                    del self._searchable[place]
            return max(after, state.head if len(changed) < limit else changed[limit - 1].changed_offset)

        return await self._twin.call("index", work)

    async def search(self, search: Search, *, reader: int, after: Rank = BEST, limit: int) -> list[Hit]:
        def work() -> list[Hit]:
            alternatives = _parsed(search.words)
            wanted = {word for each in alternatives for word in each.wanted}
            ranked = (
                Rank(sum(found.words.get(word, 0) for word in wanted) * 100_000, *place)
                for place in self._candidates(search, alternatives)
                for found in (self._searchable[place],)
            )
            best = sorted((rank for rank in ranked if rank < after), reverse=True)
            hits = (self._hit(rank, reader, wanted) for rank in best)
            return [hit for hit in hits if hit is not None][:limit]

        return await self._twin.call("search", work)

    def _candidates(self, search: Search, alternatives: list[_Alternative]) -> list[tuple[int, int]]:
        matching = [
            place
            for place, found in self._searchable.items()
            if (search.comments if place[1] else search.posts)
            and any(each.matches(found.words) for each in alternatives)
            and (search.tag is None or search.tag in self._twin.table(PostRow)[place[:1]].tags)
        ]
        return sorted(matching, reverse=True)[:CANDIDATES_MAX]

    def _hit(self, rank: Rank, reader: int, wanted: set[str]) -> Hit | None:
        """What is found there, if the reader may see it."""
        post = self._published(rank.post_id)
        comment = self._twin.table(CommentRow).get((rank.post_id, rank.comment_id)) if rank.comment_id else None
        shown: PostRow | CommentRow | None = comment if rank.comment_id else post
        if post is None or shown is None or (reader and hidden_from(self._twin, reader, shown.author_id)):
            return None
        if (comment is None and post.page_url is not None) or (comment is not None and comment.state != "visible"):
            return None
        return Hit(
            at=rank,
            title=post.title,
            slug=post.slug,
            page_url=post.page_url,
            author=self._twin.face(shown.author_id),
            author_name=None if comment is None else comment.author_name,
            author_url=None if comment is None else comment.author_url,
            created_ms=(post.published_ms or 0) if comment is None else comment.created_ms,
            excerpt=_excerpt(shown.body[:EXCERPT_CHARS_READ], wanted),
        )

    async def use_language(self, language: str) -> None:
        def work() -> None:
            if language not in _LANGUAGES:
                raise StoreRefused(f'text search configuration "{language}" does not exist')

        await self._twin.call("use_language", work)

    # -- parts

    def _published(self, post: int) -> PostRow | None:
        row = self._twin.table(PostRow).get((post,))
        return row if row is not None and row.state == "published" else None


def _words(row: PostRow | CommentRow) -> dict[str, int]:
    """The words by which a row is found; none for what is not to be."""
    if row.state not in ("published", "visible"):
        return {}
    text = " ".join((row.title, *row.tags, row.body)) if isinstance(row, PostRow) else row.body
    counts: dict[str, int] = {}
    for word in _WORD.findall(text.lower()):
        counts[word] = counts.get(word, 0) + 1
    return counts


def _parsed(words: str) -> list[_Alternative]:
    alternatives = [_Alternative(set(), set())]
    for minus, phrase, term in _TERM.findall(words.lower()):
        if term == "or" and not minus:
            alternatives.append(_Alternative(set(), set()))
        else:
            last = alternatives[-1]
            (last.unwanted if minus else last.wanted).update(_WORD.findall(phrase or term))
    return alternatives


def _excerpt(text: str, wanted: set[str]) -> str:
    text = text.replace(MARK_BEGIN, "").replace(MARK_END, "")
    first = next((match.start() for match in _WORD.finditer(text) if match[0].lower() in wanted), 0)
    start = max(0, first - _EXCERPT_CHARS // 2)

    def marked(match: re.Match[str]) -> str:
        return f"{MARK_BEGIN}{match[0]}{MARK_END}" if match[0].lower() in wanted else match[0]

    return _WORD.sub(marked, text[start : start + _EXCERPT_CHARS])
