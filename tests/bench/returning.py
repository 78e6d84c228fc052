"""Connections that watch one post, and come back when they are cut off, from where each of them stood.

A crowd of them is a generator in Python: what arrives is decoded and compared, comment by comment, with what the
connection has had before; so nothing that is lost, sent twice or out of order goes unnoticed. It speaks as the SDKs do,
and like these it tries again when it is told that this may help.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from time import perf_counter
from typing import cast

import msgspec
from msgspec import Struct

from protocol.errors import ERRORS, Disconnect
from tests.bench.callers import frame_end
from tests.bench.watchers import Incomplete
from tests.bench.wires import client_frame, upgrade

OPENING = upgrade("/connection/websocket")
CLOSE = 0x88
NUMBER = slice(3, 13)
"""Where a comment bears its number: see ``wires.text``."""
RETRY_S = (0.5, 1.0)
TIMEOUT_S = 120.0
POLL_S = 0.01
GREETED_AT_ONCE = 200
"""So many come at a time when nobody counts how long it takes."""


# -- what is heard ----------------------------------------------------------------------------------------------------


class Comment(Struct):
    body: str


class Changed(Struct):
    comment: Comment | None = None


class Publication(Struct):
    data: Changed
    offset: int = 0
    """0 of what is volatile, which says nothing of comments."""


class Push(Struct):
    pub: Publication | None = None


class Subscribed(Struct):
    epoch: str
    offset: int = 0
    recovered: bool = False
    publications: list[Publication] = []


class Error(Struct):
    code: int
    temporary: bool = False


class Heard(Struct):
    """A line of a frame, as far as a watcher cares; a ping has nothing."""

    id: int = 0
    error: Error | None = None
    subscribe: Subscribed | None = None
    push: Push | None = None


_lines = msgspec.json.Decoder(Heard).decode_lines
_codes = {meaning.number: code for code, meaning in ERRORS.items()}


# -- the watchers -----------------------------------------------------------------------------------------------------


class Crowd:
    """Watchers of ``channel`` at the server on the loopback's ``port``; whoever waits in vain gets ``Incomplete``."""

    def __init__(self, channel: str, count: int, port: int, random: Random) -> None:
        self.channel = channel
        self.port = port
        self.random = random
        self.watchers = [Watcher(self) for _ in range(count)]
        self.here = 0
        """Who is subscribed."""
        self.took_s: list[float] = []
        """From the first attempt to connect until the answer to the subscription, of those who have come."""
        self.troubles: Counter[str] = Counter()
        """What was refused or closed with a word to try again, by code."""
        self.wrong: Counter[str] = Counter()
        """What nobody may be told, or must not happen: each of them is a failure."""
        self._changed = asyncio.Event()

    async def come(self, within_s: float) -> None:
        """Have all come, each at a moment of its own; returns when all have. ``went`` must have been awaited."""
        self.took_s.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        due = sorted(self.random.uniform(0.0, within_s) for _ in self.watchers)
        for watcher, at_s in zip(self.watchers, due, strict=True):
            if (early_s := began + at_s - loop.time()) > 0:
                await asyncio.sleep(early_s)
            watcher.come()
        await self._until_here(len(self.watchers))

    async def greeted(self) -> None:
        """Have all come, as fast as the server lets them."""
        self.took_s.clear()
        for at in range(0, len(self.watchers), GREETED_AT_ONCE):
            come = self.watchers[at : at + GREETED_AT_ONCE]
            for watcher in come:
                watcher.come()
            await self._until_here(at + len(come))

    async def reached(self, count: int) -> None:
        """Wait until each has had so many comments."""
        await self._until(lambda: all(watcher.next >= count for watcher in self.watchers))

    async def went(self) -> None:
        """Wait until the server has cut off everyone."""
        await self._until(lambda: all(watcher.transport is None for watcher in self.watchers))

    def leave(self) -> None:
        for watcher in self.watchers:
            watcher.leave()

    async def _until_here(self, count: int) -> None:
        await self._until(lambda: self.here >= count)

    async def _until(self, happened: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while not happened():
                    self._changed.clear()
                    await self._changed.wait()
                    # Not with each of what arrives: there is much, and each question is for all of them.
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            told = {**self.troubles, **self.wrong}
            raise Incomplete(f"{self.here} of {len(self.watchers)} are here, after {told}") from None

    def notice(self) -> None:
        """Something has happened that somebody may wait for."""
        self._changed.set()


class Watcher(asyncio.Protocol):
    """One of them, over all its connections."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self.next = 0
        """The number of the comment that is to come."""
        self.transport: asyncio.Transport | None = None
        self._position: tuple[str, int] | None = None
        """Epoch and offset."""
        self._buffer = b""
        self._upgraded = False
        self._here = False
        self._tries = False
        """Whether it is on its way, so that it comes again if it is turned away."""
        self._began = 0.0
        self._coming: asyncio.Task[None] | None = None

    def come(self) -> None:
        self._tries, self._began = True, perf_counter()
        self._coming = asyncio.create_task(self._come(), name="a watcher comes")

    async def _come(self) -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._crowd.port)
                return
            except OSError as error:
                self._crowd.troubles[type(error).__name__] += 1
            await asyncio.sleep(self._crowd.random.uniform(*RETRY_S))

    def leave(self) -> None:
        self._tries = False
        if self.transport is not None:
            self.transport.abort()

    # -- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._buffer, self._upgraded = b"", False
        self.transport.write(OPENING)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._crowd.here -= self._here
        self._here = False
        if self._tries:
            self._crowd.troubles["cut off"] += 1
            delay_s = self._crowd.random.uniform(*RETRY_S)
            asyncio.get_running_loop().call_later(delay_s, self._again)
        self._crowd.notice()

    def _again(self) -> None:
        self._coming = asyncio.create_task(self._come(), name="a watcher comes again")

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        if not self._upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            self._greet(head)
        at = 0
        while (payload := frame_end(data, at)) is not None:
            start, end_at = payload
            if data[at] == CLOSE:
                self._closed(int.from_bytes(data[start : start + 2], "big"))
            else:
                self._take(data[start:end_at])
            at = end_at
        self._buffer = data[at:]

    def _greet(self, head: bytes) -> None:
        if b" 101 " not in head.partition(b"\r\n")[0]:
            self._crowd.wrong[head.partition(b"\r\n")[0].decode()] += 1
        self._upgraded = True
        subscribe: dict[str, object] = {"channel": self._crowd.channel}
        if self._position is not None:
            epoch, offset = self._position
            subscribe |= {"recover": True, "epoch": epoch, "offset": offset}
        self._say(b'{"id":1,"connect":{}}\n' + msgspec.json.encode({"id": 2, "subscribe": subscribe}))

    def _say(self, payload: bytes) -> None:
        assert self.transport is not None
        self.transport.write(client_frame(payload))

    # -- what is heard

    def _take(self, payload: bytes) -> None:
        for heard in _lines(payload):
            if heard.push is not None:
                if heard.push.pub is not None:
                    self._publication(heard.push.pub)
            elif heard.error is not None:
                self._refused(heard.error)
            elif heard.subscribe is not None:
                self._subscribed(heard.subscribe)
            elif not heard.id:
                self._say(b"{}")
        self._crowd.notice()

    def _subscribed(self, subscribed: Subscribed) -> None:
        if self._position is not None and not subscribed.recovered:
            self._crowd.wrong["not recovered"] += 1
        self._position = subscribed.epoch, subscribed.offset
        for publication in subscribed.publications:
            self._publication(publication)
        self._here, self._tries = True, False
        self._crowd.here += 1
        self._crowd.took_s.append(perf_counter() - self._began)

    def _publication(self, publication: Publication) -> None:
        if not publication.offset:
            return
        assert self._position is not None
        epoch, offset = self._position
        if publication.offset <= offset:
            self._crowd.wrong["offset that does not rise"] += 1
        self._position = epoch, publication.offset
        if publication.data.comment is not None:
            if (number := int(publication.data.comment.body[NUMBER])) != self.next:
                self._crowd.wrong["comment twice" if number < self.next else "comment missed"] += 1
            self.next = number + 1

    def _refused(self, error: Error) -> None:
        code = _codes.get(error.code, str(error.code))
        if error.code in _codes and error.temporary:
            self._crowd.troubles[code] += 1
        else:
            self._crowd.wrong[code] += 1
        assert self.transport is not None
        self.transport.close()

    def _closed(self, code: int) -> None:
        if Disconnect(code, "").reconnect:
            self._crowd.troubles[f"close {code}"] += 1
        else:
            self._crowd.wrong[f"close {code}"] += 1
        if self.transport is not None:
            # RFC 6455, 7.1.1: the server is the first to end the connection.
            self.transport.write(b"\x88\x82\0\0\0\0" + code.to_bytes(2, "big"))
