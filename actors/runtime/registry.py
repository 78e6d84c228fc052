"""The activations of one worker: loads them, has them decide, answers what is durable, puts away what is idle."""

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from actors.actor import AccountSaved, Actor, Event, Fetch, Need, RingAlarm
from actors.encoding import Encoder
from actors.jobs import Job
from actors.keys import parse_key, slot_of, user_key
from actors.news import ROWS_MAX, News
from actors.policy import Policy
from actors.post import PostActor
from actors.poststate import APPLAUSE
from actors.runtime.activation import (
    MAILBOX_AGE_S,
    PURGE_ALARM,
    SNAPSHOT_ROWS,
    Activation,
    Envelope,
    Outcome,
    Phase,
    Taken,
)
from actors.runtime.backlog import Backlog
from actors.runtime.committer import Committer
from actors.runtime.env import Env
from actors.runtime.hub import Hub
from actors.runtime.jobs import Jobs
from actors.runtime.metrics import Metrics
from actors.runtime.ownership import Ownership
from actors.runtime.past import render_ahead
from actors.runtime.reading import Reading
from actors.runtime.tasks import Tasks
from actors.telling import NEWS_ALARM
from actors.user import UserActor
from protocol.cluster import ActorLoad
from protocol.commands import Command
from protocol.errors import DomainError, Overloaded, Unavailable
from store.base import Loaded, LoadedPost, Store, StoreUnavailable
from store.rows import AlarmRow, Author, OutboxRow, SnapshotRow

log = logging.getLogger("plaudit.registry")

IDLE_S = 60.0
"""An actor that nobody asked or watched for so long is put away."""
RESIDENT_MAX = 20_000
DRAIN_TIMEOUT_S = 1.0
DRAIN_POLL_S = 0.002
LEFT_MAX = 64
"""Actors of drained slots whose keys are told to who takes the slots."""
LOADED_AHEAD = 4
"""Loaded at once before anybody asks, so that connections are left for what somebody waits for."""
SWEEP_S = 2.0
"""How often idle actors are looked for, and views flushed."""


