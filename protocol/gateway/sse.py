"""Event streams, of posts, of feeds and of notifications: the same streams as the WebSocket's, by the same cursors.

Every event of the stream has its cursor as ``id``, so that a browser resumes by itself; counters and typing have none
and leave the last one as it is. ``event: reset`` says that a cursor cannot be resumed and the client must reload; its
``id`` is the position that the stream goes on from.

A browser comes back with the address that it began with, and so with a ticket that is used up: addresses get into logs,
so that they must be worth nothing. Where a stream is only its owner's, the ids that were opened by a ticket bear its
receipt, which no address shows: in ``Last-Event-ID`` it opens the stream again, for as long as the session lives.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp_sse import EventSourceResponse

from protocol import sse
from protocol.cursor import RECEIPT, Cursor, parse_cursor, receipt_in
from protocol.delivery import Attached, Form, Published, Subscription
from protocol.errors import DomainError, Overloaded, Refused
from protocol.gateway.addresses import visitor_of
from protocol.gateway.frames import Pipe, Writer
from protocol.gateway.handover import take_over
from protocol.gateway.http import bearer_token
from protocol.gateway.identity import Identity, Visitor
from protocol.gateway.sockets import CLOSE_GRACE_S, Sockets
from protocol.text import decimal_id

# So long a browser waits before it comes back.
RETRY_MS: Final = 3_000
COMMENT_INTERVAL_S: Final = 15.0
LAST_EVENT_ID: Final = "Last-Event-ID"
RESET: Final = "reset"


class SseForm:
    """Publications as events; in chunks for HTTP/1.1, bare for the HTTP/1.0 that some proxies speak."""

    names_stream = False

    def __init__(self, writer: Writer, *, chunked: bool, receipt: str = "") -> None:
        """With a ``receipt`` for one connection, else for all."""
        self.write = writer.write
        self._chunked = chunked
        self._behind_epoch = f"{RECEIPT}{receipt}" if receipt else ""

    def encode(self, key: str, epoch: str, items: Sequence[Published]) -> bytes:
        return self.frame(b"".join(self.event(epoch, item) for item in items))

    def event(self, epoch: str, item: Published) -> bytes:
        return sse.block(item.data, id=None if item.offset is None else self.id(epoch, item.offset))

    def id(self, epoch: str, offset: int) -> str:
        return str(Cursor(epoch + self._behind_epoch, offset))

    def frame(self, blocks: bytes) -> bytes:
        return sse.chunk(blocks) if self._chunked else blocks

    def end(self) -> bytes:
        """What ends the stream, before the connection is closed."""
        return sse.LAST_CHUNK if self._chunked else b""


class _Handshake(EventSourceResponse):
    """The head of an event stream, without the task that aiohttp-sse starts for its pings: one wheel serves all."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if request.version >= HttpVersion11:
            self.enable_chunked_encoding()
        self.force_close()
        del self.headers[hdrs.CONNECTION]
        return await web.StreamResponse.prepare(self, request)


class Admitted(NamedTuple):
    """Who listens."""

    identity: Identity
    receipt: str = ""
    """Of the ticket that was shown."""


