"""The page of a member: who it is, following, muting, blocking, and the people around them."""

import httpx
import pytest

from tests.browser.conftest import OpenReader
from tests.browser.reader import sign_up

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_direct_visit_shows_who_it_is_and_what_they_wrote(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    ida = await sign_up(client, "ida", "Ida Rhodes")
    for n in range(23):
        await ida.post(f"Chapter {n}")
    one = await reader()
    await one.meet("ida")
    assert await one.page.title() == "Ida Rhodes (@ida) · Plaudit"
    await one.see(one.page.get_by_role("link", name="23 posts"))
    # The next page comes by itself, its place being near.
    await one.page.keyboard.press("End")
    await one.see(one.summary("Chapter 0"))
    assert await one.titles() == [f"Chapter {n}" for n in reversed(range(23))]
    # Who is not signed in is asked to, and comes back.
    await one.page.get_by_role("link", name="Follow Ida Rhodes").click()
    assert "next=%2F%40ida" in one.page.url


async def test_nobody_of_that_name_is_said_in_words(reader: OpenReader) -> None:
    one = await reader()
    await one.open("/@nobody-at-all")
    await one.see("There is nobody of this name.")


async def test_a_follow_shows_at_once_and_is_taken_back_where_the_server_refuses(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    betty = await sign_up(client, "betty", "Betty Holberton")
    one = await reader()
    await one.sign_up("wary", "A Wary One")
    await one.meet("betty")
    # Meanwhile, elsewhere.
    await betty.call("PUT", "/v1/users/wary/block")
    await one.page.get_by_role("button", name="Follow Betty Holberton").click()
    await one.see(one.notice.get_by_text("this person blocks you"))
    await one.see(one.page.get_by_role("button", name="Follow Betty Holberton"))
    await betty.call("DELETE", "/v1/users/wary/block")
    await one.follow("Betty Holberton")
    await one.see(one.page.get_by_role("link", name="1 follower"))
    await one.page.get_by_role("link", name="1 follower").click()
    await one.see(one.page.locator(".person", has_text="A Wary One"))
    await one.meet("betty")
    button = one.page.get_by_role("button", name="Following Betty Holberton")
    await one.answered("DELETE", "/follow", button.click)
    await one.see(one.page.get_by_role("link", name="0 followers"))


async def test_who_is_muted_is_not_in_the_feed_and_comes_back_after(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    jean = await sign_up(client, "jean", "Jean Bartik")
    await jean.post("Loud")
    one = await reader()
    await one.sign_up("quiet-reader", "A Quiet One")
    await one.meet("jean")
    await one.follow("Jean Bartik")
    await one.go_home()
    await one.see(one.summary("Loud"))
    await one.meet("jean")
    await one.choose("Jean Bartik", "Mute for a day")
    await one.see("You see nothing of Jean Bartik until")
    await one.go_home()
    assert await one.titles() == []
    await one.meet("jean")
    await one.choose("Jean Bartik", "Unmute")
    await one.see_no_more("You see nothing of Jean Bartik")
    await one.go_home()
    await one.see(one.summary("Loud"))


async def test_a_block_ends_following_and_hides_the_posts(reader: OpenReader, client: httpx.AsyncClient) -> None:
    fran = await sign_up(client, "fran", "Fran Bilas")
    await fran.post("Not for everyone")
    one = await reader()
    await one.sign_up("blocker", "A Blocker")
    await one.meet("fran")
    await one.follow("Fran Bilas")
    await one.choose("Fran Bilas", "Block Fran Bilas")
    await one.see("You block Fran Bilas")
    await one.see("No posts to see here.")
    assert not await one.page.get_by_role("button", name="Follow Fran Bilas").is_visible()
    await one.choose("Fran Bilas", "Unblock")
    await one.see(one.page.get_by_role("button", name="Follow Fran Bilas"))
    await one.see(one.summary("Not for everyone"))


async def test_a_follower_is_removed(reader: OpenReader, client: httpx.AsyncClient) -> None:
    one = await reader()
    await one.sign_up("followed", "Followed")
    await (await sign_up(client, "too-close", "Too Close")).call("PUT", "/v1/users/followed/follow")
    await one.open("/@followed/followers")
    person = await one.see(one.page.locator(".person", has_text="Too Close"))
    await person.get_by_role("button", name="Remove").click()
    await one.see_no_more(person)
    await one.page.reload()
    await one.see("Nobody follows Followed yet.")


async def test_what_somebody_says_whom_one_mutes_is_covered_until_one_wants_to_see_it(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    host, loud = await sign_up(client, "salon", "Salon"), await sign_up(client, "loud", "Loud")
    post, slug = await host.post("An evening")
    await loud.comment(post, "Listen to me")
    one = await reader()
    await one.sign_up("listener", "A Listener")
    await one.meet("loud")
    await one.choose("Loud", "Mute for good")
    await one.see("You see nothing of Loud")
    await one.read(slug)
    await one.see("By somebody you mute or block.")
    assert await one.page.get_by_text("Listen to me").count() == 0
    await loud.comment(post, "I said listen")
    await one.show_new()
    assert await one.page.get_by_text("I said listen").count() == 0
    await one.page.get_by_role("button", name="Show it").last.click()
    await one.see(one.comment("Listen to me"))
    assert await one.page.get_by_text("I said listen").count() == 0


async def test_words_that_a_page_has_left_out_are_read_when_one_wants_to_see_them(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    host, shy = await sign_up(client, "matinee", "Matinee"), await sign_up(client, "shy", "Shy")
    post, slug = await host.post("A matinee")
    whispered, aloud = await shy.comment(post, "In a *whisper*"), await host.comment(post, "Said *aloud*")
    one = await reader()
    await one.sign_up("usher", "An Usher")
    usher = await one.by_http(client)
    await usher.call("PUT", "/v1/users/matinee/mute")
    await shy.call("PUT", "/v1/users/usher/block")

    async with one.page.expect_response(lambda response: "/comments?order" in response.url) as listing:
        await one.read(slug)
    page = await (await listing.value).json()
    assert [(node["comment"]["body"], node["apart"]) for node in page["comments"]] == [("", True)] * 2
    for covered, id, words in (
        ("By somebody you mute or block.", aloud, "aloud"),
        ("or who blocks you.", whispered, "whisper"),
    ):
        comment = await one.see(one.page.locator(".comment", has_text=covered))
        await one.answered("GET", f"/comments/{id}", comment.get_by_role("button", name="Show it").click)
        await one.see(one.page.locator(".prose em", has_text=words))
    # A page that comes again has them no more than the one before.
    await one.order("Oldest")
    await one.see("or who blocks you.")
    assert await one.page.locator(".prose em").count() == 0


async def test_words_left_out_are_there_for_everyone_once_the_reader_has_signed_out(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    host, wary = await sign_up(client, "foyer", "Foyer"), await sign_up(client, "wary-one", "Wary One")
    post, slug = await host.post("In the foyer")
    await wary.comment(post, "Not *meant* for you")
    one = await reader()
    await one.sign_up("cloakroom", "Cloakroom")
    await wary.call("PUT", "/v1/users/cloakroom/block")
    await one.read(slug)
    await one.see("or who blocks you.")
    other = await one.tab()
    await other.open("/account")
    await other.page.get_by_role("button", name="Sign out").click()
    # A browser may wait for ever if its tab is closed on the way elsewhere.
    await other.page.wait_for_url(f"{one.url}/")
    await one.see(one.page.locator(".prose em", has_text="meant"))
    assert not await one.page.get_by_role("button", name="Show it").is_visible()


async def test_who_is_mentioned_is_linked_but_not_in_code_or_in_an_address(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    host = await sign_up(client, "host-of-many", "Host")
    post, slug = await host.post(
        "Guests", "Welcome @Ada.L, @b and *@host-of-many*! `@code` me@ada.l [@link](https://a.example)"
    )
    await host.comment(post, "So says @host-of-many.")
    one = await reader()
    await one.read(slug)
    mentions = one.page.locator(".mention")
    await one.see(mentions.nth(2))
    assert [await each.get_attribute("href") for each in await mentions.all()] == ["/@ada.l", *["/@host-of-many"] * 2]
    assert (
        await one.page.locator(".post .prose").inner_text()
        == "Welcome @Ada.L, @b and @host-of-many! @code me@ada.l @link"
    )
    await mentions.last.click()
    await one.see(one.page.get_by_role("heading", name="Host"))
