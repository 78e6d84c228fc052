"""What clients are shown: the JSON of posts, comments, counters and pages, and of what a stream publishes."""

from typing import Literal, Self

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace


class View(Struct, frozen=True, omit_defaults=False, kw_only=True):
    """A public JSON object. Times are RFC 3339 in UTC, ids decimal strings."""


class Author(View, frozen=True):
    id: str
    handle: str
    name: str
    url: str | None = None


class Counters(View, frozen=True):
    """The numbers of one post. ``comments`` counts what can be seen: neither deleted nor held."""

    comments: int
    reactions: dict[str, int]
    applause: int
    views: int
    viewers: int
    watchers: int


class Ack(View, frozen=True, omit_defaults=True):
    """A write is durable. ``offset`` is the stream position that holds it, where it has one."""

    id: str | None = None
    offset: int | None = None
    version: int | None = None
    counters: Counters | None = None
    total: int | None = None
    """Applause: the person's own total after the write."""


class CommentView(View, frozen=True):
    """A comment in its present state. A tombstone has neither body nor author and keeps its place."""

    id: str
    post: str
    parent: str | None
    author: Author | None
    body: str
    """The Markdown as written."""
    html: str
    """The same, rendered and sanitised: to be inserted as it is."""
    created_at: str
    edited_at: str | None
    state: Literal["visible", "held", "deleted"]
    kind: Literal["comment", "pingback"]
    offset: int
    """The stream offset of the last change."""


class CommentNode(View, frozen=True):
    """A comment on a page: where it stands and what hangs on it."""

    comment: Raw
    """A ``CommentView``; where ``apart``, without the words."""
    depth: int
    replies: int
    """Direct replies."""
    hidden: int
    """Descendants that this page's view does not include."""
    reactions: dict[str, int]
    mine: list[str] | UnsetType = UNSET
    """Kinds of reaction the reader has given; absent for anonymous readers."""
    apart: bool | UnsetType = UNSET
    """Whether a block, by either, stands between the author and the reader, or a mute by the reader that lasts. Then
    ``body`` and ``html`` are empty here; the comment read by itself has them all the same. Absent where no words are
    left out: for anonymous readers, moderators and admins, of what is held, and while the database is away."""


class CommentPage(View, frozen=True):
    comments: list[CommentNode]
    next: str | None
    """``after`` of the next page; null on the last."""
    total: int
    """Comments that can be seen on the post."""
    cursor: str
    """The stream's position: subscribe from here and nothing is lost between the page and live."""


class PostView(View, frozen=True):
    id: str
    slug: str | None
    title: str
    body: str
    html: str
    tags: list[str]
    author: Author | None
    state: Literal["draft", "scheduled", "published", "deleted"]
    comments_open: bool
    page_url: str | None
    created_at: str
    published_at: str | None
    publish_at: str | None
    edited_at: str | None
    version: int
    counters: Counters
    cursor: str
    mine: list[str] | UnsetType = UNSET
    applause_mine: int | UnsetType = UNSET
    bookmarked: bool | UnsetType = UNSET
    """Whether the reader has a bookmark on it; absent for anonymous readers, and in what streams and RPCs show."""


# -- publications on post:<id> ----------------------------------------------------------------------------------------


class CommentChanged(View, frozen=True, tag="comment", tag_field="type"):
    """A comment was written, edited, approved or deleted: its present state. Has an offset."""

    comment: Raw


class PostChanged(View, frozen=True, tag="post", tag_field="type"):
    """The post itself was edited, published or deleted. Has an offset."""

    post: Raw


class CountersChanged(View, frozen=True, tag="counters", tag_field="type"):
    """The latest counters, at most ten times a second; no offset. Drop one with a lower version than seen."""

    version: int
    counters: Counters
    comments: dict[str, dict[str, int]] = {}
    """Reactions of comments that changed since the last such message."""

    def lasting(self) -> Self:
        """What of it still concerns those who come later: they read the reactions of comments by themselves."""
        return replace(self, comments={})


class TypingChanged(View, frozen=True, tag="typing", tag_field="type"):
    """Who is writing now; no offset. An empty list means nobody."""

    people: list[str]
