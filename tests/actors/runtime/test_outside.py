"""Other systems are told of every publication, after its commit and at least once, whenever they can be reached."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from actors.actor import SYSTEM
from actors.encoding import Encoder
from actors.runtime.activation import Delivery
from actors.runtime.metrics import Metrics
from actors.runtime.outside import Outside
from protocol.commands import CreatePost, DeletePost, EditPost, PublishPost
from protocol.exchange import Announcement, PostAnnounced
from store.memory import MemoryStore, ReplyLost, RequestLost
from store.memory_exchange import MemoryExchange
from store.rows import OutboxRow, PostRow
from tests.actors.runtime.rig import ANN, POST, Clock, Rig

OTHER = 11


class Outsider:
    """Another system, which listens."""

    def __init__(self) -> None:
        self.exchange = MemoryExchange()
        self.exchange.listeners.append(lambda message: self.heard.append(msgspec.json.decode(message)))
        self.heard: list[Any] = []

    @property
    def posts(self) -> list[str]:
        return [announcement["id"] for announcement in self.heard]


@asynccontextmanager
async def listened_to() -> AsyncIterator[tuple[Rig, Outsider]]:
    outsider = Outsider()
    async with Rig.running(exchange=outsider.exchange) as rig:
        outsider.heard.clear()
        yield rig, outsider


def create(post: int = OTHER, **given: Any) -> CreatePost:
    return CreatePost(post=str(post), **{"title": "Another", "body": "Some *words* more", **given})


async def test_an_announcement_tells_what_the_post_is() -> None:
    async with listened_to() as (rig, outsider):
        await rig.ask(create(tags=["tea"], slug="an-other"), ANN)
        await rig.fanned_out()
        view = await rig.read_post(post=OTHER)
        assert outsider.heard == [
            {
                "type": "published",
                "id": str(OTHER),
                "version": 1,
                "cursor": view.cursor,
                "author": {"id": str(ANN.id), "handle": "ann", "name": "Ann", "url": None},
                "title": "Another",
                "slug": "an-other",
                "url": "https://example.org/p/an-other",
                "tags": ["tea"],
                "excerpt": "Some words more",
                "created_at": view.created_at,
                "published_at": view.published_at,
            }
        ]
        assert msgspec.convert(outsider.heard[0], Announcement).title == "Another"


async def test_what_is_not_published_is_not_announced_until_it_is() -> None:
    async with listened_to() as (rig, outsider):
        await rig.ask(create(state="draft"), ANN)
        due_ms = int(rig.clock() * 1000) + 3_600_000
        await rig.ask(create(12, publish_at=due_ms), ANN)
        await rig.fanned_out()
        assert outsider.heard == []
        await rig.ask(PublishPost(post=str(OTHER)), ANN)
        await rig.fanned_out()
        assert outsider.posts == [str(OTHER)]
        await asyncio.sleep(3_700)
        assert outsider.posts == [str(OTHER), "12"]


async def test_edits_deletions_and_pages_elsewhere_are_not_announced() -> None:
    async with listened_to() as (rig, outsider):
        await rig.ask(EditPost(post=str(POST), title="Changed"), ANN)
        await rig.ask(DeletePost(post=str(POST)), ANN)
        await rig.ask(create(page_url="https://example.com/page"), SYSTEM)
        await rig.fanned_out()
        assert outsider.heard == []


async def test_nothing_is_announced_before_it_is_stored() -> None:
    async with listened_to() as (rig, outsider):
        until = rig.hold()
        asked = rig.send(create(), ANN)
        await asyncio.sleep(1)
        assert asked.pending
        assert outsider.heard == []
        until.set()
        await asked.answer()
        await rig.fanned_out()
        assert outsider.posts == [str(OTHER)]


async def test_what_was_refused_by_the_store_is_not_announced() -> None:
    async with listened_to() as (rig, outsider):
        rig.fault(RequestLost("commit"))
        assert await rig.send(create(), ANN).code() == "unavailable"
        await asyncio.sleep(60)
        assert outsider.heard == []


async def test_while_nobody_can_be_reached_posts_are_published_and_announced_later() -> None:
    async with listened_to() as (rig, outsider):
        outsider.exchange.away = True
        for post in range(20, 30):
            await rig.ask(create(post), ANN)
        await asyncio.sleep(600)
        assert outsider.heard == []
        assert (await rig.read_post(post=29)).state == "published"
        outsider.exchange.away = False
        await rig.fanned_out()
        assert sorted(outsider.posts) == [str(post) for post in range(20, 30)]


async def test_what_is_deleted_before_it_was_told_is_not_told() -> None:
    async with listened_to() as (rig, outsider):
        outsider.exchange.away = True
        await rig.ask(create(), ANN)
        await rig.ask(DeletePost(post=str(OTHER)), ANN)
        outsider.exchange.away = False
        await rig.fanned_out()
        assert outsider.heard == []


async def test_what_is_edited_before_it_was_told_is_told_as_it_is_by_then() -> None:
    async with listened_to() as (rig, outsider):
        outsider.exchange.away = True
        await rig.ask(create(), ANN)
        await rig.ask(EditPost(post=str(OTHER), title="Better"), ANN)
        outsider.exchange.away = False
        await rig.fanned_out()
        assert [(each["title"], each["version"]) for each in outsider.heard] == [("Better", 2)]


class CountingEncoder(Encoder):
    """Counts the posts that it renders within one turn of the loop; ``most`` is the most of all turns."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self._now = 0

    def post_html(self, row: PostRow) -> str:
        if self._now == 0:
            asyncio.get_running_loop().call_soon(self._begin_anew)
        self._now += 1
        self.most = max(self.most, self._now)
        return super().post_html(row)

    def _begin_anew(self) -> None:
        self._now = 0


