"""What must hold, whatever happens: the oracles, and the journal of commits that they go by.

The journal is written by the store itself, in the step in which it commits. Everything that leaves a worker, and
everything that reaches a client, is held against it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from actors.actor import Actor
from actors.post import PostActor
from actors.user import UserActor
from protocol.commands import ANONYMOUS
from protocol.cursor import parse_cursor
from store.base import Batch
from store.memory import LateCommit, MemoryStore, RowT
from store.rows import (
    AccountRow,
    CommentRow,
    FindingRow,
    FollowRow,
    MarkRow,
    NotificationRow,
    OutboxRow,
    PostRow,
    PostStateRow,
    ReactionRow,
    UserStateRow,
)

Place = int
"""Of a row on its stream: a comment's id, or 0 for the post itself; the id of a notification."""


class Shown(Struct, frozen=True):
    """A comment as a client sees it."""

    id: int
    offset: int
    state: str
    body: str


class StreamJournal:
    """Which offsets of one stream hold the present state of something."""

    def __init__(self) -> None:
        self.head = 0
        self.offsets: dict[Place, int] = {}
        """Where each row stands now."""
        self.at: dict[int, Place] = {}
        """The same by offset: a subscriber who passes one of these by has a gap."""

    def moved(self, place: Place, offset: int) -> None:
        known = self.offsets.get(place)
        if known is not None:
            del self.at[known]
        self.offsets[place] = offset
        self.at[offset] = place

    def passed_by(self, after: int, before: int | None = None) -> list[int]:
        """The offsets beyond ``after``, and below ``before``, that hold the present state of a row."""
        below = self.head + 1 if before is None else before
        return [offset for offset in range(after + 1, below) if offset in self.at]


