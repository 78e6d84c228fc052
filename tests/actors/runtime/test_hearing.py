"""Workers that share a store and not a bus: who comes is refused, and who is cut off says so."""

import asyncio
from uuid import UUID

import pytest

from actors.lease import LEASE_TTL_S
from actors.runtime.hearing import UNHEARD_S
from store.bus import BusUnavailable
from store.memory_bus import Broker
from tests.actors.runtime.cluster_rig import Cluster, cluster


async def test_who_comes_over_another_bus_is_refused() -> None:
    async with cluster(2) as several:
        there = several.broker
        several.broker = Broker()
        with pytest.raises(BusUnavailable, match="does not lead to 2 workers"):
            await several.join()
        several.broker = there
        await several.join()


async def test_who_takes_the_place_of_another_does_not_wait_for_those_who_are_cut_off() -> None:
    async with cluster(2) as several:
        one, _ = several.members
        several.broker.cut(one.name)
        # Longer than whoever is cut off would be waited for.
        async with asyncio.timeout(1):
            new = await several.join(replaces=True)
        assert new.node.worker().bus == "up"
        several.broker.heal(one.name)
        await several.balanced()


async def test_the_dead_are_waited_for_no_longer_than_their_lease() -> None:
    several = Cluster()
    await several.store.register(UUID(int=1), "gone", LEASE_TTL_S)
    try:
        await several.join()
    finally:
        await several.stop()


async def test_workers_that_do_not_hear_each_other_are_not_ready() -> None:
    async with cluster(2) as several:
        one, other = several.members
        route = several.broker.route
        several.broker.route = lambda *_: ()
        await asyncio.sleep(UNHEARD_S / 2)
        assert one.node.ready() == other.node.ready() == {}
        await asyncio.sleep(UNHEARD_S)
        for member in several.members:
            assert member.node.ready() == {"bus": "not heard, though they live: 1 workers; have all one Redis?"}
        several.broker.route = route
        await asyncio.sleep(UNHEARD_S / 2)
        assert one.node.ready() == other.node.ready() == {}
