"""Rings the durable timers of the slots that are ours.

Some of them gather: the longer one waits, the more is done at once. These are rung in turn, a few at a time: the next
when what one led to is durable, and no more in a second than a worker can do beside what it is asked. So what follows
writes yields to them, however many posts are written to: under full load a commit takes long, and carries a few.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from heapq import heappop, heappush
from typing import Any, Final

from actors.actor import RingAlarm
from actors.runtime.activation import Reply
from actors.runtime.env import Env
from actors.runtime.ownership import Ownership
from protocol.buckets import TokenBucket
from store.base import Store, StoreUnavailable
from store.rows import AlarmRow

log = logging.getLogger("plaudit.alarms")

HORIZON_S = 60.0
RESCAN_S = 30.0
"""The store is read so often, for what is due within the horizon; what is set meanwhile is noted as it commits."""
SCAN_GAP_S = 1.0
SCAN_MAX = 10_000
CLOCK_LOOK_S = 5.0
"""The clock is looked at so often while something is due later: it may be set forward."""
assert RESCAN_S < HORIZON_S
GATHERING_PER_S: Final = 100.0
"""Each costs some 1 to 2 ms of the worker and of Postgres, with the messages that it sends."""
GATHERING_AT_ONCE: Final = 4
"""Rung and not done."""
TURN_S: Final = 0.02
"""Nobody is woken for less."""

Entry = tuple[int, str, str]
"""Due (Unix ms), actor, name."""


class Alarms:
    """One a worker. An alarm that could not be handled is still in the store, and rung again after the next scan."""

    def __init__(
        self,
        store: Store,
        ownership: Ownership,
        env: Env,
        *,
        ring: Callable[[str, RingAlarm, Reply], None],
        gathering: Collection[str] = (),
    ) -> None:
        """``ring`` replies once: when what came of the alarm is durable, or if nobody heard it; a job that it led to
        is not waited for, as jobs have turns of their own. ``gathering`` are the names of those that may wait.
        """
        self._store = store
        self._ownership = ownership
        self._env = env
        self._ring = ring
        self._gathering = gathering
        self._due: list[Entry] = []
        self._in_turn: deque[Entry] = deque()
        """Those that gather, and are due."""
        self._turns = TokenBucket(GATHERING_PER_S, GATHERING_AT_ONCE, env.monotonic())
        self._ringing = 0
        """Those of them that were rung and are not done."""
        self._noted: set[Entry] = set()
        self._wake = asyncio.Event()
        self._scan_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._scan(), name="alarms: scan"),
            asyncio.create_task(self._run(), name="alarms: ring"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def look(self) -> None:
        """Slots have become ours: read what is due on them."""
        self._scan_now.set()

    def note(self, row: AlarmRow) -> None:
        """An alarm was set, durably."""
        entry = (row.due_ms, row.actor, row.name)
        if row.due_ms <= self._horizon_ms() and entry not in self._noted:
            self._noted.add(entry)
            heappush(self._due, entry)
            self._wake.set()

    def _horizon_ms(self) -> int:
        return int((self._env.clock() + HORIZON_S) * 1000)

    async def _scan(self) -> None:
        while True:
            self._scan_now.clear()
            slots = list(self._ownership.slots)
            try:
                rows = await self._store.alarms(slots, before_ms=self._horizon_ms(), limit=SCAN_MAX)
            except StoreUnavailable as error:
                log.warning("alarms not read: %s", error)
            else:
                for row in rows:
                    self.note(row)
            # An alarm that fails has its slot claimed anew, which asks for a scan: not more often than this.
            await asyncio.sleep(SCAN_GAP_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(RESCAN_S - SCAN_GAP_S):
                    await self._scan_now.wait()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now_ms = int(self._env.clock() * 1000)
            while self._due and self._due[0][0] <= now_ms:
                entry = heappop(self._due)
                if entry[2] in self._gathering:
                    self._in_turn.append(entry)
                else:
                    self._ring_one(entry, _ignore)
            waits_s = [] if (turn_s := self._ring_in_turn()) is None else [turn_s]
            if self._due:
                waits_s += [(self._due[0][0] - now_ms) / 1000, CLOCK_LOOK_S]
            try:
                async with asyncio.timeout(min(waits_s, default=None)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _ring_in_turn(self) -> float | None:
        """Ring those whose turn has come; the seconds until the next one's, if that is known."""
        while self._in_turn and self._ringing < GATHERING_AT_ONCE:
            wait_s = self._turns.take(self._env.monotonic())
            if wait_s > 0:
                return max(wait_s, TURN_S)
            self._ringing += 1
            self._ring_one(self._in_turn.popleft(), self._done)
        return None

    def _done(self, answer: Any) -> None:
        self._ringing -= 1
        if self._in_turn:
            self._wake.set()

    def _ring_one(self, entry: Entry, reply: Reply) -> None:
        self._noted.discard(entry)
        try:
            self._ring(entry[1], RingAlarm(name=entry[2]), reply)
        except Exception:
            # One alarm must not silence the others.
            log.exception("the alarm %s of %s was not rung", entry[2], entry[1])
            reply(None)


def _ignore(answer: Any) -> None:
    """Nobody waits for it."""
