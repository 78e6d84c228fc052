"""One stream on one worker: its recent past, who has subscribed, and what a tick of it sends."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from actors.actor import Numbers
from actors.keys import slot_of
from protocol.delivery import Form, Pipe, Published, Sink
from protocol.notifications import Latest

RING_COUNT_MAX = 512
RING_BYTES_MAX = 512 << 10
"""Recent publications that a stream keeps for those who come back at once."""
TYPING_SHOWN_MAX = 5


class Hub(Protocol):
    """What a subscription asks of the hub that serves it."""

    def catch_up(self, subscription: "StreamSubscription") -> None: ...

    def unsubscribe(self, subscription: "StreamSubscription") -> None: ...


class StreamSubscription:
    """One sink's interest in one stream; see ``protocol.delivery.Subscription``."""

    __slots__ = (
        "_hub",
        "form",
        "live",
        "missed_volatile",
        "open",
        "pipe",
        "position",
        "sink",
        "stream",
        "watchers",
    )

    def __init__(self, hub: Hub, stream: "Stream", sink: Sink, position: int, watchers: int = 1) -> None:
        self._hub = hub
        self.stream = stream
        self.sink = sink
        self.form = sink.form
        self.pipe: Pipe
        """With the form, what a broadcast needs of the sink, nearer; from the start on."""
        self.watchers = watchers
        """The people it stands for: one, or those of another worker."""
        self.position = position
        """The last offset that was handed to the sink."""
        self.live = False
        self.missed_volatile = False
        """Whether counters went by while it was not live."""
        self.open = True

    def start(self) -> None:
        self.pipe = self.sink.pipe
        self.catch_up()

    def catch_up(self) -> None:
        """It is not where its stream is: bring it there."""
        self._hub.catch_up(self)

    def close(self) -> None:
        self._hub.unsubscribe(self)


class Stream:
    """The subscribers of one actor's stream, and its recent past."""

    def __init__(self, key: str, epoch: str, head: int, numbers: Numbers | None, views: tuple[int, int]) -> None:
        self.key = key
        self.slot = slot_of(key)
        self.epoch = epoch
        self.head = head
        """The last offset that was published here."""
        self.subscriptions: dict[StreamSubscription, None] = {}
        """In the order they came."""
        self.watchers = 0
        """People who watch, over all workers; of a relayed stream, those who watch here."""
        self.relayed = False
        """Whether its actor is on another worker, from where what it publishes comes."""
        self.shown: Latest | None = None
        """Of a relayed stream, what its owner showed last besides what it publishes."""
        self.numbers = numbers
        self.views = views
        self.typing: dict[int, tuple[str, float]] = {}
        self._ring: deque[Published] = deque()
        self._ring_bytes = 0
        self.gathered: list[Published] = []
        """What the next tick sends."""
        self.gathered_bytes = 0
        self.soon = False
        """Whether the next tick comes at the end of this turn of the loop."""
        self.riders: list[Published] = []
        """Volatile messages that the next tick sends behind it."""
        self.tick_s = 0.0
        self.sent_at = float("-inf")
        self.broadcasting = False
        self.counters_due = 0.0
        self.tick: asyncio.TimerHandle | asyncio.Handle | None = None
        self.counters_tick: asyncio.TimerHandle | None = None
        self.counters_free_at = float("-inf")
        """When counters may be sent again."""
        self.counters_sent = b""

    def append(self, item: Published) -> None:
        assert item.offset == self.head + 1
        self.head = item.offset
        self._ring.append(item)
        self._ring_bytes += len(item.data)
        while len(self._ring) > RING_COUNT_MAX or self._ring_bytes > RING_BYTES_MAX:
            self._ring_bytes -= len(self._ring.popleft().data)

    def jump(self, head: int) -> None:
        """The head is ``head``, by publications that are not here: the ring begins anew behind the hole."""
        self.head = head
        self._ring.clear()
        self._ring_bytes = 0
        self.gathered.clear()
        self.gathered_bytes = 0

    def after(self, position: int) -> list[Published] | None:
        """What follows ``position``, gathered or sent; None if the ring does not reach back so far."""
        missing = self.head - position
        if missing <= 0:
            return []
        if missing > len(self._ring):
            return None
        return list(self._ring)[-missing:]

    def typing_names(self) -> list[str]:
        return [name for name, _ in list(self.typing.values())[:TYPING_SHOWN_MAX]]

    def latest(self) -> Latest | None:
        """What it shows besides what it publishes."""
        if self.relayed:
            return self.shown
        return None if self.numbers is None else self.numbers.message(self.views, self.watchers)


class Round:
    """What one tick sends, and the frame of each form, built when the first socket wants it."""

    def __init__(self, stream: Stream, items: Sequence[Published], riders: Sequence[Published]) -> None:
        """``items`` move subscribers, ``riders`` are volatile; one of the two may be empty."""
        self._stream = stream
        self._items = items
        self._riders = riders
        self._frames: dict[Form, bytes] = {}
        self._rests: dict[Form, bytes] = {}
        self.volatile = bool(riders)
        first, last = (items[0].offset, items[-1].offset) if items else (None, None)
        self.base = -1 if first is None else first - 1
        """Where a subscriber stands who lacks exactly ``items``; nobody stands at -1."""
        self.last = last or 0

    def frame(self, form: Form) -> bytes:
        """For who stands at ``base``."""
        frame = self._frames.get(form)
        if frame is None:
            frame = self._frames[form] = self._encode(form, [*self._items, *self._riders])
        return frame

    def rest(self, form: Form) -> bytes:
        """For who has the items by another way, or needs none."""
        rest = self._rests.get(form)
        if rest is None:
            rest = self._rests[form] = self._encode(form, self._riders)
        return rest

    def _encode(self, form: Form, items: Sequence[Published]) -> bytes:
        return form.encode(self._stream.key, self._stream.epoch, items)
