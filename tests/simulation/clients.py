"""Simulated people: each asks, and follows streams, through connections to whatever worker is up.

What a person does, and keeps a record of, is for the kinds of people to say.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from random import Random
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Raw, Struct

from actors.runtime.draining import SLOW_AFTER_S
from actors.runtime.node import Node
from actors.runtime.streams import resolve
from protocol.commands import Command, Person, PostCommand
from protocol.errors import ERRORS, DomainError, Overloaded, Unavailable
from tests.simulation.edge import Connection, PushForm, Wire
from tests.simulation.loop import Host, SimulatedLoop
from tests.simulation.oracles import Journal, JournalledStore

PATIENCE_S = (1.0, 4.0)
"""How long a person waits for an answer before it asks again, perhaps elsewhere."""
RETRY_S = 0.5
RESET = 1006
"""What a browser reports of a connection that ended without a word."""
_CODES = {meaning.number: code for code, meaning in ERRORS.items()}


class NoAnswer(Exception):
    """The connection ended, or nothing came in time: the outcome is unknown."""


class Worker(Protocol):
    """A worker as its clients see it."""

    host: Host

    def accept(self, client: "Client", out: Wire, closed: Callable[[int], None]) -> Connection | None:
        """A new connection; None if the worker takes none."""
        ...

    def hang_up(self, connection: Connection) -> None: ...

    def request(
        self, client: "Client", key: str, command: Command, by: Person, op: str | None, answered: Callable[[Any], None]
    ) -> None:
        """One request that has a connection of its own; who is away, or ends meanwhile, answers nothing."""
        ...

    def read(
        self, client: "Client", read: Callable[[Node], Coroutine[Any, Any, Any]], answered: Callable[[Any], None]
    ) -> None:
        """As ``request``, of what no actor is asked for."""
        ...

    def show(self, client: "Client", command: PostCommand, answered: Callable[[Any], None]) -> None:
        """As ``request``, a read by nobody in particular: of what is kept, if it may be."""
        ...


class World(Protocol):
    """What is around a person."""

    loop: SimulatedLoop
    journal: Journal
    form: PushForm

    def pick(self, rng: Random) -> Worker | None:
        """Some worker that serves."""
        ...

    def trace(self, what: str) -> None: ...


class Error(Struct):
    code: int
    message: str
    temporary: bool = False


class Publication(Struct):
    data: Raw
    offset: int | None = None


class Push(Struct):
    channel: str
    pub: Publication


class Subscribed(Struct):
    epoch: str
    offset: int = 0
    was_recovering: bool = False
    recovered: bool = False
    publications: list[Publication] = []
    data: Raw = Raw(b"null")


class Rpc(Struct):
    data: Raw


class Heard(Struct):
    """One line from the server."""

    id: int = 0
    error: Error | None = None
    push: Push | None = None
    subscribe: Subscribed | None = None
    rpc: Rpc | None = None


class Denied(Exception):
    """The server says no."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.code = _CODES[error.code]
        self.temporary = error.temporary


class Stream(ABC):
    """What one person has of one stream: a position, and what the stream told so far."""

    def __init__(self, channel: str, who: str, journal: Journal) -> None:
        self.channel = channel
        self.epoch = ""
        self.offset = 0
        self.who = who
        self.journal = journal

    @abstractmethod
    def heard(self, publication: Publication) -> None: ...

    @abstractmethod
    def took(self, data: Raw) -> None:
        """What is said with every subscription."""

    @abstractmethod
    def lacking(self, store: JournalledStore) -> str | None:
        """What has not been heard that should be by the end."""

    def resumed(self, subscribed: Subscribed) -> None:
        self.journal.require(
            subscribed.recovered and subscribed.offset == self.offset,
            f"{self.who} resumes {self.channel} from {self.offset}: {subscribed}",
        )
        for publication in subscribed.publications:
            self.heard(publication)
        self.took(subscribed.data)


class Done(NamedTuple):
    """What a request came to that was insisted on."""

    answer: Any
    """None if it was refused, as it might be."""
    times: int


class _Waiting(NamedTuple):
    answer: asyncio.Future[Heard]
    stream: Stream | None
    """That is subscribed to."""


