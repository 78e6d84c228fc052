"""Restarts: how soon a server has ended, serves again, and has everyone back, who missed nothing.

One server process and its Postgres have one core; the connections are made from the other. All of them watch one post.
Comments are written before the restart, while everybody is away, while they come back, and after; each connection must
get every one, once and in order, by the position at which it was cut off. By turns the server is ended by SIGTERM,
with all connections open, and killed, while it writes as fast as it can.
"""

import argparse
import asyncio
import os
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median
from time import monotonic, monotonic_ns, process_time
from typing import Literal, Self

import aiohttp
import asyncpg
import uvloop
from msgspec import Struct

from store.embedded import running_url
from tests.bench import wires
from tests.bench.callers import Tally, WebSocketCaller
from tests.bench.contestants import GENERATOR_CORE, SERVER_CORE, Publisher, publisher
from tests.bench.load import cpu_seconds
from tests.bench.measuring import cpu_s, missing, spread_of
from tests.bench.results import concluded, machine
from tests.bench.returning import Crowd
from tests.bench.watchers import Incomplete
from tests.bench.writes import WRITERS_WINDOW, comments, connected
from tests.processes import pinned, serving
from tests.site import SETTINGS, Site, host_token

WATCHERS = 10_000
ROUNDS = 5
RETURN_WITHIN_S = 10.0
SEED = 5
BEFORE, AWAY, AFTER = 5, 20, 5
"""Comments: while all are here, while nobody is, and when all are back."""
RETURNING_RATE = 2.0
"""Comments a second while they come back."""
BUSY_S = 3.0
BUSY_WRITERS = 32
POSTS = 64
READY_POLL_S = 0.01

# What is to be reached.
START_MAX_S = 3.0
STOP_MAX_S = 5.0
BACK_MAX_S = 20.0
GENERATOR_MAX = 0.9

End = Literal["SIGTERM", "kill -9"]
ENDS: Sequence[End] = ("SIGTERM", "kill -9")


class Restart(Struct, frozen=True, kw_only=True):
    """One end of the server and what came after."""

    stop_s: float
    """From the signal until the process has ended."""
    start_s: float
    """From when it was started until ``/readyz`` says yes."""
    back_s: float
    """From when the first might come until the last was subscribed, with all that it had missed."""
    p50_ms: float
    p99_ms: float
    max_ms: float
    """From when one came until it was subscribed."""
    server: float
    postgres: float
    generator: float
    """What each used while they came back, of one core; the first two share it."""
    troubles: Mapping[str, int]
    """What some were refused, or told, or met, before they were back; all of it says to try again."""


Runs = Mapping[End, Sequence[Restart]]
TITLES = ("ended by", "ended after s", "ready after s", "back after s", "each p50 ms", "each p99 ms", "server's core",
          "Postgres", "generator's core", "told")  # fmt: skip


# -- the server -------------------------------------------------------------------------------------------------------


class Server:
    """One at a time, on the same data and port each time."""

    def __init__(self, directory: Path, opened: AsyncExitStack) -> None:
        self._directory = directory
        self._opened = opened
        """What the one that runs has open; closed again with it, or at the end of all."""
        self.site: Site

    @classmethod
    @asynccontextmanager
    async def on(cls, directory: Path) -> AsyncIterator[Self]:
        """None yet; on leaving, the one that still runs is ended."""
        async with AsyncExitStack() as opened:
            yield cls(directory, opened)

    async def start(self, port: int = 0) -> float:
        """Start it, and wait until it is ready; how many seconds it took."""
        began = monotonic()
        with pinned([SERVER_CORE]):
            started = serving(
                *("server.py", "--port", str(port), "--data-dir", str(self._directory)), environment=SETTINGS
            )
            served = await self._opened.enter_async_context(started)
        client = await self._opened.enter_async_context(aiohttp.ClientSession())
        self.site = Site(served, client)
        while (await self._status("/readyz")) != 200:
            await asyncio.sleep(READY_POLL_S)
        return monotonic() - began

    async def _status(self, path: str) -> int:
        async with aiohttp.request("GET", self.site.served.url + path) as response:
            return response.status

    async def end(self, number: signal.Signals) -> tuple[float, int]:
        """End it; how many seconds it took, and its status."""
        process = self.site.served.process
        began = monotonic()
        process.send_signal(number)
        status = await process.wait()
        took_s = monotonic() - began
        await self._opened.aclose()
        return took_s, status

    def cpu_s(self) -> tuple[float, float]:
        """What it has used so far, and what its Postgres has."""
        pid_file = self._directory / "postgres" / "postmaster.pid"
        return cpu_s(self.site.served.pid), cpu_seconds(int(pid_file.read_text().split()[0]))

    async def comments(self) -> int:
        """How many there are in its database."""
        database = await asyncpg.connect(running_url(self._directory))
        try:
            return int(await database.fetchval("SELECT count(*) FROM comment"))
        finally:
            await database.close()


