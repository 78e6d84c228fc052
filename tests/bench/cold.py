"""Cold posts: what it takes to read one that no worker has in memory.

The server is freshly started and has read nothing; Postgres has its rows in its cache, for they were just written, and
read once by a round before. Each post is read once a round, over HTTP, half of them one at a time, and the others with
many requests in flight. Each answer is compared, byte for byte, with that of the post that they are copies of, which
the server has written itself, and that one with the rows.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, Final, NamedTuple

import aiohttp
import asyncpg
import msgspec
import psutil
import uvloop
from msgspec import Struct

from store.embedded import EmbeddedPostgres
from tests.bench.contestants import GENERATOR_CORE, SERVER_CORE
from tests.bench.copies import Database, complete, copied, fill, settled
from tests.bench.growth import exponents, plot
from tests.bench.measuring import cpu_s, missing, spread_of
from tests.bench.readers import DRAIN_TIMEOUT_S, Question, Reader, Same, Wrong
from tests.bench.results import concluded, machine
from tests.processes import pinned
from tests.site import Site, host_token, running_site

ROUNDS: Final = 5
IN_FLIGHT: Final = 32
ONE_BY_ONE: Final = 0.3
"""The share of the posts that are read one at a time."""
P99_MAX_MS: Final = 20.0
RATE_MIN: Final = 500.0
GENERATOR_MAX: Final = 0.9


class Kind(NamedTuple):
    """Posts that are alike."""

    comments: int
    likes: int
    copies: int

    def __str__(self) -> str:
        return f"{self.comments:,} comments, {self.likes:,} likes"


PROMISED: Final = Kind(10_000, 100_000, 80)
"""The posts that the goals are of."""
KINDS: Final = (PROMISED, Kind(0, 0, 400), Kind(1_000, 0, 100), Kind(10_000, 0, 40), Kind(50_000, 0, 16))


class Posts(NamedTuple):
    """The copies of one post, and what is to be answered of each: the post itself, and its first page of comments."""

    kind: Kind
    ids: Sequence[str]
    model: str
    slug: str
    post: bytes
    page: bytes

    def question(self, id: str) -> Question:
        body = self.post.replace(self.model.encode(), id.encode())
        slug = f'"slug":"{self.slug}"'
        return Question(f"/v1/posts/{id}", Same(body.replace(slug.encode(), f'{slug[:-1]}-{id}"'.encode())))

    def page_question(self, id: str) -> Question:
        return Question(f"/v1/posts/{id}/comments", Same(self.page.replace(self.model.encode(), id.encode())))

    def parted(self, round: int) -> tuple[Sequence[str], Sequence[str]]:
        """Those that are read one at a time, others in each round, and the rest."""
        singly = max(1, int(ONE_BY_ONE * len(self.ids)))
        first = singly * round % len(self.ids)
        turned = [*self.ids[first:], *self.ids[:first]]
        return turned[:singly], turned[singly:]


class Measured(Struct, frozen=True, kw_only=True):
    """One round of one kind."""

    latencies_ms: Sequence[float]
    """Of those that were read one at a time."""
    page_latencies_ms: Sequence[float]
    """Of the first page of their comments, read after that."""
    rate: float
    """Activations a second, with many in flight."""
    server_ms: float
    postgres_ms: float
    """CPU time of each of these."""
    generator: float
    """The share of its core that it used meanwhile."""


Runs = Mapping[Kind, Sequence[Measured]]


# -- the posts --------------------------------------------------------------------------------------------------------


async def make_posts(database: Database, url: str, kinds: Sequence[Kind]) -> list[Posts]:
    """Every kind of post, on a server that has ended when this returns."""
    models: list[str] = []
    async with running_site("--database-url", url) as site:
        for number, kind in enumerate(kinds):
            body = {"title": str(kind), "slug": f"model-{number}"}
            made = await site.request("POST", "/v1/posts", body, token=host_token(1, "author"))
            models.append(made["id"])
        await settled(database)
    for kind, model in zip(kinds, models, strict=True):
        await fill(database, model, comments=kind.comments, likes=kind.likes)
    async with running_site("--database-url", url) as site:
        for kind, model in zip(kinds, models, strict=True):
            if kind.comments:
                await complete(site, model)
        await settled(database)
        found = [await _model(site, database, kind, model) for kind, model in zip(kinds, models, strict=True)]
    return [posts._replace(ids=await copied(database, posts.model, posts.kind.copies)) for posts in found]


async def _model(site: Site, database: Database, kind: Kind, model: str) -> Posts:
    """What the server answers of it, which is what its rows say. Raises ``Wrong``."""
    post, page = await _read(site, f"/v1/posts/{model}"), await _read(site, f"/v1/posts/{model}/comments")
    shown, comments = msgspec.json.decode(post), msgspec.json.decode(page)
    likes = {"like": kind.likes} if kind.likes else {}
    newest: list[Any] = await database.fetch(
        "SELECT id, body FROM comment WHERE post_id = $1 AND parent_id IS NULL ORDER BY id DESC LIMIT 1", int(model)
    )
    first = [(int(node["comment"]["id"]), node["comment"]["body"].strip()) for node in comments["comments"][:1]]
    if (shown["counters"]["comments"], shown["counters"]["reactions"], comments["total"]) != (
        kind.comments,
        likes,
        kind.comments,
    ) or first != [(id, body.strip()) for id, body in newest]:
        raise Wrong(f"{kind}: {shown['counters']}, {first}, but the rows say {newest}")
    return Posts(kind, (), model, shown["slug"], post, page)


async def _read(site: Site, path: str) -> bytes:
    async with aiohttp.ClientSession() as client, client.get(site.served.url + path) as response:
        response.raise_for_status()
        return await response.read()


# -- the run ----------------------------------------------------------------------------------------------------------


async def measure(kinds: Sequence[Kind], rounds: int) -> Runs:
    """All kinds in turn on a new server, ``rounds`` times, after a round that does not count."""
    runs: dict[Kind, list[Measured]] = {}
    async with AsyncExitStack() as opened:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="plaudit-bench-")))
        with pinned([SERVER_CORE]):
            postgres = await opened.enter_async_context(EmbeddedPostgres(directory))
        postgres_pid = int((postgres.directory / "postmaster.pid").read_text().split()[0])
        database = await opened.enter_async_context(_connected(postgres.url))
        all_posts = await make_posts(database, postgres.url, kinds)
        for round in range(-1, rounds):
            async with fresh_site(postgres.url) as site, asking(site.served.port, IN_FLIGHT) as readers:
                for posts in all_posts:
                    measured = await run_or_end(readers, posts, round, site.served.pid, postgres_pid)
                    if round >= 0:
                        runs.setdefault(posts.kind, []).append(measured)
                        print(f"{posts.kind!s:32} {_described(measured)}", flush=True)
    return runs


@asynccontextmanager
async def fresh_site(url: str) -> AsyncIterator[Site]:
    """A server on the servers' core that has read nothing."""
    async with AsyncExitStack() as opened:
        with pinned([SERVER_CORE]):
            site = await opened.enter_async_context(running_site("--database-url", url))
        yield site


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Database]:
    # To make the posts quickly: they are worth nothing after a crash.
    database = await asyncpg.connect(url, server_settings={"synchronous_commit": "off"})
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def asking(port: int, connections: int) -> AsyncIterator[Sequence[Reader]]:
    """So many connections to the loopback's ``port``."""
    loop = asyncio.get_running_loop()
    readers = [(await loop.create_connection(Reader, "127.0.0.1", port))[1] for _ in range(connections)]
    try:
        yield readers
    finally:
        for reader in readers:
            reader.close()
        for reader in readers:
            await reader.closed.wait()


