"""Timelines, over every store: what pages show, whatever was done before, in whatever order, and left half done."""

from random import Random
from typing import Any

import pytest

from store.base import Store
from store.rows import FanoutRow, PostRow, Row
from store.timelines import PLACE_MAX, Page, Strategy, Tended, Wishes
from tests.store.samples import (
    NOW_MS,
    Deleted,
    Writer,
    account,
    block,
    follow,
    mute,
    post,
    reaction,
    state,
    user_state,
    views,
)

ME, ANN, BOB, CID = 1, 2, 3, 4
STRATEGIES: tuple[Strategy, ...] = ("push", "pull", "hybrid", "adaptive")


def wishes(strategy: Strategy = "push", **changed: Any) -> Wishes:
    return Wishes(**{"strategy": strategy, "here": True, "reading": 0, "margin": 0, **changed})


def posted(place: int, author: int = ANN, **changed: Any) -> list[Row]:
    """A post with its state, published under its own id."""
    id = changed.pop("id", place)
    return [post(id, author_id=author, published_id=place, **changed), state(id)]


def job(place: int, author: int = ANN, **changed: Any) -> FanoutRow:
    return FanoutRow(**{"post_id": place, "author_id": author, "published_id": place, **changed})


async def people(store: Store, *rows: Row) -> Writer:
    """Four people, and what else is written in the beginning."""
    writer = await Writer.of(store)
    await writer.write(*(account(id) for id in (ME, ANN, BOB, CID)), *rows)
    return writer


def places(page: Page) -> list[int]:
    return [listed.place for listed in page.listed]


async def shown(store: Store, reader: int = ME, *, limit: int = 100, below: int = PLACE_MAX) -> list[int]:
    return places(await store.timelines.page(reader, below=below, limit=limit))


async def settle(store: Store, wanted: Wishes, reader: int = ME, **bounds: int) -> Tended:
    """Tend until nothing is unfinished."""
    while (tended := await store.timelines.tend(reader, wanted, **bounds)).unfinished:
        pass
    return tended


# -- pages


async def test_a_timeline_shows_ones_own_posts_and_those_of_whom_one_follows_newest_first(store: Store) -> None:
    await people(store, *posted(11), *posted(12, BOB), *posted(13, ME), *posted(14), follow(ME, ANN))
    assert await shown(store) == [14, 13, 11]


async def test_a_page_goes_on_below_the_last_place_of_the_one_before(store: Store) -> None:
    await people(store, *(row for place in range(11, 18) for row in posted(place)), follow(ME, ANN))
    assert await shown(store, limit=3) == [17, 16, 15]
    assert await shown(store, limit=3, below=15) == [14, 13, 12]
    assert await shown(store, limit=3, below=12) == [11]
    assert await shown(store, limit=3, below=11) == []


async def test_drafts_deleted_posts_and_embedding_pages_are_not_shown(store: Store) -> None:
    await people(
        store,
        *posted(11, state="draft", published_ms=None),
        *posted(12, state="deleted"),
        *posted(13, page_url="https://example.org/a"),
        *posted(14),
        follow(ME, ANN),
    )
    assert await shown(store) == [14]
    assert places(await store.timelines.posts_of(ANN, reader=ME, limit=10)) == [14]


async def test_a_post_stands_where_it_was_published_not_where_it_was_begun(store: Store) -> None:
    await people(store, *posted(12), *posted(20, id=11), follow(ME, ANN))
    page = await store.timelines.page(ME, limit=10)
    assert [(listed.place, listed.post_id) for listed in page.listed] == [(20, 11), (12, 12)]


@pytest.mark.parametrize("pushed", [False, True])
async def test_blocked_muted_unfollowed_and_deleted_people_are_hidden_at_once(store: Store, pushed: bool) -> None:
    writer = await people(store, *posted(11), *posted(12, BOB), follow(ME, ANN), follow(ME, BOB))
    if pushed:
        await settle(store, wishes())
    for hiding, showing in (
        (block(ME, ANN), Deleted(block(ME, ANN))),
        (block(ANN, ME), Deleted(block(ANN, ME))),
        (mute(ME, ANN), Deleted(mute(ME, ANN))),
        (mute(ME, ANN, until_ms=10 * NOW_MS), mute(ME, ANN, until_ms=1)),
        (account(ANN, state="erasing"), account(ANN)),
        (Deleted(follow(ME, ANN)), follow(ME, ANN)),
    ):
        await writer.write(hiding)
        assert await shown(store, limit=1) == [12], hiding
        assert await shown(store) == [12], hiding
        await writer.write(showing)
        assert await shown(store) == [12, 11], showing


