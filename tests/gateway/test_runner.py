"""What the runner needs of aiohttp: if one of these fails after an upgrade, read ``protocol/gateway/runner.py``."""

import asyncio
import logging

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

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


@pytest.mark.parametrize("name", ["_request_count", "_waiter", "_upgraded", "_loop"])
async def test_aiohttp_still_has_what_the_deadline_reads(connection: RequestHandler, name: str) -> None:
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
