"""Every test of the runtime runs in virtual time: a wait of a minute takes no time, and always the same."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest_asyncio

from tests.actors.runtime.rig import Rig
from tests.actors.runtime.virtual_time import VirtualTimeLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual time": VirtualTimeLoop}


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    """A store in memory and a node on it, with the post of an author."""
    async with Rig.running() as running:
        yield running
