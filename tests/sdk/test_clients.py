"""The official clients, unmodified, against the product as its users run it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from tests.faults.proxy import Proxy
from tests.processes import Served, serving
from tests.sdk.clients import Client, Refusal, javascript, python
from tests.site import HOST_SECRET, SETTINGS, Site, host_token

Open = Callable[[str, list[str]], AbstractAsyncContextManager[Client]]
LONG = "x" * 9_000
NOWHERE = "ws://127.0.0.1:0/connection/websocket"
"""Nobody listens there."""


@pytest.fixture(params=["javascript", "python"])
def client_of(request: pytest.FixtureRequest) -> Open:
    """Opens a client of one of the languages, for a URL and the tokens it gets one after the other."""
    if request.param == "javascript":
        request.getfixturevalue("node_modules")
        return javascript
    return python


@pytest.fixture
async def site(server: Served) -> AsyncIterator[Site]:
    async with aiohttp.ClientSession() as client:
        yield Site(server, client)


def ws_url(served: Served) -> str:
    return f"ws://127.0.0.1:{served.port}/connection/websocket"


def token_for(user: int, ttl_s: float) -> str:
    """A token of the host site that ends after ``ttl_s``, in the past if that is negative."""
    now = int(time.time())
    claims = {
        "jti": f"t{user}",
        "iat": now - 60,
        "exp": now + ttl_s,
        "user": {"id": str(user), "username": f"person{user}"},
    }
    return jwt.encode(claims, HOST_SECRET, algorithm="HS256")


async def write(site: Site, post: str, count: int, body: str) -> None:
    """So many comments by someone else."""
    async with site.socket(host_token(99)) as socket:
        for number in range(count):
            await socket.call("comment.create", {"post": post, "body": f"{number} {body}"})


async def offsets_until(client: Client, last: int) -> list[int]:
    """The offsets of the publications up to one; volatile ones have none and are left out."""
    offsets: list[int] = []
    while not offsets or offsets[-1] < last:
        publication = await client.events.until("publication")
        if publication["offset"]:
            offsets.append(publication["offset"])
    return offsets


async def test_a_client_connects_subscribes_writes_and_sees_it_appear(site: Site, client_of: Open) -> None:
    post = await site.create_post("a post")
    async with client_of(ws_url(site.served), [host_token(7)]) as client:
        await client.connect()
        assert (await client.events.until("connected"))["client"]
        await client.subscribe(f"post:{post}")
        subscribed = await client.events.until("subscribed", was_recovering=False)
        assert subscribed["data"]["counters"]["comments"] == 0
        comment = {"post": post, "body": "**hi**", "op": f"first on {post}"}
        ack = await client.rpc("comment.create", comment)
        publication = await client.events.until("publication", offset=ack["offset"])
        assert publication["data"]["comment"]["html"] == "<p><strong>hi</strong></p>\n"
        assert await client.rpc("comment.create", comment) == ack
        while (await client.events.until("publication", offset=0))["data"]["counters"]["comments"] != 1:
            pass


@pytest.mark.parametrize(
    ("method", "data", "code"),
    [
        ("nothing", {}, 104),
        ("comment.create", {"body": " "}, 430),
        ("comment.create", {"body": "x" * 10_001}, 431),
        ("comment.create", {"body": "a", "parent": "77"}, 422),
        ("comment.create", {"body": "a\0b"}, 400),
        ("comment.edit", {"comment": "77", "body": "x"}, 421),
        ("applaud", {"total": 51}, 436),
        ("react", {"kind": "hate"}, 435),
    ],
)
async def test_what_is_refused_has_the_documented_code(
    site: Site, client_of: Open, method: str, data: dict[str, Any], code: int
) -> None:
    post = await site.create_post("a post")
    async with client_of(ws_url(site.served), [host_token(7)]) as client:
        await client.connect()
        await client.events.until("connected")
        with pytest.raises(Refusal) as refusal:
            await client.rpc(method, {"post": post, **data})
        assert refusal.value.code == code


async def test_a_subscriber_sees_who_is_there_and_what_was(site: Site, client_of: Open) -> None:
    post = await site.create_post("a post")
    channel = f"post:{post}"
    await write(site, post, 5, "before")
    async with client_of(ws_url(site.served), [host_token(7)]) as client, client_of(ws_url(site.served), [""]) as other:
        await other.connect()
        await other.subscribe(channel)
        await other.events.until("subscribed")
        await client.connect()
        await client.subscribe(channel)
        epoch = (await client.events.until("subscribed"))["epoch"]
        assert sorted(each["name"] for each in await client.presence(channel)) == ["", "person7"]
        assert await client.presence_stats(channel) == (2, 1)
        assert await client.history(channel, 2, 2, epoch) == ([3, 4], 4)
        with pytest.raises(Refusal) as refusal:
            await other.rpc("comment.create", {"post": post, "body": "who am I"})
        assert refusal.value.code in (101, 103)
        await other.unsubscribe(channel)
        await other.events.until("unsubscribed")
        assert await client.presence_stats(channel) == (1, 1)


async def test_what_is_missed_while_the_network_is_cut_arrives_once_and_in_order(site: Site, client_of: Open) -> None:
    post = await site.create_post("a post")
    async with Proxy(ws_url(site.served)) as network, client_of(network.url, [host_token(7)]) as client:
        await client.connect()
        await client.subscribe(f"post:{post}")
        position = (await client.events.until("subscribed"))["offset"]
        await write(site, post, 2, "seen")
        seen = await offsets_until(client, position + 2)

        network.refuse()
        await client.events.until("connecting")
        # More than two pages of 256 KiB.
        await write(site, post, 80, LONG)
        network.accept()

        subscribed = await client.events.until("subscribed")
        assert (subscribed["was_recovering"], subscribed["recovered"]) == (True, True)
        await write(site, post, 1, "live")
        seen += await offsets_until(client, position + 83)
        assert seen == list(range(position + 1, position + 84))


async def test_a_feed_goes_on_where_the_network_was_cut(site: Site, client_of: Open) -> None:
    author, reader = [await site.request("GET", "/v1/me", token=host_token(user, "author")) for user in (1, 7)]
    async with Proxy(ws_url(site.served)) as network, client_of(network.url, [host_token(7)]) as client:
        await client.connect()
        await client.events.until("connected")
        await client.rpc("follow", {"account": author["id"]})
        await client.subscribe(f"feed:{reader['id']}")
        assert (await client.events.until("subscribed"))["data"]["type"] == "feed"
        live = await site.create_post("live")
        # What was published in the last two seconds may come as well.
        while (await client.events.until("publication"))["data"]["post"]["id"] != live:
            pass

        network.refuse()
        await client.events.until("connecting")
        missed = [await site.create_post("missed") for _ in range(3)]
        network.accept()

        subscribed = await client.events.until("subscribed")
        assert (subscribed["was_recovering"], subscribed["recovered"]) == (True, True)
        came: dict[str, None] = {}
        while set(missed) - set(came):
            came[(await client.events.until("publication"))["data"]["post"]["id"]] = None
        assert [post for post in came if post in missed] == missed


async def test_an_expired_token_is_replaced_before_the_connection_opens(site: Site, client_of: Open) -> None:
    async with client_of(ws_url(site.served), [token_for(7, -30), token_for(7, 600)]) as client:
        await client.connect()
        await client.events.until("error", code=109)
        await client.events.until("token")
        await client.events.until("connected")


async def test_a_token_is_refreshed_while_the_connection_stays_open(site: Site, client_of: Open) -> None:
    post = await site.create_post("a post")
    async with client_of(ws_url(site.served), [token_for(7, 2), token_for(7, 600)]) as client:
        await client.connect()
        await client.events.until("connected")
        await client.events.until("token")
        await client.rpc("comment.create", {"post": post, "body": "still here"})
        assert [told["event"] for told in client.events.seen] == ["connecting", "connected", "token"]


async def test_a_forged_token_ends_the_connection_for_good(site: Site, client_of: Open) -> None:
    forged = jwt.encode({"jti": "t", "user": {"id": "7"}}, "a guess at the secret, long enough", algorithm="HS256")
    async with client_of(ws_url(site.served), [forged]) as client:
        await client.connect()
        assert (await client.events.until("disconnected"))["code"] == 3500


async def test_a_client_rides_out_a_shutdown_and_a_kill_and_misses_nothing(database_dir: Path, client_of: Open) -> None:
    flags = ("server.py", "--port", "0", "--data-dir", str(database_dir))
    async with (
        aiohttp.ClientSession() as http,
        Proxy(NOWHERE) as network,
        client_of(network.url, [host_token(7)]) as client,
    ):
        async with serving(*flags, environment=SETTINGS) as served:
            network.target = ws_url(served)
            post = await Site(served, http).create_post("a post")
            await client.connect()
            await client.subscribe(f"post:{post}")
            position = (await client.events.until("subscribed"))["offset"]
        assert (await client.events.until("connecting", code=3001))["reason"] == "shutdown"
        async with serving(*flags, environment=SETTINGS) as served:
            await write(Site(served, http), post, 3, "meanwhile")
            network.target = ws_url(served)
            assert (await client.events.until("subscribed"))["recovered"]
            assert await offsets_until(client, position + 3) == [position + 1, position + 2, position + 3]
            await served.kill()
        async with serving(*flags, environment=SETTINGS) as served:
            await write(Site(served, http), post, 1, "after the crash")
            network.target = ws_url(served)
            assert (await client.events.until("subscribed"))["recovered"]
            assert await offsets_until(client, position + 4) == [position + 4]
