"""Which sites' pages may talk to this server: CORS for HTTP and SSE, the ``Origin`` check for WebSocket."""

from collections.abc import Iterable

from aiohttp import hdrs, web

from protocol.errors import Refused
from protocol.pagekeys import origin_of

EXPOSED = "ETag, Link, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-Id"
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID"
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
PREFLIGHT_TTL_S = 7_200


class Origins:
    """The allowed origins; the server's own is always one, and ``*`` is any.

    No credentials travel by themselves here (tokens stand in a header, there are no cookies), so an allowed origin is
    simply echoed.
    """

    def __init__(self, allowed: Iterable[str], public_url: str | None) -> None:
        given = [origin.strip() for origin in allowed]
        self._any = "*" in given
        self._allowed = {origin_of(origin) for origin in given if origin != "*"}
        self._own = None if public_url is None else origin_of(public_url)

    def allows(self, origin: str, host: str) -> bool:
        """Whether pages of ``origin`` (an ``Origin`` header) may use the server that they reach as ``host``."""
        return self._any or origin in self._allowed or self.owns(origin, host)

    def owns(self, origin: str, host: str) -> bool:
        """Whether ``origin`` is the server's own, which is reached as ``host``."""
        # The scheme is left out: behind a proxy that ends TLS the server does not know its own.
        return origin == self._own or (host != "" and origin in (f"https://{host}", f"http://{host}"))

    def allows_page(self, url: str, host: str) -> bool:
        """Whether the page at ``url`` may embed a post: the scheme, which makes no other page of it, does not count."""
        origin = origin_of(url)
        site = origin.partition("://")[2]
        return any(self.allows(f"{scheme}://{site}", host) for scheme in ("https", "http"))

    def frame_ancestors(self) -> str:
        """The sites whose pages may show one of this server in a frame, in the words of Content-Security-Policy."""
        own = ["'self'"] if self._own is None else ["'self'", self._own]
        return "*" if self._any else " ".join([*own, *sorted(self._allowed)])

    def check(self, request: web.BaseRequest) -> None:
        """Refuse a request that a page of another origin makes: ``origin_not_allowed``. Programs send no ``Origin``."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and not self.allows(origin, host_of(request)):
            raise Refused("origin_not_allowed")

    def headers(self, origin: str | None, host: str) -> dict[str, str]:
        """What tells the browser that it may show the answer to the asking page; of any answer, also of an error."""
        headers: dict[str, str] = {hdrs.VARY: hdrs.ORIGIN}
        if origin is not None and self.allows(origin, host):
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED
        return headers

    def preflight(self, request: web.BaseRequest) -> web.Response:
        """The answer to a browser that asks before it sends. Raises ``Refused("origin_not_allowed")``."""
        self.check(request)
        headers = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: ALLOWED_METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ALLOWED_HEADERS,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_TTL_S),
        }
        return web.Response(status=204, headers=headers)


def host_of(request: web.BaseRequest) -> str:
    """The ``Host`` header; aiohttp's own ``request.host`` looks the machine's name up where there is none."""
    return request.headers.get(hdrs.HOST, "")
