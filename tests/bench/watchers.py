"""Many connections that watch one server: a process written in C (``watch.c``), and what drives it."""

import asyncio
import signal
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.bench.wires import MARK, Wire

SOURCES = Path(__file__).parent
OPEN_TIMEOUT_S = 120.0
DELIVERY_TIMEOUT_S = 60.0
REPORT_TIMEOUT_S = 10.0


class Report(Struct, frozen=True, forbid_unknown_fields=True):
    """What arrived between two reports, over all connections."""

    deliveries: int
    wrong: int
    """Those that were not the next publication of their connection."""
    reads: int
    """Those that brought at least one."""
    others: int
    """Frames or events with no publication of a comment, such as counters; but for pings."""
    bytes: int
    cpu_s: float
    """What the watchers themselves have used."""
    p50_ms: float
    p99_ms: float
    max_ms: float


class Incomplete(Exception):
    """Not everything was delivered, or something twice, or out of order."""


def compiled(name: str, directory: Path) -> str:
    """The program of ``name.c``, made in ``directory``. Raises ``FileNotFoundError`` without a C compiler."""
    program = directory / name
    flags = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")
    subprocess.run(["cc", *flags, "-o", program, SOURCES / f"{name}.c"], check=True)
    return str(program)


@asynccontextmanager
async def running(*command: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """A process that holds nothing worth keeping: it is killed on leaving."""
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def watching(
    program: str, port: int, count: int, wire: Wire, *, buffer_bytes: int = 0
) -> AsyncIterator["Watchers"]:
    """``count`` connections, once the server will deliver to all of them.

    The kernel keeps ``buffer_bytes`` of what was not read of each; 0 leaves it to the kernel, and so up to megabytes.
    """
    form = "events" if wire.events else "frames"
    given = (MARK, wire.opening, wire.hello, wire.ready, wire.ping, wire.pong)
    async with running(
        program, str(port), str(count), str(buffer_bytes), form, *(part.hex() for part in given)
    ) as process:
        watchers = Watchers(process, count)
        reading = asyncio.create_task(watchers.read(), name="what watchers say")
        try:
            await watchers.opened()
            yield watchers
        finally:
            reading.cancel()


class Watchers:
    """What the process says, and asks of it."""

    def __init__(self, process: Process, count: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self.count = count
        self._say, self._hear = process.stdin, process.stdout
        self._ready = False
        self._reached = -1
        self._report: Report | None = None
        self._ended = False
        self._heard = asyncio.Condition()

    async def read(self) -> None:
        """Take what is said until the process ends."""
        async for line in self._hear:
            async with self._heard:
                self._take(line.decode())
                self._heard.notify_all()
        async with self._heard:
            self._ended = True
            self._heard.notify_all()

    def _take(self, line: str) -> None:
        word, _, number = line.rstrip().partition(" ")
        if word == "ready":
            self._ready = True
        elif word == "reached":
            self._reached = int(number)
        else:
            self._report = msgspec.json.decode(line, type=Report)

    def stop(self) -> None:
        """Read nothing, as clients that hang, until ``go_on``; the connections stay open."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def opened(self) -> None:
        async with self._heard, asyncio.timeout(OPEN_TIMEOUT_S):
            await self._heard.wait_for(lambda: self._ready or self._ended)
        self._check_alive()

    async def reached(self, number: int) -> None:
        """Wait until all have the publication; it goes on without those that miss it: see ``report``."""
        try:
            async with self._heard, asyncio.timeout(DELIVERY_TIMEOUT_S):
                await self._heard.wait_for(lambda: self._reached >= number or self._ended)
        except TimeoutError:
            raise Incomplete(f"publication {number} did not reach everyone: {await self.report()}") from None
        self._check_alive()

    async def report(self) -> Report:
        """What arrived since the last time."""
        self._check_alive()
        self._report = None
        self._say.write(b"report\n")
        async with self._heard, asyncio.timeout(REPORT_TIMEOUT_S):
            await self._heard.wait_for(lambda: self._report is not None or self._ended)
        self._check_alive()
        assert self._report is not None
        return self._report

    def _check_alive(self) -> None:
        if self._ended:
            raise Incomplete("the watchers have ended; they have said why")


def check(report: Report, publications: int, watchers: int) -> None:
    """That each watcher got each publication, once and in order. Raises ``Incomplete``."""
    if report.wrong or report.deliveries != publications * watchers:
        raise Incomplete(f"{publications} publications to {watchers} watchers, but {report}")


async def first_line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode()
