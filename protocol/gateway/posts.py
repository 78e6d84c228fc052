"""The endpoints of posts and of pages elsewhere that embed one."""

import asyncio
from collections.abc import Mapping, Sequence

from aiohttp import hdrs, web
from msgspec import UNSET, Raw
from msgspec.structs import replace

from protocol import requests, text
from protocol.commands import (
    ANONYMOUS,
    TITLE_CHARS_MAX,
    CreatePost,
    DeletePost,
    EditPost,
    Person,
    PublishPost,
    ReadPost,
)
from protocol.cursor import Cursor, parse_cursor
from protocol.delivery import Published
from protocol.errors import DomainError, Refused
from protocol.finding import Order
from protocol.gateway.backend import Backend
from protocol.gateway.finding import posts as list_of_posts
from protocol.gateway.http import Call, Handler, answer, next_link, no_content, tagged
from protocol.gateway.names import claim
from protocol.gateway.origins import Origins, host_of
from protocol.gateway.writing import Writing
from protocol.pagekeys import Page, page_of
from protocol.times import unix_ms
from protocol.views import Counters, PostView


class Posts:
    def __init__(self, backend: Backend, origins: Origins) -> None:
        self._backend = backend
        self._origins = origins
        self._writing = Writing(backend)

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "list_posts": self.list,
            "create_post": self.create,
            "read_post": self.read,
            "read_post_by_slug": self.read_by_slug,
            "edit_post": self.edit,
            "delete_post": self.delete,
            "publish_post": self.publish,
            "open_page": self.open_page,
            "read_counts": self.counts,
            "read_changes": self.changes,
        }

    # -- reading

    async def list(self, call: Call) -> web.Response:
        query: requests.ListPosts = call.query
        if query.order is not None:
            return await self._ordered(call, query, query.order)
        author_id = None
        if query.author is not None:
            author_id = await self._backend.resolve("handle", query.author.lower())
            if author_id is None or not await self._backend.authors([author_id]):
                return answer([])
        if query.drafts and not call.by.moderates and (author_id is None or author_id != call.by.id):
            raise Refused("permission_denied", "drafts are for their author: ask with author=")
        posts = await self._backend.posts(
            before=None if query.before is None else int(query.before),
            tag=None if query.tag is None else query.tag.lower(),
            author_id=author_id,
            # Who asks for one author by name is shown that author.
            reader=call.by.id if author_id is None else 0,
            drafts=query.drafts,
            limit=query.limit + 1,
        )
        page = await self._with_bookmarks(call.by, posts[: query.limit])
        return answer(page, headers=next_link(call.request, before=page[-1].id) if len(posts) > len(page) else None)

    async def _ordered(self, call: Call, query: requests.ListPosts, order: Order) -> web.Response:
        if query.author is not None or query.drafts:
            raise Refused("invalid", "order: not with author or drafts")
        page = await self._backend.listed(
            order,
            reader=call.by.id,
            tag=None if query.tag is None else query.tag.lower(),
            before=None if query.before is None else int(query.before),
            limit=query.limit,
        )
        return list_of_posts(call, page)

    async def read(self, call: Call) -> web.Response:
        return await self._shown(call, await call.ask_post(ReadPost(post=call.post)))

    async def read_by_slug(self, call: Call) -> web.Response:
        post_id = await self._backend.resolve("slug", call.path("slug", text.plain, "post_not_found"))
        if post_id is None:
            raise Refused("post_not_found")
        return await self._shown(call, await self._writing.read(post_id, call.by))

    async def counts(self, call: Call) -> web.Response:
        query: requests.CountsQuery = call.body
        ids = dict.fromkeys(query.posts)
        counted = await asyncio.gather(*(self._counters(post_id) for post_id in ids))
        return answer({post_id: counters for post_id, counters in zip(ids, counted, strict=True) if counters})

    async def changes(self, call: Call) -> web.Response:
        query: requests.ReadChanges = call.query
        since = None
        if query.cursor is not None:
            # What is no cursor is answered as a foreign one: the client reloads either way.
            since = parse_cursor(query.cursor) or Cursor("", 0)
        await call.ask_post(ReadPost(post=call.post))
        changed = await self._backend.changes(f"post:{call.post}", since, query.limit)
        return answer(
            requests.Changes(
                publications=[_change(published) for published in changed.items],
                cursor=str(changed.cursor),
                recovered=changed.recovered,
                more=changed.more,
                counters=None if changed.counters is None else Raw(changed.counters),
            )
        )

    # -- writing

    async def create(self, call: Call) -> web.Response:
        body: requests.NewPost = call.body
        post_id = await self._writing.create(self._backend.new_id(), body, call.by, call.op)
        view = await self._writing.read(post_id, call.by)
        return await self._shown(call, view, status=201, headers={hdrs.LOCATION: f"/v1/posts/{post_id}"})

    async def edit(self, call: Call) -> web.Response:
        body: requests.PostEdit = call.body
        post_id = int(call.post)
        before: PostView = await call.ask_post(ReadPost(post=call.post))
        if body.slug is not None and not await claim(self._backend, "post", "slug", body.slug, post_id):
            raise Refused("slug_taken")
        command = EditPost(
            post=call.post,
            title=body.title,
            body=body.body,
            slug=body.slug,
            tags=body.tags,
            comments_open=body.comments_open,
        )
        try:
            await call.ask_post(command)
        except Refused:
            if body.slug is not None:
                await self._writing.release_unused(body.slug, post_id, call.by)
            raise
        if before.slug is not None:
            await self._writing.release_unused(before.slug, post_id, call.by)
        return await self._shown(call, await self._writing.read(post_id, call.by))

    async def publish(self, call: Call) -> web.Response:
        body: requests.Publication = call.body
        await call.ask_post(PublishPost(post=call.post, at=None if body.at is None else unix_ms(body.at)))
        return await self._shown(call, await self._writing.read(int(call.post), call.by))

    async def delete(self, call: Call) -> web.Response:
        slug = await self._writing.slug_of(int(call.post), call.by)
        await call.ask_post(DeletePost(post=call.post))
        if slug is not None:
            await self._backend.release_name("slug", slug, int(call.post))
        return no_content()

    # -- pages elsewhere

    async def open_page(self, call: Call) -> web.Response:
        body: requests.PageKey = call.body
        origin = call.request.headers.get(hdrs.ORIGIN)
        page = page_of(body.id, body.url, body.path, origin)
        self._check_site(call.request, page, origin)
        post_id = await self._backend.resolve("page", page.key)
        if post_id is None:
            post_id = await self._make_page(page, body.title)
        try:
            view = await self._writing.read(post_id, call.by)
        except Refused as refusal:
            if refusal.code != "post_not_found":
                raise
            # Claimed by someone who never came to make it, or deleted: then this refuses again.
            view = await self._writing.read(await self._make_page(page, body.title), call.by)
        return await self._shown(call, view)

    def _check_site(self, request: web.Request, page: Page, origin: str | None) -> None:
        """A page belongs to a site, and that has to be allowed.

        A browser says which site asks. Where none does, or the server's own, as the frame that it shows on other sites,
        it is the page's address that counts.
        """
        host = host_of(request)
        if page.url is None and (origin is None or self._origins.owns(origin, host)):
            raise Refused("origin_not_allowed", "a page belongs to a site: its Origin or a url is needed")
        self._origins.check(request)
        if page.url is not None and not self._origins.allows_page(page.url, host):
            raise Refused("origin_not_allowed", "the page is on another site than those allowed")

    async def _make_page(self, page: Page, title: str | None) -> int:
        post_id = self._backend.new_id()
        claimed = await self._backend.claim_names("post", [("page", page.key)], post_id)
        if isinstance(claimed, str):
            known = await self._backend.resolve("page", page.key)
            assert known is not None, "a name that is taken is bound"
            return known
        command = CreatePost(post=str(claimed), title=title or _page_title(page), page_url=page.url)
        await self._backend.ask(f"post:{claimed}", command, ANONYMOUS)
        return claimed

    # -- parts

    async def _shown(
        self, call: Call, view: PostView, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        (view,) = await self._with_bookmarks(call.by, [view])
        # The reader is part of the tag: each sees their own reactions. A bookmark is none of the post's versions.
        tag = f"{view.version}-{call.by.id}" + ("-bookmarked" if view.bookmarked is True else "")
        return tagged(view, tag, status=status, headers=headers)

    async def _with_bookmarks(self, by: Person, views: Sequence[PostView]) -> Sequence[PostView]:
        """What a reader is shown of posts: who is signed in, also whether they are bookmarked."""
        if not by.id or not views:
            return views
        marked = await self._backend.bookmarked(by.id, [int(view.id) for view in views])
        return [replace(view, bookmarked=int(view.id) in marked) for view in views]

    async def _counters(self, post_id: str) -> Counters | None:
        try:
            return (await self._writing.read(int(post_id), ANONYMOUS)).counters
        except DomainError as error:
            if error.meaning.temporary:
                raise
            return None


def _change(published: Published) -> requests.Change:
    offset = UNSET if published.offset is None else published.offset
    return requests.Change(data=Raw(published.data), offset=offset)


def _page_title(page: Page) -> str:
    """What an untitled page is called."""
    return page.key.partition(":")[2][:TITLE_CHARS_MAX]
