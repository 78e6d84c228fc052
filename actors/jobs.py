"""Work on the store that actors have done outside their mailboxes, and how they are told what came of it.

A job is the answer of a decision: it begins once what the decision changed is durable. It may be done again at any
time. Where it fails, nobody is told: the alarm that began it is still set, and rings again.
"""

from msgspec import Struct

from protocol.commands import Command
from store.timelines import Tended, Wishes

AGAIN_MS = 3_000
"""An alarm that watches over a job is set so far ahead whenever the job has come further."""


INDEX_CHUNK = 500
"""Comments that one statement lets be found."""


class PushChunk(Struct, frozen=True):
    """Push a post to the next of its author's followers."""

    author: int
    place: int
    after: int


class ChunkPushed(Command, frozen=True, kw_only=True):
    """A chunk that began after one follower ended with another, or with the last of all (None)."""

    method = "fanout.pushed"
    began: int
    ended: int | None


class CloseEdges(Struct, frozen=True):
    """Have some more followers of ``author`` pull."""

    author: int


class EdgesClosed(Command, frozen=True, kw_only=True):
    method = "edges.closed"
    left: bool


class TendTimeline(Struct, frozen=True):
    reader: int
    wishes: Wishes


class TimelineTended(Command, frozen=True, kw_only=True):
    method = "timeline.tended"
    wishes: Wishes
    tended: Tended


class IndexPost(Struct, frozen=True):
    """Let be found what changed on a post's stream beyond an offset, at most ``INDEX_CHUNK`` of it."""

    post: int
    after: int


class PostIndexed(Command, frozen=True, kw_only=True):
    """What changed beyond one offset can be found, up to another."""

    method = "post.indexed"
    began: int
    through: int


Job = PushChunk | CloseEdges | TendTimeline | IndexPost
