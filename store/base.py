"""What actors ask of the store, and what the store promises; Postgres and its in-memory twin pass one contract suite.

All writes of actors go through ``commit``, fenced by the slots that their worker owns. The rest are reads, and the few
statements that need no owner: names and the bookkeeping of workers and slots.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from msgspec import Struct

from store.feeds import Feeds
from store.finding import Finding
from store.graph import Graph
from store.notifications import Notifications
from store.rows import (
    AccountRow,
    AlarmRow,
    Author,
    CommentRow,
    FanoutRow,
    FindingRow,
    MarkRow,
    OperationRow,
    OutboxRow,
    PostRow,
    PostStateRow,
    PostViewsRow,
    ReactionRow,
    Row,
    SessionRow,
    SnapshotRow,
    UserStateRow,
)
from store.timelines import Timelines

SLOTS = 256


class StoreUnavailable(Exception):
    """The store cannot be reached, or went away in the middle: the outcome of a write is unknown."""


class StoreRefused(Exception):
    """The store rejects the data itself (Postgres classes 22 and 23); nothing of the batch was written.

    ``constraint`` names the violated constraint where there is one.
    """

    def __init__(self, message: str, constraint: str | None = None) -> None:
        super().__init__(message)
        self.constraint = constraint


class StoreMismatch(Exception):
    """The database is not one this program may use: another slot count, a newer schema, too old a server."""


class Fence(NamedTuple):
    """What a batch expects of a slot, and by how much its head rises: 0 for snapshots, alarms and views."""

    epoch: int
    head: int
    count: int  # type: ignore[assignment]  # It hides tuple.count, which nobody needs.


class Claim(NamedTuple):
    """A slot as it was when it became ours."""

    epoch: int
    head: int


class LiveWorker(NamedTuple):
    """A worker that nobody has declared dead."""

    id: UUID
    node: str
    lease_s: float
    """What is left of its lease by the store's clock; below 0 it is over, and anyone may declare the worker dead."""


class Owners(NamedTuple):
    """Who holds what, at one moment."""

    live: list[LiveWorker]
    """By id."""
    slots: dict[int, tuple[UUID, int]]
    """(owner, epoch) of each slot that a live worker holds."""


class Batch(Struct, kw_only=True):
    """One commit: rows of many actors, each row once, as its final image.

    ``writes`` maps a row's type to its images by (slot, identity); None deletes the row, if it is there.
    """

    worker: UUID
    fences: dict[int, Fence]
    writes: dict[type[Row], dict[tuple[int, tuple[Any, ...]], Row | None]]


class Loaded(Struct, kw_only=True):
    """What every activation begins with, whatever the actor."""

    snapshot: SnapshotRow | None = None
    operations: list[OperationRow] = []
    """All that were not purged, oldest first: what is too old the actor purges, and has to know of for that."""
    marks: list[MarkRow] = []
    alarms: list[AlarmRow] = []

    @property
    def tail_rows(self) -> int:
        """Rows that are newer than the snapshot."""
        return 0


class LoadedPost(Loaded, kw_only=True):
    """A post: its rows, and what changed after the snapshot."""

    post: PostRow | None = None
    author: Author | None = None
    state: PostStateRow | None = None
    fanout: FanoutRow | None = None
    """While it is being pushed to followers."""
    finding: FindingRow | None = None
    views: PostViewsRow | None = None
    comments: list[CommentRow] = []
    """Version above the snapshot's, by id; the bodies may be empty."""
    reactions: list[ReactionRow] = []
    """Version above the snapshot's."""

    @property
    def tail_rows(self) -> int:
        return len(self.comments) + len(self.reactions)


class LoadedUser(Loaded, kw_only=True):
    account: AccountRow | None = None
    state: UserStateRow | None = None
    sessions: list[SessionRow] = []
    """Neither revoked nor expired."""
    unread: list[tuple[int, int]] = []
    """(id, grown offset) of the notifications that grew since the user read them, and are not gone."""


class WrittenComment(NamedTuple):
    """A comment with the face of its author; None: anonymised, or never had an account."""

    comment: CommentRow
    author: Author | None


class Changes(NamedTuple):
    """What changed on a stream after an offset, and the head, read in one statement."""

    comments: list[WrittenComment]
    """By ``changed_offset``, ascending."""
    post: PostRow | None
    """The post itself, if it changed; its place in the order is its ``changed_offset``."""
    post_author: Author | None
    head: int
    through: int
    """Everything up to this offset is included: the head, or the last row's offset of a full page."""


class PostSummary(NamedTuple):
    post: PostRow
    author: Author | None
    state: PostStateRow
    views: int
    viewers: int


class Meta(NamedTuple):
    slots: int
    epoch: str
    secret: bytes
    """Random, made once for this database: what tokens are signed with unless configured."""


