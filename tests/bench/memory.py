"""Memory: what the server process holds for each idle connection and post, and for the likes of one.

A server is started for each series, and holds more and more of one thing; each time it collects its garbage, and the
kernel tells how much of it is resident (``Rss``, all of it: what libraries share is there from the beginning, and does
not grow). The cost of one is the slope of that. What the kernel holds for sockets is not the process's, and not in it.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import linear_regression
from typing import Final, NamedTuple

import aiohttp
import asyncpg
import uvloop

from store.embedded import EmbeddedPostgres
from tests.bench import wires
from tests.bench.collecting import COLLECTED
from tests.bench.contestants import GENERATOR_CORE, SERVER_CORE
from tests.bench.copies import Database, complete, copied, fill, settled
from tests.bench.growth import fitted, plot
from tests.bench.measuring import Spread, missing, resident_bytes
from tests.bench.results import concluded, machine
from tests.bench.watchers import compiled, watching
from tests.bench.wires import Wire
from tests.processes import ROOT, Served, pinned, serving
from tests.site import SETTINGS, Site

ROUNDS: Final = 5
CONNECTIONS: Final = (1_000, 2_000, 4_000, 8_000)
POSTS: Final = (1_000, 2_000, 4_000, 8_000)
LIKED: Final = (2, 4, 8, 16)
LIKES: Final = 100_000
ONE_IN: Final = 10
"""Of so many accounts one likes a post: in a bitmap of them the likes are at their largest."""
WARM_UP, LIKED_WARM_UP = 50, 2
"""So many of a thing are there before the first figure: what is made once is no cost of one."""
COLLECT_TIMEOUT_S, CHECK_TIMEOUT_S = 30.0, 10.0
POLL_S: Final = 0.05
KIB: Final = 1024

WEBSOCKETS, EVENTS = "idle WebSocket, one subscription", "idle event stream"
IDLE_POSTS = "resident idle post"
SNAPSHOTS, TAKEN = "post with 100,000 likes, loaded", "the same, taken one by one"
TO_REACH: Final[Mapping[str, float]] = {WEBSOCKETS: 15.0, EVENTS: 12.0, IDLE_POSTS: 3.0, SNAPSHOTS: 250.0, TAKEN: 250.0}
"""KiB of one."""

Sample = tuple[int, int]
"""So many of a thing, and the bytes that are resident with them."""
Runs = Mapping[str, Sequence[Sequence[Sample]]]
"""By the name of a series, the rounds in turn."""


class Stage(NamedTuple):
    """A server, and the posts there are."""

    site: Site
    watch: str
    """The program of the watchers."""
    watched: str
    posts: Mapping[str, Sequence[str]]
    """By the name of the series that they are for."""


class Series(NamedTuple):
    name: str
    sizes: Sequence[int]
    warm_up: int
    more: Callable[[Stage, int, int], AbstractAsyncContextManager[None]] | None
    """Adds what is between two sizes, for as long as the context is open. None: it needs no server."""

    def counts(self) -> Sequence[int]:
        return (self.warm_up, *(self.warm_up + size for size in self.sizes))


# -- what is held -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def more_watchers(wire: Callable[[str], Wire], stage: Stage, first: int, last: int) -> AsyncIterator[None]:
    async with watching(stage.watch, stage.site.served.port, last - first, wire(stage.watched)):
        await check(stage.site, "plaudit_connections", last)
        yield


def more_websockets(stage: Stage, first: int, last: int) -> AbstractAsyncContextManager[None]:
    return more_watchers(lambda post: wires.centrifuge(f"post:{post}"), stage, first, last)


def more_event_streams(stage: Stage, first: int, last: int) -> AbstractAsyncContextManager[None]:
    return more_watchers(wires.event_stream, stage, first, last)


def more_posts(name: str) -> Callable[[Stage, int, int], AbstractAsyncContextManager[None]]:
    """Reads the posts of a series."""

    @asynccontextmanager
    async def more(stage: Stage, first: int, last: int) -> AsyncIterator[None]:
        # One after the other: what many loads take at a time is not what many posts hold.
        for post in stage.posts[name][first:last]:
            await stage.site.request("GET", f"/v1/posts/{post}")
        await check(stage.site, "plaudit_actors_resident", last)
        yield

    return more


async def check(site: Site, figure: str, expected: int) -> None:
    """Wait until the server shows as many as it should have, a moment old as they are: there is no result without."""
    found = -1.0
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            while found != expected:
                await asyncio.sleep(POLL_S)
                found = sum(value for (_, name), value in (await site.figures()).items() if name == figure)
    except TimeoutError:
        raise SystemExit(f"{figure} is {found:.0f}, not {expected}") from None


ALL: Final = (
    Series(WEBSOCKETS, CONNECTIONS, WARM_UP, more_websockets),
    Series(EVENTS, CONNECTIONS, WARM_UP, more_event_streams),
    Series(IDLE_POSTS, POSTS, WARM_UP, more_posts(IDLE_POSTS)),
    Series(SNAPSHOTS, LIKED, LIKED_WARM_UP, more_posts(SNAPSHOTS)),
    Series(TAKEN, LIKED, LIKED_WARM_UP, None),
)


# -- the run ----------------------------------------------------------------------------------------------------------


async def measure(all_series: Sequence[Series], likes: int, rounds: int) -> Runs:
    """Every series in turn, each on a new server, ``rounds`` times."""
    runs: dict[str, list[Sequence[Sample]]] = {}
    async with AsyncExitStack() as opened:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="plaudit-bench-")))
        watch = compiled("watch", directory)
        with pinned([SERVER_CORE]):
            postgres = await opened.enter_async_context(EmbeddedPostgres(directory))
        watched, posts = await make_posts(postgres.url, all_series, likes)
        for series in [*all_series] * rounds:
            if series.more is None:
                samples = await taken(series, likes)
            else:
                async with collecting_site(postgres.url) as site:
                    samples = await run(series, series.more, Stage(site, watch, watched, posts))
            runs.setdefault(series.name, []).append(samples)
            print(f"{series.name:42} {each_kib(samples):8.2f} KiB", flush=True)
    return runs


async def make_posts(url: str, all_series: Sequence[Series], likes: int) -> tuple[str, Mapping[str, Sequence[str]]]:
    """One to be watched, and those of each series that reads some."""
    posts: dict[str, Sequence[str]] = {}
    # To make the posts quickly: they are worth nothing after a crash.
    database: Database = await asyncpg.connect(url, server_settings={"synchronous_commit": "off"})
    async with collecting_site(url) as site:
        models = {series.name: await site.create_post(series.name) for series in all_series}
        watched = await site.create_post("A post that many watch")
        await settled(database)
    if SNAPSHOTS in models:
        await fill(database, models[SNAPSHOTS], comments=0, likes=likes, one_in=ONE_IN)
        async with collecting_site(url) as site:
            await complete(site, models[SNAPSHOTS])
            await settled(database)
    for series in all_series:
        if series.name in (IDLE_POSTS, SNAPSHOTS):
            posts[series.name] = await copied(database, models[series.name], series.warm_up + max(series.sizes))
    await database.close()
    return watched, posts


@asynccontextmanager
async def collecting_site(url: str) -> AsyncIterator[Site]:
    """A server on the servers' core that collects its garbage when it is told to."""
    async with AsyncExitStack() as opened:
        with pinned([SERVER_CORE]):
            served = await opened.enter_async_context(
                serving("-m", "tests.bench.collecting", "--port", "0", "--database-url", url, environment=SETTINGS)
            )
        yield Site(served, await opened.enter_async_context(aiohttp.ClientSession()))