class Client(ABC):
    """One person with one connection. Once ``finishing`` it asks for nothing new, and only follows."""

    thinks_s = 0.35
    """The mean time between two things that a person does."""

    def __init__(self, world: World, host: Host, by: Person, rng: Random, streams: Sequence[Stream]) -> None:
        self.by = by
        self.host = host
        self.finishing = False
        self.finished = False
        self.streams = {stream.channel: stream for stream in streams}
        self.acknowledged = 0
        self.rng = rng
        self.journal = world.journal
        self.loop = world.loop
        self._world = world
        self._line = 0
        self._connections = 0
        self._connection: Connection | None = None
        self._up: Wire | None = None
        self._down: Wire | None = None
        self._worker: Worker | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._subscribed: set[str] = set()

    # -- what each kind of person has of its own

    @abstractmethod
    async def act(self) -> None:
        """Do one thing, and have it answered."""

    @abstractmethod
    async def load(self, stream: Stream) -> None:
        """Begin with ``stream``: give it a position. Raises ``NoAnswer`` or ``Denied``."""

    @abstractmethod
    async def conclude(self) -> None:
        """Look once more, when everything is at rest."""

    @abstractmethod
    def differing(self, store: JournalledStore) -> Iterator[str]:
        """Where what is stored in the end is not what this person asked for, or was told."""

    # -- its life

    async def run(self) -> None:
        while not self.finishing:
            await asyncio.sleep(self.rng.expovariate(1 / self.thinks_s))
            await self._live()
        while True:
            await self._follow_all()
            self.finished = True
            await asyncio.sleep(RETRY_S)

    async def _live(self) -> None:
        chance = self.rng.random()
        if self._connection is None or chance < 0.03:
            self._disconnect()
            await self._follow_all()
        elif chance < 0.06 and self._down is not None:
            self._stall()
        else:
            await self.act()
        if self._connection is not None and len(self._subscribed) < len(self.streams):
            await self._follow_all()

    def _stall(self) -> None:
        """Take nothing for a while, now and then for so long that the server hangs up."""
        assert self._down is not None
        self._down.hold()
        seconds = self.rng.random() * (3.0 if self.rng.random() < 0.97 else 2 * SLOW_AFTER_S)
        self.loop.call_later(seconds, self._down.release)

    # -- asking

    async def request(self, key: str, command: Command, by: Person, op: str | None) -> Any:
        """Ask some worker once. Raises ``NoAnswer`` or ``DomainError``."""
        worker = self._world.pick(self.rng)
        return await self._once(worker, lambda worker, answered: worker.request(self, key, command, by, op, answered))

    async def read(self, read: Callable[[Node], Coroutine[Any, Any, Any]]) -> Any:
        """Have some worker ``read`` something. Raises ``NoAnswer`` or ``DomainError``."""
        worker = self._world.pick(self.rng)
        return await self._once(worker, lambda worker, answered: worker.read(self, read, answered))

    async def show(self, worker: Worker | None, command: PostCommand) -> Any:
        """Read a post at ``worker``, without signing in. Raises ``NoAnswer`` or ``DomainError``."""
        return await self._once(worker, lambda worker, answered: worker.show(self, command, answered))

    async def _once(self, worker: Worker | None, ask: Callable[[Worker, Callable[[Any], None]], None]) -> Any:
        if worker is None:
            raise NoAnswer
        answer: asyncio.Future[Any] = self.loop.create_future()
        ask(worker, partial(resolve, answer))
        try:
            async with asyncio.timeout(self.rng.uniform(*PATIENCE_S)):
                return await answer
        except TimeoutError:
            raise NoAnswer from None

    async def insist(
        self, key: str, command: Command, by: Person, op: str | None = None, *,
        refused: Callable[[str, int], bool] = lambda code, times: False,
    ) -> Done:  # fmt: skip
        """Request until it is done, or ``refused`` says of a code, after so many requests, that it may be."""
        times = 0
        while True:
            times += 1
            answer = None
            try:
                answer = await self.request(key, command, by, op)
            except (NoAnswer, Unavailable, Overloaded):
                await asyncio.sleep(self.rng.random() * RETRY_S)
                continue
            except DomainError as error:
                allowed = refused(error.code, times)
                self.journal.require(allowed, f"{by.handle}: {command} of {key} is denied: {error.code}")
            self.acknowledged += 1
            return Done(answer, times)

    async def rpc(self, method: str, data: dict[str, Any], *, twice: bool = False) -> Raw:
        """Ask over the connection. Raises ``NoAnswer`` or ``Denied``."""
        if self._connection is None:
            await self._connect()
        if twice:
            self._send(self._next_line(), {"rpc": {"method": method, "data": data}})
        heard = await self.ask({"rpc": {"method": method, "data": data}})
        assert heard.rpc is not None
        return heard.rpc.data

    async def ask(self, command: dict[str, Any], stream: Stream | None = None) -> Heard:
        line = self._next_line()
        answer: asyncio.Future[Heard] = self.loop.create_future()
        self._waiting[line] = _Waiting(answer, stream)
        self._send(line, command)
        try:
            async with asyncio.timeout(self.rng.uniform(*PATIENCE_S)):
                heard = await answer
        except TimeoutError:
            # Who waits so long tries another worker.
            self._disconnect()
            raise NoAnswer from None
        finally:
            self._waiting.pop(line, None)
        if heard.error is not None:
            raise Denied(heard.error)
        return heard

    def _next_line(self) -> int:
        self._line += 1
        return self._line

    def _send(self, line: int, command: dict[str, Any]) -> None:
        if self._up is None:
            raise NoAnswer
        self._up.write(msgspec.json.encode({"id": line, **command}))

    # -- following

    async def _follow_all(self) -> None:
        """Subscribe to everything; until that is had, if this is the end."""
        while True:
            try:
                if self._connection is None:
                    await self._connect()
                for stream in self.streams.values():
                    if stream.channel not in self._subscribed:
                        await self._follow(stream)
                return
            except (NoAnswer, Denied, DomainError):
                self._disconnect()
                if not self.finishing:
                    return
                await asyncio.sleep(0.2)

    async def _follow(self, stream: Stream) -> None:
        if not stream.epoch:
            await self.load(stream)
        position = {"epoch": stream.epoch, "offset": stream.offset}
        # Taken in the very step in which it is heard: what follows it is heard right after.
        await self.ask({"subscribe": {"channel": stream.channel, "recover": True, **position}}, stream)
        self._subscribed.add(stream.channel)

    @property
    def subscribed(self) -> list[str]:
        """The channels, sorted."""
        return sorted(self._subscribed)

    def lacking(self, store: JournalledStore) -> Iterator[str]:
        """What it should have by the end, and has not: everything subscribed to, and heard."""
        who = self.by.handle
        if len(self._subscribed) < len(self.streams):
            yield f"{who} is subscribed to {self.subscribed} only"
        yield from (f"{who} {lacks}" for stream in self.streams.values() if (lacks := stream.lacking(store)))

    # -- its connection

    async def _connect(self) -> None:
        worker = self._world.pick(self.rng)
        if worker is None:
            await asyncio.sleep(0.2)
            raise NoAnswer
        self._connections += 1
        number = self._connections
        self._down = down = Wire(self.loop, self.host, lambda data: self._hear(number, data), self.rng, 0.001)
        connection = worker.accept(self, down, lambda code: self._closed(number, code))
        if connection is None:
            await asyncio.sleep(0.05)
            raise NoAnswer
        self._world.trace(f"{self.by.handle} connects to {worker.host}")
        self._worker, self._connection = worker, connection
        self._up = Wire(self.loop, worker.host, connection.receive, self.rng, 0.001)
        self._subscribed.clear()
        await self.ask({"connect": {"token": self.by.handle}})

    def _disconnect(self) -> None:
        if self._connection is not None and self._worker is not None:
            self._worker.hang_up(self._connection)
        self._ended()

    def _closed(self, number: int, code: int) -> None:
        """The server, or the network, has ended the connection."""
        if number == self._connections and self._connection is not None:
            self._world.trace(f"{self.by.handle} is disconnected: {code}")
            self._ended()

    def _ended(self) -> None:
        self._connections += 1
        self._connection = self._up = self._down = self._worker = None
        self._subscribed.clear()
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(NoAnswer())

    def connection_lost(self, connection: Connection) -> None:
        """The worker is dead, or the connection is reset."""
        if connection is self._connection:
            self._closed(self._connections, RESET)

    def name(self) -> str | None:
        """How its present connection is called."""
        return None if self._connection is None else self._connection.client

    def _hear(self, number: int, data: bytes) -> None:
        if number != self._connections:
            return
        for line in data.split(b"\n"):
            heard = msgspec.json.decode(line, type=Heard)
            if heard.push is not None:
                stream = self.streams.get(heard.push.channel)
                if stream is not None:
                    stream.heard(heard.push.pub)
            elif heard.id in self._waiting:
                self._answered(heard, self._waiting[heard.id])

    def _answered(self, heard: Heard, waiting: _Waiting) -> None:
        if heard.subscribe is not None and waiting.stream is not None:
            waiting.stream.resumed(heard.subscribe)
        if not waiting.answer.done():
            waiting.answer.set_result(heard)
