"""What a person is told: groups that begin, count up and down, are read, and are dropped when old."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from actors.actor import SYSTEM, ReadHead, ReadUnread, RingAlarm
from actors.notifying import DAY_MS, DROPPED_AT_ONCE, HOUR_MS, KEPT_MAX, KEPT_MS
from actors.policy import Policy
from actors.user import UserActor
from protocol.accounts import CreateAccount, DeleteAccount
from protocol.commands import Command
from protocol.graph import Block, FollowerGained, FollowerLost, Mute
from protocol.notifications import (
    EditPreferences,
    ForgetPerson,
    Kind,
    MarkRead,
    Notice,
    Notify,
    Preferences,
    ReadPreferences,
    TakeBack,
    UnreadChanged,
)
from store.base import LoadedUser
from store.graph import Relation
from store.rows import NotificationRow
from tests.actors.telling import ANN, BOB, CID, MOD, NOW, POST, Told

NOW_MS = int(NOW * 1000)
HOUR_S = HOUR_MS / 1000


@pytest.fixture
def told() -> Told:
    told = Told(UserActor(BOB.id, policy=Policy(), epoch="epoch"))
    told.ask(CreateAccount(account=BOB.id, kind="member", handle="bob", name="Bob"))
    told.theirs = {id: Relation(id=id, active=True) for id in range(20, 40)}
    return told


def notify(
    told: Told,
    *people: tuple[int, int],
    kind: Kind = "reaction",
    comment: int = 0,
    unnamed: int = 0,
    others: Sequence[tuple[int, int]] = (),
    total: int = 1_000,
    now: float = NOW,
) -> None:
    change = sum(change for _, change in (*people, *others)) + unnamed
    told.ask(Notify(notices=[Notice(kind, POST, comment, change, total, people, others)]), SYSTEM, now)


def groups(told: Told) -> list[tuple[int, list[int]]]:
    """Count and sample of all that are not gone, as they are stored."""
    return [(row.count, row.sample) for row in told.of(NotificationRow) if not row.gone]


def test_of_a_crowd_those_are_not_counted_whom_one_wants_to_hear_nothing_of(told: Told) -> None:
    told.theirs[20] = Relation(id=20, active=True, blocked_by=True)
    told.ask(Block(account="21"))
    told.ask(Mute(account="22"))
    told.ask(Mute(account="23", until=NOW_MS + 1))
    crowd = [(id, 1) for id in range(20, 40)]
    notify(told, (ANN.id, 1), others=crowd, unnamed=5, now=NOW + 1)
    assert groups(told) == [(1 + 17 + 5, [ANN.id])]
    notify(told, others=[(id, -1) for id, _ in crowd], now=NOW + 2)
    assert groups(told) == [(1 + 5, [ANN.id])]


def test_a_crowd_of_nobody_else_begins_no_group(told: Told) -> None:
    for id in range(20, 40):
        told.ask(Mute(account=str(id)))
    notify(told, (20, 1), others=[(id, 1) for id in range(21, 40)])
    assert groups(told) == []


def published(told: Told) -> list[dict[str, Any]]:
    """What the last decision showed on the stream."""
    shown = [told.actor.publication(event) for event in told.decision.events]
    return [msgspec.json.decode(publication.encode()) for publication in shown if publication is not None]


def unread(told: Told) -> int:
    answer = told.ask(ReadUnread(), SYSTEM)
    assert isinstance(answer, UnreadChanged)
    return answer.unread


# -- groups


def test_a_group_begins_with_the_hour_and_is_shown(told: Told) -> None:
    notify(told, (ANN.id, 1), (CID.id, 1), unnamed=5)

    (row,) = told.of(NotificationRow)
    assert (row.id, row.changed_offset, row.hour_ms) == (1, 1, NOW_MS - NOW_MS % HOUR_MS)
    assert (row.count, row.sample) == (7, [CID.id, ANN.id])
    (shown,) = published(told)
    assert shown == {
        "type": "notification",
        "group": {
            "id": "1",
            "kind": "reaction",
            "post": "7",
            "comment": None,
            "count": 7,
            "sample": ["3", "1"],
            "created_at": "2026-02-02T02:40:00.000Z",
            "updated_at": "2026-02-02T02:40:00.000Z",
            "read": False,
            "offset": 1,
        },
        "accounts": {
            "3": {"id": "3", "handle": "cid", "name": "Cid", "url": None},
            "1": {"id": "1", "handle": "ann", "name": "Ann", "url": None},
        },
        "posts": {"7": {"id": "7", "title": "A post", "slug": "a-post"}},
    }


def test_a_group_is_added_to_for_twelve_hours(told: Told) -> None:
    notify(told, (ANN.id, 1))
    notify(told, (CID.id, 1), now=NOW + 11 * HOUR_S)
    assert groups(told) == [(2, [CID.id, ANN.id])]
    notify(told, (20, 1), now=NOW + 12 * HOUR_S)
    assert groups(told) == [(2, [CID.id, ANN.id]), (1, [20])]


def test_each_kind_and_target_has_a_group_of_its_own(told: Told) -> None:
    notify(told, (ANN.id, 1))
    notify(told, (ANN.id, 1), kind="applause")
    notify(told, (ANN.id, 1), comment=3)
    assert groups(told) == [(1, [ANN.id])] * 3
    assert [row.id for row in told.of(NotificationRow)] == [1, 2, 3]


def test_the_newest_three_are_named(told: Told) -> None:
    for id in (20, 21, 22, 23, 20):
        notify(told, (id, 1), kind="comment")
    assert groups(told) == [(5, [20, 23, 22])]


def test_a_group_counts_down_and_is_gone_at_nothing(told: Told) -> None:
    notify(told, (ANN.id, 1), (CID.id, 1))
    notify(told, (ANN.id, -1))
    assert groups(told) == [(1, [CID.id])]
    notify(told, (CID.id, -1))

    assert groups(told) == []
    (row,) = told.of(NotificationRow)
    assert (row.gone, row.count, row.changed_offset) == (True, 0, 3)
    assert published(told)[0]["group"]["count"] == 0
    notify(told, (CID.id, 1))
    assert groups(told) == [(1, [CID.id])]


def test_what_is_taken_back_is_taken_off_the_group_that_names_it_then_off_the_newest(told: Told) -> None:
    notify(told, (ANN.id, 1), (CID.id, 1))
    notify(told, (20, 1), (21, 1), now=NOW + 13 * HOUR_S)
    notify(told, (ANN.id, -1), now=NOW + 14 * HOUR_S)
    assert groups(told) == [(1, [CID.id]), (2, [21, 20])]
    notify(told, unnamed=-3, now=NOW + 14 * HOUR_S)
    assert groups(told) == []


def test_one_who_comes_and_one_who_goes_in_the_same_second_are_both_seen(told: Told) -> None:
    notify(told, (ANN.id, 1))
    notify(told, (ANN.id, -1), (CID.id, 1))
    assert groups(told) == [(1, [CID.id])]
    assert len(published(told)) == 1


def test_a_count_is_never_above_what_there_is(told: Told) -> None:
    notify(told, (ANN.id, 1), (CID.id, 1))
    notify(told, (20, 1), total=2)
    assert groups(told) == [(2, [20, CID.id])]
    notify(told, total=0)
    assert groups(told) == []


def test_a_notice_of_what_was_never_told_changes_nothing(told: Told) -> None:
    notify(told, (ANN.id, -1))
    notify(told, total=0)
    assert not told.decision.events
    assert told.of(NotificationRow) == []


def test_a_mention_is_told_once(told: Told) -> None:
    notify(told, (ANN.id, 1), kind="mention", comment=4, total=1)
    notify(told, (ANN.id, 1), kind="mention", comment=4, total=1)
    assert groups(told) == [(1, [ANN.id])]
    assert told.actor.head == 1


# -- from whom


def test_who_is_blocked_is_named_no_more(told: Told) -> None:
    notify(told, (20, 1), (21, 1))
    notify(told, (20, 1), kind="mention", comment=2)
    told.ask(Block(account="20"))
    assert groups(told) == [(1, [21])]


@pytest.mark.parametrize(
    "relation",
    [Relation(id=20, active=True, blocked_by=True), Relation(id=20, active=False)],
)
def test_nothing_is_told_of_who_blocks_or_is_gone(told: Told, relation: Relation) -> None:
    told.theirs[20] = relation
    notify(told, (20, 1))
    notify(told, (20, 1), (21, 1))
    assert groups(told) == [(1, [21])]


def test_nothing_is_told_of_whom_one_blocks_or_mutes_for_as_long_as_that_is(told: Told) -> None:
    told.ask(Block(account="20"))
    told.ask(Mute(account="21", until=NOW_MS + 1_000))
    notify(told, (20, 1), (21, 1))
    assert groups(told) == []
    notify(told, (20, 1), (21, 1), now=NOW + 2)
    assert groups(told) == [(1, [21])]
    notify(told, (20, -1), now=NOW + 2)
    assert groups(told) == [(1, [21])]


def test_an_account_that_is_gone_is_told_nothing(told: Told) -> None:
    told.ask(DeleteAccount(account=BOB.id))
    notice = Notify(notices=[Notice("mention", POST, 1, 1, 1, [(ANN.id, 1)])])
    assert told.code(notice, SYSTEM) == "account_not_found"


def test_followers_are_told_of_until_they_leave(told: Told) -> None:
    told.ask(FollowerGained(account=ANN.id), SYSTEM)
    told.ask(FollowerGained(account=CID.id), SYSTEM)
    assert groups(told) == [(2, [CID.id, ANN.id])]
    assert published(told)[0]["group"]["post"] is None
    told.ask(FollowerLost(account=CID.id), SYSTEM)
    told.ask(FollowerLost(account=ANN.id), SYSTEM)
    assert groups(told) == []
    assert told.actor.state_row() == told.actor.state_row()


# -- what is gone


def test_what_was_told_about_a_comment_or_a_post_is_taken_back(told: Told) -> None:
    notify(told, (ANN.id, 1), kind="mention", comment=4)
    notify(told, (ANN.id, 1), comment=5)
    notify(told, (ANN.id, 1), kind="comment")
    told.ask(TakeBack(post=POST, comments=[4, 6]), SYSTEM)
    assert [row.gone for row in told.of(NotificationRow)] == [True, False, False]
    told.ask(TakeBack(post=POST, comments=[]), SYSTEM)
    assert groups(told) == []
    assert unread(told) == 0


def test_who_is_gone_is_named_no_more(told: Told) -> None:
    notify(told, (ANN.id, 1), (CID.id, 1))
    notify(told, (ANN.id, 1), kind="applause")
    told.ask(ForgetPerson(account=ANN.id), SYSTEM)
    assert groups(told) == [(1, [CID.id])]


# -- reading


def test_what_changed_since_one_read_is_unread(told: Told) -> None:
    notify(told, (ANN.id, 1))
    notify(told, (ANN.id, 1), comment=3)
    assert unread(told) == 2
    told.ask(MarkRead(cursor="epoch-1"))
    assert unread(told) == 1
    answer = told.ask(MarkRead(cursor="epoch-2"))
    assert (answer.unread, answer.read) == (0, 2)
    notify(told, (CID.id, 1))
    assert unread(told) == 1
    told.ask(MarkRead(cursor="epoch-1"))
    assert not told.decision.events
    assert unread(told) == 1


def test_what_is_taken_back_makes_nothing_unread(told: Told) -> None:
    notify(told, (ANN.id, 1), (CID.id, 1), (20, 1))
    told.ask(MarkRead(cursor="epoch-1"))
    notify(told, (CID.id, -1))
    (shown,) = published(told)
    assert (shown["group"]["count"], shown["group"]["offset"], shown["group"]["read"]) == (2, 2, True)
    assert unread(told) == 0
    notify(told, (ANN.id, -1), (CID.id, 1))
    assert unread(told) == 1


def test_what_is_unread_stays_so_when_some_of_it_is_taken_back(told: Told) -> None:
    notify(told, (ANN.id, 1), (CID.id, 1))
    notify(told, (CID.id, -1))
    assert unread(told) == 1
    # Who reads up to where it grew has read it.
    told.ask(MarkRead(cursor="epoch-1"))
    assert unread(told) == 0


@pytest.mark.parametrize("cursor", ["", "2", "epoch-2", "other-1", "epoch--1", "epoch-x", "-1"])
def test_a_cursor_of_something_else_marks_nothing(told: Told, cursor: str) -> None:
    notify(told, (ANN.id, 1))
    assert told.code(MarkRead(cursor=cursor)) == "invalid"


@pytest.mark.parametrize("command", [ReadHead(), MarkRead(cursor="epoch-0"), ReadPreferences(), EditPreferences()])
def test_nobody_else_may_read(told: Told, command: Command) -> None:
    assert told.code(command, ANN) == told.code(command, MOD) == "permission_denied"
    told.ask(command, BOB)


def test_what_is_unread_comes_back_with_the_state(told: Told) -> None:
    for comment in range(3):
        notify(told, (ANN.id, 1), comment=comment)
    told.ask(MarkRead(cursor="epoch-1"))
    told.ask(EditPreferences(follow=False))
    assert isinstance(told.actor, UserActor)
    loaded = LoadedUser(account=told.actor.account, state=told.actor.state_row(), unread=[(2, 2), (3, 3)])
    again = UserActor.load(BOB.id, loaded, policy=Policy(), epoch="epoch")

    assert again.numbers(()) == told.actor.numbers(())
    assert again.state_row() == told.actor.state_row()


# -- preferences


def test_kinds_that_are_not_wanted_are_not_told(told: Told) -> None:
    everything = Preferences(comment=True, reply=True, mention=True, follow=True, reaction=True, applause=True)
    assert told.ask(ReadPreferences()) == everything
    notify(told, (ANN.id, 1))
    fewer = msgspec.structs.replace(everything, reaction=False, follow=False)
    assert told.ask(EditPreferences(reaction=False, follow=False)) == fewer
    notify(told, (CID.id, 1))
    told.ask(FollowerGained(account=ANN.id), SYSTEM)
    assert groups(told) == [(1, [ANN.id])]
    notify(told, (ANN.id, -1))
    assert groups(told) == []
    assert told.ask(EditPreferences(reaction=True)).reaction
    told.ask(EditPreferences(reaction=True))
    assert not told.decision.events


# -- what is old


def test_a_group_that_begins_has_old_ones_looked_for_within_a_day(told: Told) -> None:
    notify(told, (ANN.id, 1))
    due_ms = told.alarms["notifications"]
    assert due_ms is not None
    assert NOW_MS < due_ms <= NOW_MS + DAY_MS
    notify(told, (CID.id, 1))
    assert told.alarms == {}
    notify(told, (CID.id, 1), comment=2)
    assert told.alarms["notifications"] == due_ms


def test_what_is_old_is_dropped_and_the_rest_later(told: Told) -> None:
    notify(told, (ANN.id, 1))
    notify(told, (ANN.id, 1), comment=2, now=NOW + 10)
    told.ask(RingAlarm(name="notifications"), SYSTEM, NOW + KEPT_MS / 1000 + 5)
    assert [row.id for row in told.of(NotificationRow)] == [2]
    assert told.alarms == {"notifications": NOW_MS + 10_000 + KEPT_MS}
    assert unread(told) == 1
    told.ask(RingAlarm(name="notifications"), SYSTEM, NOW + KEPT_MS / 1000 + 11)
    assert told.of(NotificationRow) == []
    assert told.alarms == {"notifications": None}


def test_what_is_too_much_is_dropped_in_turns(told: Told) -> None:
    notify(told, (ANN.id, 1))
    (first,) = told.of(NotificationRow)
    for id in range(2, KEPT_MAX + DROPPED_AT_ONCE + 2):
        told.write(msgspec.structs.replace(first, id=id, comment_id=id, changed_offset=id))
    told.ask(RingAlarm(name="notifications"), SYSTEM)
    assert told.alarms == {"notifications": NOW_MS}
    told.ask(RingAlarm(name="notifications"), SYSTEM)
    assert told.alarms == {"notifications": NOW_MS + KEPT_MS}
    assert next(row.id for row in told.of(NotificationRow)) == DROPPED_AT_ONCE + 2


def test_of_a_deleted_account_nothing_is_kept(told: Told) -> None:
    notify(told, (ANN.id, 1))
    told.ask(DeleteAccount(account=BOB.id))
    told.ask(RingAlarm(name="notifications"), SYSTEM)
    assert told.of(NotificationRow) == []
