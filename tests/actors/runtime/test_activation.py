"""Activation and passivation: what is put away comes back as it was, and operations are done once."""

import asyncio
from random import Random

import pytest

from actors.poststate import RECENT_MAX
from actors.runtime.activation import SNAPSHOT_ROWS
from actors.runtime.backlog import Backlog
from actors.runtime.node import Node
from actors.runtime.ownership import OwnedByAnother
from protocol.accounts import EditAccount
from protocol.commands import Applaud, Command, CreateComment, CreatePost, EditComment, Person, ReadComments, View
from protocol.errors import DomainError
from protocol.views import CommentPage, PostView
from store.memory import MemoryStore, RequestLost
from store.rows import CommentRow, PostStateRow, PostViewsRow, ReactionRow, SnapshotRow
from tests.actors.runtime.rig import ANN, BOB, CID, MOD, POST, Clock, Rig, delete, edit, react, read, say

PEOPLE = (ANN, BOB, CID, MOD)


async def put_away(rig: Rig) -> None:
    """Wait until nothing is in memory."""
    await asyncio.sleep(70)
    assert rig.registry.get_sample_value("plaudit_actors_resident") == 0


async def shown(rig: Rig, by: Person = BOB) -> tuple[PostView, CommentPage]:
    return await rig.read_post(by), await rig.page(by)


async def test_what_is_put_away_comes_back_as_it_was(rig: Rig) -> None:
    rng = Random(3)
    for number in range(300):
        await rig.send(some_command(rng, number), rng.choice(PEOPLE)).answer()
    before = [await shown(rig, by) for by in PEOPLE]
    await put_away(rig)

    assert [await shown(rig, by) for by in PEOPLE] == before
    assert rig.store.rows(SnapshotRow)


