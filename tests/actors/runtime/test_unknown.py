"""A commit that fails, or whose outcome is unknown; a slot that another worker took."""

import asyncio
from uuid import UUID

import pytest

from actors.keys import post_key
from actors.post import PostActor
from protocol.commands import CreatePost
from protocol.errors import Refused
from protocol.views import Ack
from store.base import StoreUnavailable
from store.memory import LateCommit, MemoryStore, ReplyLost, RequestLost
from store.rows import OperationRow
from tests.actors.runtime.rig import ANN, BOB, CID, POST, Clock, Rig, edit, read, say

ANOTHER = UUID(int=7)


@pytest.mark.parametrize("fault", [RequestLost("commit"), ReplyLost("commit")])
async def test_after_a_lost_commit_a_retry_of_the_operation_stores_one_comment(
    rig: Rig, fault: RequestLost | ReplyLost
) -> None:
    rig.fault(fault)
    first = rig.send(say("hello"), BOB, "op")
    shown = rig.send(read("1"), CID)

    assert await first.code() == "unavailable"
    assert await shown.code() == "unavailable"
    assert (await rig.ask(say("hello"), BOB, "op")).id == "1"
    assert rig.stored() == ["hello"]


async def test_a_slot_is_claimed_again_before_its_actors_are_loaded(rig: Rig) -> None:
    calls: list[str] = []
    for method in ("claim", "load_post"):
        watch(rig.store, method, calls)
    rig.fault(ReplyLost("commit"))
    first = rig.send(say("hello"), BOB, "op")
    assert await first.code() == "unavailable"
    assert (await rig.ask(say("hello"), BOB, "op")).id == "1"

    assert calls == ["claim", "load_post"]


def watch(store: MemoryStore, method: str, calls: list[str]) -> None:
    called = getattr(store, method)

    async def watched(*arguments: object) -> object:
        calls.append(method)
        return await called(*arguments)

    setattr(store, method, watched)


@pytest.mark.parametrize("holds", [True, False])
async def test_a_commit_that_finishes_late_is_either_awaited_or_fenced(rig: Rig, holds: bool) -> None:
    until = asyncio.Event()
    rig.fault(LateCommit(until, holds=holds))
    first = rig.send(say("hello"), BOB, "op")
    assert await first.code() == "unavailable"
    retry = rig.send(say("hello"), BOB, "op")
    await asyncio.sleep(0.5)
    # If the commit has the slot locked, whoever claims it waits.
    assert retry.pending is holds
    until.set()

    assert (await retry.answer()).id == "1"
    await rig.store.settled()
    assert rig.stored() == ["hello"]
    assert len(rig.store.rows(OperationRow)) == 1


async def test_what_was_stored_by_a_commit_without_a_reply_is_shown(rig: Rig) -> None:
    rig.fault(ReplyLost("commit"))
    assert await rig.send(say("hello")).code() == "unavailable"

    assert await rig.bodies() == ["hello"]


async def test_a_slot_that_another_worker_took_is_written_to_no_more(rig: Rig) -> None:
    await rig.ask(say("before"))
    rig.clock.jump(60)
    await take_over(rig)
    fenced = rig.send(say("lost"), BOB, "op")

    assert await fenced.code() == "unavailable"
    assert rig.stored() == ["before"]
    assert rig.node.ready() != {}


async def take_over(rig: Rig) -> None:
    """Another worker declares the node dead, and claims everything."""
    await rig.store.register(ANOTHER, "another", 3.0)
    assert await rig.store.expire() == 1
    assert len(await rig.store.claim(ANOTHER)) == 256


async def test_a_worker_that_was_declared_dead_goes_on_under_a_new_id(rig: Rig) -> None:
    await rig.ask(say("before"))
    rig.clock.jump(60)
    await take_over(rig)
    assert await rig.send(say("lost")).code() == "unavailable"
    await rig.store.retire(ANOTHER)
    await asyncio.sleep(5)

    assert rig.node.ready() == {}
    assert (await rig.ask(say("after"))).id == "2"
    assert rig.stored() == ["before", "after"]


