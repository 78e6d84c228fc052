"""What one person has of the live feed and of the notifications, as the streams tell it."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from protocol.cursor import parse_cursor
from protocol.notifications import NotificationGroup, NotificationPage
from store.rows import NotificationRow, PostRow, UserStateRow
from tests.simulation.clients import Publication, Stream
from tests.simulation.oracles import JournalledStore
from tests.simulation.social_oracles import SocialJournal


class AuthorShown(Struct):
    id: str


class PostShown(Struct):
    """A post as its readers see it."""

    id: str
    title: str
    state: str
    author: AuthorShown | None
    version: int

    @property
    def by(self) -> int:
        return int(self.author.id) if self.author else 0


class PostPushed(Struct):
    post: PostShown


class Told(Struct):
    """A group, or how many are unread."""

    type: str
    group: NotificationGroup | None = None
    version: int = 0
    unread: int = 0
    read: int = 0


class FeedStream(Stream):
    """Posts of those whom one follows; each may come more than once."""

    def __init__(self, reader: int, who: str, social: SocialJournal, look: Callable[[PostShown], None]) -> None:
        super().__init__(f"feed:{reader}", who, social.journal)
        self.posts: dict[int, PostShown] = {}
        self._reader = reader
        self._social = social
        self._look = look
        self._began = 0

    def loaded(self, cursor: str) -> None:
        """Begin from where a page of the timeline was read."""
        parsed = parse_cursor(cursor)
        assert parsed is not None
        self.epoch, self.offset = parsed.epoch, parsed.offset
        self._began = parsed.offset

    def heard(self, publication: Publication) -> None:
        post = msgspec.json.decode(publication.data, type=PostPushed).post
        self._look(post)
        self.offset = max(self.offset, publication.offset or 0)
        known = self.posts.get(int(post.id))
        if known is None or known.version <= post.version:
            self.posts[int(post.id)] = post

    def took(self, data: Raw) -> None:
        """The feed opens: nothing else is said."""

    def lacking(self, store: JournalledStore) -> str | None:
        for id, tx in self._social.owed[self._reader].items():
            row, post = store.row(PostRow, id), self.posts.get(id)
            seen = None if post is None else (post.state, post.title)
            if tx >= self._began and seen != (row.state, row.title):
                return f"stands at {self.offset} of the feed, and has {post} of {row}, owed since {tx}"
        return None


class NotificationsStream(Stream):
    """What one is told of."""

    def __init__(self, person: int, who: str, social: SocialJournal) -> None:
        super().__init__(f"notifications:{person}", who, social.journal)
        self.groups: dict[int, NotificationGroup] = {}
        self._person = person
        self._social = social
        self._unread = Told("unread")

    @property
    def cursor(self) -> str:
        return f"{self.epoch}-{self.offset}"

    def loaded(self, page: NotificationPage) -> None:
        cursor = parse_cursor(page.cursor)
        assert cursor is not None
        self.epoch, self.offset = cursor.epoch, cursor.offset
        self.groups = {int(group.id): group for group in page.groups}

    def heard(self, publication: Publication) -> None:
        told = msgspec.json.decode(publication.data, type=Told)
        if publication.offset is None:
            self._count(told)
        elif told.group is not None:
            self._advance(publication.offset, told.group)

    def took(self, data: Raw) -> None:
        self._count(msgspec.json.decode(data, type=Told))

    def _count(self, told: Told) -> None:
        self.journal.require(
            told.version <= self._social.versions[self._person], f"{self.who} is told {told}, which is not committed"
        )
        if told.version >= self._unread.version:
            self._unread = told

    def _advance(self, offset: int, group: NotificationGroup) -> None:
        stream = self._social.notifications[self._person]
        where = f"the notifications of {self.who}"
        passed_by = stream.passed_by(self.offset, offset)
        self.journal.require(offset > self.offset, f"{where}: offset {offset} after {self.offset}")
        self.journal.require(offset <= stream.head, f"{where}: offset {offset} is not committed")
        self.journal.require(not passed_by, f"{where}: {passed_by} passed by between {self.offset} and {offset}")
        self.offset = offset
        self.groups[int(group.id)] = group

    def lacking(self, store: JournalledStore) -> str | None:
        state = store.row(UserStateRow, self._person)
        rows = {row.id: row for row in store.of(NotificationRow, self._person) if not row.gone}
        unread = sum(row.grown_offset > state.read_offset for row in rows.values())
        if (self._unread.unread, self._unread.read) != (unread, state.read_offset):
            return f"is told {self._unread}: {unread} unread beyond {state.read_offset}"
        folded = {id: _of_group(group) for id, group in self.groups.items() if group.count}
        stored = {id: _of_row(row) for id, row in rows.items()}
        return None if folded == stored else f"has the notifications {folded}: {stored}"


def _of_group(group: NotificationGroup) -> tuple[Any, ...]:
    return group.kind, int(group.post or 0), int(group.comment or 0), group.count, group.offset, group.sample


def _of_row(row: NotificationRow) -> tuple[Any, ...]:
    return row.kind, row.post_id, row.comment_id, row.count, row.changed_offset, list(map(str, row.sample))
