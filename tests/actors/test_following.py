"""Whom a person follows, blocks and mutes, decided by value; and the counts that messages keep."""

from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from actors.account import ERASE_AGAIN_MS, ERASE_CHUNK
from actors.actor import Message, RingAlarm
from actors.keys import user_key
from actors.policy import Policy
from actors.user import UserActor
from protocol.accounts import CreateAccount, DeleteAccount, ReadAccount
from protocol.commands import Command, Person
from protocol.errors import Refused
from protocol.graph import (
    FOLLOWING_MAX,
    Block,
    DropFollow,
    Follow,
    FollowerGained,
    FollowerLost,
    GraphCommand,
    Mute,
    ReadRelationships,
    Relationship,
    RemoveFollower,
    Unblock,
    Unfollow,
    Unmute,
)
from protocol.times import rfc3339_ms
from store.base import LoadedUser
from store.graph import Relation
from store.rows import AccountKind, BlockRow, FollowRow, MuteRow, UserStateRow
from tests.actors.telling import ANN, BOB, CID, MOD, NOW, Told

NOW_MS = int(NOW * 1000)
STRANGER = "404"
WRITES = (Follow, Unfollow, Block, Unblock, Mute, Unmute, RemoveFollower)


def member(person: Person, kind: AccountKind = "member") -> Told:
    told = Told(UserActor(person.id, policy=Policy(), epoch="epoch"))
    told.ask(CreateAccount(account=person.id, kind=kind, handle=person.handle, name=person.name))
    return told


@pytest.fixture
def bob() -> Told:
    return member(BOB)


def standing(id: int = CID.id, **true: bool | str | None) -> Relationship:
    nothing = {name: False for name in Relationship.__struct_fields__ if name not in ("id", "muting_until")}
    return msgspec.convert({"id": str(id), "muting_until": None, **nothing, **true}, Relationship)


def sent(told: Told) -> list[Message]:
    return list(told.decision.messages)


def to(person: Person, kind: type, of: Person = BOB, **said: Any) -> Message:
    return Message(user_key(person.id), kind(account=of.id, **said))


def edge(follower: Person, followee: Person, version: int = 1) -> FollowRow:
    return FollowRow(follower=follower.id, followee=followee.id, created_ms=NOW_MS, version=version)


def counts(told: Told) -> tuple[int, int]:
    """(followers, following), as an account shows them."""
    assert isinstance(told.actor, UserActor)
    view = told.ask(ReadAccount(account=told.actor.account_id))
    return view.followers, view.following


CID_ID = str(CID.id)


# -- following


def test_following_makes_an_edge_and_tells_the_followee(bob: Told) -> None:
    assert bob.ask(Follow(account=CID_ID)) == standing(following=True)

    assert bob.of(FollowRow) == [edge(BOB, CID)]
    assert sent(bob) == [to(CID, FollowerGained)]
    assert counts(bob) == (0, 1)


def test_following_twice_tells_nobody_and_answers_the_same(bob: Told) -> None:
    first = bob.ask(Follow(account=CID_ID))

    assert bob.ask(Follow(account=CID_ID), now=NOW + 5) == first
    assert [row.created_ms for row in bob.of(FollowRow)] == [NOW_MS]
    assert counts(bob) == (0, 1)
    assert not sent(bob)


def test_unfollowing_ends_the_edge_and_tells_the_followee(bob: Told) -> None:
    bob.ask(Follow(account=CID_ID))
    assert bob.ask(Unfollow(account=CID_ID)) == standing()
    assert sent(bob) == [to(CID, FollowerLost)]
    assert bob.of(FollowRow) == []
    assert counts(bob) == (0, 0)

    assert bob.ask(Unfollow(account=CID_ID)) == standing()
    assert not bob.decision.events
    assert not sent(bob)


def test_what_the_other_does_is_shown(bob: Told) -> None:
    bob.theirs[CID.id] = Relation(id=CID.id, active=True, back=edge(CID, BOB, 5))

    assert bob.ask(Follow(account=CID_ID)) == standing(following=True, followed_by=True)