async def test_reads_stop_when_the_lease_is_not_renewed_in_time(rig: Rig) -> None:
    await rig.ask(say("hello"))
    rig.store.faults.extend(RequestLost("renew") for _ in range(10))
    await asyncio.sleep(2)
    assert (await rig.ask(read("1"))) is not None
    await asyncio.sleep(2)

    assert await rig.send(read("1")).code() == "unavailable"
    assert "database" in rig.node.ready()
    await asyncio.sleep(8)
    assert (await rig.ask(read("1"))) is not None


async def test_reads_stop_after_the_process_was_suspended(rig: Rig) -> None:
    await rig.ask(say("hello"))
    rig.monotonic.pause(2.5)

    assert await rig.send(read("1")).code() == "unavailable"


async def test_a_read_that_waited_through_a_suspension_is_not_answered_from_memory(rig: Rig) -> None:
    await rig.ask(say("hello"))
    await put_away(rig)
    go = rig.hold("load_post")
    waiting = rig.send(read("1"))
    await rig.settle()
    rig.monotonic.pause(4)
    go.set()

    assert await waiting.code() == "unavailable"


async def put_away(rig: Rig) -> None:
    """Wait until nothing is in memory."""
    await asyncio.sleep(70)
    assert rig.registry.get_sample_value("plaudit_actors_resident") == 0


async def test_a_lost_slot_answers_who_waits_and_loads_anew(rig: Rig) -> None:
    go = rig.hold()
    write = rig.send(say("hello"), BOB, "op")
    shown = rig.send(read("1"), CID)
    await rig.settle()
    # The worker is declared dead while its commit is on the way.
    rig.clock.jump(60)
    await take_over(rig)
    await rig.store.retire(ANOTHER)
    await asyncio.sleep(2)
    assert await write.code() == "unavailable"
    assert await shown.code() == "unavailable"
    go.set()
    await asyncio.sleep(1)

    assert rig.stored() == []
    assert (await rig.ask(say("hello"), BOB, "op")).id == "1"
    assert rig.stored() == ["hello"]


@pytest.mark.parametrize("method", ["commit", "claim", "load_post", "expire"])
async def test_a_store_that_fails_once_anywhere_leaves_the_next_retry_whole(rig: Rig, method: str) -> None:
    rig.fault(ReplyLost("commit"))
    rig.fault(RequestLost(method, at=rig.store.calls[method] + (2 if method == "commit" else 1)))
    answers = [await rig.send(say("hello"), BOB, "op").answer() for _ in range(4)]
    assert isinstance(answers[-1], Ack)
    assert rig.stored() == ["hello"]


