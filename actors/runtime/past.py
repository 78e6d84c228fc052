"""What happened on a stream while somebody was away: read from the store, in its present state, shown as if live."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from actors.encoding import Encoder
from actors.keys import parse_key
from actors.runtime.sharing import Sharing
from protocol.delivery import Published
from protocol.notifications import Latest
from store.base import WrittenComment

PAGE_ROWS = 500
PAGE_BYTES = 256 << 10
"""One page of what changed: publications, and bytes of bodies."""
ENCODED_AT_ONCE = 32
"""Comments rendered before others get their turn."""


class Missed(NamedTuple):
    """What a subscriber lacks, as one page in order."""

    items: Sequence[Published]
    through: int
    """The offset up to which it is complete."""
    more: bool
    """Whether the stream went further."""


class History(Protocol):
    """Reads the past of the streams of one kind of actor. Everything raises ``StoreUnavailable`` or ``DomainError``."""

    async def missed(self, number: int, after: int, rows_max: int) -> Missed:
        """What changed beyond offset ``after``, in the order of the last changes."""
        ...

    async def latest(self, number: int, after: int) -> Latest:
        """What the stream shows besides, as of now; with whatever of it changed since offset ``after``."""
        ...


class Past:
    """Reads the past of streams by key, as ``History`` does: once for all who ask the same at the same time."""

    def __init__(self, histories: Mapping[str, History]) -> None:
        self._histories = histories
        """By kind of actor."""
        # After a failover all who watch a stream ask the same at once.
        self._sharing = Sharing()

    async def stop(self) -> None:
        await self._sharing.stop()

    async def missed(self, key: str, after: int, *, rows_max: int = PAGE_ROWS) -> Missed:
        kind, number = parse_key(key)
        read = partial(self._histories[kind].missed, number, after, rows_max)
        return await self._sharing.read(("missed", key, after, rows_max), read)

    async def latest(self, key: str, after: int) -> Latest:
        kind, number = parse_key(key)
        return await self._sharing.read(("latest", key, after), partial(self._histories[kind].latest, number, after))


async def render_ahead(encoder: Encoder, written: Sequence[WrittenComment]) -> None:
    """Encode what is about to be sent, some at a time: rendering is the one costly thing here."""
    for at, comment in enumerate(written):
        encoder.comment(*comment)
        if at % ENCODED_AT_ONCE == ENCODED_AT_ONCE - 1:
            await asyncio.sleep(0)
