"""``python -m tests.bench timelines``: push, pull, hybrid and adaptive side by side, on real and made graphs.

Four experiments, each on the same posts in every strategy: a crowd that reads and writes, a reader who follows ever
more people, what is stored, and how soon a post is seen. Each graph is imported by the command, the posts are
published over HTTP; server, Postgres and generator are processes of their own, and share the machine.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from itertools import count
from math import log2
from pathlib import Path
from random import Random
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Final, NamedTuple, get_args
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import uvloop
from msgspec import Struct

from actors.rates import HALF_LIFE_MS
from store.embedded import EmbeddedPostgres
from store.timelines import Strategy
from tests.bench import plots
from tests.bench.graphs import EDGES_1500, EDGES_EACH, FOLLOWED, READER, SEED, STAR, VISITS_A_WEEK, Graph, made, snap
from tests.bench.load import cpu_seconds
from tests.bench.people import (
    OPEN_AT_ONCE,
    PAGE,
    RETRY_S,
    TIMEOUT_S,
    Crowd,
    Failed,
    Feed,
    Mix,
    Session,
    Spread,
    sessions,
)
from tests.bench.results import RESULTS, machine, put_section
from tests.processes import ROOT, Served, serving
from tests.site import SETTINGS

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

PLOTS: Final = RESULTS.parent / "plots"
SNAP_GRAPH: Final = ROOT.parent / "shared" / "data" / "snap-facebook-graph.txt"
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)
PEOPLE: Final = (1_500, 5_000, 25_000, 100_000)
PACED_RATE: Final = 420.0
LONG_PAGE: Final = 50
PUBLISHERS: Final = 64
"""Who publish at once, before anything is measured."""
READERS_AT_ONCE: Final = 64
SETTLED_TIMEOUT_S: Final = 900.0
LOOK_EVERY_S: Final = 0.005

RATE_MIN = 1_500.0
READ_P99_MAX_MS = 50.0
LONG_PAGE_MAX_MS = 10.0
LONG_PAGE_GROWTH_MAX = 2.0
LIVE_P99_MAX_MS = 250.0
ENTRY_BYTES_MAX = 110.0
ADAPTIVE_SHARE_MAX = 0.2


class Plan(Struct, frozen=True):
    """How much is done."""

    users: int
    seconds: float
    warm_up_s: float
    pages: int
    """Read in a row by each reader of the second experiment."""
    publications: int
    """Watched in the fourth."""


class Stored(NamedTuple):
    entries: int
    bytes: int
    """Of the table of timelines, with its indexes."""

    @property
    def entry_bytes(self) -> float:
        return self.bytes / self.entries if self.entries else 0.0


class Seen(NamedTuple):
    """From the time that publication was answered."""

    own: Spread
    """Until the author had read a page with the post."""
    own_missed: int
    """First pages of the author without it."""
    pages: Spread
    """Until every follower had read a page, 64 at a time."""
    pages_missed: int
    """Of those, pages without it."""
    pushed: Spread
    """Until the fan-out was over."""
    live: Spread
    """From when publication was asked for, until each of the followers online had it on the live feed."""
    live_missed: int
    """Followers who did not get it."""


class Run(Struct, frozen=True, kw_only=True):
    """One strategy on one graph."""

    graph: str
    strategy: Strategy
    users: int
    saturated: Mix
    server_ms: float
    """Of a core, for one request of the saturated crowd."""
    postgres_ms: float
    paced: Mix
    long_pages: dict[int, Spread]
    stored: Stored
    seen: Seen


# -- a site with its people -------------------------------------------------------------------------------------------


@asynccontextmanager
async def site(postgres_url: str, graph: Graph, strategy: Strategy, number: int) -> AsyncIterator[tuple[Served, str]]:
    """A server with ``graph`` imported, and the address of its database, which is its own."""
    name = f"bench{number}"
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"CREATE DATABASE {name}")
    url = urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    flags = (
        *("--database-url", url, "--timelines", strategy),
        *("--celebrity-followers", str(graph.celebrity_followers)),
    )
    try:
        with tempfile.TemporaryDirectory(prefix="plaudit-bench-") as directory:
            file = Path(directory) / "edges.txt"
            graph.write(file)
            await run_python("server.py", "import", "graph", str(file), *flags)
        await set_habits(url, graph)
        async with serving("server.py", "--port", "0", *flags, environment=SETTINGS) as served:
            yield served, url
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


async def run_python(*arguments: str) -> None:
    """``python *arguments``. Raises ``SystemExit`` with what it said, if it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise SystemExit(output.decode())