async def run_or_end(
    readers: Sequence[Reader], posts: Posts, round: int, server_pid: int, postgres_pid: int
) -> Measured:
    """End the benchmark where an answer is wrong: it has no result then."""
    try:
        async with asyncio.timeout(DRAIN_TIMEOUT_S * (1 + len(posts.ids) / 100)):
            return await run(readers, posts, round, server_pid, postgres_pid)
    except Wrong as error:
        raise SystemExit(f"{posts.kind}: {error}") from error


async def run(readers: Sequence[Reader], posts: Posts, round: int, server_pid: int, postgres_pid: int) -> Measured:
    """Read each of ``posts``, of which none is in memory. Raises ``Wrong``."""
    singly, together = posts.parted(round)
    latencies_ms, page_latencies_ms = [], []
    for id in singly:
        latencies_ms.append(await ask_once(readers[0], posts.question(id)))
        page_latencies_ms.append(await ask_once(readers[0], posts.page_question(id)))
    questions = [posts.question(id) for id in together]
    began, generator_s = perf_counter(), process_time()
    server_s, postgres_s = cpu_s(server_pid), family_cpu_s(postgres_pid)
    await ask_all(readers, questions)
    took_s, generator_s = perf_counter() - began, process_time() - generator_s
    return Measured(
        latencies_ms=latencies_ms,
        page_latencies_ms=page_latencies_ms,
        rate=len(together) / took_s,
        server_ms=1_000 * (cpu_s(server_pid) - server_s) / len(together),
        postgres_ms=1_000 * (family_cpu_s(postgres_pid) - postgres_s) / len(together),
        generator=generator_s / took_s,
    )


async def ask_once(reader: Reader, question: Question) -> float:
    """Milliseconds until the answer. Raises ``Wrong``."""
    reader.begin(question)
    reader.end()
    await reader.idle.wait()
    if reader.error is not None:
        raise Wrong(reader.error)
    return 1_000 * reader.latencies_s.pop()


