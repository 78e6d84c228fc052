"""What a user is in memory: the account, its sessions, how it stands to others.

Public to the decisions of ``account``, ``sessions`` and ``following``; only ``apply`` and what the runtime provides
change it.
"""

from collections.abc import Sequence
from typing import Self, assert_never

import msgspec
from msgspec.structs import asdict

from actors.actor import (
    TIES,
    AccountSaved,
    BlockEnded,
    BlockSaved,
    BookmarkEnded,
    BookmarkSaved,
    Event,
    FollowEnded,
    FollowersCounted,
    FollowRenewed,
    FollowSaved,
    Habits,
    HabitsChanged,
    KindsSilenced,
    MuteEnded,
    MuteSaved,
    NotificationDropped,
    NotificationSaved,
    NotificationsRead,
    PostEvent,
    Publication,
    SessionSaved,
    Viewed,
)
from actors.keys import user_key
from actors.news import Found
from actors.notices import Groups, notification_changed
from actors.numbers import UserNumbers
from actors.policy import Policy
from actors.relations import Bookmarks, Relations
from protocol.errors import Refused
from store.base import LoadedUser, WrittenComment
from store.finding import Bookmarked
from store.graph import Relation, Ties
from store.notifications import Named
from store.rows import AccountRow, Author, NotificationRow, PostViewsRow, SessionRow, UserStateRow

NO_TIES = Ties([], [], [], [])
NOTHING_NAMED = Named({}, {})


