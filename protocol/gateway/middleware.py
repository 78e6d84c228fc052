"""What is done around every request: an id, CORS, the allowance of its address, a problem document for any error.

Only an ``EventSource`` that comes back is told to try again where that may help: on an error it would give up for ever.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_parser import RawRequestMessage
from aiohttp.typedefs import Middleware

from protocol.errors import DomainError, Refused
from protocol.gateway.addresses import Proxies, visitor_of
from protocol.gateway.http import ALLOWANCE, REQUEST_ID, error_headers
from protocol.gateway.kept import KeptAnswers, lines
from protocol.gateway.limits import Allowance, Limits, TooManyRequests
from protocol.gateway.metrics import HttpMetrics
from protocol.gateway.origins import Origins
from protocol.gateway.sse import is_browser_back, try_again
from protocol.problems import MEDIA_TYPE, encode_problem, retry_after_s

log = logging.getLogger(__name__)

SERVER: Final = "Plaudit"
"""All that the ``Server`` header tells."""
_LIMITED: Final = ("/v1/", "/connection/", "/p/", "/@")
"""Begin the paths that are counted against an address: what asks an actor; other pages and probes are not."""
_TAG: Final = re.compile(r'(?:W/)?"[!#-~]*"')
"""The one entity tag that a client says it has; of several, and of ``*``, a handler decides."""
ID_BYTES: Final = 8
IDS_DRAWN: Final = 256
_CODES: Final = {
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    413: "too_large",
    415: "unsupported_media_type",
}
"""For what aiohttp itself refuses."""

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Edge:
    """The outermost layer."""

    def __init__(
        self,
        origins: Origins,
        limits: Limits,
        proxies: Proxies,
        metrics: HttpMetrics,
        answers: KeptAnswers,
        *,
        token_bytes: Callable[[int], bytes],
        timer: Callable[[], float],
    ) -> None:
        self._origins = origins
        self._limits = limits
        self._proxies = proxies
        self._metrics = metrics
        self._answers = answers
        self._ids = _ids(token_bytes)
        self._timer = timer

    def install(self, app: web.Application) -> None:
        app.middlewares.append(self._middleware())
        app.on_response_prepare.append(self._add_headers)
        app[EDGE] = self

    def at_once(self, message: RawRequestMessage, peer: str | None) -> bytes | None:
        """All that a request without a body is answered, if the answer was kept: what the handler would answer.

        It is counted, limited and headed like any other, and says whether it is the last of its connection, which is
        for the caller to end. None if it takes a handler, be it to refuse.
        """
        began = self._timer()
        if message.method != hdrs.METH_GET or _says_more(message):
            return None
        answer = self._answers.find(message.path)
        if answer is None:
            return None
        headers = message.headers
        tags = headers.getall(hdrs.IF_NONE_MATCH, ())
        if len(tags) > 1 or not all(map(_TAG.fullmatch, tags)):
            return None
        if not self._answers.take(message.path, answer):
            return None
        try:
            address = self._proxies.client(peer, headers.getall(hdrs.X_FORWARDED_FOR, ()))
            allowance = self._limits.of_address(address)
        except TooManyRequests:
            return None
        common = self._headers(headers, next(self._ids), allowance)
        common[hdrs.DATE] = rfc822_formatted_time()
        if message.should_close:
            common[hdrs.CONNECTION] = "close"
        elif message.version < HttpVersion11:
            common[hdrs.CONNECTION] = "keep-alive"
        unchanged = any(tag.removeprefix("W/") == answer.tag.removeprefix("W/") for tag in tags)
        status, head, body = (304, answer.unchanged, b"") if unchanged else (200, answer.head, answer.body)
        self._metrics.count_of(hdrs.METH_GET, answer.route, status, self._timer() - began)
        return b"".join((head, lines(common), b"\r\n", body))

    def _middleware(self) -> Middleware:
        @web.middleware
        async def edge(request: web.Request, handler: Next) -> web.StreamResponse:
            request[REQUEST_ID] = next(self._ids)
            began = self._timer()
            response = await self._answered(request, handler)
            self._metrics.count(request, response.status, self._timer() - began)
            return response

        return edge

    async def _answered(self, request: web.Request, handler: Next) -> web.StreamResponse:
        try:
            if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
                return self._origins.preflight(request)
            if request.path.startswith(_LIMITED):
                request[ALLOWANCE] = self._limits.of_address(visitor_of(request, self._proxies).address)
            return await handler(request)
        except DomainError as error:
            if error.meaning.temporary and is_browser_back(request):
                return await try_again(request, error)
            return self._problem(request, error)
        except web.HTTPException as refusal:
            if refusal.status < 400:
                raise
            return self._problem(request, _translated(refusal), allow=refusal.headers.get(hdrs.ALLOW))
        except ConnectionError:
            raise
        except Exception:
            # The last net: a mistake of ours is told to the log in full, and to the client by the request's id.
            log.exception("request %s failed: %s %s", request[REQUEST_ID], request.method, request.path)
            if request.writer.output_size:
                raise ConnectionResetError("the answer had begun") from None
            return self._problem(request, DomainError("internal"))

    def _problem(self, request: web.Request, error: DomainError, allow: str | None = None) -> web.Response:
        if isinstance(error, TooManyRequests):
            request[ALLOWANCE] = error.allowance
        response = problem_response(error, request[REQUEST_ID])
        if allow is not None:
            response.headers[hdrs.ALLOW] = allow
        if error.code in ("request_timeout", "too_large"):
            # The rest of the body is not worth waiting for.
            response.force_close()
        return response

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """On the answers of every kind, streams and upgrades too, just before their headers leave."""
        headers = self._headers(request.headers, request.get(REQUEST_ID), request.get(ALLOWANCE))
        if hdrs.VARY in response.headers:
            headers[hdrs.VARY] = f"{response.headers[hdrs.VARY]}, {headers[hdrs.VARY]}"
        response.headers.update(headers)

    def _headers(self, asked: Mapping[str, str], request_id: str | None, allowance: Allowance | None) -> dict[str, str]:
        """What all answers have, to a request with the headers ``asked``."""
        headers = self._origins.headers(asked.get(hdrs.ORIGIN), asked.get(hdrs.HOST, ""))
        headers[hdrs.SERVER] = SERVER
        headers["X-Content-Type-Options"] = "nosniff"
        if request_id is not None:
            headers["X-Request-Id"] = request_id
        if allowance is not None:
            headers.update(allowance.headers())
        return headers


EDGE: Final = web.AppKey("edge", Edge)
"""Where the application that an edge is installed on has it."""


def _ids(token_bytes: Callable[[int], bytes]) -> Iterator[str]:
    """Ids of requests. Many are drawn at once: a system call for each took a quarter of an answer that is kept."""
    while True:
        drawn = token_bytes(IDS_DRAWN * ID_BYTES).hex()
        for at in range(0, len(drawn), 2 * ID_BYTES):
            yield drawn[at : at + 2 * ID_BYTES]


def _says_more(message: RawRequestMessage) -> bool:
    """Whether a request says something that may make a difference to its answer, beyond what those at once look at."""
    headers = message.headers
    return (
        message.upgrade
        or hdrs.AUTHORIZATION in headers
        or hdrs.EXPECT in headers
        or not headers.get(hdrs.ORIGIN, "").isascii()
    )


def problem_response(error: DomainError, request_id: str | None = None) -> web.Response:
    """``error`` as a problem document."""
    return web.Response(
        body=encode_problem(error, request_id),
        status=error.meaning.status,
        headers=error_headers(error, retry_after_s(error)),
        content_type=MEDIA_TYPE,
    )


def _translated(refusal: web.HTTPException) -> DomainError:
    if refusal.status >= 500:
        return DomainError("internal")
    return Refused(_CODES.get(refusal.status, "bad_request"))
