"""What a worker tells its operator of itself."""

import asyncio

from actors.keys import post_key, user_key
from actors.runtime.registry import SWEEP_S
from protocol.accounts import ReadAccount
from protocol.cluster import ActorLoad
from tests.actors.runtime.rig import ANN, POST, Rig
from tests.actors.runtime.sinks import RecordingSink

KEY = post_key(POST)


async def test_the_busiest_actors_come_first_and_idle_ones_not_at_all(rig: Rig) -> None:
    (await rig.node.attach(KEY, RecordingSink(), None)).subscription.start()
    # In the middle between two sweeps.
    await asyncio.sleep(3.5 * SWEEP_S)
    assert rig.node.busiest(5) == [ActorLoad(KEY, 0.0, 1, 0)]

    for _ in range(6):
        await rig.node.ask(user_key(ANN.id), ReadAccount(account=ANN.id), ANN)
    await asyncio.sleep(SWEEP_S)
    busiest, watched = rig.node.busiest(5)
    assert busiest.key == f"user:{ANN.id}"
    assert busiest.commands_per_s * SWEEP_S >= 6
    assert watched.key == KEY
    assert rig.node.busiest(1) == [busiest]

    await asyncio.sleep(SWEEP_S)
    assert rig.node.busiest(5) == [ActorLoad(KEY, 0.0, 1, 0)]


async def test_the_live_workers_are_told_with_what_they_hold(rig: Rig) -> None:
    leases = await rig.node.leases()
    [lease] = leases.workers
    assert (lease.id, lease.label, lease.slots) == (rig.node.worker().id, rig.node.worker().label, 256)
    assert 0.0 < lease.lease_s <= 3.0
    assert leases.unowned == []