async def ask_all(readers: Iterable[Reader], questions: Iterable[Question]) -> None:
    """Each of ``questions`` once, one in flight for each reader. Raises ``Wrong``."""
    left = iter(questions)

    async def ask_on(reader: Reader) -> None:
        for question in left:
            await ask_once(reader, question)

    await asyncio.gather(*(ask_on(reader) for reader in readers))


def family_cpu_s(pid: int) -> float:
    """What a process and its children have used so far, to the nanosecond; of one that has just ended, nothing."""
    used_s = 0.0
    for process in (psutil.Process(pid), *psutil.Process(pid).children()):
        with suppress(ProcessLookupError):
            used_s += cpu_s(process.pid)
    return used_s


def _described(measured: Measured) -> str:
    return (
        f"p50 {quantile(measured.latencies_ms, 0.5):6.2f} ms  page {quantile(measured.page_latencies_ms, 0.5):6.2f} ms"
        f"  {measured.rate:6,.0f}/s  server {measured.server_ms:5.2f} ms  Postgres {measured.postgres_ms:5.2f} ms"
        f"  generator {measured.generator:4.0%}"
    )


# -- the report -------------------------------------------------------------------------------------------------------


def quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def growth(runs: Runs) -> dict[str, list[tuple[float, float]]]:
    """(comments, milliseconds in the median) of the posts without likes, but for the one without comments."""
    of_sizes = sorted((kind.comments, rounds) for kind, rounds in runs.items() if kind.comments and not kind.likes)
    return {
        "a post": [(size, _p(rounds, "latencies_ms", 0.5)) for size, rounds in of_sizes],
        "and its first page": [(size, _p(rounds, "page_latencies_ms", 0.5)) for size, rounds in of_sizes],
    }


def _p(rounds: Iterable[Measured], of: str, share: float) -> float:
    """Over all rounds: one has too few for a quantile far out."""
    return quantile((value for each in rounds for value in getattr(each, of)), share)


def report(runs: Runs, command: str, load: float) -> str:
    """The results for people; ``load`` is what else the machine was doing, as its load average before."""
    rounds = max(map(len, runs.values()))
    titles = ("", "activations/s", "p50 ms", "p99 ms", "page p50 ms", "page p99 ms", "CPU ms: server", "Postgres",
              "generator's core")  # fmt: skip
    lines = [titles, ["---", *("---:" for _ in titles[1:])], *_rows(runs)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"""\
# Cold posts

`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Load average before: {load:.1f}.

A post that nobody has in memory is read over HTTP, with its counters, from a server that was started a moment ago; its
rows are in the cache of Postgres, which has the server's core too. The generator has the other. Rates are with
{IN_FLIGHT} requests in flight, medians of {rounds} rounds with the lowest and the highest; times are those of one at a
time, over all rounds. The *page* is the first one of comments, 50 of them, read right after the post: it reads their
texts, renders them, and derives the tree. Each answer was compared byte for byte.

{table}

Time by comments, without likes: {exponents(growth(runs))} ([plot](plots/cold.svg)).
"""


def _rows(runs: Runs) -> Iterator[Sequence[str]]:
    for kind, rounds in runs.items():
        yield [
            str(kind),
            spread_of([each.rate for each in rounds]),
            *(f"{_p(rounds, of, share):.1f}" for of in ("latencies_ms", "page_latencies_ms") for share in (0.5, 0.99)),
            f"{median(each.server_ms for each in rounds):.2f}",
            f"{median(each.postgres_ms for each in rounds):.2f}",
            f"{median(each.generator for each in rounds):.0%}",
        ]


def shortcomings(runs: Runs) -> Iterator[str]:
    """In what the results stay behind what is promised."""
    for kind, rounds in runs.items():
        if kind == PROMISED:
            rate, p99_ms = median(each.rate for each in rounds), _p(rounds, "latencies_ms", 0.99)
            if rate < RATE_MIN:
                yield f"{kind}: {rate:,.0f} activations a second, not {RATE_MIN:,.0f}"
            if p99_ms > P99_MAX_MS:
                yield f"{kind}: a p99 of {p99_ms:.0f} ms, not {P99_MAX_MS:.0f}"
        if median(each.generator for each in rounds) > GENERATOR_MAX:
            yield f"{kind}: it is the generator that cannot do more"


# -- the command ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench cold", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of which the median counts (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, help="as other benchmarks have it: here each post is read once")
    options = parser.parse_args(argv)
    if lacking := missing(IN_FLIGHT, compiler=False):
        print(f"cold posts are left out: {lacking}")
        return 0
    load = os.getloadavg()[0]
    with pinned([GENERATOR_CORE]):
        runs = uvloop.run(measure(KINDS, options.rounds))
    text = report(runs, " ".join(["python -m tests.bench cold", *argv]), load)
    title = "What a cold post takes to read"
    return concluded(
        text,
        shortcomings(runs),
        trial=options.rounds < ROUNDS,
        plots={"cold": plot(title, "comments", "ms", growth(runs))},
    )
