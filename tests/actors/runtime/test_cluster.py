"""Several workers on one store and one bus: who owns what, how commands find their actors, how streams are relayed."""

import asyncio

import pytest

from actors.actor import ReadHead
from actors.keys import SLOTS, post_key
from actors.placement import MOVED_MAX
from actors.runtime.activation import Activation
from actors.runtime.hub import TICK_MAX_S
from actors.runtime.ownership import TAKEN_TIMEOUT_S
from protocol.commands import CreateComment, ReadPost, Typing
from protocol.cursor import Cursor
from protocol.delivery import Attached, Published
from protocol.errors import Unavailable
from protocol.views import PostView
from store.memory import Held, RequestLost
from tests.actors.runtime.cluster_rig import Cluster, Member, ask, cluster, make_posts
from tests.actors.runtime.rig import BOB, CID, say
from tests.actors.runtime.sinks import RecordingSink

POSTS = range(100, 110)


async def attach(member: Member, post: int, since: Cursor | None = None) -> tuple[RecordingSink, Attached]:
    sink = RecordingSink()
    attached = await member.node.attach(post_key(post), sink, since)
    sink.take(attached)
    return sink, attached


def resident(member: Member, post: int) -> Activation:
    activation = member.node._registry.find(post_key(post))
    assert activation is not None
    return activation


async def write(through: Member, bodies: range, post: int) -> None:
    for number in bodies:
        await ask(through, say(f"words {number}", post=post), op=f"op {post} {number}")


async def remote_to(running: Cluster, post: int) -> tuple[Member, Member]:
    """The owner of ``post``, and another member."""
    owner = await running.owner_of(post)
    return owner, await running.other_than(owner)


async def heads_are(sink: RecordingSink, offsets: range) -> None:
    """Wait until ``sink`` has got exactly these, each once and in order."""
    async with asyncio.timeout(10):
        while len(sink.offsets()) < len(offsets):
            await asyncio.sleep(0.05)
    assert sink.offsets() == list(offsets)


# -- who owns what


async def test_two_members_share_the_slots() -> None:
    async with cluster(2) as running:
        shares = [member.figure("plaudit_slots") for member in running.members]
        assert sum(shares) == SLOTS
        assert min(shares) > SLOTS / 4


async def test_whoever_joins_gets_a_share_while_writes_go_on() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        joining = asyncio.create_task(running.join())
        for number in range(200):
            post = POSTS[number % len(POSTS)]
            await ask(running.members[number % 2], say(f"words {number}", post=post), op=f"op {number}")
            await asyncio.sleep(0.01)
        await joining
        await running.balanced()
        for post in POSTS:
            view = await ask(running.members[2], ReadPost(post=str(post)))
            assert isinstance(view, PostView)
            assert view.counters.comments == 200 / len(POSTS)


async def test_whoever_leaves_hands_everything_over_and_no_write_fails() -> None:
    async with cluster(3) as running:
        await make_posts(running.members[0], POSTS)
        going = running.members[2]
        leaving = asyncio.create_task(running.leave(going))
        for number in range(100):
            post = POSTS[number % len(POSTS)]
            await ask(running.members[number % 2], say(f"words {number}", post=post), op=f"op {number}")
            await asyncio.sleep(0.002)
        await leaving
        assert sum(member.figure("plaudit_slots") for member in running.members) == SLOTS
        assert going.figure("plaudit_handoffs_total") > 0


async def test_what_a_leaving_member_had_in_memory_is_loaded_by_its_heirs_before_anybody_asks() -> None:
    async with cluster(2) as running:
        staying, going = running.members
        await make_posts(staying, POSTS)
        moved = [post for post in POSTS if await running.owner_of(post) is going]
        assert moved
        await running.leave(going)
        async with asyncio.timeout(1):
            while not all(staying.node._registry.find(post_key(post)) for post in moved):
                await asyncio.sleep(0.001)


async def test_a_leaving_member_holds_no_more_than_its_heirs_have_room_for() -> None:
    async with cluster(2) as running:
        staying, going = running.members
        claiming = asyncio.Event()
        running.store.faults.append(Held("claim", claiming))
        leaving = asyncio.create_task(running.leave(going))
        await asyncio.sleep(TAKEN_TIMEOUT_S / 2)
        owned = (await running.store.owners()).slots
        assert SLOTS - len(owned) == MOVED_MAX
        claiming.set()
        await leaving
        assert staying.figure("plaudit_slots") == SLOTS


