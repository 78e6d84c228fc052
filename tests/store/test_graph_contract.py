"""What every store says of who follows, blocks and mutes whom; each test runs over Postgres and over its twin."""

from collections.abc import Awaitable, Callable, Sequence
from random import Random

import asyncpg
import pytest

from store.base import Store
from store.graph import PATHS_FROM_MAX, PATHS_THROUGH_MAX, Mark, Neighbour, Relation, Suggestion, Ties
from store.rows import Author, BlockRow, FollowRow, MuteRow, Row
from tests.store.conftest import PostgresRig
from tests.store.samples import NOW_MS, Deleted, Writer, account, block, follow, mute, user_state

FAR_MS = 10 * NOW_MS


def face(id: int) -> Author:
    return Author(id, f"handle{id}", f"Name {id}", None)


def people(count: int) -> list[Row]:
    """The accounts 1 to ``count``."""
    return [account(id) for id in range(1, count + 1)]


def ids(neighbours: Sequence[Neighbour]) -> list[int]:
    return [neighbour.person.id for neighbour in neighbours]


# -- relations


async def test_how_two_stand_to_each_other_is_read_from_both_sides(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        *people(5),
        follow(1, 2),
        follow(3, 1, version=8),
        block(1, 3),
        block(4, 1),
        mute(1, 5),
        mute(1, 2, until_ms=NOW_MS),
    )

    assert await store.graph.relations(1, [5, 2, 3, 4, 404]) == [
        Relation(id=2, active=True, edge=follow(1, 2), muting=True, muting_until_ms=NOW_MS),
        Relation(id=3, active=True, back=follow(3, 1, version=8), blocking=True),
        Relation(id=4, active=True, blocked_by=True),
        Relation(id=5, active=True, muting=True),
    ]
    back = Relation(id=1, active=True, edge=follow(3, 1, version=8), blocked_by=True)
    assert await store.graph.relations(3, [1]) == [back]
    assert await store.graph.relations(1, []) == []


@pytest.mark.parametrize("blocker", [1, 2])
async def test_an_edge_counts_only_without_a_block_either_way(store: Store, blocker: int) -> None:
    writer = await Writer.of(store)
    await writer.write(*people(2), follow(1, 2), follow(2, 1))
    (relation,) = await store.graph.relations(1, [2])
    assert relation.following
    assert relation.followed_by

    await writer.write(block(blocker, 3 - blocker))

    (relation,) = await store.graph.relations(1, [2])
    assert (relation.edge, relation.back) == (follow(1, 2), follow(2, 1))
    assert not relation.following
    assert not relation.followed_by
    assert await store.graph.followers(1, limit=10) == await store.graph.following(1, limit=10) == []


async def test_who_has_deleted_the_account_is_known_and_shown_in_no_list(store: Store) -> None:
    writer = await Writer.of(store)
    gone = account(2, state="erasing")
    await writer.write(account(1), gone, follow(1, 2), follow(2, 1), block(1, 2), mute(1, 2))
    assert await store.graph.relations(1, [2]) == [
        Relation(id=2, edge=follow(1, 2), back=follow(2, 1), blocking=True, muting=True)
    ]
    await writer.write(Deleted(block(1, 2)))

    for listed in (store.graph.followers, store.graph.following, store.graph.blocks, store.graph.mutes):
        assert await listed(1, limit=10) == []


async def test_of_many_those_are_found_from_whom_a_block_or_a_mute_parts(store: Store) -> None:
    writer = await Writer.of(store)
    over = mute(1, 6, until_ms=1)
    await writer.write(*people(9), block(1, 2), block(3, 1), block(1, 4), mute(1, 4), mute(1, 5), over, mute(7, 1))
    assert await store.graph.unwanted(1, range(1, 10_000)) == [2, 3, 4, 5, 6]
    assert await store.graph.unwanted(1, [9, 5, 5, 3]) == [3, 5]
    assert await store.graph.unwanted(1, []) == []
    assert await store.graph.unwanted(8, range(1, 10)) == []


async def test_of_whom_a_reader_sees_nothing_is_known_by_the_clock_of_the_store(store: Store) -> None:
    writer = await Writer.of(store)
    over, lasting = mute(1, 6, until_ms=1), mute(1, 7, until_ms=FAR_MS)
    blocks, mutes = [block(1, 2), block(3, 1), block(1, 4)], [mute(1, 4), mute(1, 5), over, lasting, mute(8, 1)]
    await writer.write(*people(9), *blocks, *mutes)

    assert await store.graph.hidden_from(1, range(1, 300)) == [2, 3, 4, 5, 7]
    assert await store.graph.hidden_from(1, [9, 5, 6, 5, 3]) == [3, 5]
    assert await store.graph.hidden_from(1, []) == []
    assert await store.graph.hidden_from(9, range(1, 10)) == []


