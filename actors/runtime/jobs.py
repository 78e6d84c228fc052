"""Does the jobs of actors."""

from typing import Final, assert_never

from actors.jobs import ChunkPushed, CloseEdges, EdgesClosed, Job, PushChunk, TendTimeline, TimelineTended
from protocol.commands import Command
from store.timelines import ENTRIES_MAX, Timelines

CHUNK: Final = 1_000
"""Followers that one statement pushes a post to, or has pull."""


async def done(timelines: Timelines, job: Job) -> Command:
    """Do ``job``; what its actor is to be told. Raises ``StoreUnavailable``."""
    match job:
        case PushChunk(author, place, after):
            return ChunkPushed(began=after, ended=await timelines.push(author, place, after=after, limit=CHUNK))
        case CloseEdges(author):
            return EdgesClosed(left=await timelines.close_edges(author, limit=CHUNK))
        case TendTimeline(reader, wishes):
            tended = await timelines.tend(reader, wishes, entries_max=ENTRIES_MAX)
            return TimelineTended(wishes=wishes, tended=tended)
        case _:
            assert_never(job)