async def run(
    series: Series, more: Callable[[Stage, int, int], AbstractAsyncContextManager[None]], stage: Stage
) -> list[Sample]:
    """More and more of one thing, beginning with those of the warm-up."""
    samples = []
    async with AsyncExitStack() as held:
        before = 0
        for size in series.counts():
            await held.enter_async_context(more(stage, before, size))
            samples.append((size, await collected(stage.site.served)))
            before = size
    return samples


async def taken(series: Series, likes: int) -> list[Sample]:
    """The same of posts that take their likes in a process of their own, on the servers' core."""
    with pinned([SERVER_CORE]):
        arguments = map(str, (likes, ONE_IN, *series.counts()))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.liking", *arguments, cwd=ROOT, stdout=PIPE
        )
    said, _ = await process.communicate()
    return list(zip(series.counts(), map(int, said.split()), strict=True))


async def collected(served: Served) -> int:
    """The bytes that are resident of the process, once it has collected its garbage."""
    told = served.output.count(f"{COLLECTED}\n")
    served.process.send_signal(signal.SIGUSR1)
    async with asyncio.timeout(COLLECT_TIMEOUT_S):
        while served.output.count(f"{COLLECTED}\n") == told:
            await asyncio.sleep(POLL_S)
    return resident_bytes(served.pid)


