"""Live feeds bring the posts of those whom one follows, whatever is lost, in every strategy, from any cursor."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any, Literal

import pytest

from actors.keys import feed_key, user_key
from actors.policy import Policy
from actors.runtime import feeds
from actors.runtime.draining import DRAIN_POLL_S, SLOW_AFTER_S
from actors.runtime.feeds import SWEEP_S
from protocol.accounts import DeleteAccount
from protocol.commands import CreatePost, DeletePost, EditPost, Person, PublishPost
from protocol.cursor import Cursor, parse_cursor
from protocol.errors import Refused, Unavailable
from protocol.graph import Block, Follow, GraphCommand, Mute, RemoveFollower, Unblock, Unfollow, Unmute
from store.base import PostSummary
from store.feeds import Followed
from store.memory import Held, MemoryStore, RequestLost
from store.rows import FollowRow, PostRow, UserStateRow
from tests.actors.runtime.cluster_rig import Cluster, Member, ask, cluster
from tests.actors.runtime.rig import ANN, BOB, CID, MOD, POST, Clock, Rig
from tests.actors.runtime.sinks import PlainForm, RecordingSink

EPOCH = "memory:feed"
SOON_S = 0.1
"""Less than a sweep takes to come."""


class SharedForm(PlainForm):
    """Publications of which nobody can tell whose stream they are from."""

    names_stream = False


class Reader:
    """One who listens to a feed, as a client does: keeps the newest version of each post, and a cursor."""

    def __init__(self, person: Person = BOB, form: PlainForm | None = None) -> None:
        self.sink = RecordingSink(form, by=person)
        self.cursor = Cursor("", 0)
        self.recovered = False
        self.close: Any = None

    async def listen(self, node: Any, since: Cursor | None = None) -> "Reader":
        attached = await node.attach(feed_key(self.sink.by.id), self.sink, since)
        self.cursor, self.recovered = Cursor(attached.epoch, attached.offset), attached.recovered
        self.close = attached.subscription.close
        self.sink.take(attached)
        return self

    def position(self) -> Cursor:
        """From where it would go on if it were cut off now."""
        return Cursor(self.cursor.epoch, (self.sink.offsets() or [self.cursor.offset])[-1])

    def came(self) -> list[int]:
        return [int(change["post"]["id"]) for change in self.sink.of_type("post")]

    def shown(self) -> dict[int, str]:
        """Title of each post; a deleted one has none."""
        latest: dict[str, dict[str, Any]] = {}
        for change in self.sink.of_type("post"):
            before = latest.get(change["post"]["id"])
            if before is None or before["version"] <= change["post"]["version"]:
                latest[change["post"]["id"]] = change["post"]
        return {int(id): post["title"] for id, post in latest.items()}


async def listening(rig: Rig, person: Person = BOB, since: Cursor | None = None) -> Reader:
    return await Reader(person).listen(rig.node, since)


async def publish(rig: Rig, author: Person = ANN, title: str = "A post", **given: Any) -> int:
    id = rig.node.new_id()
    await rig.ask(CreatePost(post=str(id), title=title, **given), author)
    return id


async def publish_on(member: Member, author: Person = ANN, title: str = "A post") -> int:
    id = member.node.new_id()
    await ask(member, CreatePost(post=str(id), title=title), author)
    return id


async def tie(member: Member, command: GraphCommand, by: Person = BOB) -> None:
    await member.node.ask(user_key(by.id), command, by)


def follow(person: Person) -> Follow:
    return Follow(account=str(person.id))


async def swept() -> None:
    """Let two sweeps come by."""
    await asyncio.sleep(2 * SWEEP_S + SOON_S)


# -- live


async def test_a_post_comes_at_once_when_it_is_published_edited_or_deleted(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    reader, other = await listening(rig), await listening(rig, CID)
    id = await publish(rig)
    await asyncio.sleep(SOON_S)
    assert reader.shown() == {id: "A post"}
    await rig.ask(EditPost(post=str(id), title="Another title"), ANN)
    await asyncio.sleep(SOON_S)
    assert reader.shown() == {id: "Another title"}
    await rig.ask(DeletePost(post=str(id)), ANN)
    await swept()
    assert reader.shown() == {id: ""}
    assert [change["post"]["state"] for change in reader.sink.of_type("post")] == ["published", "published", "deleted"]
    assert other.came() == []
    assert rig.registry.get_sample_value("plaudit_feed_found_total") == 0


async def test_ones_own_posts_come_too_and_drafts_and_embedding_pages_do_not(rig: Rig) -> None:
    reader = await listening(rig, ANN)
    draft = await publish(rig, state="draft")
    await publish(rig, page_url="https://example.org/a")
    deleted = await publish(rig, state="draft")
    await rig.ask(DeletePost(post=str(deleted)), ANN)
    own = await publish(rig)
    await swept()
    assert reader.came() == [own]
    await rig.ask(PublishPost(post=str(draft)), ANN)
    await asyncio.sleep(SOON_S)
    assert reader.came() == [own, draft]


@pytest.mark.parametrize("strategy", ["push", "pull", "hybrid", "adaptive"])
async def test_posts_come_in_every_strategy_of_celebrities_too(
    strategy: Literal["push", "pull", "hybrid", "adaptive"],
) -> None:
    async with Rig.running(policy=Policy(timelines=strategy, celebrity_followers=2)) as rig:
        for person in (BOB, CID, MOD):
            await rig.ask(follow(ANN), person)
        await publish(rig)
        await rig.fanned_out()
        readers = [await listening(rig, person) for person in (BOB, CID, MOD)]
        id = await publish(rig)
        await asyncio.sleep(SOON_S)
        assert [reader.came() for reader in readers] == [[id]] * 3


async def test_a_feed_is_its_readers_own(rig: Rig) -> None:
    for by in (ANN, MOD, Person(id=0, handle="", name="", role="anonymous")):
        with pytest.raises(Refused) as refusal:
            await rig.node.attach(feed_key(BOB.id), RecordingSink(by=by), None)
        assert refusal.value.code == "permission_denied"
    with pytest.raises(Refused, match="nobody"):
        await rig.node.presence(feed_key(BOB.id))


async def test_a_publication_is_encoded_once_for_all_if_it_names_no_stream(rig: Rig) -> None:
    shared, named = SharedForm(), PlainForm()
    for person in (BOB, CID, MOD):
        await rig.ask(follow(ANN), person)
        for form in (shared, shared, named, named):
            await Reader(person, form).listen(rig.node)
    await publish(rig)
    await swept()
    assert (shared.encoded, named.encoded) == (1, 3)


async def test_what_nobody_listens_to_any_more_is_forgotten(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    first, second = await listening(rig), await listening(rig)
    assert rig.registry.get_sample_value("plaudit_feeds") == 1
    first.close()
    first.close()
    id = await publish(rig)
    await swept()
    assert (first.came(), second.came()) == ([], [id])
    second.close()
    assert rig.registry.get_sample_value("plaudit_feeds") == 0
    calls = rig.store.calls["swept"]
    await publish(rig)
    await asyncio.sleep(10 * SWEEP_S)
    assert rig.store.calls["swept"] <= calls + 1
    again = await listening(rig)
    await swept()
    assert again.came() == []


# -- whom one follows


async def test_whom_one_follows_now_comes_and_whom_one_hides_does_not_any_more(rig: Rig) -> None:
    reader = await listening(rig)
    for showing, hiding in (
        (Follow(account="1"), Unfollow(account="1")),
        (Follow(account="1"), Mute(account="1")),
        (Unmute(account="1"), Block(account="1")),
    ):
        await rig.ask(showing, BOB)
        id = await publish(rig)
        await asyncio.sleep(SOON_S)
        assert reader.came()[-1:] == [id], showing
        await rig.ask(hiding, BOB)
        await publish(rig)
        await swept()
        assert reader.came()[-1:] == [id], hiding
    await rig.ask(Unblock(account="1"), BOB)
    await rig.ask(follow(ANN), BOB)
    id = await publish(rig)
    for dropping in (RemoveFollower(account=str(BOB.id)), Block(account=str(BOB.id))):
        await rig.ask(dropping, ANN)
        await rig.fanned_out()
        await publish(rig)
        await swept()
        assert reader.came()[-1:] == [id], dropping
        await rig.ask(Unblock(account=str(BOB.id)), ANN)
        await rig.ask(follow(ANN), BOB)
        id = await publish(rig)
        await swept()
        assert reader.came()[-1:] == [id]
    assert len(set(reader.came())) == len(reader.came())


async def test_every_change_of_whom_one_follows_is_counted_and_nothing_else_is(rig: Rig) -> None:
    def ties() -> int:
        return next((row.ties for row in rig.store.rows(UserStateRow) if row.user_id == BOB.id), 0)

    assert ties() == 0
    changes = (follow(ANN), Mute(account="1"), Unmute(account="1"), Unfollow(account="1"), Block(account="1"))
    for count, change in enumerate((*changes, Unblock(account="1")), 1):
        # To follow once more may be a change: see ``TIES``.
        for _ in range(1 if isinstance(change, Follow) else 2):
            await rig.ask(change, BOB)
        await rig.ask(follow(BOB), CID)
        await rig.ask(Unfollow(account=str(BOB.id)), CID)
        await rig.fanned_out()
        assert ties() == count, change


async def test_who_is_blocked_gets_no_more_posts_before_the_edge_has_ended(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    reader = await listening(rig)
    await asyncio.sleep(SOON_S)
    ends = asyncio.Event()
    rig.fault(Held("relations", ends, at=rig.store.calls["relations"] + 2))
    await rig.ask(Block(account=str(BOB.id)), ANN)
    await asyncio.sleep(SOON_S)
    await publish(rig)
    await swept()
    assert rig.store.rows(FollowRow)
    assert reader.came() == []
    ends.set()


async def test_who_follows_again_after_a_block_gets_posts_before_the_edge_of_old_has_ended(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.ask(follow(ANN), BOB)
    reader = await listening(rig)
    outbox, on_their_way = rig.node._outbox, list[Any]()
    deliver = outbox._deliver
    monkeypatch.setattr(outbox, "_deliver", lambda *delivery: on_their_way.append(delivery))
    await rig.ask(Block(account=str(BOB.id)), ANN)
    await swept()
    await rig.ask(Unblock(account=str(BOB.id)), ANN)
    await rig.ask(follow(ANN), BOB)
    monkeypatch.undo()
    for delivery in on_their_way:
        deliver(*delivery)
    await swept()
    id = await publish(rig)
    await swept()
    assert reader.came() == [id]


async def test_a_mute_that_ends_brings_posts_again(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    await rig.ask(Mute(account="1", until=int(rig.clock() * 1000) + 30_000), BOB)
    reader = await listening(rig)
    await publish(rig)
    await swept()
    assert reader.came() == []
    await asyncio.sleep(30)
    id = await publish(rig)
    await asyncio.sleep(SOON_S)
    assert reader.came() == [id]


async def test_a_mute_ends_by_the_clock_of_the_store_not_of_the_worker() -> None:
    late = Clock()
    store = MemoryStore(lambda: late() + 3_600)
    async with Rig.running(store=store, clock=late) as rig:
        await rig.account(ANN, BOB)
        await rig.ask(follow(ANN), BOB)
        await rig.ask(Mute(account="1", until=store.now_ms() + 10_000), BOB)
        reader = await listening(rig)
        await asyncio.sleep(10)
        id = await publish(rig)
        await swept()
        assert reader.came() == [id]


async def test_who_has_deleted_the_account_comes_no_more(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    id = await publish(rig)
    reader = await listening(rig)
    await rig.ask(DeleteAccount(account=ANN.id), ANN)
    await asyncio.sleep(10)
    again = await listening(rig, since=reader.position())
    assert (reader.came(), again.came(), again.recovered) == ([], [], True)
    assert id in {row.id for row in rig.store.rows(PostRow)}


# -- resuming


async def test_what_was_missed_comes_first_after_any_absence(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    kept, edited, deleted = [await publish(rig) for _ in range(3)]
    reader = await listening(rig)
    reader.close()
    await rig.ask(EditPost(post=str(edited), title="Another title"), ANN)
    await rig.ask(DeletePost(post=str(deleted)), ANN)
    await publish(rig, CID)
    new = await publish(rig)
    await asyncio.sleep(3600)
    again = await listening(rig, since=reader.position())
    assert again.recovered
    assert again.shown() == {edited: "Another title", deleted: "", new: "A post"}
    assert kept not in again.came()
    offsets = again.sink.offsets()
    assert offsets == sorted(offsets)
    live = await publish(rig)
    await asyncio.sleep(SOON_S)
    assert again.came()[-1] == live


async def test_the_cursor_of_a_timeline_s_page_goes_on_from_that_page(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    page = await rig.node.timeline(BOB.id, before=None, limit=10)
    id = await publish(rig)
    reader = await listening(rig, since=parse_cursor(page.cursor))
    assert (reader.recovered, reader.came()) == (True, [id])


async def test_who_was_followed_while_one_was_away_brings_the_newest_posts(rig: Rig) -> None:
    reader = await listening(rig)
    reader.close()
    await rig.ask(follow(ANN), BOB)
    assert (await listening(rig, since=reader.position())).came() == [POST]
    await rig.ask(Mute(account="1"), BOB)
    assert (await listening(rig, since=reader.position())).came() == []


async def test_many_pages_are_sent_in_order_and_then_what_is_live(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "PAGE_BYTES", 8_000)
    await rig.ask(follow(ANN), BOB)
    before = await listening(rig)
    before.close()
    missed = [await publish(rig) for _ in range(150)]
    reader = await listening(rig, since=before.position())
    assert 0 < len(reader.came()) < 150
    live = await publish(rig)
    await asyncio.sleep(SOON_S)
    assert list(dict.fromkeys(reader.came())) == [*missed, live]


async def test_a_cursor_that_is_none_of_this_feed_is_not_gone_on_from(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    now = (await listening(rig)).position()
    await publish(rig)
    await swept()
    for since in (Cursor("foreign:feed", 1), Cursor(f"{EPOCH}:2", 1), Cursor("", 0), Cursor(EPOCH, now.offset + 100)):
        reader = await listening(rig, since=since)
        assert (reader.recovered, reader.came()) == (False, [])
        assert reader.cursor.epoch == EPOCH
        assert reader.cursor.offset > now.offset


async def test_history_has_the_same_pages(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    key = feed_key(BOB.id)
    start = (await rig.node.changes(key, None, 0)).cursor
    posts = [await publish(rig) for _ in range(3)]
    first = await rig.node.changes(key, start, 2)
    second = await rig.node.changes(key, first.cursor, 2)
    assert (first.recovered, first.more, len(first.items)) == (True, True, 2)
    assert (second.recovered, second.more, len(second.items)) == (True, False, 1)
    assert str(posts[2]).encode() in second.items[0].data
    assert not (await rig.node.changes(key, Cursor("foreign", 1), 2)).recovered


async def test_a_feed_goes_on_after_a_restart() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with Rig.running(store=store, clock=clock) as rig:
        await rig.account(ANN, BOB)
        await rig.ask(follow(ANN), BOB)
        reader = await listening(rig)
        first = await publish(rig)
        await asyncio.sleep(SOON_S)
        position = reader.position()
        unseen = await publish(rig)
    async with Rig.running(store=store, clock=clock, seed=2) as rig:
        again = await listening(rig, since=position)
        assert again.recovered
        assert {unseen} <= set(again.came()) <= {first, unseen}
        live = await publish(rig)
        await asyncio.sleep(SOON_S)
        assert again.came()[-1] == live


# -- sockets that are slow


async def test_a_slow_socket_holds_up_nobody_and_gets_what_it_missed(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    slow, fast = await listening(rig), await listening(rig)
    slow.sink.stall()
    posts = [await publish(rig) for _ in range(5)]
    await swept()
    assert fast.came() == posts
    # The first of them showed that it is slow.
    assert slow.came() == posts[:1]
    slow.sink.drain()
    await asyncio.sleep(2 * DRAIN_POLL_S)
    assert slow.came()[1:] == posts
    posts.append(await publish(rig))
    await asyncio.sleep(SOON_S)
    assert slow.came()[1:] == fast.came() == posts


async def test_a_socket_that_takes_nothing_is_closed(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    reader = await listening(rig)
    reader.sink.stall()
    await publish(rig)
    await asyncio.sleep(SLOW_AFTER_S + 1)
    assert reader.sink.closed is not None
    assert reader.sink.closed[0] == 3008


# -- what is lost


async def test_a_store_that_is_away_delays_a_feed_and_loses_nothing(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    await rig.ask(follow(CID), BOB)
    reader = await listening(rig)
    for method in ("summaries", "swept", "followed"):
        rig.store.faults.extend(RequestLost(method) for _ in range(3))
        await rig.ask(Mute(account=str(CID.id)), BOB)
        id = await publish(rig)
        await asyncio.sleep(10 * SWEEP_S)
        assert reader.came()[-1] == id
        await rig.ask(Unmute(account=str(CID.id)), BOB)
        rig.store.faults.extend(RequestLost(method) for _ in range(3))
        id = await publish(rig, CID)
        await asyncio.sleep(10 * SWEEP_S)
        assert reader.came()[-1] == id
    rig.store.faults.clear()
    for method in ("summaries", "missed", "followed"):
        rig.fault(RequestLost(method))
        before = Cursor(EPOCH, 0)
        with pytest.raises(Unavailable):
            await listening(rig, since=before)
        assert rig.registry.get_sample_value("plaudit_feeds") == 1


async def test_what_is_committed_while_a_feed_opens_or_a_sweep_reads_comes(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    for method in ("followed", "swept", "summaries"):
        reader = await listening(rig)
        until = asyncio.Event()
        if method != "followed":
            rig.fault(Held(method, until, at=rig.store.calls[method] + 1))
            await asyncio.sleep(SWEEP_S + SOON_S if method == "swept" else 0)
        first = await publish(rig)
        if method == "followed":
            rig.fault(Held(method, until, at=rig.store.calls[method] + 1))
        opening = asyncio.create_task(listening(rig, since=reader.position()))
        await rig.settle()
        second = await publish(rig)
        until.set()
        opened = await opening
        await swept()
        assert {first, second} <= set(reader.came()), method
        assert {first, second} <= set(opened.came()), method


async def test_who_comes_between_a_sweep_s_read_and_its_end_lacks_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.ask(follow(ANN), CID)
    reader = await listening(rig)
    followed, answered, shown = rig.store.feeds.followed, asyncio.Event(), asyncio.Event()

    async def followed_late(readers: Sequence[int]) -> tuple[int, dict[int, Followed]]:
        found = await followed(readers)
        await answered.wait()
        return found

    monkeypatch.setattr(rig.store.feeds, "followed", followed_late)
    opening = asyncio.create_task(listening(rig, CID))
    await rig.settle()
    unheard = await publish(rig)
    rig.fault(RequestLost("summaries"))
    own = await publish(rig, BOB)
    await rig.settle()
    rig.fault(Held("summaries", shown))
    await asyncio.sleep(SWEEP_S + feeds.RETRY_S)
    answered.set()
    opened = await opening
    shown.set()
    await swept()
    assert (reader.came(), opened.came()) == ([own], [unheard])


async def test_what_was_read_for_those_who_have_left_is_not_told_to_who_comes_after_them(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.ask(follow(ANN), BOB)
    reader = await listening(rig)
    summaries, shown = rig.store.summaries, asyncio.Event()

    async def summaries_late(ids: Sequence[int]) -> list[PostSummary]:
        found = await summaries(ids)
        await shown.wait()
        return found

    monkeypatch.setattr(rig.store, "summaries", summaries_late)
    id = await publish(rig)
    await rig.settle()
    monkeypatch.undo()
    reader.close()
    await rig.ask(DeletePost(post=str(id)), ANN)
    opened = await listening(rig)
    shown.set()
    await swept()
    assert opened.came() == []


# -- several workers


async def feeds_on_all(running: Cluster, person: Person = BOB) -> list[Reader]:
    return [await Reader(person).listen(member.node) for member in running.members]


async def test_a_post_comes_at_once_on_every_worker_whoever_committed_it() -> None:
    async with cluster(3) as running:
        await tie(running.members[0], follow(ANN))
        readers = await feeds_on_all(running)
        posts = [await publish_on(member) for member in running.members for _ in range(3)]
        await asyncio.sleep(SOON_S)
        assert [Counter(reader.came()) for reader in readers] == [Counter(posts)] * 3
        await swept()
        assert [Counter(reader.came()) for reader in readers] == [Counter(posts)] * 3
        assert sum(member.figure("plaudit_feed_found_total") for member in running.members) == 0


async def test_what_no_hint_told_of_a_sweep_delivers() -> None:
    async with cluster(2) as running:
        await tie(running.members[0], follow(ANN))
        readers = await feeds_on_all(running)
        running.broker.route = lambda *_: ()
        posts = [await publish_somewhere(running) for _ in range(8)]
        await swept()
        assert [Counter(reader.came()) for reader in readers] == [Counter(posts)] * 2
        assert sum(member.figure("plaudit_feed_found_total") for member in running.members) == len(posts)


async def test_a_worker_that_was_cut_off_sweeps_as_soon_as_it_is_back() -> None:
    async with cluster(2) as running:
        await tie(running.members[0], follow(ANN))
        cut, other = running.members
        reader = await Reader().listen(cut.node)
        await asyncio.sleep(SOON_S)
        running.broker.cut(cut.name)
        id = other.node.new_id()
        while await running.owner_of(id) is not other:
            id = other.node.new_id()
        await ask(other, CreatePost(post=str(id), title="A post"), ANN)
        running.broker.heal(cut.name)
        await asyncio.sleep(SOON_S)
        assert reader.came() == [id]
        assert cut.figure("plaudit_feed_found_total") == 1


async def test_who_is_followed_blocked_or_muted_on_another_worker_is_known_soon_though_no_hint_arrives() -> None:
    async with cluster(2) as running:
        readers = await feeds_on_all(running)
        for lost in (False, True):
            for showing, hiding in ((follow(ANN), Mute(account="1")), (Unmute(account="1"), Unfollow(account="1"))):
                await tie(running.members[0], showing)
                if lost:
                    running.broker.route = lambda *_: ()
                    await swept()
                posts = [await publish_somewhere(running)]
                await swept()
                assert [reader.came()[-1:] for reader in readers] == [posts] * 2
                running.broker.route = lambda *_: (0.0,)
                await tie(running.members[1], hiding)
                await swept()
                await publish_somewhere(running)
                await swept()
                assert [reader.came()[-1:] for reader in readers] == [posts] * 2


async def publish_somewhere(running: Cluster, author: Person = ANN) -> int:
    """By whichever worker can: one that owns the post needs no other for it."""
    id = running.members[0].node.new_id()
    while True:
        for member in running.members:
            with suppress(Unavailable):
                await ask(member, CreatePost(post=str(id), title="A post"), author, op=str(id))
                return id


@pytest.mark.parametrize("seed", range(6))
async def test_no_follower_misses_a_post_over_a_bus_that_loses_and_delays(seed: int) -> None:
    rng = Random(seed)
    people = [ANN, BOB, CID, MOD]
    async with cluster(2) as running:
        for reader in people:
            for other in people:
                if other is not reader and rng.random() < 0.6:
                    await tie(running.members[0], follow(other), reader)
        following = {person.id: {person.id} for person in people}
        for row in running.store.rows(FollowRow):
            following[row.follower].add(row.followee)
        running.broker.route = lambda *_: () if rng.random() < 0.3 else (rng.random() * 0.5,)
        listeners = {person.id: await Reader(person).listen(rng.choice(running.members).node) for person in people}
        seen: dict[int, set[int]] = {person.id: set() for person in people}
        posts: dict[int, int] = {}
        for _ in range(60):
            person = rng.choice(people)
            if rng.random() < 0.4:
                # Cut off, and back on any worker.
                listener = listeners[person.id]
                listener.close()
                seen[person.id].update(listener.came())
                await asyncio.sleep(rng.random())
                node = rng.choice(running.members).node
                listeners[person.id] = await Reader(person).listen(node, listener.position())
                assert listeners[person.id].recovered
            else:
                posts[await publish_somewhere(running, person)] = person.id
            await asyncio.sleep(rng.random() * 0.3)
        running.broker.route = lambda *_: (0.0,)
        await swept()
        for person in people:
            came = seen[person.id] | set(listeners[person.id].came())
            assert came - {POST} == {id for id, author in posts.items() if author in following[person.id]}, person
