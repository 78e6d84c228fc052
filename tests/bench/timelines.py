"""``python -m tests.bench timelines``: push, pull, hybrid and adaptive side by side, on real and made graphs.

Four experiments, each on the same posts in every strategy: a crowd that reads and writes, a reader who follows ever
more people, what is stored, and how soon a post is seen. A graph is imported by the command and its posts are published
over HTTP once; each strategy then has a copy, pushed as it would have been. Server, Postgres and generator are
processes of their own, and share the machine.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from itertools import count
from math import log, log2
from pathlib import Path
from random import Random
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Final, NamedTuple, get_args
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import uvloop
from msgspec import Struct
from msgspec.structs import replace

from actors.rates import HALF_LIFE_MS
from actors.runtime.jobs import CHUNK
from store.embedded import EmbeddedPostgres
from store.postgres import open_postgres
from store.timelines import Strategy
from tests.bench import plots
from tests.bench.graphs import (
    EDGES_1500,
    EDGES_EACH,
    EDGES_MAX,
    FOLLOWED,
    READER,
    SEED,
    STAR,
    STAR_FOLLOWERS,
    VISITS_A_DAY,
    Graph,
    made,
    snap,
)
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
LARGE: Final = 10_000
PACED_RATE: Final = 420.0
LONG_PAGE: Final = 50
POSTS_EACH_MIN: Final = 0.15
PUBLISHERS: Final = 128
"""Who publish at once, before anything is measured."""
READERS_AT_ONCE: Final = 64
SETTLED_TIMEOUT_S: Final = 900.0
LOOK_EVERY_S: Final = 0.005
CHECKED: Final = 100
"""Pages that are compared with what they should be."""
DAY_MS: Final = 86_400_000
KEEN_VISITS_A_DAY: Final = 50.0
"""Of the readers of the second experiment, who read one page after the other."""

RATE_MIN = 1_500.0
READ_P99_MAX_MS = 50.0
LONG_PAGE_MAX_MS = 10.0
LONG_PAGE_GROWTH_MAX = 2.0
LIVE_P99_MAX_MS = 250.0
ENTRY_BYTES_MAX = 110.0
ENTRIES_JUDGED = 5_000
"""Of fewer it is the pages of the database that count, which hold a hundred each."""
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

    def of(self, graph: Graph) -> "Plan":
        """What is done on ``graph``: half of it where to set up takes long, and little depends on the size."""
        if graph.people < LARGE:
            return self
        return replace(self, seconds=self.seconds / 2, pages=self.pages // 2, publications=self.publications // 2)


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
    pages: int
    """That the followers read then, some at a time."""
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
    wrong: int
    """Pages that were not what they should be, of ``CHECKED``."""
    long_pages: dict[int, Spread]
    stored: Stored
    seen: Seen


# -- a site with its people -------------------------------------------------------------------------------------------


@asynccontextmanager
async def people_and_posts(postgres_url: str, graph: Graph) -> AsyncIterator[str]:
    """The address of a database with ``graph`` imported, and all published that it says, but nothing pushed."""
    async with database_of(postgres_url, "bench_graph") as url:
        with timed("importing"), tempfile.TemporaryDirectory(prefix="plaudit-bench-") as directory:
            file = Path(directory) / "edges.txt"
            graph.write(file)
            await run_python("server.py", "import", "graph", str(file), *flags(url, graph, "pull"))
        with timed("publishing"):
            async with served_from(url, graph, "pull") as served, connected(url) as database:
                await publish(graph, served.port)
                await settled(database)
        async with connected(url) as database:
            await set_habits(database, graph)
        yield url


@asynccontextmanager
async def site(postgres_url: str, template: str, graph: Graph, strategy: Strategy) -> AsyncIterator[tuple[Served, str]]:
    """A server of a copy of ``template`` as it would be, had it had ``strategy`` all along; and the copy's address."""
    async with database_of(postgres_url, "bench", template=template) as url:
        with timed("pushing"):
            await push_all(url, graph, strategy)
        async with served_from(url, graph, strategy) as served:
            yield served, url


