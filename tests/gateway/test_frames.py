"""Raw writes and connections taken over, and what they need of aiohttp, asyncio, uvloop and aiofastnet."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any, cast

import aiofastnet
import aiohttp
import pytest
import uvloop
from aiohttp import WSMsgType, web
from yarl import URL

from protocol.gateway.frames import (
    FRAME_BYTES,
    NOT_SENT_LOW_WATER_BYTES,
    TOGETHER_MIN,
    Pipe,
    Writer,
    close_frame,
    pong_frame,
    text_frame,
    text_frames,
)
from protocol.gateway.handover import Line, Upgrade, take_over
from protocol.sse import LAST_CHUNK, chunk


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_text_frame_has_the_header_of_its_length(length: int, header: bytes) -> None:
    assert text_frame(b"x" * length) == header + b"x" * length


def test_messages_are_joined_into_few_frames_and_a_long_one_has_its_own() -> None:
    assert text_frames([b"a", b"b"]) == text_frame(b"a\nb")
    long = b"x" * FRAME_BYTES
    assert text_frames([b"a", long, b"b", b"c"]) == text_frame(b"a") + text_frame(long) + text_frame(b"b\nc")


def test_a_close_frame_is_a_control_frame_whatever_its_reason() -> None:
    assert close_frame(3001, "shutdown") == b"\x88\x0a\x0b\xb9shutdown"
    assert len(close_frame(3001, "x" * 500)) == 127
    assert pong_frame(b"are you there") == b"\x8a\x0dare you there"


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)

Member = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Scenario = Callable[[aiohttp.ClientSession, str], Coroutine[Any, Any, None]]
Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


@pytest.fixture(params=["asyncio", "uvloop", "aiofastnet on uvloop"])
def served(request: pytest.FixtureRequest) -> Callable[[Handler, Scenario], None]:
    """Runs a scenario against a handler, on each loop and transport that the product may run on."""

    async def serve(handler: Handler, scenario: Scenario) -> None:
        app = web.Application()
        app.router.add_get("/", handler)
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        assert runner.server is not None
        loop = asyncio.get_running_loop()
        if request.param == "aiofastnet on uvloop":
            listener = await aiofastnet.create_server(loop, runner.server, "127.0.0.1", 0)
        else:
            listener = await loop.create_server(runner.server, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        try:
            async with aiohttp.ClientSession() as client:
                await scenario(client, f"http://127.0.0.1:{port}/")
        finally:
            listener.close()
            await runner.cleanup()

    def run(handler: Handler, scenario: Scenario) -> None:
        factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as loop_runner:
            loop_runner.run(asyncio.wait_for(serve(handler, scenario), 10))

    return run


def test_raw_frames_follow_the_handshake_and_mix_with_those_of_aiohttp(
    served: Callable[[Handler, Scenario], None],
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse(compress=False)
        await response.prepare(request)
        pipe = Pipe(request)
        pipe.write(text_frame(b"raw"))
        await response.send_str("aiohttp")
        pipe.write(text_frame(b"raw again"))
        assert pipe.buffered_bytes() == 0
        # A ping is answered by aiohttp itself, between raw frames.
        message = await response.receive()
        assert message.data == "done"
        pipe.write(close_frame(3001, "shutdown"))
        await response.receive()
        return response

    async def scenario(client: aiohttp.ClientSession, url: str) -> None:
        async with client.ws_connect(url) as connection:
            assert [await connection.receive_str() for _ in range(3)] == ["raw", "aiohttp", "raw again"]
            await connection.ping(b"are you there")
            await connection.send_str("done")
            message = await connection.receive()
            assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 3001, "shutdown")

    served(handler, scenario)


def test_raw_chunks_follow_the_headers_and_aiohttp_ends_the_body(served: Callable[[Handler, Scenario], None]) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        response.force_close()
        await response.prepare(request)
        Pipe(request).write(chunk(b"raw ") + chunk(b"chunks"))
        return response

    async def scenario(client: aiohttp.ClientSession, url: str) -> None:
        async with client.get(url) as response:
            assert await response.read() == b"raw chunks"

    served(handler, scenario)


def test_a_client_that_reads_nothing_shows_in_the_buffer(served: Callable[[Handler, Scenario], None]) -> None:
    shown: list[int] = []
    done = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse(compress=False)
        await response.prepare(request)
        pipe = Pipe(request)
        connection: socket.socket = request.get_extra_info("socket")
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == NOT_SENT_LOW_WATER_BYTES
        frame = text_frame(b"x" * 16_000)
        for _ in range(100):
            pipe.write(frame)
            await asyncio.sleep(0)
        shown.append(pipe.buffered_bytes())
        done.set()
        pipe.abort()
        pipe.write(frame)
        assert pipe.buffered_bytes() == 0
        await response.receive()
        return response

    async def scenario(client: aiohttp.ClientSession, url: str) -> None:
        reader = socket.socket()
        # The kernels hide what their buffers hold; this one is small, and bounds the sender's with it.
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", URL(url).port))
        reader.sendall(HANDSHAKE)
        await done.wait()
        reader.close()
        assert shown[0] > 1_000_000

    served(handler, scenario)


class Heard:
    """A receiver that keeps what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.more = asyncio.Event()
        self.gone = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        self.more.set()
        return False, b""

    def feed_eof(self) -> None:
        self.gone.set()


