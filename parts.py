"""What the server and the commands beside it share: the database, the actors, and how to speak to the operator."""

import asyncio
import hashlib
import platform
import random
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry
from rich.console import Console

from actors.lease import LEASE_TTL_S
from actors.runtime.env import Env
from actors.runtime.metrics import BusFigures, Metrics
from actors.runtime.node import Node
from actors.runtime.ownership import OwnedByAnother
from settings import ServerSettings, Settings
from store.base import Store
from store.embedded import CONNECTIONS_MAX, EmbeddedPostgres
from store.postgres import PostgresStore, migrate, open_postgres
from store.redis import RedisBus
from store.redis_exchange import open_exchange

CONNECTIONS_PER_WORKER: Final = 12
"""To Postgres: eight to read, one each to write, for the lease and to push, one while it starts."""
PATIENCE_S: Final = LEASE_TTL_S + 1.0
"""For so long those who were killed may still seem to live."""
RETRY_S: Final = 0.2


class StartError(Exception):
    """The server cannot start, or cannot go on; the message is one line for the operator."""


class Database(NamedTuple):
    store: PostgresStore
    url: str
    ended: Callable[[], Awaitable[str]]
    """Waits for as long as the database lives; then says why it ended."""


@asynccontextmanager
async def open_database(settings: ServerSettings) -> AsyncIterator[Database]:
    """The store, migrated; in the embedded Postgres unless another is configured."""
    async with AsyncExitStack() as stack:
        url, ended = settings.database_url, never
        if url is None:
            # Besides the workers: this process, and in a restart one worker more.
            connections_max = max(CONNECTIONS_MAX, CONNECTIONS_PER_WORKER * (settings.workers + 2))
            postgres = await stack.enter_async_context(
                EmbeddedPostgres(settings.data_dir, connections_max=connections_max)
            )
            url, ended = postgres.url, postgres.ended
        await migrate(url, epoch=secrets.token_hex(16), secret=secrets.token_bytes(32))
        store = await stack.enter_async_context(open_postgres(url))
        if settings.database_url is None:
            # The data directory is ours alone, so whoever still seems to live in it was killed.
            await store.expire(node="")
        yield Database(store, url, ended)


@asynccontextmanager
async def database_alone(settings: ServerSettings) -> AsyncIterator[PostgresStore]:
    """The store, while no server uses it. Raises ``OwnedByAnother`` if one does.

    That is asked before anything else: workers would give slots to whoever joins them, and wait for its answers.
    """
    async with open_database(settings) as database:
        give_up = time.monotonic() + PATIENCE_S
        while any(worker.lease_s > 0 for worker in (await database.store.owners()).live):
            if time.monotonic() >= give_up:
                raise OwnedByAnother
            await asyncio.sleep(RETRY_S)
        yield database.store


async def never() -> str:
    return str(await asyncio.get_running_loop().create_future())


def node_label(listener: socket.socket | None = None) -> str:
    """How the workers of this process are told from those of others: machines can have the same name.

    The next server that has the address of ``listener`` gets the same label: while one listens there no other can.
    """
    unique = secrets.token_hex(4)
    if listener is not None:
        with suppress(OSError):  # Only Linux tells which kernel this is, and which of its networks.
            kernel = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
            place = f"{kernel} {Path('/proc/self/ns/net').readlink()} {listener.getsockname()}"
            unique = hashlib.blake2b(place.encode(), digest_size=4).hexdigest()
    return f"{platform.node()}:{unique}"


@asynccontextmanager
async def open_node(
    settings: Settings,
    store: Store,
    registry: CollectorRegistry,
    *,
    label: str,
    redis_url: str | None = None,
    replaces: bool = False,
) -> AsyncIterator[Node]:
    """The actors: all of them, or with a Redis those that fall to this one of several workers.

    One that ``replaces`` another begins without Redis if need be, as the others go on without it.
    """
    env = Env(clock=time.time, monotonic=_seconds_with_sleep, rng=random.Random())
    metrics = Metrics(registry)
    site_url = settings.gateway.public_url or ""
    async with AsyncExitStack() as stack:
        bus, exchange = None, None
        if redis_url is not None:
            cluster = (await store.meta()).epoch
            bus = RedisBus(redis_url, BusFigures(metrics), cluster=cluster, may_be_away=replaces)
            exchange = await stack.enter_async_context(open_exchange(redis_url))
        running = Node.running(
            *(store, env, settings.policy, metrics),
            node=label,
            bus=bus,
            exchange=exchange,
            site_url=site_url,
            replaces=replaces,
        )
        yield await stack.enter_async_context(running)


@asynccontextmanager
async def node_alone(settings: Settings) -> AsyncIterator[Node]:
    """The actors without a gateway before them."""
    async with (
        database_alone(settings.server) as store,
        open_node(settings, store, CollectorRegistry(), label=f"{node_label()}/command") as node,
    ):
        yield node


def _seconds_with_sleep() -> float:
    """A lease runs out while the machine is suspended, which Linux' plain monotonic clock does not count."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


class Terminal(Console):
    """Where it prints to; ``BrokenPipeError`` says that nobody reads there any more, as it does for ``print``."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def local_url(host: str, port: int) -> str:
    """Where a server that listens there is reached from this machine."""
    # Nobody can open the address that stands for all.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def reason_of(error: OSError) -> str:
    """In one line, without what its system adds."""
    return (error.strerror or str(error)).partition(" (")[0]
