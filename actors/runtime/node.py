"""The door to the actors of one worker: finds, loads, asks, puts away. It is the gateway's ``Backend``."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Literal

from msgspec import json

from actors.actor import (
    AccountSaved,
    Actor,
    CommentsNeeded,
    Fetch,
    Need,
    ReadHead,
    RingAlarm,
    WritingsNeeded,
)
from actors.encoding import Encoder, author_view
from actors.keys import parse_key, post_key, slot_of
from actors.policy import Policy
from actors.post import PostActor
from actors.runtime.activation import (
    MAILBOX_AGE_S,
    PURGE_ALARM,
    SNAPSHOT_ROWS,
    Activation,
    Delivery,
    Envelope,
    Outcome,
    Phase,
    Taken,
)
from actors.runtime.alarms import Alarms
from actors.runtime.committer import Committer
from actors.runtime.env import Env, Ids
from actors.runtime.hub import Hub, Missed
from actors.runtime.metrics import Metrics
from actors.runtime.outbox import Outbox, encode_message
from actors.runtime.ownership import Ownership
from actors.user import UserActor
from protocol.commands import Command, Person, ReadPost, Typing
from protocol.cursor import Cursor
from protocol.delivery import Attached, Published, Sink
from protocol.errors import DomainError, Overloaded, Refused, Unavailable
from protocol.views import Ack, Counters, PostView
from protocol.views import Author as AuthorView
from store.base import Author, Changes, Loaded, PostSummary, Store, StoreUnavailable, WrittenComment
from store.rows import AlarmRow, OutboxRow, SnapshotRow

log = logging.getLogger("plaudit.node")

SYSTEM = Person(id=0, handle="", name="", role="admin")
"""In whose name actors ask each other, and alarms ring."""
IDLE_S = 60.0
"""An actor that nobody asked or watched for so long is put away."""
RESIDENT_MAX = 20_000
SWEEP_S = 2.0
"""How often idle actors are looked for, and views flushed."""
PAGE_ROWS = 500
PAGE_BYTES = 256 << 10
ENCODED_AT_ONCE = 32
"""Comments rendered before others get their turn."""
START_PATIENCE_S = 5.0
"""For so long a start waits for the lease of a worker that ended badly."""


class Node:
    """One a worker process. Make it with ``running``."""

    def __init__(self, store: Store, env: Env, policy: Policy, metrics: Metrics, *, node: str, epoch: str) -> None:
        self._store = store
        self._env = env
        self._policy = policy
        self._metrics = metrics
        self._epoch = epoch
        self._ids = Ids(env)
        self._encoder = Encoder()
        self._activations: dict[str, Activation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._ownership = Ownership(store, env, node=node, on_lost=self._slots_lost)
        self._committer = Committer(store, self._ownership, env, metrics, encode=encode_message)
        self._hub = Hub(env, metrics, read_missed=self._read_missed)
        self._alarms = Alarms(store, self._ownership, env, ring=self._ring)
        self._outbox = Outbox(
            deliver=self._deliver, acknowledge=self._committer.enqueue_rows, delivered=metrics.messages.inc
        )

    # -- life

    @classmethod
    @asynccontextmanager
    async def running(
        cls, store: Store, env: Env, policy: Policy, metrics: Metrics, *, node: str
    ) -> AsyncIterator["Node"]:
        """A node that owns every slot. Raises ``OwnedByAnother`` or ``StoreUnavailable``.

        On leaving, what is undurable is committed, views and snapshots are written, and the slots are given back.
        """
        meta = await store.meta()
        self = cls(store, env, policy, metrics, node=node, epoch=meta.epoch)
        await self._ownership.start(patience_s=START_PATIENCE_S)
        self._committer.start(self)
        self._alarms.start()
        self._spawn(self._sweep(), "sweep")
        try:
            self._outbox.add(await store.outbox(list(self._ownership.slots)))
            yield self
        finally:
            await self._stop()

    async def _stop(self) -> None:
        self._closing = True
        await self._alarms.stop()
        await self._hub.stop()
        for activation in list(self._activations.values()):
            self._put_down(activation)
        try:
            async with asyncio.timeout(2.0):
                await self._committer.flushed()
        except TimeoutError:
            log.warning("ended before everything was written; nothing unwritten was acknowledged")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._committer.stop()
        for activation in list(self._activations.values()):
            self.drop(activation, "shutdown")
        await self._ownership.stop()

    def ready(self) -> dict[str, str]:
        """What cannot serve, and why; empty when all can."""
        if self._closing:
            return {"server": "shutting down"}
        if not self._ownership.held():
            return {"database": "the lease could not be renewed"}
        if missing := len(self._ownership.missing()):
            return {"slots": f"{missing} slots are not owned"}
        return {}

    # -- asking

    def submit(self, key: str, command: Command, by: Person, op: str | None, reply: Callable[[Any], None]) -> None:
        self._metrics.command(command.method)
        envelope = Envelope(command, by, op, reply, self._env.monotonic(), _size(command))
        try:
            if isinstance(command, Typing):
                envelope.command = ReadHead()
                envelope.reply = partial(self._typed, key, command, by, reply)
            self._submit(key, envelope)
        except DomainError as error:
            self._reply(envelope, error)

    async def ask(self, key: str, command: Command, by: Person, op: str | None = None) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.submit(key, command, by, op, partial(_resolve, future))
        return await future

    def _submit(self, key: str, envelope: Envelope) -> None:
        if self._closing or not self._ownership.held():
            raise Unavailable()
        if envelope.command.writes and self._committer.overloaded():
            raise Overloaded()
        activation = self._activations.get(key) or self._activate(key)
        activation.used_at = envelope.at
        if activation.phase is not Phase.READY or activation.mailbox:
            activation.post(envelope)
        else:
            self._handle(activation, envelope)

    def _handle(self, activation: Activation, envelope: Envelope) -> None:
        """Decide, or first have read what the decision needs."""
        assert activation.actor is not None
        need = activation.actor.needs(envelope.command)
        if need is None:
            self.decide(activation, envelope)
            return
        activation.phase = Phase.READING
        activation.mailbox.appendleft(envelope)
        self._spawn(self._read_and_drain(activation, need), f"read {activation.key}")

    def decide(self, activation: Activation, envelope: Envelope) -> None:
        now = self._env.clock()
        assert activation.actor is not None
        activation.actor.watchers = self._hub.watchers(activation.key)
        if isinstance(envelope.command, RingAlarm) and not self._ring_in_time(activation, envelope, now):
            return
        outcome, free = activation.handle(envelope, now, self._policy.operation_ttl_s * 1000)
        if free:
            self._open(activation, outcome)
        elif activation.dirty:
            self._committer.enqueue(activation, envelope.size_bytes)

    def _ring_in_time(self, activation: Activation, envelope: Envelope, now: float) -> bool:
        """Whether the alarm is one for the actor; the runtime's own is handled here, an old one is over."""
        assert isinstance(envelope.command, RingAlarm)
        if not activation.alarm_due(envelope.command.name, now):
            envelope.reply(None)
            return False
        self._metrics.alarms.inc()
        if envelope.command.name != PURGE_ALARM:
            return True
        activation.purge(now, self._policy.operation_ttl_s * 1000)
        if activation.dirty:
            self._committer.enqueue(activation)
        envelope.reply(None)
        return False

    # -- after the gate

    def durable(self, activation: Activation, taken: Taken, outbox: Sequence[OutboxRow]) -> None:
        """What was taken is stored: publish and answer, in the order of the commands."""
        if activation.phase is Phase.GONE:
            return
        for outcome in activation.landed(taken):
            self._open(activation, outcome)
        if taken.numbers is not None:
            self._hub.numbers(activation.key, taken.numbers)
        for row in taken.rows.values():
            if isinstance(row, AlarmRow):
                self._alarms.note(row)
        self._outbox.add(outbox)
        if activation.rows_since_snapshot >= SNAPSHOT_ROWS:
            self._write_snapshot(activation)
        if activation.dirty:
            self._committer.enqueue(activation)

    def _open(self, activation: Activation, outcome: Outcome) -> None:
        """The gate is open for one envelope."""
        for publication in outcome.publications:
            self._hub.publish(activation.key, publication.offset, publication.encode)
        for event in outcome.events:
            if isinstance(event, AccountSaved):
                self._author_changed(event)
        if activation.views_flush_due:
            assert activation.actor is not None
            self._hub.viewed(activation.key, activation.actor.views())
        self._metrics.gate_s.observe(self._env.monotonic() - outcome.envelope.at)
        if isinstance(outcome.answer, Fetch):
            self._spawn(self._fetch(activation, outcome.envelope, outcome.answer), f"fetch {activation.key}")
        else:
            self._reply(outcome.envelope, outcome.answer)

    def _reply(self, envelope: Envelope, answer: Any) -> None:
        if isinstance(answer, DomainError):
            self._metrics.refused.labels(answer.code).inc()
        try:
            envelope.reply(answer)
        except Exception:
            log.exception("a reply could not be given")

    async def _fetch(self, activation: Activation, envelope: Envelope, fetch: Fetch) -> None:
        """Read the texts that an answer lacks, and complete it."""
        _, post_id = parse_key(activation.key)
        try:
            written = await self._store.comments(post_id, fetch.ids)
            await self._render(written)
            answer = fetch.finish({comment.comment.id: comment for comment in written})
        except StoreUnavailable:
            answer = Unavailable()
        except DomainError as error:
            answer = error
        self._reply(envelope, answer)

    async def _render(self, written: Sequence[WrittenComment]) -> None:
        """Encode ahead what is about to be sent, some at a time: rendering is the one costly thing here."""
        for at, comment in enumerate(written):
            self._encoder.comment(*comment)
            if at % ENCODED_AT_ONCE == ENCODED_AT_ONCE - 1:
                await asyncio.sleep(0)

    def _author_changed(self, event: AccountSaved) -> None:
        row = event.row
        author = Author(row.id, row.handle, row.name, row.url)
        for activation in self._activations.values():
            if activation.actor is not None:
                activation.actor.author_changed(author)

    # -- activation

    def _activate(self, key: str) -> Activation:
        parse_key(key)
        activation = self._activations[key] = Activation(key, slot_of(key))
        self._metrics.resident.set(len(self._activations))
        self._spawn(self._load_and_drain(activation), f"load {key}")
        return activation

    async def _load_and_drain(self, activation: Activation) -> None:
        try:
            async with asyncio.timeout(MAILBOX_AGE_S):
                await self._load(activation)
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("%s not loaded: %s", activation.key, error or "its slot is not ours")
            self.drop(activation, "not loaded")
            return
        except Exception:
            self.drop(activation, "defect")
            raise
        if activation.phase is Phase.LOADING:
            self._opened(activation)

    async def _load(self, activation: Activation) -> None:
        """Read the actor while its slot is ours: claimed before, and by the same claim after."""
        began = self._env.monotonic()
        kind, number = parse_key(activation.key)
        while True:
            claim = await self._ownership.owned(activation.slot)
            actor, loaded = await (self._load_post(number) if kind == "post" else self._load_user(number))
            now = self._ownership.slots.get(activation.slot)
            if now is not None and now.epoch == claim.epoch:
                break
        activation.loaded(actor, loaded, claim.epoch)
        self._metrics.activations.inc()
        self._metrics.activation_s.observe(self._env.monotonic() - began)

    async def _load_post(self, post_id: int) -> tuple[Actor, Loaded]:
        loaded = await self._store.load_post(post_id)
        actor = PostActor.load(
            post_id, loaded, policy=self._policy, encoder=self._encoder, epoch=self._stream_epoch(post_key(post_id))
        )
        return actor, loaded

    async def _load_user(self, account_id: int) -> tuple[Actor, Loaded]:
        loaded = await self._store.load_user(account_id)
        return UserActor.load(account_id, loaded, policy=self._policy), loaded

    def _opened(self, activation: Activation) -> None:
        """The activation has its state: take the mailbox, and bring its stream to where the store is."""
        activation.phase = Phase.READY
        actor = activation.actor
        assert actor is not None
        stream = self._hub.stream(activation.key)
        if stream is not None:
            self._hub.resync(activation.key, actor.head, activation.durable)
        self._drain(activation)

    def _drain(self, activation: Activation) -> None:
        while activation.mailbox and activation.phase is Phase.READY:
            envelope = activation.mailbox.popleft()
            if self._env.monotonic() - envelope.at > MAILBOX_AGE_S:
                self._reply(envelope, Overloaded("the command waited too long"))
            else:
                self._handle(activation, envelope)
        if activation.actor is not None and not activation.actor.exists and activation.settled:
            self._forget(activation)

    async def _read_and_drain(self, activation: Activation, need: Need) -> None:
        """Read what the first command of the mailbox needs, then go on."""
        assert activation.actor is not None
        try:
            match need:
                case CommentsNeeded(ids):
                    _, post_id = parse_key(activation.key)
                    activation.actor.provide_comments(await self._store.comments(post_id, ids))
                case WritingsNeeded(account_id, limit):
                    writings = await self._store.comments_of(account_id, after=(0, 0), limit=limit)
                    activation.actor.provide_writings(writings)
        except StoreUnavailable:
            if activation.phase is Phase.READING:
                activation.phase = Phase.READY
                self._reply(activation.mailbox.popleft(), Unavailable())
                self._drain(activation)
            return
        if activation.phase is Phase.READING:
            activation.phase = Phase.READY
            envelope = activation.mailbox.popleft()
            self.decide(activation, envelope)
            self._drain(activation)

    # -- losing and putting away

    def drop(self, activation: Activation, cause: str) -> None:
        if activation.phase is Phase.GONE:
            return
        self._forget(activation)
        self._metrics.dropped.labels(cause).inc()
        for envelope in activation.abandon():
            self._reply(envelope, Unavailable())
        if self._hub.stream(activation.key) is not None and not self._closing:
            # Subscribers wait for what may have been committed: begin anew, which catches them up.
            self._spawn(self._revive(activation.key), f"revive {activation.key}")

    async def _revive(self, key: str) -> None:
        await asyncio.sleep(0.1)
        if self._hub.stream(key) is not None and key not in self._activations:
            self._activate(key)

    async def reload(self, activation: Activation) -> Activation | None:
        if activation.phase is Phase.GONE:
            return None
        mailbox, activation.mailbox = activation.mailbox, deque()
        activation.abandon()
        activation.phase = Phase.GONE
        fresh = self._activations[activation.key] = Activation(activation.key, activation.slot)
        fresh.mailbox = mailbox
        try:
            async with asyncio.timeout(MAILBOX_AGE_S):
                await self._load(fresh)
        except (StoreUnavailable, TimeoutError):
            self.drop(fresh, "not loaded")
            return None
        return fresh if fresh.phase is Phase.LOADING else None

    def reopen(self, activation: Activation) -> None:
        claim = self._ownership.slots.get(activation.slot)
        if claim is None or claim.epoch != activation.epoch:
            self.drop(activation, "slot lost")
        elif activation.phase is Phase.LOADING:
            self._opened(activation)

    def _slots_lost(self, slots: Iterable[int]) -> None:
        lost = set(slots)
        self._outbox.forget(lost)
        for activation in list(self._activations.values()):
            if activation.slot in lost and activation.phase is not Phase.LOADING:
                self.drop(activation, "slot lost")
        self._spawn(self._find_messages(lost), "outbox")

    async def _find_messages(self, slots: set[int]) -> None:
        """Once the slots are ours again: their unacknowledged messages."""
        for slot in slots:
            await self._ownership.owned(slot)
        try:
            self._outbox.add(await self._store.outbox(list(slots)))
        except StoreUnavailable as error:
            log.warning("messages not read: %s", error)
            self._spawn(self._find_messages(slots), "outbox")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = self._env.monotonic()
            crowded = len(self._activations) - RESIDENT_MAX
            self._metrics.mailbox.set(sum(len(activation.mailbox) for activation in self._activations.values()))
            by_use = sorted(self._activations.values(), key=lambda activation: activation.used_at)
            for at, activation in enumerate(by_use):
                if activation.phase is not Phase.READY:
                    continue
                self._flush_views(activation)
                idle = now - activation.used_at > IDLE_S or at < crowded
                if idle and self._hub.stream(activation.key) is None:
                    self._put_down(activation)
                    if activation.settled:
                        self._forget(activation)

    def _put_down(self, activation: Activation) -> None:
        """Have written what an activation that is to leave holds besides its rows."""
        if activation.phase is Phase.READY:
            self._flush_views(activation)
            if activation.rows_since_snapshot >= SNAPSHOT_ROWS // 20:
                self._write_snapshot(activation)

    def _flush_views(self, activation: Activation) -> None:
        if activation.views_flush_due and activation.actor is not None:
            activation.views_flush_due = False
            row = activation.actor.views_row()
            if row is not None:
                activation.write(row)
                self._committer.enqueue(activation)

    def _write_snapshot(self, activation: Activation) -> None:
        """With the next commit, which it is exact for."""
        actor = activation.actor
        data = actor.snapshot() if actor is not None else None
        activation.rows_since_snapshot = 0
        if actor is not None and data is not None:
            activation.write(SnapshotRow(actor=activation.key, version=actor.version, head=actor.head, data=data))
            self._committer.enqueue(activation)

    def _forget(self, activation: Activation) -> None:
        if self._activations.get(activation.key) is activation:
            del self._activations[activation.key]
            self._metrics.resident.set(len(self._activations))
        if activation.settled:
            activation.phase = Phase.GONE

    # -- streams

    async def attach(self, key: str, sink: Sink, since: Cursor | None) -> Attached:
        """Subscribe between two commands: the position and what follows it are decided in one step."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        _, number = parse_key(key)

        def register(answer: Any) -> None:
            if isinstance(answer, DomainError) or future.done():
                _resolve(future, answer)
                return
            activation = self._activations.get(key)
            if activation is None or activation.actor is None:
                _resolve(future, Unavailable())
                return
            stream = self._hub.open(key, self._stream_epoch(key), answer, activation.durable, activation.actor.views())
            known = since is not None and since.epoch == stream.epoch and since.offset <= answer
            position = since.offset if known and since is not None else answer
            future.set_result((self._hub.subscribe(stream, sink, position), known))

        self.submit(key, ReadHead(), sink.by, None, register)
        subscription, known = await future
        stream = subscription.stream
        items: Sequence[Published] = ()
        if since is not None:
            self._metrics.recoveries.labels("recovered" if known else "reload").inc()
        from_offset = subscription.position
        if known and subscription.position < stream.head:
            try:
                missed = await self._missed(stream.key, stream.after(subscription.position), subscription.position)
            except StoreUnavailable:
                subscription.close()
                raise Unavailable() from None
            items = missed.items
            subscription.position = missed.through
        counters = json.encode(stream.counters())
        return Attached(subscription, stream.epoch, from_offset, known, items, counters)

    async def changes(self, key: str, since: Cursor | None, limit: int) -> tuple[list[Published], Cursor, bool, bool]:
        _, number = parse_key(key)
        head = await self.ask(key, ReadHead(), SYSTEM)
        epoch = self._stream_epoch(key)
        if since is None or since.epoch != epoch or since.offset > head:
            return [], Cursor(epoch, head), False, False
        try:
            changes = await self._store.changes(number, since.offset, rows_max=limit, bytes_max=PAGE_BYTES)
        except StoreUnavailable:
            raise Unavailable() from None
        items = await self._encode_changes(key, changes)
        return items, Cursor(epoch, changes.through), True, changes.through < changes.head

    def presence(self, key: str) -> list[Sink]:
        stream = self._hub.stream(key)
        return [] if stream is None else [subscription.sink for subscription in stream.subscriptions]

    async def _missed(self, key: str, recent: Sequence[Published] | None, after: int) -> Missed:
        if recent is not None and len(recent) <= PAGE_ROWS:
            return Missed(recent, recent[-1].offset or after if recent else after)
        return await self._read_missed(key, after)

    async def _read_missed(self, key: str, after: int) -> Missed:
        """One page of what changed, from the store."""
        _, post_id = parse_key(key)
        changes = await self._store.changes(post_id, after, rows_max=PAGE_ROWS, bytes_max=PAGE_BYTES)
        return Missed(await self._encode_changes(key, changes), changes.through)

    async def _encode_changes(self, key: str, changes: Changes) -> list[Published]:
        """The present state of what changed, in the order of the last changes."""
        await self._render(changes.comments)
        items = [
            Published(written.comment.changed_offset, self._encoder.comment_changed(*written))
            for written in changes.comments
        ]
        if changes.post is not None:
            view = await self.ask(key, ReadPost(post=str(changes.post.id)), SYSTEM)
            items.append(Published(changes.post.changed_offset, self._encoder.post_changed(view)))
            items.sort(key=lambda item: item.offset or 0)
        return items

    def _stream_epoch(self, key: str) -> str:
        return f"{self._epoch}:{key}"

    def _typed(self, key: str, command: Typing, by: Person, reply: Callable[[Any], None], answer: Any) -> None:
        """Whoever may read the post, and has a name, is shown as typing."""
        if isinstance(answer, DomainError):
            reply(answer)
        elif not by.id:
            reply(Refused("unauthorized"))
        else:
            self._hub.typing(key, by.id, by.name, command.on)
            reply(Ack())

    # -- names and lists

    def new_id(self) -> int:
        return self._ids.next()

    async def account_number(self) -> int:
        with _available():
            return await self._store.account_number()

    async def claim_names(
        self, kind: Literal["account", "post"], names: Sequence[tuple[str, str]], id: int
    ) -> int | str:
        with _available():
            return await self._store.claim_names(kind, names, id)

    async def release_name(self, kind: str, name: str, id: int) -> None:
        with _available():
            await self._store.release_name(kind, name, id)

    async def resolve(self, kind: str, name: str) -> int | None:
        with _available():
            return await self._store.resolve(kind, name)

    async def revoked_sessions(self, since_ms: int) -> list[tuple[str, int]]:
        with _available():
            return await self._store.revoked_sessions(since_ms)

    async def authors(self, ids: Sequence[int]) -> dict[int, AuthorView]:
        with _available():
            found = await self._store.authors(ids)
        return {id: view for id, author in found.items() if (view := author_view(author)) is not None}

    async def posts(
        self, *, before: int | None, tag: str | None, author_id: int | None, drafts: bool, limit: int
    ) -> list[PostView]:
        """Published posts, newest first, below id ``before``; with ``drafts`` also the unpublished ones."""
        states = ("published", "scheduled", "draft") if drafts else ("published",)
        with _available():
            summaries = await self._store.posts(before=before, tag=tag, author_id=author_id, states=states, limit=limit)
        return [self._summary(summary) for summary in summaries]

    def _summary(self, summary: PostSummary) -> PostView:
        key, state = post_key(summary.post.id), summary.state
        counters = Counters(
            comments=state.comments,
            reactions=state.reactions,
            applause=state.applause,
            views=summary.views,
            viewers=summary.viewers,
            watchers=len(self.presence(key)),
        )
        cursor = str(Cursor(self._stream_epoch(key), state.head))
        return self._encoder.post(summary.post, summary.author, version=state.version, counters=counters, cursor=cursor)

    # -- inside

    def _ring(self, key: str, alarm: RingAlarm) -> None:
        self.submit(key, alarm, SYSTEM, None, _ignore)

    def _deliver(self, receiver: str, delivery: Delivery, reply: Callable[[Any], None]) -> None:
        self.submit(receiver, delivery, SYSTEM, None, reply)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("%s failed", task.get_name(), exc_info=task.exception())


@contextmanager
def _available() -> Iterator[None]:
    """The store's absence, as clients are told of it."""
    try:
        yield
    except StoreUnavailable:
        raise Unavailable() from None


def _resolve(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, DomainError):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _ignore(answer: Any) -> None:
    """Nobody waits for it."""


def _size(command: Command) -> int:
    """About how many bytes the command keeps in memory until it is durable."""
    body = getattr(command, "body", None)
    return 256 + (len(body) if isinstance(body, str) else 0)
