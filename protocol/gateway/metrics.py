"""What Prometheus is told of HTTP and of the connections that stay open."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

UNMATCHED = "unmatched"


class HttpMetrics:
    """Requests by method, route and status; their time by route. The labels are bounded: a route is a pattern."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "plaudit_http_requests", "HTTP requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "plaudit_http_request_seconds", "Time from the headers to the answer.", ["route"], registry=registry
        )

    def count(self, request: web.Request, status: int, seconds: float) -> None:
        resource = request.match_info.route.resource
        route = UNMATCHED if resource is None else resource.canonical
        method = request.method if request.method in _METHODS else "other"
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)


class SocketMetrics:
    """WebSockets and event streams: how many are open, and with which code the server closed the others."""

    def __init__(self, registry: CollectorRegistry, open_now: Callable[[], int]) -> None:
        self.registry = registry
        Gauge("plaudit_connections", "WebSockets and event streams.", registry=registry).set_function(open_now)
        self._disconnects = Counter(
            "plaudit_disconnects", "Connections that the server closed, by code.", ["code"], registry=registry
        )

    def closed(self, code: int) -> None:
        self._disconnects.labels(code).inc()


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
