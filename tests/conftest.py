"""What tests of several parts share: one embedded Postgres for the whole run."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from store.embedded import EmbeddedPostgres


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url() -> AsyncIterator[str]:
    """A real Postgres, started when the first test asks for it; its role may create databases."""
    with tempfile.TemporaryDirectory(prefix="plaudit-test-") as directory:
        async with EmbeddedPostgres(Path(directory) / "data") as postgres:
            yield postgres.url
