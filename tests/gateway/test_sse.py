"""The event stream, as httpx-sse and a bare HTTP client meet it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from protocol.gateway import sse
from tests.gateway.recording import COUNTERS
from tests.gateway.serving import ADA, Site, serving


@asynccontextmanager
async def listening(
    site: Site, *, headers: dict[str, str] | None = None, query: str = "", post: str = "1"
) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
    """The events of a post's stream; the opening counters have been read."""
    async with open_stream(site, headers=headers, query=query, post=post) as events:
        opening = await anext(events)
        assert json.loads(opening.data)["type"] == "counters"
        yield events


@asynccontextmanager
async def open_stream(
    site: Site, *, headers: dict[str, str] | None = None, query: str = "", post: str = "1"
) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
    url = f"{site.url}/v1/posts/{post}/events?{query}"
    async with (
        httpx.AsyncClient(timeout=5) as client,
        aconnect_sse(client, "GET", url, headers=headers or {}) as source,
    ):
        yield source.aiter_sse()


async def refusal(site: Site, path: str, **headers: str) -> tuple[int, Any]:
    async with httpx.AsyncClient(timeout=5) as client:
        response = await client.get(site.url + path, headers=headers)
        return response.status_code, response.json()["code"]


async def test_a_stream_begins_with_where_it_is_and_the_counters() -> None:
    async with serving() as site:
        site.backend.stream("post:1").publish(b"{}")
        async with open_stream(site) as events:
            opening = await anext(events)
            assert (opening.id, opening.event, opening.retry) == ("e1-1", "message", sse.RETRY_MS)
            assert json.loads(opening.data) == json.loads(COUNTERS)


async def test_a_change_carries_its_cursor_and_a_signal_leaves_the_last_one() -> None:
    async with serving() as site, listening(site) as events:
        stream = site.backend.stream("post:1")
        stream.publish(b'{"n":1}')
        stream.signal(b'{"type":"typing","people":[]}')
        change, signal = await anext(events), await anext(events)
        assert (change.id, json.loads(change.data)) == ("e1-1", {"n": 1})
        assert (signal.id, json.loads(signal.data)) == ("e1-1", {"type": "typing", "people": []})


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_client_resumes_after_its_last_event_id_over_several_pages(way: str) -> None:
    async with serving(page=3) as site:
        for n in range(1, 9):
            site.backend.stream("post:1").publish(b"%d" % n)
        headers, query = ({"Last-Event-ID": "e1-1"}, "") if way == "header" else ({}, "last_event_id=e1-1")
        async with open_stream(site, headers=headers, query=query) as events:
            assert (await anext(events)).id == "e1-1"
            assert [(await anext(events)).id for _ in range(7)] == [f"e1-{n}" for n in range(2, 9)]
            site.backend.stream("post:1").publish(b"9")
            assert (await anext(events)).id == "e1-9"


async def test_the_header_that_a_browser_sends_wins_over_the_query_it_began_with() -> None:
    async with serving() as site:
        for n in range(1, 4):
            site.backend.stream("post:1").publish(b"%d" % n)
        async with open_stream(site, headers={"Last-Event-ID": "e1-3"}, query="last_event_id=e1-1") as events:
            assert (await anext(events)).id == "e1-3"


