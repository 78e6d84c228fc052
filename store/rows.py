"""The rows of every table that actors write, as frozen structs: a row is always a final image.

A field is the column of the same name, but a time: ``created_ms`` (Unix milliseconds) is the column ``created_at
timestamptz``. ``table`` and ``key`` say where the row lives and what identifies it; the slot that fences it stands
beside it in the batch.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

from msgspec import Struct

AccountKind = Literal["member", "host", "guest"]
AccountState = Literal["active", "erasing", "deleted"]
Role = Literal["guest", "member", "author", "moderator", "admin"]
PostStatus = Literal["draft", "scheduled", "published", "deleted"]
CommentStatus = Literal["visible", "held", "deleted"]
CommentKind = Literal["comment", "pingback"]
NotificationKind = Literal["comment", "reply", "mention", "follow", "reaction", "applause"]


class Row(Struct, frozen=True, kw_only=True):
    """One row; two rows of the same table and key are two images of the same thing."""

    table: ClassVar[str]
    key: ClassVar[tuple[str, ...]]
    insert_only: ClassVar[bool] = False
    """Whether a second image of the same key is refused rather than put in the place of the first."""

    stamped: ClassVar[bool] = False
    """Whether a column ``tx`` that is no field of the row says which transaction wrote it last."""

    usual: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """What nearly every row has in some columns; a store may then leave these out of what it sends."""
    _identity: ClassVar[Callable[[Any], tuple[Any, ...]]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        values = attrgetter(*cls.key)
        cls._identity = values if len(cls.key) > 1 else lambda row: (values(row),)

    def identity(self) -> tuple[Any, ...]:
        """The values of the key's columns."""
        return type(self)._identity(self)


class AccountRow(Row, frozen=True, kw_only=True):
    table = "account"
    key = ("id",)
    id: int
    kind: AccountKind
    handle: str
    name: str
    email: str | None = None
    url: str | None = None
    role: Role = "member"
    password_hash: str | None = None
    state: AccountState = "active"
    version: int
    created_ms: int
    deleted_ms: int | None = None


class Author(NamedTuple):
    """The public face of an account, as it is shown beside what it wrote."""

    id: int
    handle: str
    name: str
    url: str | None


class UserStateRow(Row, frozen=True, kw_only=True):
    """What changes with every commit of a user."""

    table = "user_state"
    key = ("user_id",)
    user_id: int
    version: int
    head: int
    """The last offset published on the stream of the user."""
    followers: int
    following: int
    ties: int = 0
    """How often the user began or ended to follow, block or mute somebody."""
    posts: int = 0
    """Published ones."""
    posting: int = 0
    """How often the user publishes; see ``actors.rates``."""
    reading: int = 0
    """How often the user reads the timeline, by the same scale."""
    seen_ms: int | None = None
    """When the user last read it."""
    celebrity: bool = False
    """So many follow that posts are not pushed to them."""
    arranged: str = ""
    """The strategy that the edges to others were last arranged by."""
    arranged_for: int = 0
    """The rate of reading that they were arranged for."""
    read_offset: int = 0
    """Up to here on the stream, the user has read."""
    silenced: list[str] = []
    """Kinds of notification that the user does not want."""


class FollowRow(Row, frozen=True, kw_only=True):
    """One follows another. What the timelines keep of it in columns of their own is none of the follower's concern."""

    table = "follow"
    key = ("follower", "followee")
    follower: int
    followee: int
    created_ms: int
    version: int
    """Of the follower, when it last asked to follow: tells that from what was asked before."""


class BlockRow(Row, frozen=True, kw_only=True):
    """While it is there, no edge between the two counts, whichever way it goes."""

    table = "block"
    key = ("blocker", "blocked")
    blocker: int
    blocked: int
    created_ms: int


class MuteRow(Row, frozen=True, kw_only=True):
    table = "mute"
    key = ("muter", "muted")
    muter: int
    muted: int
    until_ms: int | None
    """When it ends by itself; None: not."""
    created_ms: int


class NotificationRow(Row, frozen=True, kw_only=True):
    """A group: what a person is told of one kind about one target, for some hours."""

    table = "notification"
    key = ("user_id", "id")
    user_id: int
    id: int
    """The offset at which it began."""
    kind: NotificationKind
    post_id: int
    """0: it is about none."""
    comment_id: int
    """0: about none, but about the post."""
    hour_ms: int
    """The hour in which it began: it is added to for 12 hours from then on."""
    count: int
    """Comments, replies or people that it stands for, by now."""
    sample: list[int]
    """The accounts that were the last to join, newest first."""
    changed_offset: int
    grown_offset: int
    """Of the last change that added to it: it is unread until one has read up to there."""
    created_ms: int
    updated_ms: int
    gone: bool = False
    """Everything that it stood for was taken back."""


class BookmarkRow(Row, frozen=True, kw_only=True):
    table = "bookmark"
    key = ("user_id", "post_id")
    user_id: int
    post_id: int
    place: int
    """The version of the user's actor that set it: what orders bookmarks."""
    created_ms: int


