"""An event stream that was opened by a ticket is opened again by whoever read it, and by nobody else."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest

from protocol.cursor import receipt_in
from protocol.requests import SignedIn
from store.memory import MemoryStore
from store.memory_bus import Broker
from tests.gateway.http_site import HOST_SECRET, PASSWORD, Api, HttpSite, host_token, http_site
from tests.gateway.live import event
from tests.store.buses import RecordingCounts

STREAMS = {"/v1/feed/events": "feed", "/v1/notifications/events": "unread"}
stream = pytest.mark.parametrize("path", STREAMS)
DAY_S = 86_400.0


async def ticket_of(api: Api, token: str) -> str:
    return str((await api.call("POST", "/v1/tickets", token=token)).json["ticket"])


@asynccontextmanager
async def opened(url: str, last_event_id: str = "") -> AsyncIterator[aiohttp.ClientResponse]:
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with aiohttp.ClientSession() as client, client.get(url, headers=headers) as response:
        yield response


async def status(url: str, last_event_id: str = "") -> int:
    async with opened(url, last_event_id) as response:
        return response.status


async def begun(api: Api, token: str, path: str) -> tuple[str, str]:
    """The address of a stream that was opened, and the last id that it gave."""
    url = f"{api.url}{path}?ticket={await ticket_of(api, token)}"
    async with opened(url) as events:
        assert events.status == 200
        id, _ = await event(events, STREAMS[path])
    return url, id


@stream
async def test_who_comes_back_as_a_browser_does_goes_on_as_often_as_the_network_fails(api: Api, path: str) -> None:
    ann, bob = await api.member("ann"), await api.member("bob")
    await api.call("PUT", "/v1/users/ann/follow", token=bob.access_token)
    url, id = await begun(api, bob.access_token, path)
    for number in range(3):
        await api.post(ann.access_token, title=f"Post {number}")
        async with opened(url, id) as events:
            assert events.status == 200
            again, shown = await event(events, STREAMS[path])
            assert receipt_in(again) == receipt_in(id) != ""
            if path == "/v1/feed/events":
                assert shown["cursor"] == again.replace(f"~{receipt_in(id)}", "")
                # A post may come twice.
                while shown.get("post", {}).get("title") != f"Post {number}":
                    id, shown = await event(events, "post")


@stream
async def test_a_used_ticket_is_worth_nothing_without_its_receipt(api: Api, path: str) -> None:
    ann, bob = await api.member("ann"), await api.member("bob")
    url, id = await begun(api, ann.access_token, path)
    _, of_another = await begun(api, ann.access_token, path)
    _, of_bob = await begun(api, bob.access_token, path)
    receipt = receipt_in(id)
    cursor = id.replace(f"~{receipt}", "")
    assert await status(url) == 401
    turned, shorter = id.replace(receipt, receipt[::-1]), id.replace(receipt, receipt[:-1])
    for forged in (cursor, "x~-1", turned, shorter, of_another, of_bob):
        assert await status(url, forged) == 401, forged
    # An address that tells the receipt would be in the same logs as the ticket.
    assert await status(f"{url}&last_event_id={id}") == 401
    assert await status(url.replace("ticket=", "ticket=x"), id) == 401
    assert await status(f"{api.url}{path}", id) == 401
    assert await status(url, id) == 200


async def test_the_stream_of_a_post_gives_no_receipt_and_takes_none(api: Api) -> None:
    ann = await api.member("ann")
    draft = await api.post(ann.access_token, state="draft")
    url, id = await begun(api, ann.access_token, "/v1/feed/events")
    of_post = url.replace("/v1/feed/", f"/v1/posts/{draft['id']}/")
    # As anybody, for whom there is no such post.
    assert await status(of_post, id) == 404
    fresh = await ticket_of(api, ann.access_token)
    async with opened(f"{api.url}/v1/posts/{draft['id']}/events?ticket={fresh}") as events:
        own, _ = await event(events, "counters")
        assert receipt_in(own) == ""


@stream
async def test_an_id_with_a_receipt_is_a_cursor_like_any_other(api: Api, path: str) -> None:
    token = (await api.member("ann")).access_token
    _, id = await begun(api, token, path)
    receipt = receipt_in(id)
    url = f"{api.url}{path}?ticket={await ticket_of(api, token)}&last_event_id={id}"
    async with opened(url) as events:
        another, _ = await event(events, STREAMS[path])
        assert another.partition("~")[0] == id.partition("~")[0]
        assert receipt_in(another) not in ("", receipt)
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{api.url}/connection/websocket") as socket:
        await socket.send_json({"id": 1, "connect": {"token": token}})
        await socket.receive_json()
        epoch, _, offset = id.rpartition("-")
        kind = "feed" if path == "/v1/feed/events" else "notifications"
        channel = f"{kind}:{(await api.call('GET', '/v1/me', token=token)).json['id']}"
        subscribe = {"channel": channel, "recover": True, "epoch": epoch, "offset": int(offset)}
        await socket.send_json({"id": 2, "subscribe": subscribe})
        assert (await socket.receive_json())["subscribe"]["recovered"]


@stream
async def test_it_ends_with_the_session_and_not_with_the_tokens(site: HttpSite, path: str) -> None:
    api = site.api
    kept, left = await api.member("ann"), await sign_in(api, "ann")
    (url, id), (other_url, other_id) = [await begun(api, each.access_token, path) for each in (kept, left)]
    assert (await api.call("DELETE", "/v1/sessions/current", token=left.access_token)).status == 204
    assert await status(other_url, other_id) == 401
    # Long after the access token, the ticket, and what each worker remembers of ended sessions.
    site.clock.ahead_s = DAY_S
    assert await status(url, id) == 200
    assert await status(other_url, other_id) == 401
    renewed = await api.call("POST", "/v1/sessions/refresh", {"refresh_token": kept.refresh_token})
    assert await status(url, id) == 200
    await api.call("DELETE", "/v1/me", token=renewed.json["access_token"])
    assert await status(url, id) == 401


async def sign_in(api: Api, handle: str) -> SignedIn:
    """The same account on another device."""
    answer = await api.call("POST", "/v1/sessions", {"login": handle, "password": PASSWORD})
    return msgspec.json.decode(answer.body, type=SignedIn)


@stream
async def test_of_a_user_of_the_host_it_ends_with_the_hosts_token(path: str) -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        token = host_token({"id": "1", "username": "ann"})
        url, id = await begun(site.api, token, path)
        site.clock.ahead_s = 300.0
        assert await status(url, id) == 200
        site.clock.ahead_s = 601.0
        assert await status(url, id) == 401


async def test_any_worker_takes_it_also_after_a_crash() -> None:
    store, broker = MemoryStore(time.time), Broker()
    async with http_site(store=store, bus=broker.bus("a", RecordingCounts()), node="a") as a:
        url, id = await begun(a.api, (await a.api.member("ann")).access_token, "/v1/feed/events")
        async with http_site(store=store, bus=broker.bus("b", RecordingCounts()), node="b") as b:
            assert await status(url.replace(a.api.url, b.api.url), id) == 200
    async with http_site(store=store) as site:
        assert await status(url.replace(a.api.url, site.api.url), id) == 200