def test_nobody_follows_across_a_block(bob: Told) -> None:
    bob.theirs[CID.id] = Relation(id=CID.id, active=True, blocked_by=True)
    assert bob.code(Follow(account=CID_ID)) == "blocked"
    bob.theirs.clear()
    bob.ask(Block(account=CID_ID))
    assert bob.code(Follow(account=CID_ID)) == "blocking"
    bob.ask(Unblock(account=CID_ID))

    assert bob.ask(Follow(account=CID_ID)).following


def test_following_ends_at_its_limit() -> None:
    state = UserStateRow(user_id=BOB.id, version=9, head=0, followers=0, following=FOLLOWING_MAX - 1)
    account = member(BOB).actor
    assert isinstance(account, UserActor)
    told = Told(
        UserActor.load(BOB.id, LoadedUser(account=account.account, state=state), policy=Policy(), epoch="epoch")
    )
    told.ask(Follow(account=CID_ID))

    assert told.code(Follow(account=str(ANN.id))) == "following_too_many"
    # Whom one follows already is no more.
    assert told.ask(Follow(account=CID_ID)).following
    told.ask(Unfollow(account=CID_ID))
    assert told.ask(Follow(account=str(ANN.id))).following


# -- blocking and muting


def test_blocking_ends_the_edges_both_ways(bob: Told) -> None:
    bob.theirs[CID.id] = Relation(id=CID.id, active=True, back=edge(CID, BOB, 5))
    bob.ask(Follow(account=CID_ID))

    # The other's edge does not count from now on, though its row is still there.
    assert bob.ask(Block(account=CID_ID)) == standing(blocking=True)
    assert sent(bob) == [to(CID, FollowerLost), to(CID, DropFollow, version=5)]
    assert bob.of(FollowRow) == []
    assert bob.of(BlockRow) == [BlockRow(blocker=BOB.id, blocked=CID.id, created_ms=NOW_MS)]


def test_blocking_somebody_who_is_not_seen_to_follow_drops_an_edge_that_is_on_its_way(bob: Told) -> None:
    bob.ask(Block(account=CID_ID))
    assert sent(bob) == [to(CID, DropFollow)]

    assert bob.ask(Block(account=CID_ID)) == standing(blocking=True)
    assert not bob.decision.events
    assert not sent(bob)


def test_a_block_that_is_taken_back_brings_no_edge_back(bob: Told) -> None:
    bob.ask(Follow(account=CID_ID))
    bob.ask(Block(account=CID_ID))

    assert bob.ask(Unblock(account=CID_ID)) == standing()
    assert bob.ask(Unblock(account=CID_ID)) == standing()
    assert not bob.decision.events
    assert bob.of(BlockRow) == []


def test_one_blocks_who_blocks_one(bob: Told) -> None:
    bob.theirs[CID.id] = Relation(id=CID.id, active=True, blocked_by=True)

    assert bob.ask(Block(account=CID_ID)) == standing(blocking=True, blocked_by=True)


def test_a_mute_leaves_the_edges_and_is_told_to_nobody(bob: Told) -> None:
    bob.ask(Follow(account=CID_ID))

    assert bob.ask(Mute(account=CID_ID)) == standing(following=True, muting=True)
    assert not sent(bob)
    assert bob.ask(Mute(account=CID_ID)) == standing(following=True, muting=True)
    assert not bob.decision.events
    assert bob.ask(Unmute(account=CID_ID)) == standing(following=True)
    assert bob.of(MuteRow) == []
    bob.ask(Unmute(account=CID_ID))
    assert not bob.decision.events