async def set_habits(url: str, graph: Graph) -> None:
    """Let half of the people have come as often as ``graph`` says, for long, and the others never."""
    now_ms = time_ns() // 1_000_000
    # A half-life is a week: who comes n times a week, always, weighs about 1.44 n.
    readings = [
        (str(person), now_ms + int(HALF_LIFE_MS * log2(1.44 * visits))) for person, visits in graph.visits.items()
    ]
    database = await asyncpg.connect(url)
    await database.execute(
        "UPDATE user_state SET reading = here.reading, seen_at = now()"
        " FROM unnest($1::text[], $2::bigint[]) AS here (name, reading)"
        " JOIN name ON name.kind = 'host' AND name.name = here.name WHERE user_state.user_id = name.id",
        [name for name, _ in readings],
        [reading for _, reading in readings],
    )
    await database.close()


async def settled(database: "Connection") -> None:
    """Return once nothing is being pushed or arranged."""
    give_up = perf_counter() + SETTLED_TIMEOUT_S
    while perf_counter() < give_up:
        busy = await database.fetchval(
            "SELECT EXISTS (SELECT FROM fanout) OR EXISTS (SELECT FROM follow WHERE push = 'opening') OR EXISTS"
            " (SELECT FROM alarm WHERE name IN ('timeline', 'close edges', 'fanout')"
            " AND due_at < now() + interval '10 seconds') OR EXISTS (SELECT FROM outbox)"
        )
        if not busy:
            return
        await asyncio.sleep(0.2)
    raise SystemExit("timelines are still being pushed or arranged")


@asynccontextmanager
async def opened(people: Sequence[int], port: int) -> AsyncIterator[list[Session]]:
    there = await sessions(people, port)
    try:
        yield there
    finally:
        for session in there:
            session.close()


async def come(people: Sequence[int], port: int) -> None:
    """Let each of ``people`` read once, so that their timelines are arranged."""
    for start in range(0, len(people), READERS_AT_ONCE):
        async with opened(people[start : start + READERS_AT_ONCE], port) as there:
            await asyncio.gather(*(comes(session) for session in there))


async def comes(session: Session) -> None:
    """Read, again for as long as the server is busy with others."""
    while True:
        try:
            await session.page(PAGE, expected=0)
        except Failed:
            await asyncio.sleep(RETRY_S)
        else:
            return


async def publish(graph: Graph, port: int) -> None:
    """Everything that ``graph`` says is posted."""

    async def go_on(posts: Iterator[tuple[int, int]]) -> None:
        for number, author in posts:
            async with opened([author], port) as (session,):
                await session.publish(f"Post {number}", op=f"seed-{number}")

    posts = enumerate(graph.posts)
    await asyncio.gather(*(go_on(posts) for _ in range(PUBLISHERS)))


# -- the experiments --------------------------------------------------------------------------------------------------


