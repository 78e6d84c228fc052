"""One bad row harms nobody else: only the culprit's command is refused, whatever else is in the batch."""

import asyncio

import pytest

from actors.keys import post_key, slot_of
from actors.runtime.activation import Activation
from protocol.commands import CreatePost
from store.memory import RequestLost, RowRefused
from store.rows import CommentRow, OperationRow, Row
from tests.actors.runtime.rig import ANN, BOB, CID, POST, Asked, Rig, edit, react, read, say

OTHER = POST + 1


def poison(row: Row) -> bool:
    return isinstance(row, CommentRow) and "poison" in row.body


async def batch(rig: Rig, *commands: tuple[object, ...]) -> list[Asked]:
    """Commands (command, by[, op]) that arrive during a commit, and so go into one batch."""
    go = rig.hold()
    rig.send(react(), ANN)
    await rig.settle()
    asked = [rig.send(*command) for command in commands]  # type: ignore[arg-type]
    await rig.settle()
    go.set()
    return asked


async def test_a_text_that_the_store_cannot_hold_harms_nobody_else(rig: Rig) -> None:
    await rig.ask(CreatePost(post=str(OTHER), title="Another"), ANN)
    before, culprit, after, elsewhere = await batch(
        rig, (say("before"), BOB), (say("a\0b"), CID), (say("after"), BOB), (say("elsewhere", post=OTHER), BOB)
    )

    assert await culprit.code() == "refused"
    assert [(await asked.answer()).id for asked in (before, after, elsewhere)] == ["1", "2", "1"]
    assert rig.stored() == ["before", "after"]
    assert rig.stored(OTHER) == ["elsewhere"]


async def test_the_operation_id_of_another_post_is_refused_as_reused(rig: Rig) -> None:
    await rig.ask(CreatePost(post=str(OTHER), title="Another"), ANN)
    await rig.ask(say("first", post=OTHER), BOB, "op")
    culprit, after = await batch(rig, (say("second"), BOB, "op"), (say("third"), BOB, "op2"))

    assert await culprit.code() == "operation_reused"
    assert (await after.answer()).id == "1"
    assert rig.stored() == ["third"]


@pytest.mark.parametrize(
    ("constraint", "code"),
    [("post_slug_key", "slug_taken"), ("comment_source", "already_exists"), ("other", "refused"), (None, "refused")],
)
async def test_a_violated_constraint_has_its_code(rig: Rig, constraint: str | None, code: str) -> None:
    rig.store.faults.append(RowRefused(poison, constraint))

    assert await rig.send(say("poison")).code() == code


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("culprits", [{0}, {0, 1}, {-1}, {0, -1}])
async def test_the_culprits_are_found_among_many(rig: Rig, size: int, culprits: set[int]) -> None:
    rig.store.faults.append(RowRefused(poison))
    bad = {(at + size) % size for at in culprits}
    commands = [(say("poison" if at in bad else f"comment {at}"), BOB, f"op{at}") for at in range(size)]
    asked = await batch(rig, *commands)

    answers = [await one.answer() for one in asked]
    assert [at for at, answer in enumerate(answers) if getattr(answer, "code", None) == "refused"] == sorted(bad)
    assert rig.stored() == [f"comment {at}" for at in range(size) if at not in bad]
    assert len(rig.store.rows(OperationRow)) == size - len(bad)


async def test_a_command_that_built_on_the_culprit_is_decided_again(rig: Rig) -> None:
    rig.store.faults.append(RowRefused(poison))
    culprit, reply, shown = await batch(rig, (say("poison"), BOB), (say("reply", parent="1"), CID), (read("1"), CID))

    assert await culprit.code() == "refused"
    assert await reply.code() == "parent_not_found"
    assert await shown.code() == "comment_not_found"


