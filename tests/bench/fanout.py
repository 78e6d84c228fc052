"""Fan-out: what it costs a server to deliver a stream of comments to many, and how soon they have it.

One process serves, on one core; the watchers are a program in C on the other, which checks that each got every comment
once and in order. All contestants are up at the same time and take turns, so that what disturbs the machine for a while
disturbs all of them; each figure is the median of the rounds, each ratio that of the ratios within a round.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import monotonic, monotonic_ns, process_time
from typing import NamedTuple

import uvloop
from msgspec import Struct

from tests.bench.contestants import (
    CENTRIFUGO,
    FLOOR,
    GENERATOR_CORE,
    OURS,
    OURS_SSE,
    SOCKETIO,
    Contestant,
    Stage,
    contestants,
)
from tests.bench.growth import exponents, plot
from tests.bench.measuring import Spread, cpu_s, missing, spread_of
from tests.bench.results import concluded, machine
from tests.bench.watchers import Incomplete, Watchers, check, compiled, watching
from tests.bench.wires import COMMENT_BYTES
from tests.processes import pinned

WATCHERS = (2_000, 8_000)
BETWEEN = (500, 1_000, 4_000)
"""To see how the cost grows, of ours and the floor alone; nothing is promised of them."""
GROWING = (OURS, OURS_SSE, FLOOR)
RATES = (50, 200, 1_000)
"""Comments a second of a hot stream, to the fewest watchers."""
ROUNDS = 5
QUIET_PAUSE_S = 0.1
"""Longer than anybody waits whether more is to come."""

# What is to be reached: ratios of deliveries in a CPU second, and publish-to-delivery on a hot stream.
OF_FLOOR_MIN = 0.9
HOT_RATE, HOT_OF_FLOOR_MIN = 200, 6.0
OF_CENTRIFUGO_MIN = 1.3
OF_SOCKETIO_MIN = 10.0
OF_WEBSOCKET_MIN = 0.9
P99_MAX_MS = 100.0
GENERATOR_MAX = 0.9
"""Of its core; beyond that it is not the server that is measured."""


class Phase(NamedTuple):
    watchers: int
    rate: int | None = None
    """Comments a second; None is a quiet stream, of one comment at a time."""
    pause_s: float = QUIET_PAUSE_S
    """Of a quiet stream, between the time that all have a comment and the next."""

    def takes(self, contestant: Contestant) -> bool:
        """Who takes part; without a pause it is the floor, to see that the generator could take more."""
        if self.rate is not None:
            return contestant.hot
        return self.pause_s > 0 or contestant.name == FLOOR

    def __str__(self) -> str:
        if not self.pause_s:
            return f"Ceiling: one comment after the other to {self.watchers:,}"
        if self.rate is None:
            return f"Quiet: one comment at a time to {self.watchers:,}"
        return f"Hot: {self.rate:,} comments a second to {self.watchers:,}"


class Measured(Struct, frozen=True, kw_only=True):
    """One run of a phase."""

    per_cpu_s: float
    """Comments delivered in a CPU second of the server process."""
    p50_ms: float
    p99_ms: float
    """From when a comment was due until a watcher had it."""
    joined: float
    """Comments that a watcher got by one read, on average."""
    others: float
    """Frames or events without a comment, for each of the deliveries."""
    bytes_each: float
    """All that arrived, by deliveries."""
    server: float
    generator: float
    """The share of its core that each used; the latter with the driver."""
    ceiling: float
    """Deliveries that the watchers take in a CPU second of their own."""


Runs = Mapping[Phase, Mapping[str, Sequence[Measured]]]
"""By phase and contestant, the rounds in turn."""


# -- the run ----------------------------------------------------------------------------------------------------------


class Lane:
    """A contestant with its watchers, for as long as it takes; its publications are numbered from 0 on."""

    def __init__(self, stage: Stage, watchers: Watchers) -> None:
        self._stage = stage
        self._watchers = watchers
        self._published = 0

    async def run(self, phase: Phase, seconds: float) -> Measured:
        """Publish for so long, until all have everything. Raises ``Incomplete``."""
        # Nothing but what was published since is to arrive: not a second time either.
        check(await self._watchers.report(), 0, self._watchers.count)
        before, began = self._published, monotonic()
        server_s, driver_s = cpu_s(self._stage.pid), process_time()
        if phase.rate is None:
            await self._one_at_a_time(phase.pause_s, seconds)
        else:
            await steadily(self._publish, phase.rate, seconds)
            await self._watchers.reached(self._published - 1)
        took_s = monotonic() - began
        server_s, driver_s = cpu_s(self._stage.pid) - server_s, process_time() - driver_s
        report = await self._watchers.report()
        check(report, self._published - before, self._watchers.count)
        return Measured(
            per_cpu_s=report.deliveries / server_s,
            p50_ms=report.p50_ms,
            p99_ms=report.p99_ms,
            joined=report.deliveries / report.reads,
            others=report.others / report.deliveries,
            bytes_each=report.bytes / report.deliveries,
            server=server_s / took_s,
            generator=(report.cpu_s + driver_s) / took_s,
            ceiling=report.deliveries / report.cpu_s,
        )

    async def _one_at_a_time(self, pause_s: float, seconds: float) -> None:
        end = monotonic() + seconds
        while monotonic() < end:
            self._publish(monotonic_ns() // 1_000)
            await self._watchers.reached(self._published - 1)
            await asyncio.sleep(pause_s)

    def _publish(self, due_us: int) -> None:
        self._stage.publish(self._published, due_us)
        self._published += 1


async def steadily(publish: Callable[[int], None], rate: int, seconds: float) -> None:
    """Publish when it is due, whatever comes back; what could not be sent then is late by its own doing."""
    began_us = monotonic_ns() // 1_000
    for number in range(int(rate * seconds)):
        due_us = began_us + number * 1_000_000 // rate
        if (early_us := due_us - monotonic_ns() // 1_000) > 0:
            await asyncio.sleep(early_us / 1e6)
        publish(due_us)


@asynccontextmanager
async def lane(contestant: Contestant, program: str, watchers: int) -> AsyncIterator[Lane]:
    async with contestant.open() as stage, watching(program, stage.port, watchers, stage.wire) as all_watching:
        yield Lane(stage, all_watching)


async def measure(
    known: Sequence[Contestant],
    program: str,
    sizes: Sequence[int],
    rates: Sequence[int],
    rounds: int,
    seconds: float,
    between: Sequence[int] = (),
) -> tuple[Runs, Sequence[str]]:
    """Every phase, ``rounds`` times with all contestants in turn; the hot ones with the fewest watchers.

    ``program`` is that of the watchers; ``between`` are sizes of a quiet stream for those of which growth is shown.
    Returns also which peers fell out: those that did not deliver everything.
    """
    runs: dict[Phase, dict[str, list[Measured]]] = {}
    fell_out: list[str] = []
    for size in (*sizes, *between):
        present, phases = [each for each in known if size in sizes or each.name in GROWING], [Phase(size)]
        if size in sizes:
            phases = [Phase(size, pause_s=0.0), *phases, *(Phase(size, rate) for rate in rates if size == min(sizes))]
        async with AsyncExitStack() as opened:
            lanes = [(each, await opened.enter_async_context(lane(each, program, size))) for each in present]
            for phase in (phase for phase in phases for _ in range(rounds)):
                by_name = runs.setdefault(phase, {})
                for contestant, its_lane in list(lanes):
                    if not phase.takes(contestant):
                        continue
                    try:
                        measured = await its_lane.run(phase, seconds)
                    except Incomplete as error:
                        if contestant.name in GROWING:
                            # Where a delivery of ours is missing or wrong, there is no result.
                            raise SystemExit(f"{phase}, {contestant.name}: {error}") from error
                        fell_out.append(f'{contestant.name} fell out at "{phase}", and is missing from there: {error}')
                        print(fell_out[-1], flush=True)
                        lanes.remove((contestant, its_lane))
                        by_name.pop(contestant.name, None)
                        continue
                    by_name.setdefault(contestant.name, []).append(measured)
                    print(f"{phase!s:50} {contestant.name:20} {_described(measured)}", flush=True)
    return runs, fell_out


def _described(measured: Measured) -> str:
    return (
        f"{measured.per_cpu_s:9,.0f} per CPU s  p50 {measured.p50_ms:7.1f} ms  p99 {measured.p99_ms:7.1f} ms"
        f"  server {measured.server:4.0%}  generator {measured.generator:4.0%}"
    )


# -- the report -------------------------------------------------------------------------------------------------------


def ratios(runs: Runs, phase: Phase, name: str, other: str, of: Phase | None = None) -> Spread | None:
    """Deliveries in a CPU second by those of ``other``, in the same phase or ``of`` another, each of the same round.

    None if one of them did not take part.
    """
    ones, others = runs[phase].get(name), runs.get(of or phase, {}).get(other)
    if not ones or not others:
        return None
    return Spread.of([one.per_cpu_s / another.per_cpu_s for one, another in zip(ones, others, strict=True)])


def report(runs: Runs, fell_out: Sequence[str], command: str, load: float) -> str:
    """The results for people; ``load`` is what else the machine was doing, as its load average before."""
    sections = "\n\n".join(f"## {phase}\n\n{_table(runs, phase)}" for phase in runs)
    newline = "\n"
    rounds = max(len(rounds) for by_name in runs.values() for rounds in by_name.values())
    return f"""\
