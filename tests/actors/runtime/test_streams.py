"""Every subscriber sees a stream's events in order, each once, or is told to reload; a slow one slows no one."""

import asyncio
from random import Random

import msgspec
import pytest

from actors.runtime.draining import BEHIND_BYTES, DRAIN_POLL_S, SLOW_AFTER_S
from actors.runtime.hub import (
    COUNTERS_TICK_S,
    ROUND_BYTES,
    TICK_MIN_S,
    TYPING_S,
    WATCHERS_TICK_S,
    YIELD_EVERY,
)
from actors.runtime.past import PAGE_ROWS
from actors.runtime.stream import RING_COUNT_MAX
from protocol.commands import ANONYMOUS, CreatePost, DeletePost, EditPost, React, Typing, View
from protocol.cursor import Cursor, parse_cursor
from protocol.delivery import Attached, Presence, Present
from protocol.errors import Refused, Unavailable
from store.memory import ReplyLost, RequestLost
from tests.actors.runtime.rig import ANN, BOB, CID, POST, Rig, delete, edit, react, say
from tests.actors.runtime.sinks import PlainForm, RecordingSink

KEY = f"post:{POST}"
EPOCH = f"memory:{KEY}"


async def attach(rig: Rig, sink: RecordingSink, since: int | None = None) -> Attached:
    attached = await rig.node.attach(KEY, sink, None if since is None else Cursor(EPOCH, since))
    sink.take(attached)
    return attached


async def talk(rig: Rig, count: int) -> None:
    """Comments in bursts, all acknowledged."""
    asked = [rig.send(say(f"comment {number}")) for number in range(count)]
    for one in asked:
        await one.answer()


async def test_who_subscribes_gets_what_follows(rig: Rig) -> None:
    sink = RecordingSink()
    attached = await attach(rig, sink)
    assert (attached.offset, attached.recovered, attached.first) == (1, False, ())
    await rig.ask(say("hello"))
    await rig.settle()

    assert sink.offsets() == [2]
    (change,) = sink.of_type("comment")
    assert change["comment"]["body"] == "hello"
    assert {(frame.channel, frame.epoch) for frame in sink.frames} == {(KEY, EPOCH)}


async def test_nothing_is_shown_before_it_is_durable(rig: Rig) -> None:
    sink = RecordingSink()
    await attach(rig, sink)
    await asyncio.sleep(2)
    sink.frames.clear()
    go = rig.hold()
    write, view = rig.send(say("hello")), rig.send(View(post=str(POST)), CID)
    await asyncio.sleep(1)
    assert sink.frames == []
    assert view.pending
    go.set()
    await write.answer()
    await asyncio.sleep(1)

    assert sink.offsets() == [2]
    assert {counters["version"] for counters in sink.of_type("counters")} == {2}


async def test_counters_that_are_not_durable_are_not_shown(rig: Rig) -> None:
    sink = RecordingSink()
    await attach(rig, sink)
    go = rig.hold()
    write = rig.send(react())
    await rig.settle()
    late = RecordingSink()
    attaching = asyncio.create_task(rig.node.attach(KEY, late, None))
    await asyncio.sleep(3)
    assert all(shown["counters"]["reactions"] == {} for shown in sink.of_type("counters"))
    go.set()
    await write.answer()

    assert b'"like":1' in (await attaching).counters


async def test_offsets_of_live_events_have_no_gap(rig: Rig) -> None:
    sinks = [RecordingSink() for _ in range(3)]
    for sink in sinks:
        await attach(rig, sink)
    await talk(rig, 100)
    for id in range(1, 50):
        await rig.ask(edit(str(id), "edited") if id % 2 else delete(str(id)))
    await asyncio.sleep(1)

    for sink in sinks:
        assert sink.offsets() == list(range(2, 151))