async def test_a_read_between_is_answered_once(rig: Rig) -> None:
    await rig.ask(say("old"))
    rig.store.faults.append(RowRefused(poison))
    shown, culprit, later, last = await batch(
        rig, (read("1"), CID), (say("poison"), BOB), (read("1"), CID), (say("new"), BOB)
    )

    assert await culprit.code() == "refused"
    assert (await last.answer()).id == "2"
    assert (await shown.answer())["body"] == (await later.answer())["body"] == "old"


async def test_the_edit_of_an_old_comment_beside_a_culprit_is_done(rig: Rig) -> None:
    for number in range(3):
        await rig.ask(say(f"comment {number}"))
    rig.store.faults.append(RowRefused(poison))
    edited, culprit, again = await batch(
        rig, (edit("1", "edited"), BOB), (say("poison"), BOB), (edit("2", "edited too"), BOB)
    )

    assert await culprit.code() == "refused"
    assert (await edited.answer()).id == "1"
    assert (await again.answer()).id == "2"
    assert rig.stored() == ["edited", "edited too", "comment 2"]


async def test_commands_that_come_while_the_culprit_is_sought_keep_their_place(rig: Rig) -> None:
    rig.store.faults.append(RowRefused(poison))
    asked = await batch(rig, (say("poison"), BOB), (say("a"), BOB))
    later: list[Asked] = []
    for number in range(10):
        later.append(rig.send(say(f"later {number}"), CID))
        await rig.settle()

    assert await asked[0].code() == "refused"
    assert [(await one.answer()).id for one in (asked[1], *later)] == [str(id) for id in range(1, 12)]


async def test_the_comment_that_takes_the_number_of_a_refused_one_shows_its_own_text(rig: Rig) -> None:
    rig.store.faults.append(RowRefused(poison))
    _, _, good = await batch(rig, (say("poison"), BOB), (read("1"), BOB), (say("good"), BOB))

    assert (await good.answer()).id == "1"
    assert await rig.bodies() == ["good"]


@pytest.mark.parametrize("method", ["load_post", "commit", "comments"])
async def test_a_store_that_goes_away_during_the_search_leaves_nobody_waiting(rig: Rig, method: str) -> None:
    await rig.ask(say("old"))
    rig.store.faults.append(RowRefused(poison))
    go = rig.hold()
    rig.send(react(), ANN)
    await rig.settle()
    asked = [rig.send(command) for command in (say("a"), edit("1", "edited"), say("poison"), say("b"))]
    await rig.settle()
    # The commit after the next finds the culprit; the loads and reads are those of the search.
    at = rig.store.calls[method] + (2 if method == "commit" else 1)
    rig.fault(RequestLost(method, at=at))
    go.set()

    codes = [getattr(await one.answer(), "code", None) for one in asked]
    assert "unavailable" in codes
    assert set(codes) <= {"unavailable", "refused", None}
    for one in asked:
        assert len(one.answers) == 1
    assert (await rig.ask(say("after all"))).id


async def test_a_defect_during_the_search_leaves_nobody_waiting(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.store.faults.append(RowRefused(poison))
    asked = await batch(rig, (say("poison"), BOB), (say("a"), BOB))
    handle = Activation.handle

    def breaking(self: Activation, *arguments: object) -> object:
        if self.phase.value != "ready":
            raise ZeroDivisionError
        return handle(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Activation, "handle", breaking)
    for one in asked:
        assert await one.code() in ("internal", "unavailable")
    monkeypatch.undo()
    assert (await rig.ask(say("after all"))).id == "1"


async def test_a_slot_that_is_lost_during_the_search_holds_up_nobody_else(rig: Rig) -> None:
    await rig.ask(CreatePost(post=str(OTHER), title="Another"), ANN)
    rig.store.faults.append(RowRefused(poison))
    asked = await batch(rig, (say("poison"), BOB), (say("a"), BOB))
    rig.node._ownership.lose([slot_of(post_key(POST))])
    rig.hold("claim")
    began = asyncio.get_running_loop().time()
    assert {await one.code() for one in asked} == {"unavailable"}
    assert (await rig.ask(say("elsewhere", post=OTHER))).id == "1"

    assert asyncio.get_running_loop().time() - began < 1