async def test_however_many_have_waited_others_have_their_turns_between_them() -> None:
    async with listened_to() as (rig, outsider):
        outsider.exchange.away = True
        posts = range(20, 40)
        for post in posts:
            await rig.ask(create(post), ANN)
        outsider.exchange.away = False
        encoder, answers = CountingEncoder(), list[Any]()
        metrics = Metrics(CollectorRegistry())
        outside = Outside(outsider.exchange, rig.store, encoder, metrics, epoch=lambda _: "e", site_url="")
        messages = tuple((id, PostAnnounced(post=post)) for id, post in enumerate(posts))
        outside.deliver(Delivery(slot=0, messages=messages), answers.append)
        await asyncio.sleep(1)
        assert answers == [None]
        assert outsider.posts[:20] == [str(post) for post in posts]
        assert encoder.most == 1


async def test_trouble_with_the_store_delays_an_announcement() -> None:
    async with listened_to() as (rig, outsider):
        rig.fault(RequestLost("summaries"))
        rig.fault(ReplyLost("summaries"))
        await rig.ask(create(), ANN)
        await rig.fanned_out()
        assert outsider.posts == [str(OTHER)]


async def test_whoever_comes_after_a_worker_that_died_announces_what_it_had_not() -> None:
    clock = Clock()
    store, outsider = MemoryStore(clock), Outsider()
    outsider.exchange.away = True
    async with Rig.running(store=store, clock=clock, exchange=outsider.exchange) as rig:
        await rig.account(ANN)
        await rig.ask(create(), ANN)
    async with Rig.running(store=store, clock=clock, seed=2) as rig:
        # One that has no way to other systems leaves it to those who have.
        await asyncio.sleep(600)
        assert len(store.rows(OutboxRow)) == 1
    outsider.exchange.away = False
    async with Rig.running(store=store, clock=clock, seed=3, exchange=outsider.exchange) as rig:
        await rig.fanned_out()
        assert outsider.posts == [str(OTHER)]
