"""Worker processes and their parent: started, replaced when they die, restarted in turn, ended together.

Each worker has a channel to its parent, a socket that is its standard input. Down it come its assignment, as the first
line, and then a line ``look`` whenever another worker has ended; up it goes one line: ``ready``, or why it cannot be.
Its end tells either side that the other is gone. A worker that is alive but hangs is not seen here: leases see it.
"""

import asyncio
import logging
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple, Protocol, cast

from actors.runtime.tasks import Tasks
from store.base import StoreUnavailable

log = logging.getLogger("plaudit.parent")

READY = "ready"
LOOK = "look"
LINE_BYTES_MAX = 1 << 16
REFUSED = 2
"""Status of a worker that cannot run as it is configured."""
UNAVAILABLE = 3
"""Status of a worker that could not reach something at its start, and may be able to later."""
READY_TIMEOUT_S = 60.0
SETTLED_S = 1.0
"""A worker that dies sooner than this after it was ready is replaced ever more slowly."""
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 5.0
STOP_TIMEOUT_S = 3.0
"""For so long workers may hand over what they have; then they are killed."""


class Place(NamedTuple):
    """Which worker it is: one of 1 to the number of workers, and which process of this parent, counted from 1."""

    number: int
    serial: int


class Caretaker(Protocol):
    """What the parent cannot know about its workers."""

    async def spawn(self, place: Place, channel: int) -> Process:
        """Start a worker whose standard input is the file descriptor ``channel``. May raise ``OSError``."""
        ...

    def assignment(self, place: Place, *, replaces: bool) -> bytes:
        """What the worker is told first: one line, without its end.

        With ``replaces`` all workers were ready once, and it takes the place of one of them.
        """
        ...

    async def reaped(self, place: Place) -> None:
        """The worker has ended: what it holds is to be declared free. May raise ``StoreUnavailable``."""
        ...