# -- lists

Listed = Callable[..., Awaitable[list[Neighbour]]]


def lists(store: Store) -> dict[str, tuple[Listed, Callable[[int, int], Row]]]:
    """Each list of account 1, and the row that puts somebody into it at a time."""
    return {
        "followers": (store.graph.followers, lambda id, ms: follow(id, 1, created_ms=ms)),
        "following": (store.graph.following, lambda id, ms: follow(1, id, created_ms=ms)),
        "blocks": (store.graph.blocks, lambda id, ms: block(1, id, created_ms=ms)),
        "mutes": (store.graph.mutes, lambda id, ms: mute(1, id, created_ms=ms, until_ms=FAR_MS)),
    }


@pytest.mark.parametrize("name", ["followers", "following", "blocks", "mutes"])
async def test_a_list_is_the_newest_first_in_pages(store: Store, name: str) -> None:
    writer = await Writer.of(store)
    listed, row = lists(store)[name]
    # Two of the same time: the account decides.
    times = {2: NOW_MS, 3: NOW_MS + 2, 4: NOW_MS + 1, 5: NOW_MS + 1, 6: NOW_MS + 3}
    others = [follow(8, 9), block(8, 9), mute(8, 9)]
    await writer.write(*people(9), *(row(id, ms) for id, ms in times.items()), *others)
    until_ms = FAR_MS if name == "mutes" else None

    first = await listed(1, limit=2)
    assert first == [Neighbour(face(6), NOW_MS + 3, until_ms), Neighbour(face(3), NOW_MS + 2, until_ms)]
    second = await listed(1, before=first[-1].mark, limit=2)
    assert ids(second) == [5, 4]
    assert ids(await listed(1, before=second[-1].mark, limit=2)) == [2]
    assert await listed(1, before=Mark(NOW_MS, 2), limit=2) == []
    assert await listed(1, before=Mark(0, 0), limit=2) == []
    assert await listed(404, limit=2) == []