class PostJournal(StreamJournal):
    """What was committed of one post."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 0
        self.told = 0
        self.state: PostStateRow | None = None
        self.indexed = 0
        self.acknowledged = 0
        """The highest offset that an acknowledgement or a reply has shown to anybody."""
        self.images: set[Shown] = set()
        """Everything that a comment ever was."""
        self.folded: dict[Place, list[tuple[int, int]]] = defaultdict(list)
        """Offsets (above, below) at which a row may have stood for a moment within a commit that holds only its end."""

    def saw(self, shown: Shown) -> bool:
        """Whether the comment was ever committed so; of what came and went within one commit, only where it stood."""
        within = self.folded.get(shown.id, ())
        return shown in self.images or any(above < shown.offset < below for above, below in within)


class Journal:
    """Every commit, in order; the trace; and the first oracle that broke."""

    def __init__(self, clock: Callable[[], float], stop: Callable[[], None], say: Callable[[str], None]) -> None:
        self.violation: str | None = None
        self.digest = 0
        """Of the trace."""
        self._clock = clock
        self._stop = stop
        self._say = say
        self.posts: dict[int, PostJournal] = defaultdict(PostJournal)
        self.commits = 0
        self.fenced = 0
        self._epochs: dict[int, int] = {}
        self._created: dict[str, tuple[int, int]] = {}
        self._served: dict[int, tuple[int, object]] = {}
        self._accounts: dict[int, int] = defaultdict(int)
        """Account → version."""
        self._sent: dict[int, int] = defaultdict(int)
        """Slot → its last message."""
        self._receivers: dict[tuple[int, int], str] = {}
        """Of messages that are not acknowledged."""
        self._marks: dict[tuple[str, int], int] = defaultdict(int)

    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return self._clock()

    def trace(self, what: str) -> None:
        line = f"{self._clock():9.4f}  {what}"
        self.digest = crc32(line.encode(), self.digest)
        self._say(line)

    def violated(self, what: str) -> None:
        """Nothing that follows the first violation means anything."""
        if self.violation is None:
            self.violation = what
            self.trace(f"VIOLATED: {what}")
            self._stop()

    def require(self, holds: object, what: str) -> None:
        if not holds:
            self.violated(what)

    # -- commits

    def committed(self, store: "JournalledStore", batch: Batch, heads: dict[int, int | None]) -> None:
        """``batch`` was just written; of each slot the new head, or None."""
        self.commits += 1
        self.fenced += sum(head is None for head in heads.values())
        for slot, head in heads.items():
            if head is not None:
                epoch = batch.fences[slot].epoch
                self.require(epoch >= self._epochs.get(slot, 0), f"slot {slot}: the epoch went back to {epoch}")
                self._epochs[slot] = epoch
                self.serves(slot, epoch, batch.worker, "writes")
        befores: dict[int, int] = {}
        for (slot, _), state in batch.writes.get(PostStateRow, {}).items():
            if heads[slot] is not None and isinstance(state, PostStateRow):
                befores[state.post_id] = self._state(state)
        for (slot, _), found in batch.writes.get(FindingRow, {}).items():
            if heads[slot] is not None and isinstance(found, FindingRow):
                self._found(found)
        for row_type in (PostRow, CommentRow):
            for (slot, _), row in batch.writes.get(row_type, {}).items():
                if heads[slot] is not None and isinstance(row, CommentRow | PostRow):
                    self._row(row, befores)
        for post_id in befores:
            self._counters(store, post_id)
        self._outbox(batch, heads)

    def _outbox(self, batch: Batch, heads: dict[int, int | None]) -> None:
        """Messages are done in order and once, and given up only when they were done."""
        for (slot, _), account in batch.writes.get(AccountRow, {}).items():
            if heads[slot] is not None and isinstance(account, AccountRow):
                before = self._accounts[account.id]
                self.require(account.version > before, f"{account}: its version was {before} already")
                self._accounts[account.id] = account.version
        for (slot, _), mark in batch.writes.get(MarkRow, {}).items():
            if heads[slot] is not None and isinstance(mark, MarkRow):
                lane = mark.receiver, mark.slot
                self.require(
                    self._marks[lane] < mark.id <= self._sent[mark.slot],
                    f"{mark}: before it was {self._marks[lane]}, and {self._sent[mark.slot]} messages were sent",
                )
                self._marks[lane] = mark.id
        for (slot, identity), row in batch.writes.get(OutboxRow, {}).items():
            if heads[slot] is None:
                continue
            if isinstance(row, OutboxRow):
                self.require(row.id > self._sent[slot], f"{row}: {self._sent[slot]} messages were sent before")
                self._sent[slot] = row.id
                self._receivers[slot, row.id] = row.receiver
            elif (receiver := self._receivers.pop(identity, None)) is not None:
                done = self._marks[receiver, slot]
                self.require(identity[1] <= done, f"message {identity} is given up; {receiver} has done {done}")

    def _state(self, state: PostStateRow) -> int:
        """Returns the head before."""
        post = self.posts[state.post_id]
        before = post.head
        name = f"post {state.post_id}"
        # People were told, or can find it: nothing is shown anew.
        unseen = post.state is not None and replace(state, told=post.told) == post.state
        self.require(state.version > post.version or unseen, f"{name}: version {state.version} after {post.version}")
        self.require(post.told <= state.told <= state.version, f"{name}: told up to {state.told} after {post.told}")
        self.require(state.head >= before, f"{name}: the head went back from {before} to {state.head}")
        post.version, post.head, post.told, post.state = state.version, state.head, state.told, state
        return before

    def _found(self, row: FindingRow) -> None:
        post, offset = self.posts[row.post_id], row.indexed_offset
        name = f"post {row.post_id}"
        self.require(post.indexed <= offset <= post.head, f"{name}: indexed up to {offset} after {post.indexed}")
        post.indexed = offset

    def _row(self, row: CommentRow | PostRow, befores: dict[int, int]) -> None:
        post_id, place = (row.post_id, row.id) if isinstance(row, CommentRow) else (row.id, 0)
        post, offset = self.posts[post_id], row.changed_offset
        before = befores.get(post_id, post.head)
        known = post.offsets.get(place)
        name = f"post {post_id}, row {place}"
        self.require(before < offset <= post.head, f"{name}: offset {offset} is not in {before + 1} … {post.head}")
        self.require(offset not in post.at, f"{name}: offset {offset} has been given to row {post.at.get(offset)}")
        post.moved(place, offset)
        post.folded[place].append((before, offset))
        if isinstance(row, CommentRow):
            post.images.add(Shown(row.id, offset, row.state, row.body))
            if known is None:
                self._create(row)

    def _create(self, row: CommentRow) -> None:
        if row.body:
            first = self._created.setdefault(row.body, (row.post_id, row.id))
            self.require(first == (row.post_id, row.id), f"{row.body!r} is stored twice: {first}, {row.id}")

    def _counters(self, store: "JournalledStore", post_id: int) -> None:
        """Counters equal the rows."""
        state = store.row(PostStateRow, post_id)
        visible = sum(row.state == "visible" for row in store.of(CommentRow, post_id))
        given = [row for row in store.of(ReactionRow, post_id) if not row.comment_id]
        likes = sum(row.amount for row in given if row.kind == "like")
        applause = sum(row.amount for row in given if row.kind == "applause")
        counted = (state.comments, state.reactions.get("like", 0), state.applause)
        self.require(
            counted == (visible, likes, applause),
            f"post {post_id}: counters {counted}, rows {(visible, likes, applause)}",
        )

    # -- who serves

    def serves(self, slot: int, epoch: int, by: object, what: str) -> None:
        """An activation under ``epoch`` serves a read or has written: none of an older epoch may after it."""
        newest, who = self._served.get(slot, (0, by))
        self.require(epoch >= newest, f"slot {slot}: {by} {what} under epoch {epoch}, {who} has served under {newest}")
        if epoch > newest:
            self._served[slot] = (epoch, by)

    # -- what is shown

    def shown(self, post_id: int, comments: Iterable[Shown], where: str) -> None:
        """Nothing is shown that was never committed."""
        post = self.posts[post_id]
        for comment in comments:
            self.require(
                comment.offset <= post.head and post.saw(comment),
                f"{where} of post {post_id} shows what was never committed: {comment}",
            )

    def acknowledged(self, post_id: int, offset: int | None, version: int | None, where: str) -> None:
        """A reply leaves a worker that says so much is durable."""
        post = self.posts[post_id]
        self.require((offset or 0) <= post.head, f"{where}: offset {offset} of post {post_id} is not committed")
        self.require((version or 0) <= post.version, f"{where}: version {version} of post {post_id} is not committed")
        post.acknowledged = max(post.acknowledged, offset or 0)

    def read(self, post_id: int, cursor: str, floor: int, who: str) -> None:
        """Somebody is shown a post as it is at ``cursor``, who asked when ``floor`` had been shown to somebody."""
        position = parse_cursor(cursor)
        self.require(
            position is not None and position.offset >= floor,
            f"{who} reads post {post_id} at {position}, behind {floor}, which was shown before",
        )


class JournalledStore(MemoryStore):
    """The shared truth: keeps the journal as it writes."""

    journal: Journal

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.clock = clock
        self.observe: Callable[[Batch, set[int]], None] = lambda batch, passed: None
        """Is told of every commit, and of the slots that were written."""
        self._open: set[int] = set()
        """Transactions that go on."""

    def _write(self, batch: Batch) -> dict[int, int | None]:
        heads = super()._write(batch)
        self.journal.committed(self, batch, heads)
        self.observe(batch, {slot for slot, head in heads.items() if head is not None})
        return heads

    def horizon(self) -> int:
        return min(self._open, default=super().horizon())

    def _leave(self, fault: LateCommit, work: Callable[[], Any], locks: Callable[[], Iterable[int]]) -> None:
        """What holds its locks has its number already: others, with higher numbers, are seen before it."""
        if not fault.holds:
            super()._leave(fault, work, locks)
            return
        self._transactions += 1
        number = self._transactions
        self._open.add(number)

        def numbered() -> None:
            latest, self._transactions = self._transactions, number - 1
            try:
                work()
            finally:
                self._transactions = latest
                self._open.discard(number)

        super()._leave(fault, numbered, locks)

    async def _turn(self) -> None:
        """A call has travelled before it comes here, and its answer does so afterwards."""

    # -- for the simulation

    def seed_posts(self, ids: Iterable[int]) -> None:
        """Have posts, as they are after their creation."""
        for id in ids:
            post = PostRow(
                id=id,
                author_id=None,
                slug=None,
                title=f"Post {id}",
                body="",
                tags=[],
                state="published",
                comments_open=True,
                page_url=None,
                changed_offset=1,
                created_ms=self.now_ms(),
                publish_ms=None,
                published_ms=self.now_ms(),
                edited_ms=None,
            )
            state = PostStateRow(post_id=id, version=1, head=1, last_comment_id=0, comments=0, reactions={}, applause=0)
            journal = self.journal.posts[id]
            journal.version = journal.head = 1
            journal.moved(0, 1)
            self.table(PostRow)[post.identity()] = post
            self.table(PostStateRow)[state.identity()] = state

    def seed_people(self, people: Sequence[int], edges: Sequence[tuple[int, int]]) -> None:
        """Have accounts of people who follow each other."""
        for id in people:
            followers, following = (sum(edge[at] == id for edge in edges) for at in (1, 0))
            name = f"member{id}"
            account = AccountRow(id=id, kind="member", handle=name, name=name, version=1, created_ms=1)
            state = UserStateRow(user_id=id, version=1, head=0, followers=followers, following=following)
            self.table(AccountRow)[account.identity()] = account
            self.table(UserStateRow)[state.identity()] = state
            self._names["handle", name] = id
        for follower, followee in edges:
            edge = FollowRow(follower=follower, followee=followee, created_ms=1, version=1)
            self.table(FollowRow)[edge.identity()] = edge
            self._written_by[FollowRow, edge.identity()] = 0

    def row(self, row_type: type[RowT], *identity: Any) -> RowT:
        """As it is kept, not a copy."""
        return self.table(row_type)[identity]

    def of(self, row_type: type[RowT], id: int) -> Iterator[RowT]:
        """Those of one post or account, as they are kept, not copies; by no order."""
        return (row for key, row in self.table(row_type).items() if key[0] == id)

    def identities(self, row_type: type[RowT]) -> Collection[tuple[Any, ...]]:
        return self.table(row_type).keys()

    def owner(self, slot: int) -> tuple[UUID | None, int]:
        """Who owns ``slot`` at this very moment, and by which epoch."""
        return self._slots[slot].owner, self._slots[slot].epoch


def differences(store: JournalledStore, actor: Actor) -> str | None:
    """Where an actor in memory is not what is stored; only for one with nothing undurable."""
    if isinstance(actor, UserActor):
        account = next(store.of(AccountRow, actor.account_id), None)
        if actor.account != account:
            return f"{actor.key}: {actor.account} in memory, {account} stored"
        return _differing_user(store, actor)
    if not isinstance(actor, PostActor):
        return None
    state = store.row(PostStateRow, actor.post_id)
    in_memory = actor.state_row()
    if in_memory != state:
        return f"{actor.key}: {_differing(in_memory, state)}"
    rows = list(store.of(CommentRow, actor.post_id))
    if actor.tree.last_id != len(rows):
        return f"{actor.key}: {actor.tree.last_id} comments in memory, {len(rows)} stored"
    for row in rows:
        if actor.tree.visible(row.id) != (row.state == "visible"):
            return f"{actor.key}: comment {row.id} is {row.state}"
        kept = actor.recent.get(row.id)
        if kept is not None and kept.comment != row:
            return f"{actor.key}: comment {row.id}: {_differing(kept.comment, row)}"
    return None


def shown_by(actor: Actor) -> dict[str, object]:
    """What a post shows to somebody who is not signed in, of all that is in memory."""
    if not isinstance(actor, PostActor) or actor.post is None:
        return {}
    comments = {
        f"comment {id}": (actor.encoder.comment(*written), actor.tallies.counts(id))
        for id, written in actor.recent.items()
    }
    return {"post": actor.post_view(ANONYMOUS), "page": actor.tree.threads(0, "newest", 50, None), **comments}


def _differing_user(store: JournalledStore, actor: UserActor) -> str | None:
    in_memory, state = actor.state_row(), next(store.of(UserStateRow, actor.account_id), None)
    if state is None:
        return None
    if in_memory != state:
        return f"{actor.key}: {_differing(in_memory, state)}"
    groups = (row for row in store.of(NotificationRow, actor.account_id) if not row.gone)
    unread = {row.id: row.grown_offset for row in groups if row.grown_offset > state.read_offset}
    return None if actor.unread == unread else f"{actor.key}: {actor.unread} unread in memory, {unread} stored"


def _differing(memory: Struct, stored: Struct) -> str:
    fields: dict[str, tuple[Any, Any]] = {
        name: (getattr(memory, name), getattr(stored, name)) for name in memory.__struct_fields__
    }
    return ", ".join(f"{name} {a!r} in memory, {b!r} stored" for name, (a, b) in fields.items() if a != b)
