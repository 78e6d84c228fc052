"""Two workers: what it costs that an actor is on the other one, and how much of a worker's speed a second one adds.

Two servers of one worker each share a Postgres and a Redis, as on two machines; so each has a port of its own, and it
is known who serves whom. What each program used is told apart. For a single post the servers, Postgres and Redis have
one core and the generator the other; under load two workers and all else share both. Everything takes turns; ratios
are taken within a round.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import monotonic, monotonic_ns, perf_counter, process_time
from uuid import UUID

import asyncpg
import msgspec
import uvloop
from msgspec import Struct

from actors.keys import post_key, slot_of
from store.embedded import EmbeddedPostgres
from store.embedded_redis import EmbeddedRedis
from tests.bench import wires
from tests.bench.callers import Tally, WebSocketCaller
from tests.bench.contestants import GENERATOR_CORE, SERVER_CORE
from tests.bench.load import Processes, Work, cpu_seconds, saturate
from tests.bench.measuring import Spread, cpu_s, missing, spread_of
from tests.bench.results import concluded, machine
from tests.bench.watchers import Incomplete, Watchers, check, compiled, watching
from tests.bench.writes import comments, connected
from tests.processes import pinned
from tests.site import Site, host_token, running_site

FEW, MANY = 10, 2_000
"""Watchers: for the time that a comment takes, and for what many deliveries cost."""
HOT_RATE = 200
ROUNDS = 5
QUIET_PAUSE_S = 0.06
"""Longer than a stream waits whether more is to come."""
POSTS = 64
PEOPLE = 2_000
"""Who write under load, each one comment at a time. With more at a time on few connections one worker answers all of
a connection in one frame, and is sent as many more in one, where of two each answers its own: that measures frames."""
SETTLE_TIMEOUT_S = 60.0
SETTLED_S = 3.0
"""Slots that no worker has got or given away for so long are where they belong."""

LOCAL, REMOTE = "local", "remote"
ONE, TWO = "one worker", "two workers"

# What is to be reached.
TIMES_LOCAL_MAX = 3.0
PER_CPU_S_MIN = 0.85
OF_ONE_MIN = 0.8
GENERATOR_MAX = 0.9

Cpu = Mapping[str, float]
"""What each program has used, in seconds, or over a time, in cores."""


# -- the servers ------------------------------------------------------------------------------------------------------


class Cluster:
    """Servers of one worker each, on one database."""

    def __init__(self, database: "asyncpg.Connection[asyncpg.Record]", pids: Mapping[str, int]) -> None:
        self.sites: list[Site] = []
        self._database = database
        self._pids = dict(pids)
        """Of Postgres, and of Redis if there is one."""
        self._workers: list[UUID] = []

    async def join(self, site: Site) -> None:
        """One more server; returns when the database knows it."""
        live = [row["id"] for row in await self._database.fetch("SELECT id FROM worker WHERE state = 'live'")]
        (worker,) = set(live) - set(self._workers)
        self._workers.append(worker)
        self.sites.append(site)

    async def settled(self) -> None:
        """Wait until all slots are somebody's, and each worker has its share: a tenth moves at a time."""
        before: list[UUID | None] = []
        since = monotonic()
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while monotonic() - since < SETTLED_S:
                owners = [row["owner"] for row in await self._database.fetch("SELECT owner FROM slot ORDER BY slot")]
                if owners != before or set(owners) != set(self._workers):
                    before, since = owners, monotonic()
                await asyncio.sleep(0.1)

    async def post_on(self, worker: int) -> str:
        """A new post whose actor is at that worker."""
        while True:
            post = await self.sites[0].create_post("A post of somebody in particular")
            if await self.worker_of(post) == worker:
                return post

    async def worker_of(self, post: str) -> int:
        """Where its actor is."""
        slot = slot_of(post_key(int(post)))
        return self._workers.index(await self._database.fetchval("SELECT owner FROM slot WHERE slot = $1", slot))

    async def comments(self) -> int:
        return int(await self._database.fetchval("SELECT count(*) FROM comment"))

    def cpu_s(self) -> dict[str, float]:
        workers = {f"worker {number}": cpu_s(site.served.pid) for number, site in enumerate(self.sites, 1)}
        return {**workers, **{name: cpu_seconds(pid) for name, pid in self._pids.items()}, "generator": process_time()}


