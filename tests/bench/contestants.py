"""Who delivers: we, the floor, and peers that are started where their runtime is present."""

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from msgspec import Struct

from protocol.gateway.frames import text_frame
from store.embedded_redis import EmbeddedRedis
from tests.bench import wires
from tests.bench.watchers import first_line, running
from tests.bench.wires import Wire, client_frame
from tests.processes import pinned, serving
from tests.site import host_token, running_site

SERVER_CORE, GENERATOR_CORE = 0, 1
START_TIMEOUT_S = 20.0
CONNECT_RETRY_S = 0.05

OURS, OURS_SSE = "Plaudit", "Plaudit, SSE"
FLOOR = "floor: send() in C"
AIOHTTP = "aiohttp, send_str"
SOCKETIO = "python-socketio"
CENTRIFUGO = "Centrifugo, memory"
CENTRIFUGO_REDIS = "Centrifugo, Redis"


class Stage(Struct, frozen=True):
    """A server that runs, with a stream to watch."""

    pid: int
    port: int
    wire: Wire
    publish: Callable[[int, int], None]
    """The publication of a number and the time, in microseconds, at which it was due."""


class Contestant(Struct, frozen=True):
    name: str
    open: Callable[[], AbstractAsyncContextManager[Stage]]
    hot: bool = False
    """Whether it is to deliver to a hot stream: those that are slower by far would only take their time."""


