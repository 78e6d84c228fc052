"""Decisions about the account of a user, from its making to its erasure."""

from typing import Any

from msgspec.structs import replace

from actors import bookmarks, following, notifying, sessions
from actors.actor import AccountSaved, Decision, Message
from actors.keys import post_key, user_key
from actors.userstate import UserState
from protocol.accounts import AccountView, CreateAccount, Credentials, EditAccount, SyncHostAccount
from protocol.commands import EraseComments
from protocol.errors import Refused
from protocol.notifications import ForgetPerson
from protocol.times import rfc3339_ms
from protocol.views import Ack
from store.rows import AccountRow

ERASE_ALARM = "erase"
ERASE_CHUNK = 500
"""Of each kind of trace, what one ring of the alarm takes away."""
ERASE_AGAIN_MS = 500


def read(state: UserState) -> Decision:
    account = state.active_account()
    return Decision(answer=lambda: account_view(state, account))


def credentials(state: UserState) -> Decision:
    found = Credentials(state.active_account().password_hash)
    return Decision(answer=lambda: found)


def create(state: UserState, command: CreateAccount, now_ms: int) -> Decision:
    if state.account is not None:
        raise Refused("already_exists")
    row = AccountRow(
        id=state.account_id,
        kind=command.kind,
        handle=command.handle,
        name=command.name,
        email=command.email,
        url=command.url,
        role=command.role,
        password_hash=command.password_hash,
        version=1,
        created_ms=now_ms,
    )
    return _saved(state, row)


def sync(state: UserState, command: SyncHostAccount, now_ms: int) -> Decision:
    face = {name: getattr(command, name) for name in ("handle", "name", "email", "url", "role")}
    if state.account is None:
        return _saved(state, AccountRow(id=state.account_id, kind="host", version=1, created_ms=now_ms, **face))
    return _change(state, face)


def edit(state: UserState, command: EditAccount, now_ms: int) -> Decision:
    given = {name: getattr(command, name) for name in ("name", "url", "role", "password_hash")}
    values = {name: value for name, value in given.items() if value is not None}
    if values.get("url") == "":
        values["url"] = None
    changed = _change(state, values)
    if not command.end_sessions:
        return changed
    return replace(changed, events=(*changed.events, *sessions.all_ended(state, now_ms)))


def delete(state: UserState, now_ms: int) -> Decision:
    account = state.active_account()
    row = replace(
        account,
        name="",
        email=None,
        url=None,
        password_hash=None,
        state="erasing",
        version=account.version + 1,
        deleted_ms=now_ms,
    )
    return Decision(
        answer=Ack,
        events=(AccountSaved(row), *sessions.all_ended(state, now_ms)),
        alarms={ERASE_ALARM: now_ms, notifying.TIDY_ALARM: now_ms},
    )


def erase(state: UserState, now_ms: int) -> Decision:
    """Take the name out of comments and the edges out of the graph; again, until nothing is left of either."""
    account = state.account
    if account is None or account.state != "erasing":
        return Decision(answer=Ack, alarms={ERASE_ALARM: None})
    if not state.writings and not state.ties and not state.told_of and not state.bookmarked:
        done = AccountSaved(replace(account, state="deleted", version=account.version + 1))
        return Decision(answer=Ack, events=(done,), alarms={ERASE_ALARM: None})
    untied = following.untied(state)
    return replace(
        untied,
        events=(*untied.events, *bookmarks.ended(state, state.bookmarked)),
        messages=(*_erased_comments(state), *untied.messages, *_forgotten(state)),
        alarms={ERASE_ALARM: now_ms + ERASE_AGAIN_MS},
    )


def _forgotten(state: UserState) -> tuple[Message, ...]:
    """To everyone who has notifications that name the account."""
    return tuple(Message(user_key(person), ForgetPerson(account=state.account_id)) for person in state.told_of)


def _erased_comments(state: UserState) -> tuple[Message, ...]:
    """To every post the comments to take the name out of."""
    of_posts: dict[int, list[int]] = {}
    for post_id, comment_id in state.writings:
        of_posts.setdefault(post_id, []).append(comment_id)
    words = state.policy.erased_comments == "tombstone"
    return tuple(
        Message(
            post_key(post_id),
            EraseComments(post=str(post_id), account=state.account_id, comments=comments, words=words),
        )
        for post_id, comments in of_posts.items()
    )


def _change(state: UserState, values: dict[str, Any]) -> Decision:
    account = state.active_account()
    if all(getattr(account, name) == value for name, value in values.items()):
        return Decision(answer=lambda: account_view(state, account))
    return _saved(state, replace(account, **values, version=account.version + 1))


def _saved(state: UserState, row: AccountRow) -> Decision:
    return Decision(answer=lambda: account_view(state, row), events=(AccountSaved(row),))


def account_view(state: UserState, row: AccountRow) -> AccountView:
    return AccountView(
        id=str(row.id),
        handle=row.handle,
        name=row.name,
        url=row.url,
        role=row.role,
        kind=row.kind,
        email=row.email,
        created_at=rfc3339_ms(row.created_ms),
        posts=state.habits.posts,
        followers=state.followers,
        following=state.following,
    )
