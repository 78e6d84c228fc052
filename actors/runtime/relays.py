"""The streams of other workers' actors that have subscribers here, and ours that have subscribers elsewhere.

A worker with subscribers of a stream tells its owner so (*interest*), again every 5 s; the owner sends it every
publication once, and it serves all its subscribers from its own ring. The exchange is the whole of it: it begins the
relay, counts the watchers, finds what was lost, survives a new owner, and ends by silence.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw

from actors.actor import SYSTEM, ReadHead
from actors.keys import slot_of
from actors.runtime.activation import Activation, Submit
from actors.runtime.env import Env
from actors.runtime.hub import Hub
from actors.runtime.messages import Interest, NotWatched, Relayed, Unwatch, Watch, Watched, encode, process_of
from actors.runtime.metrics import Metrics
from actors.runtime.ownership import Ownership
from actors.runtime.peers import Peers
from actors.runtime.stream import Stream, StreamSubscription
from actors.runtime.tasks import Tasks
from protocol.delivery import Form, Pipe, Published, write_each
from protocol.errors import DomainError, Unavailable
from protocol.notifications import Latest

log = logging.getLogger("plaudit.relays")

INTEREST_S = 5.0
"""How often an interest is repeated."""
INTEREST_TTL_S = 15.0
"""An interest that was not repeated for so long is over."""
CHANGED_S = 0.25
"""So soon an owner is told that there are more or fewer watchers, or asked again for what it did not answer."""
FOLLOW_TIMEOUT_S = 5.0


class Moved(Unavailable):
    """The actor has just gone elsewhere, or come here: try again."""


class Followed:
    """A stream of another worker, as this one follows it."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.slot = slot_of(key)
        self.owner: tuple[UUID, int] | None = None
        """Who was asked last, with the epoch of its claim."""
        self.confirmed = False
        """Whether the owner has answered: from then on all it publishes comes here."""
        self.waiting: set[asyncio.Future[None]] = set()
        """Subscribers who wait for that."""


class RelayForm:
    """Publications as one message for another worker."""

    names_stream = True
    write = staticmethod(write_each)

    def encode(self, key: str, epoch: str, items: Sequence[Published]) -> bytes:
        return encode(Relayed(key, list(items)))


