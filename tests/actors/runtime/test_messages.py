"""Alarms and durable messages: late rather than never, and their effect once."""

import asyncio

import pytest

from actors.finding import FINDING_ALARM
from actors.keys import post_key, user_key
from actors.runtime.activation import MAILBOX_CAPACITY, Activation
from protocol.accounts import CreateAccount, DeleteAccount, EditAccount, ReadAccount
from protocol.commands import CreatePost, EraseComments, ImportComment, Person, PublishPost
from store.memory import Held, MemoryStore, ReplyLost, RequestLost
from store.rows import AccountRow, AlarmRow, CommentRow, MarkRow, OperationRow, OutboxRow
from tests.actors.runtime.rig import ANN, BOB, CID, MOD, POST, STARTED_AT_S, Clock, Rig, react, say

DAY_S = 86_400


def at_ms(seconds: float) -> int:
    """Unix milliseconds, so long after the start."""
    return int((STARTED_AT_S + seconds) * 1000)


# -- alarms


async def test_a_scheduled_post_is_published_in_time(rig: Rig) -> None:
    await rig.ask(CreatePost(post="8", title="Later", publish_at=at_ms(10)), ANN)
    await asyncio.sleep(9)
    assert (await rig.read_post(ANN, 8)).state == "scheduled"
    await asyncio.sleep(1.5)

    assert (await rig.read_post(BOB, 8)).state == "published"
    assert [alarm.name for alarm in rig.store.rows(AlarmRow)] == [FINDING_ALARM]


async def test_a_scheduled_post_that_is_far_off_is_published_in_time(rig: Rig) -> None:
    await rig.ask(CreatePost(post="8", title="Later", publish_at=at_ms(300)), ANN)
    await asyncio.sleep(299)
    assert (await rig.read_post(ANN, 8)).state == "scheduled"
    await asyncio.sleep(2)

    assert (await rig.read_post(BOB, 8)).state == "published"


async def test_a_publication_that_was_put_off_comes_at_the_later_time(rig: Rig) -> None:
    await rig.ask(CreatePost(post="8", title="Later", publish_at=at_ms(10)), ANN)
    await rig.ask(PublishPost(post="8", at=at_ms(20)), ANN)
    await asyncio.sleep(15)
    assert (await rig.read_post(ANN, 8)).state == "scheduled"
    await asyncio.sleep(6)

    assert (await rig.read_post(BOB, 8)).state == "published"


async def test_an_alarm_is_not_late_because_the_clock_was_wrong_for_a_while(rig: Rig) -> None:
    await rig.ask(CreatePost(post="8", title="Later", publish_at=at_ms(10)), ANN)
    rig.clock.jump(-3_600)
    await rig.ask(CreatePost(post="9", title="Sooner", publish_at=at_ms(-3_599)), ANN)
    await asyncio.sleep(5)
    rig.clock.jump(3_600)
    await asyncio.sleep(15)

    assert (await rig.read_post(BOB, 8)).state == "published"


async def test_an_alarm_survives_the_end_of_its_worker() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with Rig.running(store=store, clock=clock) as rig:
        await rig.account(ANN)
        await rig.ask(CreatePost(post="8", title="Later", publish_at=at_ms(10)), ANN)
    await asyncio.sleep(60)
    async with Rig.running(store=store, clock=clock, seed=2) as rig:
        await rig.settle()
        assert (await rig.read_post(BOB, 8)).state == "published"


async def test_an_alarm_that_could_not_be_handled_rings_again(rig: Rig) -> None:
    await rig.ask(CreatePost(post="8", title="Later", publish_at=at_ms(10)), ANN)
    await asyncio.sleep(8)
    commits = rig.store.calls["commit"]
    rig.fault(RequestLost("commit"))
    await asyncio.sleep(4)

    # The one that failed, the publication, and three for what follows from it.
    assert rig.store.calls["commit"] == commits + 5
    assert (await rig.read_post(BOB, 8)).state == "published"


async def test_alarms_go_on_after_one_has_failed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.ask(CreatePost(post="8", title="Later", publish_at=at_ms(10)), ANN)
    await rig.ask(CreatePost(post="9", title="Later still", publish_at=at_ms(20)), ANN)
    await asyncio.sleep(9)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Activation, "handle", broken)
    await asyncio.sleep(2)
    monkeypatch.undo()
    await asyncio.sleep(10)

    assert (await rig.read_post(BOB, 9)).state == "published"


