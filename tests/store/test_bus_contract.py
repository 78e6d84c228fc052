"""What every bus promises: over Redis, and over its twin in memory."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Protocol
from uuid import uuid4

import pytest
import pytest_asyncio

from store.bus import EVERYONE, PENDING_BYTES_MAX, Bus, BusUnavailable
from store.memory_bus import Broker
from store.redis import RedisBus
from tests.faults.proxy import Proxy
from tests.store.buses import INTERRUPTED, RecordingCounts, RecordingListener, until_down


class Rig(Protocol):
    """Buses that reach each other, and their weather."""

    async def bus(self, name: str, counts: RecordingCounts, *, may_be_away: bool) -> Bus: ...

    def cut(self, name: str) -> None:
        """The bus loses its connection if it has one, and gets none until ``heal``."""
        ...

    def heal(self, name: str) -> None: ...


class MemoryRig:
    def __init__(self) -> None:
        self._broker = Broker()

    async def bus(self, name: str, counts: RecordingCounts, *, may_be_away: bool) -> Bus:
        return self._broker.bus(name, counts, may_be_away=may_be_away)

    def cut(self, name: str) -> None:
        self._broker.cut(name)

    def heal(self, name: str) -> None:
        self._broker.heal(name)


class RedisRig:
    """Each bus behind a network of its own."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url = url
        self._stack = stack
        self._cluster = uuid4().hex
        self._proxies: dict[str, Proxy] = {}

    async def bus(self, name: str, counts: RecordingCounts, *, may_be_away: bool) -> Bus:
        proxy = self._proxies[name] = await self._stack.enter_async_context(Proxy(self._url))
        return RedisBus(proxy.url, counts, cluster=self._cluster, may_be_away=may_be_away)

    def cut(self, name: str) -> None:
        self._proxies[name].refuse()

    def heal(self, name: str) -> None:
        self._proxies[name].accept()


class Member(RecordingListener):
    """A bus that is joined at the inbox of its name, and what it has heard."""

    def __init__(self, name: str, bus: Bus, counts: RecordingCounts) -> None:
        super().__init__()
        self.name = name
        self.bus = bus
        self.counts = counts


class Cluster:
    def __init__(self, rig: Rig, stack: AsyncExitStack) -> None:
        self.rig = rig
        self._stack = stack

    async def member(self, name: str) -> Member:
        member = await self.outsider(name)
        await self._stack.enter_async_context(member.bus.joined(name, member))
        return member

    async def outsider(self, name: str, *, may_be_away: bool = False) -> Member:
        """One who has not joined yet."""
        counts = RecordingCounts()
        return Member(name, await self.rig.bus(name, counts, may_be_away=may_be_away), counts)


@pytest_asyncio.fixture
async def redis_rig(redis_url: str) -> AsyncIterator[RedisRig]:
    async with AsyncExitStack() as stack:
        yield RedisRig(redis_url, stack)


@pytest.fixture(params=["memory", "redis"])
def rig(request: pytest.FixtureRequest) -> Rig:
    """The contract suite runs once over each."""
    if request.param == "memory":
        return MemoryRig()
    rig: RedisRig = request.getfixturevalue("redis_rig")
    return rig


@pytest_asyncio.fixture
async def cluster(rig: Rig) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        yield Cluster(rig, stack)


async def test_a_message_arrives_at_its_inbox_and_nowhere_else(cluster: Cluster) -> None:
    a, b, c = [await cluster.member(name) for name in "abc"]
    a.bus.send("b", b"for b")
    a.bus.send(EVERYONE, b"last")
    for member in (a, b, c):
        await member.until_heard(b"last")
    assert Counter(b.heard) == Counter((b"for b", b"last"))
    assert a.heard == c.heard == [b"last"]


async def test_everyone_hears_what_is_for_everyone_the_sender_too(cluster: Cluster) -> None:
    members = [await cluster.member(name) for name in "abc"]
    members[0].bus.send(EVERYONE, b"to all")
    for member in members:
        await member.until_heard(b"to all")


async def test_what_one_sends_to_oneself_arrives(cluster: Cluster) -> None:
    a = await cluster.member("a")
    a.bus.send("a", b"note to self")
    await a.until_heard(b"note to self")


async def test_each_sender_is_heard_in_its_order(cluster: Cluster) -> None:
    a, b, c = [await cluster.member(name) for name in "abc"]
    for number in range(3000):
        for sender in (a, b):
            sender.bus.send("c", f"{sender.name}{number:04}".encode())
        if number % 50 == 0:
            await asyncio.sleep(0)
    await c.until(lambda: len(c.heard) == 6000)
    for sender in (a, b):
        from_one = [heard for heard in c.heard if heard is not None and heard.startswith(sender.name.encode())]
        assert from_one == sorted(from_one)


@pytest.mark.parametrize("message", [b"", b"\0\xff\r\n", b"x" * (3 << 20)], ids=["empty", "binary", "large"])
async def test_any_bytes_are_a_message(cluster: Cluster, message: bytes) -> None:
    a, b = [await cluster.member(name) for name in "ab"]
    a.bus.send("b", message)
    await b.until_heard(message)
    assert (a.counts.messages_sent, a.counts.messages_dropped) == (1, 0)
    assert a.counts.bytes_sent >= len(message)


async def test_what_is_for_nobody_harms_nobody(cluster: Cluster) -> None:
    a, b = [await cluster.member(name) for name in "ab"]
    a.bus.send("nobody", b"lost")
    a.bus.send("b", b"after")
    await b.until_heard(b"after")
    assert b.heard == [b"after"]


