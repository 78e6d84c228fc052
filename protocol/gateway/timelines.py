"""The endpoints of timelines: one's own, and the posts of one author."""

from collections.abc import Mapping

from aiohttp import hdrs, web

from protocol import requests
from protocol.gateway.backend import Backend
from protocol.gateway.http import Call, Handler, answer, next_link
from protocol.timelines import PostPage, TimelinePage


class Timelines:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        return {"read_timeline": self.read, "list_posts_of": self.posts_of}

    async def read(self, call: Call) -> web.Response:
        query: requests.ReadTimeline = call.query
        page = await self._backend.timeline(call.by.id, before=_place(query), limit=query.limit)
        view = TimelinePage(posts=page.posts, next=None if page.next is None else str(page.next), cursor=page.cursor)
        return answer(view, headers={**_next(call, page), hdrs.CACHE_CONTROL: "private, no-cache"})

    async def posts_of(self, call: Call) -> web.Response:
        query: requests.ReadTimeline = call.query
        author = await call.member()
        page = await self._backend.posts_of(author, reader=call.by.id, before=_place(query), limit=query.limit)
        return answer(page.posts, headers=_next(call, page))


def _place(query: requests.ReadTimeline) -> int | None:
    return None if query.before is None else int(query.before)


def _next(call: Call, page: PostPage) -> Mapping[str, str]:
    return {} if page.next is None else next_link(call.request, before=str(page.next))