async def test_operations_are_forgotten_after_a_day(rig: Rig) -> None:
    await rig.ask(say("a"), BOB, "a")
    rig.clock.jump(DAY_S / 2)
    await rig.ask(say("b"), BOB, "b")
    assert len(rig.store.rows(OperationRow)) == 2
    rig.clock.jump(DAY_S / 2)
    await asyncio.sleep(100)
    assert [row.op for row in rig.store.rows(OperationRow)] == ["b"]
    rig.clock.jump(DAY_S / 2)
    await asyncio.sleep(100)

    assert rig.store.rows(OperationRow) == []
    assert [row for row in rig.store.rows(AlarmRow) if row.actor == post_key(POST)] == []
    # The id may be used anew.
    assert (await rig.ask(say("c"), BOB, "a")).id == "3"


async def test_operations_of_an_actor_that_was_put_away_are_forgotten_too(rig: Rig) -> None:
    await rig.ask(say("a"), BOB, "a")
    await asyncio.sleep(100)
    assert rig.registry.get_sample_value("plaudit_actors_resident") == 0
    rig.clock.jump(2 * DAY_S)
    await asyncio.sleep(100)

    assert rig.store.rows(OperationRow) == []


# -- messages


async def erased(rig: Rig, account: Person = BOB) -> bool:
    rows = rig.store.rows(CommentRow)
    (row,) = [row for row in rig.store.rows(AccountRow) if row.id == account.id]
    return row.state == "deleted" and all(comment.author_id != account.id for comment in rows)


async def write_much(rig: Rig) -> None:
    await rig.ask(CreatePost(post="8", title="Another"), ANN)
    for number in range(150):
        await rig.ask(say(f"comment {number}"), BOB)
        await rig.ask(say(f"comment {number}", post=8), BOB if number % 2 else CID)


async def test_comments_of_a_deleted_account_become_anonymous(rig: Rig) -> None:
    await write_much(rig)
    await rig.ask(DeleteAccount(account=BOB.id), BOB)
    await asyncio.sleep(10)

    assert await erased(rig)
    assert {row.state for row in rig.store.rows(CommentRow)} == {"visible"}
    assert sum(row.author_id == CID.id for row in rig.store.rows(CommentRow)) == 75
    assert rig.store.rows(OutboxRow) == []
    assert [row for row in rig.store.rows(AlarmRow) if row.actor == user_key(BOB.id)] == []


async def test_comments_of_an_account_are_erased_by_actors_that_were_put_away(rig: Rig) -> None:
    await write_much(rig)
    await asyncio.sleep(100)
    assert rig.registry.get_sample_value("plaudit_actors_resident") == 0
    await rig.ask(DeleteAccount(account=BOB.id), BOB)
    await asyncio.sleep(10)

    assert await erased(rig)


@pytest.mark.parametrize(
    "fault",
    [fault(method) for fault in (RequestLost, ReplyLost) for method in ("commit", "outbox", "comments", "comments_of")],
    ids=str,
)
async def test_an_account_is_erased_through_any_one_failure(rig: Rig, fault: RequestLost | ReplyLost) -> None:
    for number in range(3):
        await rig.ask(say(f"comment {number}"), BOB)
    rig.fault(fault)
    if fault.method == "outbox":
        rig.fault(ReplyLost("commit"))
    await rig.send(DeleteAccount(account=BOB.id), BOB).answer()
    await rig.send(DeleteAccount(account=BOB.id), BOB).answer()
    await asyncio.sleep(100)

    assert await erased(rig)
    assert rig.store.rows(OutboxRow) == []


@pytest.mark.parametrize("at", range(1, 9))
async def test_a_message_is_delivered_after_a_crash_at_any_commit(at: int) -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with Rig.running(store=store, clock=clock) as rig:
        await rig.account(BOB)
        await rig.ask(CreatePost(post=str(POST), title="A post"), ANN)
        await rig.ask(say("hello"), BOB)
        rig.fault(Held("commit", asyncio.Event(), at=store.calls["commit"] + at))
        rig.send(DeleteAccount(account=BOB.id), BOB)
        await asyncio.sleep(3)
    async with Rig.running(store=store, clock=clock, seed=2) as rig:
        rig.send(DeleteAccount(account=BOB.id), BOB)
        await asyncio.sleep(60)
        assert await erased(rig)
        assert store.rows(OutboxRow) == []
        # At most the first message found anything to do: its effect is there once.
        assert [row.version for row in store.rows(CommentRow)] == [3]


