"""Delivers durable messages between actors: at least once, in order per sender's slot and receiver."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from actors.runtime.activation import Delivery, Reply
from protocol.commands import Command, EraseComments
from protocol.errors import Overloaded, Unavailable
from protocol.exchange import PostAnnounced
from protocol.graph import DropFollow, FollowerGained, FollowerLost
from protocol.notifications import ForgetPerson, Notify, TakeBack
from protocol.timelines import PostPublished, PostWithdrawn
from store.rows import OutboxRow, Row

log = logging.getLogger("plaudit.outbox")

SENDABLE: dict[str, type[Command]] = {
    kind.method: kind
    for kind in (
        *(EraseComments, FollowerGained, FollowerLost, DropFollow, PostPublished, PostWithdrawn),
        *(Notify, TakeBack, ForgetPerson, PostAnnounced),
    )
}
"""The commands that one actor may send another, or other systems, by method."""
RETRY_S = 1.0
FRAME_MAX = 100
"""Messages in one delivery."""


def encode_message(command: Command) -> bytes:
    assert command.method in SENDABLE, command.method
    return msgspec.msgpack.encode((command.method, command))


def decode_message(payload: bytes) -> Command:
    method, body = msgspec.msgpack.decode(payload, type=tuple[str, msgspec.Raw])
    return msgspec.msgpack.decode(body, type=SENDABLE[method])


class Deliver(Protocol):
    def __call__(self, receiver: str, delivery: Delivery, reply: Reply) -> None: ...


class Outbox:
    """One a worker. One delivery in flight per (slot, receiver), with what is pending; the next after its answer."""

    def __init__(
        self,
        *,
        deliver: Deliver,
        acknowledge: Callable[[int, dict[tuple[type[Row], tuple[Any, ...]], Row | None]], None],
        delivered: Callable[[int], None],
    ) -> None:
        self._deliver = deliver
        self._acknowledge = acknowledge
        self._delivered = delivered
        self._pending: dict[tuple[int, str], deque[OutboxRow]] = {}
        self._in_flight: set[tuple[int, str]] = set()
        self._unread: dict[int, list[OutboxRow]] = {}
        """Slots whose messages are to be read from the store, and what they sent meanwhile."""
        self._times_forgotten: Counter[int] = Counter()

    def add(self, rows: Iterable[OutboxRow]) -> None:
        """Messages that are durable now, by rising id within a slot; those known already are passed over."""
        for row in rows:
            if row.slot in self._unread:
                # If it overtook an older one, the receiver's mark would pass that one over for ever.
                self._unread[row.slot].append(row)
                continue
            lane = (row.slot, row.receiver)
            pending = self._pending.setdefault(lane, deque())
            if not pending or row.id > pending[-1].id:
                pending.append(row)
            self._send(lane)

    def forget(self, slots: Iterable[int]) -> dict[int, int]:
        """The slots are not ours, or not any more what we know of them; nothing of them is sent until ``found``.

        Returns what ``found`` takes.
        """
        lost = set(slots)
        for lane in [lane for lane in self._pending if lane[0] in lost]:
            del self._pending[lane]
        for slot in lost:
            self._unread.setdefault(slot, [])
            self._times_forgotten[slot] += 1
        return {slot: self._times_forgotten[slot] for slot in lost}

    def found(self, forgotten: dict[int, int], rows: Iterable[OutboxRow]) -> None:
        """``rows`` is what the store holds of ``forgotten``; a slot that was lost again since waits for the next."""
        read = {slot for slot, times in forgotten.items() if self._times_forgotten[slot] == times}
        sent = [row for slot in read for row in self._unread.pop(slot, ())]
        self.add(sorted((*(row for row in rows if row.slot in read), *sent), key=lambda row: row.id))

    def _send(self, lane: tuple[int, str]) -> None:
        pending = self._pending.get(lane)
        if not pending or lane in self._in_flight:
            return
        rows = [row for row, _ in zip(pending, range(FRAME_MAX), strict=False)]
        delivery = Delivery(slot=lane[0], messages=tuple((row.id, decode_message(row.payload)) for row in rows))
        self._in_flight.add(lane)
        self._deliver(lane[1], delivery, lambda answer: self._answered(lane, rows, answer))

    def _answered(self, lane: tuple[int, str], rows: Sequence[OutboxRow], answer: Any) -> None:
        self._in_flight.discard(lane)
        if isinstance(answer, Unavailable | Overloaded):
            asyncio.get_running_loop().call_later(RETRY_S, self._send, lane)
            return
        self._delivered(len(rows))
        pending = self._pending.get(lane)
        if pending is None:
            return
        # Also what was handled before and read again, because its acknowledgement was lost.
        handled = list(rows)
        while pending and pending[0].id <= rows[-1].id:
            handled.append(pending.popleft())
        if not pending:
            del self._pending[lane]
        self._acknowledge(lane[0], {(OutboxRow, row.identity()): None for row in handled})
        self._send(lane)
