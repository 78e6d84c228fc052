"""Takes a connection from aiohttp once its response has begun, if no other request is to come over it.

What aiohttp keeps for a request, two tasks with their frames, a parser and the headers of both sides, are some 12 KiB:
much for a connection that is idle for hours. ``tests/gateway/test_frames.py`` pins what this needs of aiohttp.
"""

from collections.abc import Callable
from typing import Protocol, cast

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WebSocketWriter
from aiohttp.web_protocol import RequestHandler

from protocol.gateway.frames import Pipe


class Receiver(Protocol):
    """Takes what the client sends, as aiohttp's ``WebSocketReader`` does."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]: ...

    def feed_eof(self) -> None:
        """The client is gone."""
        ...


class Upgrade(web.WebSocketResponse):
    """The handshake of a WebSocket alone: who takes the connection over reads it, and ends it."""

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: WebSocketWriter) -> None:
        """Make no reader: it would have what came along with the handshake."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Send no close frame."""


class Line(BaseProtocol):
    """The protocol of a connection that was taken over. aiohttp's server still counts it among its own."""

    __slots__ = ("_pipe", "_receiver", "_server")
    _task_handler = None
    """For whose end aiohttp's server would wait before it lets go of the connection."""

    def __init__(self, handler: RequestHandler, pipe: Pipe, receiver_of: Callable[["Line"], Receiver]) -> None:
        assert handler._manager is not None
        super().__init__(handler._loop)
        # It has no HTTP parser to be paused.
        self._upgraded = True
        self._paused = handler.writing_paused
        self._server = handler._manager
        self.transport = handler.transport
        self._pipe = pipe
        self._receiver = receiver_of(self)

    def data_received(self, data: bytes) -> None:
        self._receiver.feed_data(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._pipe.forget_socket()
        self._server.connection_lost(cast(RequestHandler, self), exc)
        super().connection_lost(exc)
        self._receiver.feed_eof()

    async def drain(self) -> None:
        """Wait until the transport has room again. Raises ``ConnectionResetError`` if the client is gone."""
        await self._drain_helper()

    # -- what the server asks of its connections when it ends

    def close(self) -> None:
        """Nothing: whoever took it over ends it in its own way."""

    async def shutdown(self, _timeout_s: float | None = None) -> None:
        if self.transport is not None:
            self.transport.abort()


def take_over(request: web.BaseRequest, pipe: Pipe, receiver_of: Callable[[Line], Receiver]) -> Line:
    """From now on a new receiver gets whatever comes over the connection of ``request``, whose response is prepared.

    What goes out goes by ``pipe``, which is told when the connection is lost.
    For aiohttp the client is gone: it lets go of all that it keeps when the handler returns the response.

    Raises:
        ConnectionResetError: The client is gone indeed.
    """
    handler, transport = request.protocol, request.transport
    if transport is None or handler._manager is None:
        raise ConnectionResetError("the client is gone")
    line = Line(handler, pipe, receiver_of)
    transport.set_protocol(line)
    line._server.connection_made(cast(RequestHandler, line), transport)
    # What came along with the request was kept back, and perhaps nothing more was read.
    early, handler._message_tail = handler._message_tail, b""
    # Or it would close the transport.
    handler.transport = None
    handler.connection_lost(None)
    if not transport.is_reading():
        transport.resume_reading()
    if early:
        line.data_received(early)
    return line
