"""Durable writes a second of one worker, beside aiohttp + asyncpg on the same Postgres.

The servers have one core, and the load generator the other. Postgres shares the servers' at first, so that all have the
same to work with; then it is with the generator, so that it is seen what one worker does. Every phase runs once a
round, in turn, and the medians count. After each phase the rows in Postgres are compared with what was acknowledged: a
run that misses one fails.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import count, cycle
from pathlib import Path
from statistics import median
from types import MappingProxyType

import asyncpg
import uvloop
from msgspec import Struct

from protocol.commands import APPLAUSE_MAX
from store.embedded import EmbeddedPostgres
from tests.bench.callers import Caller, HttpCaller, Tally, WebSocketCaller
from tests.bench.load import Measured, Processes, Work, offer, saturate
from tests.bench.measuring import Spread, spread_of
from tests.bench.results import concluded, machine
from tests.processes import pinned, serving
from tests.site import Site, host_token, running_site

SERVER_CORE, GENERATOR_CORE = 0, 1
WRITERS = 64
"""Accounts that comment, each over a connection of its own."""
WRITERS_WINDOW = 32
"""Requests that one connection has in flight."""
READERS = 256
"""Accounts that like."""
READERS_WINDOW = 8
POSTS = 200
LIKED_POSTS = 1_500
KINDS = ("like", "laugh", "love")
FLOOR_CONNECTIONS = 64
OPEN_TIMEOUT_S = 30.0
ROUNDS = 5
BODY = "Two sentences and a thought in each are what people write under an article, more often than not. " * 2

COMMENTS, ONE_POST = "comments", "comments, all on one post"
OPERATED = "comments, each with an operation id"
FLOOR = "floor: aiohttp, asyncpg, one INSERT a comment"
LIKES, APPLAUSE = "unique likes", "applause"
P99_MAX_MS = 50.0
RATIO_MIN = 6.0
REACTIONS_MIN = 30_000


class Phase(Struct, frozen=True):
    """One thing to measure."""

    name: str
    works: Sequence[Work]
    """What is asked never repeats, over all rounds."""
    rows: str
    """SQL that counts the rows which acknowledged requests have left."""
    processes: Processes


class Line(Struct, frozen=True):
    """A line of the results: a phase in all rounds."""

    phase: str
    saturated: Sequence[Measured]
    """Beside Postgres on one core."""
    apart: Sequence[Measured]
    """Alone on its core."""
    halved: Sequence[Measured] = ()
    """Beside Postgres, at half the saturation rate, open loop."""


def rate_of(rounds: Sequence[Measured]) -> float:
    """Of the median round."""
    return median(each.rate for each in rounds)


def times(rounds: Sequence[Measured], floor: Sequence[Measured]) -> Spread:
    """The rates by those of the floor, each of the same round."""
    return Spread.of([one.rate / another.rate for one, another in zip(rounds, floor, strict=True)])


# -- what is asked ----------------------------------------------------------------------------------------------------


def comments(posts: Sequence[str], person: int, operation: str | None = None) -> Iterator[bytes]:
    """Comments on ``posts`` in turn, each person beginning elsewhere."""
    for number in count():
        post = posts[(person + number) % len(posts)]
        op = f',"op":"{operation}-{number}"' if operation else ""
        yield f'{{"method":"comment.create","data":{{"post":"{post}","body":"{BODY}"{op}}}}}'.encode()


def likes(posts: Sequence[str], person: int) -> Iterator[bytes]:
    """Every kind of reaction to every post, once."""
    for number in range(len(posts)):
        post = posts[(7 * person + number) % len(posts)]
        for kind in KINDS:
            yield f'{{"method":"react","data":{{"post":"{post}","kind":"{kind}"}}}}'.encode()
    raise SystemExit("there are too few posts to like for a server this fast")


def applause(posts: Sequence[str], person: int) -> Iterator[bytes]:
    """One clap more for a post in each turn over all of them."""
    for number in range(APPLAUSE_MAX * len(posts)):
        turn, at = divmod(number, len(posts))
        post = posts[(7 * person + at) % len(posts)]
        yield f'{{"method":"applaud","data":{{"post":"{post}","total":{1 + turn}}}}}'.encode()
    raise SystemExit("there are too few posts to applaud for a server this fast")


def inserts(person: int) -> Iterator[bytes]:
    """The same comments, for the floor."""
    for post in cycle(range(POSTS)):
        yield f'{{"post":{post},"author":{person},"body":"{BODY}"}}'.encode()


# -- what it is asked of ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def connected(callers: Sequence[Caller], port: int) -> AsyncIterator[None]:
    """``callers`` with their connections open, which are closed on leaving."""
    async with asyncio.timeout(OPEN_TIMEOUT_S):
        for caller in callers:
            await caller.open(port)
    try:
        yield
    finally:
        for caller in callers:
            caller.close()


@asynccontextmanager
async def site_phases(site: Site, database: int) -> AsyncIterator[list[Phase]]:
    """Posts, accounts with a connection each, and what is asked over them."""
    posts = [await site.create_post(f"Post {number}") for number in range(POSTS)]
    liked = [await site.create_post(f"Liked post {number}") for number in range(LIKED_POSTS)]
    writers = [WebSocketCaller(Tally(), WRITERS_WINDOW, host_token(1 + person)) for person in range(WRITERS)]
    readers = [WebSocketCaller(Tally(), READERS_WINDOW, host_token(1_001 + person)) for person in range(READERS)]
    processes = Processes(site.served.pid, database)
    written, operated = "SELECT count(*) FROM comment", "SELECT count(*) FROM operation"
    liked_by = "SELECT count(*) FROM reaction WHERE kind <> 'applause'"
    applauded = "SELECT coalesce(sum(amount), 0) FROM reaction WHERE kind = 'applause'"
    async with connected([*writers, *readers], site.served.port):
        yield [
            Phase(name, works, rows, processes)
            for name, works, rows in (
                (COMMENTS, [Work(each, comments(posts, at)) for at, each in enumerate(writers)], written),
                (ONE_POST, [Work(each, comments(posts[:1], at)) for at, each in enumerate(writers)], written),
                (OPERATED, [Work(each, comments(posts, at, f"op-{at}")) for at, each in enumerate(writers)], operated),
                (LIKES, [Work(each, likes(liked, at)) for at, each in enumerate(readers)], liked_by),
                (APPLAUSE, [Work(each, applause(liked, at)) for at, each in enumerate(readers)], applauded),
            )
        ]


@asynccontextmanager
async def floor_phase(port: int, processes: Processes) -> AsyncIterator[Phase]:
    callers = [HttpCaller(Tally()) for _ in range(FLOOR_CONNECTIONS)]
    async with connected(callers, port):
        works = [Work(caller, inserts(person)) for person, caller in enumerate(callers)]
        yield Phase(FLOOR, works, "SELECT count(*) FROM floor_comment", processes)


# -- the run ----------------------------------------------------------------------------------------------------------


async def run_phase(
    phase: Phase, database: "asyncpg.Connection[asyncpg.Record]", seconds: float, rate: float | None = None
) -> Measured:
    """Saturate, or offer ``rate`` requests a second; then compare Postgres with what was acknowledged."""
    tally = Tally()
    before = await database.fetchval(phase.rows)
    for work in phase.works:
        work.caller.tally = tally
    if rate is None:
        measured = await saturate(phase.works, tally, seconds, phase.processes)
    else:
        measured = await offer(phase.works, tally, rate, seconds, phase.processes)
    added = await database.fetchval(phase.rows) - before
    if not tally.asked == tally.acknowledged == added:
        refused = dict(tally.refused)
        raise SystemExit(
            f"{phase.name}: asked {tally.asked}, acknowledged {tally.acknowledged}, rows {added}, {refused}"
        )
    print(f"{phase.name:50} {measured.rate:8,.0f}/s  p50 {measured.p50_ms:6.1f} ms  p99 {measured.p99_ms:6.1f} ms  "
          f"server {measured.server:4.0%}  Postgres {measured.database:4.0%}  generator {measured.generator:4.0%}",
          flush=True)  # fmt: skip
    return measured


async def measure(rounds: int, seconds: float) -> list[Line]:
    """All phases, each ``rounds`` times; then the comments and the floor at half of what they reached, then all apart.

    Each part has a database of its own: what Postgres still has to write out after the first, at full rate, is no part
    of the latency at half of it.
    """
    async with contestants(SERVER_CORE) as (phases, database):
        saturated = await run_rounds(rounds, phases, database, seconds)
    rates = {name: rate_of(runs) / 2 for name, runs in saturated.items()}
    async with contestants(SERVER_CORE) as (phases, database):
        phases = [phase for phase in phases if phase.name in (COMMENTS, FLOOR)]
        halved = await run_rounds(rounds, phases, database, 2 * seconds, rates)
    async with contestants(GENERATOR_CORE) as (phases, database):
        apart = await run_rounds(rounds, phases, database, seconds)
    return [Line(name, runs, apart[name], halved.get(name, ())) for name, runs in saturated.items()]


@asynccontextmanager
async def contestants(
    postgres_core: int,
) -> AsyncIterator[tuple[list[Phase], "asyncpg.Connection[asyncpg.Record]"]]:
    """The server and the floor, on a core and a new Postgres that they share, and what is asked of them."""
    async with AsyncExitStack() as opened:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="plaudit-bench-")))
        with pinned([postgres_core]):
            postgres = await opened.enter_async_context(EmbeddedPostgres(directory))
        with pinned([SERVER_CORE]):
            site = await opened.enter_async_context(running_site("--database-url", postgres.url))
            floor = await opened.enter_async_context(serving("-m", "tests.bench.floor", postgres.url))
        database = await asyncpg.connect(postgres.url)
        opened.push_async_callback(database.close)
        phases = await opened.enter_async_context(site_phases(site, postmaster(postgres)))
        processes = Processes(floor.pid, postmaster(postgres))
        phases.append(await opened.enter_async_context(floor_phase(floor.port, processes)))
        yield phases, database


def postmaster(postgres: EmbeddedPostgres) -> int:
    """Its process id; all that Postgres does descends from it."""
    return int((postgres.directory / "postmaster.pid").read_text().split()[0])


async def run_rounds(
    rounds: int,
    phases: Sequence[Phase],
    database: "asyncpg.Connection[asyncpg.Record]",
    seconds: float,
    rates: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, list[Measured]]:
    """Every phase in turn, ``rounds`` times, so that what disturbs the machine for a while disturbs all of them."""
    runs: dict[str, list[Measured]] = {phase.name: [] for phase in phases}
    for _ in range(rounds):
        for phase in phases:
            runs[phase.name].append(await run_phase(phase, database, seconds, rates.get(phase.name)))
    return runs


# -- the report -------------------------------------------------------------------------------------------------------


def report(lines: Sequence[Line], command: str, load: float) -> str:
    """The results for people; ``load`` is what else the machine was doing, as its load average before."""
    floor = next(line for line in lines if line.phase == FLOOR)
    beside = "\n".join(_row(line.phase, line.saturated, floor.saturated, *_latencies(line.halved)) for line in lines)
    apart = "\n".join(_row(line.phase, line.apart, floor.apart) for line in lines)
    return f"""\
