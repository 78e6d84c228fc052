"""The home feed: the posts of those one follows, as they are published, changed and deleted."""

import re

import httpx
import pytest
from playwright.async_api import Route

from tests.browser.conftest import OpenReader
from tests.browser.reader import NO_SOCKET, sign_up

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIES_CHANGED = """
    localStorage.setItem("plaudit.ties", "other");
    dispatchEvent(new StorageEvent("storage", { key: "plaudit.ties" }));
"""
"""Has a feed read anew, as when somebody is followed in another tab."""
MARK_SHOWN = "for (const shown of document.querySelectorAll('.summary')) shown.dataset.old = ''"


async def test_a_post_of_somebody_one_follows_comes_and_goes_while_one_looks(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    grace = await sign_up(client, "home-grace", "Grace Hopper")
    one = await reader()
    await one.sign_up("home-reader", "A Reader")
    await one.meet("home-grace")
    await one.follow("Grace Hopper")
    await one.go_home()
    post, _ = await grace.post("On compilers", "They are patient.")
    shown = await one.see(one.summary("On compilers"))
    assert "They are patient." in await shown.inner_text()
    await grace.call("PATCH", f"/v1/posts/{post}", {"title": "On good compilers"})
    await one.see(one.summary("On good compilers"))
    assert await one.titles() == ["On good compilers"]
    await grace.call("DELETE", f"/v1/posts/{post}")
    await one.see_no_more(one.summary("On good compilers"))


async def test_what_somebody_publishes_in_one_browser_appears_and_vanishes_in_the_others(reader: OpenReader) -> None:
    writer, one = await reader(), await reader()
    await writer.sign_up("mary", "Mary Somerville")
    await one.sign_up("caroline", "Caroline Herschel")
    await one.meet("mary")
    await one.follow("Mary Somerville")
    await one.go_home()
    await writer.publish("On the connexion of things", "They *hang* together.")
    await one.see(one.summary("On the connexion of things").get_by_text("They hang together."))
    await writer.see_unread(1)
    assert "They hang together." in await writer.page.locator(".prose").inner_text()

    other = await one.tab()
    await other.page.get_by_role("link", name="On the connexion of things").click()
    await other.applaud.click()
    await other.write("And fall apart.")
    await writer.see_unread(3)
    await writer.bell.click()
    await writer.see(writer.notice_of("applause").get_by_text("Caroline Herschel applauded On the connexion of things"))
    await writer.see(
        writer.notice_of("comment").get_by_text("Caroline Herschel commented on On the connexion of things")
    )
    await writer.see(writer.notice_of("follow").get_by_text("Caroline Herschel follows you"))
    await writer.see_unread(0)
    await writer.page.keyboard.press("Escape")

    await writer.page.get_by_role("link", name="Edit").click()
    writer.page.once("dialog", lambda dialog: dialog.accept())
    await writer.page.get_by_role("button", name="Delete").click()
    await one.see_no_more(one.summary("On the connexion of things"))
    await one.see("Nothing here yet.")


async def test_new_posts_wait_behind_a_pill_for_who_reads_further_down(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    emmy = await sign_up(client, "emmy", "Emmy Noether")
    for n in range(30):
        await emmy.post(f"Ring {n}")
    one = await reader()
    await one.sign_up("down-below", "Down Below")
    await one.meet("emmy")
    await one.follow("Emmy Noether")
    await one.go_home()
    await one.page.keyboard.press("End")
    last = await one.see(one.summary("Ring 9"))
    await last.scroll_into_view_if_needed()
    before = await last.bounding_box()
    gone, _ = await emmy.post("Taken back at once")
    await one.see(one.pill.get_by_text("1 new post"))
    await emmy.post("Ideal 1")
    await emmy.post("Ideal 2")
    await one.see(one.pill.get_by_text("3 new posts"))
    await emmy.call("DELETE", f"/v1/posts/{gone}")
    await one.see(one.pill.get_by_text("2 new posts"))
    assert await last.bounding_box() == before
    await one.show_new()
    assert (await one.titles())[:3] == ["Ideal 2", "Ideal 1", "Ring 29"]
    assert await one.page.evaluate("[scrollY, document.activeElement.textContent]") == [0, "Ideal 2"]
    await one.page.keyboard.press("End")
    await one.see(one.summary("Ring 0"))
    assert await one.titles() == ["Ideal 2", "Ideal 1", *(f"Ring {n}" for n in reversed(range(30)))]


@pytest.mark.parametrize("beyond", [False, True])
async def test_what_goes_or_changes_while_a_page_is_read_is_not_shown_as_it_was(
    reader: OpenReader, client: httpx.AsyncClient, beyond: bool
) -> None:
    name = "further" if beyond else "first"
    writer = await sign_up(client, f"writes-{name}", "A Writer")
    goes, _ = await writer.post("Goes")
    stays, _ = await writer.post("Stays")
    for n in range(20 * beyond):
        await writer.post(f"Later {n}")
    one = await reader()
    await one.sign_up(f"reads-{name}", "A Reader")
    await one.meet(f"writes-{name}")
    await one.follow("A Writer")
    await one.go_home()

    async def answer_late(route: Route) -> None:
        page = await route.fetch()
        await writer.call("DELETE", f"/v1/posts/{goes}")
        await writer.call("PATCH", f"/v1/posts/{stays}", {"title": "Changed"})
        await writer.post("Comes last")
        await one.see(one.page.get_by_text(re.compile("Comes last|1 new post")))
        await route.fulfill(response=page)

    await one.page.route(re.compile(r"/v1/timeline\?.*before=" if beyond else r"/v1/timeline\?limit"), answer_late)
    await one.page.evaluate(MARK_SHOWN)
    await (one.page.keyboard.press("End") if beyond else one.page.evaluate(TIES_CHANGED))
    await one.see(one.page.locator(".summary:not([data-old])", has_text="Changed"))
    assert not {"Goes", "Stays"} & {*await one.titles()}


async def test_who_was_offline_has_missed_nothing_and_sees_nothing_twice(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    sophie = await sign_up(client, "sophie", "Sophie Germain")
    one = await reader()
    await one.sign_up("on-a-train", "On a Train")
    network = await one.on_a_weak_network()
    await one.meet("sophie")
    await one.follow("Sophie Germain")
    await one.open("/")
    stays, _ = await sophie.post("Stays")
    goes, _ = await sophie.post("Goes")
    await one.see(one.summary("Goes"))
    for n in range(2):
        await network.go_down()
        await one.see(one.notice.get_by_text("You are offline."))
        await sophie.call("PATCH", f"/v1/posts/{stays}", {"title": f"Stays, changed {n}"})
        await sophie.post(f"Came meanwhile {n}")
        if n == 1:
            await sophie.call("DELETE", f"/v1/posts/{goes}")
        await network.come_back()
        await one.see_no_more(one.notice)
        await one.see(one.summary(f"Stays, changed {n}"))
        await one.see(one.summary(f"Came meanwhile {n}"))
    await one.see_no_more(one.summary("Goes"))
    assert await one.titles() == ["Came meanwhile 1", "Came meanwhile 0", "Stays, changed 1"]


async def test_where_no_websocket_gets_through_the_feed_and_the_bell_are_live_all_the_same(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    agnes = await sign_up(client, "agnes", "Agnes Pockels")
    one = await reader()
    await one.sign_up("strict-proxy", "Behind a Proxy")
    await one.meet("agnes")
    await one.follow("Agnes Pockels")
    await one.page.add_init_script(NO_SOCKET)
    async with one.page.expect_request("**/v1/feed/events?*"), one.page.expect_request("**/v1/notifications/events?*"):
        await one.open("/")
    await agnes.post("Surface tension")
    await one.see(one.summary("Surface tension"))
    await agnes.call("PUT", "/v1/users/strict-proxy/follow")
    await one.see_unread(1)


async def test_who_follows_nobody_is_shown_whom_to_follow_and_then_what_they_wrote(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    rosa = await sign_up(client, "rosa", "Rosa Newcomer")
    await rosa.post("A first letter")
    one = await reader()
    await one.sign_up("newcomer", "A Newcomer")
    await one.go_home()
    await one.see("Nothing here yet.")
    await one.see("People to follow")
    person = one.page.locator(".suggestions .person").first
    name = await person.locator(".author").inner_text()
    await person.get_by_role("button", name=f"Follow {name}").click()
    await one.see(one.page.locator(".summary .byline", has_text=name))
    await one.see_no_more("Nothing here yet.")


async def test_who_is_followed_in_one_tab_is_in_the_feed_of_the_other(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    mae = await sign_up(client, "mae", "Mae Jemison")
    await mae.post("Before you came")
    one = await reader()
    await one.sign_up("twice-open", "Twice Open")
    await one.go_home()
    other = await one.tab()
    await other.meet("mae")
    await other.follow("Mae Jemison")
    await one.see(one.summary("Before you came"))
    await other.choose("Mae Jemison", "Mute for good")
    await one.see_no_more(one.summary("Before you came"))


async def test_recent_and_hot_posts_are_for_everybody(reader: OpenReader, client: httpx.AsyncClient) -> None:
    hertha = await sign_up(client, "hertha", "Hertha Ayrton")
    await hertha.call("POST", "/v1/posts", {"title": "The hissing arc", "tags": ["electricity"]})
    await hertha.call("POST", "/v1/posts", {"title": "Ripples in sand", "tags": ["electricity"]})
    one = await reader()
    await one.open("/?tag=electricity")
    await one.see(one.page.get_by_role("heading", name="Posts on electricity"))
    assert await one.titles() == ["Ripples in sand", "The hissing arc"]
    assert await one.page.get_by_role("link", name="Following").count() == 0
    await one.page.get_by_role("link", name="Hot").click()
    await one.page.wait_for_url("**/?order=hot&tag=electricity")
    await one.see(one.page.locator(".tabs [aria-current]", has_text="Hot"))
    await one.open("/")
    await one.see(one.page.locator(".tabs [aria-current]", has_text="Recent"))
    await one.see(one.summary("Ripples in sand"))


async def test_a_bookmark_is_kept_and_taken_away(reader: OpenReader, client: httpx.AsyncClient) -> None:
    lise = await sign_up(client, "lise", "Lise Meitner")
    _, slug = await lise.post("For later")
    one = await reader()
    await one.sign_up("collector", "A Collector")
    await one.open("/?order=recent")
    ribbon = one.page.get_by_role("button", name="Bookmark For later")
    await one.answered("PUT", "/bookmark", ribbon.click)
    await one.page.get_by_role("link", name="Bookmarks").click()
    await one.see(one.summary("For later"))
    await one.read(slug)
    await one.see(one.page.locator('.bookmark[aria-pressed="true"]'))
    await one.answered("DELETE", "/bookmark", ribbon.click)
    await one.open("/bookmarks")
    await one.see("None yet.")
