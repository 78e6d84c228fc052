"""The slots of this worker, and the lease on which it holds them."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from uuid import UUID

from actors.keys import SLOTS
from actors.lease import LEASE_RENEW_S, LEASE_TTL_S, Lease
from actors.runtime.env import Env, new_uuid
from store.base import Claim, Store, StoreUnavailable

log = logging.getLogger("plaudit.ownership")

RETRY_S = 0.2
RETIRE_TIMEOUT_S = 1.0
"""A store that hangs does not hold up the end: the lease ends by itself."""


class OwnedByAnother(Exception):
    """Another live worker holds the slots."""


class Ownership:
    """Claims every slot, renews the lease, and claims again what was lost.

    ``slots`` has an entry for each slot that is ours now: its epoch and the head that our next commit must find. A
    slot that is absent cannot be loaded from or written to.
    """

    def __init__(self, store: Store, env: Env, *, node: str, on_lost: Callable[[Iterable[int]], None]) -> None:
        self._store = store
        self._env = env
        self._node = node
        self._on_lost = on_lost
        self.worker: UUID = new_uuid(env)
        self.slots: dict[int, Claim] = {}
        self.lease = Lease()
        self._changed = asyncio.Event()
        self._reclaiming: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    def held(self) -> bool:
        return self.lease.held(self._env.monotonic())

    async def start(self, *, patience_s: float) -> None:
        """Register and claim all slots. Raises ``OwnedByAnother`` if that cannot be had within ``patience_s``."""
        await self._register()
        deadline = self._env.monotonic() + patience_s
        while len(self.slots) < SLOTS:
            await self._store.expire()
            self.slots.update(await self._store.claim(self.worker, self.missing()))
            if len(self.slots) < SLOTS:
                if self._env.monotonic() >= deadline:
                    await self._store.retire(self.worker)
                    raise OwnedByAnother
                await asyncio.sleep(RETRY_S)
                await self._renew()
        self._renewing = asyncio.create_task(self._keep_renewing(), name="lease")

    async def stop(self) -> None:
        """Give everything back; nothing may be written after."""
        for task in (self._renewing, self._reclaiming):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self.lease.lost()
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(RETIRE_TIMEOUT_S):
                await self._store.retire(self.worker)

    def committed(self, slot: int, epoch: int, head: int) -> None:
        """A commit under the claim ``epoch`` has raised the head of ``slot``."""
        if self.owns(slot, epoch):
            self.slots[slot] = Claim(epoch, head)

    def owns(self, slot: int, epoch: int) -> bool:
        """Whether ``slot`` is ours, by the very claim ``epoch``."""
        claim = self.slots.get(slot)
        return claim is not None and claim.epoch == epoch

    def lose(self, slots: Iterable[int]) -> None:
        """These slots are another's, or it is not known what was written: claim again before anything is loaded."""
        lost = [slot for slot in slots if self.slots.pop(slot, None) is not None]
        if lost:
            self._on_lost(lost)
        if self._reclaiming is None or self._reclaiming.done():
            self._reclaiming = asyncio.create_task(self._reclaim(), name="reclaim")

    async def owned(self, slot: int) -> Claim:
        """The claim on ``slot``; waits while it is not ours."""
        while (claim := self.slots.get(slot)) is None:
            self._changed.clear()
            await self._changed.wait()
        return claim

    def missing(self) -> list[int]:
        """The slots that are not ours."""
        return [slot for slot in range(SLOTS) if slot not in self.slots]

    async def _register(self) -> None:
        sent_at = self._env.monotonic()
        await self._store.register(self.worker, self._node, LEASE_TTL_S)
        self.lease.renewed(sent_at)

    async def _renew(self) -> None:
        if self.slots and not self.held():
            log.warning("the lease has lapsed before its renewal; commands were refused meanwhile")
        sent_at = self._env.monotonic()
        if await self._store.renew(self.worker, LEASE_TTL_S):
            self.lease.renewed(sent_at)
        else:
            await self._begin_again()

    async def _begin_again(self) -> None:
        """Somebody declared this worker dead: drop everything, go on under a new id."""
        log.warning("declared dead; going on under a new id")
        self.lease.lost()
        lost = list(self.slots)
        self.slots.clear()
        self._on_lost(lost)
        self.worker = new_uuid(self._env)
        await self._register()
        self.lose(())

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(LEASE_RENEW_S)
            try:
                await self._renew()
            except StoreUnavailable as error:
                log.warning("lease not renewed: %s", error)

    async def _reclaim(self) -> None:
        while missing := self.missing():
            try:
                await self._store.expire()
                worker = self.worker
                claimed = await self._store.claim(worker, missing)
            except StoreUnavailable as error:
                log.warning("slots not claimed: %s", error)
            else:
                if worker == self.worker:
                    self.slots.update(claimed)
                    self._changed.set()
            if self.missing():
                await asyncio.sleep(RETRY_S)
