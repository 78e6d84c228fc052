"""Durable messages between actors: in order for each sender's slot and receiver, one delivery at a time."""

import asyncio
from collections.abc import Callable
from typing import Any

from actors.runtime.activation import Delivery
from actors.runtime.committer import Rows
from actors.runtime.outbox import FRAME_MAX, RETRY_S, Outbox, decode_message, encode_message
from protocol.commands import EraseComments
from protocol.errors import Refused, Unavailable
from store.rows import OutboxRow

SLOT = 3


class Receivers:
    """Keeps the deliveries, to be answered by the test."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[str, list[int], Callable[[Any], None]]] = []
        self.acknowledged: list[int] = []
        self.outbox = Outbox(deliver=self._deliver, acknowledge=self._acknowledge, delivered=lambda count: None)

    def _deliver(self, receiver: str, delivery: Delivery, reply: Callable[[Any], None]) -> None:
        self.deliveries.append((receiver, [id for id, _ in delivery.messages], reply))

    def _acknowledge(self, slot: int, rows: Rows) -> None:
        assert slot == SLOT
        self.acknowledged += [identity[1] for _, identity in rows]

    def answer(self, answer: Any = None) -> list[int]:
        """Answer the oldest delivery; what was in it."""
        _, ids, reply = self.deliveries.pop(0)
        reply(answer)
        return ids


def message(id: int, receiver: str = "post:7") -> OutboxRow:
    command = EraseComments(post="7", account=1, comments=[1], words=False)
    return OutboxRow(slot=SLOT, id=id, sender="user:1", receiver=receiver, payload=encode_message(command))


def test_a_message_is_read_as_it_was_written() -> None:
    command = EraseComments(post="7", account=1, comments=[1, 2], words=True)

    assert decode_message(encode_message(command)) == command


async def test_the_next_delivery_to_a_receiver_waits_for_the_answer_to_the_last() -> None:
    receivers = Receivers()
    receivers.outbox.add([message(1)])
    receivers.outbox.add([message(2), message(3), message(4, "post:8")])

    assert [(receiver, ids) for receiver, ids, _ in receivers.deliveries] == [("post:7", [1]), ("post:8", [4])]
    assert receivers.answer() == [1]
    assert receivers.answer() == [4]
    assert receivers.answer() == [2, 3]
    assert receivers.acknowledged == [1, 4, 2, 3]
    assert receivers.deliveries == []


async def test_a_delivery_is_bounded() -> None:
    receivers = Receivers()
    receivers.outbox.add([message(1)])
    receivers.outbox.add([message(id) for id in range(2, FRAME_MAX + 10)])
    receivers.answer()

    assert len(receivers.answer()) == FRAME_MAX
    assert len(receivers.answer()) == 8


async def test_a_refusal_acknowledges() -> None:
    receivers = Receivers()
    receivers.outbox.add([message(1)])
    receivers.answer(Refused("post_not_found"))

    assert receivers.acknowledged == [1]


async def test_an_absent_receiver_gets_the_same_again_later() -> None:
    receivers = Receivers()
    receivers.outbox.add([message(1)])
    receivers.answer(Unavailable())
    receivers.outbox.add([message(2)])
    assert receivers.acknowledged == []

    assert receivers.answer() == [1, 2]
    assert receivers.acknowledged == [1, 2]


async def test_an_absent_receiver_is_asked_again_after_a_while() -> None:
    receivers = Receivers()
    receivers.outbox.add([message(1)])
    receivers.answer(Unavailable())
    assert receivers.deliveries == []
    await asyncio.sleep(RETRY_S)

    assert receivers.answer() == [1]


async def test_a_message_that_is_known_is_not_added_twice() -> None:
    receivers = Receivers()
    receivers.outbox.add([message(1), message(2)])
    receivers.outbox.add([message(1), message(2)])

    assert receivers.answer() == [1]
    assert receivers.answer() == [2]
    assert receivers.deliveries == []


async def test_what_is_read_again_is_acknowledged_with_what_was_on_its_way_after_it() -> None:
    receivers = Receivers()
    receivers.outbox.add([message(1), message(2)])
    receivers.answer()
    # That the first was handled is not written when the slot is claimed anew, and the second is on its way.
    receivers.acknowledged.clear()
    receivers.outbox.found(receivers.outbox.forget([SLOT]), [message(1), message(2)])
    receivers.answer()

    assert sorted(receivers.acknowledged) == [1, 2]
    assert receivers.deliveries == []


async def test_nothing_of_a_forgotten_slot_is_sent_before_its_messages_are_found() -> None:
    receivers = Receivers()
    forgotten = receivers.outbox.forget([SLOT])
    receivers.outbox.add([message(12)])
    assert receivers.deliveries == []
    receivers.outbox.found(forgotten, [message(10), message(11), message(12)])

    assert [receivers.answer() for _ in range(2)] == [[10], [11, 12]]
    assert receivers.deliveries == []


async def test_a_slot_that_is_lost_again_waits_for_the_later_reading() -> None:
    receivers = Receivers()
    first = receivers.outbox.forget([SLOT])
    second = receivers.outbox.forget([SLOT])
    receivers.outbox.add([message(12)])
    receivers.outbox.found(first, [message(10)])
    assert receivers.deliveries == []
    receivers.outbox.found(second, [message(10), message(11)])

    assert [receivers.answer() for _ in range(2)] == [[10], [11, 12]]


async def test_the_answer_to_a_delivery_of_a_slot_that_was_lost_acknowledges_nothing() -> None:
    receivers = Receivers()
    receivers.outbox.add([message(1)])
    receivers.outbox.forget([SLOT])
    receivers.answer()

    assert receivers.acknowledged == []