# Durable writes a second, one worker

`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Load average before: {load:.1f}.

The servers have one core, the generator has the other. {WRITERS} connections with {WRITERS_WINDOW} requests in flight
comment on {POSTS} posts ({len(BODY)} characters each); {READERS} people with {READERS_WINDOW} in flight like and
applaud {LIKED_POSTS:,} posts; the floor has {FLOOR_CONNECTIONS} kept connections and a pool of 16. Medians of
{len(floor.saturated)} rounds in which the phases take turns, with the lowest and the highest; ratios are taken within a
round. After each phase the rows in Postgres equal the acknowledgements. Where nobody's core is at 100 %, the disk was
waited for, or other programs had the rest.

## Postgres on the servers' core

| | acknowledged/s | × floor | p50 ms at half | p99 ms at half | server | Postgres | generator |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{beside}

Rates are those at saturation; latency is that of an open loop at half the median, from the time a request was due, on a
new database.

## Postgres on the generator's core

| | acknowledged/s | × floor | server | Postgres | generator |
| --- | ---: | ---: | ---: | ---: | ---: |
{apart}

Of the floor, Postgres does most: here it has two cores, where a worker that does most itself has one.
"""


def _row(phase: str, rounds: Sequence[Measured], floor: Sequence[Measured], *latencies: str) -> str:
    ratio = times(rounds, floor)
    columns = (
        phase,
        spread_of([each.rate for each in rounds]),
        f"{ratio.median:.1f} ({ratio.low:.1f}–{ratio.high:.1f})",
        *latencies,
        f"{median(each.server for each in rounds):.0%}",
        f"{median(each.database for each in rounds):.0%}",
        f"{median(each.generator for each in rounds):.0%}",
    )
    return f"| {' | '.join(columns)} |"


def _latencies(rounds: Sequence[Measured]) -> tuple[str, str]:
    """The columns, empty for what was not measured."""
    if not rounds:
        return "", ""
    return spread_of([each.p50_ms for each in rounds]), spread_of([each.p99_ms for each in rounds])


def shortcomings(lines: Sequence[Line]) -> Iterator[str]:
    """In what the results stay behind what is promised."""
    by_name = {line.phase: line for line in lines}
    for name in (COMMENTS, ONE_POST):
        ratio = times(by_name[name].saturated, by_name[FLOOR].saturated).median
        if ratio < RATIO_MIN:
            yield f"{name}: {ratio:.1f} times the floor, not {RATIO_MIN:.0f}"
    for name in (LIKES, APPLAUSE):
        rate = rate_of(by_name[name].apart)
        if rate < REACTIONS_MIN:
            yield f"{name}: {rate:,.0f} a second, not {REACTIONS_MIN:,}"
    p99_ms = median(each.p99_ms for each in by_name[COMMENTS].halved)
    if p99_ms > P99_MAX_MS:
        yield f"the p99 at half the rate is {p99_ms:.0f} ms, not {P99_MAX_MS:.0f}"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench writes", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of which the median counts (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each phase (default 2)")
    options = parser.parse_args(argv)
    if (os.cpu_count() or 1) < 2:
        print("the benchmark needs two cores: one for the server, one for the generator", file=sys.stderr)
        return 2
    load = os.getloadavg()[0]
    with pinned([GENERATOR_CORE]):
        lines = uvloop.run(measure(options.rounds, options.seconds))
    text = report(lines, " ".join(["python -m tests.bench writes", *argv]), load)
    return concluded(text, shortcomings(lines), trial=options.rounds < ROUNDS)
