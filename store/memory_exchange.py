"""The exchange's twin in memory, between the workers of one process; time is that of the running loop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from store.exchange import (
    REJECTED_MAX,
    TAKEN_AGAIN_S,
    WAIT_S,
    Backlog,
    Entry,
    ExchangeUnavailable,
    Rejection,
)


class _Submitted(Struct):
    entry: Entry
    taken_at: float | None = None


class MemoryExchange:
    """See ``store.exchange.Exchange``; all workers may have the same."""

    def __init__(self, *, taken_again_s: float = TAKEN_AGAIN_S, wait_s: float = WAIT_S) -> None:
        self.away = False
        """While it is, nobody reaches it."""
        self.rejected: list[Rejection] = []
        self.listeners: list[Callable[[bytes], None]] = []
        self._taken_again_s = taken_again_s
        self._wait_s = wait_s
        self._submitted: dict[str, _Submitted] = {}
        self._last = 0
        self._came = asyncio.Event()

    def submit(self, fields: Mapping[bytes, bytes]) -> str:
        """Hand something in, as another system does; the entry's id."""
        self._last += 1
        id = f"{self._last}-0"
        self._submitted[id] = _Submitted(Entry(id, tuple(fields.items())))
        self._came.set()
        return id

    async def announce(self, messages: Sequence[bytes]) -> None:
        self._check()
        for message in messages:
            for hear in self.listeners:
                hear(message)

    async def take(self, limit: int) -> list[Entry]:
        self._check()
        if not self._ready():
            self._came.clear()
            try:
                async with asyncio.timeout(self._wait_s):
                    await self._came.wait()
            except TimeoutError:
                return []
        self._check()
        taken = self._ready()[:limit]
        for each in taken:
            each.taken_at = asyncio.get_running_loop().time()
        return [each.entry for each in taken]

    async def finish(self, accepted: Sequence[str], rejected: Sequence[Rejection]) -> None:
        self._check()
        for id in (*accepted, *(rejection.entry.id for rejection in rejected)):
            self._submitted.pop(id, None)
        self.rejected = [*self.rejected, *rejected][-REJECTED_MAX:]

    async def backlog(self) -> Backlog:
        self._check()
        return Backlog(len(self._submitted), sum(each.taken_at is not None for each in self._submitted.values()))

    def _ready(self) -> list[_Submitted]:
        """What is to be taken: again, or else for the first time."""
        late = asyncio.get_running_loop().time() - self._taken_again_s
        waiting = self._submitted.values()
        again = [each for each in waiting if each.taken_at is not None and each.taken_at <= late]
        return again or [each for each in waiting if each.taken_at is None]

    def _check(self) -> None:
        if self.away:
            raise ExchangeUnavailable("away")
