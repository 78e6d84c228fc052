"""What tests of several parts share: one embedded Postgres and one embedded Redis for each process of the run."""

import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from store.embedded import EmbeddedPostgres
from store.embedded_redis import EmbeddedRedis
from tests.processes import Served, serving
from tests.site import SETTINGS


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url() -> AsyncIterator[str]:
    """A real Postgres, started when the first test asks for it; its role may create databases."""
    with tempfile.TemporaryDirectory(prefix="plaudit-test-") as directory:
        async with EmbeddedPostgres(Path(directory) / "data") as postgres:
            yield postgres.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_url() -> AsyncIterator[str]:
    """A real Redis, started when the first test asks for it."""
    with tempfile.TemporaryDirectory(prefix="plaudit-test-") as directory:
        async with EmbeddedRedis(Path(directory) / "data") as redis:
            yield redis.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def made_once() -> AsyncIterator[Path]:
    """A data directory with an empty database, which nobody uses."""
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        data_dir = Path(directory) / "data"
        async with EmbeddedPostgres(data_dir):
            pass
        yield data_dir


@pytest.fixture
def database_dir(made_once: Path) -> Iterator[Path]:
    """A data directory with an empty database of the test's own; to copy one takes a tenth of what it takes to make."""
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        # With its owners: as root, Postgres runs as somebody else.
        subprocess.run(["cp", "-a", made_once, directory], check=True)
        yield Path(directory) / "data"


@pytest.fixture(scope="session")
def friend() -> Iterator[socket.socket]:
    """Where another site can listen, whose pages ``server`` allows."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(friend: socket.socket) -> AsyncIterator[Served]:
    """The product as its users run it, in a process of its own, for tests that leave it running."""
    with tempfile.TemporaryDirectory(prefix="plaudit-test-") as directory:
        allowed = "http://{}:{}".format(*friend.getsockname())
        arguments = ("--port", "0", "--data-dir", str(Path(directory) / "data"), "--allowed-origins", allowed)
        async with serving("server.py", *arguments, environment=SETTINGS) as served:
            yield served
