"""Searching from any page: posts and comments, by their words."""

import asyncio

import httpx
import pytest

from tests.browser.conftest import OpenReader
from tests.browser.reader import TIMEOUT_MS, Reader, sign_up

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def find(one: Reader, words: str) -> None:
    await one.page.get_by_role("search").get_by_label("Search").fill(words)
    await one.page.get_by_role("search").get_by_label("Search").press("Enter")
    await one.page.wait_for_url("**/search?q=*")


async def found(client: httpx.AsyncClient, words: str, hits: int) -> None:
    """Wait until what is new is found: its words are written down a little later."""
    async with asyncio.timeout(TIMEOUT_MS / 1000):
        while len((await client.get("/v1/search", params={"q": words, "limit": 50})).json()) < hits:
            await asyncio.sleep(0.1)


async def test_posts_and_comments_are_found_with_their_words_marked(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    maria = await sign_up(client, "maria", "Maria Merian")
    post, slug = await maria.post("Metamorphosis", "The *sphinx* moth <b>sleeps</b> by day.")
    await maria.comment(post, "A sphinx is no cat.")
    await found(client, "sphinx", 2)
    one = await reader()
    await one.open("/")
    await find(one, "sphinx")
    hits = one.page.locator(".hit")
    await one.see(hits.nth(1))
    assert await hits.count() == 2
    assert await hits.locator("mark").all_inner_texts() == ["sphinx", "sphinx"]
    await one.page.get_by_role("link", name="Comments", exact=True).click()
    await one.see(one.page.locator(".tabs [aria-current]", has_text="Comments"))
    await one.see(hits.get_by_text("is no cat"))
    assert await hits.count() == 1
    await hits.get_by_role("link", name="On Metamorphosis").click()
    await one.see(one.comment("A sphinx is no cat."))
    assert f"/p/{slug}#c-" in one.page.url


async def test_further_pages_come_as_one_reads(reader: OpenReader, client: httpx.AsyncClient) -> None:
    jane = await sign_up(client, "jane-m", "Jane Marcet")
    for n in range(23):
        await jane.post(f"Conversation {n} on quicksilver")
    await found(client, "quicksilver", 23)
    one = await reader()
    await one.open("/search?q=quicksilver")
    await one.see(one.page.locator(".hit"))
    await one.page.keyboard.press("End")
    await one.see(one.page.locator(".hit").nth(22))
    assert len({*(await one.page.locator(".hit h2").all_inner_texts())}) == 23


async def test_nothing_found_and_nothing_asked_are_said_in_words(reader: OpenReader) -> None:
    one = await reader(width=390)
    await one.open("/")
    await one.page.get_by_role("link", name="Search").click()
    await one.see(one.page.get_by_label("Search"))
    assert await one.page.evaluate("document.activeElement.name") == "q"
    await one.page.keyboard.type("zyzzyva")
    await one.page.keyboard.press("Enter")
    await one.see("Nothing found for zyzzyva")
    assert await one.page.title() == "zyzzyva · Plaudit"


async def test_a_search_that_fails_can_be_tried_again(reader: OpenReader) -> None:
    one = await reader()
    problem = {"type": "about:blank", "title": "not valid", "status": 422, "code": "invalid", "detail": "q: is too odd"}
    await one.page.route("**/v1/search?*", lambda route: route.fulfill(status=422, json=problem))
    await one.open("/search?q=odd")
    await one.see("Q: is too odd.")
    await one.page.unroute("**/v1/search?*")
    await find(one, "zyzzyva")
    await one.see("Nothing found for zyzzyva")
