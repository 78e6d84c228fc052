"""What Prometheus is told of HTTP."""

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram

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


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
