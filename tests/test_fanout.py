"""A server that is killed while it pushes a post to many followers, and one that goes on."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg

from tests.gateway.http_site import Api
from tests.processes import Served, serving
from tests.site import SETTINGS

FOLLOWERS = 50_000
COUNT = "SELECT count(*) FROM timeline"
LATEST = (1 << 63) - 1


async def test_a_fan_out_that_is_killed_in_the_middle_is_completed_by_the_next_server(postgres_url: str) -> None:
    plain = await asyncpg.connect(postgres_url)
    await plain.execute("CREATE DATABASE fanout")
    await plain.close()
    url = urlunsplit(urlsplit(postgres_url)._replace(path="/fanout"))
    arguments = ("server.py", "--port", "0", "--database-url", url, "--timelines", "push")
    async with serving(*arguments, environment=SETTINGS) as served:
        database = await asyncpg.connect(url)
        post = await publish(served, database)
        while not (pushed := await database.fetchval(COUNT)):
            await asyncio.sleep(0.001)
        await served.kill()
    assert 0 < pushed < FOLLOWERS
    assert await database.fetchval("SELECT count(*) FROM fanout") == 1
    # Whether it came to them or not.
    for follower in (2, 1 + FOLLOWERS):
        shown = await database.fetch("SELECT post_id FROM timeline_pages($1, $2, $3)", [follower], [LATEST], [10])
        assert [post_id for (post_id,) in shown] == [post]

    async with serving(*arguments, environment=SETTINGS), asyncio.timeout(60):
        while await database.fetchval("SELECT count(*) FROM fanout"):
            await asyncio.sleep(0.05)
        assert await database.fetchval(COUNT) == FOLLOWERS
    await database.close()


async def publish(served: Served, database: "asyncpg.Connection[asyncpg.Record]") -> int:
    """A post of an author whom many follow."""
    async with aiohttp.ClientSession() as client:
        api = Api(client, served.url)
        ann = await api.member("ann")
        await database.execute(
            "INSERT INTO account (id, kind, handle, name, role, state, version, created_at)"
            " SELECT id, 'member', 'reader' || id, 'Reader', 'member', 'active', 1, now()"
            f" FROM generate_series(2, {1 + FOLLOWERS}) AS id"
        )
        await database.execute(
            "INSERT INTO follow (follower, followee, created_at, push)"
            f" SELECT id, {ann.account.id}, now(), 'pushed' FROM generate_series(2, {1 + FOLLOWERS}) AS id"
        )
        return int((await api.post(ann.access_token, title="To everyone"))["id"])
