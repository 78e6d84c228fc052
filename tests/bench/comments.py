"""What a durable comment costs by how many its post has already: server and Postgres together, at a steady rate."""

import argparse
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import asyncpg
import uvloop

from store.embedded import EmbeddedPostgres
from tests.bench.callers import Tally, WebSocketCaller
from tests.bench.copies import Database, complete, copied, fill, settled
from tests.bench.growth import fitted, plot
from tests.bench.load import Measured, Processes, Work
from tests.bench.measuring import missing, spread_of
from tests.bench.results import concluded, machine
from tests.bench.writes import GENERATOR_CORE, SERVER_CORE, Phase, comments, connected, postmaster, run_phase
from tests.processes import pinned
from tests.site import host_token, running_site

SIZES = (1_000, 5_000, 20_000, 50_000)
POSTS = 16
"""Of each size, so that a run does not change the size."""
WRITERS = 32
WINDOW = 8
RATE = 3_000
ROUNDS = 5
EXPONENT_MAX = 0.1
"""A comment is to cost the same whatever there is."""

Runs = Mapping[int, Sequence[Measured]]
"""By size, the rounds in turn."""


async def make_posts(database: Database, url: str, sizes: Sequence[int]) -> dict[int, list[str]]:
    """Posts of each size, on servers that have ended when this returns."""
    async with running_site("--database-url", url) as site:
        models = {size: await site.create_post(f"A post with {size}") for size in sizes}
        await settled(database)
    for size, model in models.items():
        await fill(database, model, comments=size, likes=0)
    async with running_site("--database-url", url) as site:
        for model in models.values():
            await complete(site, model)
        await settled(database)
    return {size: [model, *await copied(database, model, POSTS - 1)] for size, model in models.items()}


@asynccontextmanager
async def phases(sizes: Sequence[int]) -> AsyncIterator[tuple[dict[int, Phase], Database]]:
    """A server with such posts, and the comments that are asked for on those of each size."""
    async with AsyncExitStack() as opened:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="plaudit-bench-")))
        with pinned([SERVER_CORE]):
            postgres = await opened.enter_async_context(EmbeddedPostgres(directory))
            database = await asyncpg.connect(postgres.url)
            opened.push_async_callback(database.close)
            posts = await make_posts(database, postgres.url, sizes)
            site = await opened.enter_async_context(running_site("--database-url", postgres.url))
        writers = [WebSocketCaller(Tally(), WINDOW, host_token(1 + person)) for person in range(WRITERS)]
        processes = Processes(site.served.pid, postmaster(postgres))
        await opened.enter_async_context(connected(writers, site.served.port))
        written = "SELECT count(*) FROM comment"
        yield (
            {
                size: Phase(
                    f"comments on posts with {size:,}",
                    [Work(writer, comments(posts[size], at)) for at, writer in enumerate(writers)],
                    written,
                    processes,
                )
                for size in sizes
            },
            database,
        )


async def measure(sizes: Sequence[int], rounds: int, seconds: float, rate: float) -> Runs:
    """Comments at ``rate`` on posts of every size in turn, after a first time in which the posts are loaded."""
    runs: dict[int, list[Measured]] = {size: [] for size in sizes}
    async with phases(sizes) as (known, database):
        for phase in known.values():
            await run_phase(phase, database, seconds, rate)
        for _ in range(rounds):
            for size, phase in known.items():
                runs[size].append(await run_phase(phase, database, seconds, rate))
    return runs


# -- the report -------------------------------------------------------------------------------------------------------


def costs_us(runs: Runs) -> dict[int, list[float]]:
    """CPU microseconds a comment, by size."""
    return {size: [1e6 * (each.server + each.database) / each.rate for each in rounds] for size, rounds in runs.items()}


def growth(runs: Runs) -> list[tuple[float, float]]:
    return [(float(size), median(costs)) for size, costs in costs_us(runs).items()]


def report(runs: Runs, command: str, load: float) -> str:
    """The results for people; ``load`` is what else the machine was doing, as its load average before."""
    rows = "\n".join(
        f"| {size:,} | {spread_of(costs)} | {spread_of([each.p99_ms for each in runs[size]])} |"
        for size, costs in costs_us(runs).items()
    )
    rounds = len(next(iter(runs.values())))
    return f"""\
# A comment, by how many there are

`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Load average before: {load:.1f}.

{RATE:,} comments a second on {POSTS} posts that have so many each; medians of {rounds} rounds in which the sizes take
turns, with the lowest and the highest. After each, the rows in Postgres equal the acknowledgements.

| comments on the post | CPU µs a comment, server and Postgres | p99 ms |
| ---: | ---: | ---: |
{rows}

The cost grows as n^{fitted(growth(runs)).exponent:.2f} ([plot](plots/comments.svg)).
"""


def shortcomings(runs: Runs) -> Iterator[str]:
    """In what the results stay behind what is promised."""
    exponent = fitted(growth(runs)).exponent
    if exponent > EXPONENT_MAX:
        yield f"the cost of a comment grows as n^{exponent:.2f} with the comments of its post"


# -- the command ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench comments", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of which the median counts (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each phase (default 1)")
    options = parser.parse_args(argv)
    if what := missing(WRITERS, compiler=False):
        print(f"comments by size are left out: {what}")
        return 0
    load = os.getloadavg()[0]
    with pinned([GENERATOR_CORE]):
        runs = uvloop.run(measure(SIZES, options.rounds, options.seconds, RATE))
    text = report(runs, " ".join(["python -m tests.bench comments", *argv]), load)
    return concluded(
        text,
        shortcomings(runs),
        trial=options.rounds < ROUNDS,
        plots={
            "comments": plot(
                "A durable comment", "comments on its post", "CPU µs", {"server and Postgres": growth(runs)}
            )
        },
    )
