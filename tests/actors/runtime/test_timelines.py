"""Timelines with real actors, over a store in memory: whatever is done, a timeline shows what it should."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Literal, NamedTuple

import msgspec
import pytest

from actors.keys import post_key
from actors.policy import Policy
from actors.runtime import jobs
from actors.timelines import AWAY_MS
from protocol.commands import Command, CreatePost, DeletePost, Person, PublishPost
from protocol.graph import Block, Follow, Mute, Unblock, Unfollow, Unmute
from store.memory import Held, MemoryStore, ReplyLost, RequestLost
from store.rows import AccountRow, AlarmRow, BlockRow, FanoutRow, FollowRow, MuteRow, PostRow, UserStateRow
from tests.actors.runtime.rig import ANN, BOB, CID, Clock, Rig

Strategy = Literal["push", "pull", "hybrid", "adaptive"]
STRATEGIES: tuple[Strategy, ...] = ("push", "pull", "hybrid", "adaptive")
PEOPLE = [Person(id=id, handle=f"person{id}", name=f"Person {id}", role="author") for id in range(1, 7)]


def policy(strategy: Strategy, celebrity_followers: int = 3) -> Policy:
    return Policy(timelines=strategy, celebrity_followers=celebrity_followers)


class Shown(NamedTuple):
    posts: list[int]
    next: int | None
    """Where the next page begins."""


async def timeline(rig: Rig, reader: Person, *, limit: int = 100, before: int | None = None) -> Shown:
    page = await rig.node.timeline(reader.id, before=before, limit=limit)
    return Shown([int(post["id"]) for post in msgspec.json.decode(page.posts)], page.next)


async def shown(rig: Rig, reader: Person) -> list[int]:
    return (await timeline(rig, reader)).posts


async def post(rig: Rig, author: Person, *, draft: bool = False) -> int:
    id = rig.node.new_id()
    await rig.ask(CreatePost(post=str(id), title="A post", state="draft" if draft else "published"), author)
    return id


def follow(other: Person) -> Follow:
    return Follow(account=str(other.id))


def state_of(store: MemoryStore, person: Person) -> UserStateRow:
    return next(row for row in store.rows(UserStateRow) if row.user_id == person.id)


# -- publishing


async def test_a_post_is_in_the_timelines_of_followers_as_soon_as_it_is_published(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    rig.fault(Held("push", asyncio.Event()))
    id = await post(rig, ANN)
    assert (await shown(rig, BOB))[0] == id
    assert (await shown(rig, ANN))[0] == id
    assert await shown(rig, CID) == []


async def test_a_fan_out_that_was_interrupted_goes_on_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 2)
    clock = Clock()
    store = MemoryStore(clock)
    async with Rig.running(store=store, clock=clock, policy=policy("push")) as rig:
        await rig.account(*PEOPLE)
        for reader in PEOPLE[1:]:
            await rig.ask(follow(PEOPLE[0]), reader)
        await asyncio.sleep(60)
        rig.fault(Held("push", asyncio.Event(), at=store.calls["push"] + 2))
        id = await post(rig, PEOPLE[0])
        await asyncio.sleep(1)
        (job,) = store.rows(FanoutRow)
        assert job.after_follower == PEOPLE[2].id
    async with Rig.running(store=store, clock=clock, policy=policy("push"), seed=2) as rig:
        for reader in PEOPLE:
            assert await shown(rig, reader) == [id]
        await rig.fanned_out()
        assert [await shown(rig, reader) for reader in PEOPLE] == [[id]] * 6
        assert not [row for row in store.rows(AlarmRow) if row.actor == post_key(id)]


async def test_a_fan_out_whose_store_is_away_is_tried_again(rig: Rig) -> None:
    rig.store.faults.extend(RequestLost("push") for _ in range(3))
    id = await post(rig, ANN)
    await asyncio.sleep(200)
    assert rig.store.rows(FanoutRow) == []
    assert (await shown(rig, ANN))[0] == id


async def test_deleting_a_post_ends_its_fan_out(rig: Rig) -> None:
    await rig.ask(follow(ANN), BOB)
    await asyncio.sleep(10)
    arrived = asyncio.Event()
    rig.fault(Held("push", arrived))
    id = await post(rig, ANN)
    await asyncio.sleep(1)
    await rig.ask(DeletePost(post=str(id)), ANN)
    assert rig.store.rows(FanoutRow) == []
    arrived.set()
    await asyncio.sleep(60)
    assert id not in await shown(rig, BOB)
    assert rig.store.rows(FanoutRow) == []


async def test_what_an_author_has_published_is_counted(rig: Rig) -> None:
    before = state_of(rig.store, ANN)
    first, draft = await post(rig, ANN), await post(rig, ANN, draft=True)
    await rig.fanned_out()
    assert state_of(rig.store, ANN).posts == before.posts + 1
    await rig.ask(PublishPost(post=str(draft)), ANN)
    await rig.fanned_out()
    assert state_of(rig.store, ANN).posts == before.posts + 2
    assert state_of(rig.store, ANN).posting > before.posting
    await rig.ask(DeletePost(post=str(first)), ANN)
    await rig.fanned_out()
    assert state_of(rig.store, ANN).posts == before.posts + 1


# -- strategies


@asynccontextmanager
async def people(strategy: Strategy, celebrity_followers: int = 3) -> AsyncIterator[Rig]:
    clock = Clock()
    async with Rig.running(store=MemoryStore(clock), clock=clock, policy=policy(strategy, celebrity_followers)) as rig:
        await rig.account(*PEOPLE)
        yield rig


async def are_open(rig: Rig, author: Person) -> list[int]:
    """Followers whose edges are open, as a push would find them."""
    found = []
    after = 0
    while (follower := await rig.store.timelines.push(author.id, 1, after=after, limit=1)) is not None:
        found.append(follower)
        after = follower
    return found


async def test_push_opens_every_edge_and_pull_none() -> None:
    expected: tuple[tuple[Strategy, list[int]], ...] = (("push", [2, 3, 4, 5]), ("pull", []), ("hybrid", []))
    for strategy, open_ in expected:
        async with people(strategy) as rig:
            for reader in PEOPLE[1:5]:
                await rig.ask(follow(PEOPLE[0]), reader)
            await asyncio.sleep(60)
            assert await are_open(rig, PEOPLE[0]) == open_, strategy


async def test_a_celebrity_is_pulled_until_clearly_fewer_follow() -> None:
    author, readers = PEOPLE[0], PEOPLE[1:]
    async with people("hybrid", celebrity_followers=5) as rig:
        for reader in readers[:4]:
            await rig.ask(follow(author), reader)
        await asyncio.sleep(60)
        assert await are_open(rig, author) == [2, 3, 4, 5]
        await rig.ask(follow(author), readers[4])
        await asyncio.sleep(60)
        assert state_of(rig.store, author).celebrity
        assert await are_open(rig, author) == []
        await rig.ask(Unfollow(account=str(author.id)), readers[4])
        await asyncio.sleep(60)
        assert state_of(rig.store, author).celebrity
        await rig.ask(Unfollow(account=str(author.id)), readers[3])
        await asyncio.sleep(60)
        assert not state_of(rig.store, author).celebrity


async def test_adaptive_pushes_to_whom_comes_oftener_than_the_author_posts() -> None:
    author, often, seldom, never = PEOPLE[:4]
    async with people("adaptive", celebrity_followers=100) as rig:
        for reader in (often, seldom, never):
            await rig.ask(follow(author), reader)
        for _ in range(3):
            await post(rig, author)
        for _ in range(8):
            await shown(rig, often)
            await asyncio.sleep(61)
        await shown(rig, seldom)
        await asyncio.sleep(61)
        assert await are_open(rig, author) == [often.id]


async def test_adaptive_pushes_nothing_to_whom_is_away_and_shows_all_on_return() -> None:
    author, reader = PEOPLE[:2]
    async with people("adaptive", celebrity_followers=100) as rig:
        await rig.ask(follow(author), reader)
        written = [await post(rig, author)]
        await shown(rig, reader)
        await asyncio.sleep(10)
        await shown(rig, reader)
        await asyncio.sleep(100)
        await shown(rig, reader)
        await asyncio.sleep(10)
        assert await are_open(rig, author) == [reader.id]
        rig.clock.jump(AWAY_MS / 1000 + 1)
        await asyncio.sleep(120)
        assert await are_open(rig, author) == []
        written += [await post(rig, author), await post(rig, author)]
        await rig.fanned_out()
        assert await shown(rig, reader) == written[::-1]
        # Who comes back is one of those whom posts are pushed to again, as soon as that has paid.
        for _ in range(8):
            await asyncio.sleep(61)
            await shown(rig, reader)
        await asyncio.sleep(10)
        assert await are_open(rig, author) == [reader.id]
        assert await shown(rig, reader) == written[::-1]


# -- anything


def expected(store: MemoryStore, now_ms: int) -> dict[int, list[int]]:
    """The timeline of each person by brute force: every post of everyone, looked at one by one."""
    follows = {(row.follower, row.followee) for row in store.rows(FollowRow)}
    blocks = {pair for row in store.rows(BlockRow) for pair in ((row.blocker, row.blocked), (row.blocked, row.blocker))}
    mutes = {(row.muter, row.muted) for row in store.rows(MuteRow) if row.until_ms is None or row.until_ms > now_ms}
    active = {row.id for row in store.rows(AccountRow) if row.state == "active"}
    posts = sorted(
        (row for row in store.rows(PostRow) if row.state == "published"), key=lambda row: row.published_id, reverse=True
    )

    def belongs(author: int, reader: int) -> bool:
        pair = (reader, author)
        return author == reader or (pair in follows and pair not in blocks and pair not in mutes and author in active)

    return {reader.id: [row.id for row in posts if belongs(row.author_id or 0, reader.id)] for reader in PEOPLE}


class Story:
    """What some people do, with faults; ``rig`` is restarted now and then, by another strategy."""

    def __init__(self, random: Random, clock: Clock, store: MemoryStore) -> None:
        self.random = random
        self.clock = clock
        self.store = store
        self.rig: Rig

    async def run(self, steps: int) -> None:
        for chapter in range(4):
            chosen = policy(self.random.choice(STRATEGIES))
            async with Rig.running(store=self.store, clock=self.clock, policy=chosen, seed=chapter) as self.rig:
                if chapter == 0:
                    await self.rig.account(*PEOPLE)
                for _ in range(steps):
                    await self.step()
                    await self.check()
                self.rig.fault(self.random.choice((Held("push", asyncio.Event()), RequestLost("tend"))))
                await self.publish()
        async with Rig.running(store=self.store, clock=self.clock, policy=policy("hybrid"), seed=9) as self.rig:
            self.store.faults.clear()
            await asyncio.sleep(100)
            assert self.store.rows(FanoutRow) == []
            for reader in PEOPLE:
                await self.pages(reader)

    async def step(self) -> None:
        deeds = [self.publish] * 6 + [self.relate] * 8 + [self.read] * 4
        deeds += [self.delete, self.wait, self.wait, self.go_wrong, self.stay_away]
        await self.random.choice(deeds)()

    async def ask(self, command: Command, by: Person) -> None:
        """Whether it is done, refused or lost makes no difference here."""
        await self.rig.send(command, by).answer()

    async def publish(self) -> None:
        author = self.random.choice(PEOPLE)
        drafts = [row for row in self.store.rows(PostRow) if row.state == "draft"]
        if drafts and self.random.random() < 0.3:
            draft = self.random.choice(drafts)
            await self.ask(PublishPost(post=str(draft.id)), PEOPLE[(draft.author_id or 1) - 1])
            return
        state: Literal["draft", "published"] = "draft" if self.random.random() < 0.2 else "published"
        await self.ask(CreatePost(post=str(self.rig.node.new_id()), title="A post", state=state), author)

    async def delete(self) -> None:
        posts = [row for row in self.store.rows(PostRow) if row.state == "published"]
        if posts:
            row = self.random.choice(posts)
            await self.ask(DeletePost(post=str(row.id)), PEOPLE[(row.author_id or 1) - 1])

    async def relate(self) -> None:
        me, other = self.random.sample(PEOPLE, 2)
        kinds = [Follow] * 5 + [Unfollow, Block, Unblock, Unblock, Mute, Unmute]
        await self.ask(self.random.choice(kinds)(account=str(other.id)), me)

    async def read(self) -> None:
        await shown(self.rig, self.random.choice(PEOPLE))

    async def wait(self) -> None:
        await asyncio.sleep(self.random.choice((0.01, 1, 40)))

    async def stay_away(self) -> None:
        self.clock.jump(AWAY_MS / 1000 + 1)

    async def go_wrong(self) -> None:
        lost = self.random.choice((RequestLost, ReplyLost))
        self.rig.fault(lost(self.random.choice(("push", "tend", "close_edges", "commit"))))

    async def check(self) -> None:
        await self.pages(self.random.choice(PEOPLE))

    async def pages(self, reader: Person) -> None:
        limit = self.random.randint(1, 7)
        before = expected(self.store, self.store.now_ms())
        posts, next_ = await timeline(self.rig, reader, limit=limit)
        while next_ is not None:
            page, next_ = await timeline(self.rig, reader, limit=limit, before=next_)
            posts += page
        # What is on its way between actors may have arrived meanwhile.
        assert posts in (before[reader.id], expected(self.store, self.store.now_ms())[reader.id]), reader


@pytest.mark.parametrize("seed", range(12))
async def test_pages_put_together_are_a_timeline_by_brute_force_whatever_happened(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 2)
    monkeypatch.setattr(jobs, "ENTRIES_MAX", 6)
    clock = Clock()
    await Story(Random(seed), clock, MemoryStore(clock)).run(40)