async def test_a_frame_is_encoded_once_for_all_sockets_of_a_form(rig: Rig) -> None:
    form = PlainForm()
    sinks = [RecordingSink(form) for _ in range(10)]
    for sink in sinks:
        await attach(rig, sink)
    await asyncio.sleep(2)
    form.encoded = 0
    await rig.ask(say("hello"))
    await rig.settle()

    assert form.encoded == 1
    assert all(sink.offsets() == [2] for sink in sinks)


async def test_counters_ride_behind_the_comment_that_changed_them(rig: Rig) -> None:
    sink = RecordingSink()
    await attach(rig, sink)
    await asyncio.sleep(2)
    sink.frames.clear()
    await rig.ask(say("hello"))
    await rig.settle()

    (frame,) = sink.frames
    (comment, counters) = frame.items
    assert (comment[0], counters[0]) == (2, None)
    assert '"comments":1' in counters[1]


async def test_counters_of_a_busy_stream_ride_too(rig: Rig) -> None:
    sinks = [RecordingSink() for _ in range(YIELD_EVERY + 44)]
    for sink in sinks:
        await attach(rig, sink)
    await asyncio.sleep(2)
    for sink in sinks:
        sink.frames.clear()
    for _ in range(100):
        await talk(rig, 2)
        await asyncio.sleep(0.01)
    for sink in (sinks[0], sinks[-1]):
        alone = [frame for frame in sink.frames if frame.items[0][0] is None]
        shown = sink.of_type("counters")
        assert not alone
        assert 8 <= len(shown) <= 2 + sum(offset is not None for frame in sink.frames for offset, _ in frame.items) / 10
    await asyncio.sleep(1)

    for sink in sinks:
        assert sink.offsets() == list(range(2, 202))
        assert sink.of_type("counters")[-1]["counters"]["comments"] == 200