class Child:
    """One worker process, as its parent sees it."""

    def __init__(self, place: Place, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.place = place
        self.process = process
        self._reader = reader
        self._writer = writer
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether it became ready before it ended."""
        self.reason = ""
        """Why not, in its own words."""
        self.leaving = False
        """Whether it was asked to end."""
        self.ended = asyncio.Event()

    async def until_ready(self) -> None:
        """Wait for what the worker says, or for its end; one that takes too long is killed."""
        said = ""
        with suppress(TimeoutError, ValueError, ConnectionError):
            async with asyncio.timeout(READY_TIMEOUT_S):
                said = (await self._reader.readline()).decode(errors="replace").strip()
        if said == READY:
            self.ready.set_result(True)
            return
        self.reason = said
        if not said:
            self.signal(signal.SIGKILL)

    async def until_ended(self) -> int:
        """The exit status; below 0 the signal that ended it."""
        status = await self.process.wait()
        self._writer.close()
        if not self.ready.done():
            self.ready.set_result(False)
        return status

    def look(self) -> None:
        """Tell it to look who is there. One that has not read the last such line yet will look anyway."""
        # uvloop refuses to write where the other side is gone already.
        if not self._writer.is_closing() and self._writer.transport.get_write_buffer_size() == 0:
            self._writer.write(f"{LOOK}\n".encode())

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)


class Parent:
    """Keeps ``count`` workers. Made in the event loop, and run once."""

    def __init__(self, count: int, caretaker: Caretaker) -> None:
        self._caretaker = caretaker
        self._serial = 0
        self._children: list[Child] = []
        """Two of one number while one takes the place of the other."""
        self._pauses_s = dict.fromkeys(range(1, count + 1), 0.0)
        """Number → how long to wait before the next worker there."""
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stopping = False
        self._restart = asyncio.Event()
        self._tasks = Tasks()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Entered once all workers are ready. On leaving each gets SIGTERM, and ``STOP_TIMEOUT_S`` to hand over.

        Raises:
            WorkersFailed: On entering: one cannot start, and says why.
            OSError: On entering: the system has no room for another process.
        """
        try:
            for number in self._pauses_s:
                await self._start(number)
            await asyncio.wait((self._started, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                raise WorkersFailed(self._failed.result())
            self._tasks.spawn(self._keep_restarting(), "rolling restart")
            yield
        finally:
            await self._stop()

    async def failed(self) -> str:
        """Wait until no worker serves, nor can one be started; returns why, as one line."""
        return await self._failed

    def restart(self) -> None:
        """Put a new process in the place of each worker, one after the other; soon, and again if asked meanwhile.

        Each new one is ready before the old one is asked to end. If a new one does not come up, the old ones stay.
        """
        self._restart.set()

    # -- one worker

    async def _start(self, number: int) -> Child:
        self._serial += 1
        place = Place(number, self._serial)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await self._caretaker.spawn(place, theirs.fileno())
                reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES_MAX)
            except BaseException:
                ours.close()
                raise
        writer.write(self._caretaker.assignment(place, replaces=self._started.done()) + b"\n")
        child = Child(place, process, reader, writer)
        self._children.append(child)
        self._tasks.spawn(self._attend(child), f"worker {number}")
        return child

    async def _attend(self, child: Child) -> None:
        """A worker's life, from its start to what follows from its end."""
        clock = asyncio.get_running_loop().time
        await child.until_ready()
        ready_at = clock()
        if not self._started.done() and all(any(map(_is_ready, self._at(number))) for number in self._pauses_s):
            self._started.set_result(None)
        status = await child.until_ended()
        self._children.remove(child)
        try:
            if self._stopping and status != 0:
                await self._free(child)
        finally:
            child.ended.set()
        if not self._stopping:
            await self._ended(child, status, settled=_is_ready(child) and clock() - ready_at >= SETTLED_S)

    async def _ended(self, child: Child, status: int, *, settled: bool) -> None:
        number, pid = child.place.number, child.process.pid
        if not self._failed.done() and self._hopeless(status):
            self._failed.set_result(_why(child, status))
            return
        if child.leaving and status == 0:
            log.info("worker %d (process %d) has handed over", number, pid)
        else:
            log.warning("worker %d (process %d) ended: %s", number, pid, _why(child, status))
        self._tasks.spawn(self._free(child), "what a worker held")
        if not self._at(number):
            await self._replace(number, settled)

    async def _free(self, child: Child) -> None:
        """Have the dead worker's lease end at once, and the others look at what has become free."""
        try:
            await self._caretaker.reaped(child.place)
        except StoreUnavailable as error:
            log.warning("the lease of worker %d runs on: %s", child.place.number, error)
        for other in self._children:
            other.look()

    def _hopeless(self, status: int) -> bool:
        """Whether a worker that ended so ends them all: at the start, or later if none is left that serves."""
        if not self._started.done():
            return status in (REFUSED, UNAVAILABLE)
        return status == REFUSED and not any(map(_is_ready, self._children))

    async def _replace(self, number: int, settled: bool) -> None:
        """Start a worker where one has ended: at once, or the later the more often they end as soon as they start."""
        pause_s = 0.0 if settled else self._pauses_s[number]
        self._pauses_s[number] = min(max(BACKOFF_MIN_S, 2 * pause_s), BACKOFF_MAX_S)
        while True:
            await asyncio.sleep(pause_s)
            if self._at(number):
                return  # A restart was there first.
            try:
                await self._start(number)
                return
            except OSError as error:
                log.error("worker %d not started: %s", number, error)
                pause_s = BACKOFF_MAX_S

    def _at(self, number: int) -> list[Child]:
        return [child for child in self._children if child.place.number == number]

    # -- all of them

    async def _keep_restarting(self) -> None:
        while True:
            await self._restart.wait()
            self._restart.clear()
            for number in self._pauses_s:
                if not await self._renew(number):
                    log.error("the restart is given up: the new worker %d does not come up", number)
                    break
            else:
                log.info("all workers are new")

    async def _renew(self, number: int) -> bool:
        """A new worker in the place of those at ``number``; False, and they stay, if it does not get ready."""
        old = self._at(number)
        try:
            new = await self._start(number)
        except OSError as error:
            log.error("worker %d not started: %s", number, error)
            return False
        if not await asyncio.shield(new.ready):
            return False
        await _end(old)
        return True

    async def _stop(self) -> None:
        self._stopping = True
        await _end(list(self._children))
        # Whoever was being started meanwhile ends with its channel.
        await self._tasks.stop()


async def _end(children: list[Child]) -> None:
    """Ask ``children`` to end and wait for it; who takes too long is killed."""
    for child in children:
        child.leaving = True
        child.signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await asyncio.gather(*(child.ended.wait() for child in children))
    except TimeoutError:
        for child in children:
            if not child.ended.is_set():
                log.warning("worker %d took too long to hand over", child.place.number)
                child.signal(signal.SIGKILL)
        for child in children:
            await child.ended.wait()


def _is_ready(child: Child) -> bool:
    return child.ready.done() and child.ready.result()


def _why(child: Child, status: int) -> str:
    if child.reason:
        return child.reason
    return f"status {status}" if status >= 0 else f"{signal.strsignal(-status)}"


class WorkersFailed(Exception):
    """A worker cannot start as things are; the message is one line for the operator."""


class Leash(asyncio.Protocol):
    """The worker's end of the channel. ``orphaned`` is called when the parent is gone."""

    def __init__(self, orphaned: Callable[[], None]) -> None:
        self.assignment: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.look: Callable[[], None] = _nothing
        """Called for each line that asks for it."""
        self._orphaned = orphaned
        self._rest = b""
        self._transport: asyncio.WriteTransport | None = None

    def say(self, line: str) -> None:
        """``READY``, or why not. Only the first line is listened to."""
        if self._transport is not None:
            self._transport.write(f"{line}\n".encode())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Those of uvloop are not of asyncio's classes.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self.assignment.done():
                self.look()
            else:
                self.assignment.set_result(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._orphaned()


def _nothing() -> None:
    """Nobody has to look yet."""
