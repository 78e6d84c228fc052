"""Reads from memory: a post with its counters and pages of its comments, beside a bare aiohttp handler.

That handler returns the same bytes, and does nothing else. Both servers are up at the same time, each in one process on
the same core, and take turns; the readers are on the other core. Each answer is compared with what it has to be, byte
for byte, or while somebody writes, with what was acknowledged before it was asked for.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import aiohttp
import uvloop
from msgspec import Struct

from tests.bench.contestants import GENERATOR_CORE, SERVER_CORE
from tests.bench.growth import exponents, plot
from tests.bench.measuring import Spread, cpu_s, missing, spread_of
from tests.bench.readers import AtLeast, Question, Readers, Same, Wrong, reading
from tests.bench.results import concluded, machine
from tests.processes import pinned, serving
from tests.site import Site, Socket, host_token, running_site

ROUNDS: Final = 5
CONNECTIONS: Final = 32
COMMENTS: Final = 1_000
WRITERS: Final = 20
PIECE: Final = 100
"""Comments that are written at once when a post is made."""
SIZES: Final = (1, 10, 50, 100)
"""Comments on a page."""
WRITES_PER_S: Final = 50
WARM_UP_S: Final = 0.2
SETTLE_TIMEOUT_S: Final = 30.0
SETTLE_S: Final = 0.5
SETTLED: Final = 0.05
"""Of a core."""
WORDS: Final = "Two sentences and a *thought* in each are what people write under an article, more often than not. " * 2

OURS, PEER = "Plaudit", "aiohttp"
POST, COMMENTS_PAGE = "a post with its counters", "the first page of comments"
# What is to be reached: ratios of requests in a CPU second, beside the bare handler.
TO_REACH: Final[Mapping[str, float]] = MappingProxyType({POST: 0.8, COMMENTS_PAGE: 0.6})
GENERATOR_MAX: Final = 0.9
"""Of its core; beyond that it is not the server that is measured."""


class Phase(NamedTuple):
    """Something to read, of those who take part."""

    name: str
    questions: Mapping[str, Question]
    size: int | None = None
    """Comments on the page, where it is one of ``SIZES``."""
    writing: bool = False
    """Whether somebody writes to it meanwhile."""


class Lane(NamedTuple):
    """A server with its readers."""

    pid: int
    readers: Readers


class Measured(Struct, frozen=True, kw_only=True):
    """One run of a phase."""

    per_cpu_s: float
    """Requests answered in a CPU second of the server process."""
    rate: float
    """Requests answered a second."""
    p50_ms: float
    p99_ms: float
    server: float
    generator: float
    """The share of its core that each used."""
    ceiling: float
    """Requests that the generator makes and checks in a CPU second of its own."""


Runs = Mapping[str, Mapping[str, Sequence[Measured]]]
"""By the name of a phase and of who took part, the rounds in turn."""


# -- what is read -----------------------------------------------------------------------------------------------------


class Stage:
    """A site with a post that stays as it is, and one that somebody writes to."""

    def __init__(self, site: Site, steady: str, moving: str, writer: Socket) -> None:
        self._site = site
        self._steady = f"/v1/posts/{steady}"
        self._moving = f"/v1/posts/{moving}"
        self._post = moving
        self._writer = writer
        self._version, self._total = AtLeast(b'"version":'), AtLeast(b'"total":')

    async def phases(self, sizes: Sequence[int]) -> tuple[list[Phase], Mapping[str, bytes]]:
        """All that is read, and what the bare handler has to answer, by name."""
        read: list[tuple[str, str, int | None]] = [
            (POST, self._steady, None),
            (COMMENTS_PAGE, f"{self._steady}/comments", None),
            *((f"a page of {size}", f"{self._steady}/comments?limit={size}", size) for size in sizes),
        ]
        bodies = {name: await self._read(path) for name, path, _ in read}
        files = {name: f"page-{number}" for number, name in enumerate(bodies)}
        phases = [
            Phase(
                name,
                {OURS: Question(path, Same(bodies[name])), PEER: Question(f"/{files[name]}", Same(bodies[name]))},
                size=size,
            )
            for name, path, size in read
        ]
        return [*phases, *await self._phases_alone()], {files[name]: body for name, body in bodies.items()}

    async def _phases_alone(self) -> list[Phase]:
        """What a bare handler cannot: readers of whom each is shown something else, and pages that change."""
        token, path = host_token(1_001), f"{self._steady}/comments"
        signed_in = Question(path, Same(await self._read(path, token)), token=token)
        post, page = Question(self._moving, self._version), Question(f"{self._moving}/comments", self._total)
        return [
            Phase(f"{COMMENTS_PAGE}, of a reader who is signed in", {OURS: signed_in}),
            Phase(f"{POST}, written to", {OURS: post}, writing=True),
            Phase(f"{COMMENTS_PAGE}, written to", {OURS: page}, writing=True),
        ]

    async def write(self) -> None:
        """A comment on the post that moves; from then on no answer may lack it."""
        ack = await self._writer.call("comment.create", {"post": self._post, "body": WORDS})
        self._total.acknowledged = max(self._total.acknowledged, int(ack["id"]))
        self._version.acknowledged = max(self._version.acknowledged, int(ack["version"]))

    async def _read(self, path: str, token: str | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            aiohttp.ClientSession() as client,
            client.get(self._site.served.url + path, headers=headers) as response,
        ):
            response.raise_for_status()
            return await response.read()


@asynccontextmanager
async def staged(comments: int, *flags: str) -> AsyncIterator[tuple[Site, Stage]]:
    """A site on the servers' core, with its posts: so many comments on each, some of them replies, some liked."""
    async with AsyncExitStack() as opened:
        with pinned([SERVER_CORE]):
            site = await opened.enter_async_context(running_site(*flags))
        people = [await opened.enter_async_context(site.socket(host_token(1 + number))) for number in range(WRITERS)]
        steady = await _make_post(site, people, "A post that stays", comments)
        moving = await _make_post(site, people, "A post that moves", comments)
        yield site, Stage(site, steady, moving, people[0])


