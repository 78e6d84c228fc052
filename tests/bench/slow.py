"""Clients that stop reading: what they cost the others, and what they hold in memory.

Many watch a hot stream. In every other phase some of them are stopped, as a phone in a tunnel is, and go on at its end:
then each has to get all that it missed, once and in order. At last they are stopped for longer than the server waits.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import aiohttp
import psutil
import uvloop
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from actors.runtime.draining import SLOW_AFTER_S
from protocol.errors import SLOW
from tests.bench.contestants import GENERATOR_CORE, Stage, ours_by_websocket
from tests.bench.fanout import steadily
from tests.bench.measuring import Spread, missing, spread_of
from tests.bench.results import concluded, machine
from tests.bench.watchers import Incomplete, Watchers, check, compiled, watching
from tests.processes import pinned

READING, STOPPED = 1_900, 100
RATE = 200
ROUNDS = 5
SECONDS = 8.0
SAMPLE_S = 0.1
RECEIVE_BUFFER_BYTES = 64 << 10
"""Of a client that will stop: else it is the kernel that holds what it does not read, up to megabytes."""
CLOSED_WITHIN_S = SLOW_AFTER_S + 10.0
MIB = 1 << 20

P99_RATIO_MAX = 1.25
"""What the others may notice: no more than one round differs from the next."""
HELD_MAX_BYTES = 1 << 20
"""By a client that has stopped, at most."""
GROWTH_MAX = 1.1
"""Of the server's memory over half a minute: the post goes on to grow."""


class Phase(Struct, frozen=True, kw_only=True):
    """So many seconds of the hot stream, for those who read."""

    p50_ms: float
    p99_ms: float
    rss_bytes: int
    """The most that the server held."""
    caught_up_s: float = 0.0
    """From when the stopped went on until they had everything."""


class Round(NamedTuple):
    """The same twice: all read; and some do not."""

    all_read: Phase
    some_stopped: Phase


class Ended(NamedTuple):
    """What became of those that stopped for too long."""

    closed: int
    """With 3008."""
    rss_bytes: int
    """When they were gone."""


class Crowd:
    """Those who read and those who will stop, on one hot stream."""

    def __init__(self, stage: Stage, reading: Watchers, stopping: Watchers, rate: int) -> None:
        self._stage = stage
        self._reading = reading
        self._stopping = stopping
        self._rate = rate
        self._published = 0
        self._server = psutil.Process(stage.pid)

    async def phase(self, seconds: float, *, stop: bool) -> Phase:
        """Publish for so long. Raises ``Incomplete`` if anybody missed anything, also of those who stopped."""
        for watchers in (self._reading, self._stopping):
            check(await watchers.report(), 0, watchers.count)
        before = self._published
        if stop:
            self._stopping.stop()
        try:
            rss_bytes = await self._publish(seconds)
            await self._reading.reached(self._published - 1)
        finally:
            self._stopping.go_on()
        went_on = monotonic()
        await self._stopping.reached(self._published - 1)
        caught_up_s = monotonic() - went_on
        report = await self._reading.report()
        check(report, self._published - before, self._reading.count)
        check(await self._stopping.report(), self._published - before, self._stopping.count)
        return Phase(p50_ms=report.p50_ms, p99_ms=report.p99_ms, rss_bytes=rss_bytes, caught_up_s=caught_up_s)

    async def stop_for_good(self) -> Ended:
        """Publish until the server has closed those that do not read."""
        self._stopping.stop()
        end = monotonic() + CLOSED_WITHIN_S
        while (closed := await self._closed()) < self._stopping.count and monotonic() < end:
            await self._publish(1.0)
        await self._reading.reached(self._published - 1)
        return Ended(closed, self._server.memory_info().rss)

    async def _publish(self, seconds: float) -> int:
        """Returns the most that the server held meanwhile."""
        publishing = asyncio.create_task(steadily(self._next, self._rate, seconds), name="publish")
        rss_bytes = 0
        while not publishing.done():
            rss_bytes = max(rss_bytes, self._server.memory_info().rss)
            await asyncio.wait([publishing], timeout=SAMPLE_S)
        await publishing
        return rss_bytes

    def _next(self, due_us: int) -> None:
        self._stage.publish(self._published, due_us)
        self._published += 1

    async def _closed(self) -> int:
        """How many connections the server has closed as too slow."""
        url = f"http://127.0.0.1:{self._stage.port}/metrics"
        async with aiohttp.ClientSession() as client, client.get(url) as response:
            text = await response.text()
        return sum(
            int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "plaudit_disconnects_total" and sample.labels["code"] == str(SLOW[0])
        )


@asynccontextmanager
async def crowd(program: str, reading: int, stopping: int, rate: int) -> AsyncIterator[Crowd]:
    async with AsyncExitStack() as opened:
        stage = await opened.enter_async_context(ours_by_websocket())
        those = await opened.enter_async_context(watching(program, stage.port, reading, stage.wire))
        these = await opened.enter_async_context(
            watching(program, stage.port, stopping, stage.wire, buffer_bytes=RECEIVE_BUFFER_BYTES)
        )
        yield Crowd(stage, those, these, rate)


