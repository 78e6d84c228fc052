"""What the runner needs of aiohttp: if one of these fails after an upgrade, read ``protocol/gateway/runner.py``."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from protocol.gateway.middleware import EDGE, Edge
from protocol.gateway.runner import KEEPALIVE_S, Runner
from protocol.gateway.settings import GatewaySettings


@pytest.fixture
async def connection() -> RequestHandler:
    """A connection as the server makes it, not yet on a socket."""
    runner = Runner(web.Application(), GatewaySettings(secret=b"", header_timeout_s=1.0))
    await runner.setup()
    assert runner.server is not None
    made = runner.server()
    await runner.cleanup()
    return made


async def test_connections_are_ours_with_our_keepalive(connection: RequestHandler) -> None:
    assert type(connection) is not RequestHandler
    assert connection.keepalive_timeout == KEEPALIVE_S


@pytest.mark.parametrize(
    "name",
    [
        *("_request_count", "_waiter", "_upgraded", "_loop", "_current_request", "_messages", "_parser", "_manager"),
        *("_buffer_paused", "_next_keepalive_close_time", "_keepalive_timeout"),
    ],
)
async def test_aiohttp_still_has_what_we_read_of_it(connection: RequestHandler, name: str) -> None:
    assert hasattr(connection, name)


async def test_a_mistake_outside_the_application_is_logged_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(app: web.Request, response: web.StreamResponse) -> None:
        raise ZeroDivisionError("the secret is in the message")

    async def fine(_: web.Request) -> web.Response:
        return web.Response(text="fine")

    app = web.Application()
    app.on_response_prepare.append(broken)
    app.router.add_get("/", fine)
    runner = Runner(app, GatewaySettings(secret=b""))
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    with caplog.at_level(logging.ERROR):
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
    await runner.cleanup()
    assert b"secret" not in said
    assert "ZeroDivisionError" in caplog.text


# -- what is answered at once


class Telling(Edge):
    """Answers every request at once, with its path or a great deal, but for one that takes a handler."""

    def __init__(self, words: bytes) -> None:
        self.words = words

    def at_once(self, message: RawRequestMessage, peer: str | None) -> bytes | None:
        assert peer == "127.0.0.1"
        if message.path == "/slow":
            return None
        body = self.words or message.path.encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@asynccontextmanager
async def telling(words: bytes = b"") -> AsyncIterator[tuple[Runner, "Client"]]:
    async def handle(request: web.Request) -> web.Response:
        await asyncio.sleep(0.01 if request.path == "/slow" else 0)
        return web.Response(text=request.path)

    app = web.Application()
    app[EDGE] = Telling(words)
    app.router.add_get("/{any}", handle)
    runner = Runner(app, GatewaySettings(secret=b""))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = Client(*await asyncio.open_connection(*runner.addresses[0][:2]))
    try:
        yield runner, client
    finally:
        await client.close()
        await runner.cleanup()


async def test_requests_are_answered_in_their_order_whether_at_once_or_not() -> None:
    paths = [b"/%d" % number if number % 5 else b"/slow" for number in range(1, 100)]
    async with telling() as (_, client):
        client.send(b"".join(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths))
        assert [(await client.answer())[0] for _ in paths] == paths


async def test_what_a_client_does_not_read_is_not_written_for_ever() -> None:
    # Fewer than aiohttp takes at once, and far more than the sockets hold.
    words, requests = bytes(4 << 20), 30
    async with telling(words) as (runner, client):
        client.send(REQUEST)
        await client.answer()
        client.send(REQUEST * requests)
        assert runner.server is not None
        (connection,) = runner.server.connections
        assert connection.transport is not None
        async with asyncio.timeout(5):
            while not connection.transport.get_write_buffer_size():
                await asyncio.sleep(0.01)
        assert connection.transport.get_write_buffer_size() <= 2 * len(words)


async def test_nothing_is_answered_at_once_any_more_by_who_leaves() -> None:
    async with telling() as (runner, client):
        client.send(REQUEST)
        assert await client.answer() == (b"/", None)
        runner.leave()
        client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await client.answer() == (b"/slow", b"close")


async def test_a_connection_on_which_all_is_answered_at_once_is_kept_as_long_as_any() -> None:
    async with telling() as (runner, client):
        client.send(REQUEST)
        await client.answer()
        assert runner.server is not None
        (connection,) = runner.server.connections
        ends_at = connection._next_keepalive_close_time
        await asyncio.sleep(0.01)
        client.send(REQUEST)
        await client.answer()
        assert ends_at < connection._next_keepalive_close_time <= asyncio.get_running_loop().time() + KEEPALIVE_S
        assert runner.server.requests_count == 2


# -- the end

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"


class Client:
    """One connection, on which requests are sent one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[bytes, bytes | None]:
        """The body, and what the answer says of the connection."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        said = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        return await self._reader.readexactly(int(said[b"content-length"])), said.get(b"connection")

    async def ended(self) -> None:
        """Raises if it was reset, or more was said."""
        async with asyncio.timeout(5):
            assert await self._reader.read() == b""
        self._writer.close()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def kept(requests: int = 1) -> AsyncIterator[tuple[Runner, Client]]:
    """A runner that echoes bodies, and a connection that has been used so many times."""

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_route("*", "/", echo)
    runner = Runner(app, GatewaySettings(secret=b""))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = Client(*await asyncio.open_connection(*runner.addresses[0][:2]))
    for _ in range(requests):
        client.send(REQUEST)
        assert await client.answer() == (b"", None)
    try:
        yield runner, client
    finally:
        await runner.cleanup()


async def test_each_answer_of_who_leaves_is_the_last_of_its_connection_and_says_so() -> None:
    async with kept() as (runner, client):
        runner.leave()
        client.send(REQUEST)
        assert await client.answer() == (b"", b"close")
        await client.ended()


async def test_a_kept_connection_on_which_nothing_comes_is_ended() -> None:
    async with kept() as (runner, client):
        await runner.cleanup()
        await client.ended()


@pytest.mark.parametrize("requests", [0, 1])
@pytest.mark.parametrize("cut", [0, 1, len(REQUEST) - 1, len(POST) - 4, len(POST) - 1])
async def test_a_request_that_has_begun_to_arrive_at_the_end_is_answered(cut: int, requests: int) -> None:
    async with kept(requests) as (runner, client):
        if cut:
            client.send(POST[:cut])
            await asyncio.sleep(0.05)
        else:
            # In the kernel, and not read yet.
            client.send(POST[:1])
            cut = 1
        ending = asyncio.create_task(runner.cleanup())
        await asyncio.sleep(0.05)
        client.send(POST[cut:])
        assert await client.answer() == (b"body", b"close")
        await client.ended()
        await ending


async def test_a_request_that_arrives_too_slowly_does_not_hold_up_the_end() -> None:
    async with kept() as (runner, client):
        client.send(POST[:-1])
        async with asyncio.timeout(5):
            await runner.cleanup()


async def test_what_a_client_answers_to_its_close_is_heard_so_that_nobody_waits_for_it_in_vain() -> None:
    listening: asyncio.Queue[web.WebSocketResponse] = asyncio.Queue()
    answered = asyncio.Event()

    async def listen(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        listening.put_nowait(response)
        assert (await response.receive()).data == "I am told"
        answered.set()
        return response

    async def tell(_: web.Application) -> None:
        while not listening.empty():
            await listening.get_nowait().send_str("the server ends")
        async with asyncio.timeout(5):
            await answered.wait()

    app = web.Application()
    app.router.add_get("/", listen)
    app.on_shutdown.append(tell)
    runner = Runner(app, GatewaySettings(secret=b""))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as client, client.ws_connect(f"http://{host}:{port}/") as websocket:
        ending = asyncio.create_task(runner.cleanup())
        assert (await websocket.receive()).data == "the server ends"
        await websocket.send_str("I am told")
        await ending
