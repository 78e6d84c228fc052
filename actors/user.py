"""A person: the account and its sessions. Pure: decides and folds, reads no clock, does no I/O."""

from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from msgspec.structs import replace

from actors.actor import (
    AccountSaved,
    CommentSaved,
    Decision,
    Event,
    Message,
    Need,
    Numbers,
    PostSaved,
    Publication,
    ReactionSaved,
    RingAlarm,
    SessionSaved,
    Viewed,
    WritingsNeeded,
)
from actors.keys import post_key, user_key
from actors.policy import Policy
from protocol.accounts import (
    REFRESH_GRACE_MS,
    AccountView,
    CreateAccount,
    Credentials,
    DeleteAccount,
    EditAccount,
    EndSession,
    OpenSession,
    ReadAccount,
    ReadCredentials,
    RedeemTicket,
    RotateSession,
    SessionState,
    SyncHostAccount,
)
from protocol.commands import Command, EraseComments, Person
from protocol.errors import Refused
from protocol.times import rfc3339_ms
from protocol.views import Ack
from store.base import LoadedUser, WrittenComment
from store.rows import AccountRow, Author, PostViewsRow, SessionRow

ERASE_ALARM = "erase"
ERASE_CHUNK = 500
"""Comments that one ring of the alarm takes the name out of."""
ERASE_AGAIN_MS = 500
SESSIONS_MAX = 50
"""Sessions of one account; the oldest gives way."""


