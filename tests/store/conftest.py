"""The stores that the contract suite runs over, each on empty data of its own."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio

from store.base import Batch, Store, StoreUnavailable
from store.memory import LateCommit, MemoryStore
from store.postgres import PostgresStore, migrate, open_postgres
from store.statements import TABLES
from tests.faults.proxy import Proxy

EPOCH, SECRET = "first", b"\x00secret"


class Rig(Protocol):
    """A store, the same one as another process has it, and its weather."""

    store: Store
    other: Store

    async def cut_commit(self, batch: Batch, *, arrived: bool) -> Callable[[], Awaitable[None]]:
        """Commit ``batch`` on a connection that is cut, as the caller is told; what is returned lets it finish.

        If it has ``arrived``, the store is at it, waiting for the row of its slot; if not, it is still on its way.
        """
        ...

    async def claims_wait(self) -> None:
        """Return once a claim waits for a slot, behind a commit that was cut."""
        ...


class MemoryRig:
    def __init__(self) -> None:
        self.memory = MemoryStore(time.time, epoch=EPOCH, secret=SECRET)
        self.store: Store = self.memory
        self.other: Store = self.memory

    async def cut_commit(self, batch: Batch, *, arrived: bool) -> Callable[[], Awaitable[None]]:
        until = asyncio.Event()
        self.memory.faults.append(LateCommit(until, holds=arrived))
        with pytest.raises(StoreUnavailable):
            await self.memory.commit(batch)

        async def finish() -> None:
            until.set()
            await self.memory.settled()

        return finish

    async def claims_wait(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


class PostgresRig:
    def __init__(
        self, store: PostgresStore, other: PostgresStore, proxy: Proxy, admin: "asyncpg.Connection[asyncpg.Record]"
    ) -> None:
        self.store: Store = store
        self.other: Store = other
        self.proxy = proxy
        self.admin = admin

    async def cut_commit(self, batch: Batch, *, arrived: bool) -> Callable[[], Awaitable[None]]:
        # The first commit of its kind connects and prepares; here only the statement itself is to be late.
        foreign = {slot: fence._replace(epoch=-1) for slot, fence in batch.fences.items()}
        await self.store.commit(Batch(worker=batch.worker, fences=foreign, writes=batch.writes))
        return await (self._cut_at_work(batch) if arrived else self._cut_on_the_way(batch))

    async def _cut_at_work(self, batch: Batch) -> Callable[[], Awaitable[None]]:
        holding = self.admin.transaction()
        await holding.start()
        await self.admin.execute("SELECT FROM slot WHERE slot = ANY ($1) FOR UPDATE", list(batch.fences))
        committing = asyncio.create_task(self.store.commit(batch))
        await self.waiting(1)
        self.proxy.cut()
        with pytest.raises(StoreUnavailable):
            await committing

        async def finish() -> None:
            await holding.rollback()
            await self.proxy.done()

        return finish

    async def _cut_on_the_way(self, batch: Batch) -> Callable[[], Awaitable[None]]:
        self.proxy.hold()
        committing = asyncio.create_task(self.store.commit(batch))
        await self.proxy.stuck()
        self.proxy.cut()
        with pytest.raises(StoreUnavailable):
            await committing

        async def finish() -> None:
            self.proxy.release()
            await self.proxy.done()

        return finish

    async def claims_wait(self) -> None:
        await self.waiting(2)

    async def waiting(self, backends: int) -> None:
        """Return once so many statements wait for a lock."""
        # Unlike pg_stat_activity, which shows one moment for as long as a transaction lasts.
        waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
        while await self.admin.fetchval(waiting) < backends:
            await asyncio.sleep(0.005)


def named(url: str, database: str) -> str:
    """``url`` with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_url(postgres_url: str) -> str:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE DATABASE store")
    await connection.close()
    url = named(postgres_url, "store")
    await migrate(url, epoch=EPOCH, secret=SECRET)
    return url


@pytest_asyncio.fixture
async def admin(migrated_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A plain connection to the test's database, which is as new."""
    connection = await asyncpg.connect(migrated_url)
    tables = ["name", "timeline", "timeline_floor", "searchable", *(row_type.table for row_type in TABLES)]
    # One transaction. A copy of a template for each test would take several times as long.
    await connection.execute(
        "UPDATE slot SET owner = NULL, epoch = 0, head = 0; DELETE FROM worker;"
        f"{''.join(f'DELETE FROM {table};' for table in tables)}"
        f"UPDATE meta SET epoch = '{EPOCH}', search_language = 'simple'; ALTER SEQUENCE account_number RESTART"
    )
    yield connection
    await connection.close()


@pytest.fixture
def database_url(migrated_url: str, admin: "asyncpg.Connection[asyncpg.Record]") -> str:
    """A migrated database without rows."""
    return migrated_url


@pytest_asyncio.fixture
async def new_url(database_url: str, admin: "asyncpg.Connection[asyncpg.Record]") -> str:
    """An empty database."""
    await admin.execute("DROP DATABASE IF EXISTS store_new WITH (FORCE)")
    await admin.execute("CREATE DATABASE store_new")
    return named(database_url, "store_new")


@pytest_asyncio.fixture
async def postgres_rig(database_url: str, admin: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[PostgresRig]:
    async with (
        Proxy(database_url) as proxy,
        open_postgres(proxy.url) as store,
        open_postgres(database_url) as other,
    ):
        yield PostgresRig(store, other, proxy, admin)


@pytest.fixture(params=["memory", "postgres"])
def rig(request: pytest.FixtureRequest) -> Rig:
    """The contract suite runs once over each."""
    if request.param == "memory":
        return MemoryRig()
    rig: PostgresRig = request.getfixturevalue("postgres_rig")
    return rig


@pytest.fixture
def store(rig: Rig) -> Store:
    return rig.store


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Nothing yet, at a path that only its owner may enter, short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        yield Path(directory) / "data"
