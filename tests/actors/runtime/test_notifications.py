"""People are told of what others do, once a second at most, on a stream of their own that resumes from any cursor."""

import asyncio
from random import Random
from typing import Any

import pytest

from actors.keys import post_key, slot_of, user_key
from actors.runtime.outbox import decode_message
from protocol.accounts import DeleteAccount
from protocol.commands import Applaud, Command, CreatePost, DeleteComment, DeletePost, Person
from protocol.cursor import Cursor
from protocol.errors import Refused
from protocol.graph import Block, Follow, Mute, Unfollow
from protocol.notifications import EditPreferences, MarkRead, NotificationPage, TakeBack
from store.memory import Held, MemoryStore, ReplyLost, RequestLost
from store.rows import AlarmRow, NotificationRow, OutboxRow, UserStateRow
from tests.actors.runtime.cluster_rig import ask, cluster, make_posts
from tests.actors.runtime.rig import ANN, BOB, CID, MOD, POST, Rig, delete, edit, react, say
from tests.actors.runtime.sinks import RecordingSink

KEY = user_key(ANN.id)
EPOCH = f"memory:{KEY}"


async def attach(rig: Rig, by: Person = ANN, since: int | None = None) -> RecordingSink:
    sink = RecordingSink(by=by)
    epoch = f"memory:{user_key(by.id)}"
    attached = await rig.node.attach(user_key(by.id), sink, None if since is None else Cursor(epoch, since))
    sink.take(attached)
    return sink


async def page(rig: Rig, of: Person = ANN, **asked: Any) -> NotificationPage:
    return (await rig.node.notifications(of.id, **{"before": None, "limit": 20, **asked})).page


async def told(rig: Rig, of: Person = ANN) -> list[tuple[str, str | None, int, list[str]]]:
    """Everything, newest first, once all that is on its way has arrived."""
    await asyncio.sleep(1.5)
    while rig.store.rows(OutboxRow):
        await asyncio.sleep(0.01)
    return [(group.kind, group.comment, group.count, group.sample) for group in (await page(rig, of)).groups]


def shown(sink: RecordingSink) -> dict[str, int]:
    """Count of each group, as a client has folded what came."""
    latest = {change["group"]["id"]: change["group"]["count"] for change in sink.of_type("notification")}
    return {id: count for id, count in latest.items() if count}


async def test_comments_answers_mentions_reactions_applause_and_follows_are_told(rig: Rig) -> None:
    await rig.store.claim_names("account", [("handle", "cid")], CID.id)
    await rig.ask(say("hello @cid and @nobody"), BOB)
    await rig.ask(say("an answer", parent="1"), CID)
    await rig.ask(react(), BOB)
    await rig.ask(react(comment="1"), ANN)
    await rig.ask(Applaud(post=str(POST), total=7), CID)
    await rig.ask(Follow(account=str(ANN.id)), BOB)

    assert sorted(await told(rig)) == [
        ("applause", None, 1, ["3"]),
        ("comment", None, 2, ["3", "2"]),
        ("follow", None, 1, ["2"]),
        ("reaction", None, 1, ["2"]),
    ]
    assert sorted(await told(rig, BOB)) == [("reaction", "1", 1, ["1"]), ("reply", "1", 1, ["3"])]
    assert await told(rig, CID) == [("mention", "1", 1, ["2"])]
    assert await told(rig, MOD) == []
    listed = await page(rig)
    assert {id: author.name for id, author in listed.accounts.items()} == {"2": "Bob", "3": "Cid"}
    assert listed.posts[str(POST)].title == "A post"
    assert (listed.unread, listed.cursor) == (4, f"{EPOCH}-4")


async def test_in_a_burst_those_are_not_counted_whom_one_blocks_or_mutes(rig: Rig) -> None:
    await rig.ask(Block(account=str(BOB.id)), ANN)
    await rig.ask(Mute(account=str(CID.id)), ANN)
    await rig.ask(Block(account=str(ANN.id)), MOD)
    # First, so that they are not among the newest.
    for by in (BOB, CID, MOD):
        await rig.ask(react(), by)
    for id in range(1_000, 1_500):
        await rig.ask(react(), Person(id=id, handle=f"h{id}", name="Somebody"))
    ((kind, _, count, _),) = await told(rig)
    # Of the newest hundred is known that they have no account.
    assert (kind, count) == ("reaction", 400)