class Registry:
    """Finds the activation of a key, or begins one. It is what the committer reports to."""

    def __init__(
        self,
        store: Store,
        env: Env,
        policy: Policy,
        metrics: Metrics,
        *,
        ownership: Ownership,
        committer: Committer,
        hub: Hub,
        encoder: Encoder,
        stream_epoch: Callable[[str], str],
        alarm_set: Callable[[AlarmRow], None],
        messages_sent: Callable[[Sequence[OutboxRow]], None],
        tell_author: Callable[[int, Author | None], None],
        saved: Callable[[str, Event], None],
        report: Callable[[str, Command], None],
        announces: bool,
    ) -> None:
        self._store = store
        self._env = env
        self._policy = policy
        self._metrics = metrics
        self._ownership = ownership
        self._committer = committer
        self._hub = hub
        self._encoder = encoder
        self._stream_epoch = stream_epoch
        self._alarm_set = alarm_set
        self._messages_sent = messages_sent
        self._tell_author = tell_author
        self._saved = saved
        self._report = report
        self._announces = announces
        self._reading = Reading(store, env.clock)
        self._jobs = Jobs(store.timelines, store.finding)
        self._backlog = Backlog()
        self._activations: dict[str, Activation] = {}
        self._tasks = Tasks()
        self._renamed: set[int] = set()
        """Those of whose new names we heard since names were read last."""
        self._closing = False

    # -- life

    def start(self) -> None:
        self._tasks.spawn(self._sweep(), "sweep")

    def close(self) -> None:
        """Take no more commands; have written what the activations hold besides their rows."""
        self._closing = True
        for activation in list(self._activations.values()):
            self._put_down(activation)

    async def stop(self) -> None:
        """End; who still waits is told to retry."""
        await self._tasks.stop()
        for activation in list(self._activations.values()):
            self.drop(activation, "shutdown")

    # -- asking

    def find(self, key: str) -> Activation | None:
        """The activation of ``key``, if there is one now."""
        return self._activations.get(key)

    def busiest(self, limit: int) -> list[ActorLoad]:
        """The actors with the most commands, then watchers, then waiting commands; none that has nothing to do."""
        loads = (
            ActorLoad(key, activation.commands_per_s, self._hub.watchers(key), len(activation.mailbox))
            for key, activation in self._activations.items()
        )
        busy = (load for load in loads if load.commands_per_s or load.watchers or load.waiting)
        return heapq.nlargest(limit, busy, key=lambda load: (load.commands_per_s, load.watchers, load.waiting))

    def showing(self, key: str) -> Activation | None:
        """The activation of ``key`` if a read of it would be decided at once."""
        activation = self._activations.get(key)
        if activation is None or activation.phase is not Phase.READY or activation.mailbox:
            return None
        activation.watched_by(self._hub.watchers(key))
        return activation

    def submit(self, key: str, envelope: Envelope) -> None:
        """Put a command to its actor. Raises ``DomainError`` if it was not taken."""
        activation = self._activations.get(key)
        if self._backlog.full and (envelope.command.writes or (activation is not None and activation.gated)):
            raise Overloaded()
        if activation is None:
            activation = self._activate(key)
        activation.used_at = envelope.at
        activation.commands += 1
        if activation.phase is not Phase.READY or activation.mailbox:
            activation.post(envelope)
        else:
            self._handle(activation, envelope)

    def _handle(self, activation: Activation, envelope: Envelope) -> None:
        """Decide, or first have read what the decision needs."""
        try:
            need = activation.need(envelope.command)
        except Exception as error:
            self._fail(activation, envelope, error)
            return
        if need is None:
            self.decide(activation, envelope)
            return
        activation.phase = Phase.READING
        activation.mailbox.insert(0, envelope)
        self._tasks.spawn(self._read_and_drain(activation, need), f"read {activation.key}")

    def decide(self, activation: Activation, envelope: Envelope) -> None:
        now = self._env.clock()
        activation.watched_by(self._hub.watchers(activation.key))
        if isinstance(envelope.command, RingAlarm) and not self._ring_in_time(activation, envelope, now):
            return
        try:
            outcome, free = activation.handle(envelope, now, self._policy.operation_ttl_s * 1000)
        except Exception as error:
            self._fail(activation, envelope, error)
            return
        if free:
            self._open(activation, outcome)
        elif activation.dirty:
            self._committer.enqueue(activation)

    def _fail(self, activation: Activation, envelope: Envelope, error: Exception) -> None:
        """A defect of ours, perhaps halfway through: what is stored is right, what is in memory may not be."""
        log.error("%s failed at %s", activation.key, envelope.command.method, exc_info=error)
        self.reply(envelope, DomainError("internal"))
        self._begin_anew(activation)

    def _ring_in_time(self, activation: Activation, envelope: Envelope, now: float) -> bool:
        """Whether the alarm is one for the actor; the runtime's own is handled here, an old one is over."""
        assert isinstance(envelope.command, RingAlarm)
        if not activation.alarm_due(envelope.command.name, now):
            self.reply(envelope, None)
            return False
        self._metrics.alarms.inc()
        if envelope.command.name != PURGE_ALARM:
            return True
        activation.purge(now, self._policy.operation_ttl_s * 1000)
        if activation.dirty:
            self._committer.enqueue(activation)
        self.reply(envelope, None)
        return False

    async def decide_again(self, activation: Activation, envelope: Envelope) -> None:
        assert activation.actor is not None
        need = activation.need(envelope.command)
        try:
            if need is not None:
                await self._read(activation, need)
        except StoreUnavailable:
            self.reply(envelope, Unavailable())
            return
        if activation.phase is Phase.REPLAYING:
            self.decide(activation, envelope)

    # -- after the gate

    def durable(self, activation: Activation, taken: Taken, outbox: Sequence[OutboxRow]) -> None:
        """What was taken is stored: publish and answer, in the order of the commands."""
        if activation.phase is Phase.GONE:
            return
        outcomes = activation.landed(taken)
        if outcomes:
            self._metrics.gate_s.observe(self._env.monotonic() - outcomes[0].envelope.at)
        for outcome in outcomes:
            self._open(activation, outcome)
        if taken.numbers is not None:
            self._hub.numbers(activation.key, taken.numbers)
        for row in taken.rows.values():
            if isinstance(row, AlarmRow):
                self._alarm_set(row)
        self._messages_sent(outbox)
        if activation.rows_since_snapshot >= SNAPSHOT_ROWS:
            self._write_snapshot(activation)
        if activation.dirty:
            self._committer.enqueue(activation)

    def _open(self, activation: Activation, outcome: Outcome) -> None:
        """The gate is open for one envelope."""
        try:
            self._publish(activation, outcome)
        except Exception:
            # It is durable, whatever becomes of its publication: who wrote it is told so.
            log.exception("%s could not publish", activation.key)
        if isinstance(outcome.answer, Fetch):
            self._tasks.spawn(self._fetch(activation, outcome.envelope, outcome.answer), f"fetch {activation.key}")
        elif isinstance(outcome.answer, Job):
            self.reply(outcome.envelope, None)
            self._tasks.spawn(self._do(activation.key, outcome.answer), f"job of {activation.key}")
        else:
            self.reply(outcome.envelope, outcome.answer)

    def _publish(self, activation: Activation, outcome: Outcome) -> None:
        for publication in outcome.publications:
            self._hub.publish(activation.key, publication.offset, publication.encode)
        for event in outcome.events:
            self._saved(activation.key, event)
            if isinstance(event, AccountSaved):
                row = event.row
                author = Author(row.id, row.handle, row.name, row.url) if row.state == "active" else None
                self.author_changed(row.id, author)
                self._tell_author(row.id, author)
        if activation.views_flush_due:
            assert activation.actor is not None
            self._hub.viewed(activation.key, activation.actor.views())

    def reply(self, envelope: Envelope, answer: Any) -> None:
        if envelope.answered:
            return
        envelope.answered = True
        if isinstance(answer, DomainError):
            self._metrics.refused.labels(answer.code).inc()
        try:
            envelope.reply(answer)
        except Exception:
            log.exception("a reply could not be given")

    async def _fetch(self, activation: Activation, envelope: Envelope, fetch: Fetch) -> None:
        """Read the texts that an answer lacks, and complete it."""
        _, post_id = parse_key(activation.key)
        # What is read now may be older than what is not durable yet.
        face = None if activation.gated else activation.face
        answer: Any = Unavailable()
        try:
            written = await self._store.comments(post_id, fetch.ids)
            await render_ahead(self._encoder, written)
            answer = fetch.finish({comment.comment.id: comment for comment in written})
            if activation.face is face:
                # Nothing has changed meanwhile: it is what the actor would have.
                activation.provide(written)
        except StoreUnavailable as error:
            log.debug("%s: an answer was not completed: %s", activation.key, error)
        except DomainError as error:
            answer = error
        except Exception:
            log.exception("%s: an answer could not be completed", activation.key)
            answer = DomainError("internal")
        finally:
            # Also if this worker ends meanwhile.
            self.reply(envelope, answer)

    async def _do(self, key: str, job: Job) -> None:
        try:
            told = await self._jobs.do(key, job)
        except StoreUnavailable as error:
            log.warning("%s: a job waits for its alarm: %s", key, error)
            return
        if told is not None:
            self._report(key, told)

    def author_changed(self, id: int, author: Author | None) -> None:
        """Someone has another name or address now, or none any more: show it in what is in memory."""
        self._renamed.add(id)
        for activation in self._activations.values():
            activation.author_changed(id, author)

    def look_at_authors(self) -> None:
        """Somebody may have another name by now, and we were not told."""
        self._tasks.spawn(self._read_authors(), "authors")

    async def _read_authors(self) -> None:
        actors = (activation.actor for activation in self._activations.values())
        ids = set().union(*(actor.authors() for actor in actors if actor is not None))
        self._renamed.clear()
        try:
            found = await self._store.authors(list(ids))
        except StoreUnavailable as error:
            log.warning("names may be out of date: %s", error)
            return
        # What was told while this was read is newer.
        for id in ids - self._renamed:
            self.author_changed(id, found.get(id))

    # -- activation

    def _activate(self, key: str) -> Activation:
        activation = self._new(key)
        self._tasks.spawn(self._load_and_drain(activation), f"load {key}")
        return activation

    def _new(self, key: str) -> Activation:
        parse_key(key)
        activation = self._activations[key] = Activation(key, slot_of(key), self._backlog)
        activation.used_at = self._env.monotonic()
        self._metrics.resident.set(len(self._activations))
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

    async def _load(self, activation: Activation, *, wait: bool = True) -> None:
        """Read the actor while its slot is ours: claimed before, and by the same claim after.

        If the slot is lost meanwhile, ``wait`` until it is ours again, or else raise ``StoreUnavailable``.
        """
        began = self._env.monotonic()
        kind, number = parse_key(activation.key)
        while True:
            claim = await self._ownership.owned(activation.slot)
            actor, loaded = await (self._load_post(number) if kind == "post" else self._load_user(number))
            if self._ownership.owns(activation.slot, claim.epoch):
                break
            if not wait:
                raise StoreUnavailable("its slot is not ours any more")
        activation.loaded(actor, loaded, claim.epoch)
        self._metrics.activations.inc()
        self._metrics.activation_s.observe(self._env.monotonic() - began)

    async def _load_post(self, post_id: int) -> tuple[Actor, Loaded]:
        loaded = await self._store.load_post(post_id)
        actor = PostActor.load(
            post_id,
            loaded,
            policy=self._policy,
            encoder=self._encoder,
            stream_epoch=self._stream_epoch,
            announces=self._announces,
            news=await self._untold(post_id, loaded),
        )
        return actor, loaded

    async def _untold(self, post_id: int, loaded: LoadedPost) -> News | None:
        """The news of which nobody was told yet; read before a row of them can change once more."""
        if loaded.state is None or all(alarm.name != NEWS_ALARM for alarm in loaded.alarms):
            return None
        written, reacted = await self._store.notifications.news(post_id, loaded.state.told, limit=ROWS_MAX)
        return News.recovered(loaded.post, written, reacted, applause=APPLAUSE)

    async def _load_user(self, account_id: int) -> tuple[Actor, Loaded]:
        loaded = await self._store.load_user(account_id)
        epoch = self._stream_epoch(user_key(account_id))
        return UserActor.load(account_id, loaded, policy=self._policy, epoch=epoch), loaded

    def _opened(self, activation: Activation) -> None:
        """The activation has its state: take the mailbox, and bring its stream to where the store is."""
        activation.phase = Phase.READY
        actor = activation.actor
        assert actor is not None
        stream = self._hub.stream(activation.key)
        if stream is not None:
            self._hub.open(activation.key, stream.epoch, actor.head, activation.durable, actor.views())
        self._drain(activation)

    def _drain(self, activation: Activation) -> None:
        while activation.mailbox and activation.phase is Phase.READY:
            envelope = activation.mailbox.pop(0)
            if self._env.monotonic() - envelope.at > MAILBOX_AGE_S:
                self.reply(envelope, Overloaded("the command waited too long"))
            elif not self._ownership.held():
                self.reply(envelope, Unavailable())
            else:
                self._handle(activation, envelope)
        if activation.actor is not None and not activation.actor.exists and activation.settled:
            self._forget(activation)

    async def _read_and_drain(self, activation: Activation, need: Need) -> None:
        """Read what the first command of the mailbox needs, then go on."""
        try:
            await self._read(activation, need)
        except StoreUnavailable:
            if activation.phase is Phase.READING:
                activation.phase = Phase.READY
                self.reply(activation.mailbox.pop(0), Unavailable())
                self._drain(activation)
            return
        except Exception:
            self._begin_anew(activation)
            raise
        if activation.phase is Phase.READING:
            activation.phase = Phase.READY
            envelope = activation.mailbox.pop(0)
            self.decide(activation, envelope)
            activation.trim()
            self._drain(activation)

    async def _read(self, activation: Activation, need: Need) -> None:
        assert activation.actor is not None
        _, number = parse_key(activation.key)
        await self._reading.provide(activation.actor, number, need)

    # -- losing and putting away

    def drop(self, activation: Activation, cause: str) -> None:
        if activation.phase is Phase.GONE:
            return
        self._forget(activation)
        self._metrics.dropped.labels(cause).inc()
        for envelope in activation.abandon():
            self.reply(envelope, Unavailable())
        if self._hub.stream(activation.key) is not None and not self._closing:
            # Subscribers wait for what may have been committed: begin anew, which catches them up.
            self._tasks.spawn(self._revive(activation.key), f"revive {activation.key}")

    def _begin_anew(self, activation: Activation) -> None:
        """Drop it after a defect; a commit of it may be on its way, so its slot is claimed before it is loaded."""
        self.drop(activation, "defect")
        self._ownership.lose((activation.slot,))

    async def _revive(self, key: str) -> None:
        await asyncio.sleep(0.1)
        if self._ownership.ours(slot_of(key)):
            self._watch_over(key)

    def _watch_over(self, key: str) -> None:
        """Somebody listens to the stream of ``key``, whose slot is ours: its actor has to be here."""
        if self._hub.stream(key) is not None and key not in self._activations and not self._closing:
            self._activate(key)

    def slots_gained(self, slots: set[int], left: Sequence[str]) -> None:
        """What somebody listens to is loaded, and its stream brought to where the store is.

        So is what the owner before had in memory and ``left``, a few at a time, in this order.
        """
        for stream in self._hub.streams():
            if stream.slot in slots:
                self._watch_over(stream.key)
        keys = iter(left)
        for _ in left[:LOADED_AHEAD]:
            self._tasks.spawn(self._load_ahead(keys), "load ahead")

    async def _load_ahead(self, keys: Iterator[str]) -> None:
        for key in keys:
            if key not in self._activations and self._ownership.ours(slot_of(key)) and not self._closing:
                await self._load_and_drain(self._new(key))

    async def drain(self, slots: set[int]) -> list[str]:
        """Put away the activations of ``slots``, with all that they hold written; nothing new comes for them.

        What is not done within ``DRAIN_TIMEOUT_S`` is dropped: who waits for it is told to retry.

        Returns:
            The keys of at most ``LEFT_MAX`` of them, those asked last first.
        """
        deadline = self._env.monotonic() + DRAIN_TIMEOUT_S
        leaving = [activation for activation in self._activations.values() if activation.slot in slots]
        last = heapq.nlargest(LEFT_MAX, leaving, key=lambda activation: activation.used_at)
        put_down: set[Activation] = set()
        while leaving and self._env.monotonic() < deadline:
            for activation in leaving:
                if activation.phase is Phase.READY and activation not in put_down:
                    put_down.add(activation)
                    self._put_down(activation)
                if activation in put_down and activation.settled:
                    self._forget(activation)
            leaving = [activation for activation in leaving if activation.phase is not Phase.GONE]
            if leaving:
                await asyncio.sleep(DRAIN_POLL_S)
        for activation in leaving:
            self.drop(activation, "handed off")
        return [activation.key for activation in last]

    async def reload(self, activation: Activation) -> Activation | None:
        if activation.phase is Phase.GONE:
            return None
        if not self._ownership.owns(activation.slot, activation.epoch):
            # To wait for the slot would hold up the commits of all others.
            self.drop(activation, "slot lost")
            return None
        mailbox, activation.mailbox = activation.mailbox, []
        activation.abandon()
        fresh = self._activations[activation.key] = Activation(activation.key, activation.slot, self._backlog)
        fresh.mailbox = mailbox
        try:
            async with asyncio.timeout(MAILBOX_AGE_S):
                await self._load(fresh, wait=False)
        except (StoreUnavailable, TimeoutError):
            self.drop(fresh, "not loaded")
            return None
        except Exception:
            self.drop(fresh, "defect")
            raise
        if fresh.phase is not Phase.LOADING:
            return None
        fresh.phase = Phase.REPLAYING
        return fresh

    def reopen(self, activation: Activation) -> None:
        if not self._ownership.owns(activation.slot, activation.epoch):
            self.drop(activation, "slot lost")
        elif activation.phase is Phase.REPLAYING:
            self._opened(activation)

    def slots_lost(self, slots: set[int], *, gone: bool) -> None:
        """What is loaded of these slots may not be what is stored: throw it away.

        If a slot is ``gone`` to another worker, also what waits for an actor to load: when it comes back, these
        commands may be older than what was done there.
        """
        for activation in list(self._activations.values()):
            if activation.slot in slots and (gone or activation.phase is not Phase.LOADING):
                self.drop(activation, "slot lost")

    async def _sweep(self) -> None:
        swept_at = self._env.monotonic()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = self._env.monotonic()
            elapsed_s, swept_at = now - swept_at, now
            crowded = len(self._activations) - RESIDENT_MAX
            self._metrics.undurable.set(self._backlog.commands)
            waiting = [envelope.at for activation in self._activations.values() for envelope in activation.mailbox]
            self._metrics.mailbox.set(len(waiting))
            self._metrics.mailbox_age_s.set(now - min(waiting, default=now))
            by_use = sorted(self._activations.values(), key=lambda activation: activation.used_at)
            for at, activation in enumerate(by_use):
                activation.commands_per_s, activation.commands = activation.commands / elapsed_s, 0
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
