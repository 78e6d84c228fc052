"""The bus's twin in memory: the buses of one process, and a weather between them.

    broker = Broker()
    bus = broker.bus("a", counts)
    broker.cut("a") … broker.heal("a")                              a loss that ``a`` notices
    broker.route = lambda sender, receiver, inbox, messages: ()     a loss that nobody notices

Nothing here waits, sleeps or chooses: order and time are those of the running loop and of ``route``.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from typing import NamedTuple

from store.bus import EVERYONE, PENDING_BYTES_MAX, BusCounts, BusUnavailable, Listener
from store.outgoing import Outgoing

Route = Callable[[str, str, str, Sequence[bytes]], Sequence[float]]
"""(sender, receiver, inbox, messages of one turn) → after how many seconds each copy arrives; no copy: they are lost.

Sender and receiver are names of buses; what goes to ``EVERYONE`` is routed to each of them, the sender included.
"""


def at_once(sender: str, receiver: str, inbox: str, messages: Sequence[bytes]) -> Sequence[float]:
    """The route of good weather."""
    return (0.0,)


class _Frame(NamedTuple):
    messages: list[bytes]
    connection: int
    """The receiver's, when this was sent."""


class _Path(NamedTuple):
    """From one sender to one inbox of one receiver."""

    sender: str
    receiver: str
    inbox: str


class Broker:
    """Connects buses by their names.

    Delays reorder what comes from different senders or goes to different inboxes. What one sender sends to one inbox
    overtakes only where ``ordered`` is false, as not even a reconnecting Redis lets it.
    """

    def __init__(self, route: Route = at_once, *, ordered: bool = True) -> None:
        self.route = route
        self.ordered = ordered
        self._buses: dict[str, MemoryBus] = {}
        self._under_way: dict[_Path, deque[_Frame]] = {}
        self._due: dict[_Path, float] = {}

    def bus(self, name: str, counts: BusCounts, *, may_be_away: bool = False) -> "MemoryBus":
        """A new bus; its name is for ``route``, ``cut`` and ``heal``, and never used again."""
        assert name not in self._buses
        bus = self._buses[name] = MemoryBus(name, self, counts, may_be_away=may_be_away)
        return bus

    def cut(self, name: str) -> None:
        """The bus ``name`` loses its connection, what is under way to it, and all that follows until ``heal``.

        One that was not joined yet cannot connect until then.
        """
        self._buses[name].cut()

    def heal(self, name: str) -> None:
        """The bus ``name`` is connected again; its listener is told before it gets anything more."""
        self._buses[name].heal()

    def carry(self, sender: str, inbox: str, messages: list[bytes]) -> None:
        for receiver in self._receivers(inbox):
            path = _Path(sender, receiver.name, inbox)
            for delay_s in self.route(sender, receiver.name, inbox, tuple(messages)):
                self._schedule(path, receiver, delay_s, _Frame(messages, receiver.connection))

    def _receivers(self, inbox: str) -> Iterator["MemoryBus"]:
        for bus in self._buses.values():
            if bus.down() is None and inbox in (EVERYONE, bus.inbox):
                yield bus

    def _schedule(self, path: _Path, receiver: "MemoryBus", delay_s: float, frame: _Frame) -> None:
        loop = asyncio.get_running_loop()
        context = receiver.context
        if not self.ordered:
            loop.call_later(delay_s, receiver.deliver, frame, context=context)
            return
        self._under_way.setdefault(path, deque()).append(frame)
        due = self._due[path] = max(loop.time() + delay_s, self._due.get(path, 0.0))
        if due <= loop.time():
            loop.call_soon(self._arrive, path, receiver, context=context)
        else:
            loop.call_at(due, self._arrive, path, receiver, context=context)

    def _arrive(self, path: _Path, receiver: "MemoryBus") -> None:
        # Whichever of the path's handles runs, it delivers the oldest frame: loops keep no order between timers of
        # the same time, and one of a simulation keeps none at all.
        receiver.deliver(self._under_way[path].popleft())


class MemoryBus:
    """One of a ``Broker``'s buses. For ``may_be_away`` see ``Bus.joined``."""

    def __init__(self, name: str, broker: Broker, counts: BusCounts, *, may_be_away: bool) -> None:
        self.name = name
        self.inbox: str | None = None
        self.connection = 0
        """+1 with each loss: what was sent to an older one does not arrive."""
        self.context: Context | None = None
        """Whose the listener's calls are, for loops that tell hosts apart by a context variable; None: nobody's."""
        self._broker = broker
        self._counts = counts
        self._may_be_away = may_be_away
        self._cut = False
        self._outgoing = Outgoing()
        self._down: str | None = "not joined"
        self._to_be_told = False

    @asynccontextmanager
    async def joined(self, inbox: str, listener: Listener) -> AsyncIterator[None]:
        assert self.inbox is None, "a bus is joined once"
        if self._cut and not self._may_be_away:
            raise BusUnavailable("cut")
        self.inbox, self._listener, self.context = inbox, listener, copy_context()
        self._down = "cut" if self._cut else None
        try:
            yield
            self._flush()
        finally:
            self._lose("left")
            self.context = None

    def send(self, inbox: str, message: bytes) -> None:
        gathering = bool(self._outgoing)
        if self._down is not None or not self._outgoing.put(inbox, message):
            self._counts.dropped(1)
        elif not gathering:
            asyncio.get_running_loop().call_soon(self._flush)

    def down(self) -> str | None:
        return self._down

    def cut(self) -> None:
        self._cut = True
        if self.context is not None:
            self._lose("cut")

    def heal(self) -> None:
        self._cut = False
        if self.context is not None and self._down is not None:
            self._down = None
            self._to_be_told = True
            asyncio.get_running_loop().call_soon(self._tell, context=self.context)

    def deliver(self, frame: _Frame) -> None:
        if frame.connection != self.connection:
            return
        self._tell()
        for message in frame.messages:
            self._listener.received(message)

    def _lose(self, why: str) -> None:
        self._down = why
        self.connection += 1
        if dropped := self._outgoing.clear():
            self._counts.dropped(dropped)

    def _tell(self) -> None:
        if self._to_be_told and self._down is None:
            self._to_be_told = False
            self._listener.interrupted()

    def _flush(self) -> None:
        while self._outgoing:
            inbox, messages = self._outgoing.next(PENDING_BYTES_MAX)
            self._counts.sent(len(messages), sum(map(len, messages)))
            self._broker.carry(self.name, inbox, messages)
