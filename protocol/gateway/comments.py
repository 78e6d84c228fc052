"""The endpoints of comments."""

from collections.abc import Mapping
from hashlib import blake2b

import msgspec
from aiohttp import hdrs, web

from protocol import requests
from protocol.commands import (
    ApproveComment,
    CreateComment,
    DeleteComment,
    EditComment,
    ReadComment,
    ReadComments,
)
from protocol.gateway.http import Call, Handler, next_link, no_content, tagged
from protocol.gateway.reading import read_comments
from protocol.views import Ack


class Comments:
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "list_comments": self.list,
            "create_comment": self.create,
            "read_comment": self.read,
            "edit_comment": self.edit,
            "delete_comment": self.delete,
            "approve_comment": self.approve,
        }

    async def list(self, call: Call) -> web.Response:
        query: requests.ListComments = call.query
        command = ReadComments(
            post=call.post,
            order=query.order,
            view=query.view,
            only=query.only,
            parent=query.parent,
            limit=query.limit,
            after=query.after,
        )
        page = await read_comments(call.backend, command, call.by)
        return _shown(page, headers=None if page.next is None else next_link(call.request, after=page.next))

    async def create(self, call: Call) -> web.Response:
        body: requests.NewComment = call.body
        ack: Ack = await call.ask_post(CreateComment(post=call.post, body=body.body, parent=body.parent))
        assert ack.id is not None, "a comment that was written has an id"
        location = f"/v1/posts/{call.post}/comments/{ack.id}"
        return await self._show(call, ack.id, status=201, headers={hdrs.LOCATION: location})

    async def read(self, call: Call) -> web.Response:
        return await self._show(call, call.comment)

    async def edit(self, call: Call) -> web.Response:
        body: requests.CommentEdit = call.body
        await call.ask_post(EditComment(post=call.post, comment=call.comment, body=body.body))
        return await self._show(call, call.comment)

    async def delete(self, call: Call) -> web.Response:
        await call.ask_post(DeleteComment(post=call.post, comment=call.comment))
        return no_content()

    async def approve(self, call: Call) -> web.Response:
        await call.ask_post(ApproveComment(post=call.post, comment=call.comment))
        return await self._show(call, call.comment)

    async def _show(
        self, call: Call, comment: str, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        view = await call.ask_post(ReadComment(post=call.post, comment=comment))
        return _shown(view, status=status, headers=headers)


def _shown(view: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    # Reactions and authors' names change without moving the stream: only the bytes themselves tell.
    data = msgspec.json.encode(view)
    tag = blake2b(data, digest_size=8).hexdigest()
    return tagged(msgspec.Raw(data), tag, status=status, headers=headers)
