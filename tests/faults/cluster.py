"""What is made to fail: machines of workers, a Postgres and a Redis, and between them networks that can be cut.

A machine is a parent process with its workers, at a port of its own, with its own way to Postgres and Redis. Everything
is ended by the process ids that it was started with.
"""

import asyncio
import os
import signal
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote

import aiohttp
import psutil

from store.embedded import PID_FILE_SOCKET_LINE, EmbeddedPostgres
from store.embedded_redis import EmbeddedRedis
from tests.faults.proxy import Proxy
from tests.processes import Served, serving
from tests.site import SETTINGS, Site

ANSWER_TIMEOUT_S: Final = 5.0
"""What the official clients wait for an answer."""
PORTS: Final = (20_000, 30_000)
"""Below those that systems give to clients: else one that calls a dead server's port again and again may get that port
for its own end, and be answered by itself."""
CONNECTIONS_MAX: Final = 200
"""To Postgres, of all machines together."""
POLL_S: Final = 0.01


class Machine:
    """One command, run again after it was killed: always the same, at the same port."""

    def __init__(self, name: str, port: int, arguments: list[str], client: aiohttp.ClientSession) -> None:
        self.name = name
        self.port = port
        self._arguments = [*arguments, "--host", "127.0.0.1", "--port", str(port)]
        self._client = client
        self._open = AsyncExitStack()
        self._stopped: set[int] = set()
        self.served: Served | None = None
        self.site: Site

    async def start(self) -> None:
        """Returns once it is ready."""
        self.served = await self._open.enter_async_context(serving("server.py", *self._arguments, environment=SETTINGS))
        self.site = Site(self.served, self._client, answer_timeout_s=ANSWER_TIMEOUT_S)

    async def stop(self) -> None:
        for pid in set(self._stopped):
            self.resume(pid)
        await self._open.aclose()
        self.served = None

    @property
    def parent(self) -> int:
        assert self.served is not None
        return self.served.pid

    def workers(self) -> list[int]:
        """Process ids, oldest first; Postgres and Redis are no workers."""
        found = []
        for child in children(self.parent):
            with suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE and child.cmdline()[:1] == [sys.executable]:
                    found.append((child.create_time(), child.pid))
        return [pid for _, pid in sorted(found)]

    def said(self, words: str) -> list[str]:
        """The lines of its log with ``words``, among the last."""
        assert self.served is not None
        return [line.strip() for line in self.served.output if words in line]

    def kill(self, pid: int) -> None:
        """SIGKILL."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    async def kill_parent(self) -> None:
        """And wait until it is gone."""
        assert self.served is not None
        await self.served.kill()
        await self._open.aclose()

    async def lose(self) -> None:
        """All of it at once, as when the power fails."""
        for pid in (*self.workers(), self.parent):
            self.kill(pid)
        await self.kill_parent()

    def pause(self, pid: int) -> None:
        """SIGSTOP."""
        self._stopped.add(pid)
        os.kill(pid, signal.SIGSTOP)

    def resume(self, pid: int) -> None:
        self._stopped.discard(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def restart_in_turn(self) -> None:
        """SIGHUP: the parent puts a new worker in the place of each."""
        os.kill(self.parent, signal.SIGHUP)


class Networks(NamedTuple):
    """What stands between one machine and the rest."""

    postgres: Proxy
    redis: Proxy


class Cluster(ABC):
    """Machines that serve one site."""

    def __init__(self, directory: Path, workers: int, client: aiohttp.ClientSession, rng: Random) -> None:
        self.directory = directory
        self.workers = workers
        """Of each machine."""
        self.machines: list[Machine] = []
        """Those that clients know of."""
        self._client = client
        self._rng = rng
        self._stack = AsyncExitStack()

    @abstractmethod
    async def start(self) -> None:
        """Have every machine ready."""

    @property
    @abstractmethod
    def database_url(self) -> str:
        """The way to Postgres that nothing stands in."""

    async def stop(self) -> None:
        await self._stack.aclose()

    def site(self, rng: Random) -> Site:
        return rng.choice(self.machines).site

    async def _machine(self, name: str, *arguments: str) -> Machine:
        machine = Machine(name, free_port(self._rng), ["--workers", str(self.workers), *arguments], self._client)
        self._stack.push_async_callback(machine.stop)
        await machine.start()
        return machine


class EmbeddedCluster(Cluster):
    """One machine with its own Postgres and Redis: a single command."""

    async def start(self) -> None:
        self.machines.append(await self._machine("the machine", "--data-dir", str(self.directory / "data")))

    @property
    def postgres_pid(self) -> int:
        return int(self._pid_file()[0])

    @property
    def database_url(self) -> str:
        return f"postgresql://plaudit@/plaudit?host={quote(self._pid_file()[PID_FILE_SOCKET_LINE], safe='/')}"

    def _pid_file(self) -> list[str]:
        return (self.directory / "data" / "postgres" / "postmaster.pid").read_text().splitlines()


class NetworkedCluster(Cluster):
    """One machine or more with a Postgres and a Redis elsewhere, and between them networks that can fail."""

    def __init__(self, directory: Path, workers: int, client: aiohttp.ClientSession, rng: Random) -> None:
        super().__init__(directory, workers, client, rng)
        self.networks: dict[str, Networks] = {}
        """By the machine's name."""
        self._postgres_open = AsyncExitStack()
        self._redis_open = AsyncExitStack()

    async def start(self) -> None:
        self._stack.push_async_callback(self.stop_postgres)
        self._stack.push_async_callback(self.stop_redis)
        await self.start_postgres()
        await self.start_redis()
        self.machines.append(await self.new_machine("first"))

    @property
    def database_url(self) -> str:
        return self.postgres.url

    async def new_machine(self, name: str) -> Machine:
        """Started, with networks of its own; clients do not know of it yet."""
        networks = self.networks[name] = Networks(
            await self._stack.enter_async_context(Proxy(self.postgres.url)),
            await self._stack.enter_async_context(Proxy(self.redis.url)),
        )
        flags = ("--database-url", networks.postgres.url, "--redis-url", networks.redis.url)
        return await self._machine(name, *flags)

    async def start_postgres(self) -> None:
        postgres = EmbeddedPostgres(self.directory / "data", connections_max=CONNECTIONS_MAX)
        self.postgres = await self._postgres_open.enter_async_context(postgres)
        # Where the path is long, the socket is in another temporary directory after each start.
        for networks in self.networks.values():
            networks.postgres.target = self.postgres.url

    async def stop_postgres(self) -> None:
        await self._postgres_open.aclose()

    async def kill_postgres(self) -> None:
        """SIGQUIT, which Postgres calls an immediate shutdown: it has to recover when it starts."""
        pid_file = self.postgres.directory / "postmaster.pid"
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
        await self.postgres.ended()
        await self.stop_postgres()

    async def start_redis(self) -> None:
        self.redis = await self._redis_open.enter_async_context(EmbeddedRedis(self.directory / "data"))
        for networks in self.networks.values():
            networks.redis.target = self.redis.url

    async def stop_redis(self) -> None:
        await self._redis_open.aclose()

    async def kill_redis(self) -> None:
        """SIGKILL. It would be started again at once, if it were not stopped as well."""
        os.kill(self.redis.pid, signal.SIGKILL)
        await self.stop_redis()


C = TypeVar("C", bound=Cluster)


@asynccontextmanager
async def running(kind: type[C], directory: Path, *, workers: int, rng: Random) -> AsyncIterator[C]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        cluster = kind(directory, workers, client, rng)
        try:
            await cluster.start()
            yield cluster
        finally:
            await cluster.stop()


def free_port(rng: Random) -> int:
    while True:
        port = rng.randrange(*PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def children(pid: int) -> Iterator[psutil.Process]:
    """The child processes of ``pid``, from one file: to look at every process, as psutil does, holds up the load."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(psutil.NoSuchProcess):
            yield psutil.Process(int(child))


def runs(pid: int) -> bool:
    """Not when it has ended but was not reaped yet, as orphans are when the system comes to it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Wait for what processes do, which nobody tells of. Raises ``TimeoutError``."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(POLL_S)
