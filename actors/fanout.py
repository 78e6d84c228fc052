"""Decisions about a post on its way to people: its place among what is published, and the job that pushes it to them.

And to other systems, where there are any to hear of it.
"""

from msgspec import Struct
from msgspec.structs import replace

from actors.actor import Decision, Event, FanoutEnded, FanoutSaved, Message
from actors.jobs import AGAIN_MS, ChunkPushed, PushChunk
from actors.keys import ID_LOW_BITS, OUTSIDE, user_key
from actors.poststate import PostState
from protocol.exchange import PostAnnounced
from protocol.timelines import PostPublished, PostWithdrawn
from protocol.views import Ack
from store.rows import FanoutRow, PostRow

FANOUT_ALARM = "fanout"


class Consequences(Struct, frozen=True):
    """What goes with the event that publishes or deletes a post."""

    events: tuple[Event, ...] = ()
    alarms: dict[str, int | None] = {}
    messages: tuple[Message, ...] = ()


def place_of(post_id: int, published_ms: int, *, at_once: bool) -> int:
    """The place of a post: its own id if it was published as soon as it was made, else of when it was."""
    return post_id if at_once else published_ms << ID_LOW_BITS | post_id & ((1 << ID_LOW_BITS) - 1)


def published(state: PostState, row: PostRow, now_ms: int) -> Consequences:
    if row.page_url is not None:
        return Consequences()
    announcements = (Message(OUTSIDE, PostAnnounced(post=row.id)),) if state.announces else ()
    if row.author_id is None:
        return Consequences(messages=announcements)
    job = FanoutRow(post_id=row.id, author_id=row.author_id, published_id=row.published_id)
    return Consequences(
        events=(FanoutSaved(job),),
        alarms={FANOUT_ALARM: now_ms},
        messages=(Message(user_key(row.author_id), PostPublished()), *announcements),
    )


def withdrawn(state: PostState, row: PostRow) -> Consequences:
    """``row`` is the post as it was before it was deleted."""
    if row.author_id is None or row.page_url is not None or row.state != "published":
        return Consequences()
    return Consequences(
        events=() if state.fanout is None else (FanoutEnded(row.id),),
        alarms={FANOUT_ALARM: None},
        messages=(Message(user_key(row.author_id), PostWithdrawn()),),
    )


def due(state: PostState) -> Decision:
    job = state.fanout
    if job is None:
        return Decision(answer=Ack, alarms={FANOUT_ALARM: None})
    return Decision(answer=lambda: _chunk(job))


def pushed(state: PostState, command: ChunkPushed, now_ms: int) -> Decision:
    job = state.fanout
    if job is None or job.after_follower != command.began:
        # It was done twice; whoever did it first goes on.
        return Decision(answer=Ack)
    if command.ended is None:
        return Decision(answer=Ack, events=(FanoutEnded(job.post_id),), alarms={FANOUT_ALARM: None})
    further = replace(job, after_follower=command.ended)
    return Decision(
        answer=lambda: _chunk(further), events=(FanoutSaved(further),), alarms={FANOUT_ALARM: now_ms + AGAIN_MS}
    )


def _chunk(job: FanoutRow) -> PushChunk:
    return PushChunk(job.author_id, job.published_id, job.after_follower)