async def _make_post(site: Site, people: Sequence[Socket], title: str, comments: int) -> str:
    body = "\n\n".join([WORDS] * 5)
    made = await site.request("POST", "/v1/posts", {"title": title, "body": body}, token=host_token(1_000, "author"))
    post = str(made["id"])
    for first in range(1, comments + 1, PIECE):
        piece = range(first, min(first + PIECE, comments + 1))
        await asyncio.gather(*(_comment(people, post, number) for number in piece))
    return post


async def _comment(people: Sequence[Socket], post: str, number: int) -> None:
    """Every third replies to one of the piece before, and every second is liked."""
    writer, reader = people[number % len(people)], people[(number + 1) % len(people)]
    parent = {"parent": str(number - PIECE)} if number > PIECE and number % 3 == 0 else {}
    ack = await writer.call("comment.create", {"post": post, "body": f"{number}: {WORDS}", **parent})
    if number % 2:
        await reader.call("react", {"post": post, "comment": ack["id"], "kind": "like"})


# -- the run ----------------------------------------------------------------------------------------------------------


async def measure(
    sizes: Sequence[int], comments: int, connections: int, rounds: int, seconds: float
) -> tuple[list[Phase], Runs]:
    """Every phase of both in turn, ``rounds`` times."""
    runs: dict[str, dict[str, list[Measured]]] = {}
    async with AsyncExitStack() as opened:
        data, pages = (opened.enter_context(tempfile.TemporaryDirectory(prefix="plaudit-bench-")) for _ in range(2))
        site, stage = await opened.enter_async_context(staged(comments, "--data-dir", data))
        phases, bodies = await stage.phases(sizes)
        for name, body in bodies.items():
            (Path(pages) / name).write_bytes(body)
        with pinned([SERVER_CORE]):
            peer = await opened.enter_async_context(serving("-m", "tests.bench.bytes_peer", pages))
        lanes = {
            name: Lane(served.pid, await opened.enter_async_context(reading(served.port, connections)))
            for name, served in ((OURS, site.served), (PEER, peer))
        }
        for _ in range(rounds):
            await settled(site.served.pid)
            for phase in phases:
                for name, question in phase.questions.items():
                    measured = await run_or_end(lanes[name], phase, question, stage, seconds)
                    runs.setdefault(phase.name, {}).setdefault(name, []).append(measured)
                    print(f"{phase.name:52} {name:8} {_described(measured)}", flush=True)
    return phases, runs


async def settled(pid: int) -> None:
    """Wait until the process does next to nothing: people are told of what was written, and it is indexed."""
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        while True:
            before = cpu_s(pid)
            await asyncio.sleep(SETTLE_S)
            if cpu_s(pid) - before < SETTLED * SETTLE_S:
                return


async def run_or_end(lane: Lane, phase: Phase, question: Question, stage: Stage, seconds: float) -> Measured:
    """End the benchmark where an answer is wrong: it has no result then."""
    try:
        async with writing(stage if phase.writing else None):
            await lane.readers.ask(question, WARM_UP_S)
            return await run(lane, question, seconds)
    except Wrong as error:
        raise SystemExit(f"{phase.name}: {error}") from error


