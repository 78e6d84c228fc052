"""Whether the workers that live, by the table, are heard over the bus too: if not, they may be on another one.

Two clusters that share a database but no bus would fail each other's requests and never know why.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from uuid import UUID

from actors.runtime.env import Env
from actors.runtime.messages import Here, process_of
from actors.runtime.peers import Peers
from store.base import Store
from store.bus import BusUnavailable

HERE_S = 2.0
"""Every worker is heard so often."""
UNHEARD_S = 7.0
"""Who lives and was not heard for so long is on another bus, or cut off from this one."""
ASK_S = 0.5
MET_TIMEOUT_S = 5.0
"""Longer than a lease: who is dead is known to be by then."""


class Hearing:
    """One a worker. ``live`` gives the workers that hold their lease, this one perhaps among them."""

    def __init__(self, env: Env, peers: Peers, *, live: Callable[[], Iterable[UUID]]) -> None:
        self._env = env
        self._peers = peers
        self._live = live
        self._heard_at: dict[bytes, float] = {}
        """Process → when it was heard last, or is expected to be heard since."""
        self._came = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        peers.handle(Here, self._hear)
        peers.on_interrupted(self._forgive)

    async def met(self, store: Store) -> None:
        """Wait until every worker that lives has answered; a no-op while the bus is down.

        Raises:
            BusUnavailable: One lives on, and does not answer.
        """
        deadline = self._env.monotonic() + MET_TIMEOUT_S
        while not self._peers.alone and not self._peers.down() and (missing := await self._missing(store)):
            if self._env.monotonic() >= deadline:
                count = len(missing)
                raise BusUnavailable(
                    f"this Redis does not lead to {count} workers that serve the same database: all must have one"
                )
            self._peers.send_all(Here(asks=True))
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_S):
                    while missing - self._heard_at.keys():
                        self._came.clear()
                        await self._came.wait()

    async def _missing(self, store: Store) -> set[bytes]:
        """The processes that hold a lease and were not heard."""
        live = {process_of(worker.id) for worker in (await store.owners()).live if worker.lease_s > 0}
        return live - self._heard_at.keys() - {self._peers.process}

    def start(self) -> None:
        if not self._peers.alone:
            self._task = asyncio.create_task(self._keep_saying(), name="here")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def unheard(self) -> int:
        """How many workers live and are not heard."""
        now = self._env.monotonic()
        return sum(now - self._heard_at.get(process, now) > UNHEARD_S for process in self._others())

    def _others(self) -> set[bytes]:
        return {process_of(worker) for worker in self._live()} - {self._peers.process}

    async def _keep_saying(self) -> None:
        while True:
            self._peers.send_all(Here(asks=False))
            others, now = self._others(), self._env.monotonic()
            self._heard_at = {process: self._heard_at.get(process, now) for process in others}
            await asyncio.sleep(HERE_S)

    def _hear(self, process: bytes, message: Here) -> None:
        self._heard_at[process] = self._env.monotonic()
        self._came.set()
        if message.asks:
            self._peers.send(process, Here(asks=False))

    def _forgive(self) -> None:
        """Nobody could be heard until now."""
        self._heard_at = dict.fromkeys(self._heard_at, self._env.monotonic())
