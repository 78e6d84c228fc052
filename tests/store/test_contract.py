"""The contract of ``store.base.Store``, asked of Postgres and of its twin in memory alike."""

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from store.base import SLOTS, Store, StoreRefused
from store.rows import Author, CommentRow, Row
from tests.store.conftest import EPOCH, SECRET, Rig
from tests.store.samples import (
    NOW_MS,
    Deleted,
    Writer,
    account,
    alarm,
    batch,
    block,
    comment,
    mark,
    message,
    mute,
    operation,
    post,
    reaction,
    session,
    snapshot,
    state,
    user_state,
    views,
)

DAY_MS = 86_400_000
NOTHING_BOUND = {"rows_max": 500, "bytes_max": 1 << 20}


def now_ms() -> int:
    return int(time.time() * 1000)


async def offsets(store: Store, after: int = 0) -> list[int]:
    """What post 7's stream shows beyond ``after``."""
    changes = await store.changes(7, after, **NOTHING_BOUND)
    return [written.comment.changed_offset for written in changes.comments]


# -- the database


async def test_a_new_database_keeps_the_epoch_and_secret_it_was_made_with(store: Store) -> None:
    meta = await store.meta()

    assert meta == (SLOTS, EPOCH, SECRET)


async def test_a_new_epoch_is_another_one_and_stays(rig: Rig) -> None:
    epoch = await rig.store.new_epoch()

    assert epoch != EPOCH
    assert await rig.store.new_epoch() != epoch
    assert (await rig.other.meta()).epoch != epoch
    # It stands in cursors, before a dash.
    assert epoch
    assert "-" not in epoch
    assert len(epoch) <= 64


async def test_settings_are_in_force_for_as_long_as_a_worker_holds_a_lease(rig: Rig) -> None:
    assert await rig.store.agree({"a": "1"}) == {"a": "1"}
    assert await rig.store.agree({"a": "2"}) == {"a": "2"}
    worker = uuid4()
    await rig.store.register(worker, "node", 60.0)
    assert await rig.other.agree({"a": "3", "b": "4"}) == {"a": "2"}
    await rig.store.retire(worker)
    assert await rig.other.agree({"a": "3", "b": "4"}) == {"a": "3", "b": "4"}
    await rig.store.register(uuid4(), "node", -1.0)
    assert await rig.store.agree({}) == {}


# -- leases


async def test_a_lease_that_is_over_can_still_be_renewed_until_it_is_declared_dead(store: Store) -> None:
    worker = uuid4()
    await store.register(worker, "node", -1.0)

    assert await store.renew(worker, -1.0)
    assert await store.expire() == 1
    assert not await store.renew(worker, 60.0)


async def test_a_lease_that_is_renewed_between_the_two_steps_of_a_takeover_keeps_its_slots(rig: Rig) -> None:
    paused = await Writer.of(rig.store, 7, ttl_s=-1.0)
    successor = await Writer.of(rig.other, 8)

    assert await rig.store.renew(paused.worker, 60.0)
    assert await rig.other.expire() == 0
    await successor.claim(7)

    assert 7 not in successor.heads
    await paused.write(comment(1))


async def test_a_worker_with_a_running_lease_is_not_expired(store: Store) -> None:
    live = await Writer.of(store)

    assert await store.expire() == 0
    assert await store.renew(live.worker, 60.0)


async def test_a_node_that_starts_again_expires_all_its_leases_and_no_other(store: Store) -> None:
    mine, also_mine = await Writer.of(store, 1, node="here"), await Writer.of(store, 2, node="here")
    foreign = await Writer.of(store, 3, node="there")

    assert await store.expire(node="here") == 2
    assert [await store.renew(writer.worker, 60.0) for writer in (mine, also_mine, foreign)] == [False, False, True]


async def test_a_store_that_is_warm_has_changed_nothing(rig: Rig) -> None:
    writer = await Writer.of(rig.store, 7)
    await rig.store.warm()
    await rig.store.warm()
    await writer.write(comment(1))
    assert (await rig.other.owners()).slots == {7: (writer.worker, writer.epochs[7])}


async def test_the_owners_are_the_live_workers_with_their_slots(rig: Rig) -> None:
    one, other = await Writer.of(rig.store, 7), await Writer.of(rig.store, 8)
    retired = await Writer.of(rig.store, 9)
    await rig.store.retire(retired.worker)
    owners = await rig.other.owners()
    assert [worker.id for worker in owners.live] == sorted((one.worker, other.worker))
    assert all(0 < worker.lease_s <= 60.0 for worker in owners.live)
    assert owners.slots == {7: (one.worker, one.epochs[7]), 8: (other.worker, other.epochs[8])}