async def run(lane: Lane, question: Question, seconds: float) -> Measured:
    """Ask for so long. Raises ``Wrong``."""
    began, server_s, generator_s = perf_counter(), cpu_s(lane.pid), process_time()
    latencies_s = await lane.readers.ask(question, seconds)
    took_s, server_s, generator_s = perf_counter() - began, cpu_s(lane.pid) - server_s, process_time() - generator_s
    answers = len(latencies_s)
    return Measured(
        per_cpu_s=answers / server_s,
        rate=answers / took_s,
        p50_ms=1_000 * latencies_s[answers // 2],
        p99_ms=1_000 * latencies_s[answers * 99 // 100],
        server=server_s / took_s,
        generator=generator_s / took_s,
        ceiling=answers / generator_s,
    )


@asynccontextmanager
async def writing(stage: Stage | None) -> AsyncIterator[None]:
    """Somebody writes meanwhile, ``WRITES_PER_S``; without a stage nobody does."""
    if stage is None:
        yield
        return

    async def keep_writing() -> None:
        while True:
            await stage.write()
            await asyncio.sleep(1 / WRITES_PER_S)

    task = asyncio.create_task(keep_writing(), name="writer")
    try:
        yield
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
    if not isinstance(ended, asyncio.CancelledError):
        raise Wrong(f"a write failed: {ended!r}")


def _described(measured: Measured) -> str:
    return (
        f"{measured.per_cpu_s:9,.0f} per CPU s  p50 {measured.p50_ms:6.2f} ms  p99 {measured.p99_ms:6.2f} ms"
        f"  server {measured.server:4.0%}  generator {measured.generator:4.0%}"
    )


# -- the report -------------------------------------------------------------------------------------------------------


def ratio(runs: Runs, phase: str) -> Spread | None:
    """Our requests in a CPU second by the peer's of the same round; None where it took no part."""
    ours, peers = runs[phase][OURS], runs[phase].get(PEER)
    if peers is None:
        return None
    return Spread.of([one.per_cpu_s / other.per_cpu_s for one, other in zip(ours, peers, strict=True)])


def growth(phases: Sequence[Phase], runs: Runs) -> dict[str, list[tuple[float, float]]]:
    """(comments on a page, CPU microseconds of a request), of each who took part."""
    return {
        name: [
            (phase.size, 1e6 / median(each.per_cpu_s for each in runs[phase.name][name]))
            for phase in phases
            if phase.size is not None
        ]
        for name in (OURS, PEER)
    }


def report(phases: Sequence[Phase], runs: Runs, command: str, load: float) -> str:
    """The results for people; ``load`` is what else the machine was doing, as its load average before."""
    rounds = max(len(rounds) for by_name in runs.values() for rounds in by_name.values())
    titles = ("", "", "requests/CPU s", f"× {PEER}", "p50 ms", "p99 ms", "bytes", "server's core", "generator's core",
              "ceiling")  # fmt: skip
    lines = [titles, ["---", "---", *("---:" for _ in titles[2:])], *_rows(phases, runs)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"""\
# Reads from memory

`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Load average before: {load:.1f}.

One server process on one core, the readers on the other: {CONNECTIONS} kept connections with one request in flight
each. The post has {COMMENTS:,} comments; a first page has 50. Medians of {rounds} rounds in which both take turns, with
the lowest and the highest; ratios are taken within a round, against an aiohttp handler that returns the same bytes and
does nothing else. Each answer was compared byte for byte; *written to*: {WRITES_PER_S} comments a second are written
meanwhile, and each answer shows all that were acknowledged when it was asked for. The *ceiling* is what the generator
asks and checks in a CPU second of its own.

{table}

CPU time of a request by the comments on its page: {exponents(growth(phases, runs))} ([plot](plots/reads.svg)).
"""


def _rows(phases: Sequence[Phase], runs: Runs) -> Iterator[Sequence[str]]:
    for phase in phases:
        for name, rounds in runs[phase.name].items():
            by_peer = ratio(runs, phase.name) if name == OURS else None
            yield [
                phase.name,
                name,
                spread_of([each.per_cpu_s for each in rounds]),
                "" if by_peer is None else f"{by_peer.median:.2f} ({by_peer.low:.2f}–{by_peer.high:.2f})",
                spread_of([each.p50_ms for each in rounds]),
                spread_of([each.p99_ms for each in rounds]),
                _bytes(phase.questions[name].expected),
                f"{median(each.server for each in rounds):.0%}",
                f"{median(each.generator for each in rounds):.0%}",
                f"{median(each.ceiling for each in rounds):,.0f}",
            ]


def _bytes(expected: Any) -> str:
    return f"{len(expected.body):,}" if isinstance(expected, Same) else ""


def shortcomings(runs: Runs) -> Iterator[str]:
    """In what the results stay behind what is promised."""
    for phase, by_name in runs.items():
        by_peer, least = ratio(runs, phase), TO_REACH.get(phase)
        if by_peer is not None and least is not None and by_peer.median < least:
            yield f"{phase}: {by_peer.median:.2f} of a bare aiohttp handler, not {least}"
        for name, rounds in by_name.items():
            if median(each.generator for each in rounds) > GENERATOR_MAX:
                yield f"{phase}: with {name} it is the generator that cannot do more"


# -- the command ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench reads", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of which the median counts (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each phase (default 1)")
    options = parser.parse_args(argv)
    if lacking := missing(CONNECTIONS, compiler=False):
        print(f"reads are left out: {lacking}")
        return 0
    load = os.getloadavg()[0]
    with pinned([GENERATOR_CORE]):
        phases, runs = uvloop.run(measure(SIZES, COMMENTS, CONNECTIONS, options.rounds, options.seconds))
    text = report(phases, runs, " ".join(["python -m tests.bench reads", *argv]), load)
    title = "What a page of comments takes to read"
    return concluded(
        text,
        shortcomings(runs),
        trial=options.rounds < ROUNDS,
        plots={"reads": plot(title, "comments on the page", "CPU µs", growth(phases, runs))},
    )
