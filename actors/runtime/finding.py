"""How posts are found, as clients see it: lists of posts, and what a search found with safe HTML around the words."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from html import escape

from msgspec import Raw

from actors.encoding import author_view
from actors.runtime.directory import available
from protocol.excerpts import without_signs
from protocol.finding import ListedPosts, Mark, Order, SearchHit, SearchPage, SearchQuestion
from protocol.times import rfc3339_ms
from protocol.views import Author
from store.finding import BEST, MARK_BEGIN, MARK_END, Hit, Rank, Search
from store.finding import Finding as FindingStore
from store.timelines import PLACE_MAX, Listed


class Finding:
    """Everything raises ``Unavailable`` while the store is away."""

    def __init__(
        self,
        finding: FindingStore,
        *,
        kinds: Sequence[str],
        show: Callable[[Sequence[Listed], int], Awaitable[Raw]],
    ) -> None:
        """``show`` gives the JSON of a list of posts, for a reader; ``kinds`` are those of reaction that it shows."""
        self._finding = finding
        self._kinds = tuple(kinds)
        self._show = show

    async def listed(
        self, order: Order, *, reader: int, tag: str | None, before: int | None, limit: int
    ) -> ListedPosts:
        """See ``Backend.listed``."""
        below = PLACE_MAX if before is None else before
        read = self._finding.recent if order == "recent" else self._finding.hot
        with available():
            found = await read(reader, tag=tag, below=below, limit=limit + 1, kinds=self._kinds)
        return await self._page(found, reader, limit)

    async def bookmarks(self, reader: int, *, before: int | None, limit: int) -> ListedPosts:
        """See ``Backend.bookmarks``."""
        below = PLACE_MAX if before is None else before
        with available():
            found = await self._finding.bookmarks(reader, below=below, limit=limit + 1, kinds=self._kinds)
        return await self._page(found, reader, limit)

    async def bookmarked(self, reader: int, posts: Sequence[int]) -> Collection[int]:
        """See ``Backend.bookmarked``."""
        with available():
            return await self._finding.bookmarks_among(reader, posts)

    async def search(self, question: SearchQuestion, *, reader: int, after: Mark | None, limit: int) -> SearchPage:
        """See ``Backend.search``."""
        search = Search(
            words=question.words,
            posts=question.kind != "comments",
            comments=question.kind != "posts",
            tag=question.tag,
        )
        beyond = BEST if after is None else Rank(*after)
        with available():
            found = await self._finding.search(search, reader=reader, after=beyond, limit=limit + 1)
        page = found[:limit]
        return SearchPage([_hit(hit) for hit in page], Mark(*page[-1].at) if len(found) > limit else None)

    async def _page(self, found: Sequence[Listed], reader: int, limit: int) -> ListedPosts:
        page = found[:limit]
        return ListedPosts(await self._show(page, reader), page[-1].place if len(found) > limit else None)


def _hit(hit: Hit) -> SearchHit:
    _, post, comment = hit.at
    author = author_view(hit.author)
    if author is None and hit.author_name is not None:
        author = Author(id="", handle="", name=hit.author_name, url=hit.author_url)
    return SearchHit(
        kind="comment" if comment else "post",
        post=str(post),
        comment=str(comment) if comment else None,
        title=hit.title,
        slug=hit.slug,
        page_url=hit.page_url,
        author=author,
        excerpt=escape(without_signs(hit.excerpt)).replace(MARK_BEGIN, "<mark>").replace(MARK_END, "</mark>"),
        created_at=rfc3339_ms(hit.created_ms),
    )
