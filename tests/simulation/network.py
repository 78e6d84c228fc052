"""What lies between the hosts: delays, losses and cuts, chosen by the seed."""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from msgspec import Struct

from store.base import StoreUnavailable
from store.memory import LateCommit, MemoryStore
from tests.simulation.loop import Host, SimulatedLoop

CALL_TIMEOUT_S = 5.0
"""After which whoever waits for the store gives up."""
WRITES = ("commit", "write")
"""What may go on after its caller gave up. The second is what an ablation calls."""
LOCKED_MAX_S = 1.5
"""For so long at most a statement whose client is gone holds its locks: Postgres ends it."""


class Weather(Struct):
    """How bad the network is. Probabilities are of each message, times are in seconds."""

    delay_s: float = 0.001
    """The mean."""
    slow: float = 0.0
    """Of a message that takes up to ``slow_s``."""
    slow_s: float = 0.5
    lost: float = 0.0
    """Of a request or a reply that never arrives."""
    late: float = 0.0
    """Of a commit that goes on after its caller gave up."""
    doubled: float = 0.0
    """Of a bus message that arrives twice."""

    def delay(self, rng: Random) -> float:
        if self.slow and rng.random() < self.slow:
            return rng.random() * self.slow_s
        return rng.expovariate(1 / self.delay_s)


class Link:
    """One host's way to the store, or to the bus; each direction can be cut by itself."""

    def __init__(self) -> None:
        self.cut_out = False
        """What the host sends is lost."""
        self.cut_in = False
        """What is sent to the host is lost."""

    def heal(self) -> None:
        self.cut_out = self.cut_in = False


class StoreServer:
    """The one shared store, on a host of its own; it can be away, or have no room left."""

    def __init__(self, loop: SimulatedLoop, memory: MemoryStore, rng: Random, weather: Weather) -> None:
        self.host = Host("store")
        self.memory = memory
        self.weather = weather
        self.away = False
        self.full = False
        """Commits fail, and what only reads goes on."""
        self._loop = loop
        self._rng = rng

    def request(self, method: str, call: Callable[[], Any], answer: Callable[[Any], None]) -> None:
        """Serve one call that has arrived; ``answer`` is given the result or the exception."""
        if self.away:
            answer(StoreUnavailable("the store is away"))
        elif self.full and method in WRITES:
            answer(StoreUnavailable("no space left on the device"))
        else:
            name = f"store {method}"
            task: asyncio.Task[None] = self._loop.spawn(self.host, self._serve(method, call, answer), name)
            del task

    async def _serve(self, method: str, call: Callable[[], Any], answer: Callable[[Any], None]) -> None:
        if method in WRITES and self._rng.random() < self.weather.late / 2:
            # It is struck by the very next call of the store, which is ours.
            until = asyncio.Event()
            self.memory.faults.append(LateCommit(until, holds=True))
            self._loop.call_later(self._rng.random() * LOCKED_MAX_S, until.set)
        try:
            result = await call()
        except Exception as error:
            result = error
        if self.away:
            # The connection ended while it ran: done, and nobody is told.
            result = StoreUnavailable("the connection was closed in the middle of the operation")
        answer(result)


class TravellingStore:
    """The store as one host sees it: every call of ``store.base.Store`` goes there, and its answer comes back.

    Calls are on connections of their own: they overtake each other.
    """

    def __init__(self, loop: SimulatedLoop, host: Host, server: StoreServer, link: Link, rng: Random) -> None:
        self._loop = loop
        self._host = host
        self._server = server
        self._link = link
        self._rng = rng

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._server.memory, name)
        return partial(self._call, name, found) if callable(found) else _Part(self._call, found)

    async def _call(self, method: str, function: Callable[..., Any], *args: Any, **settings: Any) -> Any:
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._send(method, partial(function, *args, **settings), answer)
        return await answer

    def _send(self, method: str, call: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        weather, rng = self._server.weather, self._rng
        delay = weather.delay(rng)
        if self._link.cut_out or rng.random() < weather.lost:
            self._lose(answer)
            return
        if method in WRITES and rng.random() < weather.late / 2:
            # The caller loses its connection while the statement is on its way.
            self._lose(answer)
            delay += rng.random() * 2 * CALL_TIMEOUT_S
        self._loop.send(self._server.host, delay, self._server.request, method, call, partial(self._reply, answer))

    def _reply(self, answer: asyncio.Future[Any], result: Any) -> None:
        weather, rng = self._server.weather, self._rng
        if self._link.cut_in or rng.random() < weather.lost:
            self._lose(answer)
        else:
            self._loop.send(self._host, weather.delay(rng), _give, answer, result)

    def _lose(self, answer: asyncio.Future[Any]) -> None:
        """A connection that ends says so at once; one that is cut says nothing, and the caller gives up."""
        if self._rng.random() < 0.5:
            delay, why = self._rng.random() * 0.2, "the connection was lost"
        else:
            delay, why = CALL_TIMEOUT_S, "no answer"
        self._loop.send(self._host, delay, _give, answer, StoreUnavailable(why))


class _Part:
    """One subject of the store: its calls travel like all others."""

    def __init__(self, call: Callable[..., Any], part: Any) -> None:
        self._call = call
        self._part = part

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, name, getattr(self._part, name))


def _give(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
