"""The gateway as one aiohttp application. An endpoint is a row in ``protocol.routes`` and a handler of its name."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from protocol.gateway.accounts import Accounts
from protocol.gateway.addresses import Proxies
from protocol.gateway.authentication import Authentication
from protocol.gateway.backend import Backend
from protocol.gateway.cluster import Cluster
from protocol.gateway.comments import Comments
from protocol.gateway.embedding import Embedding
from protocol.gateway.finding import Finding
from protocol.gateway.graph import Graph
from protocol.gateway.hosts import HostUsers, Keys, PublishedKeys, SharedSecret, jwks_fetcher
from protocol.gateway.http import Handler, Server, answer
from protocol.gateway.intake import Intake
from protocol.gateway.kept import KeptAnswers
from protocol.gateway.limits import Limits
from protocol.gateway.metrics import HttpMetrics
from protocol.gateway.middleware import Edge
from protocol.gateway.notifications import Notifications
from protocol.gateway.origins import Origins
from protocol.gateway.pages import Pages, Site
from protocol.gateway.passwords import Passwords
from protocol.gateway.posts import Posts
from protocol.gateway.reactions import Reactions
from protocol.gateway.reference import add_reference
from protocol.gateway.revoked import Revoked
from protocol.gateway.scrape import Scrape
from protocol.gateway.settings import GatewaySettings
from protocol.gateway.sockets import Sockets
from protocol.gateway.sse import SseEndpoint
from protocol.gateway.timelines import Timelines
from protocol.gateway.tokens import Tokens
from protocol.gateway.websocket import WebSocketEndpoint
from protocol.routes import ENDPOINTS


def make_app(
    backend: Backend,
    settings: GatewaySettings,
    *,
    clock: Callable[[], float],
    timer: Callable[[], float],
    token_bytes: Callable[[int], bytes],
    registry: CollectorRegistry,
    site: Site | None = None,
    version: str = "plaudit",
    passwords: Passwords | None = None,
) -> web.Application:
    """Compose everything that clients reach.

    Args:
        clock: Unix seconds.
        timer: Seconds of a monotonic clock.
        token_bytes: So many bytes that nobody can guess.
        registry: Where the metrics of HTTP are counted, and what ``/metrics`` shows of this worker.
        passwords: By default with the parameters for production.
    """
    tokens = Tokens(settings.secret, clock=clock, token_bytes=token_bytes)
    origins = Origins(settings.allowed_origins, settings.public_url)
    proxies = Proxies(settings.trusted_proxies)
    limits = Limits(settings, timer)
    passwords = passwords or Passwords()
    hosts = _hosts(backend, settings, clock, timer)
    revoked = Revoked(backend, clock, settings.access_ttl_s)
    authentication = Authentication(backend, tokens, revoked, hosts)
    sockets = Sockets(
        backend,
        authentication,
        settings,
        limits=limits,
        origins=origins,
        proxies=proxies,
        clock=timer,
        wall_clock=clock,
        new_client=lambda: token_bytes(12).hex(),
        registry=registry,
        version=version,
    )
    _connect(revoked, sockets, hosts)

    app = web.Application(client_max_size=settings.frame_bytes_max)
    answers = KeptAnswers(backend)
    edge = Edge(origins, limits, proxies, HttpMetrics(registry), answers, token_bytes=token_bytes, timer=timer)
    edge.install(app)
    server = Server(
        backend,
        authentication,
        limits,
        origins,
        proxies,
        answers,
        body_bytes_max=settings.frame_bytes_max,
        body_timeout_s=settings.body_timeout_s,
    )
    _add_endpoints(
        app,
        server,
        {
            **Accounts(backend, settings, tokens, passwords, revoked).handlers(),
            **Posts(backend, origins).handlers(),
            **Comments().handlers(),
            **Reactions().handlers(),
            **Graph(backend).handlers(),
            **Timelines(backend).handlers(),
            **Finding(backend).handlers(),
            **Notifications(backend).handlers(),
            **Cluster(backend, registry, lambda: len(sockets.connections)).handlers(),
        },
    )
    # Those that stay open. None is in the table: they speak other protocols than requests and answers.
    events = SseEndpoint(sockets)
    app.router.add_get("/connection/websocket", WebSocketEndpoint(sockets).handle)
    app.router.add_get("/v1/posts/{id}/events", events.of_post)
    app.router.add_get("/v1/feed/events", events.of_feed)
    app.router.add_get("/v1/notifications/events", events.of_notifications)
    _add_probes(app, backend, sockets, Scrape(backend, registry, timer))
    site = site or Site()
    add_reference(app, version, site.title)
    Pages(site, backend, settings.public_url).add_to(app)
    Embedding(site, origins).add_to(app)

    _add_life(app, revoked, sockets, passwords)
    if backend.submissions is not None:
        _add_intake(app, Intake(backend, backend.submissions, registry))
    return app


def _hosts(
    backend: Backend, settings: GatewaySettings, clock: Callable[[], float], timer: Callable[[], float]
) -> HostUsers | None:
    keys: Keys
    if settings.host_jwks_url is not None:
        keys = PublishedKeys(jwks_fetcher(settings.host_jwks_url), timer)
    elif settings.host_jwt_secret is not None:
        keys = SharedSecret(settings.host_jwt_secret)
    else:
        return None
    return HostUsers(backend, keys, clock)


def _connect(revoked: Revoked, sockets: Sockets, hosts: HostUsers | None) -> None:
    """Who must know of what ends."""

    def account_ended(account: int) -> None:
        sockets.connections.end_account(account)
        if hosts is not None:
            hosts.forget(account)

    revoked.session_ended = sockets.connections.end_session
    revoked.account_ended = account_ended


def _add_endpoints(app: web.Application, server: Server, handlers: Mapping[str, Handler]) -> None:
    assert set(handlers) == {endpoint.name for endpoint in ENDPOINTS}, "every endpoint has its handler"
    for endpoint in ENDPOINTS:
        handle = server.serve(endpoint, handlers[endpoint.name])
        if endpoint.method == "GET":
            app.router.add_get(endpoint.path, handle)
        else:
            app.router.add_route(endpoint.method, endpoint.path, handle)


def _add_life(app: web.Application, revoked: Revoked, sockets: Sockets, passwords: Passwords) -> None:
    async def life(_: web.Application) -> AsyncIterator[None]:
        await revoked.read()
        reading = asyncio.create_task(revoked.keep_reading(), name="what has ended")
        async with sockets:
            yield
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        passwords.close()

    async def shut_down(_: web.Application) -> None:
        # Before the server waits for its handlers: those of the sockets end only when told to.
        await sockets.shut_down()

    app.cleanup_ctx.append(life)
    app.on_shutdown.append(shut_down)


def _add_intake(app: web.Application, intake: Intake) -> None:
    async def life(_: web.Application) -> AsyncIterator[None]:
        running = asyncio.create_task(intake.run(), name="intake")
        yield
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    app.cleanup_ctx.append(life)


def _add_probes(app: web.Application, backend: Backend, sockets: Sockets, scrape: Scrape) -> None:
    async def healthz(_: web.Request) -> web.Response:
        return answer({"status": "alive"})

    async def readyz(_: web.Request) -> web.Response:
        failing = {"server": "shutting down"} if sockets.closing else backend.ready()
        return answer({"status": "failing" if failing else "ready", "failing": failing}, status=503 if failing else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await scrape.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
