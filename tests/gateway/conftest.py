"""What the tests of HTTP share."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.gateway.http_site import Api, HttpSite, http_site
from tests.gateway.people import People
from tests.processes import Served


@pytest_asyncio.fixture
async def site() -> AsyncIterator[HttpSite]:
    """A gateway over real actors, alone with the test."""
    async with http_site() as running:
        yield running


@pytest_asyncio.fixture
async def api(site: HttpSite) -> Api:
    return site.api


@pytest_asyncio.fixture
async def people_in_memory(site: HttpSite) -> People:
    return People(site.api)


@pytest_asyncio.fixture
async def people_on_a_server(server: Served) -> AsyncIterator[People]:
    async with aiohttp.ClientSession() as client:
        yield People(Api(client, server.url))


@pytest.fixture(params=["in_memory", "on_a_server"])
def people(request: pytest.FixtureRequest) -> People:
    """Members of a site over a store in memory, then of the whole server."""
    people: People = request.getfixturevalue(f"people_{request.param}")
    return people