def test_a_mute_ends_when_it_says(bob: Told) -> None:
    until_ms = NOW_MS + 60_000
    muted = standing(muting=True, muting_until=rfc3339_ms(until_ms))
    assert bob.ask(Mute(account=CID_ID, until=until_ms)) == muted

    ask = ReadRelationships(accounts=[CID_ID])
    assert bob.ask(ask, now=NOW + 59) == [muted]
    assert bob.ask(ask, now=NOW + 60) == [standing()]
    # Another end takes its place; none at all, too.
    later = bob.ask(Mute(account=CID_ID, until=until_ms + 1))
    assert later.muting_until == rfc3339_ms(until_ms + 1)
    assert bob.ask(Mute(account=CID_ID)).muting_until is None
    assert [row.until_ms for row in bob.of(MuteRow)] == [None]


@pytest.mark.parametrize("until_ms", [0, NOW_MS - 1, NOW_MS])
def test_a_mute_ends_in_time_to_come(bob: Told, until_ms: int) -> None:
    assert bob.code(Mute(account=CID_ID, until=until_ms)) == "invalid"


# -- followers


def test_a_follower_is_removed_by_its_own_actor(bob: Told) -> None:
    bob.theirs[CID.id] = Relation(id=CID.id, active=True, back=edge(CID, BOB, 5))

    assert bob.ask(RemoveFollower(account=CID_ID)) == standing()
    assert sent(bob) == [to(CID, DropFollow, version=5)]
    assert not bob.decision.events
    bob.theirs.clear()
    assert bob.ask(RemoveFollower(account=CID_ID)) == standing()
    assert not sent(bob)


def test_who_is_told_to_drops_its_edge_once(bob: Told) -> None:
    bob.ask(Follow(account=CID_ID))
    (asked,) = bob.of(FollowRow)
    bob.ask(DropFollow(account=CID.id, version=asked.version))
    assert sent(bob) == [to(CID, FollowerLost)]
    assert bob.of(FollowRow) == []

    bob.ask(DropFollow(account=CID.id, version=asked.version))
    assert not bob.decision.events
    assert not sent(bob)


def test_who_asks_to_follow_after_being_removed_keeps_the_edge(bob: Told) -> None:
    bob.ask(Follow(account=CID_ID))
    (seen,) = bob.of(FollowRow)
    # The message that removes the edge is on its way.
    assert bob.ask(Follow(account=CID_ID)).following
    assert counts(bob) == (0, 1)
    assert not sent(bob)

    bob.ask(DropFollow(account=CID.id, version=seen.version))

    (kept,) = bob.of(FollowRow)
    assert kept == replace(seen, version=kept.version)
    assert kept.version > seen.version
    bob.ask(DropFollow(account=CID.id, version=kept.version))
    assert bob.of(FollowRow) == []


@pytest.mark.parametrize("theirs", [Relation(id=CID.id, active=True, blocked_by=True), Relation(id=CID.id)])
def test_an_edge_to_who_blocks_or_is_gone_is_dropped_whenever_it_was_asked_for(bob: Told, theirs: Relation) -> None:
    bob.ask(Follow(account=CID_ID))
    bob.theirs[CID.id] = theirs

    bob.ask(DropFollow(account=CID.id, version=0))

    assert bob.of(FollowRow) == []


def test_followers_are_counted_as_they_are_told(bob: Told) -> None:
    bob.ask(FollowerGained(account=CID.id))
    bob.ask(FollowerGained(account=ANN.id))
    bob.ask(FollowerLost(account=CID.id))

    assert counts(bob) == (1, 0)
    assert not sent(bob)


def test_the_counts_come_back_as_they_were(bob: Told) -> None:
    bob.ask(Follow(account=CID_ID))
    bob.ask(FollowerGained(account=ANN.id))
    assert isinstance(bob.actor, UserActor)
    loaded = LoadedUser(account=bob.actor.account, state=bob.actor.state_row())
    again = Told(UserActor.load(BOB.id, loaded, policy=Policy(), epoch="epoch"))

    assert counts(again) == counts(bob) == (1, 1)
    assert again.actor.version == bob.actor.version == 4


# -- who may


