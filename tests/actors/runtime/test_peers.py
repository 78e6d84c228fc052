"""What workers say to each other: what one turn of the loop has to say to one of them travels as one packet."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry

from actors.runtime.messages import NotWatched, Unwatch, encode
from actors.runtime.metrics import BusFigures, Metrics
from actors.runtime.peers import GATHERED_MAX, PACKET_BYTES_MAX, Peers
from store.memory_bus import Broker

ANN, BOB, CID = b"ann", b"bob", b"cid"


class Heard(NamedTuple):
    by: bytes
    message: Unwatch | NotWatched


class Party:
    """Three workers on one bus, with all that ``BOB`` and ``CID`` hear, and what the bus carried."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.broker.route = self._route
        self.packets: list[int] = []
        self.heard: dict[bytes, list[Heard]] = {BOB: [], CID: []}
        self.ann, self.bob, self.cid = (self._peers(name) for name in (ANN, BOB, CID))

    def _peers(self, process: bytes) -> Peers:
        metrics = Metrics(CollectorRegistry())
        peers = Peers(self.broker.bus(process.decode(), BusFigures(metrics)), metrics)
        peers.handle(Unwatch, lambda by, message: self.heard[process].append(Heard(by, message)))
        peers.handle(NotWatched, lambda by, message: self.heard[process].append(Heard(by, message)))
        return peers

    def _route(self, sender: str, receiver: str, inbox: str, messages: Sequence[bytes]) -> Sequence[float]:
        self.packets += map(len, messages)
        return (0.0,)

    def keys(self, process: bytes) -> list[str]:
        return [key for _, message in self.heard[process] for key in message.keys]

    async def until_heard(self, process: bytes, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.heard[process]) < count:
                await asyncio.sleep(0)


@pytest.fixture
async def party() -> AsyncIterator[Party]:
    party = Party()
    async with AsyncExitStack() as stack:
        for process, peers in ((ANN, party.ann), (BOB, party.bob), (CID, party.cid)):
            await stack.enter_async_context(peers.joined(process))
        yield party


async def test_what_is_said_to_one_worker_in_one_turn_is_one_packet_in_order(party: Party) -> None:
    encoded = encode(NotWatched(["2"]))
    party.ann.send(BOB, Unwatch(["1"]))
    party.ann.send(CID, Raw(encoded))
    party.ann.send(BOB, Raw(encoded))
    party.ann.send(BOB, Unwatch(["3"]))
    await party.until_heard(BOB, 3)
    await party.until_heard(CID, 1)
    assert party.heard[BOB] == [(ANN, Unwatch(["1"])), (ANN, NotWatched(["2"])), (ANN, Unwatch(["3"]))]
    assert party.heard[CID] == [(ANN, NotWatched(["2"]))]
    assert len(party.packets) == 2


async def test_a_packet_is_bounded_unless_it_is_one_message(party: Party) -> None:
    count = 2 * GATHERED_MAX + 1
    for number in range(count):
        party.ann.send(BOB, Unwatch([str(number)]))
    await party.until_heard(BOB, count)
    assert party.keys(BOB) == [str(number) for number in range(count)]
    assert len(party.packets) == 3
    large = "x" * (PACKET_BYTES_MAX // 3)
    for number in range(10):
        party.ann.send(CID, Unwatch([f"{number}{large}"]))
    party.ann.send(CID, Unwatch([4 * large]))
    await party.until_heard(CID, 11)
    assert [key[0] for key in party.keys(CID)[:-1]] == [str(number) for number in range(10)]
    assert len([size for size in party.packets if size > PACKET_BYTES_MAX]) == 1


async def test_what_was_said_last_is_sent_before_a_worker_leaves() -> None:
    party = Party()
    async with party.bob.joined(BOB):
        async with party.ann.joined(ANN):
            party.ann.send(BOB, Unwatch(["the last"]))
        await party.until_heard(BOB, 1)


async def test_a_message_that_cannot_be_handled_does_not_take_the_others_of_its_packet_along(
    party: Party, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: bytes, message: Unwatch) -> None:
        raise ZeroDivisionError

    party.bob.handle(Unwatch, fail)
    party.ann.send(BOB, Unwatch(["1"]))
    party.ann.send(BOB, NotWatched(["2"]))
    await party.until_heard(BOB, 1)
    assert party.keys(BOB) == ["2"]
    assert "Unwatch could not be handled" in caplog.text
