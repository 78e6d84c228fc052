"""The product without one of its safeguards, each in turn: what the oracles are worth is whether they notice."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from actors import fanout
from actors.actor import Actor, Decision, Numbers
from actors.keys import parse_key
from actors.lease import Lease
from actors.runtime.activation import Activation, Delivery, Envelope, Outcome
from actors.runtime.alarms import Alarms
from actors.runtime.committer import Committer
from actors.runtime.feeds import Feeds
from actors.runtime.hub import Hub
from actors.runtime.node import Node
from actors.runtime.outbox import Outbox
from actors.runtime.registry import Registry
from protocol.errors import DomainError
from protocol.gateway.kept import KeptAnswers, kept
from store.base import Batch, Claim, Fence, Loaded, Owners
from store.memory import MemoryStore
from store.memory_timelines import MemoryTimelines
from store.rows import OutboxRow
from tests.simulation import social_ablations as social
from tests.simulation.oracles import JournalledStore
from tests.simulation.patching import replaced


class Ablation(NamedTuple):
    """How to run without a safeguard."""

    seeds_max: int
    """Within so many seeds an oracle has to break."""
    store: type[JournalledStore] = JournalledStore
    removed: Callable[[], AbstractContextManager[object]] = nullcontext


# -- the fence --------------------------------------------------------------------------------------------------------


class UnfencedStore(JournalledStore):
    """Writes for whoever asks."""

    def _passes(self, worker: UUID, slot: int, fence: Fence) -> bool:
        return True


class CheckingStore(JournalledStore):
    """Checks the fence in one statement, and writes what passed in another."""

    async def check(self, batch: Batch) -> list[int]:
        def work() -> list[int]:
            return [slot for slot, fence in batch.fences.items() if self._passes(batch.worker, slot, fence)]

        return await self.call("check", work)

    async def write(self, batch: Batch, passed: list[int]) -> dict[int, int | None]:
        def work() -> dict[int, int | None]:
            # Only what had passed; and whoever owns its slot by now.
            current = {slot: self._slots[slot] for slot in batch.fences}
            kept = [(each.owner, each.epoch, each.head) for each in current.values()]
            for slot in passed:
                fence = batch.fences[slot]
                current[slot].owner, current[slot].epoch, current[slot].head = batch.worker, fence.epoch, fence.head
            try:
                return self._write(batch)
            finally:
                for each, (owner, epoch, head) in zip(current.values(), kept, strict=True):
                    each.owner, each.epoch, each.head = owner, epoch, max(head, each.head)

        return await self.call("commit", work, locks=lambda: batch.fences)


async def _commit_in_two_steps(self: Committer, batch: Batch) -> dict[int, int | None]:
    store: Any = self._store
    passed = await store.check(batch)
    heads: dict[int, int | None] = await store.write(batch, passed)
    return heads


# -- ownership --------------------------------------------------------------------------------------------------------


class OneStepStore(JournalledStore):
    """Claims what has a lapsed lease, and declares nobody dead."""

    def _held(self, worker: UUID | None) -> bool:
        return worker is not None and self._live(worker) and self._workers[worker].lease_until >= self._clock()

    async def expire(self, *, node: str | None = None) -> int:
        return 0 if node is None else await super().expire(node=node)

    async def owners(self) -> Owners:
        owners = await super().owners()
        held = {slot: owner for slot, owner in owners.slots.items() if self._held(owner[0])}
        return Owners([worker for worker in owners.live if worker.lease_s >= 0], held)

    async def claim(self, worker: UUID, slots: Iterable[int] | None = None) -> dict[int, Claim]:
        for slot in range(len(self._slots)) if slots is None else slots:
            if not self._held(self._slots[slot].owner):
                self._slots[slot].owner = None
        return await super().claim(worker, slots)


def _held_for_ever(self: Lease, now: float) -> bool:
    return self._trusted_until > float("-inf")


async def _load_before_claim(self: Registry, activation: Activation, *, wait: bool = True) -> None:
    kind, number = parse_key(activation.key)
    actor, loaded = await (self._load_post(number) if kind == "post" else self._load_user(number))
    claim = await self._ownership.owned(activation.slot)
    activation.loaded(actor, loaded, claim.epoch)


class LookingStore(JournalledStore):
    """Gives back what its owner has already as it is, without a new epoch, and without waiting for anybody."""

    async def claim(self, worker: UUID, slots: Iterable[int] | None = None) -> dict[int, Claim]:
        wanted = set(range(len(self._slots)) if slots is None else slots)
        owned = {slot for slot in wanted if self._slots[slot].owner == worker and self._live(worker)}
        claims = {slot: Claim(self._slots[slot].epoch, self._slots[slot].head) for slot in owned}
        return claims | await super().claim(worker, wanted - owned)


# -- the gate ---------------------------------------------------------------------------------------------------------


_handle = Activation.handle
_decide = Registry.decide
_loaded = Activation.loaded


def _answer_before_commit(self: Activation, envelope: Envelope, now: float, op_ttl_ms: int) -> tuple[Outcome, bool]:
    outcome, free = _handle(self, envelope, now, op_ttl_ms)
    if not free and not isinstance(outcome.answer, DomainError) and envelope.command.writes:
        envelope.answered = True
        envelope.reply(outcome.answer)
    return outcome, free


def _publish_before_commit(self: Registry, activation: Activation, envelope: Envelope) -> None:
    before = len(activation._changed.waiting)
    _decide(self, activation, envelope)
    for outcome in activation._changed.waiting[before:]:
        publications, outcome.publications = outcome.publications, ()
        for publication in publications:
            self._hub.publish(activation.key, publication.offset, publication.encode)


# -- what is kept of answers ------------------------------------------------------------------------------------------


_accept = Activation._accept


def _keep_face(self: Activation, envelope: Envelope, decision: Decision, now: float) -> Outcome:
    face = self.face
    outcome = _accept(self, envelope, decision, now)
    self.face = face
    return outcome


def _show_past_the_lease(self: Node, key: str, face: object, method: str) -> bool:
    showing = self._registry.showing(key)
    return showing is not None and showing.face is face and not showing.gated


def _show_whatever_changed(self: Node, key: str, face: object, method: str) -> bool:
    showing = self._showing(key)
    return showing is not None and not showing.gated


async def _keep_by_the_latest_face(
    self: KeptAnswers, path: str, ask: Callable[[], Awaitable[Any]], *, actor: str, method: str, route: str
) -> Any:
    response = await ask()
    face = self._faces.face(actor)
    if face is not None:
        self.keep(path, kept(response, actor=actor, face=face, method=method, route=route))
    return response


# -- repeated operations ----------------------------------------------------------------------------------------------


def _do_again(self: Activation, envelope: Envelope, now: float, op_ttl_ms: int) -> Outcome:
    assert self.actor is not None
    if isinstance(envelope.command, Delivery):
        return self._receive(envelope, envelope.command, now)
    return self._accept(envelope, self.actor.decide(envelope.command, envelope.by, now), now)


def _load_without_operations(self: Activation, actor: Actor, loaded: Loaded, epoch: int) -> None:
    _loaded(self, actor, loaded, epoch)
    self._operations.clear()


# -- streams ----------------------------------------------------------------------------------------------------------


def _jump_only(self: Hub, key: str, head: int, numbers: Numbers | None) -> None:
    stream = self.stream(key)
    if stream is None:
        return
    if numbers is not None:
        self.numbers(key, numbers)
    if head > stream.head:
        stream.jump(head)


# -- alarms and messages ----------------------------------------------------------------------------------------------


_receive = Activation._receive
_answered = Outbox._answered


def _receive_again(self: Activation, envelope: Envelope, delivery: Delivery, now: float) -> Outcome:
    self._marks = {}
    return _receive(self, envelope, delivery, now)


def _acknowledge_undone(self: Outbox, lane: tuple[int, str], rows: Sequence[OutboxRow], answer: Any) -> None:
    _answered(self, lane, rows, None)


async def _find_nothing(self: Node, forgotten: dict[int, int]) -> None:
    self._outbox.found(forgotten, [])


async def _scan_nothing(self: Alarms) -> None:
    """What is set while the worker runs is noted as it commits."""


# -- all of them ------------------------------------------------------------------------------------------------------


ABLATIONS: Mapping[str, Ablation] = MappingProxyType(
    {
        "no fence": Ablation(100, UnfencedStore),
        "fence apart from the write": Ablation(
            300, CheckingStore, lambda: replaced(Committer, _timed=_commit_in_two_steps)
        ),
        "takeover in one step": Ablation(1_000, OneStepStore),
        "acknowledgement before commit": Ablation(
            10, removed=lambda: replaced(Activation, handle=_answer_before_commit)
        ),
        "publication before commit": Ablation(10, removed=lambda: replaced(Registry, decide=_publish_before_commit)),
        "answers kept though they changed": Ablation(20, removed=lambda: replaced(Activation, _accept=_keep_face)),
        "kept answers shown past the lease": Ablation(300, removed=lambda: replaced(Node, shows=_show_past_the_lease)),
        "kept answers shown whatever changed": Ablation(
            20, removed=lambda: replaced(Node, shows=_show_whatever_changed)
        ),
        "answers kept by the face that came after them": Ablation(
            200, removed=lambda: replaced(KeptAnswers, answered=_keep_by_the_latest_face)
        ),
        "no deduplication": Ablation(20, removed=lambda: replaced(Activation, _decide=_do_again)),
        "deduplication not rebuilt on activation": Ablation(
            100, removed=lambda: replaced(Activation, loaded=_load_without_operations)
        ),
        "load before claim": Ablation(300, removed=lambda: replaced(Registry, _load=_load_before_claim)),
        "load without claim after an unknown outcome": Ablation(300, LookingStore),
        "no resync on resubscribe": Ablation(100, removed=lambda: replaced(Hub, resync=_jump_only)),
        "no mark of handled messages": Ablation(100, removed=lambda: replaced(Activation, _receive=_receive_again)),
        "messages acknowledged undone": Ablation(100, removed=lambda: replaced(Outbox, _answered=_acknowledge_undone)),
        "messages not read on takeover": Ablation(100, removed=lambda: replaced(Node, _find_messages=_find_nothing)),
        "alarms not read on takeover": Ablation(100, removed=lambda: replaced(Alarms, _scan=_scan_nothing)),
        "blocks not looked at when posts are read": Ablation(100, removed=social.without_blocks),
        "a post pushed to the first of its followers": Ablation(
            100, removed=lambda: replaced(fanout, pushed=social.first_chunk_only)
        ),
        "an edge pushed without what was before": Ablation(
            100, removed=lambda: replaced(MemoryTimelines, _arrange=social.pushed_at_once)
        ),
        "nothing below the floor of a timeline": Ablation(
            300, removed=lambda: replaced(MemoryTimelines, _pulled=social.nothing_below_the_floor)
        ),
        "a feed's position beyond open transactions": Ablation(
            600, removed=lambda: replaced(JournalledStore, horizon=MemoryStore.horizon)
        ),
        "feeds by hints only": Ablation(100, removed=lambda: replaced(Feeds, _sweep=social.sweep_nothing)),
        "lease trusted past its time": Ablation(300, removed=lambda: replaced(Lease, held=_held_for_ever)),
    }
)