async def measure(postgres: EmbeddedPostgres, graph: Graph, strategy: Strategy, number: int, plan: Plan) -> Run:
    """All four, on one strategy."""
    async with AsyncExitStack() as stack:
        served, url = await stack.enter_async_context(site(postgres.url, graph, strategy, number))
        database = await asyncpg.connect(url)
        stack.push_async_callback(database.close)
        with timed("arranging"):
            await come([*graph.visits, *(READER + count for count in FOLLOWED if count <= graph.people)], served.port)
            await settled(database)
        with timed("publishing"):
            await publish(graph, served.port)
            await settled(database)
        stored = await storage(database)
        long_pages = await read_long_pages(graph, served.port, plan)
        seen = await see_posts(graph, served.port, database, plan)
        users = graph.readers(plan.users, PAGE)
        crowd = await stack.enter_async_context(opened(users, served.port))
        # All are known to the server, and have been arranged for, before the clock runs.
        await come(users, served.port)
        await settled(database)
        titles = (f"Note {note}" for note in count())
        with timed("saturating"):
            people = Crowd(crowd, Random(SEED), titles)
            pids = (served.pid, postmaster(postgres))
            spent_s = [cpu_seconds(pid) for pid in pids]
            saturated = await people.saturate(plan.seconds, plan.warm_up_s)
            server_ms, postgres_ms = (
                1000 * (cpu_seconds(pid) - before_s) / people.asked for pid, before_s in zip(pids, spent_s, strict=True)
            )
        await settled(database)
        with timed("pacing"):
            paced = await Crowd(crowd, Random(SEED), titles).pace(PACED_RATE, plan.seconds, plan.warm_up_s)
        return Run(
            graph=graph.name,
            strategy=strategy,
            users=len(users),
            saturated=saturated,
            server_ms=server_ms,
            postgres_ms=postgres_ms,
            paced=paced,
            long_pages=long_pages,
            stored=stored,
            seen=seen,
        )


def postmaster(postgres: EmbeddedPostgres) -> int:
    """The process whose descendants all of Postgres is."""
    return int((postgres.directory / "postmaster.pid").read_text().split()[0])


async def storage(database: "Connection") -> Stored:
    ((entries, size),) = await database.fetch(
        "SELECT (SELECT count(*) FROM timeline), pg_total_relation_size('timeline')"
    )
    return Stored(entries, size)


async def read_long_pages(graph: Graph, port: int, plan: Plan) -> dict[int, Spread]:
    """Pages of 50 by each of the readers in turn: what disturbs the machine for a while disturbs all of them."""
    counts = [count for count in FOLLOWED if count <= graph.people]
    taken: dict[int, list[float]] = {count: [] for count in counts}
    async with opened([READER + count for count in counts], port) as readers:
        for _ in range(plan.pages):
            for count, reader in zip(counts, readers, strict=True):
                taken[count].append(await long_page(reader))
    return {count: Spread.of(seconds) for count, seconds in taken.items()}


async def long_page(reader: Session) -> float:
    """The seconds that a page of 50 takes; what fails counts as the longest that one waits."""
    began = perf_counter()
    try:
        await reader.page(LONG_PAGE)
    except Failed as failure:
        print(f"    a page of {LONG_PAGE} failed: {failure}", flush=True)
        return TIMEOUT_S
    return perf_counter() - began


async def see_posts(graph: Graph, port: int, database: "Connection", plan: Plan) -> Seen:
    """How soon posts of someone with a thousand followers are seen."""
    followers = [follower for follower, followee in graph.edges if followee == STAR]
    own: list[float] = []
    pages: list[float] = []
    pushed: list[float] = []
    own_missed = pages_missed = 0
    await come(followers, port)
    async with opened(followers, port) as readers, opened([STAR], port) as (star,):
        for number in range(plan.publications):
            await settled(database)
            post = await star.publish(f"News {number}")
            began = perf_counter()
            fanned_out = asyncio.create_task(fan_out_ended(database, int(post)))
            own_missed += await misses(star, post)
            own.append(perf_counter() - began)
            pages_missed += await missing(readers, post)
            pages.append(perf_counter() - began)
            pushed.append(await fanned_out - began)
    live, live_missed = await see_live(followers, port, plan)
    return Seen(Spread.of(own), own_missed, Spread.of(pages), pages_missed, Spread.of(pushed), live, live_missed)