@pytest.mark.parametrize("kind", WRITES)
def test_nobody_does_this_to_oneself_or_to_nobody(bob: Told, kind: type[GraphCommand]) -> None:
    assert bob.code(kind(account=str(BOB.id))) == "oneself"
    assert bob.code(kind(account=STRANGER)) == "account_not_found"


@pytest.mark.parametrize("kind", WRITES)
def test_guests_and_others_may_not(bob: Told, kind: type[GraphCommand]) -> None:
    assert bob.code(kind(account=CID_ID), by=ANN) == "permission_denied"
    assert bob.code(kind(account=CID_ID), by=MOD) == "permission_denied"
    assert member(BOB, "guest").code(kind(account=CID_ID)) == "permission_denied"
    assert Told(UserActor(BOB.id, policy=Policy(), epoch="epoch")).code(kind(account=CID_ID)) == "account_not_found"


@pytest.mark.parametrize("kind", WRITES)
def test_with_a_deleted_account_things_end_and_nothing_begins(bob: Told, kind: type[GraphCommand]) -> None:
    bob.theirs[CID.id] = Relation(id=CID.id, active=False)
    if kind in (Follow, Block, Mute):
        assert bob.code(kind(account=CID_ID)) == "account_not_found"
    else:
        assert bob.ask(kind(account=CID_ID)) == standing()


def test_relationships_are_read_in_the_order_asked_without_strangers_and_oneself(bob: Told) -> None:
    bob.ask(Follow(account=CID_ID))
    bob.theirs[MOD.id] = Relation(id=MOD.id, active=False)
    accounts = [str(id) for id in (CID.id, BOB.id, ANN.id, CID.id, MOD.id)]

    read = bob.ask(ReadRelationships(accounts=[*accounts, STRANGER]))
    assert read == [standing(following=True), standing(ANN.id)]
    assert bob.ask(ReadRelationships(accounts=[])) == []
    assert bob.code(ReadRelationships(accounts=accounts), by=ANN) == "permission_denied"


# -- what is not stored yet


def test_ones_own_side_is_as_it_will_be_and_the_other_s_as_it_is_stored(bob: Told) -> None:
    """A relation that was read before the commit which is on its way shows nothing of it."""
    bob.ask(Follow(account=CID_ID))
    bob.rows.clear()

    assert not bob.ask(Unfollow(account=CID_ID)).following
    assert sent(bob) == [to(CID, FollowerLost)]
    assert not bob.ask(Unfollow(account=CID_ID)).following
    assert not sent(bob)
    bob.theirs[CID.id] = Relation(id=CID.id, active=True, blocked_by=True)
    assert bob.code(Follow(account=CID_ID)) == "blocked"


# -- the end


def test_a_deleted_account_takes_its_edges_away_both_ways(bob: Told) -> None:
    for other in (ANN, CID):
        bob.ask(Follow(account=str(other.id)))
    bob.write(edge(MOD, BOB))
    bob.ask(Block(account=str(MOD.id)))
    bob.ask(Mute(account=str(ANN.id)))
    bob.ask(DeleteAccount(account=BOB.id))
    bob.ask(RingAlarm(name="erase"))

    assert sent(bob) == [to(ANN, FollowerLost), to(CID, FollowerLost), to(MOD, DropFollow)]
    assert bob.of(BlockRow) == bob.of(MuteRow) == []
    assert isinstance(bob.actor, UserActor)
    assert bob.actor.following == 0
    assert bob.alarms == {"erase": NOW_MS + ERASE_AGAIN_MS}
    # The follower's edge is the follower's: it is asked again until it is gone.
    bob.ask(RingAlarm(name="erase"))
    assert sent(bob) == [to(MOD, DropFollow)]
    bob.rows.pop((FollowRow, (MOD.id, BOB.id)))
    bob.ask(RingAlarm(name="erase"))

    assert not sent(bob)
    assert bob.actor.account is not None
    assert bob.actor.account.state == "deleted"


