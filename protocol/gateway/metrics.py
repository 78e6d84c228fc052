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
        self._of_labels: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, request: web.Request, status: int, seconds: float) -> None:
        resource = request.match_info.route.resource
        route = UNMATCHED if resource is None else resource.canonical
        method = request.method if request.method in _METHODS else "other"
        self.count_of(method, route, status, seconds)

    def count_of(self, method: str, route: str, status: int, seconds: float) -> None:
        """The same, of a method and route that are known; the children of each labels are looked up once."""
        labels = method, route, status
        found = self._of_labels.get(labels)
        if found is None:
            found = self._of_labels[labels] = self._requests.labels(*labels), self._seconds.labels(route)
        requests, took_s = found
        requests.inc()
        took_s.observe(seconds)


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