# -- the run ----------------------------------------------------------------------------------------------------------


class Comments:
    """Those on the post that all watch, numbered over all restarts."""

    def __init__(self, post: str) -> None:
        self._post = post
        self.count = 0

    def write(self, publisher: Publisher, count: int) -> None:
        for _ in range(count):
            publisher.write(wires.comment(self._post, self.count, monotonic_ns() // 1_000))
            self.count += 1

    async def go_on(self, publisher: Publisher) -> None:
        """A few a second, until cancelled."""
        while True:
            self.write(publisher, 1)
            await asyncio.sleep(1 / RETURNING_RATE)


class Stage:
    """The server, who watches, and what they have been sent."""

    def __init__(self, server: Server, crowd: Crowd, written: Comments, *, within_s: float, busy_s: float) -> None:
        self._server = server
        self._crowd = crowd
        self._written = written
        self._within_s = within_s
        self._busy_s = busy_s
        self._acknowledged = 0
        """Comments on other posts."""

    async def restart(self, how: End) -> Restart:
        """End the server, start it again, and have everyone back. Raises ``Incomplete``."""
        port = self._server.site.served.port
        stop_s = await self._end(how)
        start_s = await self._server.start(port)
        return await self._come_back(stop_s, start_s)

    async def _end(self, how: End) -> float:
        """Of all who were here each has what was written, and is cut off; how many seconds it took."""
        crowd, written = self._crowd, self._written
        async with self._writing() as writer:
            written.write(writer, BEFORE)
            await crowd.reached(written.count)
        crowd.troubles.clear()
        if how == "SIGTERM":
            took_s, status = await self._server.end(signal.SIGTERM)
            await crowd.went()
            if status or crowd.troubles != Counter({"close 3001": len(crowd.watchers)}):
                raise Incomplete(f"the server ended with status {status}, its connections with {dict(crowd.troubles)}")
        else:
            async with self._busy() as tally:
                await asyncio.sleep(self._busy_s)
                took_s, _ = await self._server.end(signal.SIGKILL)
            self._acknowledged += tally.acknowledged
            await crowd.went()
        self._check()
        return took_s

    @asynccontextmanager
    async def _busy(self) -> AsyncIterator[Tally]:
        """Comments on other posts are written as fast as they are taken; those that were acknowledged are counted."""
        site, tally = self._server.site, Tally()
        posts = [await site.create_post("A post that many write on") for _ in range(POSTS)]
        callers = [WebSocketCaller(tally, WRITERS_WINDOW, host_token(1_001 + at)) for at in range(BUSY_WRITERS)]
        async with connected(callers, site.served.port):
            for at, caller in enumerate(callers):
                caller.source = comments(posts, at)
                caller.refill()
            yield tally

    async def _come_back(self, stop_s: float, start_s: float) -> Restart:
        """Everyone comes at some moment, and has what was missed."""
        crowd, written = self._crowd, self._written
        crowd.troubles.clear()
        async with self._writing() as writer:
            written.write(writer, AWAY)
            going_on = asyncio.create_task(written.go_on(writer), name="comments while they come back")
            (server_s, postgres_s), generator_s = self._server.cpu_s(), process_time()
            began = monotonic()
            try:
                await crowd.come(self._within_s)
            finally:
                going_on.cancel()
            back_s = monotonic() - began
            server_after_s, postgres_after_s = self._server.cpu_s()
            generator_s = process_time() - generator_s
            troubles = dict(crowd.troubles)
            written.write(writer, AFTER)
            await crowd.reached(written.count)
        self._check()
        if (kept := await self._server.comments()) < written.count + self._acknowledged:
            raise Incomplete(f"of {written.count + self._acknowledged} acknowledged comments only {kept} are there")
        ordered = sorted(crowd.took_s)
        return Restart(
            stop_s=stop_s,
            start_s=start_s,
            back_s=back_s,
            p50_ms=1e3 * ordered[len(ordered) // 2],
            p99_ms=1e3 * ordered[len(ordered) * 99 // 100],
            max_ms=1e3 * ordered[-1],
            server=(server_after_s - server_s) / back_s,
            postgres=(postgres_after_s - postgres_s) / back_s,
            generator=generator_s / back_s,
            troubles=troubles,
        )

    def _writing(self) -> AbstractAsyncContextManager[Publisher]:
        return publisher(self._server.site.served.port, wires.writer(host_token(1)))

    def _check(self) -> None:
        """That nobody got anything but what was written, once and in order."""
        if self._crowd.wrong:
            raise Incomplete(f"of {len(self._crowd.watchers)} connections: {dict(self._crowd.wrong)}")


async def measure(watchers: int, rounds: int, within_s: float, busy_s: float) -> tuple[Runs, int]:
    """Each way to end in turn, ``rounds`` times; and how many comments there were in the end."""
    runs: dict[End, list[Restart]] = {how: [] for how in ENDS}
    with tempfile.TemporaryDirectory(prefix="plaudit-bench-") as directory:
        async with Server.on(Path(directory)) as server:
            _ = await server.start()
            post = await server.site.create_post("A post that many watch")
            crowd = Crowd(f"post:{post}", watchers, server.site.served.port, Random(SEED))
            stage = Stage(server, crowd, Comments(post), within_s=within_s, busy_s=busy_s)
            await crowd.greeted()
            for how in [*ENDS] * rounds:
                restart = await stage.restart(how)
                runs[how].append(restart)
                print(f"{how:8} {_described(restart)}", flush=True)
            crowd.leave()
            await crowd.went()
            return runs, await server.comments()


def _described(restart: Restart) -> str:
    return (
        f"ended {restart.stop_s:5.2f} s  ready {restart.start_s:5.2f} s  back {restart.back_s:6.2f} s"
        f"  each p50 {restart.p50_ms:6.1f} ms  p99 {restart.p99_ms:7.1f} ms  max {restart.max_ms:7.1f} ms"
        f"  server {restart.server:4.0%}  Postgres {restart.postgres:4.0%}  generator {restart.generator:4.0%}"
        f"  {dict(restart.troubles) or 'no trouble'}"
    )


# -- the report -------------------------------------------------------------------------------------------------------


def report(runs: Runs, watchers: int, comments: int, command: str, load: float) -> str:
    """The results for people; ``load`` is what else the machine was doing, as its load average before."""
    rows = "\n".join(f"| {how} | {' | '.join(_cells(rounds))} |" for how, rounds in runs.items())
    return f"""\
# Restarts

`{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine()}. Load average before: {load:.1f}.

{watchers:,} WebSockets watch one post of a server with one worker, which is ended and started again: by SIGTERM while
all are connected, and by kill -9 while it writes comments on {POSTS} posts as fast as it can; in the end there were
{comments:,} in its database. It is *ready* when `/readyz` says so, from when it was started. Then the connections come
back, each at some moment of {RETURN_WITHIN_S:.0f} s, and ask for what they have missed: comments written while nobody
was there, and {RETURNING_RATE:.0f} a second while they come. *Back* is when the last of them has it; *each* is from its
first attempt to connect until then. Every connection got every comment once and in order, and every acknowledged
comment is in the database. *Told* is what some of them were refused or met on the way. The server shares one core with
its Postgres, the connections are made from the other. Medians of {max(map(len, runs.values()))} rounds, with the
lowest and the highest.

| {" | ".join(TITLES)} |
| ---{" | ---:" * (len(TITLES) - 2)} | --- |
{rows}
"""


def _cells(rounds: Sequence[Restart]) -> Sequence[str]:
    troubles = sum((Counter(each.troubles) for each in rounds), Counter[str]())
    return (
        *(spread_of([getattr(each, name) for each in rounds]) for name in ("stop_s", "start_s", "back_s")),
        *(spread_of([getattr(each, name) for each in rounds]) for name in ("p50_ms", "p99_ms")),
        *(f"{median(getattr(each, name) for each in rounds):.0%}" for name in ("server", "postgres", "generator")),
        ", ".join(f"{code}: {count:,}" for code, count in sorted(troubles.items())) or "nothing",
    )


def shortcomings(runs: Runs) -> Iterator[str]:
    """In what the results stay behind what is promised."""
    for how, rounds in runs.items():
        for value, most, what in (
            (median(each.stop_s for each in rounds), STOP_MAX_S, "it has ended"),
            (median(each.start_s for each in rounds), START_MAX_S, "it is ready"),
            (median(each.back_s for each in rounds), BACK_MAX_S, "all are back"),
        ):
            if value > most:
                yield f"{how}: after {value:.1f} s {what}, not within {most:.0f}"
        if median(each.generator for each in rounds) > GENERATOR_MAX:
            yield f"{how}: it is the generator that cannot do more"


# -- the command ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench restarts", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of which the median counts (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=RETURN_WITHIN_S, help="within which all come back")
    parser.add_argument("--busy", type=float, default=BUSY_S, help="seconds of writing before a kill")
    parser.add_argument("--watchers", type=int, default=WATCHERS, help="connections")
    options = parser.parse_args(argv)
    if lacking := missing(options.watchers, compiler=False):
        print(f"restarts are left out: {lacking}")
        return 0
    load = os.getloadavg()[0]
    with pinned([GENERATOR_CORE]):
        try:
            runs, written = uvloop.run(measure(options.watchers, options.rounds, options.seconds, options.busy))
        except Incomplete as error:
            raise SystemExit(str(error)) from error
    text = report(runs, options.watchers, written, " ".join(["python -m tests.bench restarts", *argv]), load)
    return concluded(
        text,
        shortcomings(runs),
        trial=options.rounds < ROUNDS or (options.watchers, options.seconds) != (WATCHERS, RETURN_WITHIN_S),
    )