async def test_what_happens_in_a_burst_is_one_group_delivered_once_a_second(rig: Rig) -> None:
    sink = await attach(rig)
    for id in range(1_000, 3_000):
        rig.send(react(), Person(id=id, handle=f"p{id}", name=f"P{id}"))
        if id % 10 == 0:
            await asyncio.sleep(0.01)
    await asyncio.sleep(3)

    changes = [change["group"]["count"] for change in sink.of_type("notification")]
    assert changes == sorted(changes)
    # Of the newest hundred of each second is known that they have no account.
    assert 1_600 < changes[-1] < 2_000
    assert len(changes) <= 5
    assert len({change["group"]["id"] for change in sink.of_type("notification")}) == 1


async def test_whom_one_blocks_or_mutes_or_silences_one_is_not_told_of(rig: Rig) -> None:
    await rig.ask(Block(account=str(BOB.id)), ANN)
    await rig.ask(Mute(account=str(CID.id)), ANN)
    await rig.ask(say("hello"), BOB)
    await rig.ask(say("hello"), CID)
    assert await told(rig) == []
    await rig.node.ask(KEY, EditPreferences(reaction=False), ANN)
    await rig.ask(react(), MOD)
    await rig.ask(say("hello"), MOD)
    assert await told(rig) == [("comment", None, 1, ["9"])]


async def test_what_is_taken_back_or_deleted_is_told_no_more(rig: Rig) -> None:
    await rig.store.claim_names("account", [("handle", "cid")], CID.id)
    sink = await attach(rig)
    await rig.ask(say("hello @cid"), BOB)
    await rig.ask(react(), CID)
    await rig.ask(Follow(account=str(ANN.id)), BOB)
    assert len(await told(rig)) == 3
    assert len(await told(rig, CID)) == 1
    await rig.ask(delete("1"), BOB)
    await rig.ask(react(False), CID)
    await rig.ask(Unfollow(account=str(ANN.id)), BOB)

    assert await told(rig) == await told(rig, CID) == []
    assert shown(sink) == {}
    assert (await page(rig)).unread == 0


async def test_a_deleted_post_takes_back_all_that_was_told_about_it(rig: Rig) -> None:
    await rig.ask(say("hello"), BOB)
    await rig.ask(say("hello", parent="1"), CID)
    assert len(await told(rig)) == len(await told(rig, BOB)) == 1
    await rig.ask(DeletePost(post=str(POST)), ANN)

    assert await told(rig) == await told(rig, BOB) == []
    await asyncio.sleep(5)
    assert [row for row in rig.store.rows(AlarmRow) if row.actor == post_key(POST)] == []


@pytest.mark.parametrize("gone", [DeletePost(post=str(POST)), delete("1")])
async def test_what_is_on_its_way_to_somebody_is_taken_back_too(rig: Rig, gone: Command) -> None:
    arrives = asyncio.Event()
    await rig.ask(say("hello"), BOB)
    await rig.ask(say("hello", parent="1"), CID)
    for _ in (ANN, BOB):
        rig.fault(Held("notification_groups", arrives))
    await asyncio.sleep(1.5)
    await rig.ask(gone, BOB if isinstance(gone, DeleteComment) else ANN)
    await asyncio.sleep(5)
    assert rig.store.rows(NotificationRow) == []
    taken_back = [row for row in rig.store.rows(OutboxRow) if decode_message(row.payload).method == TakeBack.method]
    assert len(taken_back) <= 2
    arrives.set()

    assert await told(rig, BOB) == []
    assert await told(rig) == ([("comment", None, 1, ["3"])] if isinstance(gone, DeleteComment) else [])


async def test_a_deleted_account_is_named_nowhere_and_keeps_nothing(rig: Rig) -> None:
    await rig.ask(say("hello"), BOB)
    await rig.ask(react(), BOB)
    await rig.ask(react(), CID)
    await rig.ask(Follow(account=str(CID.id)), ANN)
    assert len(await told(rig, CID)) == 1
    await rig.ask(DeleteAccount(account=BOB.id), BOB)
    await asyncio.sleep(10)
    assert await told(rig) == [("reaction", None, 1, ["3"])]
    await rig.ask(DeleteAccount(account=ANN.id), ANN)
    await asyncio.sleep(10)

    assert rig.store.rows(NotificationRow) == [row for row in rig.store.rows(NotificationRow) if row.gone]
    assert all(row.user_id == CID.id for row in rig.store.rows(NotificationRow))


