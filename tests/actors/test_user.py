"""A person: the account, its sessions, and how it is erased."""

from typing import Any

import pytest

from actors.account import ERASE_AGAIN_MS, ERASE_CHUNK
from actors.actor import AccountSaved, Message, RingAlarm, SessionSaved
from actors.policy import Policy
from actors.sessions import SESSIONS_MAX
from actors.user import UserActor
from protocol.accounts import (
    REFRESH_GRACE_MS,
    CreateAccount,
    Credentials,
    DeleteAccount,
    EditAccount,
    EndSession,
    OpenSession,
    ReadAccount,
    ReadCredentials,
    RotateSession,
    SessionState,
    SyncHostAccount,
)
from protocol.commands import Command, EraseComments, ReadPost
from protocol.views import Ack
from store.base import LoadedUser
from store.rows import AccountRow, CommentRow, SessionRow, UserStateRow
from tests.actors.telling import BOB, NOW, Told

DAY_MS = 86_400_000
NOW_MS = int(NOW * 1000)


def create(**values: Any) -> CreateAccount:
    given = {"kind": "member", "handle": "bob", "name": "Bob", "email": "bob@example.org", "password_hash": "hash"}
    return CreateAccount(account=BOB.id, **{**given, **values})


def new_user(policy: Policy | None = None) -> Told:
    return Told(UserActor(BOB.id, policy=policy or Policy(), epoch="epoch"))


@pytest.fixture
def told() -> Told:
    told = new_user()
    told.ask(create())
    return told


def reloaded(told: Told, now: float = NOW) -> Told:
    """The account as it is loaded from its rows, as the store gives them."""
    sessions = [row for row in told.of(SessionRow) if row.revoked_ms is None and row.expires_ms > now * 1000]
    accounts = told.of(AccountRow)
    state = told.actor.state_row()
    assert isinstance(state, UserStateRow)
    loaded = LoadedUser(account=accounts[0] if accounts else None, state=state, sessions=sessions)
    again = Told(UserActor.load(BOB.id, loaded, policy=Policy(), epoch="epoch"))
    again.rows = dict(told.rows)
    return again


# -- the account


def test_an_account_is_created_once(told: Told) -> None:
    view = told.ask(ReadAccount(account=BOB.id))

    assert (view.id, view.handle, view.name, view.email, view.role, view.kind) == (
        "2",
        "bob",
        "Bob",
        "bob@example.org",
        "member",
        "member",
    )
    assert told.code(create()) == "already_exists"
    assert told.ask(ReadCredentials(account=BOB.id)) == Credentials("hash")


EVERYTHING: tuple[Command, ...] = (
    ReadAccount(account=BOB.id),
    ReadCredentials(account=BOB.id),
    EditAccount(account=BOB.id, name="x"),
    DeleteAccount(account=BOB.id),
    OpenSession(account=BOB.id, session="s", ttl_ms=DAY_MS),
    RotateSession(account=BOB.id, session="s", generation=0, ttl_ms=DAY_MS),
)


@pytest.mark.parametrize("command", EVERYTHING)
def test_an_account_that_was_never_made_or_is_deleted_is_not_found(told: Told, command: Command) -> None:
    told.ask(DeleteAccount(account=BOB.id))

    assert new_user().code(command) == "account_not_found"
    assert told.code(command) == "account_not_found"
    assert reloaded(told).code(command) == "account_not_found"


def test_a_command_of_a_post_is_no_method(told: Told) -> None:
    assert told.code(ReadPost(post="7")) == "method_not_found"


def test_an_edit_changes_what_is_given(told: Told) -> None:
    view = told.ask(EditAccount(account=BOB.id, name="Robert", url="https://bob.example"))
    assert (view.name, view.url, view.handle) == ("Robert", "https://bob.example", "bob")
    view = told.ask(EditAccount(account=BOB.id, url=""))

    assert (view.name, view.url) == ("Robert", None)
    assert told.ask(EditAccount(account=BOB.id, url="", name="Robert")) == view
    assert not told.decision.events
    assert told.actor.version == 3


