"""The event stream of the running product, read by httpx-sse; and its cursor, which is the same on every transport."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from protocol.cursor import parse_cursor
from tests.processes import Served
from tests.site import Site, host_token

LONG = "x" * 9_000


@pytest.fixture
async def site(server: Served) -> AsyncIterator[Site]:
    async with aiohttp.ClientSession() as client:
        yield Site(server, client)


@asynccontextmanager
async def events_of(site: Site, post: str, since: str | None = None) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
    """The events of a post's stream that have their own id, or are named; the opening and the signals are left out."""
    headers = {} if since is None else {"Last-Event-ID": since}
    url = f"{site.served.url}/v1/posts/{post}/events"
    async with httpx.AsyncClient(timeout=20) as client, aconnect_sse(client, "GET", url, headers=headers) as source:
        yield changes(source.aiter_sse())


async def changes(events: AsyncIterator[ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    async for event in events:
        if event.event != "message" or event.json()["type"] in ("comment", "post"):
            yield event


async def write(site: Site, post: str, count: int, body: str) -> None:
    async with site.socket(host_token(99)) as socket:
        for number in range(count):
            await socket.call("comment.create", {"post": post, "body": f"{number} {body}"})


def offset_of(event: ServerSentEvent) -> int:
    cursor = parse_cursor(event.id)
    assert cursor is not None
    return cursor.offset


async def test_a_stream_is_resumed_where_it_was_left_over_several_pages(site: Site) -> None:
    post = await site.create_post("a post")
    async with events_of(site, post) as events:
        await write(site, post, 1, "seen")
        last = await anext(events)
        assert last.json()["comment"]["body"] == "0 seen"
    await write(site, post, 80, LONG)
    async with events_of(site, post, since=last.id) as events:
        resumed = [offset_of(await anext(events)) for _ in range(80)]
        await write(site, post, 1, "live")
        resumed.append(offset_of(await anext(events)))
    assert resumed == list(range(offset_of(last) + 1, offset_of(last) + 82))


async def test_a_comment_changed_twice_while_away_arrives_once_as_it_is_now(site: Site) -> None:
    post = await site.create_post("a post")
    page = await site.request("GET", f"/v1/posts/{post}/comments")
    async with site.socket(host_token(99)) as socket:
        first = await socket.call("comment.create", {"post": post, "body": "first"})
        second = await socket.call("comment.create", {"post": post, "body": "second"})
        await socket.call("comment.edit", {"post": post, "comment": first["id"], "body": "first, mended"})
        deleted = await socket.call("comment.delete", {"post": post, "comment": second["id"]})
    async with events_of(site, post, since=page["cursor"]) as events:
        changed = [(await anext(events)).json()["comment"] for _ in range(2)]
    assert [(each["body"], each["state"]) for each in changed] == [("first, mended", "visible"), ("", "deleted")]
    assert changed[-1]["offset"] == deleted["offset"]


async def test_the_cursor_of_a_page_a_socket_and_a_stream_is_the_same(site: Site) -> None:
    post = await site.create_post("a post")
    await write(site, post, 2, "before")
    page = await site.request("GET", f"/v1/posts/{post}/comments")
    async with site.socket(host_token(7)) as socket:
        here = await socket.ask("subscribe", {"channel": f"post:{post}"})
        assert page["cursor"] == f"{here['epoch']}-{here['offset']}"
        await socket.ask("unsubscribe", {"channel": f"post:{post}"})
        await write(site, post, 1, "after")
        async with events_of(site, post, since=page["cursor"]) as events:
            event = await anext(events)
        since = {"recover": True, "epoch": here["epoch"], "offset": here["offset"]}
        recovered = await socket.ask("subscribe", {"channel": f"post:{post}", **since})
        assert [item["offset"] for item in recovered["publications"]] == [offset_of(event)]
        assert recovered["publications"][0]["data"] == event.json()


@pytest.mark.parametrize("cursor", ["elsewhere-1", "no cursor"])
async def test_a_cursor_of_elsewhere_is_answered_by_a_reset(site: Site, cursor: str) -> None:
    post = await site.create_post("a post")
    async with events_of(site, post, since=cursor) as events:
        reset = await anext(events)
    assert reset.event == "reset"
    assert reset.json()["cursor"] == reset.id
    assert reset.id == (await site.request("GET", f"/v1/posts/{post}/comments"))["cursor"]
