"""What an actor shows has another face whenever an answer may be another; it shows it once all is durable."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from actors.keys import post_key
from actors.runtime.registry import IDLE_S
from protocol.accounts import EditAccount
from protocol.commands import EditPost, ReadComments, ReadPost, View
from protocol.errors import Refused
from tests.actors.runtime.cluster_rig import cluster, make_posts
from tests.actors.runtime.rig import ANN, BOB, CID, POST, Rig, delete, edit, react, read, say
from tests.actors.runtime.sinks import RecordingSink

KEY = post_key(POST)
READ = ReadPost.method


async def watch(rig: Rig) -> None:
    await rig.node.attach(KEY, RecordingSink(), None)


CHANGES: dict[str, Callable[[Rig], Awaitable[object]]] = {
    "comment": lambda rig: rig.ask(say("hello"), BOB),
    "edit": lambda rig: rig.ask(edit("1", "other"), BOB),
    "deletion": lambda rig: rig.ask(delete("1"), BOB),
    "reaction": lambda rig: rig.ask(react(), CID),
    "reaction to a comment": lambda rig: rig.ask(react(comment="1"), CID),
    "edit of the post": lambda rig: rig.ask(EditPost(post=str(POST), title="Another"), ANN),
    "view": lambda rig: rig.ask(View(post=str(POST)), CID),
    "name of somebody": lambda rig: rig.ask(EditAccount(account=BOB.id, name="Robert"), BOB),
    "watcher": watch,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
async def test_whatever_changes_an_answer_changes_the_face(
    rig: Rig, change: Callable[[Rig], Awaitable[object]]
) -> None:
    await rig.ask(say("first"), BOB)
    before = rig.node.face(KEY)
    assert before is not None

    await change(rig)
    await rig.settle()

    assert rig.node.face(KEY) is not before
    assert not rig.node.shows(KEY, before, READ)


async def test_reads_and_refusals_leave_the_face_as_it_is(rig: Rig) -> None:
    await rig.ask(say("first"), BOB)
    before = rig.node.face(KEY)

    await rig.ask(ReadComments(post=str(POST)), CID)
    await rig.ask(read("1"), CID)
    await rig.read_post()
    with pytest.raises(Refused):
        await rig.ask(edit("1", "not mine"), CID)

    assert rig.node.face(KEY) is before
    assert rig.node.shows(KEY, before, READ)


async def test_what_is_not_durable_is_not_shown(rig: Rig) -> None:
    await asyncio.sleep(IDLE_S / 3)
    go = rig.hold()
    before = rig.node.face(KEY)
    write = rig.send(react())
    await rig.settle()
    pending = rig.node.face(KEY)
    assert pending not in (None, before)
    assert not rig.node.shows(KEY, before, READ)
    assert not rig.node.shows(KEY, pending, READ)

    go.set()
    await write.answer()

    assert rig.node.face(KEY) is pending
    assert rig.node.shows(KEY, pending, READ)


async def test_an_actor_that_is_loaded_anew_has_another_face(rig: Rig) -> None:
    before = rig.node.face(KEY)
    await asyncio.sleep(IDLE_S * 2)
    assert rig.node.face(KEY) is None

    await rig.read_post()

    assert rig.node.face(KEY) not in (None, before)


async def test_what_is_answered_without_asking_counts_as_asked(rig: Rig) -> None:
    counted = rig.registry.get_sample_value("plaudit_commands_total", {"method": READ}) or 0
    # What followed its publication is done by then.
    await asyncio.sleep(IDLE_S / 3)
    face = rig.node.face(KEY)
    # Longer than an actor is kept that nobody asks.
    for _ in range(10):
        await asyncio.sleep(IDLE_S / 3)
        assert rig.node.shows(KEY, face, READ)

    assert rig.registry.get_sample_value("plaudit_commands_total", {"method": READ}) == counted + 10


async def test_a_worker_shows_no_face_while_its_lease_is_not_trusted(rig: Rig) -> None:
    face = rig.node.face(KEY)
    rig.monotonic.pause(60)
    assert rig.node.face(KEY) is None
    assert not rig.node.shows(KEY, face, READ)


async def test_only_the_owner_knows_the_face() -> None:
    async with cluster(2) as running:
        await make_posts(running.members[0], [POST])
        # What followed its publication is done by then.
        await asyncio.sleep(IDLE_S / 3)
        owner = await running.owner_of(POST)
        assert [member for member in running.members if member.node.face(KEY) is not None] == [owner]
