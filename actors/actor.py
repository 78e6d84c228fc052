"""What every actor is to the runtime: a state machine that proposes, and folds what was accepted.

Events are final images: an event holds the row as it will be, so that folding it into memory and writing it are the
same value, and a batch can keep the last image of each row.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, Self

from msgspec import Struct

from actors.news import Found
from protocol.commands import Command, Person
from protocol.notifications import Latest, UnreadChanged
from protocol.views import CountersChanged, PostView
from store.base import WrittenComment
from store.finding import Bookmarked
from store.graph import Relation, Ties
from store.notifications import Named, Target
from store.rows import (
    AccountRow,
    Author,
    BlockRow,
    BookmarkRow,
    CommentRow,
    FanoutRow,
    FindingRow,
    FollowRow,
    MuteRow,
    NotificationRow,
    PostRow,
    PostViewsRow,
    ReactionRow,
    Row,
    SessionRow,
)

# -- events -----------------------------------------------------------------------------------------------------------


class CommentSaved(Struct, frozen=True):
    """A comment was written, edited, approved, deleted or erased."""

    row: CommentRow
    author: Author | None


class PostSaved(Struct, frozen=True):
    """The post itself changed."""

    row: PostRow
    author: Author | None


class ReactionSaved(Struct, frozen=True):
    """One person's reaction or applause has a new amount."""

    row: ReactionRow


class AccountSaved(Struct, frozen=True):
    row: AccountRow


class SessionSaved(Struct, frozen=True):
    row: SessionRow


class Gone(Struct, frozen=True):
    """Stands in an event for a row that is deleted."""

    row_type: type[Row]
    identity: tuple[Any, ...]


class FollowSaved(Struct, frozen=True):
    row: FollowRow


class FollowRenewed(Struct, frozen=True):
    """The edge was asked for once more."""

    row: FollowRow


class FollowEnded(Struct, frozen=True):
    follower: int
    followee: int

    @property
    def row(self) -> Gone:
        return Gone(FollowRow, (self.follower, self.followee))


class BlockSaved(Struct, frozen=True):
    row: BlockRow


class BlockEnded(Struct, frozen=True):
    blocker: int
    blocked: int

    @property
    def row(self) -> Gone:
        return Gone(BlockRow, (self.blocker, self.blocked))


class MuteSaved(Struct, frozen=True):
    row: MuteRow


class MuteEnded(Struct, frozen=True):
    muter: int
    muted: int

    @property
    def row(self) -> Gone:
        return Gone(MuteRow, (self.muter, self.muted))


class FollowersCounted(Struct, frozen=True):
    """The person has so many followers now, which the state's own row says."""

    followers: int
    row: None = None


class Habits(Struct, frozen=True, kw_only=True):
    """What timelines go by, of one user: see ``UserStateRow``."""

    posts: int = 0
    posting: int = 0
    reading: int = 0
    seen_ms: int | None = None
    celebrity: bool = False
    arranged: str = ""
    arranged_for: int = 0


class HabitsChanged(Struct, frozen=True):
    """The state's own row says so."""

    habits: Habits
    row: None = None


class FanoutSaved(Struct, frozen=True):
    """The post is being pushed to followers, and has come so far."""

    row: FanoutRow


class FanoutEnded(Struct, frozen=True):
    post_id: int

    @property
    def row(self) -> Gone:
        return Gone(FanoutRow, (self.post_id,))


class NewsTold(Struct, frozen=True):
    """Everyone concerned is told of all that happened on the post; its state's own row says so."""

    about: tuple[tuple[int, int], ...] = ()
    """(person, comment): who is told, about which comment or about the post (0)."""
    row: None = None


class FindingSaved(Struct, frozen=True):
    """How the post is found has been brought up to date. The stream does not say so."""

    row: FindingRow


class Stirred(Struct, frozen=True):
    """So many have looked at the post that its heat is to be taken anew."""

    row: None = None


class BookmarkSaved(Struct, frozen=True):
    row: BookmarkRow


class BookmarkEnded(Struct, frozen=True):
    user_id: int
    post_id: int

    @property
    def row(self) -> Gone:
        return Gone(BookmarkRow, (self.user_id, self.post_id))


class NotificationSaved(Struct, frozen=True):
    row: NotificationRow


