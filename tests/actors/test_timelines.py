"""When a user's edges are arranged, by which rule, and when an author's are closed."""

from typing import Any

import pytest

from actors.actor import RingAlarm
from actors.jobs import AGAIN_MS, CloseEdges, EdgesClosed, TendTimeline, TimelineTended
from actors.policy import Policy
from actors.rates import HALF_LIFE_MS, raised
from actors.timelines import AWAY_MS, TEND_EVERY_MS, TEND_SOON_MS
from actors.user import UserActor
from protocol.accounts import CreateAccount, DeleteAccount
from protocol.graph import Follow, FollowerGained, FollowerLost
from protocol.timelines import NoteReads, PostPublished, PostWithdrawn
from store.base import LoadedUser
from store.rows import UserStateRow
from store.timelines import Tended, Wishes
from tests.actors.telling import ANN, BOB, NOW, Told

NOW_MS = int(NOW * 1000)
OPEN = Tended(unfinished=False, open=True)
CLOSED = Tended(unfinished=False, open=False)


def user(strategy: Any = "hybrid", celebrity_followers: int = 10) -> Told:
    policy = Policy(timelines=strategy, celebrity_followers=celebrity_followers)
    told = Told(UserActor(BOB.id, policy=policy, epoch="epoch"))
    told.ask(CreateAccount(account=BOB.id, kind="member", handle="bob", name="Bob"))
    return told


def row(told: Told) -> UserStateRow:
    found = told.actor.state_row()
    assert isinstance(found, UserStateRow)
    return found


def wishes(strategy: Any, **changed: Any) -> Wishes:
    return Wishes(**{"strategy": strategy, "here": False, "reading": 0, "margin": HALF_LIFE_MS, **changed})


# -- who reads


@pytest.mark.parametrize("strategy", ["push", "hybrid", "adaptive"])
def test_who_follows_has_the_edges_arranged_soon(strategy: str) -> None:
    told = user(strategy)
    told.ask(Follow(account=str(ANN.id)))
    assert told.alarms == {"timeline": NOW_MS + TEND_SOON_MS}


def test_nothing_is_arranged_where_all_is_pulled() -> None:
    told = user("pull")
    told.ask(Follow(account=str(ANN.id)))
    assert told.alarms == {}


def test_a_timeline_is_tended_until_it_is_done_and_then_daily_while_edges_are_open() -> None:
    told = user()
    wanted = wishes("hybrid")
    assert told.ask(RingAlarm(name="timeline")) == TendTimeline(BOB.id, wanted)
    assert told.ask(TimelineTended(wishes=wanted, tended=Tended(unfinished=True, open=True))) == TendTimeline(
        BOB.id, wanted
    )
    assert told.alarms == {"timeline": NOW_MS + AGAIN_MS}
    told.ask(TimelineTended(wishes=wanted, tended=OPEN))
    assert told.alarms == {"timeline": NOW_MS + TEND_EVERY_MS + BOB.id * 1_000}
    assert row(told).arranged == "hybrid"
    told.ask(TimelineTended(wishes=wanted, tended=CLOSED))
    assert told.alarms == {"timeline": None}
    assert not told.decision.events


def test_who_comes_under_another_strategy_has_the_edges_arranged_anew() -> None:
    told = user("push")
    told.ask(NoteReads(reads=1))
    assert told.alarms == {"timeline": NOW_MS}
    told.ask(TimelineTended(wishes=wishes("push"), tended=OPEN))
    told.ask(NoteReads(reads=1))
    assert told.alarms == {}


def test_adaptive_arranges_anew_for_whom_comes_twice_as_often_or_comes_back() -> None:
    told = user("adaptive")

    def comes(reads: int, now: float = NOW) -> bool:
        told.ask(NoteReads(reads=reads), now=now)
        due = bool(told.alarms)
        if due:
            job = told.ask(RingAlarm(name="timeline"), now=now)
            assert isinstance(job, TendTimeline)
            assert job.wishes.here
            assert job.wishes.reading == row(told).reading
            told.ask(TimelineTended(wishes=job.wishes, tended=OPEN), now=now)
        return due

    assert comes(10)
    assert not comes(9)
    assert comes(2)
    assert not comes(2)
    assert comes(1, NOW + AWAY_MS / 1000)


