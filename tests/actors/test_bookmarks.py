"""Bookmarks: set, taken away, and gone with the account."""

import pytest

from actors.account import ERASE_CHUNK
from actors.actor import RingAlarm
from actors.policy import Policy
from actors.user import UserActor
from protocol.accounts import CreateAccount, DeleteAccount
from protocol.finding import Bookmark
from store.rows import AccountRow, BookmarkRow
from tests.actors.telling import ANN, BOB, MOD, NOW, Told

NOW_MS = int(NOW * 1000)


@pytest.fixture
def told() -> Told:
    told = Told(UserActor(BOB.id, policy=Policy(), epoch="epoch"))
    told.ask(CreateAccount(account=BOB.id, kind="guest", handle="bob", name="Bob"))
    return told


def marked(told: Told) -> list[int]:
    """The posts with a bookmark, the last one first."""
    return [row.post_id for row in sorted(told.of(BookmarkRow), key=lambda row: row.place, reverse=True)]


def test_a_bookmark_is_set_and_taken_away(told: Told) -> None:
    told.ask(Bookmark(post="7"))
    assert told.of(BookmarkRow) == [BookmarkRow(user_id=BOB.id, post_id=7, place=2, created_ms=NOW_MS)]
    told.ask(Bookmark(post="7", on=False))
    assert marked(told) == []


def test_doing_it_again_changes_nothing(told: Told) -> None:
    told.ask(Bookmark(post="7", on=False))
    assert told.decision.events == ()
    told.ask(Bookmark(post="7"))
    told.ask(Bookmark(post="7"), now=NOW + 1)
    assert told.decision.events == ()
    assert marked(told) == [7]


def test_what_is_bookmarked_anew_stands_first(told: Told) -> None:
    for post in ("7", "8", "9"):
        told.ask(Bookmark(post=post))
    told.ask(Bookmark(post="7", on=False))
    told.ask(Bookmark(post="7"))
    assert marked(told) == [7, 9, 8]


def test_what_is_not_stored_yet_counts_against_what_is(told: Told) -> None:
    told.ask(Bookmark(post="7"))
    stored = dict(told.rows)
    told.ask(Bookmark(post="7", on=False))
    # The store still has it: what was decided is on its way.
    told.rows = stored
    told.ask(Bookmark(post="7", on=False))
    assert told.decision.events == ()
    told.ask(Bookmark(post="7"))
    assert len(told.decision.events) == 1


def test_what_cannot_be_read_takes_no_bookmark_but_one_may_be_taken_away(told: Told) -> None:
    told.ask(Bookmark(post="7"))
    told.unpublished.add(7)
    told.ask(Bookmark(post="7", on=False))
    assert marked(told) == []
    assert told.code(Bookmark(post="7")) == "post_not_found"


def test_nobody_sets_a_bookmark_for_another(told: Told) -> None:
    for other in (ANN, MOD):
        assert told.code(Bookmark(post="7"), other) == "permission_denied"


def test_who_has_no_account_sets_none() -> None:
    assert Told(UserActor(BOB.id, policy=Policy(), epoch="epoch")).code(Bookmark(post="7")) == "account_not_found"


def test_bookmarks_go_with_the_account(told: Told) -> None:
    for post in range(1, ERASE_CHUNK + 6):
        told.ask(Bookmark(post=str(post)))
    told.ask(DeleteAccount(account=BOB.id))
    assert told.code(Bookmark(post="7")) == "account_not_found"
    told.ask(RingAlarm(name="erase"))
    assert len(marked(told)) == 5
    told.actor.trim()
    told.ask(RingAlarm(name="erase"))
    assert marked(told) == []
    told.actor.trim()
    told.ask(RingAlarm(name="erase"))
    assert [row.state for row in told.of(AccountRow)] == ["deleted"]