class Taking:
    """A handler that takes its connection over and returns."""

    def __init__(self, response: Callable[[], web.StreamResponse]) -> None:
        self._response = response
        self.heard = Heard()
        self.taken = asyncio.Event()
        self.line: Line

    async def handle(self, request: web.Request) -> web.StreamResponse:
        response = self._response()
        await response.prepare(request)
        self.pipe = Pipe(request)
        self.server = request.protocol._manager
        self.line = take_over(request, self.pipe, lambda _: self.heard)
        self.taken.set()
        return response


def bare_response() -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    response.force_close()
    return response


def test_a_connection_that_was_taken_over_outlives_its_handler_and_tells_when_its_client_is_gone(
    served: Callable[[Handler, Scenario], None],
) -> None:
    taking = Taking(bare_response)

    async def scenario(client: aiohttp.ClientSession, url: str) -> None:
        async with client.get(url) as response:
            await taking.taken.wait()
            server = taking.server
            assert server is not None
            # The handler is gone, and the connection still counts.
            while [cast(object, each) for each in server.connections] != [taking.line]:
                await asyncio.sleep(0)
            taking.pipe.write(chunk(b"here"))
            assert await response.content.readany() == b"here"
            await taking.line.drain()
            response.close()
        await taking.heard.gone.wait()
        assert not server.connections
        with pytest.raises(ConnectionResetError):
            await taking.line.drain()

    served(taking.handle, scenario)


def test_who_has_taken_a_connection_over_ends_its_body(served: Callable[[Handler, Scenario], None]) -> None:
    taking = Taking(bare_response)

    async def scenario(client: aiohttp.ClientSession, url: str) -> None:
        async with client.get(url) as response:
            await taking.taken.wait()
            taking.pipe.write(chunk(b"all") + LAST_CHUNK)
            taking.pipe.close()
            assert await response.read() == b"all"

    served(taking.handle, scenario)


def test_what_comes_along_with_a_handshake_is_heard_and_so_is_what_follows(
    served: Callable[[Handler, Scenario], None],
) -> None:
    taking = Taking(lambda: Upgrade(compress=False))

    async def scenario(_: aiohttp.ClientSession, url: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(url).port)
        writer.write(HANDSHAKE + b"early")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b" and late")
        while taking.heard.data != b"early and late":
            await taking.heard.more.wait()
            taking.heard.more.clear()
        taking.pipe.write(close_frame(3001, "shutdown"))
        taking.pipe.close()
        assert await reader.read() == close_frame(3001, "shutdown")
        writer.close()
        await taking.heard.gone.wait()

    served(taking.handle, scenario)


def test_a_server_that_ends_cuts_off_what_was_taken_over_and_goes_on(
    served: Callable[[Handler, Scenario], None],
) -> None:
    taking = Taking(bare_response)

    async def scenario(client: aiohttp.ClientSession, url: str) -> None:
        async with client.get(url) as response:
            await taking.taken.wait()
            assert taking.server is not None
            await taking.server.shutdown(1.0)
            await taking.heard.gone.wait()
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()

    served(taking.handle, scenario)