def test_adaptive_says_of_whom_is_away_that_nobody_is_there() -> None:
    told = user("adaptive")
    told.ask(NoteReads(reads=1))
    for away_ms, here in ((AWAY_MS - 1, True), (AWAY_MS, False)):
        job = told.ask(RingAlarm(name="timeline"), now=NOW + away_ms / 1000)
        assert isinstance(job, TendTimeline)
        assert job.wishes.here is here


def test_of_a_deleted_account_no_timeline_is_kept() -> None:
    told = user("push")
    told.ask(DeleteAccount(account=BOB.id))
    assert told.ask(RingAlarm(name="timeline")) == TendTimeline(BOB.id, wishes("pull"))
    told.ask(TimelineTended(wishes=wishes("pull"), tended=CLOSED))
    assert told.alarms == {"timeline": None}
    assert told.code(NoteReads(reads=1)) == "account_not_found"


def test_reads_are_counted_as_a_rate() -> None:
    told = user()
    told.ask(NoteReads(reads=3))
    assert (row(told).reading, row(told).seen_ms) == (raised(0, NOW_MS, 3), NOW_MS)


# -- who is read


def test_posts_are_counted_and_how_often_they_come() -> None:
    told = user()
    told.ask(PostPublished())
    told.ask(PostPublished(), now=NOW + 60)
    assert (row(told).posts, row(told).posting) == (2, raised(NOW_MS, NOW_MS + 60_000))
    told.ask(PostWithdrawn())
    assert (row(told).posts, row(told).posting) == (1, raised(NOW_MS, NOW_MS + 60_000))


def test_a_celebrity_is_made_at_a_number_of_followers_and_unmade_at_four_fifths_of_it() -> None:
    told = user()
    seen = []
    for follower in range(100, 110):
        told.ask(FollowerGained(account=follower))
        seen.append(row(told).celebrity)
    assert seen == [False] * 9 + [True]
    assert told.alarms == {"close edges": NOW_MS}
    for _ in range(3):
        told.ask(FollowerLost(account=1))
        seen.append(row(told).celebrity)
    assert seen[10:] == [True, True, False]
    told.ask(FollowerGained(account=1))
    assert not row(told).celebrity


def test_the_edges_of_a_celebrity_are_closed_until_none_is_left() -> None:
    told = user(celebrity_followers=1)
    told.ask(FollowerGained(account=9))
    assert told.ask(RingAlarm(name="close edges")) == CloseEdges(BOB.id)
    assert told.ask(EdgesClosed(left=True)) == CloseEdges(BOB.id)
    assert told.alarms == {"close edges": NOW_MS + AGAIN_MS}
    told.ask(EdgesClosed(left=False))
    assert told.alarms == {"close edges": None}
    # What a follower opened meanwhile is closed with the next post.
    told.ask(PostPublished())
    assert told.alarms == {"close edges": NOW_MS}


@pytest.mark.parametrize("strategy", ["push", "pull"])
def test_other_strategies_know_no_celebrities(strategy: str) -> None:
    told = user(strategy, celebrity_followers=1)
    told.ask(FollowerGained(account=9))
    assert "close edges" not in told.alarms
    assert row(told).celebrity
    told.ask(RingAlarm(name="close edges"))
    assert told.alarms == {"close edges": None}


def test_habits_come_back_with_the_state() -> None:
    told = user(celebrity_followers=1)
    told.ask(FollowerGained(account=9))
    told.ask(PostPublished())
    told.ask(NoteReads(reads=2))
    told.ask(TimelineTended(wishes=wishes("hybrid", reading=7), tended=OPEN))
    assert isinstance(told.actor, UserActor)
    loaded = LoadedUser(account=told.actor.account, state=row(told))
    assert UserActor.load(BOB.id, loaded, policy=Policy(), epoch="epoch").state_row() == row(told)


@pytest.mark.parametrize("command", [PostPublished(), PostWithdrawn(), NoteReads(reads=1)])
def test_who_was_never_there_is_told_nothing(command: Any) -> None:
    assert Told(UserActor(BOB.id, policy=Policy(), epoch="epoch")).code(command) == "account_not_found"