async def test_the_stream_is_its_owner_s_alone(rig: Rig) -> None:
    for by in (BOB, MOD, Person(id=0, handle="", name="", role="anonymous")):
        with pytest.raises(Refused) as refusal:
            await rig.node.attach(KEY, RecordingSink(by=by), None)
        assert refusal.value.code == "permission_denied"


async def test_how_many_are_unread_is_shown_as_it_changes(rig: Rig) -> None:
    sink = await attach(rig)
    await rig.ask(say("hello"), BOB)
    await asyncio.sleep(2)
    await rig.node.ask(KEY, MarkRead(cursor=f"{EPOCH}-1"), ANN)
    await asyncio.sleep(1)

    latest = [(message["unread"], message["read"]) for message in sink.of_type("unread")]
    assert (1, 0) in latest
    assert latest[-1] == (0, 1)
    (group,) = (await page(rig)).groups
    assert group.read


async def test_what_was_missed_is_sent_as_it_is_now(rig: Rig) -> None:
    await rig.ask(say("hello"), BOB)
    await told(rig)
    sink = await attach(rig, since=0)
    await rig.settle()
    assert sink.offsets() == [1]
    await rig.ask(say("hello"), CID)
    await rig.ask(react(), CID)
    await told(rig)
    late = await attach(rig, since=1)
    await rig.settle()

    assert sink.offsets() == [1, 2, 3]
    assert late.offsets() == [2, 3]
    assert late.of_type("notification")[0] == sink.of_type("notification")[1]
    assert shown(sink) == {"1": 2, "3": 1}


async def test_a_page_goes_on_where_the_one_before_ended(rig: Rig) -> None:
    for id in range(20, 27):
        await rig.ask(CreatePost(post=str(id), title=f"Post {id}"), ANN)
        await rig.ask(react(post=id), BOB)
        await asyncio.sleep(2)
    found, before = [], None
    while True:
        listed = await rig.node.notifications(ANN.id, before=before, limit=3)
        found += [group.post for group in listed.page.groups]
        if listed.next is None:
            break
        before = listed.next
    assert found == [str(id) for id in range(26, 19, -1)]


async def test_what_nobody_was_told_before_a_crash_is_told_after() -> None:
    async with Rig.running() as first:
        await first.ask(say("hello"), BOB)
        first.hold("commit").set()
        store, clock = first.store, first.clock
    assert store.rows(NotificationRow) == []
    async with Rig.running(store=store, clock=clock, seed=2) as second:
        second.clock.jump(2)
        await asyncio.sleep(40)
        assert await told(second) == [("comment", None, 1, ["2"])]
        sink = await attach(second, since=0)
        await second.settle()
        assert sink.offsets() == [1]


@pytest.mark.parametrize("fault", [RequestLost, ReplyLost])
@pytest.mark.parametrize("at", range(1, 5))
async def test_nothing_is_told_twice_or_not_at_all_whatever_commit_fails(
    rig: Rig, fault: type[RequestLost | ReplyLost], at: int
) -> None:
    sink = await attach(rig)
    await rig.ask(say("hello"), BOB)
    rig.fault(fault("commit", at=rig.store.calls["commit"] + at))
    await asyncio.sleep(50)

    assert await told(rig) == [("comment", None, 1, ["2"])]
    assert shown(sink) == {"1": 1}


async def test_news_wait_for_a_store_that_is_away(rig: Rig) -> None:
    await rig.ask(say("@bob"), CID)
    for method in ("handles", "notification_groups"):
        rig.fault(RequestLost(method))
    await asyncio.sleep(50)
    assert await told(rig) == [("comment", None, 1, ["3"])]


async def test_what_is_read_for_the_news_holds_up_only_what_comes_after(rig: Rig) -> None:
    await rig.ask(say("hello @bob"), CID)
    until = asyncio.Event()
    rig.fault(Held("handles", until))
    await asyncio.sleep(1.2)
    asked = rig.send(say("while it is read"), BOB)
    await rig.settle()
    assert asked.pending
    until.set()
    assert (await asked.answer()).id == "2"


