"""One timer for all sockets: a hashed timing wheel, instead of a timer each."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

logger = logging.getLogger(__name__)

SLOTS: Final = 64
# Between two of them other callbacks run: a herd that connected in the same second must not stall the loop.
WAKES_AT_ONCE: Final = 256


class Sleeper(Protocol):
    def wake(self, now: float) -> float | None:
        """Do what is due, without waiting; returns seconds until the next time, None for never."""
        ...


class Wheel:
    """Wakes each sleeper once its delay is over, at most one tick late, in no order.

    ``clock`` gives seconds of a monotonic clock. A delay longer than the wheel (64 ticks) is cut to it: a sleeper
    that is woken looks whether it is due.
    """

    def __init__(self, clock: Callable[[], float], tick_s: float = 1.0) -> None:
        self._clock = clock
        self._tick_s = tick_s
        self._slots: list[dict[Sleeper, None]] = [{} for _ in range(SLOTS)]
        self._slot_of: dict[Sleeper, int] = {}
        self._turn = 0
        self._task: asyncio.Task[None] | None = None

    def schedule(self, sleeper: Sleeper, delay_s: float) -> None:
        """Wake ``sleeper`` after ``delay_s``; a time set before is forgotten."""
        self.cancel(sleeper)
        # Rounded up: the tick that runs now is over in part.
        ticks = int(min(delay_s / self._tick_s, SLOTS - 2)) + 1
        slot = (self._turn + ticks) % SLOTS
        self._slots[slot][sleeper] = None
        self._slot_of[sleeper] = slot

    def cancel(self, sleeper: Sleeper) -> None:
        slot = self._slot_of.pop(sleeper, None)
        if slot is not None:
            del self._slots[slot][sleeper]

    def __len__(self) -> int:
        return len(self._slot_of)

    async def __aenter__(self) -> "Wheel":
        self._task = asyncio.create_task(self._run(), name="wheel")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        next_tick = self._clock() + self._tick_s
        while True:
            await asyncio.sleep(max(0.0, next_tick - self._clock()))
            # After a stall the missed ticks follow at once.
            next_tick += self._tick_s
            await self.advance()

    async def advance(self) -> None:
        """One tick."""
        self._turn = (self._turn + 1) % SLOTS
        due = list(self._slots[self._turn])
        for start in range(0, len(due), WAKES_AT_ONCE):
            for sleeper in due[start : start + WAKES_AT_ONCE]:
                if self._slot_of.get(sleeper) == self._turn:
                    self._wake(sleeper)
            await asyncio.sleep(0)

    def _wake(self, sleeper: Sleeper) -> None:
        self.cancel(sleeper)
        try:
            delay_s = sleeper.wake(self._clock())
        except Exception:
            # One socket's failure must not stop the pings of all others.
            logger.exception("a socket could not be woken")
            return
        if delay_s is not None:
            self.schedule(sleeper, delay_s)
