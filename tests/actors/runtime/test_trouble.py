"""What the log has of that which fails again and again."""

import asyncio
import logging

import pytest

from actors.runtime.trouble import TOLD_EVERY_S, Trouble
from store.memory import RequestLost
from tests.actors.runtime.cluster_rig import cluster

OUTAGE_S = 70.0


def test_trouble_is_told_when_it_begins_now_and_then_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    trouble = Trouble("watered", logging.getLogger("plaudit"), lambda: now)
    caplog.set_level(logging.INFO)
    for _ in range(2):
        trouble.over()
        for _ in range(7):
            trouble.met(OSError("no water"))
            now += TOLD_EVERY_S / 6
        assert caplog.messages == ["not watered: no water"] * 2
        assert trouble.lasts
        trouble.over()
        assert caplog.messages[2:] == [f"watered again, after {7 * TOLD_EVERY_S / 6:.1f} s"]
        assert not trouble.lasts
        caplog.clear()


async def test_a_long_outage_of_the_store_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster(1) as running:
        caplog.set_level(logging.INFO, "plaudit.ownership")
        caplog.clear()
        store = running.store
        for method in ("renew", "owners", "claim", "expire"):
            store.faults += [RequestLost(method, at=store.calls[method] + count) for count in range(1, 1000)]
        await asyncio.sleep(OUTAGE_S)
        every_30_s = ["not looking after slots: request lost", "not renewing the lease: request lost"]
        assert sorted(caplog.messages) == sorted(3 * every_30_s)
        caplog.clear()
        store.faults.clear()
        await asyncio.sleep(OUTAGE_S)
        over = [message.partition(",")[0] for message in caplog.messages]
        assert sorted(over) == ["looking after slots again", "renewing the lease again"]
