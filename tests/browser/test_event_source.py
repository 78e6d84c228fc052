"""A browser's own EventSource: it resumes by itself where the network was cut."""

import aiohttp
import pytest
from playwright.async_api import Browser

from tests.faults.proxy import Proxy
from tests.processes import Served
from tests.site import Site, host_token

LISTEN = """post => {
  window.heard = []
  const source = new EventSource(`/v1/posts/${post}/events`)
  source.onmessage = ({ data, lastEventId }) => {
    const { type, comment } = JSON.parse(data)
    window.heard.push({ type, body: comment?.body, lastEventId })
  }
}"""
BODIES = "() => window.heard.filter(({ type }) => type === 'comment').map(({ body }) => body)"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_browser_misses_nothing_while_its_network_is_cut(browser: Browser, server: Served) -> None:
    async with aiohttp.ClientSession() as http, Proxy(server.url) as network:
        site = Site(server, http)
        post = await site.create_post("a post")
        page = await browser.new_page()
        await page.goto(f"{network.url}/healthz")
        await page.evaluate(LISTEN, post)
        await page.wait_for_function("window.heard.length > 0")
        async with site.socket(host_token(99)) as socket:
            await socket.call("comment.create", {"post": post, "body": "seen"})
            await page.wait_for_function("window.heard.some(({ body }) => body === 'seen')")
            network.refuse()
            for body in ("missed", "missed too"):
                await socket.call("comment.create", {"post": post, "body": body})
            network.accept()
            await page.wait_for_function("window.heard.some(({ body }) => body === 'missed too')")
            await socket.call("comment.create", {"post": post, "body": "live"})
        await page.wait_for_function("window.heard.some(({ body }) => body === 'live')")
        assert await page.evaluate(BODIES) == ["seen", "missed", "missed too", "live"]
        # Counters and typing have no id of their own: the last one stays that of a change.
        assert await page.evaluate("window.heard.every(({ lastEventId }) => /-[0-9]+$/.test(lastEventId))")
        await page.close()


LISTEN_TO_ONES_OWN = """address => {
  window.told = []
  window.source = new EventSource(address)
  source.addEventListener('message', ({ data }) => {
    const { type, post, group } = JSON.parse(data)
    window.told.push(post?.title ?? group?.kind ?? type)
  })
}"""


@pytest.mark.asyncio(loop_scope="session")
async def test_a_browser_comes_back_to_its_own_streams_with_the_ticket_that_it_began_with(
    browser: Browser, server: Served
) -> None:
    async with aiohttp.ClientSession() as http, Proxy(server.url) as network:
        site = Site(server, http)
        me, friend = host_token(501, "author"), host_token(502, "author")
        post = await site.request("POST", "/v1/posts", {"title": "Mine"}, token=me)
        who = await site.request("GET", "/v1/me", token=friend)
        await site.request("PUT", f"/v1/users/{who['handle']}/follow", token=me)
        pages = []
        for stream, opening in (("feed", "feed"), ("notifications", "unread")):
            ticket = (await site.request("POST", "/v1/tickets", token=me))["ticket"]
            page = await browser.new_page()
            await page.goto(f"{network.url}/healthz")
            await page.evaluate(LISTEN_TO_ONES_OWN, f"/v1/{stream}/events?ticket={ticket}")
            await page.wait_for_function("type => told.includes(type)", arg=opening)
            pages.append(page)
        feed, notifications = pages
        # More than once: the ticket is used up by the first time.
        for number, kind in enumerate(("applause", "comment")):
            network.refuse()
            await site.request("POST", "/v1/posts", {"title": f"Friend's {number}"}, token=friend)
            if kind == "applause":
                await site.request("PUT", f"/v1/posts/{post['id']}/applause", {"total": 3}, token=friend)
            else:
                await site.request("POST", f"/v1/posts/{post['id']}/comments", {"body": "Nice"}, token=friend)
            network.accept()
            await feed.wait_for_function("title => told.includes(title)", arg=f"Friend's {number}")
            await notifications.wait_for_function("kind => told.includes(kind)", arg=kind)
        await site.request("POST", "/v1/posts", {"title": "Live"}, token=friend)
        await feed.wait_for_function("told.includes('Live')")
        for page in pages:
            assert await page.evaluate("source.readyState === EventSource.OPEN")
            await page.close()
