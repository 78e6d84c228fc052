"""The door to the actors of one worker: what the gateway asks, and what it is made of."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

from actors.actor import SYSTEM
from actors.encoding import Encoder
from actors.keys import OUTSIDE, reader_of, slot_of, user_key
from actors.policy import Policy
from actors.post import GATHERING
from actors.poststate import APPLAUSE
from actors.runtime.activation import Activation, Delivery, Envelope, Reply
from actors.runtime.alarms import Alarms
from actors.runtime.committer import Committer
from actors.runtime.directory import Directory, summary_view
from actors.runtime.env import Env, Ids
from actors.runtime.feeds import Feeds
from actors.runtime.finding import Finding
from actors.runtime.gateways import Gateways
from actors.runtime.hearing import Hearing
from actors.runtime.histories import PostHistory, UserHistory
from actors.runtime.hub import Hub
from actors.runtime.messages import AuthorChanged, Claimed, Leaving, Look, Released
from actors.runtime.metrics import Metrics
from actors.runtime.outbox import Outbox, encode_message
from actors.runtime.outside import Outside
from actors.runtime.ownership import Ownership
from actors.runtime.past import Past
from actors.runtime.peers import Peers
from actors.runtime.people import People
from actors.runtime.presence import encode_here, together
from actors.runtime.registry import Registry
from actors.runtime.relays import Relays
from actors.runtime.router import Router
from actors.runtime.streams import Streams, resolve
from actors.runtime.tasks import Tasks
from actors.runtime.timelines import Timelines
from actors.runtime.told import Told
from protocol.cluster import Worker
from protocol.commands import Command, Person, Typing
from protocol.cursor import Cursor
from protocol.delivery import Attached, Changed, Presence, Sink
from protocol.errors import DomainError, Refused, Unavailable
from protocol.timelines import NoteReads
from store.base import Store, StoreUnavailable
from store.bus import Bus
from store.exchange import Exchange
from store.rows import Author

log = logging.getLogger("plaudit.node")

START_PATIENCE_S = 5.0
"""For so long a start waits for the lease of a worker that ended badly."""
FLUSH_TIMEOUT_S = 2.0
HAND_OVER_TIMEOUT_S = 2.5
FIND_RETRY_S = 1.0
PRESENCE = "presence"


class Node:
    """One a worker process; it is the gateway's ``Backend``. Make it with ``running``."""

    def __init__(
        self,
        store: Store,
        env: Env,
        policy: Policy,
        metrics: Metrics,
        *,
        node: str,
        epoch: str,
        bus: Bus | None,
        exchange: Exchange | None,
        site_url: str,
    ) -> None:
        self._store = store
        self._env = env
        self._metrics = metrics
        self._label = node
        self._epoch = epoch
        self._closing = False
        self._tasks = Tasks()
        encoder = Encoder()
        self._peers = peers = Peers(bus, metrics)
        self._ownership = Ownership(
            store,
            env,
            metrics,
            node=node,
            alone=peers.alone,
            drain=self._drain,
            announce=peers.send_all,
            on_lost=self._slots_lost,
            on_gained=self._slots_gained,
            on_changed=self._owners_changed,
        )
        self._router = Router(env, metrics, self._ownership, peers, local=self._submit_here)
        self._committer = Committer(store, self._ownership, env, metrics, encode=encode_message)
        self._alarms = Alarms(store, self._ownership, env, ring=self._tell_actor, gathering=GATHERING)
        self._outbox = Outbox(
            deliver=self._deliver, acknowledge=self._committer.enqueue_rows, delivered=metrics.messages.inc
        )
        self._past = past = Past(
            {
                "post": PostHistory(store, encoder, ask=self._ask_for_nobody),
                "user": UserHistory(store.notifications, ask=self._ask_for_nobody),
            }
        )
        self._hub = Hub(env, metrics, past, relayed_changed=self._relayed_changed)
        self._feeds = Feeds(
            store,
            env,
            metrics,
            encoder,
            peers,
            epoch=self._stream_epoch("feed"),
            show=partial(summary_view, encoder, epoch=self._stream_epoch, watchers=self._hub.watchers),
        )
        self._registry = Registry(
            store,
            env,
            policy,
            metrics,
            ownership=self._ownership,
            committer=self._committer,
            hub=self._hub,
            encoder=encoder,
            stream_epoch=self._stream_epoch,
            alarm_set=self._alarms.note,
            messages_sent=self._outbox.add,
            tell_author=self._tell_author,
            saved=self._feeds.saved,
            report=partial(self._tell_actor, reply=_ignore),
            announces=exchange is not None,
        )
        self._outside = None
        if exchange is not None:
            self._outside = Outside(
                exchange, store, encoder, metrics, epoch=self._stream_epoch, site_url=site_url.rstrip("/")
            )
        self._relays = Relays(
            env,
            metrics,
            self._hub,
            self._ownership,
            peers,
            submit=self._submit_here,
            find=self._registry.find,
            epoch=self._stream_epoch,
        )
        self._streams = Streams(
            self._hub,
            past,
            metrics,
            ownership=self._ownership,
            relays=self._relays,
            submit=self.submit,
            find=self._registry.find,
            epoch=self._stream_epoch,
        )
        self._hearing = Hearing(env, peers, live=self._ownership.well)
        peers.handle(Claimed, lambda _, message: self._ownership.claimed(message))
        peers.handle(Released, lambda _, message: self._ownership.released(message))
        peers.handle(Leaving, lambda _, message: self._ownership.going(message))
        peers.handle(Look, lambda _, message: self._ownership.asked_to_look())
        peers.handle(AuthorChanged, lambda _, message: self._author_changed(message))
        peers.on_interrupted(self._ownership.look)
        peers.on_interrupted(self._registry.look_at_authors)
        gateways = Gateways(peers, live=self._ownership.live)
        gateways.on_asked(PRESENCE, self._present_here)
        directory = Directory(store, encoder, Ids(env), epoch=self._stream_epoch, watchers=self._hub.watchers)
        # The rest of the gateway's interface: the node is only where it is found.
        self.tell = gateways.tell
        self.gather = gateways.gather
        self.on_told = gateways.on_told
        self.on_asked = gateways.on_asked
        self.on_interrupted = peers.on_interrupted
        self.new_id = directory.new_id
        self.account_number = directory.account_number
        self.claim_names = directory.claim_names
        self.release_name = directory.release_name
        self.resolve = directory.resolve
        self.revoked_sessions = directory.revoked_sessions
        self.ended_accounts = directory.ended_accounts
        self.leases = directory.leases
        self.busiest = self._registry.busiest
        self.authors = directory.authors
        people = People(store.graph)
        timelines = Timelines(
            store,
            encoder,
            env,
            kinds=policy.reaction_kinds,
            epoch=self._stream_epoch,
            watchers=self._hub.watchers,
            note=self._note_reads,
        )
        self.people = people.page
        self.hidden_from = people.hidden_from
        self.timeline = timelines.timeline
        self.posts_of = timelines.posts_of
        self.suggestions = people.suggestions
        finding = Finding(store.finding, kinds=(*policy.reaction_kinds, APPLAUSE), show=timelines.show)
        self.listed = finding.listed
        self.bookmarks = finding.bookmarks
        self.bookmarked = finding.bookmarked
        self.search = finding.search
        self.posts = directory.posts
        self.submissions = self._outside
        self.notifications = Told(store.notifications, epoch=self._stream_epoch).page

    # -- life

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        store: Store,
        env: Env,
        policy: Policy,
        metrics: Metrics,
        *,
        node: str,
        bus: Bus | None = None,
        exchange: Exchange | None = None,
        site_url: str = "",
        replaces: bool = False,
    ) -> AsyncIterator["Node"]:
        """A node that owns its share of the slots; without a ``bus`` every slot.

        With an ``exchange`` other systems are told of what is published at the site at ``site_url``.

        Every worker that lives must be heard over the bus, except by one that ``replaces`` another: that began with all
        of them, and whoever is not heard now is cut off.

        On leaving, what is undurable is committed, views and snapshots are written, and the slots are given back.

        Raises:
            OwnedByAnother: There is no bus, and another worker holds slots.
            BusUnavailable, StoreUnavailable: They cannot be reached, or not all live workers over this bus.
        """
        meta = await store.meta()
        await store.warm()
        self = cls(
            *(store, env, policy, metrics), node=node, epoch=meta.epoch, bus=bus, exchange=exchange, site_url=site_url
        )
        async with self._peers.joined(self._ownership.process):
            if not replaces:
                await self._hearing.met(store)
            # Before the first slot is ours: what is lost or refused must not wait for somebody who is not there.
            self._committer.start(self._registry)
            try:
                await self._ownership.start(patience_s=START_PATIENCE_S)
                self._alarms.start()
                self._registry.start()
                self._relays.start()
                self._feeds.start()
                self._hearing.start()
                yield self
            finally:
                await self._stop()

    async def hand_over(self) -> None:
        """Give all slots to the other workers, while the sockets here are still served; a no-op if there are none."""
        if not self._ownership.heirs():
            return
        try:
            async with asyncio.timeout(HAND_OVER_TIMEOUT_S):
                await self._ownership.hand_over_all()
        except TimeoutError:
            log.warning("not all slots were handed over in time; the others take them when this worker has ended")

    async def _stop(self) -> None:
        self._closing = True
        self._outbox.forget(self._ownership.slots)
        await self._alarms.stop()
        if self._outside is not None:
            await self._outside.stop()
        await self._relays.stop()
        await self._feeds.stop()
        await self._hearing.stop()
        await self._hub.stop()
        await self._past.stop()
        self._registry.close()
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                await self._committer.flushed()
        except TimeoutError:
            log.warning("ended before everything was written; nothing unwritten was acknowledged")
        await self._tasks.stop()
        await self._committer.stop()
        await self._registry.stop()
        self._router.stop()
        await self._ownership.stop()

    def look(self) -> None:
        """Workers may have come or gone."""
        self._ownership.look()

    def ready(self) -> dict[str, str]:
        """What cannot serve, and why; empty when all can."""
        if self._closing:
            return {"server": "shutting down"}
        wrong = {}
        if not self._ownership.held():
            wrong["database"] = "the lease could not be renewed"
        if reason := self._peers.down():
            wrong["bus"] = reason
        elif unheard := self._hearing.unheard():
            wrong["bus"] = f"not heard, though they live: {unheard} workers; have all one Redis?"
        if orphans := self._ownership.orphans():
            wrong["slots"] = f"{orphans} slots are owned by nobody"
        return wrong

    def worker(self) -> Worker:
        """See ``Backend.worker``."""
        bus: Literal["none", "up", "down"] = "none" if self._peers.alone else "down" if self._peers.down() else "up"
        return Worker(str(self._ownership.worker), self._label, bus)

    # -- asking

    def submit(self, key: str, command: Command, by: Person, op: str | None, reply: Reply) -> None:
        """See ``Backend.submit``."""
        try:
            self._router.submit(key, command, by, op, reply)
        except DomainError as error:
            self._metrics.refused.labels(error.code).inc()
            reply(error)

    async def ask(self, key: str, command: Command, by: Person, op: str | None = None) -> Any:
        """See ``Backend.ask``."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.submit(key, command, by, op, partial(resolve, future))
        return await future

    def face(self, key: str) -> object | None:
        """See ``Backend.face``."""
        showing = self._showing(key)
        return None if showing is None else showing.face

    def shows(self, key: str, face: object, method: str) -> bool:
        """See ``Backend.shows``."""
        showing = self._showing(key)
        if showing is None or showing.face is not face or showing.gated:
            return False
        showing.used_at = self._env.monotonic()
        showing.commands += 1
        self._metrics.command(method)
        return True

    async def attach(self, key: str, sink: Sink, since: Cursor | None) -> Attached:
        """See ``Backend.attach``."""
        attach = self._streams.attach if reader_of(key) is None else self._feeds.attach
        return await attach(key, sink, since)

    async def changes(self, key: str, since: Cursor | None, limit: int) -> Changed:
        """See ``Backend.changes``."""
        changes = self._streams.changes if reader_of(key) is None else self._feeds.changes
        return await changes(key, since, limit)

    async def presence(self, key: str) -> Presence:
        """See ``Backend.presence``."""
        if reader_of(key) is not None:
            raise Refused("not_available", "nobody else is there")
        return together(await self.gather(PRESENCE, key.encode()))

    # -- inside

    def _submit_here(self, key: str, command: Command, by: Person, op: str | None, reply: Reply) -> None:
        """Put a command to an actor of this worker. Raises ``DomainError`` if it was not taken."""
        if isinstance(command, Typing):
            self._streams.typing(key, command, by, reply)
            return
        self._metrics.command(command.method)
        if self._closing or not self._ownership.held():
            raise Unavailable()
        envelope = Envelope(command, by, op, reply, self._env.monotonic(), _size_bytes(command))
        self._registry.submit(key, envelope)

    def _showing(self, key: str) -> Activation | None:
        """The activation of ``key`` if a read of it would be decided here and at once."""
        if self._closing or not self._ownership.held():
            return None
        showing = self._registry.showing(key)
        return showing if showing is not None and self._router.is_here(showing.slot) else None

    async def _ask_for_nobody(self, key: str, command: Command) -> Any:
        return await self.ask(key, command, SYSTEM)

    def _present_here(self, data: bytes) -> bytes:
        return encode_here(self._streams.sinks(data.decode()))

    def _stream_epoch(self, key: str) -> str:
        return f"{self._epoch}:{key}"

    def _tell_actor(self, key: str, command: Command, reply: Reply) -> None:
        """An alarm is due, or a job is done; heard by an actor of this worker, or not at all."""
        if not self._ownership.ours(slot_of(key)):
            # Whoever has the actor now reads its alarms from the store.
            reply(None)
            return
        try:
            self._submit_here(key, command, SYSTEM, None, reply)
        except DomainError as error:
            reply(error)

    def _deliver(self, receiver: str, delivery: Delivery, reply: Reply) -> None:
        if receiver == OUTSIDE:
            # Where there is no way to other systems, it waits in the store for somebody who has one.
            if self._outside is not None:
                self._outside.deliver(delivery, reply)
            return
        self.submit(receiver, delivery, SYSTEM, None, reply)

    def _tell_author(self, id: int, author: Author | None) -> None:
        if author is None:
            self._peers.send_all(AuthorChanged(id, "", None, None))
        else:
            self._peers.send_all(AuthorChanged(id, author.handle, author.name, author.url))

    def _author_changed(self, message: AuthorChanged) -> None:
        author = None if message.name is None else Author(message.id, message.handle, message.name, message.url)
        self._registry.author_changed(message.id, author)

    def _note_reads(self, reader: int, reads: int) -> None:
        self.submit(user_key(reader), NoteReads(reads=reads), SYSTEM, None, _ignore)

    # -- slots come and go

    def _owners_changed(self, changed: bool) -> None:
        self._router.owners_changed()
        if changed:
            self._relays.owners_changed()

    def _relayed_changed(self, key: str) -> None:
        self._relays.changed(key)

    async def _drain(self, slots: set[int]) -> list[str]:
        return await self._registry.drain(slots)

    def _slots_lost(self, slots: set[int], gone: bool) -> None:
        self._outbox.forget(slots)
        self._registry.slots_lost(slots, gone=gone)

    def _slots_gained(self, slots: set[int], left: Sequence[str]) -> None:
        self._registry.slots_gained(slots, left)
        self._alarms.look()
        self._tasks.spawn(self._find_messages(self._outbox.forget(slots)), "outbox")

    async def _find_messages(self, forgotten: dict[int, int]) -> None:
        """The unacknowledged messages of slots that have become ours."""
        while True:
            try:
                self._outbox.found(forgotten, await self._store.outbox(list(forgotten)))
                return
            except StoreUnavailable as error:
                log.warning("messages not read: %s", error)
                await asyncio.sleep(FIND_RETRY_S)


def _ignore(answer: Any) -> None:
    """Nobody waits for it."""


def _size_bytes(command: Command) -> int:
    """About how much the command keeps in memory until it is durable."""
    body = getattr(command, "body", None)
    return 256 + (len(body) if isinstance(body, str) else 0)
