"""What must hold among people who follow each other, by the rows alone: noted with every commit."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import permutations

from actors.keys import post_key
from actors.telling import NEWS_ALARM
from store.base import Batch
from store.rows import (
    AccountRow,
    AlarmRow,
    BlockRow,
    CommentRow,
    FollowRow,
    MuteRow,
    NotificationRow,
    PostRow,
    ReactionRow,
    UserStateRow,
)
from tests.simulation.oracles import Journal, JournalledStore, StreamJournal


class Spans:
    """What holds now, and since when; what does not, and until when it did."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began: dict[Hashable, float] = {}
        self._ended: dict[Hashable, float] = {}

    def set(self, what: Hashable, *, on: bool) -> None:
        if on:
            self._began.setdefault(what, self._clock())
        elif self._began.pop(what, None) is not None:
            self._ended[what] = self._clock()

    def throughout(self, what: Hashable, since: float) -> bool:
        """Whether it has held without a break since then, or before."""
        return self._began.get(what, self._clock() + 1) <= since

    def ever(self, what: Hashable, since: float) -> bool:
        """Whether it has held at some moment since then."""
        return what in self._began or self._ended.get(what, since - 1) >= since


class SocialJournal:
    """What every commit means to readers."""

    def __init__(self, store: JournalledStore, journal: Journal, readers: Sequence[int]) -> None:
        self.apart = Spans(journal.now)
        """Pairs, in order, between whom a block stands."""
        self.hidden = Spans(journal.now)
        """(reader, author), of whom the reader does not follow, or blocks, or mutes without end, the author."""
        self.owed: dict[int, dict[int, int]] = {reader: {} for reader in readers}
        """Reader → post → the transaction of its last change: of authors whom the reader could see then and since."""
        self.shown: dict[int, set[tuple[str, str]]] = defaultdict(set)
        """Post → (state, title) that it ever had."""
        self.store = store
        self.now = journal.now
        self.journal = journal
        self.versions = dict.fromkeys(readers, 1)
        """Of each person's actor."""
        self.notifications: dict[int, StreamJournal] = defaultdict(StreamJournal)
        self.hid: set[int] = set()
        """Who ever blocked or muted somebody, or was blocked: what they are told of may leave something out."""
        self._muted: set[tuple[int, int]] = set()
        """(one, other) of whom one has muted the other without an end."""
        self._names: dict[tuple[int, int], set[tuple[int, int]]] = defaultdict(set)
        """Group → (its owner, whom it ever named)."""
        self._unaware: set[int] = set()
        """Who was never told of some followers."""
        self._readers = readers

    def begin(self) -> None:
        self._unaware = {followee for _, followee in self.store.identities(FollowRow)}
        for reader, author in permutations(self._readers, 2):
            self.hidden.set((reader, author), on=self._hides(reader, author))
        self.store.observe = self.committed

    def committed(self, batch: Batch, passed: set[int]) -> None:
        self._told(batch, passed)
        for row_type in (FollowRow, BlockRow, MuteRow):
            for slot, identity in batch.writes.get(row_type, {}):
                if slot in passed:
                    self.hid |= {BlockRow: {*identity}, MuteRow: {identity[0]}}.get(row_type, set())
                    self._tied(*identity)
        for (slot, _), row in batch.writes.get(PostRow, {}).items():
            if slot in passed and isinstance(row, PostRow):
                self._saved(row)
        for slot, (id,) in batch.writes.get(AccountRow, {}):
            for reader in self._readers:
                if slot in passed and reader != id:
                    self._tied(reader, id)

    def _told(self, batch: Batch, passed: set[int]) -> None:
        for (slot, _), state in batch.writes.get(UserStateRow, {}).items():
            if slot in passed and isinstance(state, UserStateRow):
                stream = self.notifications[state.user_id]
                self.journal.require(state.head >= stream.head, f"{state}: the head was {stream.head}")
                self.versions[state.user_id], stream.head = state.version, state.head
        for (slot, _), row in batch.writes.get(NotificationRow, {}).items():
            if slot in passed and isinstance(row, NotificationRow):
                self.notifications[row.user_id].moved(row.id, row.changed_offset)
                self._named(row)

    def _named(self, row: NotificationRow) -> None:
        """No group names whom its owner blocks, and nobody joins whom its owner has muted before, and mutes."""
        blocked = [id for id in row.sample if (row.user_id, id) in self.store.table(BlockRow)]
        self.journal.require(not blocked, f"{row} names {blocked}, blocked by whom it is for")
        joined = {(row.user_id, id) for id in row.sample} - self._names[row.identity()]
        muted = [edge for edge in joined if edge in self._muted and self._mutes(*edge)]
        self.journal.require(not muted, f"{row} is joined by {muted}, muted by whom it is for")
        self._names[row.identity()] |= joined

    def _tied(self, one: int, other: int) -> None:
        blocks = self.store.table(BlockRow)
        if (one, other) in blocks:
            naming = [row for row in self.store.of(NotificationRow, one) if other in row.sample and not row.gone]
            self.journal.require(not naming, f"{one} blocks {other}, and is told of {naming}")
        self.apart.set(pair(one, other), on=(one, other) in blocks or (other, one) in blocks)
        self.hidden.set((one, other), on=self._hides(one, other))
        (self._muted.add if self._mutes(one, other) else self._muted.discard)((one, other))
        for reader, author in ((one, other), (other, one)):
            if not sees(self.store, reader, author):
                # What it missed of the author it need not have any more, nor may it.
                posts = [id for id in self.owed[reader] if self.store.row(PostRow, id).author_id == author]
                for id in posts:
                    del self.owed[reader][id]

    def _hides(self, reader: int, author: int) -> bool:
        store, edge = self.store, (reader, author)
        return edge not in store.table(FollowRow) or edge in store.table(BlockRow) or self._mutes(reader, author)

    def _mutes(self, reader: int, author: int) -> bool:
        """Without an end."""
        mute = self.store.table(MuteRow).get((reader, author))
        return mute is not None and mute.until_ms is None

    def _saved(self, post: PostRow) -> None:
        self.shown[post.id].add((post.state, post.title))
        if not post.published_id or post.author_id is None:
            return
        tx = self.store.written_by(PostRow, (post.id,))
        for reader in self._readers:
            if reader == post.author_id or sees(self.store, reader, post.author_id):
                self.owed[reader][post.id] = tx

    def miscounted(self) -> Iterator[str]:
        """Counts equal the rows; once every message is delivered."""
        edges = self.store.identities(FollowRow)
        posts = [row.author_id for row in self.store.rows(PostRow) if row.state == "published"]
        for person in self._readers:
            if not active(self.store, person):
                continue
            state = self.store.row(UserStateRow, person)
            counted = (state.followers, state.following, state.posts)
            followers, following = (sum(edge[at] == person for edge in edges) for at in (1, 0))
            if counted != (followers, following, posts.count(person)):
                yield f"counts {counted}, rows {(followers, following, posts.count(person))}: {state}"

    def misgrouped(self, person: int, silenced: set[str]) -> str | None:
        """Counts of groups equal who did what they tell of, for somebody who always wanted to be told of the others."""
        if person in self.hid:
            return None
        inexact = silenced | ({"follow"} if person in self._unaware else set())
        told: Counter[tuple[str, int]] = Counter()
        for row in self.store.of(NotificationRow, person):
            told[row.kind, row.post_id] += row.count
        done = self._done_to(person)
        # By a clock that is ahead, news may be told much later.
        waiting = {actor for actor, name in self.store.identities(AlarmRow) if name == NEWS_ALARM}
        for kind, post in sorted(told.keys() | done.keys()):
            counts = told[kind, post], done[kind, post]
            if kind not in inexact and post_key(post) not in waiting and counts[0] != counts[1]:
                return f"is told of {kind} to {post}: {counts[0]}, not {counts[1]}"
        return None

    def _done_to(self, person: int) -> Counter[tuple[str, int]]:
        """What others did that the person is to be told of, by kind and post."""
        store, name = self.store, f"@member{person}"
        authors = {row.id: row.author_id for row in store.rows(PostRow) if row.state == "published"}
        mine = {id for id, author in authors.items() if author == person}
        reactions = (row for row in store.rows(ReactionRow) if row.amount and row.user_id != person)
        comments = [row for row in store.rows(CommentRow) if row.state == "visible" and row.author_id != person]
        mentions = (row for row in comments if row.body.endswith(name) and row.post_id in authors.keys() - mine)
        kinds = {"like": "reaction", "applause": "applause"}
        return Counter(
            [(kinds[row.kind], row.post_id) for row in reactions if row.post_id in mine]
            + [("comment", row.post_id) for row in comments if row.post_id in mine]
            + [("mention", row.post_id) for row in mentions]
            + [("follow", 0) for _, followee in store.identities(FollowRow) if followee == person]
        )


def pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


def sees(store: JournalledStore, reader: int, author: int) -> bool:
    """Whether the reader follows the author, neither behind a block nor muting."""
    blocks, mute = store.table(BlockRow), store.table(MuteRow).get((reader, author))
    apart = (reader, author) in blocks or (author, reader) in blocks
    muted = mute is not None and (mute.until_ms is None or mute.until_ms > store.now_ms())
    return (reader, author) in store.table(FollowRow) and not apart and not muted and active(store, author)


def active(store: JournalledStore, person: int) -> bool:
    return store.row(AccountRow, person).state == "active"


def timeline(store: JournalledStore, reader: int) -> list[PostRow]:
    """All posts that the reader should see, newest first."""
    authors = {reader, *(id for _, id in store.identities(FollowRow) if sees(store, reader, id))}
    posts = [row for row in store.table(PostRow).values() if row.state == "published" and row.author_id in authors]
    return sorted(posts, key=lambda post: -post.published_id)