async def test_what_is_hidden_does_not_make_a_page_shorter(store: Store) -> None:
    own = (row for place in range(11, 20) for row in posted(place, BOB if place % 3 else ANN))
    writer = await people(store, *own, follow(ME, ANN), follow(ME, BOB))
    await settle(store, wishes())
    await writer.write(mute(ME, BOB))
    assert await shown(store, limit=2) == [18, 15]


async def test_a_page_tells_the_state_of_each_post_and_what_the_reader_gave_it(store: Store) -> None:
    await people(
        store,
        post(11, author_id=ANN, published_id=11, changed_offset=3),
        state(11, version=9),
        views(11),
        account(ANN, version=5),
        reaction(ME, post_id=11),
        reaction(ME, post_id=11, kind="laugh", amount=0),
        reaction(ME, post_id=11, kind="applause", amount=7),
        reaction(BOB, post_id=11, kind="love"),
        follow(ME, ANN),
    )
    (listed,) = (await store.timelines.page(ME, limit=10, kinds=["like", "laugh", "love", "applause"])).listed
    assert listed == (11, 11, 3, 5, 9, 3, 2, {"like": 1, "applause": 7}, False)
    assert (await store.timelines.posts_of(ANN, reader=ME, limit=1, kinds=["love"])).listed == [
        listed._replace(mine={})
    ]


async def test_an_authors_posts_are_not_shown_across_a_block(store: Store) -> None:
    writer = await people(store, *posted(11))
    for hiding in (block(ME, ANN), block(ANN, ME)):
        await writer.write(hiding)
        assert places(await store.timelines.posts_of(ANN, reader=ME, limit=1)) == []
        assert places(await store.timelines.posts_of(ANN, reader=0, limit=1)) == [11]
        await writer.write(Deleted(hiding))
    assert places(await store.timelines.posts_of(ANN, reader=ME, limit=1)) == [11]
    assert places(await store.timelines.posts_of(ANN, reader=ME, limit=1, below=11)) == []


async def test_the_horizon_is_not_beyond_what_a_page_cannot_show_yet(store: Store) -> None:
    writer = await people(store, follow(ME, ANN))
    before = (await store.timelines.page(ME, limit=1)).horizon
    await writer.write(*posted(11))
    assert (await store.timelines.page(ME, limit=1)).horizon > before


# -- fan-out


async def test_a_fan_out_goes_in_chunks_to_the_followers_whose_edges_are_open(store: Store) -> None:
    writer = await people(store, *(follow(id, ANN) for id in (ME, BOB, CID)))
    for reader in (ME, CID):
        await settle(store, wishes(), reader)
    await writer.write(*posted(11), job(11))
    assert await store.timelines.push(ANN, 11, after=0, limit=1) == ME
    assert await store.timelines.push(ANN, 11, after=ME, limit=1) == CID
    assert await store.timelines.push(ANN, 11, after=CID, limit=1) is None
    await writer.write(Deleted(job(11)))
    assert [await shown(store, id) for id in (ME, BOB, CID)] == [[11]] * 3


async def test_while_a_fan_out_goes_on_every_follower_sees_its_post_once(store: Store) -> None:
    writer = await people(store, *(follow(id, ANN) for id in (ME, BOB)))
    for reader in (ME, BOB):
        await settle(store, wishes(), reader)
    await writer.write(*posted(11), job(11))
    assert [await shown(store, id) for id in (ME, BOB, CID)] == [[11], [11], []]
    await store.timelines.push(ANN, 11, after=0, limit=1)
    assert [await shown(store, id) for id in (ME, BOB, CID)] == [[11], [11], []]


async def test_a_post_pushed_while_an_edge_opens_is_there_when_it_is_open(store: Store) -> None:
    writer = await people(store, *posted(11), follow(ME, ANN))
    assert await store.timelines.tend(ME, wishes()) == Tended(unfinished=True, open=True)
    await writer.write(*posted(12), job(12))
    await store.timelines.push(ANN, 12, after=0, limit=10)
    await writer.write(Deleted(job(12)))
    assert await shown(store) == [12, 11]
    assert await store.timelines.tend(ME, wishes()) == Tended(unfinished=False, open=True)
    assert await shown(store) == [12, 11]