async def test_a_call_that_breaks_in_an_unforeseen_way_leaves_nobody_waiting(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(batch: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(rig.store, "commit", broken)
    write, shown = rig.send(say("hello"), BOB, "op"), rig.send(read("1"))
    assert await write.code() == "unavailable"
    assert await shown.code() == "unavailable"
    monkeypatch.undo()

    assert (await rig.ask(say("hello"), BOB, "op")).id == "1"


async def test_a_defect_while_a_commit_is_on_its_way_loses_nothing_that_is_acknowledged(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = rig.hold()
    write = rig.send(say("hello"), BOB, "op")
    await rig.settle()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PostActor, "apply", broken)
    culprit = rig.send(say("poison"), CID)
    monkeypatch.undo()
    assert await culprit.code() == "internal"
    assert await write.code() == "unavailable"
    retry, other = rig.send(say("hello"), BOB, "op"), rig.send(say("other"), CID)
    await rig.settle()
    go.set()

    assert {(await retry.answer()).id, (await other.answer()).id} == {"1", "2"}
    assert sorted(rig.stored()) == ["hello", "other"]


@pytest.mark.parametrize("loading", [False, True])
async def test_a_defect_before_a_decision_leaves_nobody_waiting(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, loading: bool
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    if loading:
        resident = rig.node._registry.find(post_key(POST))
        assert resident is not None
        rig.node._registry.drop(resident, "so that it is loaded")
    monkeypatch.setattr(PostActor, "needs", broken)
    asked = [rig.send(say("poison"), BOB), rig.send(say("other"), CID)]
    assert [await one.code() for one in asked] == (["internal", "unavailable"] if loading else ["internal"] * 2)
    monkeypatch.undo()
    assert (await rig.ask(say("after all"))).id == "1"


async def test_a_publication_that_cannot_be_made_takes_no_answer_away(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("actors.runtime.hub.Hub.publish", broken)
    asked = [rig.send(say(f"comment {number}")) for number in range(3)]

    assert [(await one.answer()).id for one in asked] == ["1", "2", "3"]


async def test_a_caller_that_is_cancelled_does_not_undo_its_write(rig: Rig) -> None:
    go = rig.hold()
    asking = asyncio.create_task(rig.node.ask(f"post:{POST}", say("hello"), BOB, "op"))
    await rig.settle()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    go.set()

    assert (await rig.ask(say("hello"), BOB, "op")).id == "1"
    assert rig.stored() == ["hello"]


@pytest.mark.parametrize("method", ["commit", "load_post", "comments", "outbox", "claim"])
async def test_a_stop_at_any_call_answers_everyone_and_loses_nothing_acknowledged(method: str) -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with Rig.running(store=store, clock=clock) as rig:
        await rig.account(ANN, BOB)
        await rig.ask(CreatePost(post=str(POST), title="A post"), ANN)
        acknowledged = [await rig.ask(say(f"comment {number}"), BOB, f"op{number}") for number in range(3)]
        await put_away(rig)
        rig.hold(method)
        if method in ("outbox", "claim"):
            rig.fault(ReplyLost("commit"))
        asked = [rig.send(edit("1", "edited"), BOB, "op"), rig.send(say("late"), BOB, "late"), rig.send(read("2"))]
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        await rig.stop()
        assert asyncio.get_running_loop().time() - began <= 4
        for one in asked:
            assert len(one.answers) == 1
        acknowledged += [one.answers[0] for one in asked[1:2] if isinstance(one.answers[0], Ack)]
    async with Rig.running(store=store, clock=clock, seed=2) as rig:
        bodies = await rig.bodies()
        assert len(bodies) >= len(acknowledged)
        late = await rig.ask(say("late"), BOB, "late")
        assert (await rig.bodies())[int(late.id) - 1] == "late"
        assert len(await rig.bodies()) == 4
        again = [await rig.ask(say(f"comment {number}"), BOB, f"op{number}") for number in range(3)]
        assert [ack.id for ack in again] == ["1", "2", "3"]


async def test_a_store_that_hangs_does_not_hold_up_the_end() -> None:
    async with Rig.running() as rig:
        rig.hold("commit")
        hanging = rig.hold("retire")
        write = rig.send(say("hello"))
        began = asyncio.get_running_loop().time()
        await rig.stop()
        assert asyncio.get_running_loop().time() - began <= 4
        hanging.set()
        assert await write.code() == "unavailable"


async def test_a_write_that_is_refused_is_not_remembered_as_done(rig: Rig) -> None:
    assert isinstance(await rig.send(say(" "), BOB, "op").answer(), Refused)

    assert (await rig.ask(say("hello"), BOB, "op")).id == "1"


async def test_a_database_that_is_away_at_the_start_is_said_so() -> None:
    clock = Clock()
    store = MemoryStore(clock, faults=[RequestLost("claim")])
    with pytest.raises(StoreUnavailable):
        async with Rig.running(store=store, clock=clock):
            pass