def test_a_new_password_can_end_all_sessions(told: Told) -> None:
    opened(told, "one")
    opened(told, "two")
    told.ask(EditAccount(account=BOB.id, password_hash="new", end_sessions=True))

    assert told.ask(ReadCredentials(account=BOB.id)).password_hash == "new"
    for session in ("one", "two"):
        assert told.code(RotateSession(account=BOB.id, session=session, generation=0, ttl_ms=DAY_MS)) == "session_ended"


def test_a_host_s_user_is_made_and_kept_up_to_date() -> None:
    told = new_user()
    sync = SyncHostAccount(account=BOB.id, handle="bob", name="Bob", role="moderator")
    view = told.ask(sync)
    assert (view.kind, view.role) == ("host", "moderator")
    assert told.ask(sync) == view
    assert not told.decision.events
    view = told.ask(SyncHostAccount(account=BOB.id, handle="bob2", name="Robert"))

    assert (view.handle, view.name, view.role) == ("bob2", "Robert", "member")


def test_an_account_comes_back_as_it_was(told: Told) -> None:
    told.ask(EditAccount(account=BOB.id, name="Robert"))
    again = reloaded(told)

    assert again.ask(ReadAccount(account=BOB.id)) == told.ask(ReadAccount(account=BOB.id))
    assert again.actor.version == told.actor.version == 2


# -- sessions


def opened(told: Told, session: str = "s", now: float = NOW) -> SessionState:
    state = told.ask(OpenSession(account=BOB.id, session=session, ttl_ms=DAY_MS), now=now)
    assert isinstance(state, SessionState)
    return state


def rotate(generation: int, session: str = "s") -> RotateSession:
    return RotateSession(account=BOB.id, session=session, generation=generation, ttl_ms=DAY_MS)


def test_a_session_begins_with_generation_0(told: Told) -> None:
    assert opened(told) == SessionState("s", 0, NOW_MS + DAY_MS)


def test_each_refresh_gives_the_next_generation_and_more_time(told: Told) -> None:
    opened(told)

    assert told.ask(rotate(0), now=NOW + 60) == SessionState("s", 1, NOW_MS + 60_000 + DAY_MS)
    assert told.ask(rotate(1), now=NOW + 120) == SessionState("s", 2, NOW_MS + 120_000 + DAY_MS)


def test_the_token_before_gets_the_same_successor_for_a_while(told: Told) -> None:
    """A lost answer must not sign the user out."""
    opened(told)
    first = told.ask(rotate(0))

    assert told.ask(rotate(0), now=NOW + REFRESH_GRACE_MS / 1000) == first
    assert not told.decision.events
    assert reloaded(told).ask(rotate(0)) == first


def test_the_token_before_is_stolen_after_that(told: Told) -> None:
    opened(told)
    told.ask(rotate(0))
    with pytest.raises(Exception, match="used before"):
        told.ask(rotate(0), now=NOW + REFRESH_GRACE_MS / 1000 + 0.001)

    # The event stays though it was refused: neither of the two can be told from the thief.
    (event,) = told.decision.events
    assert isinstance(event, SessionSaved)
    assert event.row.revoked_ms is not None
    assert told.code(rotate(1)) == "session_ended"
    assert reloaded(told).code(rotate(1)) == "session_ended"


@pytest.mark.parametrize("generation", [-1, 0, 3, 100])
def test_any_other_generation_ends_the_session(told: Told, generation: int) -> None:
    opened(told)
    told.ask(rotate(0))
    told.ask(rotate(1))
    with pytest.raises(Exception, match="used before"):
        told.ask(rotate(generation))

    assert told.code(rotate(2)) == "session_ended"


def test_a_session_ends_with_its_time(told: Told) -> None:
    opened(told)
    late = NOW + DAY_MS / 1000
    assert told.code(rotate(0), now=late) == "session_ended"

    assert reloaded(told, late).code(rotate(0), now=late) == "session_ended"
    told.ask(rotate(0), now=late - 0.001)


def test_signing_out_ends_the_session_once(told: Told) -> None:
    opened(told)
    opened(told, "another")
    assert told.ask(EndSession(account=BOB.id, session="s")) == Ack()
    assert told.ask(EndSession(account=BOB.id, session="s")) == Ack()
    assert not told.decision.events

    assert told.code(rotate(0)) == "session_ended"
    assert told.code(rotate(0, "unknown")) == "session_ended"
    told.ask(rotate(0, "another"))