async def test_a_released_slot_is_free_for_another(rig: Rig) -> None:
    writer = await Writer.of(rig.store, 7, 8)
    await rig.store.release(writer.worker, {7: writer.epochs[7]})
    assert set((await rig.store.owners()).slots) == {8}
    successor = await Writer.of(rig.other, 7)
    assert successor.epochs[7] == writer.epochs[7] + 1


async def test_a_slot_that_was_claimed_anew_since_is_not_released(rig: Rig) -> None:
    writer = await Writer.of(rig.store, 7)
    claimed = await rig.store.claim(writer.worker, [7])
    await rig.store.release(writer.worker, {7: writer.epochs[7]})
    assert (await rig.store.owners()).slots == {7: (writer.worker, claimed[7].epoch)}


async def test_a_retired_worker_holds_nothing(rig: Rig) -> None:
    retired = await Writer.of(rig.store, 7)
    await rig.store.retire(retired.worker)
    successor = await Writer.of(rig.other, 7)

    assert successor.epochs[7] == retired.epochs[7] + 1
    assert not await rig.store.renew(retired.worker, 60.0)


async def test_registering_again_after_a_lost_reply_is_no_error_but_revives_nobody(store: Store) -> None:
    worker = uuid4()
    await store.register(worker, "node", 60.0)
    await store.register(worker, "node", 60.0)
    assert await store.renew(worker, 60.0)

    await store.retire(worker)
    await store.register(worker, "node", 60.0)
    assert not await store.renew(worker, 60.0)


async def test_an_unknown_worker_has_no_lease_and_claims_nothing(store: Store) -> None:
    stranger = uuid4()

    assert not await store.renew(stranger, 60.0)
    assert await store.claim(stranger) == {}


# -- claims


async def test_the_first_worker_claims_every_slot(store: Store) -> None:
    worker = uuid4()
    await store.register(worker, "node", 60.0)

    claims = await store.claim(worker)

    assert list(claims) == list(range(SLOTS))
    assert set(claims.values()) == {(1, 0)}


async def test_a_slot_of_a_live_worker_is_not_claimed(rig: Rig) -> None:
    await Writer.of(rig.store, 7)
    other = await Writer.of(rig.other, 7, 8)

    assert list(other.heads) == [8]


