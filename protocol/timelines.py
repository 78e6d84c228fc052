"""What concerns timelines: what actors are told of posts that come and go, and of readers."""

from typing import NamedTuple

from msgspec import Raw

from protocol.commands import Command
from protocol.views import View


class PostPage(NamedTuple):
    posts: Raw
    """JSON of a list of ``PostView``, newest first."""
    next: int | None
    """The place below which the next page begins; None on the last."""
    cursor: str


class TimelinePage(View, frozen=True):
    posts: Raw
    """Newest first."""
    next: str | None
    """``before`` of the next page; null on the last."""
    cursor: str
    """Where the feed stands: go on live from here and nothing is lost between the page and live."""


class FeedOpened(View, frozen=True, tag="feed", tag_field="type"):
    """On ``feed:<id>``, when it is opened: where it goes on from. Then posts come, as on their own streams.

    A post may come more than once; keep the one with the highest ``version``.
    """

    cursor: str


class PostPublished(Command, frozen=True, kw_only=True):
    """Between actors: you have published a post."""

    method = "post.published"


class PostWithdrawn(Command, frozen=True, kw_only=True):
    """Between actors: a published post of yours is deleted."""

    method = "post.withdrawn"


class NoteReads(Command, frozen=True, kw_only=True):
    """Between actors: you have read your timeline so many times since this was noted last."""

    method = "timeline.read"
    reads: int
