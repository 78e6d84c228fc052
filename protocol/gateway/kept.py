"""Answers that are kept: what everyone is shown alike, as bytes, for as long as the actor that it is of shows the same.

A request that one of them answers is answered where it was parsed, by ``Edge.at_once``: without a task, a handler, or
a command to the actor.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from aiohttp import hdrs, web
from msgspec import Struct

from protocol.gateway.backend import Faces

BYTES_MAX: Final = 32 << 20
BESIDE_BYTES: Final = 1_024
"""About what one takes beside its body."""
OF_UNCHANGED: Final = (hdrs.ETAG, hdrs.CACHE_CONTROL)
"""Headers of a handler that 304 has as well."""


class Kept(Struct, frozen=True, kw_only=True):
    """The answer to one path, with its query. It has an ``ETag``."""

    actor: str
    """The key of the actor."""
    face: object
    """What that showed."""
    method: str
    """Of the command that it answers."""
    route: str
    """The pattern of the path."""
    tag: str
    headers: Mapping[str, str]
    """Of this very answer."""
    head: bytes
    """The status line and the headers of this very answer, each with its end."""
    unchanged: bytes
    """The same for a client that has it already."""
    body: bytes

    def response(self) -> web.Response:
        return web.Response(body=self.body, headers=self.headers)


class Awaited(NamedTuple):
    """An answer that a handler is about to give."""

    face: object
    answer: "asyncio.Future[Kept | None]"


def kept(response: web.StreamResponse, *, actor: str, face: object, method: str, route: str) -> Kept:
    """``response`` of a handler, with status 200 and an ``ETag``, as it is kept."""
    assert isinstance(response, web.Response)
    assert response.status == 200
    body, headers = response.body, response.headers
    assert isinstance(body, bytes)
    of_unchanged = {name: value for name, value in headers.items() if name in OF_UNCHANGED}
    return Kept(
        actor=actor,
        face=face,
        method=method,
        route=route,
        tag=headers[hdrs.ETAG],
        headers=dict(headers),
        head=b"HTTP/1.1 200 OK\r\n" + lines({**headers, "Content-Length": str(len(body))}),
        unchanged=b"HTTP/1.1 304 Not Modified\r\n" + lines(of_unchanged),
        body=body,
    )


def lines(headers: Mapping[str, str]) -> bytes:
    """``headers`` as they are sent."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode()


class KeptAnswers:
    """By path, at most ``bytes_max`` of them: those that were not asked for longest go first."""

    def __init__(self, faces: Faces, bytes_max: int = BYTES_MAX) -> None:
        self._faces = faces
        self._bytes_max = bytes_max
        self._answers: OrderedDict[str, Kept] = OrderedDict()
        self._awaited: dict[str, Awaited] = {}
        self.size_bytes = 0

    def find(self, path: str) -> Kept | None:
        """What the request for ``path`` was answered last."""
        return self._answers.get(path)

    def take(self, path: str, found: Kept) -> bool:
        """Whether that is the answer still; then it counts as a command that the actor has answered."""
        if not self._faces.shows(found.actor, found.face, found.method):
            # Its actor may be writing only; the next answer takes its place.
            return False
        self._answers.move_to_end(path)
        return True

    def keep(self, path: str, answer: Kept) -> None:
        before = self._answers.pop(path, None)
        if before is not None:
            self.size_bytes -= _size_bytes(path, before)
        self._answers[path] = answer
        self.size_bytes += _size_bytes(path, answer)
        while self.size_bytes > self._bytes_max:
            self.size_bytes -= _size_bytes(*self._answers.popitem(last=False))

    async def answered(
        self, path: str, ask: Callable[[], Awaitable[web.StreamResponse]], *, actor: str, method: str, route: str
    ) -> web.StreamResponse:
        """What ``ask`` answers to a request for ``path``: kept, if the actor showed the same all the while.

        Those who come while one waits are answered what that is, if the actor shows them no more. ``ask`` asks the
        actor before it waits for anything; what it raises is raised here.
        """
        face = self._faces.face(actor)
        if face is None:
            return await ask()
        if (answer := await self._shared(path, face)) is not None:
            return answer.response()
        with self._sharing(path, face) as others:
            # The actor decides before anything else can happen: by what it shows now.
            response = await ask()
            answer = kept(response, actor=actor, face=face, method=method, route=route)
            others.set_result(answer)
        if self._faces.face(actor) is face:
            self.keep(path, answer)
        return response

    async def _shared(self, path: str, face: object) -> Kept | None:
        """What somebody else is about to be answered who asked for ``path`` before, when the actor had this ``face``.

        None if nobody is, or they were refused.
        """
        awaited = self._awaited.get(path)
        # Whoever gives up does so alone.
        return await asyncio.shield(awaited.answer) if awaited is not None and awaited.face is face else None

    @contextmanager
    def _sharing(self, path: str, face: object) -> Iterator["asyncio.Future[Kept | None]"]:
        """Others who ask for ``path`` meanwhile get the answer that is set within; without one they ask themselves."""
        awaited = self._awaited[path] = Awaited(face, asyncio.get_running_loop().create_future())
        try:
            yield awaited.answer
        finally:
            if self._awaited.get(path) is awaited:
                del self._awaited[path]
            if not awaited.answer.done():
                awaited.answer.set_result(None)


def _size_bytes(path: str, answer: Kept) -> int:
    return BESIDE_BYTES + 2 * len(path) + len(answer.body)
