"""Redis 6.2 or newer, or Valkey: the bus over its pub/sub, and a connection for questions.

The bus has one connection that listens and one that publishes.

Redis keeps nothing for those who are away, says nothing of what it dropped, and counts receivers that have stopped. So
both connections are one link: when either fails, stands still or is far behind, both are given up and made anew, and
the listener is told. A link counts as made once a probe has come back over it; after that it is probed every few
seconds.

Channels are ``plaudit:<cluster>:<inbox>``. What is published is ``MAGIC`` and a MessagePack array: the sender's inbox,
the number of its link, and the messages; none, to oneself, are a probe.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import takewhile
from typing import Any, NamedTuple, NoReturn

import msgspec
from msgspec import Struct
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection, parse_url
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    InvalidResponse,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from store.bus import EVERYONE, PENDING_BYTES_MAX, REDIS_MIN, BusCounts, BusUnavailable, Listener
from store.outgoing import Outgoing

OPEN_TIMEOUT_S = 3.0
"""To connect, log in, subscribe and get a probe back."""
ANSWER_TIMEOUT_S = 2.0
"""A link on which something is under way, and nothing moves for so long, is lost."""
BEHIND_MAX_S = 10.0
"""A slow one is lost as well, if a round of publishing takes longer than this, or a probe to come back."""
PROBE_EVERY_S = 5.0
LEAVE_TIMEOUT_S = 1.0
SILENCE_MAX_S = 86_400.0
"""Who has not been heard for so long is forgotten: nothing can still be under way from a connection it had given up
before. TCP keeps trying for a quarter of an hour, and what stands between has forgotten the connection as well."""
BACKOFF_MIN_S = 0.05
BACKOFF_MAX_S = 1.0
QUESTIONS_PAUSE_S = 1.0

MAGIC = b"plaudit1"
FRAME_BYTES_MAX = 256 << 10
"""In one ``PUBLISH``, unless a single message is larger: who gets it hands on all of it in one go."""
ROUND_BYTES_MAX = 4 << 20
"""About what one round trip may carry: it has to arrive within ``BEHIND_MAX_S``."""
PIECE_BYTES = 64 << 10
"""Written at a time: that the network has taken another one is how a slow link is told from a dead one."""
RECEIVED_BYTES_MAX = PENDING_BYTES_MAX + 1024
"""No frame of ours is larger: a message and what packing adds."""
REASON_CHARACTERS_MAX = 200
URLS = "redis://user:password@host:port, rediss://… or unix:///path"

_LOST = (RedisError, OSError, EOFError, TimeoutError)
log = logging.getLogger("plaudit.bus")


class Frame(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What one ``PUBLISH`` carries."""

    sender: str
    link: int
    """+1 with each link that the sender makes."""
    messages: list[bytes]


def packed(frame: Frame) -> bytes:
    return MAGIC + msgspec.msgpack.encode(frame)


def unpacked(data: bytes) -> Frame | None:
    """The frame in ``data``; None if none of us wrote it."""
    if len(data) > RECEIVED_BYTES_MAX or not data.startswith(MAGIC):
        return None
    try:
        return msgspec.msgpack.decode(memoryview(data)[len(MAGIC) :], type=Frame)
    except msgspec.MsgspecError:
        return None


class Heard(NamedTuple):
    """The last that was heard of a sender."""

    link: int
    at: float


class Senders:
    """Who has given up a link; of all others the first is the latest.

    What a network has held back may arrive long after its sender has connected anew.
    """

    def __init__(self) -> None:
        self._heard: dict[str, Heard] = {}
        """Who was heard last stands last."""

    def __len__(self) -> int:
        return len(self._heard)

    def in_order(self, sender: str, link: int, now: float) -> bool:
        """False if the sender has given up this link, and something of a later one was heard."""
        before = self._heard.pop(sender, None)
        latest = link if before is None else max(link, before.link)
        if latest > 1:
            self._heard[sender] = Heard(latest, now)
        return link == latest

    def forget_silent(self, since: float) -> None:
        """Forget those of whom nothing was heard since then."""
        silent = takewhile(lambda each: each[1].at < since, self._heard.items())
        for sender in [sender for sender, _ in silent]:
            del self._heard[sender]