SLOW = 5
"""Whose kernel takes little."""


class Crowd:
    """A handler that takes every connection over, and writes to all of them."""

    def __init__(self, *, together: bool) -> None:
        self.pipes: list[Pipe] = []
        self.heard: list[Heard] = []
        self._writer = Writer()
        if together:
            self._writer.open()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        response = bare_response()
        await response.prepare(request)
        pipe, heard = Pipe(request), Heard()
        take_over(request, pipe, lambda _: heard)
        self.pipes.append(pipe)
        self.heard.append(heard)
        return response

    @asynccontextmanager
    async def gathered(self, url: str) -> AsyncIterator[list[Member]]:
        """So many clients that they are written to together, if this is how it is done."""
        members = [await self._welcome(url, at) for at in range(2 * TOGETHER_MIN)]
        try:
            yield members
        finally:
            for _, writer in members:
                writer.close()

    async def _welcome(self, url: str, at: int) -> Member:
        connection = socket.socket()
        if at == SLOW:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", URL(url).port))
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        while len(self.pipes) <= at:
            await asyncio.sleep(0)
        return reader, writer

    def write(self, data: bytes) -> dict[int, int]:
        """What each of those holds that hold something."""
        return dict(self._writer.write(self.pipes, data))

    def close(self) -> None:
        self._writer.close()


@pytest.fixture(params=[True, False], ids=["together", "one by one"])
def crowd(request: pytest.FixtureRequest) -> Iterator[Crowd]:
    with closing(Crowd(together=request.param)) as crowd:
        yield crowd


def test_what_is_written_to_many_mixes_with_what_is_written_to_one(
    served: Callable[[Handler, Scenario], None], crowd: Crowd
) -> None:
    async def scenario(_: aiohttp.ClientSession, url: str) -> None:
        async with crowd.gathered(url) as members:
            for at in range(3):
                crowd.write(b"<all %d>" % at)
                assert {pipe.fd >= 0 for pipe in crowd.pipes} == {True}
                for number, pipe in enumerate(crowd.pipes):
                    pipe.write(b"<to %d>" % number)
                crowd.write(b"<all again>")
                await asyncio.sleep(0)
            for number, (reader, _writer) in enumerate(members):
                expected = b"".join(b"<all %d><to %d><all again>" % (at, number) for at in range(3))
                assert await reader.readexactly(len(expected)) == expected

    served(crowd.handle, scenario)


def test_who_of_many_takes_nothing_is_told_of_and_gets_all_in_order(
    served: Callable[[Handler, Scenario], None], crowd: Crowd
) -> None:
    async def scenario(_: aiohttp.ClientSession, url: str) -> None:
        async with crowd.gathered(url) as members:
            slow = members[SLOW][0]
            others = [reader for reader, _writer in members if reader is not slow]
            # Its reader stops its transport, and behind that the kernels' buffers fill.
            frames = [bytes([at]) * (1 << 20) for at in range(16)]
            told: dict[int, int] = {}
            for frame in frames:
                told = crowd.write(frame)
                for reader in others:
                    assert await reader.readexactly(len(frame)) == frame
            assert told[SLOW] > 1 << 20
            for frame in frames:
                assert await slow.readexactly(len(frame)) == frame
            assert crowd.pipes[SLOW].buffered_bytes() == 0
            crowd.write(b"at last")
            assert await slow.readexactly(7) == b"at last"

    served(crowd.handle, scenario)


def test_who_of_many_is_gone_is_written_to_no_more(served: Callable[[Handler, Scenario], None], crowd: Crowd) -> None:
    gone = (3, 4, 6)

    async def scenario(_: aiohttp.ClientSession, url: str) -> None:
        async with crowd.gathered(url) as members:
            crowd.write(b"here")
            members[3][1].transport.abort()
            await crowd.heard[3].gone.wait()
            crowd.pipes[4].abort()
            crowd.pipes[6].close()
            assert {crowd.pipes[at].fd for at in gone} == {-1}
            assert not crowd.write(b"there").keys() & gone
            for at, (reader, _writer) in enumerate(members):
                if at not in gone:
                    assert await reader.readexactly(9) == b"herethere"

    served(crowd.handle, scenario)
