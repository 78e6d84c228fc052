"""What happened on a stream while somebody was away: read from the store, in its present state, shown as if live."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from actors.actor import Numbers, ReadCounters, ShowPost
from actors.encoding import Encoder
from actors.keys import parse_key
from actors.runtime.sharing import Sharing
from protocol.commands import Command
from protocol.delivery import Published
from protocol.views import Counters, CountersChanged
from store.base import Store, WrittenComment

PAGE_ROWS = 500
PAGE_BYTES = 256 << 10
"""One page of what changed: publications, and bytes of bodies."""
REACTED_MAX = 1_000
"""Comments whose reactions are told to someone who was away: those that changed last."""
ENCODED_AT_ONCE = 32
"""Comments rendered before others get their turn."""


class Missed(NamedTuple):
    """What a subscriber lacks, as one page in order."""

    items: Sequence[Published]
    through: int
    """The offset up to which it is complete."""
    more: bool
    """Whether the stream went further."""


class Past:
    """Reads the past of streams by key. Everything raises ``StoreUnavailable`` or ``DomainError``."""

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        *,
        ask: Callable[[str, Command], Awaitable[Any]],
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._ask = ask
        # After a failover all who watch a stream ask the same at once.
        self._sharing = Sharing()

    async def stop(self) -> None:
        await self._sharing.stop()

    async def missed(self, key: str, after: int, *, rows_max: int = PAGE_ROWS) -> Missed:
        """What changed beyond offset ``after``, in the order of the last changes."""
        return await self._sharing.read(
            ("missed", key, after, rows_max), partial(self._read_missed, key, after, rows_max)
        )

    async def _read_missed(self, key: str, after: int, rows_max: int) -> Missed:
        _, post_id = parse_key(key)
        changes = await self._store.changes(post_id, after, rows_max=rows_max, bytes_max=PAGE_BYTES)
        await render_ahead(self._encoder, changes.comments)
        items = [
            Published(written.comment.changed_offset, self._encoder.comment_changed(*written))
            for written in changes.comments
        ]
        if changes.post is not None:
            view = await self._ask(key, ShowPost())
            items.append(Published(changes.post.changed_offset, self._encoder.post_changed(view)))
            items.sort(key=lambda item: item.offset or 0)
        return Missed(items, changes.through, changes.through < changes.head)

    async def counters(self, key: str, after: int) -> CountersChanged:
        """The counters of now, with those of every comment that was reacted to since offset ``after``."""
        return await self._sharing.read(("counters", key, after), partial(self._read_counters, key, after))

    async def _read_counters(self, key: str, after: int) -> CountersChanged:
        _, post_id = parse_key(key)
        reacted = await self._store.reacted(post_id, after, REACTED_MAX)
        counters: CountersChanged = await self._ask(key, ReadCounters(comments=tuple(reacted)))
        return counters


def counters_changed(
    numbers: Numbers, views: tuple[int, int], watchers: int, of_comments: dict[str, dict[str, int]]
) -> CountersChanged:
    """The message that shows ``numbers``."""
    counters = Counters(
        comments=numbers.comments,
        reactions=numbers.reactions,
        applause=numbers.applause,
        views=views[0],
        viewers=views[1],
        watchers=watchers,
    )
    return CountersChanged(version=numbers.version, counters=counters, comments=of_comments)


async def render_ahead(encoder: Encoder, written: Sequence[WrittenComment]) -> None:
    """Encode what is about to be sent, some at a time: rendering is the one costly thing here."""
    for at, comment in enumerate(written):
        encoder.comment(*comment)
        if at % ENCODED_AT_ONCE == ENCODED_AT_ONCE - 1:
            await asyncio.sleep(0)