@asynccontextmanager
async def running_cluster(workers: int, cores: Sequence[int]) -> AsyncIterator[Cluster]:
    """So many servers on a new database, with a Redis if they are more than one, once each has its slots."""
    async with AsyncExitStack() as opened:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="plaudit-bench-")))
        with pinned(cores):
            postgres = await opened.enter_async_context(EmbeddedPostgres(directory))
            pids = {"Postgres": int((postgres.directory / "postmaster.pid").read_text().split()[0])}
            flags = ["--database-url", postgres.url]
            if workers > 1:
                redis = await opened.enter_async_context(EmbeddedRedis(directory))
                pids["Redis"] = redis.pid
                flags += ["--redis-url", redis.url]
            database = await asyncpg.connect(postgres.url)
            opened.push_async_callback(database.close)
            cluster = Cluster(database, pids)
            for _ in range(workers):
                await cluster.join(await opened.enter_async_context(running_site(*flags)))
        await cluster.settled()
        yield cluster


# -- a post here, a post elsewhere ------------------------------------------------------------------------------------


class Phase(Struct, frozen=True):
    watchers: int
    rate: int | None = None
    """Comments a second; None is one at a time."""

    def __str__(self) -> str:
        often = "one comment at a time" if self.rate is None else f"{self.rate:,} comments a second"
        return f"{often} to {self.watchers:,}"


class Delivered(Struct, frozen=True, kw_only=True):
    """One run of a phase, of a post whose actor is where its writer and its watchers are, or on the other worker."""

    acknowledged_ms: float
    delivered_ms: float
    """The medians, from when a comment was sent, or due."""
    per_cpu_s: float
    """Comments delivered in a CPU second of both workers and Redis."""
    cores: Cpu