class UserState:
    """The state of one user; of one that was never made, ``account`` is None."""

    def __init__(self, account_id: int, *, policy: Policy, epoch: str) -> None:
        self.account_id = account_id
        self.epoch = epoch
        self.version = 0
        self.head = 0
        self.watchers = 0
        self.policy = policy
        self.account: AccountRow | None = None
        self.sessions: dict[str, SessionRow] = {}
        self.followers = 0
        self.following = 0
        self.ties_changed = 0
        self.habits = Habits()
        self.relations = Relations()
        self.bookmarks = Bookmarks()
        self.bookmarked: Sequence[int] = ()
        """Posts on which the user had bookmarks, of those that were read."""
        self.writings: Sequence[tuple[int, int]] = ()
        self.ties = NO_TIES
        self.told_of: Sequence[int] = ()
        """Who has notifications that name the user, of those that were read."""
        self.read_offset = 0
        self.silenced: tuple[str, ...] = ()
        self.unread: dict[int, int] = {}
        """Where each notification grew that did so since the user read them."""
        self.groups = Groups()
        self.named = NOTHING_NAMED
        self.old_notices: tuple[Sequence[int], int | None] = ((), None)

    @classmethod
    def load(cls, account_id: int, loaded: LoadedUser, *, policy: Policy, epoch: str) -> Self:
        actor = cls(account_id, policy=policy, epoch=epoch)
        actor.account = loaded.account
        actor.sessions = {row.id: row for row in sorted(loaded.sessions, key=lambda row: row.created_ms)}
        if loaded.state is not None:
            actor.version, actor.head = loaded.state.version, loaded.state.head
            actor.followers, actor.following = loaded.state.followers, loaded.state.following
            actor.ties_changed = loaded.state.ties
            actor.habits = Habits(**{name: getattr(loaded.state, name) for name in Habits.__struct_fields__})
            actor.read_offset, actor.silenced = loaded.state.read_offset, tuple(loaded.state.silenced)
        actor.unread = dict(loaded.unread)
        return actor

    @property
    def key(self) -> str:
        return user_key(self.account_id)

    @property
    def exists(self) -> bool:
        return self.account is not None

    @property
    def active(self) -> bool:
        return self.account is not None and self.account.state == "active"

    def active_account(self) -> AccountRow:
        if self.account is None or not self.active:
            raise Refused("account_not_found")
        return self.account

    # -- apply

    def apply(self, event: Event) -> None:
        assert not isinstance(event, PostEvent), "not an event of a user"
        self.version += 1
        self.ties_changed += isinstance(event, TIES)
        match event:
            case AccountSaved(row):
                self.account = row
            case SessionSaved(row):
                self._keep_session(row)
            case FollowSaved(row):
                self.following += 1
                self.relations.fold(row.followee, edge=row)
            case FollowRenewed(row):
                self.relations.fold(row.followee, edge=row)
            case FollowEnded(_, followee):
                self.following -= 1
                self.relations.fold(followee, edge=None)
            case BlockSaved(row):
                self.relations.fold(row.blocked, blocking=True)
            case BlockEnded(_, blocked):
                self.relations.fold(blocked, blocking=False)
            case MuteSaved(row):
                self.relations.fold(row.muted, muting=True, muting_until_ms=row.until_ms)
            case MuteEnded(_, muted):
                self.relations.fold(muted, muting=False, muting_until_ms=None)
            case BookmarkSaved(row):
                self.bookmarks.fold(row.post_id, on=True)
            case BookmarkEnded(_, post_id):
                self.bookmarks.fold(post_id, on=False)
            case FollowersCounted(followers):
                self.followers = followers
            case HabitsChanged(habits):
                self.habits = habits
            case NotificationSaved(row):
                self._keep_notification(row)
            case NotificationDropped(_, id):
                self.groups.drop(id)
                self.unread.pop(id, None)
            case NotificationsRead(offset):
                self.read_offset = offset
                self.unread = {id: grown for id, grown in self.unread.items() if grown > offset}
            case KindsSilenced(kinds):
                self.silenced = kinds
            case _:
                assert_never(event)

    def _keep_session(self, row: SessionRow) -> None:
        if row.revoked_ms is not None:
            self.sessions.pop(row.id, None)
            return
        self.sessions[row.id] = row
        for over in [other.id for other in self.sessions.values() if other.expires_ms <= row.rotated_ms]:
            del self.sessions[over]

    def _keep_notification(self, row: NotificationRow) -> None:
        self.head = row.changed_offset
        self.groups.fold(row)
        if row.gone or row.grown_offset <= self.read_offset:
            self.unread.pop(row.id, None)
        else:
            self.unread[row.id] = row.grown_offset

    def look(self, viewed: Viewed) -> bool:
        raise AssertionError("nobody looks at a user")

    # -- what the runtime provides

    def provide_relations(self, relations: Sequence[Relation]) -> None:
        self.relations.provide(relations)

    def provide_bookmark(self, post: int, stored: Bookmarked) -> None:
        self.bookmarks.provide(post, stored)

    def provide_traces(
        self, writings: Sequence[tuple[int, int]], ties: Ties, told: Sequence[int], bookmarks: Sequence[int]
    ) -> None:
        self.writings, self.ties, self.told_of, self.bookmarked = writings, ties, told, bookmarks

    def provide_notices(self, groups: Sequence[NotificationRow], named: Named) -> None:
        self.groups.provide(groups)
        self.named = Named({**self.named.people, **named.people}, {**self.named.posts, **named.posts})

    def provide_old_notices(self, ids: Sequence[int], oldest_ms: int | None) -> None:
        self.old_notices = ids, oldest_ms

    def provide_news(self, found: Found) -> None:
        raise AssertionError("a user asks for no news")

    def provide_comments(self, comments: Sequence[WrittenComment]) -> None:
        raise AssertionError("a user asks for no comments")

    def authors(self) -> set[int]:
        return set()

    def author_changed(self, id: int, author: Author | None) -> None:
        return None

    # -- what the runtime writes and shows

    def state_row(self) -> UserStateRow:
        return UserStateRow(
            user_id=self.account_id,
            version=self.version,
            head=self.head,
            followers=self.followers,
            following=self.following,
            ties=self.ties_changed,
            read_offset=self.read_offset,
            silenced=list(self.silenced),
            **asdict(self.habits),
        )

    def views_row(self) -> PostViewsRow | None:
        return None

    def views(self) -> tuple[int, int]:
        return 0, 0

    def numbers(self, touched: Sequence[int]) -> UserNumbers:
        return UserNumbers(self.version, len(self.unread), self.read_offset)

    def snapshot(self) -> bytes | None:
        return None

    def publication(self, event: Event) -> Publication | None:
        if not isinstance(event, NotificationSaved):
            return None
        changed = notification_changed(event.row, self.named, self.read_offset)
        return Publication(event.row.changed_offset, lambda: msgspec.json.encode(changed))

    def trim(self) -> None:
        self.relations.clear()
        self.bookmarks.clear()
        self.writings, self.ties, self.told_of, self.bookmarked = (), NO_TIES, (), ()
        self.groups.clear()
        self.named = NOTHING_NAMED
        self.old_notices = (), None