@asynccontextmanager
async def database_of(postgres_url: str, name: str, *, template: str | None = None) -> AsyncIterator[str]:
    async with connected(postgres_url) as admin:
        copied = f" TEMPLATE {urlsplit(template).path.strip('/')}" if template else ""
        await admin.execute(f"CREATE DATABASE {name}{copied}")
        try:
            yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["Connection"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def served_from(url: str, graph: Graph, strategy: Strategy) -> AbstractAsyncContextManager[Served]:
    return serving("server.py", "--port", "0", *flags(url, graph, strategy), environment=SETTINGS)


def flags(url: str, graph: Graph, strategy: Strategy) -> Sequence[str]:
    celebrity = str(graph.celebrity_followers)
    return ("--database-url", url, "--timelines", strategy, "--celebrity-followers", celebrity)


async def run_python(*arguments: str) -> None:
    """``python *arguments``. Raises ``SystemExit`` with what it said, if it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise SystemExit(output.decode())


async def set_habits(database: "Connection", graph: Graph) -> None:
    """Let everybody have come and posted as often as ``graph`` says, for long; or never."""
    now_ms = time_ns() // 1_000_000
    days = HALF_LIFE_MS / DAY_MS / log(2)

    def rate(a_day: float) -> int:
        """What so many a day, always, weigh: see ``actors.rates``."""
        return now_ms + int(HALF_LIFE_MS * log2(a_day * days))

    written = Counter(graph.posts)
    keen = {READER + followed: KEEN_VISITS_A_DAY for followed in FOLLOWED}
    for column, rates in (
        ("seen_at = now(), reading", {person: rate(visits) for person, visits in (graph.visits | keen).items()}),
        ("posting", {author: rate(posts) for author, posts in written.items()}),
    ):
        await database.execute(
            f"UPDATE user_state SET {column} = here.rate FROM unnest($1::text[], $2::bigint[]) AS here (name, rate)"
            " JOIN name ON name.kind = 'host' AND name.name = here.name WHERE user_state.user_id = name.id",
            [str(person) for person in rates],
            list(rates.values()),
        )


async def push_all(url: str, graph: Graph, strategy: Strategy) -> None:
    """Open the edges that ``strategy`` would have pushed along before anything was posted, and push it all.

    By what the product itself decides and pushes with.
    """
    async with connected(url) as database, open_postgres(url) as store:
        # Over a million edges it takes minutes to keep the indexes, and seconds to make them anew.
        indexes = await database.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'follow' AND indexname <> 'follow_pkey'"
        )
        for name, _ in indexes:
            await database.execute(f"DROP INDEX {name}")
        await database.execute(
            "UPDATE follow SET push = 'pushed' FROM user_state AS author, user_state AS reader"
            " WHERE author.user_id = follow.followee AND reader.user_id = follow.follower AND should_push("
            "$1, reader.seen_at IS NOT NULL, reader.reading, author.celebrity, author.posting)",
            strategy,
        )
        for _, definition in indexes:
            await database.execute(definition)
        await database.execute("UPDATE user_state SET arranged = $1, arranged_for = reading", strategy)
        posts = iter(await database.fetch("SELECT author_id, published_id FROM post ORDER BY published_id"))

        async def go_on() -> None:
            for author, place in posts:
                after: int | None = 0
                while after is not None:
                    after = await store.timelines.push(author, place, after=after, limit=CHUNK)

        await asyncio.gather(*(go_on() for _ in range(PUBLISHERS)))
        await database.execute("VACUUM ANALYZE")


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
    posts = enumerate(graph.posts)

    async def go_on(session: Session) -> None:
        for number, author in posts:
            session.sign_in(author)
            await session.publish(f"Post {number}", op=f"seed-{number}")

    async with opened(graph.posts[:PUBLISHERS], port) as there:
        await asyncio.gather(*map(go_on, there))


# -- the experiments --------------------------------------------------------------------------------------------------


async def measure(postgres: EmbeddedPostgres, template: str, graph: Graph, strategy: Strategy, plan: Plan) -> Run:
    """All four, on one strategy."""
    async with AsyncExitStack() as stack:
        served, url = await stack.enter_async_context(site(postgres.url, template, graph, strategy))
        database = await stack.enter_async_context(connected(url))
        stored = await storage(database)
        users = graph.readers(plan.users, PAGE)
        with timed("coming"):
            # All are known to the server, and have been arranged for, before the clock runs.
            await come([*users, *(READER + followed for followed in FOLLOWED if followed <= graph.people)], served.port)
            await settled(database)
        with timed("reading long pages"):
            long_pages = await read_long_pages(graph, served.port, plan)
        with timed("looking for new posts"):
            seen = await see_posts(graph, served.port, database, plan)
        crowd = await stack.enter_async_context(opened(users, served.port))
        titles = (f"Note {number}" for number in count())
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
        wrong = await wrong_pages(users[:CHECKED], served.port, database)
        return Run(
            graph=graph.name,
            strategy=strategy,
            users=len(users),
            saturated=saturated,
            server_ms=server_ms,
            postgres_ms=postgres_ms,
            paced=paced,
            wrong=wrong,
            long_pages=long_pages,
            stored=stored,
            seen=seen,
        )


async def wrong_pages(people: Sequence[int], port: int, database: "Connection") -> int:
    """How many of ``people`` read another page than their edges and all posts, looked through plainly, say."""
    wrong = 0
    async with opened(people, port) as there:
        for person, session in zip(people, there, strict=True):
            expected = await database.fetch(
                "WITH me AS (SELECT id FROM name WHERE kind = 'host' AND name = $1), shown AS ("
                "SELECT id FROM me UNION SELECT followee FROM follow WHERE follower = (SELECT id FROM me))"
                " SELECT id FROM post WHERE state = 'published' AND page_url IS NULL"
                " AND author_id IN (SELECT id FROM shown) ORDER BY published_id DESC LIMIT $2",
                str(person),
                PAGE,
            )
            wrong += await session.page(PAGE) != [str(id) for (id,) in expected]
    return wrong


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
            pushed.append(await fanned_out - began)
    live, live_missed = await see_live(followers, port, plan)
    asked = plan.publications * len(followers)
    return Seen(Spread.of(own), own_missed, asked, pages_missed, Spread.of(pushed), live, live_missed)


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


async def measure_all(
    graphs: Iterable[Graph], strategies: Sequence[Strategy], plan: Plan
) -> AsyncIterator[tuple[Graph, Run]]:
    with tempfile.TemporaryDirectory(prefix="plaudit-bench-") as directory:
        async with EmbeddedPostgres(Path(directory)) as postgres:
            for graph in graphs:
                print(graph.name, flush=True)
                async with people_and_posts(postgres.url, graph) as template:
                    for strategy in strategies:
                        print(f"{graph.name}, {strategy}", flush=True)
                        yield graph, await measure(postgres, template, graph, strategy, plan.of(graph))


def described(run: Run) -> list[str]:
    """For who waits for the report."""
    cost = f"{run.server_ms:.1f} + {run.postgres_ms:.1f} ms of CPU a request"
    return [str(run.saturated), cost, str(run.paced), str(run.long_pages), str(run.stored), str(run.seen)]


# -- the report -------------------------------------------------------------------------------------------------------


def report(runs: Sequence[Run], graphs: Sequence[Graph], plan: Plan, command: str, load: float) -> str:
    """The results for people; ``load`` is what else the machine was doing, as its load average before."""
    graph_rows = (
        [graph.name, *(f"{n:,}" for n in (len(graph.edges), len(graph.posts), graph.celebrity_followers))]
        for graph in graphs
    )
    return f"""\
# Timelines by push, pull, hybrid and adaptive

`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Load average before: {load:.1f}.

{_table(("graph", "edges", "posts before", "followers that make a celebrity"), graph_rows, texts=1)}

One worker, Postgres and the generator share the machine. Half of the people are away, the others come {VISITS_A_DAY:g}
times a day in the median; the posts before are those of a day, most by few. A failure is any status but 200 and 201, a
timeout, a short or an empty page. At the end {CHECKED} pages are compared with what all posts and edges say.

## A crowd: 80 % read 10 posts, 20 % publish

{_table(("graph", "strategy", "users", "requests/s", "reads p50 / p95 / p99 ms", "writes p50 / p95 / p99 ms",
         "failures", f"reads at {PACED_RATE:.0f}/s", f"writes at {PACED_RATE:.0f}/s", "failures", "wrong pages",
         "CPU ms a request: server + Postgres"), map(_crowd_row, runs))}

![requests a second](plots/crowd.svg)

A closed loop without pauses of {plan.seconds:.0f} s, then as long an open one at {PACED_RATE:.0f} requests a second;
half as long with {LARGE:,} people or more.

## One reader of {LONG_PAGE} posts

{_table(("graph", "strategy", *(f"p50 ms following {followed:,}" for followed in FOLLOWED)), map(_reader_row, runs))}

![a page of {LONG_PAGE} posts](plots/reader.svg)

Each reads {plan.pages} pages, in turn; they come {KEEN_VISITS_A_DAY:.0f} times a day.

## What is stored

{_table(("graph", "strategy", "entries", "of those of push", "MB", "bytes an entry"), _storage_rows(runs))}

![size of the timelines](plots/storage.svg)

The table of timelines with its index, after the posts before.

## How soon a post is seen

{_table(("graph", "strategy", "own page p50 / p99 ms", "own pages without it", "followers' pages without it",
         "in all timelines p50 / p99 ms", "live p50 / p95 / p99 ms", "followers without it"), map(_seen_row, runs))}

![until it is live](plots/visibility.svg)

By an author with {STAR_FOLLOWERS:,} followers. The author's own page is read as soon as publication was answered, and
then those of all followers, {READERS_AT_ONCE} at a time. Live is from when publication was asked for until each of the
followers has it over Server-Sent Events, all of them online.
"""  # fmt: skip


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 2) -> str:
    """A table; the first ``texts`` columns are no numbers."""
    lines = [titles, [*("---" for _ in titles[:texts]), *("---:" for _ in titles[texts:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _crowd_row(run: Run) -> list[str]:
    return [
        *(run.graph, run.strategy, f"{run.users:,}", f"{run.saturated.rate:,.0f}"),
        *(_spread(run.saturated.reads), _spread(run.saturated.writes), _failures(run.saturated)),
        *(_spread(run.paced.reads), _spread(run.paced.writes), _failures(run.paced)),
        *(str(run.wrong), f"{run.server_ms:.2f} + {run.postgres_ms:.2f}"),
    ]


def _reader_row(run: Run) -> list[str]:
    found = (run.long_pages.get(followed) for followed in FOLLOWED)
    return [run.graph, run.strategy, *("" if spread is None else f"{spread.p50:.1f}" for spread in found)]


def _storage_rows(runs: Sequence[Run]) -> Iterator[list[str]]:
    pushed = {run.graph: run.stored.entries for run in runs if run.strategy == "push"}
    for run in runs:
        stored, of_push = run.stored, pushed.get(run.graph)
        yield [
            *(run.graph, run.strategy, f"{stored.entries:,}", f"{stored.entries / of_push:.0%}" if of_push else ""),
            *(f"{stored.bytes / 1e6:.1f}", f"{stored.entry_bytes:.0f}" if stored.entries else ""),
        ]


def _seen_row(run: Run) -> list[str]:
    seen = run.seen
    return [
        *(run.graph, run.strategy, f"{seen.own.p50:.0f} / {seen.own.p99:.0f}", str(seen.own_missed)),
        f"{seen.pages_missed} of {seen.pages:,}",
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
    live: dict[str, dict[str, float]] = {}
    for run in runs:
        crowd.setdefault(run.graph, {})[run.strategy] = run.saturated.rate
        stored.setdefault(run.graph, {})[run.strategy] = run.stored.bytes / 1e6
        live.setdefault(run.graph, {})[run.strategy] = run.seen.live.p99
    # The last of which there is all, or the first.
    graph = next((graph for graph in reversed(stored) if len(stored[graph]) == len(stored[runs[0].graph])), "")
    pages = f"A page of {LONG_PAGE} posts on {graph}"
    followed: dict[str, list[tuple[float, float]]] = {
        run.strategy: [(float(people), spread.p50) for people, spread in run.long_pages.items()]
        for run in runs
        if run.graph == graph
    }
    for name, plot in (
        ("crowd", plots.bars("A crowd: 80 % read 10 posts, 20 % publish", "requests a second", crowd)),
        ("reader", plots.lines(pages, "people whom the reader follows", "p50, ms", followed)),
        ("storage", plots.bars("What timelines take, with their index", "MB", stored)),
        ("visibility", plots.bars(f"Until {STAR_FOLLOWERS:,} followers online have a post", "p99, ms", live)),
    ):
        (directory / f"{name}.svg").write_text(plot)


def shortcomings(runs: Sequence[Run]) -> Iterator[str]:
    """In what the results stay behind what is promised; pull is there to compare with."""
    pushed = {run.graph: run.stored.entries for run in runs if run.strategy == "push"}
    for run in runs:
        of_push = pushed.get(run.graph)
        where = f"{run.graph}, {run.strategy}"
        if run.saturated.failures or run.paced.failures:
            yield f"{where}: failures"
        if run.wrong:
            yield f"{where}: {run.wrong} of {CHECKED} pages are wrong"
        if run.seen.own_missed or run.seen.pages_missed or run.seen.live_missed:
            yield f"{where}: a post that was published was not seen"
        if run.stored.entries > ENTRIES_JUDGED and run.stored.entry_bytes > ENTRY_BYTES_MAX:
            yield f"{where}: {run.stored.entry_bytes:.0f} bytes an entry, not {ENTRY_BYTES_MAX:.0f}"
        if run.strategy == "adaptive" and of_push and run.stored.entries > ADAPTIVE_SHARE_MAX * of_push:
            yield f"{where}: {run.stored.entries / of_push:.0%} of the entries of push"
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
    """SNAP's graph, if it is there, and made ones of so many people, each with ``posts`` posts or some more."""
    graphs = []
    if SNAP_GRAPH.exists():
        graphs.append(snap(SNAP_GRAPH, posts))
    else:
        print("SNAP's graph of Facebook is not beside the repository: left out")
    for size in people:
        edges = EDGES_1500 if size == PEOPLE[0] else min(EDGES_EACH * size, EDGES_MAX)
        # Or hardly anybody would have a full page.
        graphs.append(made(size, edges, max(posts, int(POSTS_EACH_MIN * size))))
    return graphs


async def run_all(options: argparse.Namespace, argv: Sequence[str]) -> list[Run]:
    """Measure, and after each run write down what there is."""
    load = os.getloadavg()[0]
    if options.quick:
        graphs = [made(1_700, 30_000, 2_000)]
        plan = Plan(users=200, seconds=3.0, warm_up_s=1.0, pages=10, publications=2)
    else:
        graphs = graphs_of(options.people, options.posts)
        plan = Plan(users=options.users, seconds=options.seconds, warm_up_s=3.0, pages=100, publications=10)
    command = " ".join(["python -m tests.bench timelines", *argv])
    began, runs, text = perf_counter(), list[Run](), ""
    async for graph, run in measure_all(graphs, options.strategies, plan):
        print("\n".join(f"    {part}" for part in described(run)), flush=True)
        runs.append(run)
        text = report(runs, graphs[: 1 + graphs.index(graph)], plan, command, load)
        if not options.quick:
            put_section(text)
            draw(runs, PLOTS)
    print(f"\n{text}\n{(perf_counter() - began) / 60:.1f} minutes")
    return runs


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench timelines", description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, nargs="*", default=list(PEOPLE), help="sizes of the graphs that are made")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES), help="default: all")
    parser.add_argument("--posts", type=int, default=6_000, help="on each graph, before anything is measured")
    parser.add_argument("--users", type=int, default=1_500, help="who read and write at once")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each crowd")
    parser.add_argument("--quick", action="store_true", help="see whether it works, on one small graph; writes nothing")
    options = parser.parse_args(argv)
    found = list(shortcomings(uvloop.run(run_all(options, argv))))
    for shortcoming in found:
        print(shortcoming, file=sys.stderr)
    return 1 if found and not options.quick else 0