class Store(Protocol):
    """Every method raises ``StoreUnavailable`` when the store cannot be reached within its own deadlines (5 s)."""

    graph: Graph
    """Who follows, blocks and mutes whom."""
    timelines: Timelines
    """Home timelines and the posts of one author."""
    feeds: Feeds
    """What live feeds bring."""
    notifications: Notifications
    """What people are told of."""
    finding: Finding
    """Bookmarks, hot and recent posts, and search."""

    # -- ownership

    async def warm(self) -> None:
        """Do beforehand what the first commands would have to wait for."""
        ...

    async def meta(self) -> Meta: ...

    async def new_epoch(self) -> str:
        """Change the epoch of all streams: every cursor handed out before is foreign from now on."""
        ...

    async def agree(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Put ``settings`` in force, unless a worker holds a lease; returns those in force then.

        Of two who began with different ones at the same moment, both before their first lease, the one whose settings
        are not in force finds it out by asking again once its own lease runs.
        """
        ...

    async def register(self, worker: UUID, node: str, ttl_s: float) -> None:
        """Add a live worker whose lease runs for ``ttl_s`` from now, by the store's clock."""
        ...

    async def renew(self, worker: UUID, ttl_s: float) -> bool:
        """Extend the lease; False if the worker is no longer live: it must drop everything."""
        ...

    async def expire(self, *, node: str | None = None) -> int:
        """Declare dead the workers whose lease is over, or all whose node begins with ``node``; returns how many."""
        ...

    async def retire(self, worker: UUID) -> None:
        """The worker's own last word: it holds nothing any more and is dead."""
        ...

    async def claim(self, worker: UUID, slots: Iterable[int] | None = None) -> dict[int, Claim]:
        """Take every slot (of ``slots``, or of all) that is nobody's, a dead worker's, or one's own: epoch + 1.

        Waits for a statement that still holds a slot's row. Returns what was taken; a slot of another live worker is
        not among it.
        """
        ...

    async def release(self, worker: UUID, epochs: Mapping[int, int]) -> None:
        """Give back each slot that ``worker`` holds by the claim of that epoch; others are left as they are."""
        ...

    async def owners(self) -> Owners:
        """The live workers and what they hold, read in one statement."""
        ...

    # -- writing

    async def commit(self, batch: Batch) -> dict[int, int | None]:
        """Write ``batch`` in one transaction and one round trip; each slot of it whole or not at all.

        Returns:
            For every fence its slot's new head, or None if the slot has another owner, epoch or head: then nothing
            of that slot was written.

        Raises:
            StoreRefused: A row is rejected; nothing was written.
            StoreUnavailable: The outcome is unknown; claim before loading.
        """
        ...

    async def claim_names(
        self, kind: Literal["account", "post"], names: Sequence[tuple[str, str]], id: int
    ) -> int | str:
        """Bind all ``names`` (kind of name, name) to ``id``, or none.

        Returns:
            ``id``; or the one other id that all already taken names have in common while the thing itself (the account
            or post of ``kind``) was never made, and the free names are then bound to it too; or the first kind of
            name that is taken.
        """
        ...

    async def release_name(self, kind: str, name: str, id: int) -> None:
        """Give a name back; a no-op if it is bound to another id."""
        ...

    async def resolve(self, kind: str, name: str) -> int | None:
        """The id that a name is bound to."""
        ...

    async def account_number(self) -> int:
        """A new account id: small and dense, so that bitmaps of people stay small. Never given twice."""
        ...

    # -- reading

    async def load_post(self, post_id: int) -> LoadedPost: ...

    async def load_user(self, account_id: int) -> LoadedUser: ...

    async def comments(self, post_id: int, ids: Sequence[int]) -> list[WrittenComment]:
        """Those of ``ids`` that exist, by id."""
        ...

    async def changes(self, post_id: int, after: int, *, rows_max: int, bytes_max: int) -> Changes:
        """What changed on a post's stream beyond offset ``after``: a page, with the head, in one statement.

        At least one row if there is any, then as many as fit into both bounds (bytes of bodies).
        """
        ...

    async def reacted(self, post_id: int, after: int, limit: int) -> list[int]:
        """Comments whose reactions changed since the post's stream stood at ``after``, and perhaps some others.

        At most ``limit``, those that changed last.
        """
        ...

    async def posts(
        self,
        *,
        before: int | None = None,
        tag: str | None = None,
        author_id: int | None = None,
        reader: int = 0,
        states: Sequence[str] = ("published",),
        limit: int = 20,
    ) -> list[PostSummary]:
        """Posts by id, newest first, below id ``before``; pages of embedding sites are not among them.

        Nor are, for a ``reader`` (0: nobody), those by whom the reader mutes, or whom a block parts from the reader.
        """
        ...

    async def summaries(self, ids: Sequence[int]) -> list[PostSummary]:
        """Those of ``ids`` that exist, in no particular order."""
        ...

    async def comments_of(self, account_id: int, *, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
        """(post, comment) of everything an account wrote that still bears its name, in order, beyond ``after``."""
        ...

    async def authors(self, ids: Sequence[int]) -> dict[int, Author]:
        """Those of ``ids`` who have an account, and have not deleted it. So wherever an author is read."""
        ...

    async def revoked_sessions(self, since_ms: int) -> list[tuple[str, int]]:
        """(session id, time) of the sessions revoked since, earliest first."""
        ...

    async def ended_accounts(self, since_ms: int) -> list[tuple[int, int]]:
        """(account, time) of the accounts deleted since, earliest first."""
        ...

    async def alarms(self, slots: Sequence[int], *, before_ms: int, limit: int) -> list[AlarmRow]:
        """Alarms of ``slots`` due before a time, earliest first."""
        ...

    async def outbox(self, slots: Sequence[int]) -> list[OutboxRow]:
        """Every unacknowledged message sent from ``slots``, by slot and id."""
        ...