class NotificationDropped(Struct, frozen=True):
    """A group was so old that nobody is to find it any more. The stream does not say so."""

    user_id: int
    id: int

    @property
    def row(self) -> Gone:
        return Gone(NotificationRow, (self.user_id, self.id))


class NotificationsRead(Struct, frozen=True):
    """The person has read up to here, which the state's own row says."""

    offset: int
    row: None = None


class KindsSilenced(Struct, frozen=True):
    """Of these kinds the person wants no notification, which the state's own row says."""

    kinds: tuple[str, ...]
    row: None = None


PostEvent = CommentSaved | PostSaved | ReactionSaved | FanoutSaved | FanoutEnded | NewsTold | FindingSaved | Stirred
UserEvent = (
    AccountSaved
    | SessionSaved
    | FollowSaved
    | FollowRenewed
    | FollowEnded
    | BlockSaved
    | BlockEnded
    | MuteSaved
    | MuteEnded
    | FollowersCounted
    | HabitsChanged
    | BookmarkSaved
    | BookmarkEnded
    | NotificationSaved
    | NotificationDropped
    | NotificationsRead
    | KindsSilenced
)
Event = PostEvent | UserEvent
TIES: Final = (FollowSaved, FollowRenewed, FollowEnded, BlockSaved, BlockEnded, MuteSaved, MuteEnded)
"""Events that change whose posts the person wants to see; to follow once more may do so where a block has ended."""


class Viewed(Struct, frozen=True):
    """A look at a post. Volatile: counted in memory, flushed apart from the commits."""

    viewer: int
    at_ms: int


# -- what an actor wants ----------------------------------------------------------------------------------------------


class Message(Struct, frozen=True):
    """A durable message to another actor; the command is asked there in the name of nobody."""

    receiver: str
    command: Command


class Fetch(Struct, frozen=True):
    """An answer that lacks bodies: the runtime reads the comments ``ids`` after the gate, then calls ``finish``."""

    ids: Sequence[int]
    finish: Callable[[Mapping[int, WrittenComment]], Any]


class Decision(Struct, frozen=True):
    """What a command leads to. Without events, it was a read or a no-op."""

    answer: Callable[[], Any]
    """Called once the events are applied; gives the answer, or a ``Fetch`` that completes it, or a ``Job`` to do."""
    events: tuple[Event, ...] = ()
    viewed: Viewed | None = None
    alarms: Mapping[str, int | None] = {}
    """Timers to set (Unix milliseconds) or clear (None), by name."""
    messages: tuple[Message, ...] = ()


class CommentsNeeded(Struct, frozen=True):
    """``decide`` needs these comments in memory."""

    ids: tuple[int, ...]


class RelationsNeeded(Struct, frozen=True):
    """``decide`` needs to know how the person and these accounts stand to each other by now."""

    ids: tuple[int, ...]


class BookmarkNeeded(Struct, frozen=True):
    """``decide`` needs to know of a post whether it can be read, and whether the person has a bookmark on it."""

    post: int


class TracesNeeded(Struct, frozen=True):
    """``decide`` needs what the account left elsewhere: writings, ties, bookmarks, and who was told its name."""

    limit: int
    """Of each kind."""


class NewsNeeded(Struct, frozen=True, kw_only=True):
    """Telling people what happened on the post needs to know more of it."""

    comments: tuple[int, ...] = ()
    handles: tuple[str, ...] = ()
    gone: tuple[int, ...] | None = None
    """Who was told about these comments; if there are none, about anything of the post. None: nothing is gone."""


class NoticesNeeded(Struct, frozen=True, kw_only=True):
    """``decide`` needs what the person was told before, and what that names."""

    ids: tuple[int, ...] = ()
    """As of ``RelationsNeeded``."""
    among: tuple[int, ...] = ()
    """The same, but only of those of them whom the person blocks or mutes, or is blocked by: there may be many."""
    targets: tuple[Target, ...] = ()
    about: tuple[tuple[int, int], ...] = ()
    """(post, comment); comment 0: anything of the post."""
    naming: tuple[int, ...] = ()


class OldNoticesNeeded(Struct, frozen=True):
    """``decide`` needs to know what the person was told so long ago that it is to be dropped."""

    kept: int
    """Groups that are kept, if they are not too old."""
    age_ms: int
    limit: int