async def test_a_claim_of_ones_own_slot_raises_the_epoch_and_keeps_the_head(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(comment(1), count=3)
    stale = writer.batch(comment(2))

    claims = await store.claim(writer.worker, [7])

    assert claims == {7: (writer.epochs[7] + 1, 3)}
    assert await store.commit(stale) == {7: None}


async def test_two_workers_that_claim_everything_at_once_share_it_without_overlap(rig: Rig) -> None:
    one, two = uuid4(), uuid4()
    await rig.store.register(one, "node", 60.0)
    await rig.other.register(two, "node", 60.0)

    first, second = await asyncio.gather(rig.store.claim(one), rig.other.claim(two))

    assert sorted([*first, *second]) == list(range(SLOTS))


# -- the fence


async def test_a_commit_raises_the_heads_of_its_slots(store: Store) -> None:
    writer = await Writer.of(store, 7, 8, 9)

    heads = await store.commit(batch(writer.worker, {**writer.fence(7, 5), **writer.fence(9, 0)}))

    assert heads == {7: 5, 9: 0}


async def test_an_empty_commit_is_no_error(store: Store) -> None:
    assert await store.commit(batch(uuid4(), {})) == {}


async def test_of_two_slots_of_which_one_is_lost_the_other_is_written_whole(rig: Rig) -> None:
    loser = await Writer.of(rig.store, 7, 8, ttl_s=-1.0)
    await loser.write(comment(1, body="before"), slot=7)
    await rig.other.expire()
    winner = await Writer.of(rig.other, 7)

    heads = await rig.store.commit(
        batch(
            loser.worker,
            {**loser.fence(7, 2), **loser.fence(8, 2)},
            (7, comment(1, body="lost")),
            (7, comment(2)),
            (7, state(7)),
            (8, comment(1, post_id=8)),
            (8, state(8)),
        )
    )

    assert heads == {7: None, 8: 2}
    lost, kept = await rig.store.load_post(7), await rig.store.load_post(8)
    assert [row.id for row in lost.comments] == [1]
    assert (await rig.store.comments(7, [1]))[0].comment.body == "before"
    assert lost.state is None
    assert [row.id for row in kept.comments] == [1]
    assert kept.state == state(8)
    await winner.write(comment(2))


async def test_a_commit_of_a_stale_head_is_fenced(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(comment(1))

    writer.heads[7] = 0
    heads = await store.commit(writer.batch(comment(2), Deleted(comment(1))))

    assert heads == {7: None}
    assert await offsets(store) == [1]


async def test_a_commit_of_a_stale_epoch_is_fenced_and_deletes_nothing(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(alarm("wake"))
    stale = writer.batch(Deleted(alarm("wake")), count=0)
    await writer.claim(7)

    assert await store.commit(stale) == {7: None}
    assert await store.alarms([7], before_ms=NOW_MS + 1, limit=10) == [alarm("wake")]


async def test_a_commit_of_a_worker_that_owns_nothing_is_fenced(store: Store) -> None:
    writer = await Writer.of(store)

    assert await store.commit(batch(uuid4(), writer.fence(), (7, comment(1)))) == {7: None}
    assert await offsets(store) == []


# -- a commit whose outcome is unknown


async def test_a_claim_waits_for_a_commit_that_was_cut_in_the_middle_and_sees_what_it_wrote(rig: Rig) -> None:
    writer = await Writer.of(rig.store)
    finish = await rig.cut_commit(writer.batch(comment(1)), arrived=True)

    claiming = asyncio.create_task(rig.other.claim(writer.worker, [7]))
    await rig.claims_wait()
    assert not claiming.done()
    await finish()

    assert await claiming == {7: (writer.epochs[7] + 1, 1)}
    assert [row.id for row in (await rig.other.load_post(7)).comments] == [1]


async def test_a_commit_that_arrives_after_the_claim_is_fenced_and_loses_nothing_acknowledged(rig: Rig) -> None:
    writer = await Writer.of(rig.store)
    finish = await rig.cut_commit(writer.batch(comment(1, body="late")), arrived=False)

    successor = Writer(rig.other, writer.worker)
    await successor.claim(7)
    assert (await rig.other.load_post(7)).comments == []
    await successor.write(comment(1, body="acknowledged"))
    await finish()

    assert [written.comment.body for written in await rig.other.comments(7, [1])] == ["acknowledged"]
    await successor.write(comment(2))


async def test_a_store_commits_again_after_its_connection_was_cut(rig: Rig) -> None:
    writer = await Writer.of(rig.store)
    finish = await rig.cut_commit(writer.batch(comment(1)), arrived=True)
    await finish()

    await writer.claim(7)
    await writer.write(comment(2))

    assert await offsets(rig.store) == [1, 2]


# -- folded images


async def test_a_comment_that_was_made_edited_and_deleted_in_one_batch_is_its_last_image(store: Store) -> None:
    writer = await Writer.of(store)
    final = comment(
        1, state="deleted", body="", changed_offset=3, version=3, edited_ms=NOW_MS + 1, deleted_ms=NOW_MS + 2
    )

    await writer.write(final, count=3)

    assert [written.comment for written in await store.comments(7, [1])] == [final]
    assert await offsets(store) == [3]


async def test_a_like_given_taken_back_and_given_again_writes_over_what_is_there(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(reaction(1, version=1), reaction(2, version=2))
    await writer.write(reaction(1, amount=1, version=5), reaction(2, amount=0, version=6), reaction(3, version=7))

    loaded = await store.load_post(7)

    assert sorted(loaded.reactions, key=lambda row: row.user_id) == [
        reaction(1, amount=1, version=5),
        reaction(2, amount=0, version=6),
        reaction(3, version=7),
    ]


async def test_rows_are_deleted_and_deleting_what_is_not_there_is_no_error(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(alarm("a"), alarm("b"), message(1), message(2), operation("o"), count=0)

    await writer.write(
        Deleted(alarm("a")), Deleted(message(1)), Deleted(message(9)), Deleted(operation("o")), message(3), count=0
    )

    assert await store.alarms([7], before_ms=NOW_MS + 1, limit=10) == [alarm("b")]
    assert await store.outbox([7]) == [message(2), message(3)]
    await writer.write(operation("o"), count=0)


@pytest.mark.parametrize("seed", range(3))
async def test_after_any_sequence_of_batches_there_is_the_last_image_of_every_row(store: Store, seed: int) -> None:
    randomly = random.Random(seed)
    writer = await Writer.of(store)
    model: dict[tuple[type[Row], tuple[Any, ...]], Row] = {}

    def text() -> str:
        return "".join(randomly.choices("a'\"\\{},ü🙂\n\x01 ", k=randomly.randint(0, 9)))

    def image() -> Row:
        n, ms = randomly.randint(1, 6), randomly.randint(0, 1 << 43)
        return randomly.choice(
            [
                comment(n, body=text(), author_name=text(), created_ms=ms, edited_ms=randomly.choice([None, ms])),
                reaction(n, amount=randomly.randint(0, 50), kind=randomly.choice(["like", text()])),
                state(reactions={text(): ms}, applause=ms),
                post(tags=[text() for _ in range(randomly.randint(0, 3))], title=text(), publish_ms=ms),
                alarm(text(), due_ms=ms),
                snapshot("user:1", data=randomly.randbytes(n)),
            ]
        )

    for _ in range(30):
        images = {(type(row), row.identity()): row for row in (image() for _ in range(randomly.randint(1, 12)))}
        gone = {key for key in images if randomly.random() < 0.3}
        await writer.write(*(Deleted(row) if key in gone else row for key, row in images.items()))
        model = {key: row for key, row in {**model, **images}.items() if key not in gone}

    loaded, user = await store.load_post(7), await store.load_user(1)
    comments = [written.comment for written in await store.comments(7, range(10))]
    singles = [row for row in (loaded.post, loaded.state, user.snapshot) if row is not None]
    stored: list[Row] = [*comments, *loaded.reactions, *loaded.alarms, *singles]
    assert {(type(row), row.identity()): row for row in stored} == model


# -- refusals


def unstorable() -> Iterator[Row]:
    yield comment(2, body="a\0b")
    yield comment(2, body="half a pair: \ud83d")
    yield comment(2, state="lost")
    yield comment(2, kind="rant")
    yield post(8, tags=["fine", "a\0b"])
    yield post(8, state="lost")
    yield state(8, reactions={"a\0b": 1})
    yield state(8, reactions={"\ud83d": 1})
    yield account(2, kind="robot")
    yield account(2, state="lost")
    yield session("a\0b")
    yield reaction(1 << 63)
    yield operation("a\0b")


@pytest.mark.parametrize("bad", list(unstorable()), ids=lambda row: type(row).__name__)
async def test_a_row_that_cannot_be_stored_is_refused_and_nothing_of_the_batch_is_written(
    store: Store, bad: Row
) -> None:
    writer = await Writer.of(store, 7, 8)
    fences = {**writer.fence(7), **writer.fence(8)}

    with pytest.raises(StoreRefused):
        await store.commit(batch(writer.worker, fences, (8, comment(1, post_id=8)), (7, comment(1)), (7, bad)))

    assert await offsets(store) == []
    assert (await store.load_post(8)).comments == []
    await writer.write(comment(1), slot=7)
    await writer.write(comment(1, post_id=8), slot=8)


async def test_an_operation_used_again_is_refused_and_the_first_result_stays(store: Store) -> None:
    writer = await Writer.of(store, 7, 8)
    first = operation("op", at_ms=now_ms())
    await writer.write(first)

    with pytest.raises(StoreRefused) as refused:
        await writer.write(operation("op", actor="post:8", fingerprint=b"other"), comment(1, post_id=8), slot=8)

    assert refused.value.constraint == "operation_pkey"
    assert (await store.load_post(7)).operations == [first]
    assert (await store.load_post(8)).comments == []
    await writer.write(operation("op", account_id=2), operation("op2"), slot=8)


async def test_a_slug_of_another_post_is_refused_but_ones_own_is_not(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(post(7, slug="same"), post(8, slug=None), post(9, slug=None))

    with pytest.raises(StoreRefused) as refused:
        await writer.write(post(8, slug="same"), post(7, slug="same", title="written with it"))

    assert refused.value.constraint == "post_slug_key"
    assert (await store.load_post(7)).post == post(7, slug="same")
    await writer.write(post(7, slug="same", title="edited"))


async def test_an_imported_comment_comes_only_once_into_a_post(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(comment(1, source="wp:1"), comment(1, post_id=8, source="wp:1"))

    with pytest.raises(StoreRefused) as refused:
        await writer.write(comment(2, source="wp:1"))

    assert refused.value.constraint == "comment_source"
    await writer.write(comment(1, source="wp:1", body="edited"), comment(2, source="wp:2"))


# -- what is written is what is read


async def test_every_row_is_read_as_it_was_written(store: Store) -> None:
    writer = await Writer.of(store)
    at_ms = now_ms()
    rows: list[Row] = [
        account(
            5, email="a@b.example", url="https://b.example/", password_hash="$argon2id$", deleted_ms=at_ms, version=9
        ),
        session("s-1", account_id=5, expires_ms=at_ms + 60_001, generation=3),
        post(
            tags=["b", "a", "b", 'quo"te', "", "ü{},"], author_id=5, publish_ms=NOW_MS + 999, edited_ms=1, body="🙂\n"
        ),
        state(version=4, head=3, last_comment_id=2, comments=2, reactions={"like": 3, "ü": 0}, applause=1 << 40),
        views(),
        operation("op-1", at_ms=at_ms, result=bytes(range(256))),
        mark(200, id=1 << 60),
        alarm("publish", due_ms=at_ms),
        reaction(3, comment_id=2, kind="laugh", amount=50, version=1 << 50),
        comment(1, parent_id=None, author_id=None, author_name="Guest", author_url="http://x", source="wp:9", body=""),
        comment(
            2, parent_id=1, state="held", kind="pingback", changed_offset=0, edited_ms=0, deleted_ms=253402300799999
        ),
        message(1),
        operation("op-2", actor="user:5", at_ms=at_ms + 1),
        snapshot("user:5", data=b""),
        alarm("erase", actor="user:5", due_ms=at_ms + 1),
        mark(3, receiver="user:5"),
        user_state(5, version=4, head=3, followers=2, following=1),
    ]
    await writer.write(*rows)

    loaded, user = await store.load_post(7), await store.load_user(5)

    face = Author(5, "handle5", "Name 5", "https://b.example/")
    assert [user.account, *user.sessions, loaded.post, loaded.state, loaded.views] == rows[:5]
    assert [*loaded.operations, *loaded.marks, *loaded.alarms, *loaded.reactions] == rows[5:9]
    assert await store.comments(7, [1, 2, 3]) == [(rows[9], None), (rows[10], None)]
    assert [replace(row, body="") for row in loaded.comments] == [
        replace(row, body="") for row in rows[9:11] if isinstance(row, CommentRow)
    ]
    assert await store.outbox([7]) == [rows[11]]
    assert [*user.operations, user.snapshot, *user.alarms, *user.marks, user.state] == rows[12:]
    assert loaded.author == face
    assert loaded.snapshot is None


async def test_what_was_never_written_loads_as_nothing(store: Store) -> None:
    loaded, user = await store.load_post(404), await store.load_user(404)

    assert (loaded.post, loaded.state, loaded.views, loaded.author, loaded.snapshot) == (None,) * 5
    assert [*loaded.comments, *loaded.reactions, *loaded.operations, *loaded.marks, *loaded.alarms] == []
    assert (user.account, user.state, user.snapshot) == (None,) * 3
    assert await store.comments(404, [1]) == []
    assert await store.changes(404, 0, **NOTHING_BOUND) == ([], None, None, 0, 0)
    assert await store.authors([404]) == {}


async def test_a_row_that_was_read_shares_nothing_with_the_store(store: Store) -> None:
    writer = await Writer.of(store)
    written = state(reactions={"like": 1})
    await writer.write(written)

    written.reactions["like"] = 2
    first = (await store.load_post(7)).state
    assert first is not None
    first.reactions["like"] = 3

    assert (await store.load_post(7)).state == state(reactions={"like": 1})


# -- activation


async def test_an_activation_reads_only_what_is_newer_than_its_snapshot(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        snapshot(version=10, head=6),
        comment(1, changed_offset=5, version=8),
        comment(2, changed_offset=7, version=11),
        comment(3, changed_offset=0, version=9, state="held"),
        comment(4, changed_offset=0, version=12, state="held"),
        comment(5, changed_offset=6, version=10),
        reaction(1, version=10),
        reaction(2, version=11),
    )

    loaded = await store.load_post(7)

    assert loaded.snapshot == snapshot(version=10, head=6)
    assert [row.id for row in loaded.comments] == [2, 4]
    assert loaded.reactions == [reaction(2, version=11)]


async def test_an_activation_reads_everything_at_one_moment(rig: Rig) -> None:
    writer = await Writer.of(rig.store)

    async def write(version: int) -> None:
        before = snapshot(version=version - 1, head=version - 1)
        counted = state(version=version, head=version, comments=version)
        await writer.write(
            before, counted, comment(version), reaction(version, version=version), operation(f"{version}")
        )

    async def write_many() -> None:
        for version in range(2, 101):
            await write(version)

    await write(1)
    writing = asyncio.create_task(write_many())
    while not writing.done():
        loaded = await rig.other.load_post(7)
        assert loaded.state is not None
        assert loaded.snapshot is not None
        version = loaded.state.version
        assert loaded.snapshot.version == version - 1
        assert [row.version for row in loaded.comments] == [version]
        assert [row.version for row in loaded.reactions] == [version]
        assert len(loaded.operations) == version
        await asyncio.sleep(0)
    await writing


async def test_an_activation_reads_its_operations_oldest_first(store: Store) -> None:
    writer = await Writer.of(store)
    at_ms = now_ms()
    await writer.write(
        operation("new", at_ms=at_ms),
        operation("old", at_ms=at_ms - DAY_MS + 60_000),
        operation("due to be purged", at_ms=at_ms - DAY_MS - 1),
        operation("another's", at_ms=at_ms, actor="post:70"),
    )

    assert [row.op for row in (await store.load_post(7)).operations] == ["due to be purged", "old", "new"]


async def test_an_activation_reads_the_sessions_that_are_neither_revoked_nor_expired(store: Store) -> None:
    writer = await Writer.of(store)
    at_ms = now_ms()
    await writer.write(
        session("a", expires_ms=at_ms + 60_000),
        session("revoked", expires_ms=at_ms + 60_000, revoked_ms=at_ms),
        session("expired", expires_ms=at_ms - 1),
        session("another's", account_id=2, expires_ms=at_ms + 60_000),
    )

    assert [row.id for row in (await store.load_user(1)).sessions] == ["a"]


# -- resume


async def test_a_resume_shows_everything_changed_after_the_cursor_in_the_order_of_the_changes(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        account(1),
        state(head=5),
        comment(1, changed_offset=4),
        comment(2, changed_offset=2, author_id=None),
        comment(3, changed_offset=0, state="held"),
        comment(4, changed_offset=1),
        post(changed_offset=5),
    )
    face = Author(1, "handle1", "Name 1", None)

    changes = await store.changes(7, 1, **NOTHING_BOUND)

    assert changes.comments == [
        (comment(2, changed_offset=2, author_id=None), None),
        (comment(1, changed_offset=4), face),
    ]
    assert (changes.post, changes.post_author) == (post(changed_offset=5), face)
    assert (changes.head, changes.through) == (5, 5)


async def test_a_resume_at_the_head_or_beyond_shows_nothing(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(state(head=1), comment(1))

    assert await store.changes(7, 1, **NOTHING_BOUND) == ([], None, None, 1, 1)
    assert await store.changes(7, 99, **NOTHING_BOUND) == ([], None, None, 1, 1)


async def test_a_page_ends_at_its_bound_of_rows_and_says_how_far_it_goes(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(state(head=5), *(comment(id) for id in (1, 2, 3, 5)), post(changed_offset=4))

    first = await store.changes(7, 0, rows_max=3, bytes_max=1 << 20)
    second = await store.changes(7, first.through, rows_max=1, bytes_max=1 << 20)
    third = await store.changes(7, second.through, rows_max=1, bytes_max=1 << 20)

    assert ([row.comment.id for row in first.comments], first.post, first.through) == ([1, 2, 3], None, 3)
    assert (second.comments, second.post, second.through) == ([], post(changed_offset=4), 4)
    assert ([row.comment.id for row in third.comments], third.post, third.through) == ([5], None, 5)
    assert {first.head, second.head, third.head} == {5}


async def test_a_page_ends_at_its_bound_of_bytes_but_has_at_least_one_row(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(state(head=4), *(comment(id, body="ü" * 50) for id in (1, 2, 3, 4)))

    assert [row.comment.id for row in (await store.changes(7, 0, rows_max=9, bytes_max=1)).comments] == [1]
    assert [row.comment.id for row in (await store.changes(7, 0, rows_max=9, bytes_max=299)).comments] == [1, 2]
    page = await store.changes(7, 1, rows_max=9, bytes_max=300)
    assert ([row.comment.id for row in page.comments], page.through) == ([2, 3, 4], 4)


async def test_pages_are_complete_though_rows_are_edited_while_they_are_read(store: Store) -> None:
    writer = await Writer.of(store)
    truth = {id: comment(id) for id in range(1, 41)}
    await writer.write(state(head=40), *truth.values(), count=40)
    seen: dict[int, CommentRow] = {}
    cursor, head = 0, 40

    for edited in range(0, 400, 10):
        page = await store.changes(7, cursor, rows_max=7, bytes_max=1 << 20)
        seen |= {written.comment.id: written.comment for written in page.comments}
        cursor = page.through
        if edited < 60:
            # One that was read already, and one that was not.
            for id in (1 + edited % 40, 40 - edited % 40):
                head += 1
                truth[id] = comment(id, body="edited", changed_offset=head, version=head)
                await writer.write(state(head=head), truth[id])
        elif cursor == page.head:
            break

    assert cursor == head
    assert seen == truth


async def test_a_resume_never_shows_a_head_without_its_rows(rig: Rig) -> None:
    writer = await Writer.of(rig.store)

    async def write() -> None:
        for head in range(1, 101):
            await writer.write(state(head=head), comment(head))

    writing = asyncio.create_task(write())
    cursor = 0
    while cursor < 100:
        changes = await rig.other.changes(7, cursor, **NOTHING_BOUND)
        assert [row.comment.changed_offset for row in changes.comments] == list(range(cursor + 1, changes.head + 1))
        cursor = changes.through
    await writing


# -- lists


async def test_posts_are_listed_newest_first_by_page_tag_author_and_state(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        account(1),
        post(1, tags=["a", "b"]),
        post(2, tags=["b"], author_id=2),
        post(3, state="draft"),
        post(4, page_url="https://site.example/"),
        post(5, state="deleted"),
        post(6, tags=["a"]),
        *(state(id, version=id, reactions={"like": id}) for id in range(1, 7)),
        views(6, views=9, viewers=8),
    )

    async def listed(**query: Any) -> list[int]:
        return [summary.post.id for summary in await store.posts(**query)]

    assert await listed() == [6, 2, 1]
    assert await listed(limit=2) == [6, 2]
    assert await listed(before=6) == [2, 1]
    assert await listed(tag="a") == [6, 1]
    assert await listed(tag="b", before=2) == [1]
    assert await listed(author_id=2) == [2]
    assert await listed(author_id=1, states=("draft", "published")) == [6, 3, 1]
    assert await listed(states=()) == []
    await writer.write(account(3), block(3, 2), mute(4, 1), mute(5, 1, until_ms=NOW_MS - 1))
    assert await listed(reader=1) == [6, 2, 1]
    assert await listed(reader=2) == [6, 2, 1]
    assert await listed(reader=3, limit=2) == [6, 1]
    assert await listed(reader=4) == [2]
    assert await listed(reader=5) == [6, 2, 1]
    await writer.write(block(2, 5))
    assert await listed(reader=5, tag="a") == [6, 1]
    assert await listed(reader=5) == [6, 1]
    newest, without_account, *_ = await store.posts()
    assert newest.author == Author(1, "handle1", "Name 1", None)
    assert (newest.state, newest.views, newest.viewers) == (state(6, version=6, reactions={"like": 6}), 9, 8)
    assert newest.post == post(6, tags=["a"])
    assert (without_account.author, without_account.views, without_account.viewers) == (None, 0, 0)


async def test_the_comments_of_an_account_are_listed_by_post_in_pages(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        comment(1, 8), comment(2, 7), comment(10, 7), comment(3, 7, author_id=2), comment(4, 7, author_id=None)
    )

    assert await store.comments_of(1, after=(0, 0), limit=2) == [(7, 2), (7, 10)]
    assert await store.comments_of(1, after=(7, 10), limit=2) == [(8, 1)]


async def test_comments_reacted_to_since_an_offset_are_found_the_last_first(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(comment(1, 7), comment(2, 7), comment(3, 7))
    await writer.write(reaction(1, comment_id=1, version=2), reaction(1, comment_id=0, version=9))
    await writer.write(reaction(2, comment_id=3, version=4), reaction(1, comment_id=2, version=5, amount=0))

    assert await store.reacted(7, 2, 10) == [2, 3]
    assert await store.reacted(7, 2, 1) == [2]
    assert await store.reacted(7, 0, 10) == [2, 3, 1]
    assert await store.reacted(8, 0, 10) == []


async def test_who_has_deleted_the_account_is_shown_as_no_author(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(account(1), account(2, state="erasing"), post(7, author_id=2), state(7))
    await writer.write(comment(1, 7, author_id=1), comment(2, 7, author_id=2))

    first, second = await store.comments(7, [1, 2])
    assert first.author is not None
    assert second.author is None
    assert second.comment.author_id == 2
    assert (await store.load_post(7)).author is None
    assert list(await store.authors([1, 2])) == [1]


async def test_comments_come_with_their_authors_by_id(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(account(1, url="https://one.example"), comment(1), comment(2, author_id=None), comment(3))

    found = await store.comments(7, [3, 2, 1, 9])

    one = Author(1, "handle1", "Name 1", "https://one.example")
    assert found == [(comment(1), one), (comment(2, author_id=None), None), (comment(3), one)]
    assert await store.authors([1, 2]) == {1: one}


async def test_revoked_sessions_are_found_from_their_time_on(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        session("a", revoked_ms=NOW_MS + 2),
        session("b", revoked_ms=NOW_MS),
        session("c"),
        session("d", revoked_ms=NOW_MS - 1),
    )

    assert await store.revoked_sessions(NOW_MS) == [("b", NOW_MS), ("a", NOW_MS + 2)]


async def test_deleted_accounts_are_found_from_their_time_on(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        account(4, state="erasing", deleted_ms=NOW_MS + 2),
        account(3, state="deleted", deleted_ms=NOW_MS),
        account(2),
        account(1, state="deleted", deleted_ms=NOW_MS - 1),
    )

    assert await store.ended_accounts(NOW_MS) == [(3, NOW_MS), (4, NOW_MS + 2)]


async def test_alarms_are_read_by_slot_earliest_first_until_a_time(store: Store) -> None:
    writer = await Writer.of(store, 7, 8, 9)
    await writer.write(alarm("late", due_ms=NOW_MS + 5), alarm("soon", due_ms=NOW_MS + 1), alarm("moved"), count=0)
    await writer.write(alarm("moved", due_ms=NOW_MS + 3), count=0)
    await writer.write(alarm("other", slot=8, actor="post:8", due_ms=NOW_MS + 2), slot=8, count=0)
    await writer.write(alarm("foreign", slot=9, actor="post:9"), slot=9, count=0)

    async def names(**bounds: int) -> list[str]:
        return [row.name for row in await store.alarms([7, 8], **{"before_ms": NOW_MS + 5, "limit": 10, **bounds})]

    assert await names() == ["soon", "other", "moved"]
    assert await names(limit=1) == ["soon"]
    assert await names(before_ms=NOW_MS + 6) == ["soon", "other", "moved", "late"]
    assert await store.alarms([], before_ms=NOW_MS, limit=1) == []


async def test_the_outbox_is_read_by_slot_and_id(store: Store) -> None:
    writer = await Writer.of(store, 7, 8, 9)
    await writer.write(message(2), message(1), message(10), count=0)
    await writer.write(message(1, slot=8), slot=8, count=0)
    await writer.write(message(1, slot=9), slot=9, count=0)

    assert await store.outbox([8, 7]) == [message(1), message(2), message(10), message(1, slot=8)]


# -- names and numbers


async def test_a_name_that_is_free_is_bound_and_bound_again_to_the_same_id(store: Store) -> None:
    names = [("handle", "bob"), ("email", "bob@x.example")]

    assert await store.claim_names("account", names, 1) == 1
    assert await store.claim_names("account", names, 1) == 1
    assert await store.resolve("handle", "bob") == 1
    assert await store.resolve("handle", "Bob") is None


async def test_who_finds_a_name_taken_learns_which_and_gets_none(store: Store) -> None:
    writer = await Writer.of(store)
    await store.claim_names("account", [("handle", "bob"), ("email", "bob@x.example")], 1)
    await writer.write(account(1))

    assert await store.claim_names("account", [("handle", "ann"), ("email", "bob@x.example")], 2) == "email"
    assert await store.claim_names("account", [("email", "bob@x.example"), ("handle", "bob")], 2) == "email"
    assert await store.resolve("handle", "ann") is None


async def test_who_comes_after_a_creation_that_never_ended_takes_it_up_under_its_id(store: Store) -> None:
    await store.claim_names("post", [("page", "https://a.example/")], 1)

    assert await store.claim_names("post", [("page", "https://a.example/"), ("slug", "a")], 2) == 1
    assert await store.resolve("slug", "a") == 1


async def test_names_of_two_unfinished_creations_are_not_mixed(store: Store) -> None:
    await store.claim_names("account", [("handle", "a")], 1)
    await store.claim_names("account", [("handle", "b")], 2)

    assert await store.claim_names("account", [("handle", "b"), ("handle2", "c"), ("handle", "a")], 3) == "handle"
    assert await store.claim_names("account", [("handle", "a"), ("handle", "b")], 2) == "handle"
    assert await store.resolve("handle2", "c") is None


async def test_an_account_and_a_post_of_the_same_id_are_not_confused(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(account(1))
    await store.claim_names("post", [("slug", "a")], 1)

    assert await store.claim_names("post", [("slug", "a")], 2) == 1


async def test_of_two_claims_that_cross_one_wins_all_and_neither_fails(rig: Rig) -> None:
    for n in range(20):
        names = [("handle", f"h{n}"), ("email", f"e{n}")]
        one, two = 2 * n + 1, 2 * n + 2

        first, second = await asyncio.gather(
            rig.store.claim_names("account", names, one), rig.other.claim_names("account", names[::-1], two)
        )

        assert first == second
        assert first in (one, two)
        assert {await rig.store.resolve(*name) for name in names} == {first}


async def test_a_name_given_back_is_free_unless_it_is_anothers(store: Store) -> None:
    await store.claim_names("account", [("handle", "bob")], 1)

    await store.release_name("handle", "bob", 2)
    assert await store.resolve("handle", "bob") == 1
    await store.release_name("handle", "bob", 1)
    await store.release_name("handle", "bob", 1)
    assert await store.resolve("handle", "bob") is None
    assert await store.claim_names("account", [("handle", "bob")], 2) == 2


async def test_a_name_with_nul_is_refused(store: Store) -> None:
    with pytest.raises(StoreRefused):
        await store.claim_names("account", [("handle", "fine"), ("email", "a\0b")], 1)

    assert await store.resolve("handle", "fine") is None


async def test_account_numbers_are_never_given_twice(rig: Rig) -> None:
    numbers = await asyncio.gather(*(store.account_number() for store in (rig.store, rig.other) * 10))

    assert sorted(numbers) == list(range(1, 21))