async def see_live(followers: Sequence[int], port: int, plan: Plan) -> tuple[Spread, int]:
    """How soon the followers have a post on their live feeds, all of them online; and how often one does not get it."""
    feeds: list[Feed] = []
    arrived: list[float] = []
    for start in range(0, len(followers), OPEN_AT_ONCE):
        some = followers[start : start + OPEN_AT_ONCE]
        feeds += await asyncio.gather(*(Feed.open(follower, port) for follower in some))
    async with opened([STAR], port) as (star,):
        for number in range(plan.publications):
            for feed in feeds:
                feed.forget()
            began = perf_counter()
            post = await star.publish(f"Live news {number}")
            arrived += [at - began for at in await asyncio.gather(*(feed.arrival(post) for feed in feeds))]
    for feed in feeds:
        feed.close()
    got = [seconds for seconds in arrived if seconds < TIMEOUT_S]
    return Spread.of(got), len(arrived) - len(got)


async def missing(readers: Sequence[Session], post: str) -> int:
    """How many of ``readers`` read a page without the post, or none; some read at once, each as soon as one is done."""
    waiting = iter(readers)

    async def go_on() -> int:
        return sum([await misses(reader, post) for reader in waiting])

    return sum(await asyncio.gather(*(go_on() for _ in range(READERS_AT_ONCE))))


async def misses(reader: Session, post: str) -> bool:
    try:
        return post not in await reader.page(PAGE, expected=1)
    except Failed as failure:
        print(f"    a page with a new post failed: {failure}", flush=True)
        return True


async def fan_out_ended(database: "Connection", post: int) -> float:
    """The time at which the job of ``post`` was found to be over."""
    while await database.fetchval("SELECT EXISTS (SELECT FROM fanout WHERE post_id = $1)", post):
        await asyncio.sleep(LOOK_EVERY_S)
    return perf_counter()


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = perf_counter()
    yield
    print(f"    {what}: {perf_counter() - began:.1f} s", flush=True)


async def measure_all(graphs: Sequence[Graph], plan: Plan) -> list[Run]:
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="plaudit-bench-") as directory:
        async with EmbeddedPostgres(Path(directory)) as postgres:
            for graph in graphs:
                for strategy in STRATEGIES:
                    print(f"{graph.name}, {strategy}", flush=True)
                    run = await measure(postgres, graph, strategy, len(runs), plan)
                    print("\n".join(f"    {part}" for part in described(run)), flush=True)
                    runs.append(run)
    return runs


def described(run: Run) -> list[str]:
    """For who waits for the report."""
    cost = f"{run.server_ms:.1f} + {run.postgres_ms:.1f} ms of CPU a request"
    return [str(run.saturated), cost, str(run.paced), str(run.long_pages), str(run.stored), str(run.seen)]


# -- the report -------------------------------------------------------------------------------------------------------


def report(runs: Sequence[Run], graphs: Sequence[Graph], plan: Plan, command: str, load: float) -> str:
    """The results for people; ``load`` is what else the machine was doing, as its load average before."""
    described = "; ".join(
        f"{graph.name}: {len(graph.edges):,} edges, {len(graph.posts):,} posts, {graph.celebrity_followers:,} followers"
        " make a celebrity"
        for graph in graphs
    )
    return f"""\
# Timelines by push, pull, hybrid and adaptive

`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Load average before: {load:.1f}.

{described}. One worker, Postgres and the generator share the machine. Half of the people are away, the others come
some {VISITS_A_WEEK:.0f} times a week. A failure is any status but 200 and 201, a timeout, a short or an empty page.

## A crowd: 80 % read 10 posts, 20 % publish

{_table(("graph", "strategy", "users", "requests/s", "reads p50/p95/p99 ms", "writes p50/p95/p99 ms", "failures",
         "CPU ms a request: server + Postgres",
         f"reads at {PACED_RATE:.0f}/s", f"writes at {PACED_RATE:.0f}/s", "failures"), map(_crowd_row, runs))}

![requests a second](plots/crowd.svg)

{plan.seconds:.0f} s of a closed loop without pauses, then as long of an open one at {PACED_RATE:.0f} requests a second.

## One reader of {LONG_PAGE} posts

{_table(("graph", "strategy", *(f"p50 ms following {count:,}" for count in FOLLOWED)), map(_reader_row, runs))}

![a page of {LONG_PAGE} posts](plots/reader.svg)

## What is stored

{_table(("graph", "strategy", "entries", "MB", "bytes an entry"), map(_storage_row, runs))}

![size of the timelines](plots/storage.svg)

## How soon a post is seen

{_table(("graph", "strategy", "own page p50/p99 ms", "without it", "pages of 1,000 followers p50/p99 ms", "without it",
         "pushed p50/p99 ms", "live p50/p95/p99 ms", "without it"), map(_seen_row, runs))}

![until it is pushed](plots/visibility.svg)

From the answer to the publication. The pages are read by all followers, {READERS_AT_ONCE} at a time, from right then
on: how long that takes is how long the server takes to answer as many reads. Live is
from when publication was asked for, over Server-Sent Events, with all 1,000 online.
"""  # fmt: skip