async def test_a_member_that_was_declared_dead_drops_all_and_goes_on_under_a_new_id() -> None:
    async with cluster(2) as running:
        paused, other = running.members
        before = paused.node.worker().id
        await running.store.expire(node=paused.name)
        other.node.look()
        await asyncio.sleep(3)
        await running.balanced()
        assert paused.node.worker().id != before
        assert paused.figure("plaudit_slots") > 0


async def test_the_slots_of_a_member_whose_lease_is_over_are_taken() -> None:
    async with cluster(2) as running:
        silent, other = running.members
        for at in range(1, 40):
            running.store.faults.append(RequestLost("renew", at=running.store.calls["renew"] + 2 * at))
        await asyncio.sleep(5)
        assert sum(member.figure("plaudit_slots") for member in (silent, other)) <= SLOTS
        running.store.faults.clear()
        await running.balanced()


# -- commands


async def test_a_post_may_be_used_through_any_member() -> None:
    async with cluster(3) as running:
        await make_posts(running.members[0], POSTS)
        for number, post in enumerate(POSTS):
            await write(running.members[number % 3], range(3), post)
            for member in running.members:
                view = await ask(member, ReadPost(post=str(post)))
                assert view.counters.comments == 3


async def test_an_operation_that_is_repeated_through_another_member_is_done_once() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        one, other = running.members
        first = await ask(one, say("once", post=100), op="the same")
        assert await ask(other, say("once", post=100), op="the same") == first


async def test_a_request_that_is_lost_is_sent_again() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        lost: list[str] = []

        def lose_the_first(sender: str, receiver: str, inbox: str, messages: object) -> tuple[float, ...]:
            if sender == other.name and receiver == owner.name and not lost:
                lost.append(inbox)
                return ()
            return (0.0,)

        running.broker.route = lose_the_first
        await ask(other, say("once", post=100))
        assert lost
        assert other.figure("plaudit_retries_total") == 1
        assert (await ask(other, ReadPost(post="100"))).counters.comments == 1


async def test_a_request_that_comes_twice_or_whose_answer_is_lost_is_done_once() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        answers: list[str] = []

        def twice(sender: str, receiver: str, inbox: str, messages: object) -> tuple[float, ...]:
            if sender == owner.name and receiver == other.name and not answers:
                answers.append(inbox)
                return ()
            return (0.0, 0.3, 2.0)

        running.broker.route = twice
        for number in range(5):
            await ask(other, say(f"words {number}", post=100))
        await asyncio.sleep(5)
        assert (await ask(other, ReadPost(post="100"))).counters.comments == 5


async def test_while_the_bus_is_away_own_posts_go_on_and_others_are_unavailable() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        running.broker.cut(other.name)
        await ask(owner, say("words", post=100))
        with pytest.raises(Unavailable):
            await ask(other, say("words", post=100))
        assert "bus" in other.node.ready()
        running.broker.heal(other.name)
        await ask(other, say("more words", post=100))
        assert other.node.ready() == {}


# -- streams


async def test_a_stream_is_followed_through_another_member() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        sink, attached = await attach(other, 100)
        await write(owner, range(20), 100)
        await heads_are(sink, range(attached.offset + 1, attached.offset + 21))


async def test_watchers_and_who_is_present_are_those_of_all_members() -> None:
    async with cluster(3) as running:
        await make_posts(running.members[0], POSTS)
        sinks = []
        for number, member in enumerate(running.members):
            sink = RecordingSink(by=CID if number else BOB, client=f"client {number}")
            sink.take(await member.node.attach(post_key(100), sink, None))
            sinks.append(sink)
        await asyncio.sleep(2)
        for member, sink in zip(running.members, sinks, strict=True):
            assert sink.of_type("counters")[-1]["counters"]["watchers"] == 3
            presence = await member.node.presence(post_key(100))
            assert (presence.clients, presence.users) == (3, 2)
            assert {each.client for each in presence.listed} == {"client 0", "client 1", "client 2"}


async def test_an_answer_that_comes_twice_is_not_taken_for_that_of_another_member() -> None:
    async with cluster(3) as running:
        await make_posts(running.members[0], POSTS)
        for number, member in enumerate(running.members):
            sink = RecordingSink(client=f"client {number}")
            sink.take(await member.node.attach(post_key(100), sink, None))
        slow = running.members[2].name
        running.broker.route = lambda sender, receiver, inbox, messages: (0.3,) if sender == slow else (0.0, 0.0)
        presence = await running.members[0].node.presence(post_key(100))
        assert sorted(each.client for each in presence.listed) == ["client 0", "client 1", "client 2"]


