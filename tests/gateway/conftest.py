"""What the tests of HTTP share."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.gateway.http_site import Api, HttpSite, http_site


@pytest_asyncio.fixture
async def site() -> AsyncIterator[HttpSite]:
    """A gateway over real actors, alone with the test."""
    async with http_site() as running:
        yield running


@pytest_asyncio.fixture
async def api(site: HttpSite) -> Api:
    return site.api
