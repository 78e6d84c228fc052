"""What keeps timelines, feeds and notifications whole, each without one thing that it needs."""

from collections.abc import Iterator
from contextlib import contextmanager

from actors.actor import Decision, FanoutEnded
from actors.fanout import FANOUT_ALARM
from actors.jobs import ChunkPushed
from actors.poststate import PostState
from actors.runtime.feeds import SWEEP_S, SWEPT_MAX, Feeds
from protocol.views import Ack
from store.memory_feeds import MemoryFeeds
from store.memory_timelines import MemoryTimelines, Posts, _Edge
from store.rows import PostRow
from store.timelines import Wishes
from tests.simulation.patching import replaced


@contextmanager
def without_blocks() -> Iterator[None]:
    """An edge counts though a block stands between the two, for as long as it is there."""
    with replaced(MemoryTimelines, _apart=_never), replaced(MemoryFeeds, _apart=_never):
        yield


def _never(self: object, one: int, other: int) -> bool:
    return False


def first_chunk_only(state: PostState, command: ChunkPushed, now_ms: int) -> Decision:
    """The job is over as soon as some of it is done."""
    return Decision(answer=Ack, events=(FanoutEnded(state.post_id),), alarms={FANOUT_ALARM: None})


def pushed_at_once(self: MemoryTimelines, reader: int, author: int, wishes: Wishes) -> None:
    """What the author wrote before is not copied, and not looked for."""
    if self._edge(reader, author) is None and self._should_push(author, wishes, wishes.reading):
        self._edges[reader, author] = _Edge(self._made(reader, author), pushed=True)


def nothing_below_the_floor(self: MemoryTimelines, reader: int, posts: Posts, bottom: int) -> Iterator[PostRow]:
    for author in self._followees(reader):
        edge = self._edge(reader, author)
        if (edge is None or not edge.pushed) and self._shown(reader, author):
            yield from (post for place, post in posts.get(author, {}).items() if place > bottom)


async def sweep_nothing(self: Feeds) -> None:
    """The position moves on over whatever no hint has told of."""
    swept = await self._store.feeds.swept([], since=self._position, limit=SWEPT_MAX)
    self._position = max(self._position, swept.through)
    self._sweep_at = self._env.monotonic() + SWEEP_S
