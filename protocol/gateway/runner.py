"""Runs the application on sockets, with what aiohttp leaves open: a deadline for headers, our words for its errors,
and an end that cuts nobody off.

It reaches into aiohttp's protocol class: ``tests/gateway/test_runner.py`` pins what it needs of it.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from protocol.errors import DomainError, Refused
from protocol.gateway.middleware import EDGE, SERVER, problem_response
from protocol.gateway.settings import GatewaySettings
from protocol.problems import MEDIA_TYPE, encode_problem

log = logging.getLogger(__name__)

AtOnce = Callable[[RawRequestMessage, str | None], bytes | None]
"""See ``Edge.at_once``."""

KEEPALIVE_S = 75.0
"""An idle connection is kept for so long: longer than the proxies before it keep theirs."""
LINGERING_S = 2.0
"""For so long the rest of a refused body is read, so that the client gets to see the answer."""
SHUTDOWN_S = 3.0
"""For so long running requests are waited for."""
RECEIVING_S = 0.3
"""For so long a request is waited for that has begun to arrive when the runner ends, or a first one."""
RECEIVING_POLL_S = 0.01
_TIMED_OUT: Final = encode_problem(Refused("request_timeout", "the headers took too long to arrive"))
_REQUEST_TIMEOUT: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
    % (MEDIA_TYPE.encode(), len(_TIMED_OUT), _TIMED_OUT)
)


class Runner(web.AppRunner):
    """``web.AppRunner`` whose ``server`` makes the connections below; ``leave`` comes before ``cleanup``."""

    def __init__(
        self, app: web.Application, settings: GatewaySettings, *, shutdown_timeout: float = SHUTDOWN_S
    ) -> None:
        super().__init__(
            app,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGERING_S,
            shutdown_timeout=shutdown_timeout,
            access_log=None,
            handle_signals=False,
            # A compressed body is refused, and must not be unpacked first: one that is broken would end the connection.
            auto_decompress=False,
        )
        self._header_timeout_s = settings.header_timeout_s
        self._leaving = False
        self._edge = app.get(EDGE)
        app.on_response_prepare.append(self._say_if_last)

    def leave(self) -> None:
        """Have each answer from now on be the last of its connection, and say so.

        Who keeps a connection and uses it meanwhile goes elsewhere, and is not cut off in the middle of a request.
        """
        self._leaving = True

    async def cleanup(self) -> None:
        self.leave()
        if self.server is not None:
            await self._end_kept(self.server)
            # Now, and not only in what follows: that first drops whatever clients say, so also that they close.
            await self.shutdown()
        await super().cleanup()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _Server(server, self._header_timeout_s, self._at_once)

    def _at_once(self, message: RawRequestMessage, peer: str | None) -> bytes | None:
        return None if self._leaving or self._edge is None else self._edge.at_once(message, peer)

    async def _say_if_last(self, _: web.Request, response: web.StreamResponse) -> None:
        if self._leaving and response.status != HTTPStatus.SWITCHING_PROTOCOLS:
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"

    async def _end_kept(self, server: web.Server) -> None:
        """End the connections that wait for a request, each once nothing is being received on it."""
        clock = asyncio.get_running_loop().time
        give_up = clock() + RECEIVING_S
        while True:
            # What the kernel has already is read meanwhile.
            await asyncio.sleep(0)
            connections = [each for each in server.connections if isinstance(each, _Connection)]
            for connection in connections:
                if connection.waits():
                    connection.force_close()
            if clock() >= give_up or not any(connection.receives() for connection in connections):
                return
            await asyncio.sleep(RECEIVING_POLL_S)


class _Server(web.Server):
    """The same server as another, with our connections."""

    def __init__(self, made: web.Server, header_timeout_s: float, at_once: AtOnce) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory, loop=made._loop, **made._kwargs)
        self._header_timeout_s = header_timeout_s
        self._at_once = at_once

    def __call__(self) -> RequestHandler:
        return _Connection(self, self._header_timeout_s, self._at_once, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    """One connection. Headers have a deadline: from its first moment, then from the first byte of each request.

    What can be answered at once is, before aiohttp's task for the connection is woken up.
    """

    __slots__ = ("_at_once", "_deadline", "_header_timeout_s", "_heard", "_peer")

    def __init__(self, server: web.Server, header_timeout_s: float, at_once: AtOnce, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._header_timeout_s = header_timeout_s
        self._at_once = at_once
        self._peer: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._heard = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = self.peername
        self._peer = str(peer[0]) if isinstance(peer, tuple) else peer
        self._arm()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        complete = self._request_count
        # aiohttp's task, which waits for a request, is not told of it until it is known that it takes a handler.
        waiter, self._waiter = self._waiter, None
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        waits = complete == 0 if waiter is None else not waiter.done()  # Without a waiter it has not begun, or is busy.
        if self._messages and waits:
            self._answer_at_once()
            if self._messages and waiter is not None and not waiter.done():
                waiter.set_result(None)
        self._heard = True
        if self._request_count > complete:
            self._disarm()
        elif self._deadline is None and self._idle():
            self._arm()

    def _answer_at_once(self) -> None:
        """Answer the requests that wait, in their order, up to the first that takes a handler."""
        while self._messages and self.transport is not None and not self.writing_paused and not self._buffer_paused:
            message, payload = self._messages[0]
            if payload is not EMPTY_PAYLOAD or not isinstance(message, RawRequestMessage):
                return
            answer = self._at_once(message, self._peer)
            if answer is None:
                return
            self._messages.popleft()
            self._count_answered()
            self.transport.write(answer)
            if message.should_close:
                self.force_close()

    def _count_answered(self) -> None:
        """Do what aiohttp does of its own for a request that it hands to a handler."""
        assert self._manager is not None
        assert self._parser is not None
        self._manager.requests_count += 1
        self._parser.message_consumed()
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout

    def waits(self) -> bool:
        """Whether nothing of the next request has come."""
        return self._idle() and self._deadline is None

    def receives(self) -> bool:
        """Whether a part of a request has come, but not all of it; also if the connection is new."""
        if self._deadline is not None:
            return self._idle()
        request = self._current_request
        return request is not None and not self._upgraded and not request.content.is_eof()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What is no HTTP, and our mistakes outside any middleware, as problem documents; never more than that."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun")
        if status < 500:
            response = problem_response(Refused("bad_request", "not a well-formed HTTP request"))
        else:
            log.error("a request failed outside the application", exc_info=exc)
            response = problem_response(DomainError("internal"))
        response.headers[hdrs.SERVER] = SERVER
        response.force_close()
        return response

    def _arm(self) -> None:
        self._deadline = self._loop.call_later(self._header_timeout_s, self._headers_timed_out)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _headers_timed_out(self) -> None:
        self._deadline = None
        if self.transport is None or not self._idle():
            return
        # Who never said anything (browsers open connections in advance) is not told either.
        if self._heard:
            self.transport.write(_REQUEST_TIMEOUT)
        self.force_close()

    def _idle(self) -> bool:
        """Whether it waits for a request."""
        return self._waiter is not None and not self._waiter.done() and not self._upgraded
