"""Live feeds over WebSocket and Server-Sent Events, over a store in memory and over the whole server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.gateway.http_site import Api
from tests.gateway.live import WAIT_S, event, push, socket_of, subscribe
from tests.gateway.people import People, Someone
from tests.processes import serving
from tests.site import SETTINGS


async def publish(someone: Someone, title: str) -> str:
    return str((await someone.api.post(someone.token, title=title))["id"])


async def cursor_of(someone: Someone) -> str:
    return str((await someone.call("GET", "/v1/timeline")).json["cursor"])


@asynccontextmanager
async def events_of(someone: Someone, cursor: str | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
    headers = {"Authorization": f"Bearer {someone.token}", **({"Last-Event-ID": cursor} if cursor else {})}
    async with (
        aiohttp.ClientSession(headers=headers) as client,
        client.get(f"{someone.api.url}/v1/feed/events") as events,
    ):
        assert events.status == 200
        yield events


async def opened(events: aiohttp.ClientResponse) -> str:
    """The cursor that an event stream begins with; it is the ``id``, too."""
    id, data = await event(events, "feed")
    assert data["cursor"] == id
    return id


async def next_post(events: aiohttp.ClientResponse) -> tuple[str, dict[str, Any]]:
    """The next post of an event stream, after its cursor."""
    id, data = await event(events, "post")
    return id, data["post"]


async def test_posts_come_live_over_the_websocket_and_over_server_sent_events(people: People) -> None:
    ada, bob, cyd = await people.some("ada", "bob", "cyd")
    await bob.does("PUT", "follow", ada)
    async with socket_of(bob) as socket, events_of(bob) as events:
        epoch, _, offset = (await opened(events)).rpartition("-")
        reply = (await subscribe(socket, f"feed:{bob.id}"))["subscribe"]
        assert (reply["epoch"], reply["data"]["type"]) == (epoch, "feed")
        assert reply["recoverable"]
        await publish(cyd, "Not for Bob")
        post = await publish(ada, "Words")

        pushed = await push(socket, "post")
        assert pushed["channel"] == f"feed:{bob.id}"
        shown = pushed["pub"]["data"]["post"]
        assert (shown["id"], shown["title"], shown["author"]["handle"]) == (post, "Words", ada.handle)
        cursor, same = await next_post(events)
        read = (await bob.call("GET", f"/v1/posts/{post}")).json
        assert same == shown == {name: read[name] for name in shown}
        assert int(cursor.rpartition("-")[2]) >= int(offset)

        await ada.call("PATCH", f"/v1/posts/{post}", {"title": "Other words"})
        assert (await push(socket, "post"))["pub"]["data"]["post"]["title"] == "Other words"
        assert (await next_post(events))[1]["title"] == "Other words"
        await ada.call("DELETE", f"/v1/posts/{post}")
        for tombstone in ((await push(socket, "post"))["pub"]["data"]["post"], (await next_post(events))[1]):
            assert (tombstone["id"], tombstone["state"], tombstone["body"]) == (post, "deleted", "")


async def test_who_comes_back_gets_what_was_missed_and_then_what_is_live(people: People) -> None:
    ada, bob, cyd = await people.some("ada", "bob", "cyd")
    await bob.does("PUT", "follow", ada)
    cursor = await cursor_of(bob)
    missed = [await publish(ada, title) for title in ("One", "Two")]
    await publish(cyd, "Before")
    await bob.does("PUT", "follow", cyd)

    async with socket_of(bob) as socket:
        reply = (await subscribe(socket, f"feed:{bob.id}", cursor))["subscribe"]
        assert reply["recovered"]
        assert f"{reply['epoch']}-{reply['offset']}" == cursor
        titles = [publication["data"]["post"]["title"] for publication in reply["publications"]]
        assert titles == ["One", "Two", "Before"]
        await socket.send_json({"id": 9, "history": {"channel": f"feed:{bob.id}", "limit": 1}})
        while (answer := await socket.receive_json(timeout=WAIT_S)).get("id") != 9:
            pass
        assert answer["history"]["epoch"] == reply["epoch"]
    async with events_of(bob, cursor) as events:
        assert await opened(events) == cursor
        assert [(await next_post(events))[1]["id"] for _ in range(2)] == missed
        after, last = await next_post(events)
        assert last["title"] == "Before"
        live = await publish(ada, "Live")
        async with asyncio.timeout(WAIT_S):
            while (await next_post(events))[1]["id"] != live:
                pass
    async with events_of(bob, after) as events:
        assert [(await next_post(events))[1]["title"] for _ in range(2)][-1] == "Live"


async def test_what_went_while_nobody_listened_is_not_followed_by_what_it_was(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    await bob.does("PUT", "follow", ada)
    cursor = await cursor_of(bob)
    async with socket_of(bob) as socket:
        await subscribe(socket, f"feed:{bob.id}", cursor)
        post = await publish(ada, "Regretted")
        await push(socket, "post")
    await asyncio.sleep(0.1)
    await ada.call("DELETE", f"/v1/posts/{post}")
    async with socket_of(bob) as socket:
        reply = (await subscribe(socket, f"feed:{bob.id}", cursor))["subscribe"]
        states = [publication["data"]["post"]["state"] for publication in reply["publications"]]
        last = await publish(ada, "Last")
        while (shown := (await push(socket, "post"))["pub"]["data"]["post"])["id"] != last:
            states.append(shown["state"])
        assert set(states) == {"deleted"}


async def test_a_cursor_of_another_stream_resets_the_feed(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    await bob.does("PUT", "follow", ada)
    epoch = (await cursor_of(bob)).rpartition("-")[0]
    for cursor in ("x", f"{epoch}x-1", f"{epoch}-999999999999999999", f"{epoch}--1"):
        async with events_of(bob, cursor) as events:
            assert (await events.content.readline()).startswith(b"id: ")
            assert await events.content.readline() == b"event: reset\n"
        async with socket_of(bob) as socket:
            if cursor.rpartition("-")[2].isdecimal():
                reply = (await subscribe(socket, f"feed:{bob.id}", cursor))["subscribe"]
                assert "recovered" not in reply
                assert reply["epoch"] == epoch


async def test_nobody_else_may_listen(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    async with socket_of(bob) as socket:
        for channel, code in ((f"feed:{ada.id}", 103), ("feed:99999999", 103), ("feed:x", 102), ("feed:", 102)):
            reply = await subscribe(socket, channel)
            assert reply["error"]["code"] == code, (channel, reply)
        assert "subscribe" in await subscribe(socket, f"feed:{bob.id}")
        await socket.send_json({"id": 9, "presence": {"channel": f"feed:{bob.id}"}})
        assert (await socket.receive_json(timeout=WAIT_S))["error"]["code"] == 108
    answer = await ada.api.call("GET", "/v1/feed/events")
    assert answer.code == "unauthorized"


async def test_feeds_cross_workers_and_outlive_a_kill(tmp_path: Path) -> None:
    arguments = ("server.py", "--port", "0", "--workers", "2", "--data-dir", str(tmp_path / "data"))
    async with serving(*arguments, environment=SETTINGS) as served, aiohttp.ClientSession() as client:
        people = People(Api(client, served.url))
        ada, bob = await people.some("ada", "bob")
        await bob.does("PUT", "follow", ada)
        cursor = await cursor_of(bob)
        async with AsyncExitStack() as listening:
            streams = [await listening.enter_async_context(events_of(bob)) for _ in range(6)]
            for events in streams:
                await opened(events)
            posts = [await publish(ada, f"Post {number}") for number in range(6)]
            for events in streams:
                assert {(await next_post(events))[1]["id"] for _ in posts} == set(posts)
        await served.kill()
    async with serving(*arguments, environment=SETTINGS) as served, aiohttp.ClientSession() as client:
        bob = bob._replace(api=Api(client, served.url))
        async with events_of(bob, cursor) as events:
            assert await opened(events) == cursor
            assert [(await next_post(events))[1]["id"] for _ in posts] == posts
        figures = await (await client.get(f"{served.url}/metrics")).text()
        assert "plaudit_feed_found_total" in figures
