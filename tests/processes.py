"""Real processes for tests: started, waited for until they serve, killed. Everything is ended by its process id."""

import asyncio
import fcntl
import os
import re
import signal
import sys
import termios
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 60.0
"""The first start creates a database."""
STOP_TIMEOUT_S = 10.0
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


class Served:
    """A process that has said where it listens."""

    def __init__(self, process: Process, port: int, output: deque[str]) -> None:
        self.process = process
        self.port = port
        self.output = output
        """Its last lines."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    async def kill(self) -> None:
        """SIGKILL: it gets no chance to finish anything."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def serving(
    *arguments: str, environment: Mapping[str, str] | None = None, terminal: int | None = None
) -> AsyncIterator[Served]:
    """``python *arguments`` from the time that it has printed its address; on leaving, ended if it still runs.

    With ``terminal``, the descriptor of one that is nobody's yet, it is started there, as by a shell.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdout=PIPE, stderr=STDOUT,
        env={**os.environ, **(environment or {})},
        stdin=DEVNULL if terminal is None else terminal,
        start_new_session=terminal is not None,
        preexec_fn=None if terminal is None else _take_terminal,
    )  # fmt: skip
    output: deque[str] = deque(maxlen=200)
    reading: asyncio.Task[None] | None = None
    try:
        port = await asyncio.wait_for(_port(process, output), START_TIMEOUT_S)
        # Read on, or it would block on a full pipe.
        reading = asyncio.create_task(_read(process, output), name="output of a process")
        yield Served(process, port, output)
    except BaseException:
        print("".join(output), file=sys.stderr)
        raise
    finally:
        await _end(process)
        if reading is not None:
            await reading


def _take_terminal() -> None:
    """Let the new session have its standard input as the terminal that it is told of."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def lives(process: psutil.Process) -> bool:
    """Not when it has ended but was not reaped yet, as orphans are when the system comes to it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        # Between the two questions.
        return False


@contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Whatever is started within runs on ``cores``, and so does this process as long."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def _port(process: Process, output: deque[str]) -> int:
    async for line in _lines(process):
        output.append(line)
        if found := _ADDRESS.search(line):
            return int(found[1])
    raise RuntimeError(f"ended with status {await process.wait()} before it served:\n" + "".join(output))


async def _read(process: Process, output: deque[str]) -> None:
    async for line in _lines(process):
        output.append(line)


async def _lines(process: Process) -> AsyncIterator[str]:
    assert process.stdout is not None
    async for line in process.stdout:
        yield line.decode(errors="replace")


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
