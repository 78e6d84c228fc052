"""Durable, then visible: nothing leaves an activation before the commit that holds it has returned."""

import asyncio
from functools import partial

from protocol.commands import ANONYMOUS
from protocol.errors import Refused
from protocol.views import Ack
from store.rows import PostStateRow, ReactionRow
from tests.actors.runtime.rig import ANN, BOB, CID, POST, Rig, delete, edit, react, read, say


async def test_a_comment_is_answered_once_it_is_stored(rig: Rig) -> None:
    ack = await rig.ask(say("hello"), BOB)

    assert ack == Ack(id="1", offset=2, version=2)
    assert rig.stored() == ["hello"]


async def test_nothing_that_shows_an_undurable_write_is_answered(rig: Rig) -> None:
    commits = rig.store.calls["commit"]
    go = rig.hold()
    write = rig.send(say("hello"))
    shown = rig.send(read("1"), CID)
    listed = rig.send(edit("1", "not mine"), CID)
    refused = rig.send(say("reply", parent="99"), CID)
    unchanged = rig.send(edit("1", "hello"), BOB)
    await asyncio.sleep(1)
    assert all(asked.pending for asked in (write, shown, listed, refused, unchanged))
    assert rig.stored() == []

    go.set()

    assert (await write.answer()).id == "1"
    assert (await shown.answer())["body"] == "hello"
    assert await listed.code() == "not_author"
    assert await refused.code() == "parent_not_found"
    assert (await unchanged.answer()).id == "1"
    assert rig.store.calls["commit"] == commits + 1


async def test_answers_come_in_the_order_of_the_commands(rig: Rig) -> None:
    order: list[int] = []

    def note(number: int, answer: object) -> None:
        order.append(number)

    commands = [say("a"), read("1"), edit("1", "b"), react(comment="1"), delete("1"), read("1"), say("c")]
    for number, command in enumerate(commands):
        rig.node.submit(f"post:{POST}", command, BOB, None, partial(note, number))
    await rig.page()

    assert order == list(range(len(commands)))


async def test_a_read_of_what_is_durable_is_answered_at_once(rig: Rig) -> None:
    await rig.ask(say("hello"))

    assert not rig.send(read("1")).pending


async def test_what_arrives_during_a_commit_makes_one_batch(rig: Rig) -> None:
    go = rig.hold()
    first = rig.send(say("first"))
    await rig.settle()
    before = rig.store.calls["commit"]
    rest = [rig.send(say(f"comment {number}"), CID) for number in range(100)]
    await rig.settle()
    go.set()

    assert (await first.answer()).id == "1"
    assert [(await asked.answer()).id for asked in rest] == [str(id) for id in range(2, 102)]
    assert rig.store.calls["commit"] == before + 1


async def test_a_comment_created_edited_and_deleted_in_one_batch_is_one_tombstone(rig: Rig) -> None:
    commits = rig.store.calls["commit"]
    rig.hold().set()
    asked = [rig.send(command) for command in (say("a"), edit("1", "b"), delete("1"))]
    answers = [await one.answer() for one in asked]

    assert [answer.offset for answer in answers] == [2, 3, 4]
    assert rig.store.calls["commit"] == commits + 1
    page = await rig.page()
    assert (page.total, [node.hidden for node in page.comments]) == (0, [0])
    assert rig.stored() == [""]


async def test_like_unlike_and_like_in_one_batch_are_one_like(rig: Rig) -> None:
    asked = [rig.send(react(on)) for on in (True, False, True)]
    versions = [(await one.answer()).version for one in asked]

    assert versions == [2, 3, 4]
    (row,) = rig.store.rows(ReactionRow)
    assert (row.amount, row.version) == (1, 4)
    (state,) = rig.store.rows(PostStateRow)
    assert state.reactions == {"like": 1}


async def test_a_reader_of_another_post_does_not_wait(rig: Rig) -> None:
    go = rig.hold()
    write = rig.send(say("hello"))
    await rig.settle()

    assert await rig.send(read("1", post=POST + 1)).code() == "post_not_found"
    assert write.pending
    go.set()
    await write.answer()


async def test_a_write_of_nobody_is_refused_and_stores_nothing(rig: Rig) -> None:
    answer = await rig.send(say("hello"), ANONYMOUS).answer()

    assert isinstance(answer, Refused)
    assert answer.code == "unauthorized"
    assert rig.stored() == []
    assert (await rig.read_post(ANN)).counters.comments == 0
