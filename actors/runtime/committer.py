"""Writes what the activations changed: one transaction in flight, and what gathers meanwhile is the next.

There is no timer: a quiet worker commits each command at once, a busy one thousands together.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from actors.runtime.activation import Activation, Envelope, Taken
from actors.runtime.env import Env
from actors.runtime.metrics import Metrics
from actors.runtime.ownership import Ownership
from protocol.commands import Command
from protocol.errors import Refused, Unavailable
from store.base import Batch, Fence, Store, StoreRefused, StoreUnavailable
from store.rows import OutboxRow, Row

log = logging.getLogger("plaudit.committer")

CONSTRAINTS = {
    "operation_pkey": "operation_reused",
    "post_slug_key": "slug_taken",
    "comment_source": "already_exists",
}

Rows = dict[tuple[type[Row], tuple[Any, ...]], Row | None]


class Written(NamedTuple):
    """What came of a batch: of each slot the new head, or None if it was fenced; and the messages that it sends."""

    heads: dict[int, int | None]
    fences: dict[int, Fence]
    outbox: dict[Activation, list[OutboxRow]]


class Host(Protocol):
    """What the committer tells of its outcomes."""

    def durable(self, activation: Activation, taken: Taken, outbox: Sequence[OutboxRow]) -> None:
        """The commit of ``taken`` has returned: open its gate."""
        ...

    def drop(self, activation: Activation, cause: str) -> None:
        """What the activation holds is not what is stored, or not known to be: throw it away."""
        ...

    def reply(self, envelope: Envelope, answer: Any) -> None:
        """Answer the envelope, unless it is answered already."""
        ...

    async def decide_again(self, activation: Activation, envelope: Envelope) -> None:
        """Have the activation, which ``reload`` gave, handle the envelope; first read what that needs."""
        ...

    async def reload(self, activation: Activation) -> Activation | None:
        """The same key anew, from what is stored, and closed to others; None if that cannot be had."""
        ...

    def reopen(self, activation: Activation) -> None:
        """What ``reload`` gave is in order: let commands in."""
        ...


class Committer:
    """One a worker. ``enqueue`` an activation that became dirty; the rest happens here."""

    def __init__(
        self, store: Store, ownership: Ownership, env: Env, metrics: Metrics, *, encode: Callable[[Command], bytes]
    ) -> None:
        self._store = store
        self._ownership = ownership
        self._env = env
        self._metrics = metrics
        self._encode = encode
        self.host: Host
        self._dirty: dict[Activation, None] = {}
        self._loose: dict[int, Rows] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def start(self, host: Host) -> None:
        self.host = host
        self._task = asyncio.create_task(self._run(), name="committer")

    async def stop(self) -> None:
        """End; what is not durable is not written. ``flushed`` first for a clean end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def flushed(self) -> None:
        """Wait until nothing is undurable."""
        await self._idle.wait()

    def enqueue(self, activation: Activation) -> None:
        """``activation`` is dirty."""
        self._dirty[activation] = None
        self._idle.clear()
        self._wake.set()

    def enqueue_rows(self, slot: int, rows: Rows) -> None:
        """Rows of no activation (acknowledged messages); lost with the slot, and then to be found again."""
        self._loose.setdefault(slot, {}).update(rows)
        self._idle.clear()
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            activations, loose = list(self._dirty), self._loose
            self._dirty, self._loose = {}, {}
            try:
                await self._write(activations, loose)
            except Exception:
                # A defect of ours must not leave everyone waiting for ever: what it touched begins anew from the store.
                log.exception("commit failed")
                self._lost(activations, "defect")
                self._ownership.lose({activation.slot for activation in activations})
            if not self._dirty and not self._loose:
                self._idle.set()

    async def _write(self, activations: Sequence[Activation], loose: dict[int, Rows]) -> None:
        writing = [(activation, activation.take()) for activation in activations if activation.dirty]
        try:
            written = await self._commit(writing, loose)
        except StoreRefused:
            for slot, rows in loose.items():
                self.enqueue_rows(slot, rows)
            await self._isolate(writing)
        except StoreUnavailable as error:
            log.warning("outcome of a commit is unknown: %s", error)
            self._lost([activation for activation, _ in writing], "unknown")
            self._ownership.lose({*(activation.slot for activation, _ in writing), *loose})
        else:
            self._settle(writing, written)

    def _settle(self, writing: Sequence[tuple[Activation, Taken]], written: Written) -> None:
        for slot, head in written.heads.items():
            if head is not None:
                self._ownership.committed(slot, written.fences[slot].epoch, head)
        for activation, taken in writing:
            if written.heads.get(activation.slot) is None or not self._owned(activation):
                self.host.drop(activation, "fenced")
            else:
                self.host.durable(activation, taken, written.outbox.get(activation, ()))
        fenced = [slot for slot, head in written.heads.items() if head is None]
        self._metrics.fenced.inc(len(fenced))
        # A slot that was claimed anew while this commit travelled is not lost again.
        lost = [slot for slot in fenced if self._ownership.owns(slot, written.fences[slot].epoch)]
        if lost:
            self._ownership.lose(lost)

    async def _commit(self, writing: Sequence[tuple[Activation, Taken]], loose: dict[int, Rows]) -> Written:
        """One transaction, without the activations whose slot is not ours any more."""
        fences: dict[int, Fence] = {}
        writes: dict[type[Row], dict[tuple[int, tuple[Any, ...]], Row | None]] = {}
        outbox: dict[Activation, list[OutboxRow]] = {}
        for activation, taken in writing:
            slot = activation.slot
            if not self._owned(activation):
                continue
            claim = self._ownership.slots[slot]
            fence = fences.get(slot, Fence(claim.epoch, claim.head, 0))
            fences[slot] = fence._replace(count=fence.count + taken.count)
            for (row_type, identity), row in taken.rows.items():
                writes.setdefault(row_type, {})[slot, identity] = row
            if taken.messages:
                # A message takes a number of its slot's head: they rise as the messages do.
                first = claim.head + fence.count + 1
                outbox[activation] = [
                    OutboxRow(
                        slot=slot,
                        id=first + at,
                        sender=activation.key,
                        receiver=message.receiver,
                        payload=self._encode(message.command),
                    )
                    for at, message in enumerate(taken.messages)
                ]
                for message_row in outbox[activation]:
                    writes.setdefault(OutboxRow, {})[slot, message_row.identity()] = message_row
        for slot, rows in loose.items():
            owned = self._ownership.slots.get(slot)
            if owned is not None:
                fences.setdefault(slot, Fence(owned.epoch, owned.head, 0))
                for (row_type, identity), row in rows.items():
                    writes.setdefault(row_type, {})[slot, identity] = row
        if not fences:
            return Written({}, fences, outbox)
        heads = await self._timed(Batch(worker=self._ownership.worker, fences=fences, writes=writes))
        return Written(heads, fences, outbox)

    def _owned(self, activation: Activation) -> bool:
        """Whether its slot is ours by the very claim under which it was loaded."""
        return self._ownership.owns(activation.slot, activation.epoch)

    async def _timed(self, batch: Batch) -> dict[int, int | None]:
        self._metrics.batch_rows.observe(sum(len(images) for images in batch.writes.values()))
        began = self._env.monotonic()
        outcome = "unknown"
        try:
            heads = await self._store.commit(batch)
            outcome = "written"
            return heads
        except StoreRefused:
            outcome = "refused"
            raise
        finally:
            self._metrics.commits.labels(outcome).inc()
            self._metrics.commit_s.observe(self._env.monotonic() - began)

    def _lost(self, activations: Sequence[Activation], cause: str) -> None:
        for activation in activations:
            self.host.drop(activation, cause)

    # -- one bad row must not fail the others

    async def _isolate(self, writing: Sequence[tuple[Activation, Taken]]) -> None:
        """Nothing was written. Halve by activation; of the one at fault, halve its commands."""
        if len(writing) == 1:
            await self._replay(writing[0][0])
            return
        for half in (writing[: len(writing) // 2], writing[len(writing) // 2 :]):
            try:
                written = await self._commit(half, {})
            except StoreRefused:
                await self._isolate(half)
            except StoreUnavailable:
                self._lost([activation for activation, _ in half], "unknown")
                self._ownership.lose({activation.slot for activation, _ in half})
            else:
                self._settle(half, written)

    async def _replay(self, activation: Activation) -> None:
        """Begin the activation anew and decide its commands again: later ones may have built on the culprit."""
        # With those that were decided after this commit began: they keep their place.
        envelopes = activation.held()
        replayed: Activation | None = None
        try:
            fresh = await self.host.reload(activation)
            if fresh is not None:
                replayed = await self._replay_some(fresh, envelopes)
        finally:
            # Whatever ended it early, nobody waits for an answer that does not come.
            if replayed is None:
                for envelope in envelopes:
                    self.host.reply(envelope, Unavailable())
        if replayed is not None:
            self.host.reopen(replayed)

    async def _replay_some(self, activation: Activation, envelopes: Sequence[Envelope]) -> Activation | None:
        """Decide and commit ``envelopes``, halving them on a refusal; what to go on with, or None if it is gone."""
        for envelope in envelopes:
            if not envelope.answered:
                await self.host.decide_again(activation, envelope)
        if activation.gone:
            return None
        if not activation.dirty:
            return activation
        taken = activation.take()
        try:
            written = await self._commit([(activation, taken)], {})
        except StoreUnavailable:
            self._lost([activation], "unknown")
            self._ownership.lose({activation.slot})
            return None
        except StoreRefused as refusal:
            return await self._halve(activation, envelopes, refusal)
        self._settle([(activation, taken)], written)
        return None if activation.gone else activation

    async def _halve(
        self, activation: Activation, envelopes: Sequence[Envelope], refusal: StoreRefused
    ) -> Activation | None:
        fresh = await self.host.reload(activation)
        if fresh is None:
            return None
        if len(envelopes) == 1:
            self.host.reply(envelopes[0], Refused(CONSTRAINTS.get(refusal.constraint or "", "refused")))
            return fresh
        half = len(envelopes) // 2
        after_first = await self._replay_some(fresh, envelopes[:half])
        return None if after_first is None else await self._replay_some(after_first, envelopes[half:])
