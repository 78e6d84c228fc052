"""Does the jobs of actors, few at a time: those who wait for the store to answer a request come first."""

import asyncio
from typing import Final, assert_never

from actors.jobs import (
    INDEX_CHUNK,
    ChunkPushed,
    CloseEdges,
    EdgesClosed,
    IndexPost,
    Job,
    PostIndexed,
    PushChunk,
    TendTimeline,
    TimelineTended,
)
from protocol.commands import Command
from store.finding import Finding
from store.timelines import ENTRIES_MAX, Timelines

CHUNK: Final = 1_000
"""Followers that one statement pushes a post to, or has pull."""
PUSHING_MAX: Final = 64
"""Jobs of this kind that a worker does at once: the store takes many of them together."""
TENDING_MAX: Final = 1
INDEXING_MAX: Final = 1
"""Of these each is a statement; together they are fewer than a store has connections."""
INDEXING_REST: Final = 4.0
"""What is indexed can wait: after each such job, for so many times as long as it took, there is none."""
INDEXING_REST_MAX_S: Final = 1.0


class Jobs:
    """One a worker."""

    def __init__(self, timelines: Timelines, finding: Finding) -> None:
        self._timelines = timelines
        self._finding = finding
        self._begun: set[tuple[str, type[Job]]] = set()
        pushing, tending, indexing = map(asyncio.Semaphore, (PUSHING_MAX, TENDING_MAX, INDEXING_MAX))
        self._turns: dict[type[Job], asyncio.Semaphore] = {
            PushChunk: pushing,
            CloseEdges: tending,
            TendTimeline: tending,
            IndexPost: indexing,
        }

    async def do(self, key: str, job: Job) -> Command | None:
        """Do ``job``, in its turn; what the actor of ``key`` is to be told. Raises ``StoreUnavailable``.

        None if the actor has one of its kind here already: its alarm has rung before that one's turn came.
        """
        begun = (key, type(job))
        if begun in self._begun:
            return None
        self._begun.add(begun)
        try:
            async with self._turns[type(job)]:
                return await self._done(job)
        finally:
            self._begun.discard(begun)

    async def _index(self, job: IndexPost) -> Command:
        time = asyncio.get_running_loop().time
        began = time()
        through = await self._finding.index(job.post, job.after, limit=INDEX_CHUNK)
        await asyncio.sleep(min((time() - began) * INDEXING_REST, INDEXING_REST_MAX_S))
        return PostIndexed(began=job.after, through=through)

    async def _done(self, job: Job) -> Command:
        match job:
            case PushChunk(author, place, after):
                ended = await self._timelines.push(author, place, after=after, limit=CHUNK)
                return ChunkPushed(began=after, ended=ended)
            case CloseEdges(author):
                return EdgesClosed(left=await self._timelines.close_edges(author, limit=CHUNK))
            case TendTimeline(reader, wishes):
                tended = await self._timelines.tend(reader, wishes, entries_max=ENTRIES_MAX)
                return TimelineTended(wishes=wishes, tended=tended)
            case IndexPost():
                return await self._index(job)
            case _:
                assert_never(job)