def test_the_oldest_session_gives_way(told: Told) -> None:
    for number in range(SESSIONS_MAX + 2):
        opened(told, f"s{number}", NOW + number)

    assert [told.code(rotate(0, f"s{number}")) for number in (0, 1)] == ["session_ended"] * 2
    told.ask(rotate(0, "s2"))
    assert sum(row.revoked_ms is None for row in told.of(SessionRow)) == SESSIONS_MAX


def test_sessions_that_are_over_stay_in_no_memory(told: Told) -> None:
    for number in range(10):
        opened(told, f"s{number}", NOW + 2 * number * DAY_MS / 1000)
    assert isinstance(told.actor, UserActor)

    assert len(told.actor.sessions) <= 1


# -- the end


def comment(post: int, id: int) -> CommentRow:
    return CommentRow(
        post_id=post,
        id=id,
        parent_id=None,
        author_id=BOB.id,
        body="hello",
        state="visible",
        kind="comment",
        changed_offset=id,
        version=id,
        source=None,
        author_name=None,
        author_url=None,
        created_ms=0,
        edited_ms=None,
        deleted_ms=None,
    )


def test_a_deleted_account_keeps_nothing_and_ends_its_sessions(told: Told) -> None:
    opened(told)
    assert told.ask(DeleteAccount(account=BOB.id)) == Ack()
    assert told.alarms == {"erase": NOW_MS, "notifications": NOW_MS}

    (row,) = told.of(AccountRow)
    assert (row.name, row.email, row.url, row.password_hash, row.state) == ("", None, None, None, "erasing")
    assert [session.revoked_ms for session in told.of(SessionRow)] == [NOW_MS]
    assert told.ask(EndSession(account=BOB.id, session="s")) == Ack()
    assert told.code(create()) == "already_exists"


@pytest.mark.parametrize(("erased", "words"), [("anonymous", False), ("tombstone", True)])
def test_erasing_tells_every_post_until_no_comment_bears_the_name(erased: Any, words: bool) -> None:
    told = new_user(Policy(erased_comments=erased))
    told.ask(create())
    for post, id in ((7, 1), (7, 4), (8, 2)):
        row = comment(post, id)
        told.rows[CommentRow, row.identity()] = row
    told.ask(DeleteAccount(account=BOB.id))
    told.ask(RingAlarm(name="erase"), now=NOW + 1)

    assert told.decision.messages == (
        Message("post:7", EraseComments(post="7", account=BOB.id, comments=[1, 4], words=words)),
        Message("post:8", EraseComments(post="8", account=BOB.id, comments=[2], words=words)),
    )
    assert told.alarms == {"erase": NOW_MS + 1_000 + ERASE_AGAIN_MS}
    told.rows = {key: row for key, row in told.rows.items() if key[0] is not CommentRow}
    told.ask(RingAlarm(name="erase"), now=NOW + 2)

    assert told.alarms == {"erase": None}
    (event,) = told.decision.events
    assert isinstance(event, AccountSaved)
    assert event.row.state == "deleted"
    told.ask(RingAlarm(name="erase"), now=NOW + 3)
    assert not told.decision.events


def test_an_account_that_wrote_much_is_erased_in_chunks(told: Told) -> None:
    for id in range(1, 2 * ERASE_CHUNK):
        row = comment(7, id)
        told.rows[CommentRow, row.identity()] = row
    told.ask(DeleteAccount(account=BOB.id))
    told.ask(RingAlarm(name="erase"))

    (message,) = told.decision.messages
    assert isinstance(message.command, EraseComments)
    assert len(message.command.comments) == ERASE_CHUNK


def test_an_account_that_is_not_being_erased_ignores_the_alarm(told: Told) -> None:
    told.ask(RingAlarm(name="erase"))
    assert told.alarms == {"erase": None}
    assert not told.decision.events
    told.ask(RingAlarm(name="from an older version"))

    assert told.alarms == {"from an older version": None}