class RelaySink:
    """Another worker, as a stream's subscriber: it is written to over the bus, and never slow."""

    client = ""
    by = SYSTEM

    def __init__(self, process: bytes, form: Form, peers: Peers) -> None:
        self.process = process
        self.form = form
        self.pipe: Pipe = self
        self._peers = peers

    def write(self, data: bytes) -> int:
        self._peers.send(self.process, Raw(data))
        return 0

    def buffered_bytes(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None:
        """It ends with its interest."""


class Relay(StreamSubscription):
    """Another worker's subscription to a stream of ours."""

    __slots__ = ("_jump", "renewed_at")

    def __init__(
        self, hub: Hub, stream: Stream, sink: RelaySink, position: int, watchers: int, jump: Callable[["Relay"], None]
    ) -> None:
        super().__init__(hub, stream, sink, position, watchers)
        self._jump = jump
        self.renewed_at = 0.0

    def catch_up(self) -> None:
        """From the ring, or else not at all: its own subscribers then read from the store what each of them lacks."""
        items = self.stream.after(self.position)
        if items:
            self.sink.write(self.sink.form.encode(self.stream.key, self.stream.epoch, items))
        self.position = max(self.position, self.stream.head)
        self.live = self.open
        if items is None:
            self._jump(self)


class Relays:
    """One a worker."""

    def __init__(
        self,
        env: Env,
        metrics: Metrics,
        hub: Hub,
        ownership: Ownership,
        peers: Peers,
        *,
        submit: Submit,
        find: Callable[[str], Activation | None],
        epoch: Callable[[str], str],
    ) -> None:
        self._env = env
        self._metrics = metrics
        self._hub = hub
        self._ownership = ownership
        self._peers = peers
        self._submit = submit
        self._find = find
        self._epoch = epoch
        self._form = RelayForm()
        self._latest = msgspec.json.Decoder(Latest)
        self._followed: dict[str, Followed] = {}
        self._changed: set[str] = set()
        self._relays: dict[tuple[bytes, str], Relay] = {}
        self._beginning: dict[tuple[bytes, str], Interest] = {}
        """The latest interest of those whose relay waits for the actor."""
        self._tick: asyncio.TimerHandle | None = None
        self._tasks = Tasks()
        peers.handle(Watch, self._watch)
        peers.handle(Unwatch, self._unwatch)
        peers.handle(Watched, self._watched)
        peers.handle(NotWatched, self._not_watched)
        peers.handle(Relayed, self._relayed)
        peers.on_interrupted(self.resume_all)

    def start(self) -> None:
        self._tasks.spawn(self._keep_renewing(), "interests")

    async def stop(self) -> None:
        await self._tasks.stop()
        if self._tick is not None:
            self._tick.cancel()

    # -- following others' streams

    async def follow(self, key: str) -> Stream:
        """The stream of an actor on another worker, once its owner has said where it stands.

        Raises ``Unavailable``, or ``Moved`` if the actor has come here meanwhile.

        Whoever gets it subscribes to it in the same step, or calls ``unfollow``.
        """
        if self._ownership.ours(slot_of(key)):
            raise Moved()
        followed = self._followed.get(key)
        if followed is None:
            followed = self._followed[key] = Followed(key)
            self._metrics.relays.set(len(self._followed))
            self._ask([followed], restart=True)
        elif followed.confirmed and self._hub.stream(key) is None:
            # The last subscriber has left a moment ago.
            followed.confirmed = False
            self._ask([followed], restart=True)
        if not followed.confirmed:
            await self._confirmation(followed)
        stream = self._hub.stream(key)
        if stream is None:
            raise Unavailable()
        return stream

    async def _confirmation(self, followed: Followed) -> None:
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        followed.waiting.add(confirmed)
        try:
            async with asyncio.timeout(FOLLOW_TIMEOUT_S):
                await confirmed
        except TimeoutError:
            raise Unavailable() from None
        finally:
            followed.waiting.discard(confirmed)
            self.unfollow(followed.key)

    def unfollow(self, key: str) -> None:
        """Follow ``key`` no more, if nobody is subscribed or waits."""
        followed, stream = self._followed.get(key), self._hub.stream(key)
        if followed is None or followed.waiting or (stream is not None and stream.subscriptions):
            return
        asyncio.get_running_loop().call_soon(self._end, followed)

    def _end(self, followed: Followed) -> None:
        """Nobody has subscribed in the step that was left for it."""
        stream = self._hub.stream(followed.key)
        if self._followed.get(followed.key) is not followed or followed.waiting:
            return
        if stream is not None and stream.subscriptions:
            return
        self._drop(followed)
        if stream is not None and stream.relayed:
            self._hub.close(stream)

    def _drop(self, followed: Followed) -> None:
        if self._followed.pop(followed.key, None) is not None:
            self._metrics.relays.set(len(self._followed))
            if followed.owner is not None:
                self._peers.send(process_of(followed.owner[0]), Unwatch([followed.key]))

    def changed(self, key: str) -> None:
        """A relayed stream has more or fewer subscribers here, or none any more."""
        self._changed.add(key)
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(CHANGED_S, self._tell_changed)

    def _tell_changed(self) -> None:
        self._tick = None
        changed, self._changed = self._changed, set()
        still = []
        for key in changed:
            followed, stream = self._followed.get(key), self._hub.stream(key)
            if followed is None:
                continue
            if stream is not None or followed.waiting:
                still.append(followed)
            else:
                self._drop(followed)
        self._ask([each for each in still if each.confirmed], restart=False)
        self._ask([each for each in still if not each.confirmed], restart=True)

    def owners_changed(self) -> None:
        """Ask the new owner of each stream whose old one has gone; what came or went needs its relays no more."""
        for process, key in [
            relay for relay, each in self._relays.items() if not self._ownership.ours(each.stream.slot)
        ]:
            self._close(process, key)
            self._peers.send(process, NotWatched([key]))
        # Also those whose stream is still waited for.
        for key in [key for key, followed in self._followed.items() if self._ownership.ours(followed.slot)]:
            self._came(key)
        for stream in self._hub.streams():
            if not self._ownership.ours(stream.slot) and stream.key not in self._followed:
                self._followed[stream.key] = Followed(stream.key)
        self._metrics.relays.set(len(self._followed))
        moved = []
        for followed in self._followed.values():
            owner = self._ownership.owner(followed.slot)
            if owner is not None and owner != followed.owner:
                followed.confirmed = False
                moved.append(followed)
        self._ask(moved, restart=True)

    def _came(self, key: str) -> None:
        for future in self._followed.pop(key).waiting:
            if not future.done():
                future.set_exception(Moved())

    def resume_all(self) -> None:
        """Messages may have been lost: have everything sent again from where each stream stands here.

        Who follows ours does not know of our loss: say what they should have.
        """
        self._ask(list(self._followed.values()), restart=True)
        for relay in self._relays.values():
            self._confirm(relay, sent=True)

    def _ask(self, streams: Iterable[Followed], *, restart: bool) -> None:
        """Tell the owners of ``streams`` what is wanted, in one message each."""
        of_owner: dict[UUID, list[Interest]] = {}
        for followed in streams:
            followed.owner = self._ownership.owner(followed.slot)
            if followed.owner is None:
                self._ownership.look()
                continue
            stream = self._hub.stream(followed.key)
            watchers = 0 if stream is None else stream.watchers
            offset = None if stream is None else stream.head
            of_owner.setdefault(followed.owner[0], []).append(Interest(followed.key, watchers, offset, restart))
        for owner, interests in of_owner.items():
            self._peers.send(process_of(owner), Watch(interests))

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(INTEREST_S)
            confirmed = [followed for followed in self._followed.values() if followed.confirmed]
            others = [followed for followed in self._followed.values() if not followed.confirmed]
            self._ask(confirmed, restart=False)
            self._ask(others, restart=True)
            self._expire()

    def _followed_from(self, process: bytes, key: str) -> Followed | None:
        """What is followed under ``key``, if that process was asked for it."""
        followed = self._followed.get(key)
        if followed is None or followed.owner is None or process_of(followed.owner[0]) != process:
            return None
        return followed

    def _watched(self, process: bytes, message: Watched) -> None:
        followed = self._followed_from(process, message.key)
        if followed is None:
            return
        stream = self._hub.stream(message.key)
        if stream is None and not followed.waiting:
            # The last subscriber has left while this was under way: a stream made now would never end.
            return
        if followed.confirmed and stream is not None and message.offset > stream.head and message.sent:
            # It has sent what we have not got.
            self._metrics.gaps.inc()
            self._ask([followed], restart=True)
            return
        latest = self._latest.decode(message.latest)
        self._hub.follow(message.key, self._epoch(message.key), message.offset, latest)
        followed.confirmed = True
        for future in followed.waiting:
            if not future.done():
                future.set_result(None)

    def _not_watched(self, process: bytes, message: NotWatched) -> None:
        for key in message.keys:
            followed = self._followed_from(process, key)
            if followed is not None:
                # Asked again soon; at once if the table names another owner.
                followed.confirmed = False
                self.changed(key)
        self._ownership.look()

    def _relayed(self, process: bytes, message: Relayed) -> None:
        followed, stream = self._followed_from(process, message.key), self._hub.stream(message.key)
        if followed is None or stream is None or not stream.relayed or not followed.confirmed:
            return
        if not self._hub.relay(stream, message.items):
            followed.confirmed = False
            self._ask([followed], restart=True)

    # -- others who follow ours

    def _watch(self, process: bytes, message: Watch) -> None:
        elsewhere = []
        for interest in message.interests:
            relay = self._relays.get((process, interest.key))
            if not self._ownership.ours(slot_of(interest.key)):
                elsewhere.append(interest.key)
            elif relay is not None and relay.open and not interest.restart:
                relay.renewed_at = self._env.monotonic()
                self._hub.reweigh(relay, interest.watchers)
                self._confirm(relay, sent=True)
            else:
                self._begin(process, interest)
        if elsewhere:
            self._peers.send(process, NotWatched(elsewhere))

    def _begin(self, process: bytes, interest: Interest) -> None:
        """Subscribe the other worker between two commands, so that its position and what follows are one step.

        An interest that is repeated meanwhile takes the place of the one before.
        """
        which = process, interest.key
        waits = which in self._beginning
        self._beginning[which] = interest
        if waits:
            return
        try:
            self._submit(interest.key, ReadHead(), SYSTEM, None, partial(self._begun, which))
        except DomainError as error:
            self._begun(which, error)

    def _begun(self, which: tuple[bytes, str], answer: Any) -> None:
        """The actor says where its stream stands, or why it cannot."""
        interest = self._beginning.pop(which, None)
        if interest is None:
            # It was taken back.
            return
        process, key = which
        activation = self._find(key)
        if isinstance(answer, DomainError) or activation is None or activation.actor is None:
            self._peers.send(process, NotWatched([key]))
            return
        before = self._relays.get(which)
        if before is not None:
            before.close()
        stream = self._hub.open(key, self._epoch(key), answer, activation.durable, activation.actor.views())
        offset = answer if interest.offset is None else min(interest.offset, answer)
        position = offset if stream.after(offset) is not None else answer
        sink = RelaySink(process, self._form, self._peers)
        relay = Relay(self._hub, stream, sink, position, interest.watchers, partial(self._confirm, sent=False))
        relay.renewed_at = self._env.monotonic()
        self._relays[which] = relay
        self._hub.add(relay)
        self._confirm(relay, sent=False)
        relay.start()

    def _confirm(self, relay: Relay, *, sent: bool) -> None:
        latest = relay.stream.latest()
        assert isinstance(relay.sink, RelaySink)
        if latest is not None:
            data = msgspec.json.encode(latest)
            self._peers.send(relay.sink.process, Watched(relay.stream.key, relay.position, sent, data))

    def _unwatch(self, process: bytes, message: Unwatch) -> None:
        for key in message.keys:
            self._close(process, key)

    def _close(self, process: bytes, key: str) -> None:
        self._beginning.pop((process, key), None)
        relay = self._relays.pop((process, key), None)
        if relay is not None:
            relay.close()

    def _expire(self) -> None:
        long_ago = self._env.monotonic() - INTEREST_TTL_S
        for (process, key), relay in list(self._relays.items()):
            if relay.renewed_at < long_ago:
                self._close(process, key)
