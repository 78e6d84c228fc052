"""Does the jobs of actors."""

from typing import Final, assert_never

from actors.jobs import ChunkPushed, CloseEdges, EdgesClosed, Job, PushChunk, TendTimeline, TimelineTended
from protocol.commands import Command
from store.timelines import Timelines

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
            return TimelineTended(wishes=wishes, tended=await timelines.tend(reader, wishes))
        case _:
            assert_never(job)
