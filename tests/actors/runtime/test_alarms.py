"""Alarms that gather are rung in turn, and nothing else waits for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from actors.actor import RingAlarm
from actors.keys import post_key, slot_of
from actors.runtime.activation import Reply
from actors.runtime.alarms import GATHERING_AT_ONCE, GATHERING_PER_S, Alarms
from actors.runtime.env import Env
from store.memory import MemoryStore
from store.rows import AlarmRow
from tests.actors.runtime.rig import STARTED_AT_S, Clock

MANY = 1_000


def alarm(post: int, name: str, after_s: float = 0.0) -> AlarmRow:
    key = post_key(post)
    return AlarmRow(slot=slot_of(key), actor=key, name=name, due_ms=int((STARTED_AT_S + after_s) * 1000))


@asynccontextmanager
async def rung(after_s: float = 0.0) -> AsyncIterator[tuple[Alarms, list[tuple[float, str, str]]]]:
    """Alarms that run, and when which of them was rung; what comes of each is durable ``after_s``."""
    time = asyncio.get_running_loop().time
    heard: list[tuple[float, str, str]] = []

    def ring(key: str, command: RingAlarm, reply: Reply) -> None:
        heard.append((time(), key, command.name))
        if after_s:
            asyncio.get_running_loop().call_later(after_s, reply, None)
        else:
            reply(None)

    clock = Clock()
    owned = cast(Any, SimpleNamespace(slots={}))
    env = Env(clock=clock, monotonic=time, rng=Random(1))
    alarms = Alarms(MemoryStore(clock), owned, env, ring=ring, gathering=("news",))
    alarms.start()
    try:
        yield alarms, heard
    finally:
        await alarms.stop()


async def test_alarms_that_gather_are_rung_in_turn_each_once() -> None:
    async with rung() as (alarms, heard):
        for post in range(MANY):
            alarms.note(alarm(post, "news"))
            alarms.note(alarm(post, "news"))
        await asyncio.sleep(0.001)
        assert len(heard) == GATHERING_AT_ONCE
        await asyncio.sleep(2)
        assert abs(len(heard) - GATHERING_AT_ONCE - 2 * GATHERING_PER_S) <= 3
        # One that waits for its turn is not noted anew by a scan.
        alarms.note(alarm(MANY - 1, "news"))
        await asyncio.sleep(MANY / GATHERING_PER_S)

        assert sorted(key for _, key, _ in heard) == sorted(post_key(post) for post in range(MANY))


async def test_the_next_waits_until_what_one_led_to_is_durable() -> None:
    async with rung(after_s=0.5) as (alarms, heard):
        for post in range(MANY):
            alarms.note(alarm(post, "news"))
        await asyncio.sleep(10.25)

        assert len(heard) == 21 * GATHERING_AT_ONCE


async def test_one_that_nobody_hears_holds_up_no_other() -> None:
    def unheard(key: str, command: RingAlarm, reply: Reply) -> None:
        raise RuntimeError("a defect")

    async with rung() as (alarms, heard):
        ring, alarms._ring = alarms._ring, unheard
        for post in range(2 * GATHERING_AT_ONCE):
            alarms.note(alarm(post, "news"))
        await asyncio.sleep(1)
        alarms._ring = ring
        alarms.note(alarm(MANY, "news"))
        await asyncio.sleep(1)

        assert [key for _, key, _ in heard] == [post_key(MANY)]


async def test_what_is_due_at_a_time_waits_for_none_that_gather() -> None:
    async with rung() as (alarms, heard):
        for post in range(MANY):
            alarms.note(alarm(post, "news"))
        alarms.note(alarm(7, "publish", after_s=1.0))
        await asyncio.sleep(1.5)

        ((at, _, _),) = [each for each in heard if each[2] == "publish"]
        assert 1.0 <= at < 1.01


async def test_who_gathers_alone_is_rung_at_once() -> None:
    async with rung() as (alarms, heard):
        for second in range(5):
            alarms.note(alarm(7, "news", after_s=second))
        await asyncio.sleep(10)

        assert [int(at) for at, _, _ in heard] == [0, 1, 2, 3, 4]