class SseEndpoint:
    """Serves ``GET /v1/posts/{id}/events``, ``GET /v1/feed/events`` and ``GET /v1/notifications/events``."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._chunked = SseForm(sockets.writer, chunked=True)
        self._bare = SseForm(sockets.writer, chunked=False)

    async def of_post(self, request: web.Request) -> web.StreamResponse:
        """See ``_serve``. Who comes back with a ticket that is used up reads as anyone may."""
        return await self._serve(request, lambda _: _post_key(request), self._reader)

    async def of_notifications(self, request: web.Request) -> web.StreamResponse:
        """See ``_serve``; for who is signed in."""
        return await self._serve(request, lambda identity: f"user:{_own(identity)}", self._owner)

    async def of_feed(self, request: web.Request) -> web.StreamResponse:
        """See ``_serve``; for who is signed in."""
        return await self._serve(request, lambda identity: f"feed:{_own(identity)}", self._owner)

    async def _serve(
        self,
        request: web.Request,
        key_of: Callable[[Identity], str],
        admit: Callable[[web.Request, Visitor], Awaitable[Admitted]],
    ) -> web.StreamResponse:
        """Begin an event stream, which goes on until either side ends it.

        The token stands in ``Authorization``, or a ticket in the query.

        Raises:
            DomainError: As ``Backend.attach`` and ``Authenticator`` raise it; ``too_many_requests`` for one connection
                too many of an address.
        """
        if request.method != hdrs.METH_GET:
            # aiohttp gives every GET a HEAD.
            raise Refused("method_not_allowed")
        sockets = self._sockets
        sockets.origins.check(request)
        since = _cursor(request)
        visitor = visitor_of(request, sockets.proxies)
        if sockets.closing:
            raise Overloaded("the server is shutting down")
        if sockets.connections.full(visitor.address):
            raise Refused("too_many_requests", "too many connections of this address", retry_after_s=RETRY_MS / 1000)
        identity, receipt = await admit(request, visitor)
        key = key_of(identity)
        connection = SseConnection(sockets, visitor, identity, self._form(request, receipt))
        return await connection.run(request, key, since)

    def _form(self, request: web.Request, receipt: str) -> SseForm:
        chunked = request.version >= HttpVersion11
        if receipt:
            return SseForm(self._sockets.writer, chunked=chunked, receipt=receipt)
        return self._chunked if chunked else self._bare

    async def _reader(self, request: web.Request, visitor: Visitor) -> Admitted:
        authenticator = self._sockets.authenticator
        ticket = request.query.get("ticket")
        if ticket is None:
            return Admitted(await authenticator.authenticate(bearer_token(request), visitor))
        try:
            return Admitted(await authenticator.redeem(ticket, visitor))
        except Refused:
            if _cursor(request) is None:
                raise
            return Admitted(await authenticator.authenticate(None, visitor))

    async def _owner(self, request: web.Request, visitor: Visitor) -> Admitted:
        authenticator = self._sockets.authenticator
        ticket = request.query.get("ticket")
        if ticket is None:
            return Admitted(await authenticator.authenticate(bearer_token(request), visitor))
        # Never from the query: a receipt in an address would be with its ticket in the same logs.
        if receipt := receipt_in(request.headers.get(LAST_EVENT_ID, "")):
            return Admitted(await authenticator.resume(ticket, receipt), receipt)
        return Admitted(await authenticator.redeem(ticket, visitor), authenticator.receipt(ticket))


def is_browser_back(request: web.Request) -> bool:
    """Whether an ``EventSource`` asks that was cut off."""
    return (
        request.method == hdrs.METH_GET
        and LAST_EVENT_ID in request.headers
        and sse.CONTENT_TYPE in request.headers.get(hdrs.ACCEPT, "")
    )


async def try_again(request: web.Request, trouble: DomainError) -> web.StreamResponse:
    """A stream of nothing, after which a browser waits and comes back."""
    response = _Handshake()
    await response.prepare(request)
    await response.write(sse.block(retry_ms=max(RETRY_MS, int(1000 * (trouble.retry_after_s or 0)))))
    return response


def _own(identity: Identity) -> int:
    """The account of who is signed in."""
    if not identity.person.id:
        raise Refused("unauthorized", "sign in, and show another ticket")
    return identity.person.id


def _post_key(request: web.Request) -> str:
    try:
        return f"post:{decimal_id(request.match_info['id'])}"
    except Refused:
        raise Refused("post_not_found") from None


def _cursor(request: web.Request) -> Cursor | None:
    """Where the client is: the header that a browser sends when it comes back wins over the query it began with.

    What is no cursor cannot be resumed, as a foreign one cannot: a browser gives up for ever on an error, but not on a
    reset.
    """
    text = request.headers.get(LAST_EVENT_ID) or request.query.get("last_event_id")
    if not text:
        return None
    return parse_cursor(text) or Cursor("", 0)


class SseConnection:
    """One event stream: the ``Sink`` of its one subscription."""

    pipe: Pipe
    """From when the head of the response is out."""

    def __init__(self, sockets: Sockets, visitor: Visitor, identity: Identity, form: SseForm) -> None:
        self.form: Form = form
        self._own_form = form
        self.client = sockets.new_client()
        self.by = identity.person
        self.session = identity.session
        self.address = visitor.address
        self._sockets = sockets
        self._subscription: Subscription | None = None
        self._begun = False
        self._ended = False

    # -- the sink; what has ended is no longer subscribed

    def write(self, data: bytes) -> int:
        return self.pipe.write(data)

    def buffered_bytes(self) -> int:
        return self.pipe.buffered_bytes() if self._begun else 0

    def close(self, code: int, reason: str) -> None:
        """End the stream; why cannot be said, and a browser comes back by itself."""
        if self._ended:
            return
        self._sockets.metrics.closed(code)
        self._end()
        self._sockets.wheel.schedule(self, CLOSE_GRACE_S)

    def abort(self) -> None:
        if self._begun:
            self.pipe.abort()

    # -- its life

    async def run(self, request: web.Request, key: str, since: Cursor | None) -> web.StreamResponse:
        """Begin the stream, which goes on until either side ends it. Raises ``DomainError``; then nothing was sent."""
        self._sockets.connections.add(self)
        try:
            attached = await self._sockets.backend.attach(key, self, since)
            self._subscription = attached.subscription
            response = _Handshake()
            await response.prepare(request)
            self.pipe, self._begun = Pipe(request), True
            take_over(request, self.pipe, lambda _: self)
        except BaseException:
            self.feed_eof()
            raise
        self.write(self._own_form.frame(_opening(attached, since, self._own_form)))
        if self._ended:
            # It was told to while it began.
            self._end()
        else:
            attached.subscription.start()
            self._sockets.wheel.schedule(self, COMMENT_INTERVAL_S)
        return response

    def _end(self) -> None:
        self._ended = True
        if self._subscription is not None:
            self._subscription.close()
        if not self._begun:
            return
        if self.buffered_bytes():
            # A client that takes nothing would hold the end of the body for ever.
            self.abort()
        else:
            self.write(self._own_form.end())
            self.pipe.close()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """A client has nothing to say after its request."""
        return False, b""

    def feed_eof(self) -> None:
        """The client is gone, or the stream never began."""
        self._ended = True
        if self._subscription is not None:
            self._subscription.close()
        self._sockets.wheel.cancel(self)
        self._sockets.connections.remove(self)

    def wake(self, now: float) -> float | None:
        """Keep the connection alive; abort what was asked to end and has not."""
        if self._ended:
            self.abort()
            return None
        self.write(self._own_form.frame(sse.comment()))
        return COMMENT_INTERVAL_S


def _opening(attached: Attached, since: Cursor | None, form: SseForm) -> bytes:
    """What a stream begins with: where it goes on from, the numbers as of now, the first page of what was missed."""
    id = form.id(attached.epoch, attached.offset)
    blocks = []
    if since is not None and not attached.recovered:
        cursor = str(Cursor(attached.epoch, attached.offset))
        blocks.append(sse.block(msgspec.json.encode({"cursor": cursor}), id=id, event=RESET))
    # With the id, so that who is cut off before the first change resumes from here.
    blocks.append(sse.block(attached.counters, id=id, retry_ms=RETRY_MS))
    blocks.extend(form.event(attached.epoch, item) for item in attached.first)
    return b"".join(blocks)