async def test_much_is_sent_before_its_tick(rig: Rig) -> None:
    sink = RecordingSink()
    await attach(rig, sink)
    await asyncio.sleep(1)
    stream = rig.node._hub.stream(KEY)
    assert stream is not None
    for _ in range(10):
        await talk(rig, 1)
        await asyncio.sleep(TICK_MIN_S)
    assert sink.offsets()[-1] < stream.head

    large = [rig.send(say(ROUND_BYTES // 3 * "x")) for _ in range(3)]
    for one in large:
        await one.answer()
    await asyncio.sleep(0)
    assert sink.offsets() == list(range(2, stream.head + 1))


async def test_who_comes_between_a_comment_and_its_tick_has_the_counters_alone(rig: Rig) -> None:
    early, late = RecordingSink(), RecordingSink()
    await attach(rig, early)
    await talk(rig, 3)
    # The stream is busy: what is published next waits for its tick.
    await rig.ask(say("hello"))
    await attach(rig, late)
    await rig.ask(react())
    late.frames.clear()
    await asyncio.sleep(1)

    assert early.offsets() == [2, 3, 4, 5]
    assert late.offsets() == []
    assert early.of_type("counters")[-1] == late.of_type("counters")[-1]
    assert late.of_type("counters")[-1]["counters"]["reactions"] == {"like": 1}


async def test_a_busy_stream_sends_what_has_gathered_in_one_frame(rig: Rig) -> None:
    sink = RecordingSink()
    await attach(rig, sink)
    await asyncio.sleep(2)
    sink.frames.clear()
    for _ in range(20):
        await talk(rig, 5)
        await asyncio.sleep(0.002)
    await asyncio.sleep(1)

    assert sink.offsets() == list(range(2, 102))
    assert len(sink.of_type("comment")) == 100
    assert len([frame for frame in sink.frames if frame.items[0][0] is not None]) < 12


# -- resuming


async def test_a_cursor_within_recent_events_resumes_there(rig: Rig) -> None:
    await attach(rig, RecordingSink())
    await talk(rig, 20)
    calls = rig.store.calls["changes"]
    sink = RecordingSink()
    attached = await attach(rig, sink, 11)

    assert (attached.recovered, attached.offset) == (True, 11)
    assert sink.offsets() == list(range(12, 22))
    assert rig.store.calls["changes"] == calls


async def test_an_old_cursor_resumes_from_the_store_in_pages(rig: Rig) -> None:
    await talk(rig, 1_200)
    sink = RecordingSink()
    attached = await attach(rig, sink, 0)
    await talk(rig, 10)
    await asyncio.sleep(1)

    assert (attached.recovered, attached.offset) == (True, 0)
    assert len(attached.first) == PAGE_ROWS
    assert sink.offsets() == list(range(1, 1_212))


async def test_a_cursor_never_expires(rig: Rig) -> None:
    await talk(rig, 10)
    await rig.ask(edit("3", "edited"))
    await rig.ask(delete("4"))
    await asyncio.sleep(100)
    sink = RecordingSink()
    attached = await attach(rig, sink, 5)

    # The present state of what changed since: comment 3 and 4 where they changed last.
    assert attached.recovered
    assert sink.offsets() == [6, 7, 8, 9, 10, 11, 12, 13]
    assert [change["comment"]["id"] for change in sink.of_type("comment")][-2:] == ["3", "4"]


@pytest.mark.parametrize("since", [Cursor(EPOCH, 3), Cursor("another", 1), Cursor(f"memory:post:{POST + 1}", 1)])
async def test_a_cursor_beyond_the_head_or_of_another_epoch_has_to_reload(rig: Rig, since: Cursor) -> None:
    await rig.ask(say("hello"))
    sink = RecordingSink()
    attached = await rig.node.attach(KEY, sink, since)
    sink.take(attached)

    assert (attached.recovered, attached.offset, attached.first) == (False, 2, ())


async def test_live_events_during_a_resume_are_neither_lost_nor_doubled(rig: Rig) -> None:
    await talk(rig, 700)
    sink = RecordingSink()
    go = rig.hold("changes")
    attaching = asyncio.create_task(rig.node.attach(KEY, sink, Cursor(EPOCH, 0)))
    await rig.settle()
    await talk(rig, 30)
    go.set()
    attached = await attaching
    await talk(rig, 30)
    second = rig.hold("changes")
    sink.take(attached)
    await talk(rig, 700)
    second.set()
    await talk(rig, 30)
    await asyncio.sleep(1)

    assert sink.offsets() == list(range(1, 1_492))


@pytest.mark.parametrize("seed", range(5))
async def test_subscribers_that_come_go_and_stall_at_random_miss_nothing(rig: Rig, seed: int) -> None:
    rng = Random(seed)
    sinks = [(RecordingSink(), 1)]
    await attach(rig, sinks[0][0])
    head = 1
    for _ in range(60):
        match rng.randrange(6):
            case 0:
                since = rng.randint(0, head)
                sink = RecordingSink()
                sinks.append((sink, since))
                try:
                    await attach(rig, sink, since)
                except Unavailable:
                    sinks.pop()
            case 1 if sinks:
                rng.choice(sinks)[0].stall()
            case 2:
                for sink, _ in sinks:
                    sink.drain()
            case 3:
                rig.fault(ReplyLost("changes"))
            case _:
                count = rng.randrange(40)
                await talk(rig, count)
                head += count
        await asyncio.sleep(rng.choice((0, 0.01, 1)))
    for sink, _ in sinks:
        sink.drain()
    await asyncio.sleep(5)

    for sink, since in sinks:
        assert sink.offsets() == list(range(since + 1, head + 1)), seed


async def test_a_subscription_that_is_cancelled_leaves_nothing_behind(rig: Rig) -> None:
    await talk(rig, 600)
    for method in ("commit", "changes"):
        go = rig.hold(method)
        rig.send(react(), CID)
        attaching = asyncio.create_task(rig.node.attach(KEY, RecordingSink(), Cursor(EPOCH, 0)))
        await rig.settle()
        attaching.cancel()
        await asyncio.gather(attaching, return_exceptions=True)
        go.set()
        await rig.page()
        assert await rig.node.presence(KEY) == Presence(0, 0, [])


async def test_a_resume_that_the_store_fails_leaves_nothing_behind(rig: Rig) -> None:
    await talk(rig, 600)
    rig.fault(RequestLost("changes"))
    with pytest.raises(Unavailable):
        await rig.node.attach(KEY, RecordingSink(), Cursor(EPOCH, 0))

    assert await rig.node.presence(KEY) == Presence(0, 0, [])


async def test_a_closed_subscription_gets_nothing_more(rig: Rig) -> None:
    sink, other = RecordingSink(), RecordingSink()
    attached = await attach(rig, sink)
    await attach(rig, other)
    unstarted = RecordingSink()
    early = await rig.node.attach(KEY, unstarted, Cursor(EPOCH, 0))
    early.subscription.close()
    early.subscription.start()
    attached.subscription.close()
    attached.subscription.close()
    await talk(rig, 10)
    await asyncio.sleep(1)

    assert sink.offsets() == unstarted.offsets() == []
    assert other.offsets() == list(range(2, 12))
    assert await rig.node.presence(KEY) == Presence(1, 1, [Present(other.client, other.by)])


async def test_who_may_not_read_a_post_may_not_subscribe(rig: Rig) -> None:
    await rig.ask(CreatePost(post="8", title="Draft", state="draft"), ANN)
    for key, by in (("post:8", BOB), ("post:8", ANONYMOUS), ("post:9", ANN)):
        with pytest.raises(Refused) as refusal:
            await rig.node.attach(key, RecordingSink(by=by), None)
        assert refusal.value.code == "post_not_found"

    assert (await rig.node.attach("post:8", RecordingSink(by=ANN), None)).offset == 1


# -- the store's troubles


@pytest.mark.parametrize("fault", [ReplyLost("commit"), RequestLost("commit")])
async def test_after_an_unknown_outcome_subscribers_are_caught_up(rig: Rig, fault: ReplyLost | RequestLost) -> None:
    sink = RecordingSink()
    await attach(rig, sink)
    await talk(rig, 10)
    rig.fault(fault)
    lost = rig.send(say("lost?"), BOB, "op")
    await lost.answer()
    await asyncio.sleep(2)
    await rig.ask(say("lost?"), BOB, "op")
    await talk(rig, 10)
    await asyncio.sleep(1)

    assert sink.offsets() == list(range(2, 23))
    assert len(sink.of_type("comment")) == 21


async def test_a_resume_goes_on_when_the_store_comes_back(rig: Rig) -> None:
    await talk(rig, 700)
    sink = RecordingSink()
    attached = await rig.node.attach(KEY, sink, Cursor(EPOCH, 0))
    rig.store.faults.extend(RequestLost("changes") for _ in range(3))
    sink.take(attached)
    await asyncio.sleep(5)

    assert sink.offsets() == list(range(1, 702))


async def test_a_resume_goes_on_when_its_actor_comes_back(rig: Rig) -> None:
    sink = RecordingSink()
    await talk(rig, 600)
    await rig.ask(EditPost(post=str(POST), title="Edited"), ANN)
    attached = await rig.node.attach(KEY, sink, Cursor(EPOCH, 0))
    rig.monotonic.pause(2.5)
    sink.take(attached)
    await asyncio.sleep(5)

    assert sink.offsets() == list(range(2, 603))


@pytest.mark.parametrize("stalled", [True, False])
async def test_the_deletion_of_the_post_reaches_those_who_catch_up(rig: Rig, stalled: bool) -> None:
    sink = RecordingSink()
    await attach(rig, sink)
    await talk(rig, 3)
    await asyncio.sleep(1)
    if stalled:
        sink.stall()
    rig.fault(ReplyLost("commit"))
    await rig.send(DeletePost(post=str(POST)), ANN).answer()
    await asyncio.sleep(2)
    sink.drain()
    await asyncio.sleep(2)

    assert sink.offsets() == [2, 3, 4, 5]
    (change,) = sink.of_type("post")
    assert change["post"]["state"] == "deleted"


# -- slow sockets


async def test_a_socket_that_lags_is_not_written_to_and_catches_up(rig: Rig) -> None:
    slow, quick = RecordingSink(), RecordingSink()
    await attach(rig, slow)
    await attach(rig, quick)
    slow.stall()
    await talk(rig, 100)
    await asyncio.sleep(1)
    assert slow.offsets() == []
    assert quick.offsets() == list(range(2, 102))
    slow.drain()
    await asyncio.sleep(2 * DRAIN_POLL_S)

    assert slow.offsets() == list(range(2, 102))
    await talk(rig, 10)
    await asyncio.sleep(1)
    assert slow.offsets() == list(range(2, 112))


class BrimmingSink(RecordingSink):
    """A socket that still holds what it was given just now, but nothing from before."""

    def write(self, data: bytes) -> int:
        return super().write(data) + len(data)


async def test_one_large_frame_is_no_backlog(rig: Rig) -> None:
    sink = BrimmingSink()
    await attach(rig, sink)
    await asyncio.sleep(2)
    sink.frames.clear()
    await talk(rig, 1)
    asked = [rig.send(say(1_000 * "ten chars ")) for _ in range(40)]
    for one in asked:
        await one.answer()
    await asyncio.sleep(1)

    assert sink.offsets() == list(range(2, 43))
    assert max(sum(len(data) for _, data in frame.items) for frame in sink.frames) > BEHIND_BYTES
    assert rig.registry.get_sample_value("plaudit_lagging_total") == 0


async def test_a_socket_that_lags_beyond_the_recent_catches_up_from_the_store(rig: Rig) -> None:
    slow = RecordingSink()
    await attach(rig, slow)
    slow.stall()
    await talk(rig, RING_COUNT_MAX + PAGE_ROWS)
    slow.drain()
    await asyncio.sleep(1)

    assert slow.offsets() == list(range(2, RING_COUNT_MAX + PAGE_ROWS + 2))


async def test_a_socket_that_takes_nothing_is_closed(rig: Rig) -> None:
    dead = RecordingSink()
    await attach(rig, dead)
    dead.stall()
    await talk(rig, 3)
    await asyncio.sleep(SLOW_AFTER_S - 1)
    assert dead.closed is None
    await asyncio.sleep(2)

    assert dead.closed == (3008, "slow")


async def test_a_socket_that_is_slow_but_moves_is_not_closed(rig: Rig) -> None:
    slow = RecordingSink()
    await attach(rig, slow)
    for left in range(50, 0, -1):
        slow.stall(left << 20)
        await talk(rig, 1)
        await asyncio.sleep(SLOW_AFTER_S / 2)
    assert slow.closed is None
    slow.drain()
    await asyncio.sleep(1)

    assert slow.offsets() == list(range(2, 52))


async def test_a_broadcast_to_many_gives_others_their_turn(rig: Rig) -> None:
    form = PlainForm()
    sinks = [RecordingSink(form) for _ in range(3 * YIELD_EVERY)]
    for sink in sinks:
        await attach(rig, sink)
    await asyncio.sleep(2)
    for _ in range(20):
        await talk(rig, 3)
    await asyncio.sleep(1)

    assert all(sink.offsets() == list(range(2, 62)) for sink in sinks)


# -- what is volatile


async def test_counters_come_latest_only_and_seldom(rig: Rig) -> None:
    sink = RecordingSink()
    await attach(rig, sink)
    await asyncio.sleep(2)
    sink.frames.clear()
    for number in range(100):
        await rig.ask(react(number % 2 == 0))
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)

    shown = sink.of_type("counters")
    assert 2 <= len(shown) <= 1 + 1.2 / COUNTERS_TICK_S
    versions = [counters["version"] for counters in shown]
    assert versions == sorted(versions)
    assert versions[-1] == 101
    assert shown[-1]["counters"]["reactions"] == {}


async def test_reactions_of_comments_come_with_the_counters(rig: Rig) -> None:
    await talk(rig, 3)
    sink = RecordingSink()
    await attach(rig, sink)
    await rig.ask(react(comment="2"))
    await rig.ask(react(comment="3"), CID)
    await asyncio.sleep(2)

    seen: dict[str, object] = {}
    for counters in sink.of_type("counters"):
        seen.update(counters["comments"])
    assert seen == {"2": {"like": 1}, "3": {"like": 1}}


async def test_watchers_and_views_are_shown_within_a_second(rig: Rig) -> None:
    sink = RecordingSink()
    await attach(rig, sink)
    await attach(rig, RecordingSink())
    await rig.ask(View(post=str(POST)), CID)
    await asyncio.sleep(2 * WATCHERS_TICK_S)

    counters = sink.of_type("counters")[-1]["counters"]
    assert (counters["watchers"], counters["views"], counters["viewers"]) == (2, 1, 1)
    assert (await rig.read_post()).counters.watchers == 2


async def test_who_is_typing_is_shown_and_forgotten(rig: Rig) -> None:
    sink = RecordingSink()
    await attach(rig, sink)
    await rig.ask(Typing(post=str(POST)), BOB)
    await rig.ask(Typing(post=str(POST)), BOB)
    await rig.ask(Typing(post=str(POST)), CID)
    await rig.ask(Typing(post=str(POST), on=False), CID)
    await asyncio.sleep(TYPING_S - 1)
    assert [typing["people"] for typing in sink.of_type("typing")] == [["Bob"], ["Bob", "Cid"], ["Bob"]]
    await asyncio.sleep(2)

    assert sink.of_type("typing")[-1]["people"] == []


async def test_nobody_without_a_name_types(rig: Rig) -> None:
    assert await rig.send(Typing(post=str(POST)), ANONYMOUS).code() == "unauthorized"
    assert await rig.send(Typing(post="8"), BOB).code() == "post_not_found"


# -- over HTTP


async def test_changes_are_the_same_over_http_page_by_page(rig: Rig) -> None:
    await talk(rig, 30)
    cursor = parse_cursor((await rig.page()).cursor)
    assert cursor == Cursor(EPOCH, 31)
    since, offsets, more = Cursor(EPOCH, 0), [], True
    while more:
        items, since, recovered, more, counters = await rig.node.changes(KEY, since, 7)
        assert recovered
        assert len(items) <= 7
        assert (counters is None) is more
        offsets += [item.offset for item in items]

    assert offsets == list(range(1, 32))
    assert since == cursor


async def test_who_comes_back_is_told_of_the_reactions_meanwhile(rig: Rig) -> None:
    await talk(rig, 3)
    await rig.ask(React(post=str(POST), kind="like", comment="1"), CID)
    await talk(rig, 1)
    away = Cursor(EPOCH, 5)
    await rig.ask(React(post=str(POST), kind="love", comment="2"), CID)
    await rig.ask(React(post=str(POST), kind="love"), CID)

    attached = await attach(rig, RecordingSink(), since=5)
    changed = await rig.node.changes(KEY, away, 7)
    for counters in (attached.counters, changed.counters):
        told = msgspec.json.decode(counters or b"")
        assert told["comments"] == {"2": {"love": 1}}
        assert told["counters"]["reactions"] == {"love": 1}


async def test_a_socket_that_was_behind_is_told_of_the_reactions_meanwhile(rig: Rig) -> None:
    await talk(rig, 2)
    sink = RecordingSink()
    await attach(rig, sink)
    sink.stall()
    await rig.ask(React(post=str(POST), kind="like", comment="1"), CID)
    await asyncio.sleep(2 * COUNTERS_TICK_S)
    assert not any(counters["comments"] for counters in sink.of_type("counters"))
    sink.drain()
    await asyncio.sleep(2 * DRAIN_POLL_S)

    assert sink.of_type("counters")[-1]["comments"] == {"1": {"like": 1}}


async def test_changes_from_nowhere_tell_where_the_stream_stands(rig: Rig) -> None:
    await talk(rig, 3)
    for cursor in (None, Cursor("another", 1), Cursor(EPOCH, 5)):
        assert await rig.node.changes(KEY, cursor, 10) == ([], Cursor(EPOCH, 4), False, False, None)
