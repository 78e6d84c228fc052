"""Delivers what streams publish to the sockets that subscribed here; never waits for any of them.

One encoding a publication, one frame a form and tick, the same bytes to every socket. A subscriber that is not where
the stream is (it resumes, or its socket is slow) is not written to by the broadcast: it is *behind*, keeps its
position, and catches up from the ring of recent publications or from the store, until it stands where the stream
stands.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from actors.actor import Numbers
from actors.runtime.draining import drained, write
from actors.runtime.env import Env
from actors.runtime.metrics import Metrics
from actors.runtime.past import PAGE_ROWS, Past
from actors.runtime.stream import Round, Stream, StreamSubscription
from actors.runtime.tasks import Tasks
from protocol.delivery import Form, Published, Sink
from protocol.errors import DomainError
from protocol.notifications import Latest
from protocol.views import TypingChanged
from store.base import StoreUnavailable

log = logging.getLogger("plaudit.hub")

TICK_MIN_S = 0.005
TICK_MAX_S = 0.05
"""A stream that is busy sends what has gathered at such intervals; a quiet one sends at once."""
ROUND_BYTES = 24 << 10
"""So much goes at once: to wait for more would save little, for then it is the bytes that cost."""
COUNTERS_TICK_S = 0.11
WATCHERS_TICK_S = 1.0
"""Counters are sent alone at most so often: after a write, and when only watchers or views have changed."""
COUNTERS_EARLY_S = 0.09
"""So much sooner they may ride behind a publication. With the tick it makes ten in any second, never more."""
COUNTERS_PATIENCE_S = 0.2
"""After a publication counters wait so long for the next one, rather than be sent alone."""
YIELD_EVERY = 256
"""Sockets written to before others get their turn."""
RECOVER_RETRY_S = 0.5
TYPING_S = 6.0
TYPING_MAX = 50


class Hub:
    """All streams that have subscribers on this worker."""

    def __init__(self, env: Env, metrics: Metrics, past: Past, *, relayed_changed: Callable[[str], None]) -> None:
        self._env = env
        self._metrics = metrics
        self._past = past
        self._relayed_changed = relayed_changed
        self._json = msgspec.json.Encoder()
        self._volatile = msgspec.json.Decoder(Latest | TypingChanged)
        self._streams: dict[str, Stream] = {}
        self._tasks = Tasks()

    # -- subscribing

    def stream(self, key: str) -> Stream | None:
        return self._streams.get(key)

    def streams(self) -> list[Stream]:
        """Those that somebody has subscribed to: here, or another worker."""
        return list(self._streams.values())

    def watchers(self, key: str) -> int:
        stream = self._streams.get(key)
        return 0 if stream is None else stream.watchers

    def open(self, key: str, epoch: str, head: int, numbers: Numbers | None, views: tuple[int, int]) -> Stream:
        """The stream of an actor on this worker, whose durable head is ``head``; made if nobody listened until now."""
        stream = self._made(key, epoch, head)
        stream.relayed, stream.shown = False, None
        stream.views = views
        self.resync(key, head, numbers)
        return stream

    def follow(self, key: str, epoch: str, head: int, shown: Latest) -> Stream:
        """The stream of an actor on another worker, from where everything beyond ``head`` will come."""
        stream = self._made(key, epoch, head)
        stream.relayed = True
        stream.numbers, stream.counters_sent = None, b""
        # Who is typing is known to the actor's worker from now on.
        stream.typing = {}
        if stream.shown is None or (shown != stream.shown and shown.version >= stream.shown.version):
            # A message with them was lost, or the actor was here when they were shown last.
            self._tell(stream, Published(None, self._json.encode(shown)))
            stream.shown = shown.lasting()
        self.resync(key, head, None)
        return stream

    def _made(self, key: str, epoch: str, head: int) -> Stream:
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = Stream(key, epoch, head, None, (0, 0))
            self._metrics.streams.inc()
        return stream

    def subscribe(self, stream: Stream, sink: Sink, position: int) -> StreamSubscription:
        """Note the interest; nothing is delivered until ``start``."""
        subscription = StreamSubscription(self, stream, sink, position)
        self.add(subscription)
        return subscription

    def add(self, subscription: StreamSubscription) -> None:
        stream = subscription.stream
        stream.subscriptions[subscription] = None
        stream.watchers += subscription.watchers
        self._metrics.subscriptions.inc()
        self._counters_changed(stream, WATCHERS_TICK_S)

    def reweigh(self, subscription: StreamSubscription, watchers: int) -> None:
        """The subscription stands for so many people now."""
        if subscription.open and subscription.watchers != watchers:
            subscription.stream.watchers += watchers - subscription.watchers
            subscription.watchers = watchers
            self._counters_changed(subscription.stream, WATCHERS_TICK_S)

    def unsubscribe(self, subscription: StreamSubscription) -> None:
        if not subscription.open:
            return
        subscription.open = subscription.live = False
        stream = subscription.stream
        stream.subscriptions.pop(subscription, None)
        stream.watchers -= subscription.watchers
        self._metrics.subscriptions.dec()
        if stream.subscriptions:
            self._counters_changed(stream, WATCHERS_TICK_S)
        else:
            self.close(stream)

    def close(self, stream: Stream) -> None:
        """Nobody subscribes to it here."""
        if self._streams.get(stream.key) is stream:
            del self._streams[stream.key]
            self._metrics.streams.dec()
            if stream.relayed:
                self._relayed_changed(stream.key)
        for timer in (stream.tick, stream.counters_tick):
            if timer is not None:
                timer.cancel()

    async def stop(self) -> None:
        await self._tasks.stop()

    # -- publishing

    def publish(self, key: str, offset: int, encode: Callable[[], bytes]) -> None:
        """A durable publication; in the order of offsets. Encoded only if somebody listens."""
        stream = self._streams.get(key)
        if stream is None or offset <= stream.head:
            return
        if offset != stream.head + 1:
            self.resync(key, offset, None)
            return
        self._publish(stream, Published(offset, encode()))

    def _publish(self, stream: Stream, item: Published) -> None:
        stream.append(item)
        stream.gathered.append(item)
        stream.gathered_bytes += len(item.data)
        self._schedule(stream)

    def relay(self, stream: Stream, items: Sequence[Published]) -> bool:
        """What the owner of a relayed stream has published; False if something is missing before it."""
        for item in items:
            if item.offset is None:
                self._relay_volatile(stream, item)
            elif item.offset == stream.head + 1:
                self._publish(stream, item)
            elif item.offset > stream.head:
                self._metrics.gaps.inc()
                return False
        return True

    def _relay_volatile(self, stream: Stream, item: Published) -> None:
        message = self._volatile.decode(item.data)
        if isinstance(message, TypingChanged):
            self._tell(stream, item)
        elif stream.shown is None or message.version >= stream.shown.version:
            stream.shown = message.lasting()
            self._tell(stream, item)

    def numbers(self, key: str, numbers: Numbers) -> None:
        """Durable counters; older ones than were seen are dropped."""
        stream = self._streams.get(key)
        if stream is None or (stream.numbers is not None and numbers.version < stream.numbers.version):
            return
        stream.numbers = numbers if stream.numbers is None else numbers.beyond(stream.numbers)
        self._counters_changed(stream, COUNTERS_TICK_S)

    def viewed(self, key: str, views: tuple[int, int]) -> None:
        """The volatile numbers of views and viewers."""
        stream = self._streams.get(key)
        if stream is not None and stream.views != views:
            stream.views = views
            self._counters_changed(stream, WATCHERS_TICK_S)

    def typing(self, key: str, person: int, name: str, on: bool) -> None:
        """Someone writes, or has stopped; forgotten by itself after some seconds."""
        stream = self._streams.get(key)
        if stream is None or (person not in stream.typing and (not on or len(stream.typing) >= TYPING_MAX)):
            return
        before = stream.typing_names()
        if on:
            stream.typing[person] = (name, self._env.monotonic() + TYPING_S)
            asyncio.get_running_loop().call_later(TYPING_S, self._typing_over, stream)
        else:
            del stream.typing[person]
        self._typing_changed(stream, before)

    def resync(self, key: str, head: int, numbers: Numbers | None) -> None:
        """More was committed than was published here (an unknown outcome, a new owner): everyone catches up."""
        stream = self._streams.get(key)
        if stream is None:
            return
        if numbers is not None:
            self.numbers(key, numbers)
        if head > stream.head:
            self._metrics.resyncs.inc()
            stream.jump(head)
            for subscription in list(stream.subscriptions):
                if subscription.live:
                    subscription.catch_up()

    # -- catching up

    def catch_up(self, subscription: StreamSubscription) -> None:
        """Bring a subscriber to where its stream is: at once from the ring if its socket is free, else by a task."""
        if not subscription.open:
            return
        subscription.live = False
        items = subscription.stream.after(subscription.position)
        if items is not None and len(items) <= PAGE_ROWS and subscription.sink.buffered_bytes() == 0:
            self._hand_over(subscription, items)
            subscription.live = subscription.open
            if subscription.missed_volatile:
                position = subscription.position
                self._tasks.spawn(
                    self._hand_over_counters(subscription, position), f"counters {subscription.stream.key}"
                )
        else:
            self._tasks.spawn(self._catch_up(subscription), f"catch up {subscription.stream.key}")

    async def _catch_up(self, subscription: StreamSubscription) -> None:
        stream, began_at = subscription.stream, subscription.position
        while await drained(subscription, self._env, self._metrics):
            items = stream.after(subscription.position)
            if items == []:
                subscription.live = True
                await self._hand_over_counters(subscription, began_at)
                return
            if items is not None:
                self._hand_over(subscription, items[:PAGE_ROWS])
            elif not await self._hand_over_missed(subscription):
                await asyncio.sleep(RECOVER_RETRY_S)

    async def _hand_over_missed(self, subscription: StreamSubscription) -> bool:
        """One page from the store; False if it cannot be had now."""
        try:
            missed = await self._past.missed(subscription.stream.key, subscription.position)
        except (StoreUnavailable, DomainError) as error:
            log.warning("a resume waits for the store: %s", error)
            return False
        if subscription.open:
            self._hand_over(subscription, missed.items)
            subscription.position = max(subscription.position, missed.through)
        return True

    async def _hand_over_counters(self, subscription: StreamSubscription, began_at: int) -> None:
        """Volatile messages were left out meanwhile; the latest counters make up for them."""
        stream, sink = subscription.stream, subscription.sink
        subscription.missed_volatile = False
        while subscription.open:
            try:
                latest = await self._past.latest(stream.key, began_at)
            except (StoreUnavailable, DomainError) as error:
                log.warning("the counters of a resume have to wait: %s", error)
                await asyncio.sleep(RECOVER_RETRY_S)
                continue
            if subscription.live:
                item = Published(None, self._json.encode(latest))
                sink.write(sink.form.encode(stream.key, stream.epoch, [item]))
            return

    def _hand_over(self, subscription: StreamSubscription, items: Sequence[Published]) -> None:
        if not items:
            return
        stream, sink = subscription.stream, subscription.sink
        sink.write(sink.form.encode(stream.key, stream.epoch, items))
        subscription.position = items[-1].offset or subscription.position

    # -- the broadcast

    def _schedule(self, stream: Stream) -> None:
        """Send at once if the stream is quiet, or if much has gathered; widen the tick as it heats.

        What is relayed has waited at its owner.
        """
        if stream.broadcasting:
            return
        if stream.gathered_bytes >= ROUND_BYTES:
            self._send_soon(stream)
        elif stream.tick is None:
            since = self._env.monotonic() - stream.sent_at
            if stream.relayed or since >= TICK_MAX_S:
                stream.tick_s = 0.0
                self._send_soon(stream)
            else:
                stream.tick_s = min(TICK_MAX_S, max(TICK_MIN_S, stream.tick_s * 2))
                after_s = max(0.0, stream.tick_s - since)
                stream.tick = asyncio.get_running_loop().call_later(after_s, self._send, stream)

    def _send_soon(self, stream: Stream) -> None:
        if stream.soon:
            return
        if stream.tick is not None:
            stream.tick.cancel()
        stream.soon = True
        stream.tick = asyncio.get_running_loop().call_soon(self._send, stream)

    def _send(self, stream: Stream) -> None:
        now = self._env.monotonic()
        if stream.counters_tick is not None and stream.counters_free_at - COUNTERS_EARLY_S <= now:
            stream.counters_tick.cancel()
            self._send_counters(stream)
        stream.tick, stream.soon = None, False
        items, stream.gathered, stream.gathered_bytes = stream.gathered, [], 0
        riders, stream.riders = stream.riders, []
        if items:
            stream.sent_at = now
        if items or riders:
            self._broadcast(stream, Round(stream, items, riders))

    def _broadcast(self, stream: Stream, round_: Round) -> None:
        """Hand a round to everyone who stands where it begins; to many in turns, for the others' sake."""
        subscriptions = list(stream.subscriptions)
        if len(subscriptions) <= YIELD_EVERY:
            self._deliver(subscriptions, round_)
            return
        stream.broadcasting = True
        self._tasks.spawn(self._broadcast_in_turns(stream, subscriptions, round_), f"broadcast {stream.key}")

    async def _broadcast_in_turns(
        self, stream: Stream, subscriptions: Sequence[StreamSubscription], round_: Round
    ) -> None:
        began = self._env.monotonic()
        try:
            for at in range(0, len(subscriptions), YIELD_EVERY):
                self._deliver(subscriptions[at : at + YIELD_EVERY], round_)
                await asyncio.sleep(0)
        finally:
            self._metrics.broadcast_s.observe(self._env.monotonic() - began)
            stream.broadcasting = False
            if stream.gathered or stream.riders:
                self._schedule(stream)

    def _deliver(self, subscriptions: Sequence[StreamSubscription], round_: Round) -> None:
        """The loop that all fan-out is: nothing in it is the same for all, and the form writes to all of its own."""
        groups: dict[Form, list[StreamSubscription]] = {}
        form, group = None, []
        delivered, base, last = 0, round_.base, round_.last
        for subscription in subscriptions:
            if subscription.position != base or not subscription.live:
                delivered += self._deliver_elsewhere(subscription, round_)
                continue
            if subscription.form is not form:
                form = subscription.form
                group = groups.setdefault(form, [])
            subscription.position = last
            group.append(subscription)
        for form, group in groups.items():
            self._write(form, group, round_.frame(form))
            delivered += len(group)
        self._metrics.deliveries.inc(delivered)

    def _write(self, form: Form, subscriptions: Sequence[StreamSubscription], frame: bytes) -> None:
        """To sockets of one form that stand at one place."""
        for place in write(form, [subscription.pipe for subscription in subscriptions], frame):
            self._fall_behind(subscriptions[place])

    def _deliver_elsewhere(self, subscription: StreamSubscription, round_: Round) -> bool:
        """To who does not stand where the round begins; whether anything was written."""
        if not subscription.live:
            subscription.missed_volatile |= round_.volatile
            return False
        if subscription.position < round_.last:
            subscription.catch_up()
        if not (round_.volatile and subscription.live):
            return False
        self._write(subscription.form, [subscription], round_.rest(subscription.form))
        return True

    def _fall_behind(self, subscription: StreamSubscription) -> None:
        """Its socket takes less than it is sent: it is written to no more until it has drained."""
        self._metrics.lagging.inc()
        subscription.catch_up()

    # -- what is volatile

    def _tell(self, stream: Stream, message: Published) -> None:
        """Send a volatile message: behind what the next tick publishes, or at once if there is none."""
        if stream.tick is None and not stream.broadcasting:
            self._broadcast(stream, Round(stream, [], [message]))
        else:
            stream.riders.append(message)

    def _counters_changed(self, stream: Stream, within_s: float) -> None:
        """Send the counters, at most every ``within_s`` seconds; the latest value only."""
        if stream.relayed:
            self._relayed_changed(stream.key)
            return
        now = self._env.monotonic()
        free_at = stream.counters_free_at + within_s - COUNTERS_TICK_S
        due = max(now, free_at, stream.sent_at + COUNTERS_PATIENCE_S)
        if stream.counters_tick is not None:
            if due >= stream.counters_due:
                return
            stream.counters_tick.cancel()
        self._schedule_counters(stream, due - now)

    def _schedule_counters(self, stream: Stream, after_s: float) -> None:
        stream.counters_due = self._env.monotonic() + after_s
        stream.counters_tick = asyncio.get_running_loop().call_later(after_s, self._counters_due, stream)

    def _counters_due(self, stream: Stream) -> None:
        """Send them, but for a moment in which something may be published that they can ride behind."""
        patience_s = stream.sent_at + COUNTERS_PATIENCE_S - self._env.monotonic()
        if stream.tick is None and patience_s > 0:
            self._schedule_counters(stream, patience_s)
        else:
            self._send_counters(stream)

    def _send_counters(self, stream: Stream) -> None:
        stream.counters_tick = None
        if stream.relayed or stream.numbers is None:
            return
        latest = self._json.encode(stream.latest())
        stream.numbers = stream.numbers.sent()
        # A commit may have changed what no counter shows: that people were told.
        if latest != stream.counters_sent:
            stream.counters_sent = latest
            stream.counters_free_at = max(self._env.monotonic(), stream.counters_free_at) + COUNTERS_TICK_S
            self._tell(stream, Published(None, latest))

    def _typing_over(self, stream: Stream) -> None:
        before, now = stream.typing_names(), self._env.monotonic()
        stream.typing = {person: entry for person, entry in stream.typing.items() if entry[1] > now}
        self._typing_changed(stream, before)

    def _typing_changed(self, stream: Stream, before: list[str]) -> None:
        names = stream.typing_names()
        if names != before:
            self._tell(stream, Published(None, self._json.encode(TypingChanged(people=names))))