async def test_what_is_sent_before_joining_or_after_leaving_is_lost_and_counted(cluster: Cluster) -> None:
    a, b = await cluster.member("a"), await cluster.outsider("b")
    b.bus.send("a", b"too early")
    assert b.bus.down() is not None
    async with b.bus.joined("b", b):
        assert b.bus.down() is None
        b.bus.send("a", b"in time")
    b.bus.send("a", b"too late")
    assert b.bus.down() is not None
    await a.until_heard(b"in time")
    assert a.heard == [b"in time"]
    assert (b.counts.messages_sent, b.counts.messages_dropped) == (1, 2)


async def test_who_leaves_sends_first_what_waits_and_hears_nothing_more(cluster: Cluster) -> None:
    a, b = await cluster.member("a"), await cluster.outsider("b")
    async with b.bus.joined("b", b):
        for number in range(100):
            b.bus.send("a", f"{number}".encode())
    a.bus.send("b", b"too late")
    a.bus.send("a", b"last")
    await a.until_heard(b"last")
    assert a.heard == [*(f"{number}".encode() for number in range(100)), b"last"]
    assert b.heard == []


async def test_more_than_may_wait_is_dropped_and_counted(cluster: Cluster) -> None:
    a, b = [await cluster.member(name) for name in "ab"]
    large = bytes(1 << 20)
    fit = PENDING_BYTES_MAX // len(large) - 1
    for _ in range(fit + 3):
        a.bus.send("b", large)
    a.bus.send("b", b"small enough")
    await b.until_heard(b"small enough")
    assert len(b.heard) == fit + 1
    assert a.counts.messages_dropped == 3


async def test_who_was_cut_is_told_before_it_hears_more(cluster: Cluster) -> None:
    a, b = [await cluster.member(name) for name in "ab"]
    a.bus.send("b", b"before")
    await b.until_heard(b"before")

    cluster.rig.cut("b")
    why = await until_down(b.bus)
    assert why
    assert "\n" not in why
    a.bus.send("b", b"meanwhile")
    a.bus.send("a", b"others go on")
    await a.until_heard(b"others go on")
    cluster.rig.heal("b")

    await b.until_heard(INTERRUPTED)
    assert b.bus.down() is None
    a.bus.send("b", b"after")
    await b.until_heard(b"after")
    assert b.heard == [b"before", INTERRUPTED, b"after"]
    assert a.heard == [b"others go on"]


async def test_what_is_sent_while_cut_is_lost_and_counted(cluster: Cluster) -> None:
    a, b = [await cluster.member(name) for name in "ab"]
    cluster.rig.cut("a")
    await until_down(a.bus)
    a.bus.send("b", b"lost")
    assert a.counts.messages_dropped == 1
    cluster.rig.heal("a")
    await a.until_heard(INTERRUPTED)
    a.bus.send("b", b"again")
    await b.until_heard(b"again")
    assert b.heard == [b"again"]


async def test_what_is_sent_on_being_told_of_an_interruption_arrives(cluster: Cluster) -> None:
    a, b = await cluster.member("a"), await cluster.outsider("b")
    catching_up = RecordingListener(lambda heard: b.bus.send("a", b"what did I miss?") if heard is None else None)
    async with b.bus.joined("b", catching_up):
        for _ in range(2):
            cluster.rig.cut("b")
            await until_down(b.bus)
            cluster.rig.heal("b")
            await a.until_heard(b"what did I miss?")
            a.heard.clear()
    assert catching_up.heard == [INTERRUPTED, INTERRUPTED]


async def test_who_hears_may_answer_at_once(cluster: Cluster) -> None:
    a, b = await cluster.member("a"), await cluster.outsider("b")
    answering = RecordingListener(lambda heard: b.bus.send("a", b"answer"))
    async with b.bus.joined("b", answering):
        a.bus.send("b", b"question")
        await a.until_heard(b"answer")


async def test_who_may_not_be_away_does_not_join_a_bus_that_is(cluster: Cluster) -> None:
    a = await cluster.outsider("a")
    cluster.rig.cut("a")
    with pytest.raises(BusUnavailable) as refusal:
        async with a.bus.joined("a", a):
            pass
    assert str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert a.bus.down() is not None


async def test_who_may_be_away_joins_as_after_a_loss(cluster: Cluster) -> None:
    a, b = await cluster.member("a"), await cluster.outsider("b", may_be_away=True)
    cluster.rig.cut("b")
    async with b.bus.joined("b", b):
        assert b.bus.down() is not None
        b.bus.send("a", b"lost")
        assert b.counts.messages_dropped == 1
        a.bus.send("b", b"lost")
        a.bus.send("a", b"others go on")
        await a.until_heard(b"others go on")
        cluster.rig.heal("b")
        await b.until_heard(INTERRUPTED)
        assert b.bus.down() is None
        b.bus.send("a", b"after")
        await a.until_heard(b"after")
        a.bus.send("b", b"after")
        await b.until_heard(b"after")
    assert a.heard == [b"others go on", b"after"]
    assert b.heard == [INTERRUPTED, b"after"]


async def test_who_may_be_away_and_is_not_has_missed_nothing(cluster: Cluster) -> None:
    a, b = await cluster.member("a"), await cluster.outsider("b", may_be_away=True)
    async with b.bus.joined("b", b):
        assert b.bus.down() is None
        a.bus.send("b", b"first")
        await b.until_heard(b"first")
    assert b.heard == [b"first"]


async def test_who_never_reaches_the_bus_can_leave_it(cluster: Cluster) -> None:
    a = await cluster.outsider("a", may_be_away=True)
    cluster.rig.cut("a")
    async with a.bus.joined("a", a):
        pass
    assert a.bus.down() is not None
    assert a.heard == []
