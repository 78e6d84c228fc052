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
