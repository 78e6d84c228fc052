"""What every exchange promises: over Redis, and over its twin in memory."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from store.embedded_redis import EmbeddedRedis
from store.exchange import (
    GROUP,
    PUBLISHED,
    REJECTED,
    SUBMITTED,
    Backlog,
    Entry,
    Exchange,
    ExchangeUnavailable,
    Rejection,
)
from store.memory_exchange import MemoryExchange
from store.redis import QUESTIONS_PAUSE_S
from store.redis_exchange import RedisExchange, open_exchange
from tests.faults.proxy import Proxy

TAKEN_AGAIN_S = 0.3
WAIT_S = 0.2
DEADLINE_S = 10.0


class Rig(Protocol):
    """An exchange, the same one as another worker has it, what other systems do there, and the weather."""

    mine: Exchange
    other: Exchange

    async def submit(self, **fields: bytes) -> str: ...

    async def rejected(self) -> list[dict[bytes, bytes]]: ...

    async def heard(self, count: int) -> list[bytes]:
        """What a listener has heard from the beginning, once it is so much."""
        ...

    def cut(self) -> None:
        """``mine`` and ``other`` reach nothing until ``heal``."""
        ...

    def heal(self) -> None: ...


class MemoryRig:
    def __init__(self) -> None:
        exchange = MemoryExchange(taken_again_s=TAKEN_AGAIN_S, wait_s=WAIT_S)
        self.mine: Exchange = exchange
        self.other: Exchange = exchange
        self._exchange = exchange
        self._heard: list[bytes] = []
        exchange.listeners.append(self._heard.append)

    async def submit(self, **fields: bytes) -> str:
        return self._exchange.submit({name.encode(): value for name, value in fields.items()})

    async def rejected(self) -> list[dict[bytes, bytes]]:
        return [
            {**dict(entry.fields), b"id": entry.id.encode(), b"code": code.encode(), b"reason": reason.encode()}
            for entry, code, reason in self._exchange.rejected
        ]

    async def heard(self, count: int) -> list[bytes]:
        assert len(self._heard) == count
        return self._heard

    def cut(self) -> None:
        self._exchange.away = True

    def heal(self) -> None:
        self._exchange.away = False


class RedisRig:
    def __init__(self, redis: Any, network: Proxy, mine: RedisExchange, other: RedisExchange) -> None:
        self.redis = redis
        self.mine: Exchange = mine
        self.other: Exchange = other
        self.network = network
        self._listening = redis.pubsub(ignore_subscribe_messages=True)

    @classmethod
    async def made(cls, url: str, stack: AsyncExitStack) -> "RedisRig":
        network = await stack.enter_async_context(Proxy(url))
        redis: Any = await stack.enter_async_context(Redis.from_url(url))
        await redis.flushdb()
        exchanges = [
            await stack.enter_async_context(open_exchange(network.url, taken_again_s=TAKEN_AGAIN_S, wait_s=WAIT_S))
            for _ in range(2)
        ]
        rig = cls(redis, network, *exchanges)
        await rig._listening.subscribe(PUBLISHED)
        stack.push_async_callback(rig._listening.aclose)
        return rig

    async def submit(self, **fields: bytes) -> str:
        id: bytes = await self.redis.xadd(SUBMITTED, fields)
        return id.decode()

    async def rejected(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in await self.redis.xrange(REJECTED)]

    async def heard(self, count: int) -> list[bytes]:
        heard: list[bytes] = []
        async with asyncio.timeout(DEADLINE_S):
            while len(heard) < count:
                message = await self._listening.get_message(timeout=1)
                if message is not None:
                    heard.append(message["data"])
        return heard

    def cut(self) -> None:
        self.network.refuse()

    def heal(self) -> None:
        self.network.accept()


@pytest_asyncio.fixture
async def redis_rig(redis_url: str) -> AsyncIterator[RedisRig]:
    async with AsyncExitStack() as stack:
        yield await RedisRig.made(redis_url, stack)


@pytest.fixture(params=["memory", "redis"])
def rig(request: pytest.FixtureRequest) -> Rig:
    """The contract suite runs once over each."""
    if request.param == "memory":
        return MemoryRig()
    rig: RedisRig = request.getfixturevalue("redis_rig")
    return rig


async def taken(exchange: Exchange, limit: int = 100) -> list[Entry]:
    """The next entries, once there are any."""
    async with asyncio.timeout(DEADLINE_S):
        while not (entries := await exchange.take(limit)):
            continue
    return entries


async def until_reached(exchange: Exchange) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await exchange.backlog()
            except ExchangeUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_who_listens_hears_what_is_announced_in_order(rig: Rig) -> None:
    await rig.mine.announce([b"one", "zwölf".encode(), b"\0\xff"])
    await rig.other.announce([b"last"])
    assert await rig.heard(4) == [b"one", "zwölf".encode(), b"\0\xff", b"last"]


async def test_what_is_handed_in_before_anybody_comes_is_taken_in_order_with_all_its_fields(rig: Rig) -> None:
    ids = [await rig.submit(author=b"ann", title=title, json=b"\xff\0") for title in (b"one", b"two", b"three")]
    entries = await taken(rig.mine, limit=2)
    assert entries == [
        Entry(id, ((b"author", b"ann"), (b"title", title), (b"json", b"\xff\0")))
        for id, title in zip(ids, (b"one", b"two"), strict=False)
    ]
    assert [entry.id for entry in await taken(rig.mine, limit=2)] == ids[2:]


async def test_what_one_has_taken_no_other_takes_for_a_while(rig: Rig) -> None:
    ids = [await rig.submit(title=b"one") for _ in range(6)]
    one, other = await taken(rig.mine, limit=3), await taken(rig.other, limit=100)
    assert [entry.id for entry in (*one, *other)] == ids


async def test_what_was_taken_and_is_not_finished_is_taken_again_by_whoever_comes(rig: Rig) -> None:
    lost, done = [await rig.submit(title=title) for title in (b"lost", b"done")]
    first = await taken(rig.mine)
    await rig.mine.finish([done], [])
    assert await rig.other.take(10) == []
    assert await taken(rig.other) == first[:1]
    assert first[0].id == lost
    await rig.other.finish([lost], [])
    await asyncio.sleep(TAKEN_AGAIN_S)
    assert await rig.mine.take(10) == []


async def test_one_waits_for_what_is_handed_in_meanwhile(rig: Rig) -> None:
    assert await rig.mine.take(1) == []
    waiting = asyncio.create_task(taken(rig.mine))
    await asyncio.sleep(0.01)
    id = await rig.submit(title=b"late")
    assert [entry.id for entry in await waiting] == [id]


async def test_who_gives_up_waiting_can_ask_again(rig: Rig) -> None:
    assert await rig.mine.take(1) == []
    waiting = asyncio.create_task(rig.mine.take(1))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    id = await rig.submit(title=b"after")
    assert [entry.id for entry in await taken(rig.mine)] == [id]


async def test_what_is_rejected_is_kept_with_the_reason_and_not_taken_again(rig: Rig) -> None:
    good, bad = await rig.submit(title=b"good"), await rig.submit(title=b"\xff", reason=b"mine")
    _, entry = await taken(rig.mine)
    await rig.mine.finish([good], [Rejection(entry, "invalid", "title: not UTF-8")])
    verdict = {b"id": bad.encode(), b"code": b"invalid", b"reason": b"title: not UTF-8"}
    assert await rig.rejected() == [{b"title": b"\xff", **verdict}]
    assert await rig.mine.backlog() == Backlog(0, 0)
    await rig.other.finish([good, bad], [])
    await asyncio.sleep(TAKEN_AGAIN_S)
    assert await rig.other.take(10) == []


async def test_the_backlog_tells_what_waits_and_what_was_taken(rig: Rig) -> None:
    assert await rig.mine.take(1) == []
    assert await rig.mine.backlog() == Backlog(0, 0)
    for _ in range(5):
        await rig.submit(title=b"one")
    entries = await taken(rig.mine, limit=2)
    assert await rig.other.backlog() == Backlog(waiting=5, pending=2)
    await rig.mine.finish([entries[0].id], [])
    assert await rig.other.backlog() == Backlog(waiting=4, pending=1)


async def test_while_it_is_away_everything_is_refused_and_afterwards_nothing_is_lost(rig: Rig) -> None:
    ids = [await rig.submit(title=b"one"), await rig.submit(title=b"two")]
    entries = await taken(rig.mine, limit=1)
    rig.cut()
    for work in (
        rig.mine.announce([b"lost"]),
        rig.mine.take(1),
        rig.mine.finish([entries[0].id], [Rejection(entries[0], "invalid", "no")]),
        rig.mine.backlog(),
    ):
        with pytest.raises(ExchangeUnavailable):
            await work
    rig.heal()
    await until_reached(rig.mine)
    found = {entry.id for _ in range(2) for entry in await taken(rig.mine)}
    assert found == set(ids)
    await rig.mine.finish(ids, [])
    assert await rig.mine.backlog() == Backlog(0, 0)


async def test_a_redis_that_forgot_everything_is_used_as_a_new_one(redis_rig: RedisRig) -> None:
    await redis_rig.submit(title=b"before")
    assert await taken(redis_rig.mine)
    await redis_rig.redis.flushdb()
    id = await redis_rig.submit(title=b"after")
    assert [entry.id for entry in await taken(redis_rig.mine)] == [id]


async def test_what_somebody_else_deleted_after_it_was_taken_harms_nobody(redis_rig: RedisRig) -> None:
    gone, there = await redis_rig.submit(title=b"gone"), await redis_rig.submit(title=b"there")
    assert len(await taken(redis_rig.mine)) == 2
    await redis_rig.redis.xdel(SUBMITTED, gone)
    assert [entry.id for entry in await taken(redis_rig.other)] == [there]


async def test_entries_that_another_consumer_of_the_group_left_are_taken(redis_rig: RedisRig) -> None:
    assert await redis_rig.mine.take(1) == []
    id = await redis_rig.submit(title=b"left")
    await redis_rig.redis.xreadgroup(GROUP, "a worker that died", {SUBMITTED: ">"})
    assert [entry.id for entry in await taken(redis_rig.mine)] == [id]


async def test_only_about_so_many_rejected_entries_are_kept(redis_rig: RedisRig) -> None:
    entry = Entry("1-0", ((b"title", b""),))
    for _ in range(11):
        await redis_rig.mine.finish([], [Rejection(entry, "invalid", "empty")] * 1000)
    assert 10_000 <= await redis_rig.redis.xlen(REJECTED) <= 10_200


async def test_a_rejection_that_cannot_be_kept_is_in_the_way_of_nothing_else(redis_rig: RedisRig) -> None:
    good, bad = await redis_rig.submit(title=b"good"), await redis_rig.submit(title=b"")
    _, entry = await taken(redis_rig.mine)
    await redis_rig.redis.set(REJECTED, "no stream")
    rejection = Rejection(entry, "invalid", "empty")
    with pytest.raises(ExchangeUnavailable, match="WRONGTYPE"):
        await redis_rig.mine.finish([good], [rejection])
    assert await redis_rig.mine.backlog() == Backlog(waiting=1, pending=1)
    await redis_rig.redis.delete(REJECTED)
    assert [again.id for again in await taken(redis_rig.mine)] == [bad]
    await redis_rig.mine.finish([], [rejection])
    assert await redis_rig.mine.backlog() == Backlog(0, 0)
    assert len(await redis_rig.rejected()) == 1


async def test_the_database_is_the_one_of_the_address(redis_rig: RedisRig, redis_url: str) -> None:
    url = f"{redis_url}?db=3"
    redis: Any = Redis.from_url(url)
    async with open_exchange(url, wait_s=WAIT_S) as exchange, redis:
        await redis.flushdb()
        id: bytes = await redis.xadd(SUBMITTED, {"title": "here"})
        assert [entry.id for entry in await taken(exchange)] == [id.decode()]
        assert await redis_rig.mine.take(1) == []


async def test_what_redis_refuses_is_told_and_the_connection_goes_on(redis_rig: RedisRig) -> None:
    await redis_rig.redis.set(SUBMITTED, "no stream")
    for _ in range(2):
        with pytest.raises(ExchangeUnavailable, match="WRONGTYPE"):
            await redis_rig.mine.take(1)
    await redis_rig.redis.delete(SUBMITTED)
    assert await redis_rig.mine.take(1) == []


async def test_when_another_redis_has_taken_over_it_is_asked(redis_rig: RedisRig, redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        async with EmbeddedRedis(Path(directory) / "data") as first:
            redis_rig.network.target = first.url
            assert await redis_rig.mine.take(1) == []
            async with Redis.from_url(first.url) as client:
                await client.replicaof("127.0.0.1", 1)
            redis_rig.network.target = redis_url
            id = await redis_rig.submit(title=b"to the other one")
            with pytest.raises(ExchangeUnavailable, match="read only"):
                await redis_rig.mine.take(1)
            await asyncio.sleep(QUESTIONS_PAUSE_S)
            assert [entry.id for entry in await taken(redis_rig.mine)] == [id]