class RedisBus:
    """Of one worker; ``cluster`` keeps apart what shares a Redis. For ``may_be_away`` see ``Bus.joined``."""

    def __init__(self, url: str, counts: BusCounts, *, cluster: str, may_be_away: bool = False) -> None:
        self._url = url
        self._counts = counts
        self._may_be_away = may_be_away
        self._prefix = f"plaudit:{cluster}:"
        self._outgoing = Outgoing()
        self._in_flight = 0
        """Messages of a round that was not answered yet."""
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()
        self._down: str | None = "not joined"
        self._inbox = ""
        self._link = 0
        self._senders = Senders()
        self._probed_at: float | None = None
        self._heard_at = 0.0

    @asynccontextmanager
    async def joined(self, inbox: str, listener: Listener) -> AsyncIterator[None]:
        assert not self._inbox, "a bus is joined once"
        self._inbox = inbox
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(self._run(listener, reached), name="redis bus")
        try:
            await reached
            yield
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none.wait(), LEAVE_TIMEOUT_S)
        finally:
            running.cancel()
            await asyncio.wait([running])
            self._down = "left"

    def send(self, inbox: str, message: bytes) -> None:
        if self._down is not None or not self._outgoing.put(inbox, message):
            self._counts.dropped(1)
            return
        self._none.clear()
        self._some.set()

    def down(self) -> str | None:
        return self._down

    def _channel(self, inbox: str) -> str:
        return self._prefix + inbox

    # -- the life of a link

    async def _run(self, listener: Listener, reached: "asyncio.Future[None]") -> None:
        """Keep a link until cancelled; if the first must be made and cannot, end with the reason in ``reached``."""
        clock = asyncio.get_running_loop().time
        backoff_s = BACKOFF_MIN_S
        while True:
            began = clock()
            try:
                await self._use_a_link(listener, reached)
            except (*_LOST, BusUnavailable) as error:
                why = _reason(error, self._url)
            except Exception:
                # The listener's mistake. It may be in any state now: told that it missed something, it begins anew.
                log.exception("a message could not be handled")
                why = "a message could not be handled"
            if not reached.done() and not self._may_be_away:
                reached.set_exception(BusUnavailable(why))
                return
            if why != self._down:
                log.warning("the bus is away: %s", why)
            self._down = why
            if not reached.done():
                reached.set_result(None)
            # One that is made and soon lost, again and again, must not keep everybody busy with catching up.
            lasted = clock() - began > OPEN_TIMEOUT_S + BACKOFF_MAX_S
            backoff_s = BACKOFF_MIN_S if lasted else min(2 * backoff_s, BACKOFF_MAX_S)
            await asyncio.sleep(backoff_s)

    async def _use_a_link(self, listener: Listener, reached: "asyncio.Future[None]") -> NoReturn:
        """Make a link, and use it until it fails."""
        async with AsyncExitStack() as stack:
            self._link += 1
            channels = [self._channel(inbox) for inbox in (EVERYONE, self._inbox)]
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                link = await stack.enter_async_context(_linked(self._url, channels))
                early = await self._first_probe(link)
            stack.callback(self._drop)
            self._down = None
            if reached.done():
                log.warning("the bus is back")
                listener.interrupted()
            else:
                reached.set_result(None)
            for data in early:
                self._hear(data, listener)
            await _until_one_fails(self._listen(link, listener), self._publish(link), self._probe(link))

    async def _first_probe(self, link: "_Link") -> list[bytes]:
        """Send a probe and wait for it; returns what was heard before it, and it."""
        early: list[bytes] = []
        await self._send_probe(link)
        while not early or unpacked(early[-1]) != self._frame([]):
            early.append(await link.heard())
        return early

    def _drop(self) -> None:
        """Give up what waits and what is in flight: it may have arrived, and sent again would arrive twice."""
        # Before anything else runs: what is sent from now on is dropped as well.
        self._down = "lost"
        if dropped := self._outgoing.clear() + self._in_flight:
            self._counts.dropped(dropped)
        self._in_flight = 0
        self._some.clear()
        self._none.set()

    # -- what a link is used for

    async def _listen(self, link: "_Link", listener: Listener) -> NoReturn:
        while True:
            self._hear(await link.heard(), listener)

    def _hear(self, data: bytes, listener: Listener) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        frame = unpacked(data)
        if frame is None:
            self._counts.malformed()
        elif frame == self._frame([]) and self._probed_at is not None:
            self._counts.lag(self._heard_at - self._probed_at)
            # What came in before the probe is heard by now, however long this process has slept.
            self._senders.forget_silent(since=self._probed_at - SILENCE_MAX_S)
            self._probed_at = None
        elif self._senders.in_order(frame.sender, frame.link, self._heard_at):
            for message in frame.messages:
                listener.received(message)

    async def _publish(self, link: "_Link") -> NoReturn:
        """One round trip at a time; what is sent meanwhile is the next."""
        while True:
            await self._some.wait()
            frames, size_bytes = self._round()
            await link.publish(frames)
            self._counts.sent(self._in_flight, size_bytes)
            self._in_flight = 0
            if not self._outgoing:
                self._some.clear()
                self._none.set()

    def _round(self) -> tuple[list[tuple[str, bytes]], int]:
        frames: list[tuple[str, bytes]] = []
        size_bytes = 0
        while self._outgoing and size_bytes < ROUND_BYTES_MAX:
            inbox, messages = self._outgoing.next(FRAME_BYTES_MAX)
            self._in_flight += len(messages)
            frames.append((self._channel(inbox), packed(self._frame(messages))))
            size_bytes += len(frames[-1][1])
        return frames, size_bytes

    async def _probe(self, link: "_Link") -> NoReturn:
        """Try the link every few seconds, also when it seems alive: what is measured then is the lag under load."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            await self._send_probe(link)
            give_up = clock() + BEHIND_MAX_S
            while self._probed_at is not None:
                since = clock()
                await asyncio.sleep(ANSWER_TIMEOUT_S)
                # What is heard before it shows that the link is slow, but not dead.
                if self._probed_at is not None and (self._heard_at < since or clock() >= give_up):
                    raise TimeoutError

    async def _send_probe(self, link: "_Link") -> None:
        self._probed_at = asyncio.get_running_loop().time()
        await link.publish([(self._channel(self._inbox), packed(self._frame([])))])

    def _frame(self, messages: list[bytes]) -> Frame:
        return Frame(self._inbox, self._link, messages)


# -- questions


class RedisRefusal(Exception):
    """What Redis answers to a command that it does not carry out: a code word, then the reason."""


class RedisUnavailable(Exception):
    """Redis is not reached, does not answer, or is none that this program may use; the message is one line.

    What was asked may be done or not.
    """


class RedisQuestions:
    """One connection that is asked, one round trip at a time. Made when needed, given up on the first trouble.

    After trouble everything is answered with the same trouble for ``QUESTIONS_PAUSE_S``.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AbstractConnection | None = None
        self._one_round = asyncio.Lock()
        self._trouble: tuple[float, str] | None = None
        """Until when, and what."""

    async def ask(self, *commands: tuple[str | bytes | int, ...], wait_s: float = 0.0) -> list[Any]:
        """The answers to ``commands``, which travel together; the last of them may take ``wait_s`` longer.

        Raises:
            RedisRefusal: One of them was refused; the others were carried out.
            RedisUnavailable: See there.
        """
        async with self._one_round:
            self._check_trouble()
            try:
                return await self._asked(commands, wait_s)
            except (*_LOST, BusUnavailable) as error:
                await self.close()
                why = _reason(error, self._url)
                self._trouble = asyncio.get_running_loop().time() + QUESTIONS_PAUSE_S, why
                raise RedisUnavailable(why) from error
            except asyncio.CancelledError:
                # Its answers would be taken for those to the next question.
                await self.close()
                raise

    async def close(self) -> None:
        """Give the connection up, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _check_trouble(self) -> None:
        if self._trouble is not None:
            until, why = self._trouble
            if asyncio.get_running_loop().time() < until:
                raise RedisUnavailable(why)
            self._trouble = None

    async def _asked(self, commands: Sequence[tuple[str | bytes | int, ...]], wait_s: float) -> list[Any]:
        connection = self._connection or await self._connect()
        async with asyncio.timeout(ANSWER_TIMEOUT_S + wait_s):
            await connection.send_packed_command(connection.pack_commands(commands))
            answers = [await _answer(connection) for _ in commands]
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise RedisRefusal(" ".join(str(answer).split())[:REASON_CHARACTERS_MAX]) from answer
        return answers

    async def _connect(self) -> AbstractConnection:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            self._connection = await _opened(self._url, database=None)
        return self._connection


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ReadOnlyError:
        # Another connection may lead to the Redis that has taken over from this one.
        raise
    except ResponseError as refusal:
        return refusal
    except (ValueError, RecursionError) as error:
        raise InvalidResponse("its answer makes no sense") from error


# -- connections


class _Link:
    """A pair of connections, good for as long as neither has failed."""

    def __init__(self, listening: AbstractConnection, publishing: AbstractConnection) -> None:
        self._listening = listening
        self._publishing = publishing
        self._one_round = asyncio.Lock()

    async def subscribe(self, channels: Sequence[str]) -> None:
        await self._listening.send_command("SUBSCRIBE", *channels)
        for _ in channels:
            await self._listening.read_response()

    async def heard(self) -> bytes:
        """The next frame of any channel."""
        while True:
            match await self._listening.read_response():
                case [b"message", _, bytes() as frame]:
                    return frame
                case _:
                    continue

    async def publish(self, frames: Sequence[tuple[str, bytes]]) -> None:
        """All together; returns once Redis has answered for each. How many it sent them to says nothing.

        Raises ``TimeoutError`` if nothing moves for ``ANSWER_TIMEOUT_S``, or it takes longer than ``BEHIND_MAX_S``.
        """
        async with self._one_round, _patience() as moved:
            commands = [("PUBLISH", channel, frame) for channel, frame in frames]
            for piece in _pieces(self._publishing.pack_commands(commands)):
                await self._publishing.send_packed_command([piece])
                moved()
            for _ in frames:
                await self._publishing.read_response()
                moved()


@asynccontextmanager
async def _patience() -> AsyncIterator[Callable[[], None]]:
    """Gives what is to be called whenever something has moved."""
    clock = asyncio.get_running_loop().time
    give_up = clock() + BEHIND_MAX_S
    async with asyncio.timeout(ANSWER_TIMEOUT_S) as limit:
        yield lambda: limit.reschedule(min(clock() + ANSWER_TIMEOUT_S, give_up))


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for at in range(0, len(chunk), PIECE_BYTES):
            yield chunk[at : at + PIECE_BYTES]


@asynccontextmanager
async def _linked(url: str, channels: Sequence[str]) -> AsyncIterator[_Link]:
    async with _connected(url) as listening, _connected(url) as publishing:
        link = _Link(listening, publishing)
        await link.subscribe(channels)
        yield link


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AbstractConnection]:
    """A connection of its own, to a Redis that will do.

    Not one of a pool: that would fail silently with many publishers, and reconnect without a word.
    """
    connection = await _opened(url, database=0)
    try:
        yield connection
    finally:
        await connection.disconnect(nowait=True)


async def _opened(url: str, *, database: int | None) -> AbstractConnection:
    """The same, to be closed by who asks for it. ``database`` is for None the one that ``url`` names."""
    try:
        connection = _connection(url, database)
    except (ValueError, TypeError, RedisError) as error:
        # Not in the error's own words, which may contain a part of the password.
        raise BusUnavailable(f"the URL of Redis cannot be used; it should be like {URLS}") from error
    try:
        await _check_version(connection, _place(url))
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


def _connection(url: str, database: int | None) -> AbstractConnection:
    options: dict[str, Any] = dict(parse_url(url))
    make: type[AbstractConnection] = options.pop("connection_class", Connection)
    if make is UnixDomainSocketConnection and not options.get("path"):
        raise ValueError("no path")
    # Every wait has a deadline here already. Pub/sub knows no databases, and who may only publish and subscribe may
    # not choose one, nor introduce the client by name (driver_info).
    waits = {"socket_timeout": None, "socket_connect_timeout": OPEN_TIMEOUT_S, "health_check_interval": 0}
    chosen = {} if database is None else {"db": database}
    return make(**{**options, **waits, **chosen, "protocol": 2, "decode_responses": False, "driver_info": None})


async def _check_version(connection: AbstractConnection, place: str) -> None:
    version = await _version(connection, place)
    if tuple(int(number) for number in version.split(b".")[:2] if number.isdigit()) < REDIS_MIN:
        raise BusUnavailable(_too_old(place, version.decode(errors="replace")))


async def _version(connection: AbstractConnection, place: str) -> bytes:
    try:
        # The first command connects, and logs in.
        await connection.send_command("HELLO", 2)
        answer = await connection.read_response()
    except ResponseError as error:
        if not str(error).lower().startswith("unknown command"):
            raise
        raise BusUnavailable(_too_old(place, "5 or older")) from error
    except (ValueError, RecursionError) as error:
        raise InvalidResponse("its answer makes no sense") from error
    fields = answer if isinstance(answer, list) else []
    for name, value in zip(fields[::2], fields[1::2], strict=False):
        if name == b"version" and isinstance(value, bytes):
            return value
    raise InvalidResponse("it does not tell its version")


def _too_old(place: str, version: str) -> str:
    return f"the Redis at {place} is version {version}; {'.'.join(map(str, REDIS_MIN))} or newer is needed"


def _place(url: str) -> str:
    """Where ``url`` points to, without its password."""
    options: dict[str, Any] = dict(parse_url(url))
    return options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def _reason(error: BaseException, url: str) -> str:
    """What is wrong with the Redis at ``url``, as one line."""
    if isinstance(error, BusUnavailable):
        return str(error)
    # Over a Unix socket the login is part of connecting, and what it raises is wrapped.
    if isinstance(error.__cause__, RedisError):
        error = error.__cause__
    said = " ".join(str(error).split())[:REASON_CHARACTERS_MAX]
    place = _place(url)
    match error:
        case AuthenticationError(status_code="NOAUTH"):
            return f"Redis at {place} wants a login"
        case AuthenticationError() | AuthorizationError():
            return f"Redis at {place} refuses the login: {said}"
        case RedisTimeoutError() | TimeoutError():
            return f"Redis at {place} does not answer"
        case InvalidResponse():
            return f"what answers at {place} is no Redis: {said}"
        case ResponseError() if said.startswith("DENIED"):
            return f"Redis at {place} is in protected mode: it lets in nobody from outside until it has a password"
        case ResponseError():
            return f"Redis at {place} refuses: {said}"
        case RedisConnectionError() | OSError() | EOFError() | _:
            return f"Redis at {place} cannot be reached: {said}"


async def _until_one_fails(*works: Coroutine[Any, Any, NoReturn]) -> NoReturn:
    """Run all until the first fails, and raise its error once the others have ended."""
    tasks = [asyncio.create_task(work, name="redis bus: a use of the link") for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
