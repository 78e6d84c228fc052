"""What a user is in memory: the account, its sessions, how it stands to others.

Public to the decisions of ``account``, ``sessions`` and ``following``; only ``apply`` and what the runtime provides
change it.
"""

from collections.abc import Sequence
from typing import Self, assert_never

from msgspec.structs import asdict

from actors.actor import (
    AccountSaved,
    BlockEnded,
    BlockSaved,
    Event,
    FollowEnded,
    FollowersCounted,
    FollowSaved,
    Habits,
    HabitsChanged,
    MuteEnded,
    MuteSaved,
    Numbers,
    PostEvent,
    Publication,
    SessionSaved,
    Viewed,
)
from actors.keys import user_key
from actors.policy import Policy
from actors.relations import Relations
from protocol.errors import Refused
from store.base import LoadedUser, WrittenComment
from store.graph import Relation, Ties
from store.rows import AccountRow, Author, PostViewsRow, SessionRow, UserStateRow

NO_TIES = Ties([], [], [], [])


class UserState:
    """The state of one user; of one that was never made, ``account`` is None."""

    def __init__(self, account_id: int, *, policy: Policy) -> None:
        self.account_id = account_id
        self.version = 0
        self.head = 0
        self.watchers = 0
        self.policy = policy
        self.account: AccountRow | None = None
        self.sessions: dict[str, SessionRow] = {}
        self.followers = 0
        self.following = 0
        self.habits = Habits()
        self.relations = Relations()
        self.writings: Sequence[tuple[int, int]] = ()
        self.ties = NO_TIES

    @classmethod
    def load(cls, account_id: int, loaded: LoadedUser, *, policy: Policy) -> Self:
        actor = cls(account_id, policy=policy)
        actor.account = loaded.account
        actor.sessions = {row.id: row for row in sorted(loaded.sessions, key=lambda row: row.created_ms)}
        if loaded.state is not None:
            actor.version, actor.head = loaded.state.version, loaded.state.head
            actor.followers, actor.following = loaded.state.followers, loaded.state.following
            actor.habits = Habits(**{name: getattr(loaded.state, name) for name in Habits.__struct_fields__})
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
        match event:
            case AccountSaved(row):
                self.account = row
            case SessionSaved(row):
                self._keep_session(row)
            case FollowSaved(row):
                self.following += 1
                self.relations.fold(row.followee, follows=True)
            case FollowEnded(_, followee):
                self.following -= 1
                self.relations.fold(followee, follows=False)
            case BlockSaved(row):
                self.relations.fold(row.blocked, blocking=True)
            case BlockEnded(_, blocked):
                self.relations.fold(blocked, blocking=False)
            case MuteSaved(row):
                self.relations.fold(row.muted, muting=True, muting_until_ms=row.until_ms)
            case MuteEnded(_, muted):
                self.relations.fold(muted, muting=False, muting_until_ms=None)
            case FollowersCounted(followers):
                self.followers = followers
            case HabitsChanged(habits):
                self.habits = habits
            case _:
                assert_never(event)

    def _keep_session(self, row: SessionRow) -> None:
        if row.revoked_ms is not None:
            self.sessions.pop(row.id, None)
            return
        self.sessions[row.id] = row
        for over in [other.id for other in self.sessions.values() if other.expires_ms <= row.rotated_ms]:
            del self.sessions[over]

    def look(self, viewed: Viewed) -> bool:
        raise AssertionError("nobody looks at a user")

    # -- what the runtime provides

    def provide_relations(self, relations: Sequence[Relation]) -> None:
        self.relations.provide(relations)

    def provide_traces(self, writings: Sequence[tuple[int, int]], ties: Ties) -> None:
        self.writings, self.ties = writings, ties

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
            **asdict(self.habits),
        )

    def views_row(self) -> PostViewsRow | None:
        return None

    def views(self) -> tuple[int, int]:
        return 0, 0

    def numbers(self, touched: Sequence[int]) -> Numbers | None:
        return None

    def snapshot(self) -> bytes | None:
        return None

    def publication(self, event: Event) -> Publication | None:
        return None

    def trim(self) -> None:
        self.relations.clear()
        self.writings, self.ties = (), NO_TIES