class Publisher(asyncio.Protocol):
    """The connection over which a server is told what to publish."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._said = b""
        self._greeted = False
        self._transport: asyncio.Transport
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._wire.opening)

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            self._said += data
            if not self._greeted and b"\r\n\r\n" in self._said:
                self._greeted = True
                self._transport.write(self._wire.hello)
            if self._wire.ready in self._said:
                self.ready.set_result(None)
        elif self._wire.ping and data.endswith(text_frame(self._wire.ping)):
            self._transport.write(self._wire.pong)
        elif b'"error":' in data:
            # Whoever waits for what was refused says only that it did not come.
            print(f"a server refused to publish: {data[:300]!r}", file=sys.stderr)

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._transport.close()


@asynccontextmanager
async def publisher(port: int, wire: Wire) -> AsyncIterator[Publisher]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(START_TIMEOUT_S):
        _, connected = await loop.create_connection(lambda: Publisher(wire), "127.0.0.1", port)
        await connected.ready
    try:
        yield connected
    finally:
        connected.close()


# -- ours -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def ours(wire_of: Callable[[str], Wire]) -> AsyncIterator[Stage]:
    """A server with its own Postgres; one person writes comments on one post, over a WebSocket."""
    async with AsyncExitStack() as opened:
        directory = opened.enter_context(tempfile.TemporaryDirectory(prefix="plaudit-bench-"))
        with pinned([SERVER_CORE]):
            site = await opened.enter_async_context(running_site("--data-dir", directory))
        post = await site.create_post("A post that many watch")
        writer = await opened.enter_async_context(publisher(site.served.port, wires.writer(host_token(1))))

        def publish(number: int, due_us: int) -> None:
            writer.write(wires.comment(post, number, due_us))

        yield Stage(site.served.pid, site.served.port, wire_of(post), publish)


def ours_by_websocket() -> AbstractAsyncContextManager[Stage]:
    return ours(lambda post: wires.centrifuge(f"post:{post}"))


def ours_by_events() -> AbstractAsyncContextManager[Stage]:
    return ours(wires.event_stream)


# -- the floor and peers ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def floor(program: str) -> AsyncIterator[Stage]:
    """Sends what it is told, byte for byte: the frames that we send."""
    async with AsyncExitStack() as opened:
        with pinned([SERVER_CORE]):
            process = await opened.enter_async_context(running(program, wires.FLOOR_ANSWER.hex()))
        port = int((await first_line(process)).rpartition(":")[2])
        assert process.stdin is not None
        told = process.stdin
        yield Stage(process.pid, port, wires.bare("/"), lambda number, due_us: told.write(wires.frame(number, due_us)))


@asynccontextmanager
async def peer(module: str, watch: Wire, publish: Wire, message: Callable[[int, int], bytes]) -> AsyncIterator[Stage]:
    """A server in Python, which is told over a WebSocket."""
    async with AsyncExitStack() as opened:
        with pinned([SERVER_CORE]):
            served = await opened.enter_async_context(serving("-m", module))
        told = await opened.enter_async_context(publisher(served.port, publish))
        yield Stage(served.pid, served.port, watch, lambda number, due_us: told.write(message(number, due_us)))


def aiohttp_peer() -> AbstractAsyncContextManager[Stage]:
    def message(number: int, due_us: int) -> bytes:
        return client_frame(wires.push(number, due_us))

    return peer("tests.bench.aiohttp_peer", wires.bare("/watch"), wires.bare("/publish"), message)


def socketio_peer() -> AbstractAsyncContextManager[Stage]:
    def message(number: int, due_us: int) -> bytes:
        return client_frame(b'42["publish",%b]' % wires.publication(number, due_us))

    return peer("tests.bench.socketio_peer", wires.SOCKETIO, wires.SOCKETIO, message)


@asynccontextmanager
async def centrifugo(redis: bool = False) -> AsyncIterator[Stage]:
    """Centrifugo v6 as it is by default, but for who may do what; with ``redis``, by a private one."""
    port = _free_port()
    environment = {
        **os.environ,
        "CENTRIFUGO_HTTP_SERVER_ADDRESS": "127.0.0.1",
        "CENTRIFUGO_HTTP_SERVER_PORT": str(port),
        "CENTRIFUGO_CLIENT_INSECURE": "true",
        "CENTRIFUGO_LOG_LEVEL": "error",
    }

    def message(number: int, due_us: int) -> bytes:
        return wires.centrifugo_publish(number, wires.publication(number, due_us))

    async with AsyncExitStack() as opened:
        with pinned([SERVER_CORE]):
            if redis:
                directory = opened.enter_context(tempfile.TemporaryDirectory(prefix="plaudit-bench-"))
                engine = await opened.enter_async_context(EmbeddedRedis(Path(directory)))
                environment |= {"CENTRIFUGO_ENGINE_TYPE": "redis", "CENTRIFUGO_ENGINE_REDIS_ADDRESS": engine.url}
            process = await opened.enter_async_context(running("centrifugo", environment=environment))
        await _listened(port)
        told = await opened.enter_async_context(publisher(port, wires.centrifugo_publisher()))
        yield Stage(
            process.pid,
            port,
            wires.centrifuge(wires.CENTRIFUGO_CHANNEL),
            lambda number, due_us: told.write(message(number, due_us)),
        )


async def _listened(port: int) -> None:
    """Wait until somebody listens."""
    async with asyncio.timeout(START_TIMEOUT_S):
        while not _listens(port):
            await asyncio.sleep(CONNECT_RETRY_S)


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def contestants(floor_program: str) -> list[Contestant]:
    """Those that can be started here; of each other a notice is printed."""
    found = [
        Contestant(OURS, ours_by_websocket, hot=True),
        Contestant(OURS_SSE, ours_by_events, hot=True),
        Contestant(FLOOR, lambda: floor(floor_program)),
        Contestant(AIOHTTP, aiohttp_peer),
    ]
    if find_spec("socketio"):
        found.append(Contestant(SOCKETIO, socketio_peer))
    else:
        print(f"{SOCKETIO} is left out: it is not installed (pip install python-socketio)")
    if shutil.which("centrifugo"):
        found.append(Contestant(CENTRIFUGO, centrifugo, hot=True))
        found.append(Contestant(CENTRIFUGO_REDIS, lambda: centrifugo(redis=True), hot=True))
    else:
        print(f"{CENTRIFUGO} is left out: there is no centrifugo on the path")
    return found