@pytest.mark.parametrize("seed", range(5))
async def test_counts_equal_what_there_is_after_anything(rig: Rig, seed: int) -> None:
    rng = Random(seed)
    people = [BOB, CID, MOD]
    sink = await attach(rig)
    comments: list[tuple[str, Person]] = []
    for _ in range(150):
        by = rng.choice(people)
        match rng.randrange(6):
            case 0:
                ack = await rig.ask(say("hello"), by)
                comments.append((ack.id, by))
            case 1 if comments:
                id, author = comments.pop(rng.randrange(len(comments)))
                await rig.ask(delete(id), author)
            case 2 if comments:
                id, author = rng.choice(comments)
                await rig.ask(edit(id, f"other words {rng.random()}"), author)
            case 3:
                await rig.ask(react(rng.random() < 0.6), by)
            case 4:
                await rig.ask(Applaud(post=str(POST), total=rng.choice([0, 0, 5, 50])), by)
            case _:
                kind = Follow if rng.random() < 0.6 else Unfollow
                await rig.ask(kind(account=str(ANN.id)), by)
        if rng.random() < 0.2:
            await asyncio.sleep(rng.random() * 3)
    groups = {kind: count for kind, _, count, _ in await told(rig)}
    view = await rig.read_post(ANN)
    (state,) = (row for row in rig.store.rows(UserStateRow) if row.user_id == ANN.id)
    applauding = len([by for by in people if (await rig.read_post(by)).applause_mine])

    assert groups.get("comment", 0) == view.counters.comments
    assert groups.get("reaction", 0) == view.counters.reactions.get("like", 0)
    assert groups.get("applause", 0) == applauding
    assert groups.get("follow", 0) == state.followers
    rows = [row for row in rig.store.rows(NotificationRow) if not row.gone]
    assert shown(sink) == {str(row.id): row.count for row in rows}
    assert (await page(rig)).unread == len(rows)
    assert sink.of_type("unread")[-1]["unread"] == len(rows)
    assert sink.offsets() == list(range(1, state.head + 1))


async def test_old_notifications_are_dropped(rig: Rig) -> None:
    await rig.ask(say("hello"), BOB)
    await told(rig)
    rig.clock.jump(91 * 86_400)
    await asyncio.sleep(100)
    assert rig.store.rows(NotificationRow) == []


# -- several workers


async def test_people_are_told_whichever_workers_have_the_post_the_person_and_the_socket() -> None:
    async with cluster(2) as running:
        one, other = running.members
        posts = list(range(40, 48))
        await make_posts(one, posts)
        sinks = []
        for member in running.members:
            sink = RecordingSink(by=ANN)
            sink.take(await member.node.attach(KEY, sink, Cursor(EPOCH, 0)))
            sinks.append(sink)
        for n, post in enumerate(posts):
            await ask(running.members[n % 2], say("hello", post=post), BOB)
        await asyncio.sleep(3)
        for sink in sinks:
            assert sorted(shown(sink).values()) == [1] * len(posts)
            assert sink.of_type("unread")[-1]["unread"] == len(posts)
        read = await other.node.ask(KEY, MarkRead(cursor=f"{EPOCH}-{len(posts)}"), ANN)
        await asyncio.sleep(1)
        assert read.unread == 0
        assert [sink.of_type("unread")[-1]["unread"] for sink in sinks] == [0, 0]
        for member in running.members:
            with pytest.raises(Refused) as refusal:
                await member.node.attach(KEY, RecordingSink(by=BOB), None)
            assert refusal.value.code == "permission_denied"


async def test_viewers_of_notifications_keep_their_place_while_the_actor_changes_its_worker() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], [POST])
        id = await owner_of(running.store)
        owner = next(member for member in running.members if member.node.worker().id == id)
        staying = await running.other_than(owner)
        sink = RecordingSink(by=ANN)
        sink.take(await staying.node.attach(KEY, sink, Cursor(EPOCH, 0)))
        await ask(staying, say("hello"), BOB)
        await asyncio.sleep(3)
        await running.leave(owner)
        await ask(staying, say("hello"), CID)
        await asyncio.sleep(5)

        assert shown(sink) == {"1": 2}
        assert sink.offsets() == [1, 2]


async def owner_of(store: MemoryStore) -> str:
    owner, _ = (await store.owners()).slots[slot_of(KEY)]
    return str(owner)
