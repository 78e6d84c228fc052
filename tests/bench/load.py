"""Two ways to load a server: as fast as it acknowledges (closed loop), and at a rate it does not choose (open loop)."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from time import perf_counter, process_time
from typing import NamedTuple

import psutil
from msgspec import Struct

from tests.bench.callers import Caller, Tally

WARM_UP_S = 1.0
DRAIN_TIMEOUT_S = 30.0
TICK_S = 0.002
"""What falls due within one tick of the open loop is sent together; the latency of each begins when it was due."""


class Work(NamedTuple):
    """A connection and what it asks, one after the other."""

    caller: Caller
    requests: Iterator[bytes]


class Measured(Struct, frozen=True, kw_only=True):
    """One run of a phase, after its warm-up."""

    rate: float
    """Acknowledged a second."""
    p50_ms: float
    p99_ms: float
    generator: float
    """The share of its core that the generator used; near 1 it is the bottleneck, not the server."""
    server: float
    """The cores that the process under test used."""
    database: float
    """The cores that Postgres used for it."""


class Processes(NamedTuple):
    """What is measured, by process id; what is none has used nothing."""

    server: int | None = None
    database: int | None = None


async def saturate(works: Sequence[Work], tally: Tally, seconds: float, processes: Processes) -> Measured:
    """Keep every caller's window full for ``seconds`` after a warm-up, then wait for what is in flight."""
    for work in works:
        work.caller.source = work.requests
        work.caller.refill()
    await asyncio.sleep(WARM_UP_S)
    before = _Marks(tally, processes)
    await asyncio.sleep(seconds)
    after = _Marks(tally, processes)
    for work in works:
        work.caller.source = iter(())
    await _drained(works)
    return before.measured(after, tally)


async def offer(works: Sequence[Work], tally: Tally, rate: float, seconds: float, processes: Processes) -> Measured:
    """Send ``rate`` requests a second whatever comes back; one that finds no caller free waits, on its own latency."""
    waiting: deque[float] = deque()
    began = perf_counter()
    offered = 0
    before = after = None
    while after is None or waiting:
        now = perf_counter()
        if before is None and now >= began + WARM_UP_S:
            before = _Marks(tally, processes)
        if after is None:
            due = int((now - began) * rate)
            waiting.extend(began + at / rate for at in range(offered, due))
            offered = due
            if before is not None and now >= began + WARM_UP_S + seconds:
                after = _Marks(tally, processes)
        _send(works, waiting)
        await asyncio.sleep(TICK_S)
    assert before is not None
    await _drained(works)
    return before.measured(after, tally)


def _send(works: Sequence[Work], waiting: deque[float]) -> None:
    """Hand what waits to the callers that have room, in turn."""
    while waiting and (free := [work for work in works if work.caller.room]):
        for work in free[: len(waiting)]:
            work.caller.ask([next(work.requests)], waiting.popleft())


async def _drained(works: Sequence[Work]) -> None:
    async with asyncio.timeout(DRAIN_TIMEOUT_S):
        for work in works:
            await work.caller.drained.wait()


class _Marks:
    """Where the clocks and counts stood."""

    def __init__(self, tally: Tally, processes: Processes) -> None:
        self._at = perf_counter()
        self._cpu_s = process_time()
        self._server_s, self._database_s = (0.0 if pid is None else cpu_seconds(pid) for pid in processes)
        self._answers = len(tally.latencies_s)

    def measured(self, after: "_Marks", tally: Tally) -> Measured:
        """What lay between the two."""
        seconds = after._at - self._at
        latencies = sorted(tally.latencies_s[self._answers : after._answers])
        return Measured(
            rate=len(latencies) / seconds,
            p50_ms=_quantile(latencies, 0.5) * 1000,
            p99_ms=_quantile(latencies, 0.99) * 1000,
            generator=(after._cpu_s - self._cpu_s) / seconds,
            server=(after._server_s - self._server_s) / seconds,
            database=(after._database_s - self._database_s) / seconds,
        )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def cpu_seconds(pid: int) -> float:
    """What ``pid`` and its descendants have used so far."""
    process = psutil.Process(pid)
    spent = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    # Those that have ended are in what their parent has of its children.
    return sum(times.user + times.system + times.children_user + times.children_system for times in spent)