class UserActor:
    """See ``Actor``. An account that was never made exists only to refuse."""

    def __init__(self, account_id: int, *, policy: Policy) -> None:
        self.account_id = account_id
        self.version = 0
        self.head = 0
        self.watchers = 0
        self._policy = policy
        self._account: AccountRow | None = None
        self._sessions: dict[str, SessionRow] = {}
        self._writings: Sequence[tuple[int, int]] = ()

    @classmethod
    def load(cls, account_id: int, loaded: LoadedUser, *, policy: Policy) -> "UserActor":
        actor = cls(account_id, policy=policy)
        actor._account = loaded.account
        actor.version = loaded.account.version if loaded.account is not None else 0
        actor._sessions = {row.id: row for row in sorted(loaded.sessions, key=lambda row: row.created_ms)}
        return actor

    @property
    def key(self) -> str:
        return user_key(self.account_id)

    @property
    def exists(self) -> bool:
        return self._account is not None

    def needs(self, command: Command) -> Need | None:
        match command:
            case RingAlarm(name="erase"):
                return WritingsNeeded(self.account_id, ERASE_CHUNK)
            case _:
                return None

    def provide_writings(self, writings: Sequence[tuple[int, int]]) -> None:
        self._writings = writings

    def provide_comments(self, comments: Sequence[WrittenComment]) -> None:
        raise AssertionError("a user asks for no comments")

    # -- decide

    def decide(self, command: Command, by: Person, now: float) -> Decision:
        now_ms = int(now * 1000)
        match command:
            case CreateAccount():
                return self._create(command, now_ms)
            case SyncHostAccount():
                return self._sync(command, now_ms)
            case ReadAccount():
                account = self._active()
                return Decision(answer=lambda: account_view(account))
            case ReadCredentials():
                credentials = Credentials(self._active().password_hash)
                return Decision(answer=lambda: credentials)
            case EditAccount():
                return self._edit(command, now_ms)
            case DeleteAccount():
                return self._delete(now_ms)
            case OpenSession():
                return self._open_session(command, now_ms)
            case RotateSession():
                return self._rotate_session(command, now_ms)
            case EndSession():
                return self._end_session(command, now_ms)
            case RedeemTicket():
                self._active()
                return Decision(answer=Ack)
            case RingAlarm(name="erase"):
                return self._erase(now_ms)
            case RingAlarm():
                return Decision(answer=Ack, alarms={command.name: None})
            case _:
                raise Refused("method_not_found")

    def _create(self, command: CreateAccount, now_ms: int) -> Decision:
        if self._account is not None:
            raise Refused("already_exists")
        row = AccountRow(
            id=self.account_id,
            kind=command.kind,
            handle=command.handle,
            name=command.name,
            email=command.email,
            url=command.url,
            role=command.role,
            password_hash=command.password_hash,
            version=self.version + 1,
            created_ms=now_ms,
        )
        return self._saved(row)

    def _sync(self, command: SyncHostAccount, now_ms: int) -> Decision:
        face = {name: getattr(command, name) for name in ("handle", "name", "email", "url", "role")}
        if self._account is None:
            row = AccountRow(id=self.account_id, kind="host", version=1, created_ms=now_ms, **face)
            return self._saved(row)
        return self._change(self._active(), face)

    def _edit(self, command: EditAccount, now_ms: int) -> Decision:
        account = self._active()
        given = {name: getattr(command, name) for name in ("name", "url", "role", "password_hash")}
        values = {name: value for name, value in given.items() if value is not None}
        if values.get("url") == "":
            values["url"] = None
        changed = self._change(account, values)
        if not command.end_sessions:
            return changed
        return replace(changed, events=(*changed.events, *self._ended(now_ms)))

    def _change(self, account: AccountRow, values: dict[str, Any]) -> Decision:
        if all(getattr(account, name) == value for name, value in values.items()):
            return Decision(answer=lambda: account_view(account))
        return self._saved(replace(account, **values, version=self.version + 1))

    def _saved(self, row: AccountRow) -> Decision:
        return Decision(answer=lambda: account_view(row), events=(AccountSaved(row),))

    def _delete(self, now_ms: int) -> Decision:
        account = self._active()
        row = replace(
            account,
            name="",
            email=None,
            url=None,
            password_hash=None,
            state="erasing",
            version=self.version + 1,
            deleted_ms=now_ms,
        )
        return Decision(answer=Ack, events=(AccountSaved(row), *self._ended(now_ms)), alarms={ERASE_ALARM: now_ms})

    def _ended(self, now_ms: int) -> Iterator[SessionSaved]:
        return (SessionSaved(replace(session, revoked_ms=now_ms)) for session in self._sessions.values())

    def _erase(self, now_ms: int) -> Decision:
        """Send every post the comments to take the name out of; again, until none bears it any more."""
        account = self._account
        if account is None or account.state != "erasing":
            return Decision(answer=Ack, alarms={ERASE_ALARM: None})
        if not self._writings:
            done = AccountSaved(replace(account, state="deleted", version=self.version + 1))
            return Decision(answer=Ack, events=(done,), alarms={ERASE_ALARM: None})
        of_posts: dict[int, list[int]] = {}
        for post_id, comment_id in self._writings:
            of_posts.setdefault(post_id, []).append(comment_id)
        words = self._policy.erased_comments == "tombstone"
        messages = tuple(
            Message(
                post_key(post_id),
                EraseComments(post=str(post_id), account=self.account_id, comments=comments, words=words),
            )
            for post_id, comments in of_posts.items()
        )
        return Decision(answer=Ack, messages=messages, alarms={ERASE_ALARM: now_ms + ERASE_AGAIN_MS})

    # -- sessions

    def _open_session(self, command: OpenSession, now_ms: int) -> Decision:
        self._active()
        row = SessionRow(
            id=command.session,
            account_id=self.account_id,
            generation=0,
            rotated_ms=now_ms,
            created_ms=now_ms,
            expires_ms=now_ms + command.ttl_ms,
        )
        events = [SessionSaved(row)]
        live = [session for session in self._sessions.values() if session.expires_ms > now_ms]
        if len(live) >= SESSIONS_MAX:
            events.append(SessionSaved(replace(live[0], revoked_ms=now_ms)))
        return Decision(answer=lambda: session_state(row), events=tuple(events))

    def _rotate_session(self, command: RotateSession, now_ms: int) -> Decision:
        self._active()
        session = self._sessions.get(command.session)
        if session is None or session.expires_ms <= now_ms:
            raise Refused("session_ended")
        if command.generation == session.generation:
            row = replace(
                session,
                generation=session.generation + 1,
                rotated_ms=now_ms,
                expires_ms=now_ms + command.ttl_ms,
            )
            return Decision(answer=lambda: session_state(row), events=(SessionSaved(row),))
        if command.generation == session.generation - 1 and now_ms - session.rotated_ms <= REFRESH_GRACE_MS:
            return Decision(answer=lambda: session_state(session))
        # A token that was exchanged long ago: somebody has a copy. Neither of the two can be told from the thief.
        stolen = SessionSaved(replace(session, revoked_ms=now_ms))

        def ended() -> SessionState:
            raise Refused("session_ended", "the refresh token was used before; sign in again")

        return Decision(answer=ended, events=(stolen,))

    def _end_session(self, command: EndSession, now_ms: int) -> Decision:
        session = self._sessions.get(command.session)
        if session is None:
            return Decision(answer=Ack)
        return Decision(answer=Ack, events=(SessionSaved(replace(session, revoked_ms=now_ms)),))

    def _active(self) -> AccountRow:
        if self._account is None or self._account.state != "active":
            raise Refused("account_not_found")
        return self._account

    # -- apply

    def apply(self, event: Event) -> None:
        match event:
            case AccountSaved(row):
                self._account = row
                self.version = row.version
            case SessionSaved(row) if row.revoked_ms is not None:
                self._sessions.pop(row.id, None)
            case SessionSaved(row):
                self._sessions[row.id] = row
                for over in [other.id for other in self._sessions.values() if other.expires_ms <= row.rotated_ms]:
                    del self._sessions[over]
            case CommentSaved() | PostSaved() | ReactionSaved():
                raise AssertionError("not an event of a user")
            case _:
                assert_never(event)

    def look(self, viewed: Viewed) -> bool:
        raise AssertionError("nobody looks at a user")

    # -- what the runtime writes and shows: the account's own rows are all there is

    def state_row(self) -> None:
        return None

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

    def authors(self) -> set[int]:
        return set()

    def author_changed(self, id: int, author: Author | None) -> None:
        return None

    def trim(self) -> None:
        self._writings = ()


def account_view(row: AccountRow) -> AccountView:
    return AccountView(
        id=str(row.id),
        handle=row.handle,
        name=row.name,
        url=row.url,
        role=row.role,  # type: ignore[arg-type]  # Written from the same literals.
        kind=row.kind,  # type: ignore[arg-type]  # The table's check holds it to these.
        email=row.email,
        created_at=rfc3339_ms(row.created_ms),
    )


def session_state(row: SessionRow) -> SessionState:
    return SessionState(row.id, row.generation, row.expires_ms)
