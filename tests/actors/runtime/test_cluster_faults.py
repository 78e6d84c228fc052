"""What goes wrong between workers at an unlucky moment: each test is one such moment."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from actors.keys import post_key, slot_of, user_key
from protocol.accounts import CreateAccount, EditAccount
from protocol.commands import Applaud, Person, ReadComments, ReadPost
from protocol.errors import Refused
from store.bus import EVERYONE
from store.memory import Held
from tests.actors.runtime.cluster_rig import ask, cluster, make_posts
from tests.actors.runtime.rig import BOB, Asked, other_post_of_slot, say
from tests.actors.runtime.sinks import RecordingSink
from tests.actors.runtime.test_cluster import POSTS, attach, heads_are, remote_to


async def test_a_number_that_no_message_can_carry_is_refused_and_holds_up_nobody() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        for member in (owner, other):
            with pytest.raises(Refused, match="too large"):
                await ask(member, Applaud(post="100", total=10**30), op="one of its own")
        running.broker.route = lambda sender, receiver, inbox, messages: () if sender == other.name else (0.0,)
        asking = asyncio.create_task(ask(other, say("words", post=100)))
        await asyncio.sleep(0.1)
        running.broker.route = lambda sender, receiver, inbox, messages: (0.0,)
        async with asyncio.timeout(2):
            await asking


async def test_an_owner_that_answers_after_the_last_subscriber_has_left_revives_no_stream() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        _, attached = await attach(other, 100)
        await asyncio.sleep(1)
        running.broker.route = lambda sender, *_: (0.2,) if sender == owner.name else (0.0,)
        # What the owner says about one more subscriber is under way when both leave.
        _, another = await attach(other, 100)
        await asyncio.sleep(0.3)
        another.subscription.close()
        attached.subscription.close()
        await asyncio.sleep(2)
        assert other.figure("plaudit_relays") == 0
        assert other.figure("plaudit_streams") == 0
        assert owner.figure("plaudit_streams") == 0


async def test_whoever_waits_for_a_stream_that_comes_here_subscribes_here_at_once() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner, other = await remote_to(running, 100)
        lost: list[str] = []

        def lose_what_begins_a_relay(sender: str, receiver: str, inbox: str, messages: Sequence[bytes]) -> list[float]:
            if sender == owner.name and b"Watched" in b"".join(messages):
                lost.append(inbox)
                return []
            return [0.0]

        running.broker.route = lose_what_begins_a_relay
        attaching = asyncio.create_task(attach(other, 100))
        await asyncio.sleep(0.5)
        assert lost
        await running.leave(owner)
        async with asyncio.timeout(1.5):
            await attaching


async def test_a_command_for_another_worker_is_refused_once_this_one_ends() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        _, other = await remote_to(running, 100)
        retiring = asyncio.Event()
        running.store.faults.append(Held("retire", retiring))
        pending, late = Asked(), Asked()
        running.broker.route = lambda sender, receiver, inbox, messages: ()
        other.node.submit(post_key(100), ReadPost(post="100"), BOB, None, pending.reply)
        leaving = asyncio.create_task(running.leave(other))
        assert await pending.code() == "unavailable"
        other.node.submit(post_key(100), ReadPost(post="100"), BOB, None, late.reply)
        retiring.set()
        await leaving
        assert await late.code() == "unavailable"


async def test_a_worker_that_goes_on_under_a_new_id_sends_nothing_to_its_old_one() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], POSTS)
        owner = await running.owner_of(100)
        to_itself: list[str] = []

        def note(sender: str, receiver: str, inbox: str, messages: Sequence[bytes]) -> list[float]:
            if sender == receiver and inbox != EVERYONE:
                to_itself.append(inbox)
            return [0.0]

        running.broker.route = note
        meanwhile = asyncio.Event()
        running.store.faults.extend(Held(call, meanwhile) for call in ("owners", "owners", "register"))
        await running.store.expire(node=owner.name)
        asking = []
        for _ in range(25):
            asking.append(asyncio.create_task(ask(owner, ReadPost(post="100"))))
            await asyncio.sleep(0.05)
        meanwhile.set()
        await asyncio.gather(*asking)
        assert to_itself == []


async def test_slots_that_are_just_being_given_away_make_nobody_unready() -> None:
    async with cluster(2) as running:
        await asyncio.sleep(3)
        going, _ = running.members
        releasing = asyncio.Event()
        running.store.faults.append(Held("release", releasing))
        leaving = asyncio.create_task(going.node.hand_over())
        await asyncio.sleep(0.1)
        ready = going.node.ready()
        releasing.set()
        await leaving
        assert ready == {}


async def test_a_move_that_takes_long_keeps_nobody_busy_with_asking() -> None:
    async with cluster(2) as running:
        going, other = running.members
        owners = (await running.store.owners()).slots
        first = min(slot for slot, (owner, _) in owners.items() if str(owner) == going.node.worker().id)
        post = other_post_of_slot(first)
        await make_posts(going, [post])
        sink, attached = await attach(other, post)
        running.broker.route = lambda *_: (0.001,)
        releasing = asyncio.Event()
        running.store.faults.append(Held("release", releasing))
        leaving = asyncio.create_task(running.leave(going))
        await asyncio.sleep(0.1)
        messages, reads = other.figure("plaudit_bus_messages_total"), running.store.calls["owners"]
        asking = [asyncio.create_task(ask(other, say("words", post=post), op=f"op {number}")) for number in range(10)]
        await asyncio.sleep(1)
        assert other.figure("plaudit_bus_messages_total") - messages <= 100
        assert running.store.calls["owners"] - reads <= 100
        releasing.set()
        await asyncio.gather(*asking, leaving)
        await heads_are(sink, range(attached.offset + 1, attached.offset + 11))


@pytest.mark.parametrize("call", ["renew", "owners", "claim"])
async def test_a_defect_does_not_end_the_care_for_slots(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(2) as running:
        working = getattr(running.store, call)
        met: list[str] = []

        async def defective(*arguments: Any, **options: Any) -> Any:
            if len(met) < 2:
                met.append(call)
                raise LookupError("a defect")
            return await working(*arguments, **options)

        monkeypatch.setattr(running.store, call, defective)
        await running.store.expire(node=running.members[0].name)
        await asyncio.sleep(5)
        await running.balanced()
        assert len(met) == 2
        assert [member.node.ready() for member in running.members] == [{}, {}]


# -- what is told once, and lost


async def test_a_new_name_that_was_told_while_the_bus_was_away_is_shown_when_it_returns() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], [100])
        owner, other = await remote_to(running, 100)
        held = (await running.store.owners()).slots
        id = next(id for id in range(50, 500) if str(held[slot_of(user_key(id))][0]) == other.node.worker().id)
        person = Person(id=id, handle="rob", name="Rob")
        create = CreateAccount(account=id, kind="member", handle="rob", name="Rob")
        await other.node.ask(user_key(id), create, person)
        await ask(owner, say("words", post=100), person)

        running.broker.cut(owner.name)
        await other.node.ask(user_key(id), EditAccount(account=id, name="Robert"), person)
        running.broker.heal(owner.name)
        await asyncio.sleep(0.5)
        page = await ask(owner, ReadComments(post="100", order="oldest", limit=10))
        assert msgspec.json.decode(page.comments[0].comment)["author"]["name"] == "Robert"


async def test_an_owner_that_was_cut_off_tells_its_followers_what_they_should_have() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], [100])
        owner, other = await remote_to(running, 100)
        # Far from when slots move, and from when an interest is repeated anyway.
        await asyncio.sleep(2)
        sink = RecordingSink()
        attached = await other.node.attach(post_key(100), sink, None)
        sink.take(attached)
        await asyncio.sleep(0.5)
        running.broker.cut(owner.name)
        for number in range(5):
            await ask(owner, say(f"words {number}", post=100))
        await asyncio.sleep(0.5)
        running.broker.heal(owner.name)
        await asyncio.sleep(0.5)
        assert sink.offsets() == list(range(attached.offset + 1, attached.offset + 6))
