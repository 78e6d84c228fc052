"""The WebSocket at ``/connection/websocket``: does what a ``Session`` says, on an aiohttp socket.

One task per connection reads. What it asks of actors is submitted with a callback, and the replies that are ready in
one turn of the loop leave as one frame; nothing here awaits a write but the reader, which stops reading while its
client takes no replies or has too many commands in flight.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

from aiohttp import EofStream, WebSocketError, WSCloseCode, WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http import WebSocketReader

from protocol import session as conversation
from protocol.centrifuge import PING, encode_push
from protocol.channels import channel_of, key_of
from protocol.commands import ANONYMOUS, Person, ReadComments
from protocol.delivery import Form, Published, Subscription
from protocol.errors import BAD_REQUEST, CONNECTION_LIMIT, SHUTDOWN, SLOW, DomainError, Refused
from protocol.gateway.addresses import visitor_of
from protocol.gateway.frames import Pipe, Writer, close_frame, pong_frame, text_frame, text_frames
from protocol.gateway.handover import Line, Upgrade, take_over
from protocol.gateway.reading import read_comments
from protocol.gateway.settings import GatewaySettings
from protocol.gateway.sockets import CLOSE_GRACE_S, Sockets
from protocol.session import Action, Ask, Authenticate, Session, Subscribe

logger = logging.getLogger(__name__)

SUBPROTOCOL: Final = "centrifuge-json"
IN_FLIGHT_MAX: Final = 128
# Of a client that asks for much and takes nothing: what the transport may hold of its replies.
UNSENT_BYTES_MAX: Final = 8 << 20
DRAIN_TIMEOUT_S: Final = 30.0
# Of a client that says more than is read: as much is parsed ahead.
AHEAD_BYTES: Final = 65_536
# Of the first page, what goes into the reply itself; the rest follows as publications.
FIRST_PAGE_BYTES: Final = 262_144
_PING_FRAME: Final = text_frame(PING)


class WebSocketForm:
    """Publications as pushes, joined into text frames."""

    names_stream = True

    def __init__(self, writer: Writer) -> None:
        self.write = writer.write

    def encode(self, key: str, epoch: str, items: Sequence[Published]) -> bytes:
        channel = channel_of(key)
        return text_frames([encode_push(channel, item) for item in items])


def limits_of(settings: GatewaySettings) -> conversation.Limits:
    return conversation.Limits(
        commands_per_s=settings.socket_rate.per_s,
        commands_burst=settings.socket_rate.burst,
        subscriptions_max=settings.subscriptions_max,
        ping_interval_s=settings.ping_interval_s,
    )


class WebSocketEndpoint:
    """Serves ``GET /connection/websocket``."""

    def __init__(self, sockets: Sockets, limits: conversation.Limits | None = None) -> None:
        self._sockets = sockets
        self._form = WebSocketForm(sockets.writer)
        self._limits = limits or limits_of(sockets.settings)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Shake hands, and have the conversation go on. Raises ``Refused("origin_not_allowed")``."""
        self._sockets.origins.check(request)
        response = Upgrade(protocols=[SUBPROTOCOL], compress=False)
        await response.prepare(request)
        connection = WebSocketConnection(self._sockets, request, self._form, self._limits)
        self._sockets.spawn(connection.run(), connection.client)
        return response