async def test_a_mute_that_is_over_is_not_listed(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(*people(4), mute(1, 2, until_ms=NOW_MS // 2), mute(1, 3, until_ms=FAR_MS), mute(1, 4))

    assert {each.person.id: each.until_ms for each in await store.graph.mutes(1, limit=10)} == {3: FAR_MS, 4: None}


async def test_what_is_ended_is_in_no_list(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(*people(2), follow(1, 2), block(2, 1), mute(1, 2))
    await writer.write(Deleted(follow(1, 2)), Deleted(block(2, 1)), Deleted(mute(1, 2)))

    assert await store.graph.relations(1, [2]) == [Relation(id=2, active=True)]
    assert await store.graph.ties(1, 10) == Ties([], [], [], [])


# -- suggestions


async def test_suggested_are_those_whom_the_followed_follow_by_paths_then_followers(store: Store) -> None:
    writer = await Writer.of(store)
    paths = [(2, 5), (3, 5), (4, 5), (2, 6), (3, 6), (2, 7), (3, 7), (2, 8), (2, 9)]
    await writer.write(
        *people(9),
        *(follow(1, id) for id in (2, 3, 4)),
        *(follow(*path) for path in paths),
        user_state(6, followers=2),
        user_state(7, followers=30),
    )

    assert await store.graph.suggestions(1, 4) == [
        Suggestion(face(5), 3, 0),
        Suggestion(face(7), 2, 30),
        Suggestion(face(6), 2, 2),
        Suggestion(face(9), 1, 0),
    ]
    assert await store.graph.suggestions(5, 4) == []


async def test_nobody_is_suggested_whom_one_follows_mutes_or_is_apart_from(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        *people(8),
        account(9, state="erasing"),
        *(follow(1, id) for id in (2, 3)),
        *(follow(2, id) for id in (1, 3, 4, 5, 6, 7, 8, 9)),
        block(1, 4),
        block(5, 1),
        mute(1, 6),
        mute(1, 7, until_ms=NOW_MS // 2),
    )

    assert [each.person.id for each in await store.graph.suggestions(1, 10)] == [8, 7]


async def test_an_edge_that_does_not_count_makes_no_path(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        *people(6),
        *(follow(1, id) for id in (2, 3, 4)),
        *(follow(2, 5), follow(3, 5), follow(4, 5), follow(4, 6)),
        *(block(1, 2), block(5, 3)),
    )

    assert [(each.person.id, each.paths) for each in await store.graph.suggestions(1, 10)] == [(6, 1), (5, 1)]


async def test_only_the_newest_paths_are_looked_at(store: Store) -> None:
    writer = await Writer.of(store)
    first, last = 2, 2 + PATHS_FROM_MAX
    hub = first + 1
    crowd = range(11_000, 11_000 + PATHS_THROUGH_MAX)
    target = {"old": 10_000, "new": 10_001, "buried": 10_002}
    await writer.write(
        account(1),
        *(account(id) for id in (*range(first, last + 1), *target.values(), *crowd)),
        *(follow(1, id, created_ms=NOW_MS + id) for id in range(first, last + 1)),
        *(follow(first, target["old"]), follow(last, target["new"])),
        follow(hub, target["buried"], created_ms=NOW_MS - 1),
        *(follow(hub, id) for id in crowd),
    )

    suggested = {each.person.id for each in await store.graph.suggestions(1, 1_000)}
    assert target["new"] in suggested
    assert not {target["old"], target["buried"]} & suggested
    assert len(suggested) == 1 + PATHS_THROUGH_MAX


@pytest.mark.parametrize("seed", range(3))
async def test_suggestions_of_a_random_graph_are_those_that_are_counted_one_by_one(store: Store, seed: int) -> None:
    rng = Random(seed)
    everyone = range(1, 31)
    pairs = [(a, b) for a in everyone for b in everyone if a != b]
    edges = {pair for pair in pairs if rng.random() < 0.15}
    blocked = {pair for pair in pairs if rng.random() < 0.03}
    followers = {id: rng.randrange(3) for id in everyone}
    writer = await Writer.of(store)
    await writer.write(
        *people(30),
        *(follow(*edge) for edge in edges),
        *(block(*pair) for pair in blocked),
        *(user_state(id, followers=count) for id, count in followers.items()),
    )
    counting = {(a, b) for a, b in edges if (a, b) not in blocked and (b, a) not in blocked}

    for me in (1, 2, 3):
        paths = [c for a, b in counting if a == me for b2, c in counting if b2 == b]
        allowed = {id for id in everyone if (me, id) not in edges and not {(me, id), (id, me)} & blocked} - {me}
        expected = sorted(((paths.count(id), followers[id], id) for id in set(paths) & allowed), reverse=True)
        suggested = await store.graph.suggestions(me, 100)
        assert [(each.paths, each.followers, each.person.id) for each in suggested] == expected


# -- erasing


async def test_the_ties_of_an_account_are_found_in_chunks_whether_they_count_or_not(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        account(1),
        *(follow(1, id) for id in (4, 2, 3)),
        *(follow(id, 1) for id in (9, 8)),
        *(block(1, 2), block(1, 7), block(8, 1), mute(1, 5), mute(5, 1)),
    )

    assert await store.graph.ties(1, 2) == Ties([2, 3], [8, 9], [2, 7], [5])
    assert await store.graph.ties(1, 10) == Ties([2, 3, 4], [8, 9], [2, 7], [5])
    assert not await store.graph.ties(404, 10)


# -- what is Postgres' own


async def test_an_edge_keeps_the_transaction_that_made_it(
    postgres_rig: PostgresRig, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    writer = await Writer.of(postgres_rig.store)
    await writer.write(follow(1, 2))
    made = await admin.fetchval("SELECT tx::text::bigint FROM follow")
    await writer.write(follow(1, 2, created_ms=NOW_MS + 5))
    assert await admin.fetchval("SELECT tx::text::bigint FROM follow") == made

    await writer.write(Deleted(follow(1, 2)))
    await writer.write(follow(1, 2))
    assert await admin.fetchval("SELECT tx::text::bigint FROM follow") > made


@pytest.mark.parametrize("row", [follow(1, 2), block(1, 2), mute(1, 2)])
async def test_a_second_image_takes_the_place_of_the_first(store: Store, row: FollowRow | BlockRow | MuteRow) -> None:
    writer = await Writer.of(store)
    await writer.write(*people(2), row)
    await writer.write(row)

    assert sum(len(some) for some in await store.graph.ties(1, 10)) == 1
