"""Many edges at once, over a real Postgres: what they leave behind, and whom they lock out."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import pytest
from msgspec.structs import replace

from store.base import Batch, Fence, StoreUnavailable
from store.edges import Added, FollowsTooMany, Named, Rules, Served
from store.postgres import PostgresStore, open_postgres
from store.rows import AccountRow, AlarmRow
from store.timelines import Strategy, Wishes
from tests.store.samples import NOW_MS, Writer, account, block, user_state
from tests.store.test_timelines_contract import posted

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
RULES = Rules(
    strategy="push",
    celebrity_followers=3,
    following_max=10,
    now_ms=NOW_MS,
    tending=lambda id: AlarmRow(slot=id % 256, actor=f"user:{id}", name="timeline", due_ms=NOW_MS + id),
)


def named(*pairs: str) -> list[tuple[Named, Named]]:
    """Edges from texts like "1 2"; the handle of 1 is p1."""
    edges = [pair.split() for pair in pairs]
    return [(Named(one, f"p{one}"), Named(other, f"p{other}")) for one, other in edges]


async def add(url: str, *chunks: Sequence[tuple[Named, Named]], rules: Rules = RULES) -> Added:
    async with open_postgres(url) as store, store.edges.importing(rules) as writer:
        for chunk in chunks:
            await writer.add(chunk)
        await writer.finish(lambda written: None)
    return writer.added


async def follows(admin: Admin) -> list[tuple[str, str, str]]:
    """(follower, followee, state) of all edges, by the names that they were given by."""
    found = await admin.fetch(
        "SELECT one.name, other.name, push FROM follow JOIN name AS one ON one.kind = 'host' AND one.id = follower"
        " JOIN name AS other ON other.kind = 'host' AND other.id = followee ORDER BY 1, 2"
    )
    return [tuple(row) for row in found]


async def counts(admin: Admin) -> dict[str, tuple[int, int]]:
    """Handle → followers and following, as they are kept."""
    found = await admin.fetch(
        "SELECT handle, followers, following FROM user_state JOIN account ON account.id = user_id ORDER BY account.id"
    )
    return {handle: (followers, following) for handle, followers, following in found}


async def test_people_and_edges_are_made_and_counted_over_any_number_of_chunks(database_url: str, admin: Admin) -> None:
    added = await add(database_url, named("1 2", "2 1", "1 2"), named("3 1", "1 2"))
    assert added == Added(people=3, edges=3, left_out=0)
    assert await follows(admin) == [("1", "2", "pushed"), ("2", "1", "pushed"), ("3", "1", "pushed")]
    assert await counts(admin) == {"p1": (2, 1), "p2": (1, 1), "p3": (0, 1)}
    async with open_postgres(database_url) as store:
        person = (await store.load_user(1)).account
        assert person is not None
        assert (person.kind, person.password_hash, person.state) == ("host", None, "active")
        assert await store.resolve("handle", person.handle) == 1
        assert {alarm.actor for alarm in await store.alarms(range(256), before_ms=NOW_MS * 2, limit=9)} == {
            "user:1", "user:2", "user:3",
        }  # fmt: skip


async def test_a_second_run_adds_only_what_is_new(database_url: str, admin: Admin) -> None:
    await add(database_url, named("1 2"))
    assert await add(database_url, named("1 2", "2 3")) == Added(people=1, edges=1, left_out=0)
    assert await counts(admin) == {"p1": (0, 1), "p2": (1, 1), "p3": (1, 0)}
    assert await add(database_url, named("1 2", "2 3")) == Added()


async def test_nothing_is_imported_unless_the_writer_is_left_without_an_error(database_url: str, admin: Admin) -> None:
    async def import_and_fail() -> None:
        async with open_postgres(database_url) as store, store.edges.importing(RULES) as writer:
            await writer.add(named("1 2"))
            await writer.finish(lambda written: None)
            raise KeyError

    with pytest.raises(KeyError):
        await import_and_fail()
    assert await admin.fetchval("SELECT count(*) FROM follow") == 0
    assert await admin.fetchval("SELECT count(*) FROM account") == 0
    assert await admin.fetchval("SELECT count(*) FROM name") == 0


@pytest.mark.parametrize(
    ("strategy", "states"),
    [
        ("push", {"1": "pulled", "2": "pushed", "3": "pushed"}),
        ("pull", {"1": "pulled", "2": "pulled", "3": "pulled"}),
        ("hybrid", {"1": "pulled", "2": "pulled", "3": "pushed"}),
        ("adaptive", {"1": "pulled", "2": "pulled", "3": "pulled"}),
    ],
)
async def test_an_edge_is_pushed_where_the_strategy_asks_for_it_and_there_is_nothing_to_copy(
    database_url: str, admin: Admin, strategy: Strategy, states: dict[str, str]
) -> None:
    # 1 has published something; 2 is followed by so many as make a celebrity.
    await add(database_url, named("1 3"))
    async with open_postgres(database_url) as store:
        await (await Writer.of(store)).write(*posted(11, author=1))
    await admin.execute("UPDATE worker SET state = 'dead'")

    edges = named("4 1", "4 2", "5 2", "6 2", "4 3")
    await add(database_url, edges, rules=replace(RULES, strategy=strategy))
    found = await follows(admin)
    assert {followee: state for follower, followee, state in found if follower == "4"} == states

    wishes = Wishes(strategy=strategy, here=True, reading=NOW_MS, margin=1)
    async with open_postgres(database_url) as store:
        reader = await store.resolve("host", "4")
        assert reader is not None
        for _ in range(3):
            assert [each.post_id for each in (await store.timelines.page(reader, limit=5)).listed] == [11]
            await store.timelines.tend(reader, wishes)


async def test_who_is_there_already_keeps_the_account_and_a_handle_that_is_taken_gets_an_ending(
    database_url: str, admin: Admin
) -> None:
    async with open_postgres(database_url) as store:
        # A member called p2; a user of the host site whose id is 1; an id that no account was made of.
        for number, name in ((1, ("handle", "p2")), (2, ("host", "1")), (3, ("host", "3"))):
            assert await store.account_number() == number
            assert await store.claim_names("account", [name], number) == number
        writer = await Writer.of(store)
        await writer.write(account(1, handle="p2"), account(2, kind="host", handle="ann"), user_state(2, version=7))
    await admin.execute("UPDATE worker SET state = 'dead'")

    assert (await add(database_url, named("1 2", "3 1"))).people == 2
    assert await counts(admin) == {"ann": (1, 1), "p3": (0, 1), "p2-4": (1, 0)}
    assert await admin.fetchval("SELECT version FROM user_state WHERE user_id = 2") == 8
    assert await admin.fetchval("SELECT id FROM name WHERE kind = 'handle' AND name = 'p2-4'") == 4


async def test_blocked_and_deleted_people_are_left_out(database_url: str, admin: Admin) -> None:
    await add(database_url, named("1 2", "3 4"))
    async with open_postgres(database_url) as store:
        numbers = [await store.resolve("host", str(name)) for name in range(5)]
        one, two, gone = numbers[1], numbers[2], numbers[3]
        assert one is not None
        assert two is not None
        assert gone is not None
        writer = await Writer.of(store)
        await writer.write(block(two, one), account(gone, state="deleted"))
    await admin.execute("UPDATE worker SET state = 'dead'; DELETE FROM follow")

    assert await add(database_url, named("1 2", "2 1", "1 3", "3 1", "1 4")) == Added(edges=1, left_out=4)
    assert await follows(admin) == [("1", "4", "pushed")]


async def test_nobody_comes_to_follow_more_people_than_one_may(database_url: str, admin: Admin) -> None:
    await add(database_url, named("1 2"))
    with pytest.raises(FollowsTooMany, match="p1 would follow 11 people"):
        await add(database_url, named(*(f"1 {number}" for number in range(2, 13))))
    assert await counts(admin) == {"p1": (0, 1), "p2": (1, 0)}


async def test_while_a_worker_lives_nothing_is_imported(database_url: str, admin: Admin) -> None:
    async with open_postgres(database_url) as store:
        await store.register(uuid4(), "node", 60.0)
    with pytest.raises(Served):
        await add(database_url, named("1 2"))
    assert await admin.fetchval("SELECT count(*) FROM account") == 0


async def test_a_worker_that_was_asleep_is_fenced_and_none_begins_meanwhile(database_url: str, admin: Admin) -> None:
    async with open_postgres(database_url) as store:
        asleep = uuid4()
        await store.register(asleep, "node", 60.0)
        claims = await store.claim(asleep)
        await admin.execute("UPDATE worker SET lease_until = clock_timestamp() - interval '1 second'")
        async with store.edges.importing(RULES) as writer:
            await writer.add(named("1 2"))
            with pytest.raises(StoreUnavailable):
                await store.register(uuid4(), "another", 60.0)
            await writer.finish(lambda written: None)

        fence = Fence(claims[1].epoch, claims[1].head, 1)
        writes: dict[type[Any], Any] = {AccountRow: {(1, (1,)): account(1, handle="overwritten")}}
        assert await store.commit(Batch(worker=asleep, fences={1: fence}, writes=writes)) == {1: None}
        assert not await store.renew(asleep, 60.0)
        assert len(await store.claim(await registered(store))) == 256


async def registered(store: PostgresStore) -> Any:
    worker = uuid4()
    await store.register(worker, "node", 60.0)
    return worker


async def test_an_import_that_is_cancelled_leaves_nothing_and_no_lock(database_url: str, admin: Admin) -> None:
    begun = asyncio.Event()

    async def import_and_wait() -> None:
        async with open_postgres(database_url) as store, store.edges.importing(RULES) as writer:
            await writer.add(named("1 2"))
            begun.set()
            await asyncio.Event().wait()

    importing = asyncio.create_task(import_and_wait())
    await begun.wait()
    importing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await importing
    assert await add(database_url, named("1 2")) == Added(people=2, edges=1)
