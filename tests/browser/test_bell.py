"""The bell: what people make of what one writes, in groups, counted live, read by looking."""

import re

import httpx
import pytest

from tests.browser.conftest import OpenReader
from tests.browser.reader import sign_up

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_others_do_is_counted_live_and_read_in_every_tab_once_one_has_looked(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    one = await reader()
    await one.sign_up("kay", "Kay McNulty")
    kay = await one.by_http(client)
    post, slug = await kay.post("Paths of shells")
    fans = [await sign_up(client, f"fan-{n}", f"Fan {n}") for n in range(4)]
    await one.open("/")
    await one.see_unread(0)
    for fan in fans:
        await fan.call("PUT", f"/v1/posts/{post}/applause", {"total": 5})
    await fans[0].comment(post, "How far?")
    await one.see_unread(2)

    other = await one.tab()
    await other.see_unread(2)
    await one.bell.click()
    applause = await one.see(one.notice_of("applause"))
    assert re.search(r"Fan \d, Fan \d and 2 others applauded Paths of shells", await applause.inner_text())
    comment = one.notice_of("comment")
    assert "Fan 0 commented on Paths of shells" in await comment.inner_text()
    await one.see(comment.get_by_text("unread"))
    await one.see_unread(0)
    await other.see_unread(0)
    await one.page.reload()
    await one.see_unread(0)
    await one.bell.click()
    await one.see(one.notice_of("comment"))
    assert await one.page.locator(".notices .unread").count() == 0
    await one.notice_of("comment").get_by_role("link").click()
    await one.see(one.comment("How far?"))
    assert f"/p/{slug}#" in one.page.url


async def test_what_comes_while_the_bell_is_open_is_shown_and_read(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    one = await reader()
    await one.sign_up("ruth", "Ruth Teitelbaum")
    await one.open("/")
    await one.see_unread(0)
    await one.bell.click()
    await one.see("Nothing yet.")
    fan = await sign_up(client, "late-fan", "A Late Fan")
    await fan.call("PUT", "/v1/users/ruth/follow")
    await one.see(one.notice_of("follow").get_by_text("A Late Fan follows you"))
    await one.see_unread(0)
    await one.page.keyboard.press("Escape")
    await one.see_no_more(one.notice_of("follow"))
    assert await one.bell.evaluate("(bell) => bell === document.activeElement")
    await one.page.reload()
    await one.see_unread(0)
    await one.bell.click()
    await one.notice_of("follow").get_by_role("link").click()
    await one.see(one.page.get_by_role("heading", name="A Late Fan"))


async def test_older_ones_have_a_page_and_kinds_are_switched_off(reader: OpenReader, client: httpx.AsyncClient) -> None:
    one = await reader()
    await one.sign_up("marlyn", "Marlyn Meltzer")
    marlyn = await one.by_http(client)
    fan = await sign_up(client, "steady-fan", "A Steady Fan")
    posts = [await marlyn.post(f"Number {n}") for n in range(33)]
    for post, _ in posts:
        await fan.comment(post, "Good")
    await one.open("/notifications")
    await one.see(one.notice_of("comment").get_by_text("Number 32", exact=True))
    await one.see_unread(0)
    await one.page.keyboard.press("End")
    await one.see(one.notice_of("comment").get_by_text("Number 0", exact=True))
    assert await one.notice_of("comment").count() == 33

    await one.page.get_by_text("What I want to be told").click()
    await one.answered("PATCH", "/preferences", one.page.get_by_label("New followers").uncheck)
    await fan.call("PUT", "/v1/users/marlyn/follow")
    await fan.comment(posts[-1][0], "Still good")
    await one.see(one.notice_of("comment").get_by_text("wrote 2 comments on"))
    assert await one.notice_of("follow").count() == 0
    await one.page.reload()
    await one.page.get_by_text("What I want to be told").click()
    assert not await one.page.get_by_label("New followers").is_checked()
    assert await one.page.get_by_label("Reactions").is_checked()


async def test_who_is_blocked_rings_no_bell(reader: OpenReader, client: httpx.AsyncClient) -> None:
    one = await reader()
    await one.sign_up("peaceful", "A Peaceful One")
    peaceful = await one.by_http(client)
    post, _ = await peaceful.post("Quiet")
    noisy, kind = await sign_up(client, "noisy", "Noisy"), await sign_up(client, "kind", "Kind")
    await one.meet("noisy")
    await one.choose("Noisy", "Block Noisy")
    await one.see("You block Noisy")
    await noisy.comment(post, "Hear me")
    await kind.comment(post, "Good morning")
    await one.see_unread(1)
    await one.bell.click()
    await one.see(one.notice_of("comment").get_by_text("Kind commented on Quiet"))
    await one.open("/account")
    await one.page.locator(".person", has_text="Noisy").get_by_role("button", name="Unblock").click()
    await one.see_no_more(one.page.locator(".person", has_text="Noisy"))


async def test_a_guest_has_a_bell_and_an_anonymous_reader_none(reader: OpenReader, client: httpx.AsyncClient) -> None:
    writer = await sign_up(client, "betty-s", "Betty Snyder")
    post, slug = await writer.post("Ask me")
    one = await reader()
    await one.read(slug)
    assert not await one.bell.is_visible()
    await one.write("A question", guest="Grace")
    await one.see_unread(0)
    comments = await writer.call("GET", f"/v1/posts/{post}/comments")
    await writer.comment(post, "An answer", comments["comments"][0]["comment"]["id"])
    await one.see_unread(1)
    await one.bell.click()
    await one.see(one.notice_of("reply").get_by_text("Betty Snyder replied to your comment on Ask me"))
    await one.open("/account")
    await one.page.get_by_role("button", name="Sign out").click()
    await one.page.wait_for_url(f"{one.url}/")
    await one.see(one.page.locator("nav").get_by_role("link", name="Sign in"))
    assert not await one.bell.is_visible()


async def test_who_signs_out_in_one_tab_is_somebody_else_in_the_other(reader: OpenReader) -> None:
    one = await reader()
    await one.sign_up("two-tabs", "Two Tabs")
    await one.open("/account")
    other = await one.tab()
    await other.go_home()
    await one.page.get_by_role("button", name="Sign out").click()
    await other.see(other.page.locator("nav").get_by_role("link", name="Sign in"))
    await other.see(other.page.locator(".tabs [aria-current]", has_text="Recent"))
    assert not await other.bell.is_visible()
    assert other.mistakes == []