Need = CommentsNeeded | RelationsNeeded | BookmarkNeeded | TracesNeeded | NewsNeeded | NoticesNeeded | OldNoticesNeeded


class Publication(Struct, frozen=True):
    """One event as its stream shows it; encoded only if somebody listens."""

    offset: int
    encode: Callable[[], bytes]


class Numbers(Protocol):
    """What an actor shows besides its stream: the latest value only. As of one durable version."""

    @property
    def version(self) -> int: ...

    def beyond(self, unsent: Self) -> Self:
        """These, with what nobody was sent yet of the ones before."""
        ...

    def sent(self) -> Self:
        """These, when they have been sent to all."""
        ...

    def message(self, views: tuple[int, int], watchers: int) -> Latest:
        """What shows them, together with the volatile (views, viewers) and watchers."""
        ...


SYSTEM = Person(id=0, handle="", name="", role="admin")
"""In whose name actors ask each other, and alarms ring."""


class RingAlarm(Command, frozen=True, kw_only=True):
    """A timer of the actor is due."""

    method = "alarm"
    name: str


class ReadHead(Command, frozen=True, kw_only=True):
    """Where the stream stands: the head's offset. Refused to who may not read it."""

    method = "head"
    writes = False
    answers = int


class ShowPost(Command, frozen=True, kw_only=True):
    """The post as its stream shows it, also a draft or a deleted one."""

    method = "show"
    writes = False
    answers = PostView


class ReadCounters(Command, frozen=True, kw_only=True):
    """The counters of the post, with the reactions of the ``comments``. Asked in nobody's name."""

    method = "counters"
    writes = False
    answers = CountersChanged
    comments: tuple[int, ...] = ()


class ReadUnread(Command, frozen=True, kw_only=True):
    """How many notifications are unread. Asked in nobody's name."""

    method = "unread"
    writes = False
    answers = UnreadChanged


class Actor(Protocol):
    """A post or a user. ``decide`` changes nothing; only ``apply``, ``look`` and the ``provide`` methods do."""

    version: int
    head: int
    """The last offset published on its stream; 0 for an actor without one."""
    watchers: int
    """Subscribers of its stream; volatile, set by the runtime before it decides."""

    @property
    def exists(self) -> bool:
        """Whether it was ever made; one that was not is not kept in memory."""
        ...

    def needs(self, command: Command) -> Need | None:
        """What has to be read from the store before ``decide`` can see ``command``."""
        ...

    def provide_comments(self, comments: Sequence[WrittenComment]) -> None: ...

    def provide_relations(self, relations: Sequence[Relation]) -> None: ...

    def provide_bookmark(self, post: int, stored: Bookmarked) -> None: ...

    def provide_traces(
        self, writings: Sequence[tuple[int, int]], ties: Ties, told: Sequence[int], bookmarks: Sequence[int]
    ) -> None: ...

    def provide_news(self, found: Found) -> None: ...

    def provide_notices(self, groups: Sequence[NotificationRow], named: Named) -> None: ...

    def provide_old_notices(self, ids: Sequence[int], oldest_ms: int | None) -> None: ...

    def decide(self, command: Command, by: Person, now: float) -> Decision:
        """Raises ``DomainError`` to refuse."""
        ...

    def apply(self, event: Event) -> None:
        """Fold one event into the state."""
        ...

    def look(self, viewed: Viewed) -> bool:
        """Count a view; whether the numbers changed."""
        ...

    def state_row(self) -> Row | None:
        """The row that changes with every commit, as it is now."""
        ...

    def views(self) -> tuple[int, int]:
        """(views, distinct viewers), volatile."""
        ...

    def views_row(self) -> PostViewsRow | None: ...

    def publication(self, event: Event) -> Publication | None:
        """How the stream shows an event that was just applied; None if it does not."""
        ...

    def authors(self) -> set[int]:
        """The ids of those whose names and addresses are in memory."""
        ...

    def author_changed(self, id: int, author: Author | None) -> None:
        """Someone has another name or address now, or none any more: show it in what is in memory."""
        ...

    def numbers(self, touched: Sequence[int]) -> Numbers | None:
        """The counters as of now, with those of the comments ``touched``."""
        ...

    def snapshot(self) -> bytes | None:
        """The bulky state, for the next activation."""
        ...

    def trim(self) -> None:
        """Nothing is undurable: caches may shrink to their bounds."""
        ...
