"""The graph on a running node: its counts when all is delivered, and what is read while a commit is on its way."""

import asyncio
from collections.abc import Sequence
from random import Random

import pytest

from actors.keys import user_key
from protocol.accounts import DeleteAccount, ReadAccount
from protocol.commands import Person
from protocol.errors import DomainError
from protocol.graph import Block, Follow, GraphCommand, ReadRelationships, RemoveFollower, Unblock, Unfollow
from store.graph import Relation
from store.memory import MemoryStore, ReplyLost, RequestLost
from store.memory_graph import MemoryGraph
from store.rows import AccountRow, AlarmRow, BlockRow, FollowRow, OutboxRow, UserStateRow
from tests.actors.runtime.cluster_rig import cluster
from tests.actors.runtime.rig import ANN, BOB, CID, MOD, Rig

EVERYONE = (ANN, BOB, CID, MOD)


class LaggingGraph(MemoryGraph):
    """Reads relations at once, and gives them when ``until`` is set."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.until = asyncio.Event()

    async def relations(self, me: int, ids: Sequence[int]) -> list[Relation]:
        found = await super().relations(me, ids)
        await self.until.wait()
        return found


def at(kind: type[GraphCommand], other: Person) -> GraphCommand:
    return kind(account=str(other.id))


def edges(store: MemoryStore) -> set[tuple[int, int]]:
    return {(row.follower, row.followee) for row in store.rows(FollowRow)}


def counts(store: MemoryStore) -> dict[int, tuple[int, int]]:
    """(followers, following) of everyone who ever had any."""
    return {row.user_id: (row.followers, row.following) for row in store.rows(UserStateRow)}


def counted(store: MemoryStore) -> dict[int, tuple[int, int]]:
    """The same, from the edges."""
    ends = edges(store)
    return {id: (sum(b == id for _, b in ends), sum(a == id for a, _ in ends)) for id in counts(store)}


async def test_a_follow_is_stored_and_counted_at_both_ends(rig: Rig) -> None:
    assert (await rig.ask(at(Follow, CID))).following
    await rig.settle()

    assert edges(rig.store) == {(BOB.id, CID.id)}
    assert counts(rig.store)[BOB.id] == (0, 1)
    assert counts(rig.store)[CID.id] == (1, 0)
    view = await rig.ask(ReadAccount(account=CID.id))
    assert (view.followers, view.following) == (1, 0)
    (seen,) = await rig.ask(ReadRelationships(accounts=[str(BOB.id)]), CID)
    assert seen.followed_by


async def test_what_was_read_before_a_commit_landed_does_not_hide_it(rig: Rig) -> None:
    commit = rig.hold()
    following = rig.send(at(Follow, CID))
    await rig.settle()
    graph = rig.store.graph
    rig.store.graph = lagging = LaggingGraph(rig.store)
    unfollowing = rig.send(at(Unfollow, CID))
    await rig.settle()
    commit.set()
    assert (await following.answer()).following
    lagging.until.set()

    assert not (await unfollowing.answer()).following
    rig.store.graph = graph
    await rig.settle()
    assert edges(rig.store) == set()
    assert counts(rig.store)[CID.id] == (0, 0)


async def test_a_follow_and_a_block_that_cross_leave_no_edge(rig: Rig) -> None:
    graph = rig.store.graph
    rig.store.graph = lagging = LaggingGraph(rig.store)
    following = rig.send(at(Follow, CID))
    await rig.settle()
    rig.store.graph = graph
    assert (await rig.ask(at(Block, BOB), CID)).blocking
    lagging.until.set()

    # It had not seen the block.
    assert (await following.answer()).following
    await rig.settle()
    assert edges(rig.store) == set()
    assert counts(rig.store)[BOB.id] == counts(rig.store)[CID.id] == (0, 0)
    assert await rig.send(at(Follow, CID)).code() == "blocked"


@pytest.mark.parametrize("seed", range(5))
async def test_the_counts_are_those_of_the_edges_when_everything_is_delivered(rig: Rig, seed: int) -> None:
    rng = Random(seed)
    for _ in range(150):
        if rng.random() < 0.05:
            rig.fault(rng.choice((RequestLost, ReplyLost))(rng.choice(("commit", "relations", "outbox"))))
        me, other = rng.sample(EVERYONE, 2)
        rig.send(at(rng.choice((Follow, Follow, Unfollow, Block, Unblock, RemoveFollower)), other), me)
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() / 10)
    rig.store.faults.clear()
    await asyncio.sleep(30)

    assert rig.store.rows(OutboxRow) == []
    assert counts(rig.store) == counted(rig.store)
    blocks = {(row.blocker, row.blocked) for row in rig.store.rows(BlockRow)}
    assert not edges(rig.store) & (blocks | {(b, a) for a, b in blocks})


async def test_a_deleted_account_leaves_no_edge_and_right_counts(rig: Rig) -> None:
    for me, other in ((BOB, ANN), (BOB, CID), (CID, BOB), (MOD, BOB), (CID, ANN)):
        await rig.ask(at(Follow, other), me)
    await rig.ask(DeleteAccount(account=BOB.id), BOB)
    # One that comes while it is being erased is sent back.
    late = rig.send(at(Follow, BOB), ANN)
    await asyncio.sleep(10)

    assert late.answers
    assert edges(rig.store) == {(CID.id, ANN.id)}
    assert counts(rig.store) == counted(rig.store)
    assert next(row.state for row in rig.store.rows(AccountRow) if row.id == BOB.id) == "deleted"
    assert [row for row in rig.store.rows(AlarmRow) if row.actor == user_key(BOB.id)] == []


async def test_who_follows_an_account_while_it_is_deleted_does_not_keep_the_edge(rig: Rig) -> None:
    graph = rig.store.graph
    rig.store.graph = lagging = LaggingGraph(rig.store)
    following = rig.send(at(Follow, CID))
    await rig.settle()
    rig.store.graph = graph
    await rig.ask(DeleteAccount(account=CID.id), CID)
    await asyncio.sleep(2)
    lagging.until.set()
    assert not isinstance(await following.answer(), DomainError)
    await asyncio.sleep(2)

    assert edges(rig.store) == set()
    assert counts(rig.store)[BOB.id] == (0, 0)


async def test_an_operation_id_gets_the_first_answer_again(rig: Rig) -> None:
    first = await rig.ask(at(Follow, CID), op="one")
    await rig.ask(at(Unfollow, CID))

    assert await rig.ask(at(Follow, CID), op="one") == first
    assert edges(rig.store) == set()
    assert await rig.send(at(Follow, ANN), op="one").code() == "operation_reused"


async def test_any_worker_takes_what_one_does_and_the_others_actors_hear_of_it_wherever_they_are() -> None:
    async with cluster(3) as running:
        pairs = [(me, other) for me in EVERYONE for other in EVERYONE if me is not other]
        for number, (me, other) in enumerate(pairs):
            member = running.members[number % len(running.members)]
            assert (await member.node.ask(user_key(me.id), at(Follow, other), me)).following
            if number == len(pairs) // 2:
                await running.leave(running.members[2])
        blocked = await running.members[0].node.ask(user_key(BOB.id), at(Block, CID), BOB)
        assert blocked.blocking
        await asyncio.sleep(5)

        assert len(edges(running.store)) == len(pairs) - 2
        assert counts(running.store) == counted(running.store)
        for member in running.members:
            asked = ReadRelationships(accounts=[str(person.id) for person in EVERYONE])
            seen = await member.node.ask(user_key(CID.id), asked, CID)
            assert [(each.following, each.blocked_by) for each in seen] == [(True, False), (False, True), (True, False)]