# Fan-out

`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Load average before: {load:.1f}.

One server process on one core, the watchers on the other. Medians of {rounds} rounds in which all take turns, with the
lowest and the highest; ratios are taken within a round, against the floor that sends one frame to as many, one by one.
Each watcher got every comment, once and in order. A comment has {COMMENT_BYTES} bytes; ours are durable before they are
delivered, and Postgres has the server's core too. Time is from when a comment was due. *Beside* are frames without a
comment, such as counters, for each delivery. Centrifugo is as it is by default: the open version has no setting to wait
and join what it writes. Its Redis has the server's core too, and is not counted. The *ceiling* is what the watchers
take in a CPU second of their own; what is left of their core while the floor has all of its own is shown first.

{sections}
{"".join(f"{newline}{each}.{newline}" for each in fell_out)}
## Growth

CPU time of a comment on a quiet stream by its watchers: {exponents(growth(runs))} ([plot](plots/fanout.svg)).
"""


def growth(runs: Runs) -> dict[str, list[tuple[float, float]]]:
    """CPU milliseconds of a comment to all, by contestant and watchers."""
    quiet = sorted((phase for phase in runs if phase == Phase(phase.watchers)), key=lambda phase: phase.watchers)
    return {
        name: [
            (float(phase.watchers), 1e3 * phase.watchers / median(each.per_cpu_s for each in runs[phase][name]))
            for phase in quiet
            if name in runs[phase]
        ]
        for name in GROWING
    }


def _table(runs: Runs, phase: Phase) -> str:
    titles = ("", "deliveries/CPU s", "× floor", "p50 ms", "p99 ms", "comments a read", "beside", "bytes each",
              "server's core", "generator's core", "ceiling")  # fmt: skip
    lines = [titles, ["---", *("---:" for _ in titles[1:])], *_rows(runs, phase)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows(runs: Runs, phase: Phase) -> Iterator[Sequence[str]]:
    for name, rounds in runs[phase].items():
        by_floor = ratios(runs, phase, name, FLOOR, Phase(phase.watchers))
        yield [
            name,
            spread_of([each.per_cpu_s for each in rounds]),
            "" if by_floor is None else f"{by_floor.median:.2f} ({by_floor.low:.2f}–{by_floor.high:.2f})",
            spread_of([each.p50_ms for each in rounds]),
            spread_of([each.p99_ms for each in rounds]),
            f"{median(each.joined for each in rounds):.1f}",
            f"{median(each.others for each in rounds):.2f}",
            f"{median(each.bytes_each for each in rounds):,.0f}",
            f"{median(each.server for each in rounds):.0%}",
            f"{median(each.generator for each in rounds):.0%}",
            f"{median(each.ceiling for each in rounds):,.0f}",
        ]


def shortcomings(runs: Runs) -> Iterator[str]:
    """In what the results stay behind what is promised."""
    for phase, by_name in runs.items():
        if phase.watchers in BETWEEN:
            continue
        quiet = phase.rate is None
        wanted = [
            (OURS, FLOOR, phase, OF_FLOOR_MIN if quiet else None),
            (OURS, FLOOR, Phase(phase.watchers), HOT_OF_FLOOR_MIN if phase.rate == HOT_RATE else None),
            (OURS, CENTRIFUGO, phase, OF_CENTRIFUGO_MIN),
            (OURS, SOCKETIO, phase, OF_SOCKETIO_MIN),
            (OURS_SSE, OURS, phase, OF_WEBSOCKET_MIN),
        ]
        for name, other, of, least in wanted:
            ratio = ratios(runs, phase, name, other, of)
            if ratio is not None and least is not None and ratio.median < least:
                yield f"{phase}: {name} delivers {ratio.median:.2f} of {other}, not {least}"
        for name, rounds in by_name.items():
            p99_ms = median(each.p99_ms for each in rounds)
            if name in (OURS, OURS_SSE) and not quiet and p99_ms > P99_MAX_MS:
                yield f"{phase}: {name} has a p99 of {p99_ms:.0f} ms, not {P99_MAX_MS:.0f}"
            if median(each.generator for each in rounds) > GENERATOR_MAX:
                yield f"{phase}: with {name} it is the generator that cannot do more"


# -- the command ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench fanout", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of which the median counts (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each phase (default 1.5)")
    parser.add_argument("--watchers", type=int, nargs="+", default=list(WATCHERS), help="connections to a server")
    parser.add_argument("--rates", type=int, nargs="*", default=list(RATES), help="comments a second of hot streams")
    options = parser.parse_args(argv)
    if lacking := missing(max(options.watchers)):
        print(f"fan-out is left out: {lacking}")
        return 0
    load = os.getloadavg()[0]
    with pinned([GENERATOR_CORE]), tempfile.TemporaryDirectory(prefix="plaudit-bench-") as directory:
        watch, send = (compiled(name, Path(directory)) for name in ("watch", "send"))
        known = contestants(send)
        runs, fell_out = uvloop.run(
            measure(known, watch, options.watchers, options.rates, options.rounds, options.seconds, BETWEEN)
        )
    text = report(runs, fell_out, " ".join(["python -m tests.bench fanout", *argv]), load)
    return concluded(
        text,
        shortcomings(runs),
        trial=(tuple(options.watchers), tuple(options.rates)) != (WATCHERS, RATES) or options.rounds < ROUNDS,
        plots={"fanout": plot("A comment on a quiet stream", "watchers", "CPU ms", growth(runs))},
    )