class Lane:
    """A post with its writer and its watchers, who are all with the same worker."""

    def __init__(self, cluster: Cluster, post: str, writer: WebSocketCaller, watchers: Watchers) -> None:
        self._cluster = cluster
        self._post = post
        self._writer = writer
        self._watchers = watchers
        self._written = 0

    async def run(self, rate: int | None, seconds: float) -> Delivered:
        """Write for so long, until all have everything. Raises ``Incomplete``."""
        check(await self._watchers.report(), 0, self._watchers.count)
        tally = self._writer.tally = Tally()
        before, cpu_before, began = self._written, self._cluster.cpu_s(), monotonic()
        if rate is None:
            await self._one_at_a_time(seconds)
        else:
            await self._steadily(rate, seconds)
        took_s, cpu_after = monotonic() - began, self._cluster.cpu_s()
        report = await self._watchers.report()
        check(report, self._written - before, self._watchers.count)
        if tally.acknowledged != self._written - before:
            raise Incomplete(f"{self._written - before} comments, {tally.acknowledged} acknowledged: {tally.refused}")
        cores = used(cpu_before, cpu_after, took_s)
        serving = sum(share for name, share in cores.items() if name not in ("Postgres", "generator"))
        return Delivered(
            acknowledged_ms=1e3 * median(tally.latencies_s),
            delivered_ms=report.p50_ms,
            per_cpu_s=report.deliveries / (serving * took_s),
            cores={**cores, "generator": cores["generator"] + report.cpu_s / took_s},
        )

    async def _one_at_a_time(self, seconds: float) -> None:
        end = monotonic() + seconds
        while monotonic() < end:
            self._write(monotonic_ns() // 1_000)
            await self._writer.drained.wait()
            await self._watchers.reached(self._written - 1)
            await asyncio.sleep(QUIET_PAUSE_S)

    async def _steadily(self, rate: int, seconds: float) -> None:
        began_us = monotonic_ns() // 1_000
        for number in range(int(rate * seconds)):
            due_us = began_us + number * 1_000_000 // rate
            if (early_us := due_us - monotonic_ns() // 1_000) > 0:
                await asyncio.sleep(early_us / 1e6)
            self._write(due_us)
        await self._writer.drained.wait()
        await self._watchers.reached(self._written - 1)

    def _write(self, due_us: int) -> None:
        data = msgspec.json.encode({"post": self._post, "body": wires.text(self._written, due_us)})
        self._writer.ask([b'{"method":"comment.create","data":%b}' % data], perf_counter())
        self._written += 1


@asynccontextmanager
async def lane(cluster: Cluster, program: str, at: int, watchers: int) -> AsyncIterator[Lane]:
    """On a post of the first worker, for who is at the worker ``at``."""
    port, post = cluster.sites[at].served.port, await cluster.post_on(0)
    # Nothing is held back: what is asked is paced here.
    writer = WebSocketCaller(Tally(), sys.maxsize, host_token(1))
    wire = wires.centrifuge(f"post:{post}")
    async with connected([writer], port), watching(program, port, watchers, wire) as all_watching:
        yield Lane(cluster, post, writer, all_watching)
        if await cluster.worker_of(post):
            raise Incomplete(f"the actor of post {post} has moved")


Deliveries = Mapping[Phase, Mapping[str, Sequence[Delivered]]]
"""By phase, and by local or remote, the rounds in turn."""


async def measure_posts(
    cluster: Cluster, program: str, phases: Sequence[Phase], rounds: int, seconds: float
) -> Deliveries:
    """Each phase, here and elsewhere in turn."""
    runs: dict[Phase, dict[str, list[Delivered]]] = {phase: {LOCAL: [], REMOTE: []} for phase in phases}
    async with AsyncExitStack() as opened:
        lanes = {
            (size, where): await opened.enter_async_context(lane(cluster, program, at, size))
            for size in sorted({phase.watchers for phase in phases})
            for at, where in enumerate((LOCAL, REMOTE))
        }
        for phase in [*phases] * rounds:
            for where in (LOCAL, REMOTE):
                run = await lanes[phase.watchers, where].run(phase.rate, seconds)
                runs[phase][where].append(run)
                print(f"{phase!s:40} {where:8} {_described(run)}", flush=True)
    return runs


def _described(run: Delivered) -> str:
    return (
        f"acknowledged {run.acknowledged_ms:6.2f} ms  delivered {run.delivered_ms:6.2f} ms"
        f"  {run.per_cpu_s:9,.0f} per CPU s  {_cores(run.cores)}"
    )


# -- one worker, two workers ------------------------------------------------------------------------------------------


class Written(Struct, frozen=True, kw_only=True):
    """Comments as fast as they are acknowledged, for a while."""

    rate: float
    per_cpu_s: float
    """Comments in a CPU second of the workers."""
    cores: Cpu


class Load:
    """Writers of comments on many posts, spread over the servers."""

    def __init__(self, cluster: Cluster, posts: Sequence[str], writers: Sequence[WebSocketCaller]) -> None:
        self._cluster = cluster
        self._works = [Work(writer, comments(posts, at)) for at, writer in enumerate(writers)]

    async def run(self, seconds: float) -> Written:
        """Raises ``Incomplete`` if what was acknowledged is not what is there."""
        tally = Tally()
        for work in self._works:
            work.caller.tally = tally
        before, cpu_before, began = await self._cluster.comments(), self._cluster.cpu_s(), monotonic()
        _ = await saturate(self._works, tally, seconds, Processes())
        took_s, cpu_after = monotonic() - began, self._cluster.cpu_s()
        added = await self._cluster.comments() - before
        if not tally.asked == tally.acknowledged == added:
            raise Incomplete(f"asked {tally.asked}, acknowledged {tally.acknowledged}, rows {added}, {tally.refused}")
        cores = used(cpu_before, cpu_after, took_s)
        workers_s = took_s * sum(share for name, share in cores.items() if name.startswith("worker"))
        return Written(rate=added / took_s, per_cpu_s=added / workers_s, cores=cores)


@asynccontextmanager
async def load(cluster: Cluster, people: int) -> AsyncIterator[Load]:
    posts = [await cluster.sites[0].create_post(f"Post {number}") for number in range(POSTS)]
    writers = [WebSocketCaller(Tally(), 1, host_token(1 + person)) for person in range(people)]
    count = len(cluster.sites)
    async with AsyncExitStack() as opened:
        for at, site in enumerate(cluster.sites):
            await opened.enter_async_context(connected(writers[at::count], site.served.port))
        yield Load(cluster, posts, writers)


Loads = Mapping[str, Sequence[Written]]


async def measure_loads(clusters: Mapping[str, Cluster], people: int, rounds: int, seconds: float) -> Loads:
    """One worker and two in turn."""
    runs: dict[str, list[Written]] = {name: [] for name in clusters}
    async with AsyncExitStack() as opened:
        loads = {name: await opened.enter_async_context(load(each, people)) for name, each in clusters.items()}
        for _ in range(rounds):
            for name, its_load in loads.items():
                run = await its_load.run(seconds)
                runs[name].append(run)
                print(f"{name:12} {run.rate:8,.0f}/s  {run.per_cpu_s:9,.0f} per CPU s  {_cores(run.cores)}", flush=True)
    return runs


async def measure(
    program: str, phases: Sequence[Phase], people: int, rounds: int, seconds: float
) -> tuple[Deliveries, Loads]:
    """``program`` is that of the watchers."""
    with pinned([GENERATOR_CORE]):
        async with running_cluster(2, [SERVER_CORE]) as apart:
            deliveries = await measure_posts(apart, program, phases, rounds, seconds)
    both = [SERVER_CORE, GENERATOR_CORE]
    async with running_cluster(1, both) as one, running_cluster(2, both) as two:
        return deliveries, await measure_loads({ONE: one, TWO: two}, people, rounds, seconds)


def used(before: Cpu, after: Cpu, seconds: float) -> Cpu:
    """The cores that each program has used on average over the time between."""
    return {name: (after[name] - before[name]) / seconds for name in after}


def _cores(cores: Cpu) -> str:
    return "  ".join(f"{name} {share:.0%}" for name, share in cores.items())


# -- the report -------------------------------------------------------------------------------------------------------


def times_local(runs: Mapping[str, Sequence[Delivered]], figure: Callable[[Delivered], float]) -> Spread:
    """What it is for a remote post by what it is for a local one, of the same round."""
    pairs = zip(runs[REMOTE], runs[LOCAL], strict=True)
    return Spread.of([figure(remote) / figure(local) for remote, local in pairs])


def of_one(runs: Loads) -> Spread:
    """Comments in a CPU second of two workers, by those of one."""
    return Spread.of([two.per_cpu_s / one.per_cpu_s for two, one in zip(runs[TWO], runs[ONE], strict=True)])


def report(deliveries: Deliveries, loads: Loads, command: str, load_before: float) -> str:
    """The results for people; ``load_before`` is what else the machine was doing, as its load average."""
    posts = "\n\n".join(f"## {str(phase).capitalize()}\n\n{_posts(runs)}" for phase, runs in deliveries.items())
    return f"""\
# Two workers

`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Load average before: {load_before:.1f}.

Two servers of one worker each on one Postgres and one Redis, all on one core; the generator has the other. A post is
*local* where its writer and its watchers are with the worker that has its actor, *remote* where they are with the other
one; every watcher got every comment once and in order. Deliveries are by the CPU seconds of both workers and of Redis.
Medians of {len(loads[ONE])} rounds, with the lowest and the highest; ratios are taken within a round.

{posts}

## Comments as fast as they are acknowledged

{PEOPLE:,} people write on {POSTS} posts, each one comment at a time, half of them over each of two workers; so half of
what a worker is asked is for an actor of the other. Here all programs share both cores. Comments are by the CPU
seconds of the workers; what Postgres, Redis and the generator took beside is told in cores.

| | comments/s | per CPU s of workers | × one | {" | ".join(loads[TWO][0].cores)} |
| --- | ---: | ---: | ---: |{" ---: |" * len(loads[TWO][0].cores)}
{_loads(loads)}
"""


def _posts(runs: Mapping[str, Sequence[Delivered]]) -> str:
    names = list(runs[LOCAL][0].cores)
    lines = [
        ["", "acknowledged p50 ms", "delivered p50 ms", "deliveries/CPU s", *names],
        ["---", *["---:"] * (3 + len(names))],
        *(
            [
                where,
                *(spread_of([figure(run) for run in rounds]) for figure in FIGURES),
                *(f"{median(run.cores[name] for run in rounds):.0%}" for name in names),
            ]
            for where, rounds in runs.items()
        ),
        ["remote by local", *(_ratio(times_local(runs, figure)) for figure in FIGURES), *[""] * len(names)],
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


FIGURES: Sequence[Callable[[Delivered], float]] = (
    lambda run: run.acknowledged_ms,
    lambda run: run.delivered_ms,
    lambda run: run.per_cpu_s,
)


def _loads(runs: Loads) -> str:
    lines = []
    for name, rounds in runs.items():
        cores = [f"{median(run.cores.get(each, 0.0) for run in rounds):.0%}" for each in runs[TWO][0].cores]
        rates = spread_of([run.rate for run in rounds]), spread_of([run.per_cpu_s for run in rounds])
        lines.append([name, *rates, _ratio(of_one(runs)) if name == TWO else "", *cores])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ratio(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})"


def shortcomings(deliveries: Deliveries, loads: Loads) -> Iterator[str]:
    """In what the results stay behind what is promised."""
    for phase, runs in deliveries.items():
        acknowledged, delivered, per_cpu_s = (times_local(runs, figure).median for figure in FIGURES)
        if phase.rate is None:
            for what, times in (("acknowledged", acknowledged), ("delivered", delivered)):
                if times > TIMES_LOCAL_MAX:
                    yield f"{phase}: a remote one is {what} after {times:.1f} times as long, not {TIMES_LOCAL_MAX:.0f}"
        if phase.watchers >= MANY and per_cpu_s < PER_CPU_S_MIN:
            yield f"{phase}: {per_cpu_s:.3f} of the deliveries in a CPU second of a local post, not {PER_CPU_S_MIN}"
    if (ratio := of_one(loads).median) < OF_ONE_MIN:
        yield f"two workers take {ratio:.2f} of the comments in a CPU second that one takes, not {OF_ONE_MIN}"
    cores = [run.cores for runs in deliveries.values() for rounds in runs.values() for run in rounds]
    cores += [run.cores for rounds in loads.values() for run in rounds]
    if max(each["generator"] for each in cores) > GENERATOR_MAX:
        yield "it is the generator that cannot do more"


# -- the command ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench cluster", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of which the median counts (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each phase (default 2)")
    parser.add_argument("--watchers", type=int, nargs=2, default=[FEW, MANY], help="few, and many")
    parser.add_argument("--people", type=int, default=PEOPLE, help="who write under load")
    options = parser.parse_args(argv)
    if lacking := missing(2 * (sum(options.watchers) + options.people)):
        print(f"two workers are left out: {lacking}")
        return 0
    few, many = options.watchers
    phases = [Phase(few), Phase(many), Phase(many, HOT_RATE)]
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="plaudit-bench-") as directory:
        program = compiled("watch", Path(directory))
        try:
            deliveries, loads = uvloop.run(measure(program, phases, options.people, options.rounds, options.seconds))
        except Incomplete as error:
            raise SystemExit(str(error)) from error
    text = report(deliveries, loads, " ".join(["python -m tests.bench cluster", *argv]), load_before)
    return concluded(
        text,
        shortcomings(deliveries, loads),
        trial=options.rounds < ROUNDS or (options.watchers, options.people) != ([FEW, MANY], PEOPLE),
    )
