"""People who write to a site that is killed under them; what they know in the end is what must be there.

A lane does one thing after another, each under an operation id of its own. What was not answered it asks again, under
the same id, when the site is back. So in the end every operation is acknowledged, once.
"""

import asyncio
from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Any, Protocol

from msgspec import Struct

from tests.site import Answered, Lost, Site, Socket, host_token

KINDS = ("like", "laugh", "love")
PAUSE_S = 0.05
"""Before something that was answered "later" is asked again."""
REPEATED = 3
"""Creations that each lane asks again although they were answered."""


class Operation(Struct, frozen=True):
    """One write, so that it can be asked again."""

    op: str
    method: str
    post: str
    comment: str | None = None
    body: str | None = None
    kind: str | None = None
    on: bool = True


class Way(Protocol):
    """How operations are asked."""

    async def ask(self, operation: Operation) -> Any:
        """The answer. Raises ``Lost`` and ``Answered``."""
        ...


class OverWebSocket:
    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    async def ask(self, operation: Operation) -> Any:
        asked: dict[str, Any] = {
            "post": operation.post,
            "op": operation.op,
            "comment": operation.comment,
            "body": operation.body,
        }
        if operation.method == "react":
            asked |= {"kind": operation.kind, "on": operation.on}
        return await self._socket.call(
            operation.method, {name: given for name, given in asked.items() if given is not None}
        )


class OverHttp:
    def __init__(self, site: Site, token: str) -> None:
        self._site = site
        self._token = token

    async def ask(self, operation: Operation) -> Any:
        comments = f"/v1/posts/{operation.post}/comments"
        match operation.method:
            case "comment.create":
                return await self._request("POST", comments, operation)
            case "comment.edit":
                return await self._request("PATCH", f"{comments}/{operation.comment}", operation)
            case _:
                target = f"{comments}/{operation.comment}" if operation.comment else f"/v1/posts/{operation.post}"
                return await self._request("PUT" if operation.on else "DELETE", f"{target}/reactions/{operation.kind}")

    async def _request(self, method: str, path: str, written: Operation | None = None) -> Any:
        body, op = ({"body": written.body}, written.op) if written else (None, None)
        return await self._site.request(method, path, body, token=self._token, op=op)


class History:
    """All that was acknowledged, by everyone."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[str, str], str] = {}
        """By (post, comment), as last acknowledged."""
        self.reactions: dict[tuple[str, str, str, str], bool] = {}
        """(person, post, comment or "0", kind) → given, or taken back."""
        self.acknowledged = 0
        self._awaited = 0
        self._reached = asyncio.Event()

    def count(self) -> None:
        self.acknowledged += 1
        if self.acknowledged >= self._awaited:
            self._reached.set()

    async def grows_by(self, more: int) -> None:
        """Wait until so many more operations are acknowledged."""
        self._awaited = self.acknowledged + more
        self._reached.clear()
        await self._reached.wait()


class Lane:
    """One thing after another, by one person. Nobody else touches its comments, or its kind of reaction to a post."""

    def __init__(self, name: str, person: str, kind: str, posts: Sequence[str], history: History, rng: Random) -> None:
        self._name = name
        self._person = person
        self._kind = kind
        self._posts = posts
        self._history = history
        self._rng = rng
        self._numbers = count(1)
        self._unanswered: Operation | None = None
        self._created: list[tuple[Operation, str]] = []
        """With the id of the comment."""

    async def write(self, way: Way) -> None:
        """Write until the connection is lost."""
        try:
            await self.settle(way)
            for operation, id in self._created[-REPEATED:]:
                again = await self._ask(way, operation)
                assert str(again["id"]) == id, f"{operation.op} was comment {id} at first, then {again['id']}"
            while True:
                self._unanswered = self._next()
                await self.settle(way)
        except Lost:
            return

    async def settle(self, way: Way) -> None:
        """Ask again what was not answered."""
        if self._unanswered is not None:
            answer = await self._ask(way, self._unanswered)
            self._record(self._unanswered, answer)
            self._unanswered = None

    async def _ask(self, way: Way, operation: Operation) -> Any:
        while True:
            try:
                return await way.ask(operation)
            except Answered as error:
                if not error.temporary:
                    raise
                await asyncio.sleep(PAUSE_S)

    def _next(self) -> Operation:
        op = f"{self._name}-{next(self._numbers)}"
        choice = self._rng.random()
        if choice < 0.2:
            post, on = self._rng.choice(self._posts), self._rng.random() < 0.7
            return Operation(op, "react", post, kind=self._kind, on=on)
        if choice < 0.6 or not self._created:
            return Operation(op, "comment.create", self._rng.choice(self._posts), body=f"written by {op}")
        written, id = self._rng.choice(self._created)
        if choice < 0.8:
            return Operation(op, "comment.edit", written.post, comment=id, body=f"{written.body}, edited by {op}")
        on = self._rng.random() < 0.7
        return Operation(op, "react", written.post, comment=id, kind=self._rng.choice(KINDS), on=on)

    def _record(self, operation: Operation, answer: Any) -> None:
        match operation.method:
            case "comment.create":
                comment = (operation.post, str(answer["id"]))
                assert comment not in self._history.bodies, f"{operation.op} was answered another's comment {comment}"
                self._history.bodies[comment] = operation.body or ""
                self._created.append((operation, comment[1]))
            case "comment.edit":
                self._history.bodies[operation.post, operation.comment or ""] = operation.body or ""
            case _:
                target = (self._person, operation.post, operation.comment or "0", operation.kind or "")
                self._history.reactions[target] = operation.on
        self._history.count()


class Writer:
    """A person with a connection and as many lanes as there are kinds of reaction."""

    def __init__(
        self, user: int, person: str, posts: Sequence[str], history: History, rng: Random, *, http: bool
    ) -> None:
        self._token = host_token(user)
        self._http = http
        self.lanes = [Lane(f"{user}-{kind}", person, kind, posts, history, rng) for kind in KINDS]

    async def write(self, site: Site) -> None:
        """Write in every lane until the connection is lost."""
        if self._http:
            await asyncio.gather(*(lane.write(OverHttp(site, self._token)) for lane in self.lanes))
            return
        try:
            async with site.socket(self._token) as socket:
                await asyncio.gather(*(lane.write(OverWebSocket(socket)) for lane in self.lanes))
        except Lost:
            return

    async def settle(self, site: Site) -> None:
        """Ask again, over HTTP, what was not answered over either way."""
        for lane in self.lanes:
            await lane.settle(OverHttp(site, self._token))