async def test_a_post_whose_fan_out_was_over_before_an_edge_opened_is_copied(store: Store) -> None:
    writer = await people(store, follow(ME, ANN))
    await writer.write(*posted(12), job(12))
    assert await store.timelines.push(ANN, 12, after=0, limit=10) is None
    await store.timelines.tend(ME, wishes())
    await writer.write(Deleted(job(12)))
    await settle(store, wishes())
    assert await shown(store) == [12]


# -- edges


async def test_strategies_open_and_close_edges(store: Store) -> None:
    await people(
        store,
        *(follow(ME, id) for id in (ANN, BOB, CID)),
        user_state(ANN, celebrity=True),
        user_state(BOB, posting=50),
        user_state(CID, posting=30),
    )

    async def pushed() -> list[int]:
        return [id for id in (ANN, BOB, CID) if await store.timelines.push(id, id, after=0, limit=1) == ME]

    for wanted, expected in (
        (wishes("push"), [ANN, BOB, CID]),
        (wishes("hybrid"), [BOB, CID]),
        (wishes("pull"), []),
        (wishes("adaptive", reading=40), [CID]),
        (wishes("adaptive", reading=51), [BOB, CID]),
        (wishes("adaptive", reading=45, margin=10), [BOB, CID]),
        (wishes("adaptive", reading=35, margin=10), [CID]),
        (wishes("adaptive", reading=90, here=False), []),
    ):
        tended = await settle(store, wanted)
        assert (await pushed(), tended.open) == (expected, bool(expected)), wanted


async def test_the_edges_of_an_author_are_closed_in_chunks(store: Store) -> None:
    await people(store, *posted(11), *(follow(id, ANN) for id in (ME, BOB, CID)))
    for reader in (ME, BOB, CID):
        await settle(store, wishes(), reader)
    assert await store.timelines.close_edges(ANN, limit=2)
    assert not await store.timelines.close_edges(ANN, limit=2)
    assert await store.timelines.push(ANN, 11, after=0, limit=1) is None
    assert [await shown(store, id) for id in (ME, BOB, CID)] == [[11]] * 3


async def test_edges_open_some_at_a_time(store: Store) -> None:
    await people(store, *(follow(ME, id) for id in (ANN, BOB, CID)))
    steps = [(await store.timelines.tend(ME, wishes(), edges_max=2)).unfinished for _ in range(3)]
    assert steps == [True, True, False]


async def test_who_follows_anew_sees_what_was_posted_in_between(store: Store) -> None:
    writer = await people(store, follow(ME, ANN))
    await settle(store, wishes())
    await writer.write(Deleted(follow(ME, ANN)))
    await writer.write(*posted(11))
    await store.timelines.push(ANN, 11, after=0, limit=10)
    await writer.write(follow(ME, ANN))
    assert await shown(store) == [11]
    await settle(store, wishes())
    assert await shown(store) == [11]


# -- the floor


async def test_below_the_floor_reading_goes_on(store: Store) -> None:
    everything = range(11, 31)
    await people(
        store,
        *(row for place in everything for row in posted(place, ANN if place % 2 else BOB)),
        *(follow(ME, id) for id in (ANN, BOB)),
    )
    await settle(store, wishes(), entries_max=6)
    assert await shown(store) == [*reversed(everything)]
    for below in range(10, 32):
        assert (
            await shown(store, limit=4, below=below) == [place for place in reversed(everything) if place < below][:4]
        )


async def test_a_timeline_of_which_little_is_left_is_made_anew(store: Store) -> None:
    writer = await people(
        store,
        *(row for place in range(11, 20) for row in posted(place)),
        *(row for place in range(20, 40) for row in posted(place, BOB)),
        *(follow(ME, id) for id in (ANN, BOB)),
    )
    await settle(store, wishes(), entries_max=10)
    await writer.write(Deleted(follow(ME, BOB)))
    assert (await store.timelines.tend(ME, wishes(), entries_max=10)).unfinished
    await settle(store, wishes(), entries_max=10)
    assert await shown(store) == [*range(19, 10, -1)]


# -- anything


