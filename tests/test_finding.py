"""Search on the whole server: through a kill before anything was indexed, and in another language afterwards."""

import asyncio
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest

from tests.gateway.http_site import Api
from tests.processes import serving
from tests.site import SETTINGS


async def found(api: Api, words: str) -> list[Any]:
    hits: list[Any] = (await api.call("GET", f"/v1/search?q={words}")).json
    return hits


async def hot(api: Api) -> list[str]:
    posts: list[Any] = (await api.call("GET", "/v1/posts?order=hot")).json
    return [post["title"] for post in posts]


async def test_what_was_written_just_before_a_kill_is_found_by_the_next_server_in_its_language(
    postgres_url: str,
) -> None:
    plain = await asyncpg.connect(postgres_url)
    await plain.execute("CREATE DATABASE finding")
    await plain.close()
    url = urlunsplit(urlsplit(postgres_url)._replace(path="/finding"))
    arguments = ("server.py", "--port", "0", "--database-url", url)
    async with serving(*arguments, environment=SETTINGS) as served, aiohttp.ClientSession() as client:
        api = Api(client, served.url)
        token = (await api.member("ann")).access_token
        early = await api.post(token, title="Kettles", body="They boiled.")
        async with asyncio.timeout(20):
            while not await found(api, "kettles"):
                await asyncio.sleep(0.05)
        assert await found(api, "boiling") == []
        late = await api.post(token, title="Teapots")
        comment = await api.comment(token, late["id"], "Mine <3 is boiling & how")
        assert await found(api, "teapots") == []
        await served.kill()

    async with (
        serving(*arguments, "--search-language", "english", environment=SETTINGS) as served,
        aiohttp.ClientSession() as client,
    ):
        api = Api(client, served.url)
        assert [hit["post"] for hit in await found(api, "kettle")] == [early["id"]]
        async with asyncio.timeout(60):
            while not await found(api, "teapot"):
                await asyncio.sleep(0.05)
        places = {(hit["post"], hit["comment"]): hit["excerpt"] for hit in await found(api, "boil")}
        assert places == {
            (early["id"], None): "They <mark>boiled</mark>.",
            (late["id"], comment["id"]): "Mine &lt;3 is <mark>boiling</mark> &amp; how",
        }
        # The heat of a post is written after its index.
        async with asyncio.timeout(60):
            while await hot(api) != ["Teapots", "Kettles"]:
                await asyncio.sleep(0.05)

    with pytest.raises(RuntimeError, match='--search-language: text search configuration "klingon" does not exist'):
        async with serving(*arguments, "--search-language", "klingon", environment=SETTINGS):
            pass
