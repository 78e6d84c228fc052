"""Other systems and the real server, over a real Redis that keeps what it was given: workers and Redis are killed."""

import asyncio
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import msgspec
import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

import server
from store.embedded_redis import program
from store.exchange import GROUP, PUBLISHED, REJECTED, SUBMITTED
from tests.gateway.http_site import Api
from tests.processes import serving
from tests.site import SETTINGS

POSTS = 1_000
BAD = ({"author": "nobody", "title": "No"}, {"author": "ann"}, {"author": "ann", "title": b"\xff"})
DEADLINE_S = 120.0


class KeptRedis:
    """A Redis that can be killed, and has everything when it is started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.url = f"unix://{directory}/s"
        self.client: Any = Redis.from_url(self.url)
        self._process: Process

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.kill()

    async def start(self) -> None:
        kept = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        self._process = await asyncio.create_subprocess_exec(
            *(program(), "--port", "0", "--unixsocket", f"{self._directory}/s", "--dir", self._directory, *kept),
            stdout=DEVNULL,
        )
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    await self.client.ping()
                except (RedisError, OSError):
                    await asyncio.sleep(0.02)
                else:
                    return

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()

    async def submit(self) -> None:
        """Hand in all posts, and between them what cannot be published."""
        together = self.client.pipeline(transaction=False)
        for number in range(POSTS):
            together.xadd(SUBMITTED, {"author": "ann", "title": f"Post {number}", "tags": "from a cms"})
            if number % 100 == 50:
                together.xadd(SUBMITTED, BAD[number // 100 % len(BAD)])
        await together.execute()

    async def finished(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while await self.client.xlen(SUBMITTED):
                await asyncio.sleep(0.05)
        assert (await self.client.xpending(SUBMITTED, GROUP))["pending"] == 0


@pytest.fixture
def directory() -> Any:
    """Short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        yield Path(directory)


@asynccontextmanager
async def database(postgres_url: str, name: str) -> AsyncIterator[tuple[str, Any]]:
    """The URL of a new database, and a connection to it."""
    plain = await asyncpg.connect(postgres_url)
    await plain.execute(f"CREATE DATABASE {name}")
    await plain.close()
    url = urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    connection = await asyncpg.connect(url)
    try:
        yield url, connection
    finally:
        await connection.close()


async def member(url: str) -> None:
    async with aiohttp.ClientSession() as client:
        await Api(client, url).member("ann")


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await happened():
            await asyncio.sleep(0.005)


async def published(connection: Any, at_least: int) -> bool:
    return bool(await connection.fetchval("SELECT count(*) FROM post") >= at_least)


async def check_posts(connection: Any, redis: KeptRedis) -> Sequence[str]:
    """Exactly these are there, and the rest is rejected; their ids."""
    found = await connection.fetch("SELECT id, title, state FROM post")
    assert Counter(title for _, title, _ in found) == Counter(f"Post {number}" for number in range(POSTS))
    assert {state for *_, state in found} == {"published"}
    rejected = [fields for _, fields in await redis.client.xrange(REJECTED)]
    # A rejection may be kept twice, where a worker was killed before it could say that it was done.
    by_id = {fields[b"id"]: fields for fields in rejected}
    assert Counter(fields[b"code"] for fields in by_id.values()) == {b"account_not_found": 4, b"invalid": 6}
    assert all(fields[b"reason"] and fields[b"author"] for fields in by_id.values())
    return [str(id) for id, *_ in found]


@asynccontextmanager
async def listening(redis: KeptRedis) -> AsyncIterator[list[Any]]:
    """What is heard of publications."""
    heard: list[Any] = []
    async with redis.client.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(PUBLISHED)

        async def listen() -> None:
            while True:
                message = await channel.get_message(timeout=None)
                if message is not None:
                    heard.append(msgspec.json.decode(message["data"]))

        task = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_killed_server_publishes_each_submission_once_and_tells_of_all(
    postgres_url: str, directory: Path
) -> None:
    async with (
        database(postgres_url, "exchange") as (url, connection),
        KeptRedis(directory) as redis,
        listening(redis) as heard,
    ):
        arguments = ("server.py", "--port", "0", "--database-url", url, "--redis-url", redis.url)
        async with serving(*arguments, environment=SETTINGS) as served:
            await member(served.url)
            await redis.submit()
            await until(lambda: published(connection, POSTS // 3))
            await served.kill()
        assert not await published(connection, POSTS)
        async with serving(*arguments, environment=SETTINGS):
            await redis.finished()
            ids = await check_posts(connection, redis)
            await until(lambda: told(heard, ids))
    assert {post["id"] for post in heard} == set(ids)
    assert {post["author"]["handle"] for post in heard} == {"ann"}
    assert all(post["url"] == f"/p/{post['slug']}" for post in heard)


async def told(heard: Sequence[Any], ids: Sequence[str]) -> bool:
    return set(ids) <= {post["id"] for post in heard}


async def test_workers_and_redis_that_are_killed_lose_nothing_and_repeat_nothing(
    postgres_url: str, directory: Path
) -> None:
    async with database(postgres_url, "exchange_of_two") as (url, connection), KeptRedis(directory) as redis:
        arguments = ("server.py", "--port", "0", "--workers", "2", "--database-url", url, "--redis-url", redis.url)
        async with serving(*arguments, environment=SETTINGS) as served:
            await member(served.url)
            await redis.submit()
            await until(lambda: published(connection, POSTS // 4))
            workers = [each for each in psutil.Process(served.pid).children() if server.WORKER in each.cmdline()]
            workers[0].kill()
            await until(lambda: published(connection, POSTS // 2))
            await redis.kill()
            await asyncio.sleep(1)
            await redis.start()
            await redis.finished()
            await check_posts(connection, redis)
            await until(lambda: all_told(connection))


async def all_told(connection: Any) -> bool:
    return not await connection.fetchval("SELECT count(*) FROM outbox WHERE receiver = 'outside'")
