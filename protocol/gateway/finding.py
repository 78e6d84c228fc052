"""The endpoints of bookmarks and of search. The lists of posts stand beside the posts."""

from collections.abc import Mapping

from aiohttp import hdrs, web

from protocol import requests
from protocol.finding import Bookmark, ListedPosts, SearchQuestion, parse_mark
from protocol.gateway.backend import Backend
from protocol.gateway.http import Call, Handler, answer, next_link


class Finding:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "set_bookmark": self.set_bookmark,
            "remove_bookmark": self.remove_bookmark,
            "list_bookmarks": self.bookmarks,
            "search": self.search,
        }

    async def set_bookmark(self, call: Call) -> web.Response:
        return await self._bookmark(call, on=True)

    async def remove_bookmark(self, call: Call) -> web.Response:
        return await self._bookmark(call, on=False)

    async def bookmarks(self, call: Call) -> web.Response:
        query: requests.ListBookmarks = call.query
        before = None if query.before is None else int(query.before)
        return posts(call, await self._backend.bookmarks(call.by.id, before=before, limit=query.limit))

    async def search(self, call: Call) -> web.Response:
        query: requests.SearchQuery = call.query
        tag = None if query.tag is None else query.tag.lower()
        page = await self._backend.search(
            SearchQuestion(words=query.q, kind=query.kind, tag=tag),
            reader=call.by.id,
            after=None if query.after is None else parse_mark(query.after),
            limit=query.limit,
        )
        further = {} if page.next is None else next_link(call.request, after=str(page.next))
        return answer(page.hits, headers={**further, hdrs.CACHE_CONTROL: "private, no-cache"})

    async def _bookmark(self, call: Call, *, on: bool) -> web.Response:
        return answer(await self._backend.ask(f"user:{call.by.id}", Bookmark(post=call.post, on=on), call.by))


def posts(call: Call, page: ListedPosts) -> web.Response:
    """A page of posts, with what the reader has given each."""
    further = {} if page.next is None else next_link(call.request, before=str(page.next))
    return answer(page.posts, headers={**further, hdrs.CACHE_CONTROL: "private, no-cache"})
