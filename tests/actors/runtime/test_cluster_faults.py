"""What goes wrong between workers at an unlucky moment: each test is one such moment."""

import asyncio

import pytest

from protocol.commands import Applaud
from protocol.errors import Refused
from tests.actors.runtime.cluster_rig import ask, cluster, make_posts
from tests.actors.runtime.rig import say
from tests.actors.runtime.test_cluster import POSTS, remote_to


async def test_a_number_that_no_message_can_carry_is_refused_and_holds_up_nobody() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        for member in (owner, other):
            with pytest.raises(Refused, match="too large"):
                await ask(member, Applaud(post="100", total=10**30), op="one of its own")
        running.broker.route = lambda sender, receiver, inbox, messages: () if sender == other.name else (0.0,)
        asking = asyncio.create_task(ask(other, say("words", post=100)))
        await asyncio.sleep(0.1)
        running.broker.route = lambda sender, receiver, inbox, messages: (0.0,)
        async with asyncio.timeout(2):
            await asking