def each_kib(samples: Sequence[Sample]) -> float:
    """KiB of one, by least squares."""
    return linear_regression([size for size, _ in samples], [held for _, held in samples]).slope / KIB


# -- the report -------------------------------------------------------------------------------------------------------


def growth(runs: Runs) -> dict[str, list[tuple[float, float]]]:
    """(how many more than in the warm-up, MiB more), in the median round."""
    series = {}
    for name, rounds in runs.items():
        samples = sorted(rounds, key=each_kib)[len(rounds) // 2]
        first, base = samples[0]
        series[name] = [(float(size - first), (held - base) / KIB**2) for size, held in samples[1:]]
    return series


def report(runs: Runs, command: str, load: float) -> str:
    """The results for people; ``load`` is what else the machine was doing, as its load average before."""
    rounds = max(map(len, runs.values()))
    titles = ("one", "KiB", "to reach", "at", "growth")
    lines = [titles, ["---", *("---:" for _ in titles[1:])], *_rows(runs)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"""\
# Memory

`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Load average before: {load:.1f}.

What the resident set of the server process grows by with each, after a collection of garbage: the slope over four
counts, of a new server for each series; medians of {rounds} rounds with the lowest and the highest. All connections
watch one post. A post is liked by one of {ONE_IN} accounts; taken one by one, in a process that has nothing but posts,
its likes are held as while people give them. *Growth* is the exponent of the count. What the kernel holds for sockets
is beside.

{table}

![resident memory](plots/memory.svg)
"""


def _rows(runs: Runs) -> Iterator[Sequence[str]]:
    grown = growth(runs)
    for name, rounds in runs.items():
        spread = Spread.of([each_kib(samples) for samples in rounds])
        yield [
            name,
            f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})",
            f"≤ {TO_REACH[name]:.0f}",
            ", ".join(f"{size:,.0f}" for size, _ in grown[name]),
            f"n^{fitted(grown[name]).exponent:.2f}",
        ]


def shortcomings(runs: Runs) -> Iterator[str]:
    """In what the results stay behind what is promised."""
    for name, rounds in runs.items():
        kib = Spread.of([each_kib(samples) for samples in rounds]).median
        if kib > TO_REACH[name]:
            yield f"{name}: {kib:.2f} KiB, not {TO_REACH[name]:.0f}"


# -- the command ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of which the median counts (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, help="as other benchmarks have it: here nothing is timed")
    options = parser.parse_args(argv)
    if lacking := missing(max(CONNECTIONS) + WARM_UP):
        print(f"memory is left out: {lacking}")
        return 0
    load = os.getloadavg()[0]
    with pinned([GENERATOR_CORE]):
        runs = uvloop.run(measure(ALL, LIKES, options.rounds))
    text = report(runs, " ".join(["python -m tests.bench memory", *argv]), load)
    return concluded(
        text,
        shortcomings(runs),
        trial=options.rounds < ROUNDS,
        plots={"memory": plot("Resident memory", "of them", "MiB", growth(runs))},
    )