async def measure(
    program: str, reading: int, stopping: int, rate: int, rounds: int, seconds: float
) -> tuple[list[Round], Ended]:
    """``rounds`` of both phases in turn, and the end."""
    done: list[Round] = []
    async with crowd(program, reading, stopping, rate) as present:
        # A first time, in which the server's memory grows to what a hot stream needs.
        await present.phase(seconds, stop=False)
        for _ in range(rounds):
            done.append(Round(await present.phase(seconds, stop=False), await present.phase(seconds, stop=True)))
            print(_described(done[-1]), flush=True)
        return done, await present.stop_for_good()


def _described(round_: Round) -> str:
    return (
        "   ".join(
            f"{name}: p99 {phase.p99_ms:6.1f} ms, {phase.rss_bytes / MIB:6.1f} MiB"
            for name, phase in zip(("all read", "some stopped"), round_, strict=True)
        )
        + f", caught up in {round_.some_stopped.caught_up_s:.2f} s"
    )


# -- the report -------------------------------------------------------------------------------------------------------


def held_bytes(rounds: Sequence[Round], stopped: int) -> Spread:
    """What one that has stopped makes the server hold, beyond the phase before in which it read."""
    return Spread.of([(each.some_stopped.rss_bytes - each.all_read.rss_bytes) / stopped for each in rounds])


def p99_ratio(rounds: Sequence[Round]) -> Spread:
    """The p99 of those who read while others do not, by that while all do."""
    return Spread.of([each.some_stopped.p99_ms / each.all_read.p99_ms for each in rounds])


def report(rounds: Sequence[Round], ended: Ended, command: str, load: float) -> str:
    """The results for people; ``load`` is what else the machine was doing, as its load average before."""
    ratio, held = p99_ratio(rounds), held_bytes(rounds, STOPPED)
    return f"""\
# Clients that stop reading

`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Load average before: {load:.1f}.

{RATE} comments a second to {READING + STOPPED:,} WebSockets. In every other phase {STOPPED} of them read nothing for
{SECONDS:.0f} s, and all of what they missed when they go on. Medians of {len(rounds)} rounds, with the lowest and the
highest; ratios are taken within a round. Everybody got every comment, once and in order.

| | all read | {STOPPED} have stopped |
| --- | ---: | ---: |
{_row("p50 ms of the others", [(a.p50_ms, b.p50_ms) for a, b in rounds])}
{_row("p99 ms of the others", [(a.p99_ms, b.p99_ms) for a, b in rounds])}
{_row("server's memory at most, MiB", [(a.rss_bytes / MIB, b.rss_bytes / MIB) for a, b in rounds])}
{_row("seconds to catch up", [(a.caught_up_s, b.caught_up_s) for a, b in rounds])}

The others' p99 is {ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f}) of what it was. One that has stopped makes the
server hold {held.median / 1024:,.0f} KiB ({held.low / 1024:,.0f}–{held.high / 1024:,.0f}) more. Those that read nothing
for over {SLOW_AFTER_S:.0f} s: {ended.closed} of {STOPPED} were closed with {SLOW[0]}, and the server had
{ended.rss_bytes / MIB:.1f} MiB when they were gone.
"""


def _row(title: str, pairs: Sequence[tuple[float, float]]) -> str:
    return f"| {title} | {' | '.join(spread_of(column) for column in zip(*pairs, strict=True))} |"


def shortcomings(rounds: Sequence[Round], ended: Ended, stopped: int) -> Iterator[str]:
    """In what the results stay behind what is promised."""
    ratio, held = p99_ratio(rounds).median, held_bytes(rounds, stopped).median
    if ratio > P99_RATIO_MAX:
        yield f"the p99 of those who read is {ratio:.2f} of what it was, not {P99_RATIO_MAX}"
    if held > HELD_MAX_BYTES:
        yield f"one that has stopped makes the server hold {held / 1024:,.0f} KiB, not {HELD_MAX_BYTES / 1024:,.0f}"
    if ended.closed < stopped:
        yield f"of {stopped} that stopped for good, {ended.closed} were closed with {SLOW[0]}"
    if ended.rss_bytes > GROWTH_MAX * rounds[-1].some_stopped.rss_bytes:
        yield "what those held that stopped for good was not given back"


# -- the command ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench slow", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of which the median counts (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each phase (default {SECONDS:.0f})")
    options = parser.parse_args(argv)
    if what := missing(READING + STOPPED):
        print(f"clients that stop reading are left out: {what}")
        return 0
    load = os.getloadavg()[0]
    with pinned([GENERATOR_CORE]), tempfile.TemporaryDirectory(prefix="plaudit-bench-") as directory:
        watch = compiled("watch", Path(directory))
        try:
            rounds, ended = uvloop.run(measure(watch, READING, STOPPED, RATE, options.rounds, options.seconds))
        except Incomplete as error:
            raise SystemExit(f"clients that stop reading: {error}") from error
    text = report(rounds, ended, " ".join(["python -m tests.bench slow", *argv]), load)
    return concluded(
        text, shortcomings(rounds, ended, STOPPED), trial=options.rounds < ROUNDS or options.seconds != SECONDS
    )