def test_an_edge_whose_end_is_not_stored_yet_is_ended_once(bob: Told) -> None:
    bob.ask(Follow(account=CID_ID))
    rows = dict(bob.rows)
    bob.ask(DeleteAccount(account=BOB.id))
    bob.ask(RingAlarm(name="erase"))
    bob.rows = rows
    bob.ask(RingAlarm(name="erase"))

    assert not sent(bob)
    assert not bob.decision.events


def test_many_edges_are_taken_away_in_chunks(bob: Told) -> None:
    for number in range(1, ERASE_CHUNK + 10):
        bob.write(replace(edge(MOD, BOB), follower=1_000 + number))
    bob.ask(DeleteAccount(account=BOB.id))
    bob.ask(RingAlarm(name="erase"))

    assert len(sent(bob)) == ERASE_CHUNK


def test_who_follows_a_deleted_account_is_told_to_drop_it(bob: Told) -> None:
    bob.ask(DeleteAccount(account=BOB.id))
    bob.ask(FollowerGained(account=CID.id))

    assert sent(bob) == [to(CID, DropFollow)]


# -- together


class People:
    """Some people whose messages are delivered in an order that the outbox may have: in turn, from one to another."""

    def __init__(self, rng: Random, *people: Person) -> None:
        self._rng = rng
        self.told = {person.id: member(person) for person in people}
        self.by_id = {person.id: person for person in people}
        self._lanes: dict[tuple[int, str], list[Message]] = {}
        self.asked: set[tuple[int, ...]] = set()
        """The edges that there should be, by what was answered."""

    def act(self, me: int, other: int, kind: type[GraphCommand]) -> None:
        refused = self._ask(me, other, kind(account=str(other)))
        if kind is Follow and not refused:
            self.asked.add((me, other))
        if kind in (Unfollow, Block):
            self.asked.discard((me, other))
        if kind in (RemoveFollower, Block):
            self.asked.discard((other, me))

    def deliver_one(self) -> bool:
        """Deliver the oldest message of some lane; whether there was one."""
        lanes = sorted(lane for lane, messages in self._lanes.items() if messages)
        if not lanes:
            return False
        lane = self._rng.choice(lanes)
        message = self._lanes[lane].pop(0)
        self._ask(int(message.receiver.partition(":")[2]), lane[0], message.command)
        return True

    def edges(self, row_type: type) -> set[tuple[int, ...]]:
        return {row.identity() for told in self.told.values() for row in told.of(row_type)}

    def _ask(self, me: int, other: int, command: Command) -> bool:
        """Whether it was refused."""
        told, theirs = self.told[me], self.told[other]
        back = theirs.rows.get((FollowRow, (other, me)))
        told.theirs[other] = Relation(
            id=other,
            active=True,
            back=back if isinstance(back, FollowRow) else None,
            blocked_by=(BlockRow, (other, me)) in theirs.rows,
        )
        try:
            told.ask(command, by=self.by_id[me])
        except Refused as refusal:
            if refusal.code not in ("blocked", "blocking"):
                raise
            return True
        for message in told.decision.messages:
            self._lanes.setdefault((me, message.receiver), []).append(message)
        return False


@pytest.mark.parametrize("seed", range(30))
def test_after_crossing_operations_there_are_the_edges_that_were_acknowledged_and_their_counts(seed: int) -> None:
    rng = Random(seed)
    people = People(rng, ANN, BOB, CID)
    for _ in range(200):
        if rng.random() < 0.5:
            people.deliver_one()
        else:
            me, other = rng.sample(sorted(people.told), 2)
            people.act(me, other, rng.choice((Follow, Follow, Unfollow, Block, Unblock, RemoveFollower)))
    while people.deliver_one():
        pass

    edges = people.edges(FollowRow)
    assert edges == people.asked
    assert not edges & {(b, a) for a, b in people.edges(BlockRow)}
    assert not edges & people.edges(BlockRow)
    for id, told in people.told.items():
        assert counts(told) == (sum(b == id for _, b in edges), sum(a == id for a, _ in edges))