async def test_a_cursor_of_one_member_is_resumed_at_another() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        _, attached = await attach(owner, 100)
        await write(owner, range(10), 100)
        sink, resumed = await attach(other, 100, Cursor(attached.epoch, attached.offset))
        assert resumed.recovered
        await heads_are(sink, range(attached.offset + 1, attached.offset + 11))
        beyond, reloaded = await attach(other, 100, Cursor(attached.epoch, 1_000))
        assert not reloaded.recovered
        assert beyond.offsets() == []


async def test_viewers_keep_their_place_while_the_actor_changes_its_worker() -> None:
    async with cluster(3) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        sink, attached = await attach(other, 100)
        await write(other, range(10), 100)
        await running.leave(owner)
        await write(other, range(10, 20), 100)
        await heads_are(sink, range(attached.offset + 1, attached.offset + 21))


@pytest.mark.parametrize("missed", [10, 600])
async def test_viewers_are_caught_up_when_the_bus_returns(missed: int) -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        sink, attached = await attach(other, 100)
        running.broker.cut(other.name)
        await write(owner, range(missed), 100)
        assert sink.offsets() == []
        running.broker.heal(other.name)
        await heads_are(sink, range(attached.offset + 1, attached.offset + 1 + missed))


async def test_publications_that_are_lost_in_silence_are_noticed_and_sent_again() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        sink, attached = await attach(other, 100)
        running.broker.route = lambda sender, receiver, inbox, messages: () if receiver == other.name else (0.0,)
        await write(owner, range(5), 100)
        running.broker.route = lambda sender, receiver, inbox, messages: (0.0,)
        await heads_are(sink, range(attached.offset + 1, attached.offset + 6))
        assert other.figure("plaudit_gaps_total") > 0


async def test_an_interest_that_is_repeated_while_the_actor_loads_is_answered_once() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        sink, attached = await attach(other, 100)
        registry, loading = owner.node._registry, asyncio.Event()
        running.store.faults.append(Held("load_post", loading))
        registry.drop(resident(owner, 100), "test")
        for _ in range(4):
            running.broker.cut(other.name)
            running.broker.heal(other.name)
            await asyncio.sleep(0.1)
        interests = [each for each in resident(owner, 100).mailbox if isinstance(each.command, ReadHead)]
        assert len(interests) == 1
        loading.set()
        await write(owner, range(5), 100)
        await heads_are(sink, range(attached.offset + 1, attached.offset + 6))


async def test_an_interest_that_is_taken_back_while_the_actor_loads_is_not_answered() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        _, attached = await attach(other, 100)
        loading = asyncio.Event()
        running.store.faults.append(Held("load_post", loading))
        owner.node._registry.drop(resident(owner, 100), "test")
        other.node._relays.resume_all()
        await asyncio.sleep(0.1)
        attached.subscription.close()
        await asyncio.sleep(1)
        loading.set()
        await asyncio.sleep(1)
        assert owner.figure("plaudit_streams") == 0


async def test_what_has_waited_at_its_owner_to_be_sent_together_waits_no_second_time() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        _, other = await remote_to(running, POSTS[0])
        sink, _ = await attach(other, POSTS[0])
        hub = other.node._hub
        stream = hub.stream(post_key(POSTS[0]))
        assert stream is not None
        for _ in range(20):
            assert hub.relay(stream, [Published(stream.head + 1, b"{}")])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert sink.offsets()[-1] == stream.head
            await asyncio.sleep(TICK_MAX_S / 2)


async def test_a_stream_that_nobody_watches_any_more_is_not_relayed() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        sink = RecordingSink()
        attached = await other.node.attach(post_key(100), sink, None)
        sink.take(attached)
        await asyncio.sleep(1)
        attached.subscription.close()
        await asyncio.sleep(1)
        assert other.figure("plaudit_relays") == 0
        assert owner.figure("plaudit_streams") == 0


async def test_typing_is_seen_through_another_member() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        _, other = await remote_to(running, 100)
        sink, _ = await attach(other, 100)
        await ask(other, Typing(post="100"))
        await asyncio.sleep(0.5)
        assert sink.of_type("typing")[-1]["people"] == ["Bob"]


async def test_a_comment_without_an_operation_id_is_never_done_twice() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        running.broker.route = lambda sender, receiver, inbox, messages: () if sender == owner.name else (0.0,)
        asking = asyncio.create_task(ask(other, CreateComment(post="100", body="once")))
        await asyncio.sleep(0.1)
        await running.store.expire(node=owner.name)
        other.node.look()
        with pytest.raises(Unavailable):
            await asking
        running.broker.route = lambda sender, receiver, inbox, messages: (0.0,)
        await asyncio.sleep(2)
        assert (await ask(other, ReadPost(post="100"))).counters.comments == 1