class World:
    """What was written, and what a timeline must show of it."""

    def __init__(self, store: Store, writer: Writer, random: Random) -> None:
        self.store = store
        self.writer = writer
        self.random = random
        self.posts: dict[int, PostRow] = {}
        self.jobs: dict[int, FanoutRow] = {}
        self.follows: set[tuple[int, int]] = set()
        self.blocks: set[tuple[int, int]] = set()
        self.mutes: set[tuple[int, int]] = set()
        self.gone: set[int] = set()
        self.place = 1_000

    def person(self) -> int:
        return self.random.randint(1, 5)

    def pair(self) -> tuple[int, int]:
        one, other = self.random.sample(range(1, 6), 2)
        return one, other

    async def step(self) -> None:
        deeds = [self.publish] * 6 + [self.fan_out] * 6 + [self.tend] * 8 + [self.follow] * 4
        deeds += [self.unfollow, self.delete, self.block, self.mute, self.close, self.rate, self.leave]
        await self.random.choice(deeds)()

    async def publish(self) -> None:
        # Some come late, as imported ones do.
        self.place += 10
        place = self.place if self.random.random() < 0.8 else self.random.randint(10, self.place) // 10 * 10 + 3
        if place not in self.posts:
            author = self.person()
            row = post(place, author_id=author, published_id=place)
            self.posts[place], self.jobs[place] = row, job(place, author)
            await self.writer.write(row, state(place), self.jobs[place])

    async def fan_out(self) -> None:
        if not self.jobs:
            return
        running = self.random.choice([*self.jobs.values()])
        last = await self.store.timelines.push(
            running.author_id, running.published_id, after=running.after_follower, limit=self.random.randint(1, 3)
        )
        if self.random.random() < 0.3:
            return  # Whoever did it was killed before it was written down.
        if last is None:
            del self.jobs[running.post_id]
            await self.writer.write(Deleted(running))
        else:
            self.jobs[running.post_id] = job(running.post_id, running.author_id, after_follower=last)
            await self.writer.write(self.jobs[running.post_id])

    async def tend(self) -> None:
        # The others leave little for the timelines themselves to get wrong.
        (strategy,) = self.random.choices(STRATEGIES, weights=(9, 1, 1, 1))
        wanted = wishes(strategy, here=self.random.random() < 0.8, reading=self.random.randint(0, 9))
        await self.store.timelines.tend(self.person(), wanted, entries_max=4, edges_max=2)

    async def follow(self) -> None:
        pair = self.pair()
        self.follows.add(pair)
        await self.writer.write(follow(*pair))

    async def unfollow(self) -> None:
        pair = self.pair()
        self.follows.discard(pair)
        await self.writer.write(Deleted(follow(*pair)))

    async def delete(self) -> None:
        if self.posts:
            row = self.posts.pop(self.random.choice([*self.posts]))
            self.jobs.pop(row.id, None)
            gone = post(row.id, author_id=row.author_id, published_id=row.published_id, state="deleted")
            await self.writer.write(gone, Deleted(job(row.id)))

    async def block(self) -> None:
        await self._toggle(self.blocks, block)

    async def mute(self) -> None:
        await self._toggle(self.mutes, mute)

    async def _toggle(self, known: set[tuple[int, int]], row: Any) -> None:
        pair = self.pair()
        known.symmetric_difference_update({pair})
        await self.writer.write(row(*pair) if pair in known else Deleted(row(*pair)))

    async def close(self) -> None:
        await self.store.timelines.close_edges(self.person(), limit=self.random.randint(1, 3))

    async def rate(self) -> None:
        celebrity, posting = self.random.random() < 0.3, self.random.randint(0, 9)
        await self.writer.write(user_state(self.person(), celebrity=celebrity, posting=posting))

    async def leave(self) -> None:
        person = self.person()
        self.gone.symmetric_difference_update({person})
        await self.writer.write(account(person, state="erasing" if person in self.gone else "active"))

    def expected(self, reader: int) -> list[int]:
        """By brute force: every post of everyone, looked at one by one."""

        def belongs(author: int) -> bool:
            if author == reader:
                return True
            between = {(reader, author), (author, reader)}
            hidden = between & self.blocks or (reader, author) in self.mutes or author in self.gone
            return (reader, author) in self.follows and not hidden

        return sorted((place for place, row in self.posts.items() if belongs(row.author_id or 0)), reverse=True)

    async def check(self) -> None:
        reader, limit = self.person(), self.random.randint(1, 7)
        pages: list[int] = []
        while page := await shown(self.store, reader, limit=limit, below=pages[-1] if pages else PLACE_MAX):
            pages += page
        assert pages == self.expected(reader), (reader, limit)


@pytest.mark.parametrize("seed", range(10))
async def test_pages_put_together_equal_a_timeline_by_brute_force_whatever_happened(store: Store, seed: int) -> None:
    writer = await Writer.of(store)
    await writer.write(*(account(id) for id in range(1, 6)))
    world = World(store, writer, Random(seed))
    for _ in range(150):
        await world.step()
        await world.check()