class WebSocketConnection:
    """One socket: the ``Sink`` of its subscriptions, and the doer of its session's actions."""

    def __init__(
        self,
        sockets: Sockets,
        request: web.Request,
        form: Form,
        limits: conversation.Limits,
    ) -> None:
        self.form = form
        self.client = sockets.new_client()
        self.by: Person = ANONYMOUS
        self.session: str | None = None
        self._visitor = visitor_of(request, sockets.proxies)
        self.address = self._visitor.address
        self._sockets = sockets
        self.pipe = Pipe(request)
        self._line = take_over(request, self.pipe, self._receiver)
        self._loop = asyncio.get_running_loop()
        self._session = Session(self.client, limits, sockets.clock(), version=sockets.version)
        self._replies: list[bytes] = []
        self._in_flight = 0
        self._room: asyncio.Future[None] | None = None
        self._reading = True
        """False while the client waits for us, not we for it."""
        self._subscriptions: dict[str, Subscription] = {}
        self._attaching: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listing = asyncio.Lock()
        self._closed = False

    # -- the sink; what is closed is no longer subscribed

    def write(self, data: bytes) -> int:
        return self.pipe.write(data)

    def buffered_bytes(self) -> int:
        return self.pipe.buffered_bytes()

    def close(self, code: int, reason: str) -> None:
        """Say why, and give the client a moment to close its side; what it says meanwhile is not heard."""
        if self._closed:
            return
        self._sockets.metrics.closed(code)
        self._flush()
        self.pipe.write(close_frame(code, reason))
        self._stop()
        self._sockets.wheel.schedule(self, CLOSE_GRACE_S)

    def abort(self) -> None:
        self.pipe.abort()

    def _stop(self) -> None:
        self._closed = True
        self._session.end()
        for subscription in self._subscriptions.values():
            subscription.close()
        self._subscriptions.clear()
        self._make_room()

    # -- its life

    def _receiver(self, line: Line) -> WebSocketReader:
        """What takes the client's frames apart for ``_read``; aiohttp refuses a message of its limit, too."""
        limit = self._sockets.settings.frame_bytes_max + 1
        self._received = WebSocketDataQueue(line, AHEAD_BYTES, loop=asyncio.get_running_loop())
        return WebSocketReader(self._received, limit, compress=False, decode_text=False)

    async def run(self) -> None:
        """Serve until either side has closed."""
        sockets = self._sockets
        full = sockets.connections.full(self.address)
        sockets.connections.add(self)
        self._sleep()
        try:
            if sockets.closing:
                self.close(*SHUTDOWN)
            elif full:
                self.close(*CONNECTION_LIMIT)
            code = await self._read()
            if code is not None and not self._closed:
                self.pipe.write(close_frame(code, ""))
        finally:
            self._finish()
            sockets.wheel.cancel(self)
            sockets.connections.remove(self)
            if self._tasks:
                await asyncio.wait(self._tasks)

    def _finish(self) -> None:
        if not self._closed:
            self._stop()
        if self.pipe.buffered_bytes():
            # A client that closes without taking what was sent would hold the transport for ever.
            self.pipe.abort()
        else:
            self.pipe.close()

    async def _read(self) -> int | None:
        """Hear the client out; the code to close with if it says that it goes, or no WebSocket: None if it is gone."""
        while True:
            try:
                message = await self._received.read()
            except EofStream:
                return None
            except WebSocketError as error:
                return error.code
            if message.type is WSMsgType.CLOSE:
                return WSCloseCode.OK
            if self._closed:
                continue
            if message.type is WSMsgType.TEXT:
                await self._receive(message.data)
            elif message.type is WSMsgType.BINARY:
                self.close(*BAD_REQUEST)
            elif message.type is WSMsgType.PING:
                self.pipe.write(pong_frame(message.data))
                if self.pipe.buffered_bytes():
                    await self._wait_for_drain()

    async def _receive(self, frame: bytes) -> None:
        for action in self._session.receive(frame, self._sockets.clock()):
            if isinstance(action, Ask):
                self._ask(action)
            else:
                await self._perform(action)
            if self._in_flight >= IN_FLIGHT_MAX:
                await self._wait_for_room()
        if self.pipe.buffered_bytes():
            await self._wait_for_drain()

    async def _wait_for_room(self) -> None:
        """Read no further until half of the commands in flight are answered; each has a deadline of its own."""
        self._reading = False
        self._room = self._loop.create_future()
        try:
            await self._room
        finally:
            self._room = None
            self._reading = True

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def _wait_for_drain(self) -> None:
        """Read no further while the client takes no replies."""
        self._reading = False
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self._line.drain()
        except TimeoutError:
            self.close(*SLOW)
        except ConnectionResetError:
            pass  # The next read says so too.
        finally:
            self._reading = True

    # -- time

    def wake(self, now: float) -> float | None:
        """Ping, or close what is silent, expired or stale; abort what was asked to close and has not."""
        if self._closed:
            self.pipe.abort()
            return None
        if not self._reading:
            self._session.heard()
        match self._session.wake(now):
            case conversation.Ping():
                self.pipe.write(_PING_FRAME)
            case conversation.Close(code, reason):
                self.close(code, reason)
                return None
            case None:
                pass
        return self._session.due - now

    def _sleep(self) -> None:
        self._sockets.wheel.schedule(self, self._session.due - self._sockets.clock())

    # -- what the session says

    async def _perform(self, action: Action) -> None:
        match action:
            case conversation.Send(reply):
                self._send(reply)
            case conversation.Ping():
                self.pipe.write(_PING_FRAME)
            case Authenticate():
                await self._authenticate(action)
            case Ask():
                self._ask(action)
            case Subscribe():
                self._attaching[action.channel] = self._start(action.id, self._attach(action))
            case conversation.Unsubscribe(channel, reply):
                await self._unsubscribe(channel)
                self._send(reply)
            case conversation.ListPresence():
                _ = self._start(action.id, self._list_presence(action))
            case conversation.ReadHistory():
                _ = self._start(action.id, self._read_history(action))
            case conversation.Close(code, reason):
                self.close(code, reason)

    async def _authenticate(self, action: Authenticate) -> None:
        sockets = self._sockets
        try:
            identity = await sockets.authenticator.authenticate(action.token, self._visitor)
        except DomainError as error:
            result = self._session.not_authenticated(action, error)
        else:
            expires_at_s = identity.expires_at_s
            ttl_s = None if expires_at_s is None else max(0.0, expires_at_s - sockets.wall_clock())
            result = self._session.authenticated(action, identity.person, ttl_s, sockets.clock())
            self.by, self.session = identity.person, identity.session
        if not self._closed:
            await self._perform(result)
        if not self._closed:
            self._sleep()

    def _ask(self, action: Ask) -> None:
        if action.command.writes and self.by.id:
            try:
                self._sockets.limits.write_of(self.by.id)
            except Refused as refusal:
                self._send(conversation.error_reply(action.id, refusal))
                return
        if isinstance(action.command, ReadComments) and self.by.id:
            # The page of somebody in particular is not the actor's alone to answer.
            _ = self._start(action.id, self._list_comments(action, action.command))
            return
        self._in_flight += 1
        self._sockets.backend.submit(action.key, action.command, self.by, action.op, partial(self._answered, action.id))

    def _answered(self, id: int, outcome: object) -> None:
        self._landed()
        self._send(conversation.answer(id, outcome))

    def _landed(self) -> None:
        self._in_flight -= 1
        if self._in_flight <= IN_FLIGHT_MAX // 2:
            self._make_room()

    async def _unsubscribe(self, channel: str) -> None:
        attaching = self._attaching.get(channel)
        if attaching is not None:
            await asyncio.wait([attaching])
        subscription = self._subscriptions.pop(channel, None)
        if subscription is not None:
            subscription.close()

    # -- tasks, each of which replies once

    def _start(self, id: int, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._in_flight += 1
        task = self._loop.create_task(self._reply_to(id, work), name=f"{self.client}/{id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _reply_to(self, id: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except DomainError as error:
            self._send(conversation.error_reply(id, error))
        except Exception:
            logger.exception("a command of a WebSocket failed")
            self._send(conversation.error_reply(id, Refused("internal")))
        finally:
            self._landed()

    async def _attach(self, action: Subscribe) -> None:
        key = key_of(action.channel)
        try:
            attached = await self._sockets.backend.attach(key, self, action.since)
        except BaseException:
            self._session.unsubscribed(action.channel)
            raise
        finally:
            del self._attaching[action.channel]
        try:
            first = _fitting(attached.first)
            reply = self._session.subscribed(action, attached, first)
        except DomainError:
            attached.subscription.close()
            raise
        if self._closed:
            attached.subscription.close()
            return
        # In this order: the reply, what is left of the first page, everything later.
        self._send(reply)
        self._flush()
        if self._closed:
            # It takes too little.
            attached.subscription.close()
            return
        if attached.first[first:]:
            self.write(self.form.encode(key, attached.epoch, attached.first[first:]))
        self._subscriptions[action.channel] = attached.subscription
        attached.subscription.start()

    async def _list_comments(self, action: Ask, command: ReadComments) -> None:
        page = await read_comments(self._sockets.backend, command, self.by)
        self._send(conversation.answer(action.id, page))

    async def _list_presence(self, action: conversation.ListPresence) -> None:
        # One after the other: in order, and no client has all workers asked a hundred times at once.
        async with self._listing:
            present = await self._sockets.backend.presence(key_of(action.channel))
        self._send(conversation.present(action, present))

    async def _read_history(self, action: conversation.ReadHistory) -> None:
        changed = await self._sockets.backend.changes(key_of(action.channel), action.since, action.limit)
        self._send(conversation.history(action, changed.items, changed.cursor, recovered=changed.recovered))

    # -- replies

    def _send(self, reply: bytes) -> None:
        """Write ``reply``, with the others of this turn of the loop, at its end."""
        if self._closed:
            return
        if not self._replies:
            self._loop.call_soon(self._flush)
        self._replies.append(reply)

    def _flush(self) -> None:
        if not self._replies:
            return
        replies, self._replies = self._replies, []
        self.pipe.write(text_frames(replies))
        if self.pipe.buffered_bytes() > UNSENT_BYTES_MAX:
            self.close(*SLOW)


def _fitting(items: Sequence[Published]) -> int:
    """How many of ``items`` go into one frame that every client takes."""
    size = 0
    for count, item in enumerate(items):
        size += len(item.data)
        if size > FIRST_PAGE_BYTES:
            return count
    return len(items)
