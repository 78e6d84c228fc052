"""What tests of the bus share: a listener and counts that remember."""

import asyncio
from collections.abc import Callable

from store.bus import Bus

INTERRUPTED = None
DEADLINE_S = 10.0


class RecordingListener:
    """``heard`` has every message in order, and ``INTERRUPTED`` wherever it was told so."""

    def __init__(self, react: Callable[[bytes | None], None] = lambda heard: None) -> None:
        self.heard: list[bytes | None] = []
        self._react = react
        self._changed = asyncio.Event()

    def received(self, message: bytes) -> None:
        self._note(message)

    def interrupted(self) -> None:
        self._note(INTERRUPTED)

    def _note(self, heard: bytes | None) -> None:
        self.heard.append(heard)
        self._changed.set()
        self._react(heard)

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not enough():
                self._changed.clear()
                await self._changed.wait()

    async def until_heard(self, *heard: bytes | None) -> None:
        await self.until(lambda: set(heard) <= set(self.heard))


class RecordingCounts:
    def __init__(self) -> None:
        self.messages_sent = 0
        self.bytes_sent = 0
        self.messages_dropped = 0
        self.malformed_heard = 0
        self.lags_s: list[float] = []

    def sent(self, messages: int, size_bytes: int) -> None:
        self.messages_sent += messages
        self.bytes_sent += size_bytes

    def dropped(self, messages: int) -> None:
        self.messages_dropped += messages

    def malformed(self) -> None:
        self.malformed_heard += 1

    def lag(self, seconds: float) -> None:
        self.lags_s.append(seconds)


async def until_down(bus: Bus) -> str:
    """Why the bus is away, once it is."""
    async with asyncio.timeout(DEADLINE_S):
        while (why := bus.down()) is None:
            await asyncio.sleep(0.01)
    return why
