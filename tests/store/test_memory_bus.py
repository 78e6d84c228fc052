"""The weather that the bus in memory has on request."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar

from store.bus import EVERYONE
from store.memory_bus import Broker, MemoryBus, Route
from tests.store.buses import INTERRUPTED, RecordingCounts, RecordingListener


class Members(AsyncExitStack):
    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self._broker = broker

    async def join(self, name: str, listener: RecordingListener) -> MemoryBus:
        bus = self._broker.bus(name, RecordingCounts())
        await self.enter_async_context(bus.joined(f"w:{name}", listener))
        return bus


def delays(chosen: Callable[[Sequence[bytes]], Sequence[float]]) -> Route:
    return lambda sender, receiver, inbox, messages: chosen(messages)


async def test_a_route_sees_what_one_turn_has_sent_to_an_inbox_once_for_each_receiver() -> None:
    seen = []

    def route(sender: str, receiver: str, inbox: str, messages: Sequence[bytes]) -> Sequence[float]:
        seen.append((sender, receiver, inbox, list(messages)))
        return (0.0,)

    async with Members(Broker(route)) as members:
        a, b = RecordingListener(), RecordingListener()
        bus = await members.join("a", a)
        await members.join("b", b)
        for inbox, message in (("w:b", b"1"), (EVERYONE, b"2"), ("w:b", b"3")):
            bus.send(inbox, message)
        await b.until_heard(b"1", b"2", b"3")
    assert seen == [
        ("a", "b", "w:b", [b"1", b"3"]),
        ("a", "a", EVERYONE, [b"2"]),
        ("a", "b", EVERYONE, [b"2"]),
    ]


async def test_a_route_may_lose_one_way_and_nobody_is_told() -> None:
    def route(sender: str, receiver: str, inbox: str, messages: Sequence[bytes]) -> Sequence[float]:
        return () if (sender, receiver) == ("a", "b") else (0.0,)

    async with Members(Broker(route)) as members:
        a, b = RecordingListener(), RecordingListener()
        bus_a, bus_b = await members.join("a", a), await members.join("b", b)
        bus_a.send("w:b", b"lost")
        bus_b.send("w:a", b"arrives")
        await a.until_heard(b"arrives")
        assert b.heard == []
        assert bus_a.down() is bus_b.down() is None


async def test_a_route_may_double_and_delay_without_breaking_a_senders_order() -> None:
    late = delays(lambda messages: (0.02, 0.03) if messages[0] == b"1" else (0.0,))
    async with Members(Broker(late)) as members:
        b = RecordingListener()
        bus = await members.join("a", RecordingListener())
        await members.join("b", b)
        for message in (b"1", b"2"):
            bus.send("w:b", message)
            await asyncio.sleep(0)
        await b.until_heard(b"2")
    assert b.heard == [b"1", b"1", b"2"]


async def test_what_different_senders_send_may_change_places() -> None:
    late = delays(lambda messages: (0.02,) if messages == (b"first",) else (0.0,))
    async with Members(Broker(late)) as members:
        c = RecordingListener()
        a, b = await members.join("a", RecordingListener()), await members.join("b", RecordingListener())
        await members.join("c", c)
        a.send("w:c", b"first")
        await asyncio.sleep(0)
        b.send("w:c", b"second")
        await c.until_heard(b"first", b"second")
    assert c.heard == [b"second", b"first"]


async def test_a_fault_may_ask_that_a_senders_order_breaks() -> None:
    late = delays(lambda messages: (0.02,) if messages == (b"1",) else (0.0,))
    async with Members(Broker(late, ordered=False)) as members:
        b = RecordingListener()
        bus = await members.join("a", RecordingListener())
        await members.join("b", b)
        for message in (b"1", b"2"):
            bus.send("w:b", message)
            await asyncio.sleep(0)
        await b.until_heard(b"1", b"2")
    assert b.heard == [b"2", b"1"]


async def test_a_cut_loses_what_is_under_way_too() -> None:
    broker = Broker(delays(lambda messages: (0.02,)))
    async with Members(broker) as members:
        a, b = RecordingListener(), RecordingListener()
        bus = await members.join("a", a)
        await members.join("b", b)
        bus.send(EVERYONE, b"under way")
        await asyncio.sleep(0)
        broker.cut("b")
        broker.heal("b")
        await a.until_heard(b"under way")
        bus.send("w:b", b"after")
        await b.until_heard(b"after")
    assert b.heard == [INTERRUPTED, b"after"]


async def test_a_listener_is_called_in_the_context_that_it_joined_in() -> None:
    host: ContextVar[str] = ContextVar("host")
    seen = []
    broker = Broker()
    async with Members(broker) as members:
        b = RecordingListener(lambda heard: seen.append((heard, host.get())))
        host.set("b")
        await members.join("b", b)
        host.set("a")
        bus = await members.join("a", RecordingListener())
        bus.send("w:b", b"message")
        await b.until_heard(b"message")
        broker.cut("b")
        broker.heal("b")
        await b.until_heard(INTERRUPTED)
    assert seen == [(b"message", "b"), (INTERRUPTED, "b")]