def _table(titles: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [titles, ["---", "---", *("---:" for _ in titles[2:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _crowd_row(run: Run) -> list[str]:
    return [
        *(run.graph, run.strategy, f"{run.users:,}", f"{run.saturated.rate:,.0f}"),
        *(_spread(run.saturated.reads), _spread(run.saturated.writes), _failures(run.saturated)),
        f"{run.server_ms:.1f} + {run.postgres_ms:.1f}",
        *(_spread(run.paced.reads), _spread(run.paced.writes), _failures(run.paced)),
    ]


def _reader_row(run: Run) -> list[str]:
    found = (run.long_pages.get(count) for count in FOLLOWED)
    return [run.graph, run.strategy, *("" if spread is None else f"{spread.p50:.1f}" for spread in found)]


def _storage_row(run: Run) -> list[str]:
    stored = run.stored
    return [run.graph, run.strategy, f"{stored.entries:,}", f"{stored.bytes / 1e6:.1f}", f"{stored.entry_bytes:.0f}"]


def _seen_row(run: Run) -> list[str]:
    seen = run.seen
    return [
        *(run.graph, run.strategy, f"{seen.own.p50:.0f} / {seen.own.p99:.0f}", str(seen.own_missed)),
        *(f"{seen.pages.p50:,.0f} / {seen.pages.p99:,.0f}", str(seen.pages_missed)),
        *(f"{seen.pushed.p50:,.0f} / {seen.pushed.p99:,.0f}", _spread(seen.live), str(seen.live_missed)),
    ]


def _spread(spread: Spread) -> str:
    return " / ".join(f"{value:,.0f}" if value >= 10 else f"{value:.1f}" for value in spread)


def _failures(mix: Mix) -> str:
    return ", ".join(f"{number:,} × {name}" for name, number in mix.failures.items()) or "0"


def draw(runs: Sequence[Run], directory: Path) -> None:
    """One plot an experiment."""
    directory.mkdir(exist_ok=True)
    crowd: dict[str, dict[str, float]] = {}
    stored: dict[str, dict[str, float]] = {}
    seen: dict[str, dict[str, float]] = {}
    for run in runs:
        crowd.setdefault(run.graph, {})[run.strategy] = run.saturated.rate
        stored.setdefault(run.graph, {})[run.strategy] = run.stored.bytes / 1e6
        seen.setdefault(run.graph, {})[run.strategy] = run.seen.pushed.p99
    last = [run for run in runs if run.graph == runs[-1].graph]
    followed: dict[str, list[tuple[float, float]]] = {
        run.strategy: [(float(count), spread.p50) for count, spread in run.long_pages.items()] for run in last
    }
    pages = f"A page of {LONG_PAGE} posts on {runs[-1].graph}"
    for name, plot in (
        ("crowd", plots.bars("A crowd: 80 % read 10 posts, 20 % publish", "requests a second", crowd)),
        ("reader", plots.lines(pages, "people whom the reader follows", "p50, ms", followed)),
        ("storage", plots.bars("What timelines take, with indexes", "MB", stored)),
        ("visibility", plots.bars("Until a post is pushed to 1,000 followers", "p99, ms", seen)),
    ):
        (directory / f"{name}.svg").write_text(plot)


def shortcomings(runs: Sequence[Run]) -> Iterator[str]:
    """In what the results stay behind what is promised; pull is there to compare with."""
    pushed = {run.graph: run.stored.entries for run in runs if run.strategy == "push"}
    for run in runs:
        where = f"{run.graph}, {run.strategy}"
        if run.saturated.failures or run.paced.failures:
            yield f"{where}: failures"
        if run.seen.own_missed or run.seen.pages_missed or run.seen.live_missed:
            yield f"{where}: a post that was published was not seen"
        if run.stored.entries > 0 and run.stored.entry_bytes > ENTRY_BYTES_MAX:
            yield f"{where}: {run.stored.entry_bytes:.0f} bytes an entry, not {ENTRY_BYTES_MAX:.0f}"
        if run.strategy == "adaptive" and run.stored.entries > ADAPTIVE_SHARE_MAX * pushed[run.graph]:
            yield f"{where}: {run.stored.entries / pushed[run.graph]:.0%} of the entries of push"
        if run.strategy != "pull":
            yield from _slow(run, where)


def _slow(run: Run, where: str) -> Iterator[str]:
    if run.seen.live.p99 >= LIVE_P99_MAX_MS:
        yield f"{where}: live p99 {run.seen.live.p99:.0f} ms, not below {LIVE_P99_MAX_MS:.0f}"
    if run.saturated.rate < RATE_MIN:
        yield f"{where}: {run.saturated.rate:,.0f} requests/s, not {RATE_MIN:,.0f}"
    if run.paced.reads.p99 >= READ_P99_MAX_MS:
        yield f"{where}: read p99 {run.paced.reads.p99:.0f} ms at {PACED_RATE:.0f}/s, not below {READ_P99_MAX_MS:.0f}"
    first, last = min(run.long_pages), max(run.long_pages)
    few, many = run.long_pages[first].p50, run.long_pages[last].p50
    if many > LONG_PAGE_GROWTH_MAX * few:
        yield f"{where}: a page takes {many / few:.1f} times as long following {last:,} as following {first}"
    if many >= LONG_PAGE_MAX_MS:
        yield f"{where}: a page takes {many:.1f} ms following {last:,}, not less than {LONG_PAGE_MAX_MS:.0f}"


# -- the command ------------------------------------------------------------------------------------------------------


def graphs_of(people: Sequence[int], posts: int) -> list[Graph]:
    """SNAP's graph, if it is there, and made ones of so many people, each with about ``posts`` posts."""
    graphs = []
    if SNAP_GRAPH.exists():
        graphs.append(snap(SNAP_GRAPH, posts))
    else:
        print("SNAP's graph of Facebook is not beside the repository: left out")
    return [*graphs, *(made(size, EDGES_1500 if size == PEOPLE[0] else EDGES_EACH * size, posts) for size in people)]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench timelines", description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, nargs="*", default=list(PEOPLE), help="sizes of the graphs that are made")
    parser.add_argument("--posts", type=int, default=46_000, help="on each graph, before anything is measured")
    parser.add_argument("--users", type=int, default=1_500, help="who read and write at once")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each crowd")
    parser.add_argument("--quick", action="store_true", help="see whether it works, on one small graph; writes nothing")
    options = parser.parse_args(argv)
    load = os.getloadavg()[0]
    if options.quick:
        graphs = [made(1_700, 8_000, 400)]
        plan = Plan(users=50, seconds=3.0, warm_up_s=1.0, pages=5, publications=2)
    else:
        graphs = graphs_of(options.people, options.posts)
        plan = Plan(users=options.users, seconds=options.seconds, warm_up_s=5.0, pages=200, publications=30)
    runs = uvloop.run(measure_all(graphs, plan))
    text = report(runs, graphs, plan, " ".join(["python -m tests.bench timelines", *argv]), load)
    if not options.quick:
        put_section(text)
        draw(runs, PLOTS)
    print("\n" + text)
    found = list(shortcomings(runs))
    for shortcoming in found:
        print(shortcoming, file=sys.stderr)
    return 1 if found and not options.quick else 0
