"""What tests of several parts share: one embedded Postgres for the whole run."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from store.embedded import EmbeddedPostgres
from tests.processes import Served, serving
from tests.site import SETTINGS


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url() -> AsyncIterator[str]:
    """A real Postgres, started when the first test asks for it; its role may create databases."""
    with tempfile.TemporaryDirectory(prefix="plaudit-test-") as directory:
        async with EmbeddedPostgres(Path(directory) / "data") as postgres:
            yield postgres.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncIterator[Served]:
    """The product as its users run it, in a process of its own, for tests that leave it running."""
    with tempfile.TemporaryDirectory(prefix="plaudit-test-") as directory:
        arguments = ("--port", "0", "--data-dir", str(Path(directory) / "data"))
        async with serving("server.py", *arguments, environment=SETTINGS) as served:
            yield served