async def test_a_message_that_was_handled_before_is_passed_over(rig: Rig) -> None:
    await rig.ask(say("hello"), BOB)
    await rig.ask(DeleteAccount(account=BOB.id), BOB)
    await asyncio.sleep(0.3)
    (mark,) = (row for row in rig.store.rows(MarkRow) if row.receiver.startswith("post:"))
    await asyncio.sleep(10)

    assert mark.receiver == f"post:{POST}"
    assert await erased(rig)


async def test_messages_that_are_sent_while_older_ones_are_read_back_overtake_none(rig: Rig) -> None:
    """The receiver's mark would pass the older over for ever."""
    for number in range(2):
        await rig.ask(say(f"comment {number}"), BOB)
    await rig.ask(say("comment 2"), CID)
    reading = rig.hold("outbox")
    rig.fault(ReplyLost("commit", at=rig.store.calls["commit"] + 2))
    await rig.ask(DeleteAccount(account=BOB.id), BOB)
    await asyncio.sleep(5)
    reading.set()
    await asyncio.sleep(60)

    assert await erased(rig)
    assert rig.store.rows(OutboxRow) == []


async def test_a_stopped_node_delivers_nothing_more() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with Rig.running(store=store, clock=clock) as rig:
        await rig.account(BOB)
        await rig.ask(CreatePost(post=str(POST), title="A post"), ANN)
        await rig.ask(say("hello"), BOB)
        rig.store.faults.extend(RequestLost("comments") for _ in range(10))
        await asyncio.sleep(100)
        await rig.ask(DeleteAccount(account=BOB.id), BOB)
        await asyncio.sleep(2)
    commands = rig.registry.get_sample_value("plaudit_commands_total", {"method": "outbox"})
    await asyncio.sleep(10)

    assert rig.registry.get_sample_value("plaudit_commands_total", {"method": "outbox"}) == commands


async def test_erasing_passes_over_what_is_not_the_account_s(rig: Rig) -> None:
    await rig.ask(say("hello"), BOB)
    await rig.ask(EraseComments(post=str(POST), account=CID.id, comments=[1, 5], words=True), MOD)

    assert [row.author_id for row in rig.store.rows(CommentRow)] == [BOB.id]


async def test_another_name_of_an_author_is_shown_everywhere(rig: Rig) -> None:
    for number in range(3):
        await rig.ask(say(f"comment {number}"), BOB)
    await rig.ask(EditAccount(account=BOB.id, name="Robert"), BOB)

    assert (await rig.ask(ReadAccount(account=BOB.id))).name == "Robert"
    names = [comment["author"]["name"] for comment in await rig.comments()]
    assert names == ["Robert"] * 3


async def test_an_import_is_shown_with_the_name_that_it_came_with(rig: Rig) -> None:
    author = Person(id=0, handle="", name="Eve", url="https://eve.example")
    await rig.ask(ImportComment(post=str(POST), source="wp:1", body="hello", created_at=at_ms(0), author=author), MOD)

    assert [comment["author"]["name"] for comment in await rig.comments()] == ["Eve"]


# -- the mailbox


async def test_what_waits_for_an_actor_to_load_is_bounded_by_number(rig: Rig) -> None:
    go = rig.hold("load_post")
    asked = [rig.send(react(post=8)) for _ in range(MAILBOX_CAPACITY + 1)]
    assert await asked[-1].code() == "overloaded"
    assert all(one.pending for one in asked[:-1])
    go.set()

    assert {await one.code() for one in asked[:-1]} == {"post_not_found"}


async def test_what_waits_for_an_actor_to_load_is_bounded_by_size(rig: Rig) -> None:
    go = rig.hold("load_post")
    asked = [rig.send(say("x" * 10_000, post=8)) for _ in range(500)]
    refused = [one for one in asked if not one.pending]
    go.set()

    assert 50 < len(refused) < 150
    assert {await one.code() for one in refused} == {"overloaded"}
    assert {await one.code() for one in asked if one not in refused} == {"post_not_found"}


async def test_what_has_waited_too_long_is_answered(rig: Rig) -> None:
    go = rig.hold("load_post")
    waiting = rig.send(react(post=8))
    began = asyncio.get_running_loop().time()

    assert await waiting.code() == "unavailable"
    assert asyncio.get_running_loop().time() - began <= 5.1
    go.set()


async def test_an_account_may_be_made_once(rig: Rig) -> None:
    create = CreateAccount(account=BOB.id, kind="member", handle="bob", name="Bob")

    assert await rig.send(create, BOB).code() == "already_exists"