def some_command(rng: Random, number: int) -> Command:
    id = str(rng.randint(1, 1 + number // 3))
    match rng.randrange(8):
        case 0 | 1 | 2:
            return say(f"comment {number}", parent=id if rng.random() < 0.5 else None)
        case 3:
            return edit(id, f"edited {number}")
        case 4:
            return delete(id) if rng.random() < 0.5 else Applaud(post=str(POST), total=rng.randint(0, 50))
        case 5:
            return View(post=str(POST))
        case _:
            return react(rng.random() < 0.7, comment=id if rng.random() < 0.7 else None)


async def test_views_are_flushed_within_two_seconds_and_none_is_doubled() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with Rig.running(store=store, clock=clock) as rig:
        await rig.account(ANN)
        await rig.ask(CreatePost(post=str(POST), title="A post"), ANN)
        for by in PEOPLE:
            await rig.ask(View(post=str(POST)), by)
        await asyncio.sleep(2.5)
        (row,) = store.rows(PostViewsRow)
        assert (row.views, row.viewers) == (4, 4)
        await put_away(rig)
        for by in PEOPLE:
            await rig.ask(View(post=str(POST)), by)
        counters = (await rig.read_post()).counters
        assert (counters.views, counters.viewers) == (4, 4)
        clock.jump(1800)
        await rig.ask(View(post=str(POST)), BOB)
    # A clean end flushes what was not.
    (row,) = store.rows(PostViewsRow)
    assert (row.views, row.viewers) == (5, 4)


async def test_a_snapshot_is_written_when_the_tail_is_long(rig: Rig) -> None:
    asked = [rig.send(react(number % 2 == 0)) for number in range(SNAPSHOT_ROWS)]
    for one in asked:
        await one.answer()
    await rig.ask(say("after"))
    await rig.settle()

    (snapshot,) = rig.store.rows(SnapshotRow)
    (state,) = rig.store.rows(PostStateRow)
    assert SNAPSHOT_ROWS <= snapshot.version <= state.version


async def test_a_snapshot_beside_undurable_writes_is_exact(rig: Rig) -> None:
    """It is written with the next commit, which holds what came after it."""
    asked = [rig.send(react(number % 2 == 0)) for number in range(SNAPSHOT_ROWS - 5)]
    for one in asked:
        await one.answer()
    go = rig.hold()
    asked = [rig.send(say(f"comment {number}")) for number in range(10)]
    await rig.settle()
    asked += [rig.send(edit("1", "edited")), rig.send(react(comment="2"))]
    go.set()
    for one in asked:
        await one.answer()
    await rig.settle()
    before = await shown(rig)
    assert rig.store.rows(SnapshotRow)
    await put_away(rig)

    assert await shown(rig) == before


async def test_an_operation_is_done_once_though_its_actor_was_put_away(rig: Rig) -> None:
    first = await rig.ask(say("hello"), BOB, "op")
    await put_away(rig)

    assert await rig.ask(say("hello"), BOB, "op") == first
    assert await rig.send(say("other"), BOB, "op").code() == "operation_reused"
    assert (await rig.ask(say("hello"), CID, "op")).id == "2"
    assert rig.stored() == ["hello", "hello"]


async def test_an_operation_is_done_once_though_its_worker_ended() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with Rig.running(store=store, clock=clock) as rig:
        await rig.account(ANN, BOB)
        await rig.ask(CreatePost(post=str(POST), title="A post"), ANN)
        first = await rig.ask(say("hello"), BOB, "op")
    async with Rig.running(store=store, clock=clock, seed=2) as rig:
        assert await rig.ask(say("hello"), BOB, "op") == first
        assert rig.stored() == ["hello"]


async def test_a_duplicate_of_a_pending_operation_joins_it(rig: Rig) -> None:
    go = rig.hold()
    first, second = rig.send(say("hello"), BOB, "op"), rig.send(say("hello"), BOB, "op")
    other = rig.send(say("other"), BOB, "op")
    await rig.settle()
    third = rig.send(say("hello"), BOB, "op")
    await rig.settle()
    assert all(one.pending for one in (first, second, other, third))
    go.set()

    assert await first.answer() == await second.answer() == await third.answer()
    assert await other.code() == "operation_reused"
    assert rig.stored() == ["hello"]


async def test_an_operation_of_an_edit_is_told_apart_by_its_content(rig: Rig) -> None:
    await rig.ask(say("hello"))
    first = await rig.ask(edit("1", "a"), BOB, "op")
    await rig.ask(edit("1", "b"), BOB, "another op")

    # The first result, and nothing is done again.
    assert await rig.ask(edit("1", "a"), BOB, "op") == first
    assert await rig.send(edit("1", "c"), BOB, "op").code() == "operation_reused"
    assert rig.stored() == ["b"]


async def test_an_old_comment_is_read_before_it_is_edited_and_order_is_kept(rig: Rig) -> None:
    for number in range(RECENT_MAX + 10):
        await rig.ask(say(f"comment {number}"))
    go = rig.hold("comments")
    asked = [rig.send(command) for command in (edit("1", "a"), edit("1", "b"), read("1"), delete("1"), read("1"))]
    other = rig.send(say("new"))
    await rig.settle()
    assert all(one.pending for one in (*asked, other))
    go.set()
    answers = [await one.answer() for one in asked]

    assert [answer.offset for answer in (answers[0], answers[1], answers[3])] == [140, 141, 142]
    assert (answers[2]["body"], answers[4]["state"]) == ("b", "deleted")
    assert (await other.answer()).offset == 143
    assert rig.stored()[0] == ""


async def test_an_old_comment_that_cannot_be_read_holds_up_nobody(rig: Rig) -> None:
    await rig.ask(say("hello"))
    await put_away(rig)
    await rig.read_post()
    rig.fault(RequestLost("comments"))
    edited, other = rig.send(edit("1", "edited")), rig.send(say("other"))

    assert await edited.code() == "unavailable"
    assert (await other.answer()).id == "2"
    assert (await rig.ask(edit("1", "edited"))).id == "1"


async def test_refused_edits_of_old_comments_fill_no_memory(rig: Rig) -> None:
    for number in range(3 * RECENT_MAX):
        await rig.ask(say(f"comment {number}"))
    await put_away(rig)
    for id in range(1, 3 * RECENT_MAX):
        assert await rig.send(edit(str(id), "not mine"), CID).code() == "not_author"

    activation = rig.node._registry.find(f"post:{POST}")
    assert activation is not None
    assert len(activation.actor.recent) <= RECENT_MAX  # type: ignore[union-attr]


async def test_texts_that_a_page_has_read_stay_where_there_is_room(rig: Rig) -> None:
    for number in range(5):
        await rig.ask(say(f"comment {number}"))
    await put_away(rig)
    first, reads = await rig.page(), rig.store.calls["comments"]

    assert await rig.page() == first
    assert rig.store.calls["comments"] == reads


async def test_texts_that_were_read_while_something_changed_do_not_stay(rig: Rig) -> None:
    await rig.ask(say("first"))
    await put_away(rig)
    await rig.read_post()
    go = rig.hold("comments")
    page = rig.send(ReadComments(post=str(POST)))
    await rig.settle()
    await rig.ask(EditAccount(account=BOB.id, name="Robert"), BOB)
    go.set()
    await page.answer()
    reads = rig.store.calls["comments"]

    assert (await rig.comments())[0]["author"]["name"] == "Robert"
    assert rig.store.calls["comments"] == reads + 1


async def test_texts_that_were_written_last_stay_though_old_ones_are_read(rig: Rig) -> None:
    for number in range(2 * RECENT_MAX):
        await rig.ask(say(f"comment {number}"))
    for old in range(1, 1 + RECENT_MAX // 2):
        await rig.ask(say("a reply", parent=str(old)), CID)
    # Whom the replies concern is read from the old ones.
    await asyncio.sleep(5)
    reads = rig.store.calls["comments"]

    await rig.ask(ReadComments(post=str(POST), view="level", limit=RECENT_MAX // 2))
    assert rig.store.calls["comments"] == reads


async def test_a_post_that_does_not_exist_stays_in_no_memory(rig: Rig) -> None:
    for id in range(100, 200):
        assert await rig.send(read("1", post=id)).code() == "post_not_found"
    await rig.settle()

    assert rig.registry.get_sample_value("plaudit_actors_resident") == 5


@pytest.mark.parametrize("key", ["post:0", "post:x", "page:1", "post:99999999999999999999", "user:", "post:٣"])
async def test_a_key_that_no_actor_can_have_is_not_found(rig: Rig, key: str) -> None:
    with pytest.raises(DomainError) as error:
        await rig.node.ask(key, CreateComment(post="1", body="hello"), BOB)

    assert error.value.code.endswith("not_found")


async def test_a_command_of_another_kind_of_actor_is_no_method(rig: Rig) -> None:
    with pytest.raises(DomainError) as error:
        await rig.node.ask("user:1", EditComment(post="1", comment="1", body="hello"), BOB)

    assert error.value.code == "method_not_found"


async def test_counters_equal_the_rows_after_anything(rig: Rig) -> None:
    rng = Random(5)
    for number in range(400):
        rig.send(some_command(rng, number), rng.choice(PEOPLE), f"op{number}" if number % 3 else None)
        if number % 17 == 0:
            await asyncio.sleep(0.001)
    view = await rig.read_post()

    comments = [row for row in rig.store.rows(CommentRow) if row.post_id == POST]
    reactions = [row for row in rig.store.rows(ReactionRow) if row.post_id == POST]
    likes = sum(row.amount for row in reactions if row.kind == "like" and row.comment_id == 0)
    (state,) = [row for row in rig.store.rows(PostStateRow) if row.post_id == POST]
    assert view.counters.comments == state.comments == sum(row.state == "visible" for row in comments)
    assert view.counters.reactions == state.reactions == ({"like": likes} if likes else {})
    assert view.counters.applause == state.applause == sum(r.amount for r in reactions if r.kind == "applause")
    assert [row.id for row in comments] == list(range(1, len(comments) + 1))
    assert state.head == max(row.changed_offset for row in comments)


async def test_many_commands_at_once_are_refused_as_too_many(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig.node._registry, "_backlog", Backlog(commands_max=100))
    await put_away(rig)
    await rig.read_post()
    go = rig.hold()
    asked = [rig.send(say(f"comment {number}")) for number in range(50)]
    await rig.settle()
    asked += [rig.send(say(f"comment {number}")) for number in range(150)]
    reads = [rig.send(read("1")) for _ in range(150)]
    pending = [one for one in (*asked, *reads) if one.pending]
    assert len(pending) == 100
    go.set()
    for one in pending:
        assert not isinstance(await one.answer(), DomainError)
    await rig.settle()

    # What is durable is answered even then.
    assert (await rig.ask(read("1"))) is not None
    assert (await rig.ask(say("after"))).id is not None


async def test_a_second_worker_on_the_same_data_waits_and_gives_up(rig: Rig) -> None:
    with pytest.raises(OwnedByAnother):
        async with Rig.running(store=rig.store, clock=rig.clock, seed=2):
            pass

    assert (await rig.ask(say("hello"))).id == "1"


async def test_a_worker_takes_over_from_one_that_was_killed() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    killed = Rig.running(store=store, clock=clock)
    rig = await killed.__aenter__()
    await rig.account(ANN)
    await rig.ask(CreatePost(post=str(POST), title="A post"), ANN)
    store.faults.append(RequestLost("retire"))
    node: Node = rig.node
    await killed.__aexit__(None, None, None)
    assert node.ready() == {"server": "shutting down"}

    async with Rig.running(store=store, clock=clock, seed=2) as next_rig:
        assert (await next_rig.read_post()).title == "A post"


async def test_after_the_end_nothing_is_taken(rig: Rig) -> None:
    await rig.stop()

    assert await rig.send(say("late")).code() == "unavailable"
    assert await rig.send(read("1")).code() == "unavailable"


async def test_no_task_is_left_after_the_end() -> None:
    before = asyncio.all_tasks()
    async with Rig.running() as rig:
        await rig.ask(say("hello"))
        rig.hold("load_post")
        rig.send(read("1", post=8))
        await rig.settle()
    assert asyncio.all_tasks() == before
