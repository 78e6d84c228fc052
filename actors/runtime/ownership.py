"""The slots of this worker, the lease on which it holds them, and what it knows of the other workers' slots.

Everything that changes who owns what happens in one task, step by step: read the table, claim what is free and should
be ours, give away what should be another's. The table in the store is the truth; what is known here of other workers
may be out of date, and is only used to find them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from actors.keys import SLOTS, slot_of
from actors.lease import LEASE_RENEW_S, LEASE_TTL_S, Lease
from actors.placement import MOVED_MAX, by_place, wishes
from actors.runtime.env import Env
from actors.runtime.messages import Claimed, Leaving, Look, Message, Released
from actors.runtime.metrics import Metrics
from actors.runtime.trouble import Trouble
from store.base import Claim, Owners, Store, StoreUnavailable

log = logging.getLogger("plaudit.ownership")

RETRY_S = 0.2
LOOK_GAP_S = 0.01
"""The table is not read more often than this, however many ask for it."""
ROUND_S = 0.2
"""Between two rounds of giving slots away."""
ORPHAN_S = 1.0
"""A slot that nobody has claimed for so long is claimed by whoever sees it."""
TAKEN_TIMEOUT_S = 0.2
"""So long a worker that ends waits for what it gave away to be claimed, before it gives more."""
RETIRE_TIMEOUT_S = 1.0
"""A store that hangs does not hold up the end: the lease ends by itself."""
STALE_S = LEASE_TTL_S - 2 * LEASE_RENEW_S
"""A worker with less left of its lease has missed a renewal: nothing is given to it."""


class OwnedByAnother(Exception):
    """Another live worker holds the slots."""


class Ownership:
    """Claims slots, renews the lease, and claims again what was lost.

    ``slots`` has an entry for each slot that is ours now: its epoch and the head that our next commit must find. A
    slot that is absent cannot be loaded from or written to. With ``alone`` all slots should be ours.
    """

    def __init__(
        self,
        store: Store,
        env: Env,
        metrics: Metrics,
        *,
        node: str,
        alone: bool,
        drain: Callable[[set[int]], Awaitable[list[str]]],
        announce: Callable[[Message], None],
        on_lost: Callable[[set[int], bool], None],
        on_gained: Callable[[set[int], Sequence[str]], None],
        on_changed: Callable[[bool], None],
    ) -> None:
        self._store = store
        self._env = env
        self._metrics = metrics
        self._node = node
        self._alone = alone
        self._drain = drain
        self._announce = announce
        self._on_lost = on_lost
        self._on_gained = on_gained
        self._on_changed = on_changed
        self.process = env.rng.getrandbits(64).to_bytes(8, "big")
        self.worker = self._new_id()
        self.slots: dict[int, Claim] = {}
        self.lease = Lease()
        self._leaving: set[int] = set()
        """Slots that are given away at this moment: nothing new is begun on them."""
        self._unsure: set[int] = set()
        """Slots that were ours a moment ago, and of which it is not known what was written last."""
        self._owners: dict[int, tuple[UUID, int]] = {}
        """The owners of slots as they were last seen, with the epoch of their claims."""
        self._live: list[UUID] = []
        self._well: dict[UUID, str] = {}
        """Those of the live workers that slots may be given to, with their labels."""
        self._going: set[UUID] = set()
        self._offered: set[int] = set()
        """Slots that were given back for us to claim."""
        self._left: list[str] = []
        """The actors that were in memory there, those asked last first."""
        self._wishers: dict[str, UUID] = {}
        self._wish: Mapping[int, UUID] = {}
        self._free_since: dict[int, float] = {}
        self._unserved_since: dict[int, float] = {}
        """Slots that are free, or owned by one whose lease is over."""
        self._seen = False
        """Whether the table was read yet."""
        self._closing = False
        self._looked_at = self._look_at = float("-inf")
        """When the table was read last, and is to be read next."""
        self._lease_trouble = Trouble("renewing the lease", log, env.monotonic)
        self._slots_trouble = Trouble("looking after slots", log, env.monotonic)
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def _new_id(self) -> UUID:
        """An id whose first half names this process; see ``messages``."""
        return UUID(bytes=self.process + self._env.rng.getrandbits(64).to_bytes(8, "big"))

    # -- life

    async def start(self, *, patience_s: float) -> None:
        """Register and claim. Raises ``OwnedByAnother`` if this worker should be alone and is not, after a wait."""
        await self._register()
        self._announce(Look())
        await self._settle()
        deadline = self._env.monotonic() + patience_s
        while self._alone and len(self.slots) < SLOTS:
            if self._env.monotonic() >= deadline:
                await self._store.retire(self.worker)
                raise OwnedByAnother
            await asyncio.sleep(RETRY_S)
            await self._renew()
            await self._store.expire()
            await self._settle()
        self._tasks = [
            asyncio.create_task(self._keep_renewing(), name="lease"),
            asyncio.create_task(self._keep_settling(), name="ownership"),
        ]

    async def hand_over_all(self) -> None:
        """Give every slot away, some at a time, while the others go on; nothing is claimed from now on."""
        self._closing = True
        self._announce(Leaving(self.worker))
        # What is being given away already is given away to the end.
        self._wake.set()
        await asyncio.wait(self._tasks[1:])
        steps, before = Steps(self._env.monotonic), len(self.slots)
        while self.slots and self.heirs():
            slots = set(sorted(self.slots)[:MOVED_MAX])
            await self._hand_over(slots, steps)
            await self._taken(slots)
            steps.done("claimed")
        log.info("gave %d of %d slots to others; of a round were %s", before - len(self.slots), before, steps)

    async def _taken(self, slots: set[int]) -> None:
        """Wait until ``slots`` are others': to hold more than they can take would only lengthen the pause."""
        # Not for long: the message that says so may be lost.
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKEN_TIMEOUT_S):
                while any(self.owner(slot) is None for slot in slots - self.slots.keys()):
                    self._changed.clear()
                    await self._changed.wait()

    async def stop(self) -> None:
        """Give everything back; nothing may be written after."""
        self._closing = True
        await self._end(self._tasks)
        self.lease.lost()
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(RETIRE_TIMEOUT_S):
                await self._store.retire(self.worker)
        self._announce(Look())

    async def _end(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
            await asyncio.wait([task])

    # -- what is ours

    def held(self) -> bool:
        return self.lease.held(self._env.monotonic())

    def ours(self, slot: int) -> bool:
        """Whether commands for ``slot`` are to be handled here, if need be after it was claimed again."""
        coming_back = slot in self._unsure and not self._closing
        return (slot in self.slots or coming_back) and slot not in self._leaving

    def owns(self, slot: int, epoch: int) -> bool:
        """Whether ``slot`` is ours, by the very claim ``epoch``."""
        claim = self.slots.get(slot)
        return claim is not None and claim.epoch == epoch

    async def owned(self, slot: int) -> Claim:
        """The claim on ``slot``; waits while it is not ours."""
        while (claim := self.slots.get(slot)) is None:
            self._changed.clear()
            await self._changed.wait()
        return claim

    def committed(self, slot: int, epoch: int, head: int) -> None:
        """A commit under the claim ``epoch`` has raised the head of ``slot``."""
        if self.owns(slot, epoch):
            self.slots[slot] = Claim(epoch, head)

    def lose(self, slots: Iterable[int]) -> None:
        """These slots are another's, or it is not known what was written: claim again before anything is loaded."""
        lost = {slot for slot in slots if self.slots.pop(slot, None) is not None}
        self._unsure |= lost
        self._forget(lost, gone=False)
        self.look()

    # -- what is others'

    def owner(self, slot: int) -> tuple[UUID, int] | None:
        """The other worker that was last seen to own ``slot``, and the epoch of its claim; None: nobody."""
        owner = self._owners.get(slot)
        return None if owner is None or owner[0] == self.worker else owner

    def live(self) -> list[UUID]:
        """The workers that were last seen alive, this one included."""
        return self._live

    def well(self) -> list[UUID]:
        """Those of them that renew their lease."""
        return list(self._well)

    def unowned(self) -> list[int]:
        """The slots that no live worker was seen to own."""
        return [slot for slot in range(SLOTS) if slot not in self.slots and self.owner(slot) is None]

    def orphans(self) -> int:
        """How many slots nobody has owned for longer than a move takes; alone, those that are not ours."""
        if self._alone:
            return SLOTS - len(self.slots)
        now = self._env.monotonic()
        # One that was not seen in the table without an owner is being given away, or claimed again.
        unserved = self._unserved_since.items()
        return sum(1 for slot, since in unserved if slot not in self.slots and now - since > ORPHAN_S)

    def heirs(self) -> bool:
        """Whether there are other workers that slots can be given to."""
        return not {self.worker}.issuperset(set(self._live) - self._going)

    def look(self) -> None:
        """Something may have changed: read the table soon."""
        self._look_at = min(self._look_at, self._looked_at + LOOK_GAP_S)
        self._wake.set()

    def asked_to_look(self) -> None:
        """Another worker says so; it may have come after we said that we are about to end."""
        self.look()
        if self._closing and self.slots:
            self._announce(Leaving(self.worker))

    def claimed(self, message: Claimed) -> None:
        """Another worker says what it has claimed."""
        news = {slot: epoch for slot, epoch in message.slots.items() if epoch > self._owners.get(slot, (None, 0))[1]}
        self._owners.update({slot: (message.worker, epoch) for slot, epoch in news.items()})
        if any(slot in self.slots for slot in news):
            # So we were declared dead: the table tells the rest.
            self.look()
        self._changed.set()
        self._on_changed(True)

    def released(self, message: Released) -> None:
        """Another worker gives slots back, and says for whom; those for us are claimed at once."""
        for slot, (_, epoch) in message.slots.items():
            if self._owners.get(slot, (None, epoch + 1))[1] <= epoch:
                del self._owners[slot]
        offered = {slot for slot, (heir, _) in message.slots.items() if heir == self.worker}
        if offered:
            self._offered |= offered
            self._left += (key for key in message.keys if slot_of(key) in offered)
            self._wake.set()

    def going(self, message: Leaving) -> None:
        """Another worker is about to end: it gets nothing more, and what it gives away is for the others."""
        self._going.add(message.worker)
        self.look()

    # -- the lease

    async def _register(self) -> None:
        sent_at = self._env.monotonic()
        await self._store.register(self.worker, self._node, LEASE_TTL_S)
        self.lease.renewed(sent_at)

    async def _renew(self) -> None:
        if self.slots and not self.held() and not self._lease_trouble.lasts:
            log.warning("the lease has lapsed before its renewal; commands were refused meanwhile")
        sent_at = self._env.monotonic()
        worker = self.worker
        if await self._store.renew(worker, LEASE_TTL_S):
            self.lease.renewed(sent_at)
        elif worker == self.worker:
            await self._begin_again()

    async def _begin_again(self) -> None:
        """Somebody declared this worker dead: drop everything, go on under a new id."""
        log.warning("declared dead; going on under a new id")
        self.lease.lost()
        # Nobody answers to the old id: what comes until the slots are another's, or ours again, is held.
        self._owners = {slot: owner for slot, owner in self._owners.items() if owner[0] != self.worker}
        self.worker = self._new_id()
        lost = self._unsure.union(self.slots)
        self.slots, self._unsure, self._offered = {}, set(), set()
        self._forget(lost, gone=True)
        self._on_changed(True)
        if not self._closing:
            await self._register()
            self.look()

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(LEASE_RENEW_S)
            try:
                await self._renew()
                self._lease_trouble.over()
            except StoreUnavailable as error:
                self._lease_trouble.met(error)
            except Exception:
                # A defect of ours must not end this task: the worker would serve nobody from then on, and not say so.
                log.exception("lease not renewed")

    # -- the table

    async def _keep_settling(self) -> None:
        while not self._closing:
            self._wake.clear()
            try:
                # At once: commands wait for these, and the table refuses what is another's by now.
                await self._claim([slot for slot in sorted(self._offered) if slot not in self.slots])
                if self._env.monotonic() >= self._look_at:
                    await self._settle()
                    self._slots_trouble.over()
            except StoreUnavailable as error:
                self._slots_trouble.met(error)
                self._look_at = self._env.monotonic() + RETRY_S
            except Exception:
                # As above: nothing would be claimed any more.
                log.exception("slots not looked after")
                self._look_at = self._env.monotonic() + LEASE_RENEW_S
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_at - self._env.monotonic()):
                    await self._wake.wait()

    async def _settle(self) -> None:
        """Read the table, claim, give away; then again after a while, sooner if there is more to do."""
        self._looked_at = self._env.monotonic()
        self._look_at = self._looked_at + LEASE_RENEW_S
        if self.lease.may_judge(self._looked_at) and await self._store.expire():
            self._announce(Look())
        worker = self.worker
        owners = await self._store.owners()
        if worker != self.worker:
            # Declared dead meanwhile, and asked to look again.
            return
        self._see(owners)
        await self._claim(self._wanted())
        surplus = self._surplus()
        if surplus:
            await self._hand_over(set(surplus[:MOVED_MAX]), Steps(self._env.monotonic))
        self._looked_at = self._env.monotonic()
        if self._unsure or surplus or self.unowned():
            self._look_at = min(self._look_at, self._looked_at + ROUND_S)

    async def _claim(self, slots: Sequence[int]) -> None:
        self._offered.difference_update(slots)
        left, self._left = self._left, []
        if not slots or self._closing:
            return
        worker = self.worker
        claimed = await self._store.claim(worker, slots)
        log.debug("claimed %d of %d slots", len(claimed), len(slots))
        if worker == self.worker:
            self._gain(claimed, left)

    def _see(self, owners: Owners) -> None:
        # What was announced since the table was read is newer than the table.
        known = self._owners
        self._owners = {
            slot: max(owner, known.get(slot, owner), key=lambda seen: seen[1]) for slot, owner in owners.slots.items()
        }
        self._live = [worker.id for worker in owners.live]
        self._going.intersection_update(self._live)
        self._well = {worker.id: worker.node for worker in owners.live if worker.lease_s > STALE_S}
        taken = {slot for slot in self.slots if owners.slots.get(slot) != (self.worker, self.slots[slot].epoch)}
        for slot in taken:
            del self.slots[slot]
        gone = {slot for slot in self._unsure if self.owner(slot) is not None}
        self._unsure -= gone
        if taken or gone:
            log.warning("%d slots were taken over by others", len(taken | gone))
            self._forget(taken | gone, gone=True)
        now = self._env.monotonic()
        over = {worker.id for worker in owners.live if worker.lease_s <= 0}
        held = {slot for slot, (owner, _) in owners.slots.items() if owner not in over}
        self._free_since = {slot: self._free_since.get(slot, now) for slot in range(SLOTS) if slot not in owners.slots}
        # What is so at the first look may have been so for long.
        since, known_since = now if self._seen else float("-inf"), self._unserved_since
        self._unserved_since = {slot: known_since.get(slot, since) for slot in range(SLOTS) if slot not in held}
        self._seen = True
        self._on_changed(bool(taken or gone) or self._owners != known)

    def _wanted(self) -> list[int]:
        """What to claim: ours in the table but not here, and of what is free that which should be ours."""
        if self._closing:
            return []
        now, wish = self._env.monotonic(), self._wishes()
        return [
            slot
            for slot in range(SLOTS)
            if slot not in self.slots
            and self.owner(slot) is None
            and (
                slot in self._owners
                or wish.get(slot) == self.worker
                or now - self._free_since.get(slot, now) >= ORPHAN_S
            )
        ]

    def _surplus(self) -> list[int]:
        """What is ours and should be another's, who is well."""
        if self._alone or self._closing:
            return []
        wish = self._wishes()
        return [slot for slot in sorted(self.slots) if wish.get(slot, self.worker) != self.worker]

    def _wishes(self) -> Mapping[int, UUID]:
        if self._alone:
            return dict.fromkeys(range(SLOTS), self.worker)
        well = {**self._well, self.worker: self._node}
        workers = by_place((label, worker) for worker, label in well.items() if not self._goes(worker))
        if workers != self._wishers:
            self._wishers, self._wish = workers, wishes(workers)
        return self._wish

    def _goes(self, worker: UUID) -> bool:
        return worker in self._going or (self._closing and worker == self.worker)

    def _gain(self, claimed: Mapping[int, Claim], left: Iterable[str]) -> None:
        self.slots.update(claimed)
        self._metrics.slots.set(len(self.slots))
        self._unsure.difference_update(claimed)
        self._owners.update({slot: (self.worker, claim.epoch) for slot, claim in claimed.items()})
        if not claimed:
            return
        self._changed.set()
        self._on_gained(set(claimed), [key for key in left if slot_of(key) in claimed])
        self._announce(Claimed(self.worker, {slot: claim.epoch for slot, claim in claimed.items()}))
        self._on_changed(True)

    async def _hand_over(self, slots: set[int], steps: "Steps") -> None:
        """Let what is under way on ``slots`` finish, then give them back for others to claim."""
        steps.begin()
        epochs: dict[int, int] = {}
        left: list[str] = []
        self._leaving |= slots
        try:
            left = await self._drain(slots)
            steps.done("drained")
            epochs = {slot: self.slots.pop(slot).epoch for slot in slots if slot in self.slots}
            for slot in epochs:
                self._owners.pop(slot, None)
            self._forget(set(epochs), gone=True)
            if epochs:
                await self._store.release(self.worker, epochs)
                self._metrics.handoffs.inc(len(epochs))
                steps.done("released")
                log.debug("gave %d slots back: %s", len(epochs), steps)
        except StoreUnavailable as error:
            # Still ours in the table, perhaps: the next look claims it again, or another's does when we are gone.
            log.warning("slots not given back: %s", error)
        finally:
            self._leaving -= slots
            wish = self._wishes()
            freed = {slot: (wish[slot], epoch) for slot, epoch in epochs.items() if slot in wish}
            self._announce(Released(freed, left))
            self._on_changed(True)

    def _forget(self, lost: set[int], *, gone: bool) -> None:
        """Have the others told that these slots are not ours; ``gone``: somebody else may have them meanwhile."""
        self._metrics.slots.set(len(self.slots))
        if lost:
            self._on_lost(lost, gone)


class Steps:
    """How long each step of giving slots away took, of all rounds the longest."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._longest_s: dict[str, float] = {}
        self.begin()

    def begin(self) -> None:
        """A round begins."""
        self._done_at = self._clock()

    def done(self, step: str) -> None:
        """``step`` is done, which began when the one before it was."""
        before, self._done_at = self._done_at, self._clock()
        self._longest_s[step] = max(self._longest_s.get(step, 0.0), self._done_at - before)

    def __str__(self) -> str:
        return ", ".join(f"{step} within {1000 * longest_s:.0f} ms" for step, longest_s in self._longest_s.items())