@pytest.mark.parametrize("cursor", ["other-1", "e1-9", "nonsense", "e1-", "-1", "e1-1x"])
async def test_a_cursor_that_cannot_be_resumed_is_answered_by_a_reset(cursor: str) -> None:
    async with serving() as site:
        site.backend.stream("post:1").publish(b"{}")
        async with open_stream(site, headers={"Last-Event-ID": cursor}) as events:
            reset = await anext(events)
            assert (reset.event, reset.id, json.loads(reset.data)) == ("reset", "e1-1", {"cursor": "e1-1"})
            assert (await anext(events)).id == "e1-1"


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/v1/posts/404/events", {}, (404, "post_not_found")),
        ("/v1/posts/x/events", {}, (404, "post_not_found")),
        ("/v1/posts/99999999999999999999/events", {}, (404, "post_not_found")),
        ("/v1/posts/1/events", {"Authorization": "Bearer forged"}, (401, "unauthorized")),
        ("/v1/posts/1/events", {"Authorization": "Bearer expired"}, (401, "token_expired")),
        ("/v1/posts/1/events", {"Authorization": "Basic YTpi"}, (401, "unauthorized")),
        ("/v1/posts/1/events?ticket=used", {}, (401, "unauthorized")),
        ("/v1/posts/1/events", {"Origin": "https://evil.example"}, (403, "origin_not_allowed")),
    ],
)
async def test_what_cannot_be_streamed_is_refused_before_the_stream(
    path: str, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    async with serving() as site:
        assert await refusal(site, path, **headers) == expected
        assert not len(site.sockets.connections)


async def test_a_token_or_a_ticket_says_who_listens_and_nobody_else_is_anonymous() -> None:
    async with serving() as site:
        site.authenticator.identities["ticket"] = ADA
        async with (
            listening(site, headers={"Authorization": "Bearer bob"}),
            listening(site, query="ticket=ticket"),
            listening(site),
        ):
            listed = (await site.backend.presence("post:1")).listed
            assert sorted(each.by.handle for each in listed) == ["", "ada", "bob"]


async def test_a_browser_that_comes_back_with_a_used_ticket_reads_as_anyone_may() -> None:
    async with serving() as site, listening(site, headers={"Last-Event-ID": "e1-0"}, query="ticket=used"):
        [reader] = (await site.backend.presence("post:1")).listed
        assert reader.by.id == 0


async def test_a_stream_has_no_head() -> None:
    async with serving() as site, httpx.AsyncClient(timeout=5) as client:
        assert (await client.head(f"{site.url}/v1/posts/1/events")).status_code == 405


async def test_an_address_has_only_so_many_streams() -> None:
    async with serving(connections_per_address_max=1) as site, listening(site):
        assert await refusal(site, "/v1/posts/1/events") == (429, "too_many_requests")


async def test_a_client_that_goes_away_is_noticed_at_once() -> None:
    async with serving() as site:
        async with listening(site):
            stream = site.backend.stream("post:1")
            stream.changed.clear()
        await asyncio.wait_for(stream.changed.wait(), 5)
        assert not stream.subscriptions


async def test_a_shutdown_ends_the_stream_and_turns_newcomers_away() -> None:
    async with serving() as site, listening(site) as events:
        await site.sockets.shut_down()
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        assert await refusal(site, "/v1/posts/1/events") == (503, "overloaded")


async def test_a_browser_that_comes_back_too_early_is_told_to_try_again_and_others_get_the_error() -> None:
    async with serving() as site:
        path, busy = "/v1/posts/1/events", {"Authorization": "Bearer overload"}
        back = {"Accept": "text/event-stream", "Last-Event-ID": "e1-0"}
        async with httpx.AsyncClient(timeout=5) as client:
            again = await client.get(site.url + path, headers={**busy, **back})
        assert (again.status_code, again.headers["Content-Type"]) == (200, "text/event-stream")
        assert again.text == "retry: 3000\n\n"
        assert await refusal(site, path, **busy) == (503, "unavailable")
        assert await refusal(site, path, **busy, Accept="text/event-stream") == (503, "unavailable")
        # What will not be mended by waiting is said to all.
        assert await refusal(site, path, **back, Authorization="Bearer forged") == (401, "unauthorized")
        await site.sockets.shut_down()
        async with httpx.AsyncClient(timeout=5) as client:
            assert (await client.get(site.url + path, headers=back)).text == "retry: 3000\n\n"


async def test_the_streams_of_a_session_that_was_ended_end() -> None:
    async with serving() as site, listening(site, headers={"Authorization": "Bearer ada"}) as events:
        site.sockets.connections.end_session("s7")
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_an_idle_stream_is_kept_alive_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "COMMENT_INTERVAL_S", 0.05)
    async with serving() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /v1/posts/1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n: \n\r\n"), 5)
        writer.close()
        await writer.wait_closed()


async def test_a_proxy_that_speaks_http_1_0_gets_the_stream_without_chunks() -> None:
    async with serving() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /v1/posts/1/events HTTP/1.0\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert b"chunked" not in head
        assert await asyncio.wait_for(reader.readline(), 5) == b"id: e1-0\n"
        writer.close()
        await writer.wait_closed()