class SessionRow(Row, frozen=True, kw_only=True):
    """A signed-in device. The refresh token of generation g is derived from id and g; none is stored."""

    table = "session"
    key = ("id",)
    id: str
    account_id: int
    generation: int
    rotated_ms: int
    created_ms: int
    expires_ms: int
    revoked_ms: int | None = None


class PostRow(Row, frozen=True, kw_only=True):
    table = "post"
    key = ("id",)
    stamped = True
    id: int
    author_id: int | None
    slug: str | None
    title: str
    body: str
    tags: list[str]
    state: PostStatus
    comments_open: bool
    page_url: str | None
    changed_offset: int
    """Stream offset of the last published change of the post itself; 0 before the first."""
    created_ms: int
    publish_ms: int | None
    """When it is to be published; None unless scheduled."""
    published_ms: int | None
    published_id: int = 0
    """Its place among what is published, ordered by time as ids are; 0 before."""
    edited_ms: int | None


class PostStateRow(Row, frozen=True, kw_only=True):
    """What changes with every commit of a post: exact counters, and where its stream stands."""

    table = "post_state"
    key = ("post_id",)
    usual = MappingProxyType({"reactions": {}, "applause": 0})
    post_id: int
    version: int
    head: int
    """The last offset published on the stream."""
    last_comment_id: int
    comments: int
    """Visible comments."""
    reactions: dict[str, int]
    """Reactions on the post itself, by kind."""
    applause: int
    told: int = 0
    """The version up to which people were told of what happened here."""


class SnapshotRow(Row, frozen=True, kw_only=True):
    """An actor's bulky state at one version; what is newer is read from the rows."""

    table = "snapshot"
    key = ("actor",)
    actor: str
    version: int
    head: int
    data: bytes


class PostViewsRow(Row, frozen=True, kw_only=True):
    """Views, flushed apart from the commits: absolute totals, and who viewed in the half hour since ``window_ms``."""

    table = "post_views"
    key = ("post_id",)
    post_id: int
    views: int
    viewers: int
    window_ms: int
    window_viewers: bytes
    all_viewers: bytes


class FanoutRow(Row, frozen=True, kw_only=True):
    """A post is being pushed into the timelines of its author's followers: those up to ``after_follower`` have it."""

    table = "fanout"
    key = ("post_id",)
    post_id: int
    author_id: int
    published_id: int
    after_follower: int = 0


class FindingRow(Row, frozen=True, kw_only=True):
    """How a post is found."""

    table = "post_finding"
    key = ("post_id",)
    post_id: int
    heat: int
    """Its place among the hot posts; 0: it is in no list."""
    indexed_offset: int
    """What changed on the stream up to here can be searched."""


class CommentRow(Row, frozen=True, kw_only=True):
    table = "comment"
    key = ("post_id", "id")
    usual = MappingProxyType(
        {
            "state": "visible",
            "kind": "comment",
            "source": None,
            "author_name": None,
            "author_url": None,
            "edited_ms": None,
            "deleted_ms": None,
        }
    )
    post_id: int
    id: int
    """1, 2, 3 … within its post, in the order of arrival."""
    parent_id: int | None
    author_id: int | None
    """None: anonymised."""
    body: str
    state: CommentStatus
    kind: CommentKind
    changed_offset: int
    """Stream offset of the last published change; 0 while held."""
    version: int
    """The actor's version at the last change."""
    source: str | None
    """Where an imported comment came from; unique in its post."""
    author_name: str | None
    """The name of an imported author who has no account here."""
    author_url: str | None
    created_ms: int
    edited_ms: int | None
    deleted_ms: int | None


class ReactionRow(Row, frozen=True, kw_only=True):
    """One person's reaction of one kind. ``amount`` 0 is one taken back; applause has 0 to 50, others 1."""

    table = "reaction"
    key = ("post_id", "comment_id", "kind", "user_id")
    post_id: int
    comment_id: int
    """0: the post itself."""
    kind: str
    user_id: int
    amount: int
    version: int
    """The actor's version at the last change."""


class OperationRow(Row, frozen=True, kw_only=True):
    """A client's operation that was done: who repeats it gets ``result``. Unique by account and op over all actors."""

    table = "operation"
    key = ("account_id", "op")
    insert_only = True
    account_id: int
    op: str
    actor: str
    fingerprint: bytes
    result: bytes
    at_ms: int


class AlarmRow(Row, frozen=True, kw_only=True):
    """A durable timer of an actor; setting it again moves it."""

    table = "alarm"
    key = ("actor", "name")
    slot: int
    actor: str
    name: str
    due_ms: int


class OutboxRow(Row, frozen=True, kw_only=True):
    """A durable message from one actor to another, until it is acknowledged. ``id`` rises within the sender's slot."""

    table = "outbox"
    key = ("slot", "id")
    slot: int
    id: int
    sender: str
    receiver: str
    payload: bytes


class MarkRow(Row, frozen=True, kw_only=True):
    """The last message that a receiver has handled from a sender's slot: whatever is not beyond it was seen."""

    table = "mark"
    key = ("receiver", "slot")
    receiver: str
    slot: int
    id: int
