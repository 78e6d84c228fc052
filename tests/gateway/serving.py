"""A real aiohttp server with the sockets on it, for tests of the gateway."""

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry

from protocol import session as conversation
from protocol.commands import Person
from protocol.errors import DomainError
from protocol.gateway.addresses import Proxies
from protocol.gateway.identity import Identity
from protocol.gateway.limits import Limits
from protocol.gateway.origins import Origins
from protocol.gateway.settings import GatewaySettings
from protocol.gateway.sockets import Sockets
from protocol.gateway.sse import SseEndpoint, is_browser_back, try_again
from protocol.gateway.websocket import WebSocketEndpoint
from tests.gateway.recording import Neighbours, RecordingAuthenticator, RecordingBackend

ADA = Identity(Person(id=7, handle="ada", name="Ada"), session="s7")
BOB = Identity(Person(id=8, handle="bob", name="Bob"), session="s8")


class Site:
    """Where the server listens, and what stands behind it."""

    def __init__(self, backend: RecordingBackend, authenticator: RecordingAuthenticator, sockets: Sockets) -> None:
        self.backend = backend
        self.authenticator = authenticator
        self.sockets = sockets
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/connection/websocket"


@web.middleware
async def problems(request: web.Request, handler: Any) -> web.StreamResponse:
    """Errors as the HTTP side answers them, in short."""
    try:
        response: web.StreamResponse = await handler(request)
    except DomainError as error:
        if error.meaning.temporary and is_browser_back(request):
            return await try_again(request, error)
        return web.json_response({"code": error.code}, status=error.meaning.status)
    return response


@asynccontextmanager
async def serving(
    *,
    page: int = 3,
    tick_s: float = 0.02,
    limits: conversation.Limits | None = None,
    neighbours: Neighbours | None = None,
    first_client: int = 1,
    **settings: Any,
) -> AsyncIterator[Site]:
    """The sockets over a ``RecordingBackend``, on a port of the loopback: one worker, perhaps with ``neighbours``."""
    configured = GatewaySettings(secret=b"secret", **settings)
    backend = RecordingBackend(page=page, neighbours=neighbours)
    authenticator = RecordingAuthenticator(ada=ADA, bob=BOB)
    numbers = itertools.count(first_client)
    sockets = Sockets(
        backend,
        authenticator,
        configured,
        limits=Limits(configured, time.monotonic),
        origins=Origins(configured.allowed_origins, configured.public_url),
        proxies=Proxies(configured.trusted_proxies),
        clock=time.monotonic,
        wall_clock=time.time,
        new_client=lambda: f"c{next(numbers)}",
        registry=CollectorRegistry(),
        tick_s=tick_s,
    )
    site = Site(backend, authenticator, sockets)
    app = web.Application(middlewares=[problems])
    app.router.add_get("/connection/websocket", WebSocketEndpoint(sockets, limits).handle)
    app.router.add_get("/v1/posts/{id}/events", SseEndpoint(sockets).of_post)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    site.port = runner.addresses[0][1]
    try:
        async with sockets:
            yield site
    finally:
        await runner.cleanup()


@asynccontextmanager
async def dialled(site: Site, **options: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A bare WebSocket to ``site``."""
    async with aiohttp.ClientSession() as client, client.ws_connect(site.ws_url, **options) as socket:
        yield socket
