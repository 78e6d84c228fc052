"""The page, as people use it: two browsers that see each other."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from playwright.async_api import APIResponse, Route

from tests.browser.conftest import OpenReader
from tests.browser.reader import NO_SOCKET, PASSWORD, Author, sign_up
from tests.processes import serving
from tests.site import SETTINGS

pytestmark = pytest.mark.asyncio(loop_scope="session")


# -- the conversation is live


async def test_a_guests_comment_appears_in_the_other_browser(reader: OpenReader, author: Author) -> None:
    _, slug = await author.post("Two browsers")
    one, other = await reader(), await reader()
    await one.read(slug)
    await other.read(slug)
    await one.write("Hello from **here**", guest="Grace", shown="Hello from here")
    shown = await other.see(other.comment("Hello from here"))
    assert await shown.locator("strong").inner_text() == "here"
    assert "Grace" in await shown.locator("header").inner_text()
    await other.see("1 comment")


async def test_new_comments_wait_behind_a_pill_and_move_nothing(reader: OpenReader, author: Author) -> None:
    post, slug = await author.post("A page that stays")
    for n in range(12):
        await author.comment(post, f"Comment number {n}")
    one = await reader()
    await one.read(slug)
    last = one.comment("Comment number 3")
    await last.scroll_into_view_if_needed()
    before = await last.bounding_box()
    for n in range(3):
        await author.comment(post, f"Meanwhile {n}")
    await one.see(one.pill.get_by_text("3 new comments"))
    assert await last.bounding_box() == before
    assert await one.comment("Meanwhile").count() == 0
    await one.show_new()
    assert (await one.texts())[:3] == ["Meanwhile 2", "Meanwhile 1", "Meanwhile 0"]
    assert await one.page.evaluate("document.activeElement.innerText.includes('Meanwhile 2')")


async def test_a_reply_to_a_comment_that_no_page_has_brought_finds_its_place(
    reader: OpenReader, author: Author
) -> None:
    post, slug = await author.post("More than a page")
    root = await author.comment(post, "The oldest of all")
    for n in range(60):
        await author.comment(post, f"Comment number {n}")
    one = await reader()
    await one.read(slug)
    assert await one.comment("The oldest of all").count() == 0
    reply = await author.comment(post, "An answer", root)
    await author.comment(post, "An answer to the answer", reply)
    await one.see(one.pill.get_by_text("2 new comments"))
    await one.show_new()
    assert (await one.texts())[-3:] == ["The oldest of all", "An answer", "An answer to the answer"]
    await one.page.get_by_role("button", name="Show more comments").click()
    await one.see(one.comment("Comment number 0"))
    assert (await one.texts())[-3:] == ["The oldest of all", "An answer", "An answer to the answer"]
    assert len(await one.texts()) == 63


async def test_typing_is_seen_by_the_others_and_ends_when_the_comment_is_sent(
    reader: OpenReader, author: Author
) -> None:
    _, slug = await author.post("Who writes")
    one, other = await reader(), await reader()
    await one.read(slug)
    await other.read(slug)
    await one.write("First", guest="Grace")
    # The page connects anew as the guest, and keys that are pressed meanwhile tell nobody; Grace goes on.
    seen = asyncio.create_task(other.see("Grace is typing…"))
    while not seen.done():
        await one.composer.get_by_label("Write a comment").press("x")
    await seen
    assert await one.page.get_by_text("is typing").count() == 0
    await one.composer.get_by_role("button", name="Comment").click()
    await other.see_no_more("Grace is typing…")


async def test_the_others_who_read_are_counted(reader: OpenReader, author: Author) -> None:
    _, slug = await author.post("Company")
    one, other = await reader(), await reader()
    await one.read(slug)
    await other.read(slug)
    await one.see("2 reading now")
    await other.context.close()
    await one.see_no_more("2 reading now")


# -- one's own comments


async def test_a_comment_is_edited_and_deleted_in_every_browser(reader: OpenReader, author: Author) -> None:
    _, slug = await author.post("Second thoughts")
    one, other = await reader(), await reader()
    await one.read(slug)
    await other.read(slug)
    await one.write("A hasty word", guest="Grace")
    await other.see(other.comment("A hasty word"))
    assert await other.page.get_by_role("button", name="Edit").count() == 0

    await one.comment("A hasty word").get_by_role("button", name=re.compile("^Edit")).click()
    await one.page.get_by_label("Edit your comment").fill("A better word")
    await one.page.get_by_role("button", name="Save").click()
    await other.see(other.comment("A better word").get_by_text("edited"))

    await one.comment("A better word").get_by_role("button", name=re.compile("^Delete")).click()
    await one.page.get_by_role("button", name="Delete it").click()
    await other.see("This comment was deleted.")
    assert await other.comment("A better word").count() == 0


async def test_a_deleted_comment_keeps_its_replies(reader: OpenReader, author: Author) -> None:
    _, slug = await author.post("A tombstone")
    one = await reader()
    await one.read(slug)
    await one.write("Soon gone", guest="Grace")
    await one.reply("Soon gone", "But answered")
    await one.comment("Soon gone").get_by_role("button", name=re.compile("^Delete")).click()
    await one.page.get_by_role("button", name="Delete it").click()
    await one.see("This comment was deleted.")
    await one.page.reload()
    await one.see(one.comment("But answered"))
    assert await one.texts() == ["This comment was deleted.", "But answered"]


async def test_a_draft_outlives_a_reload_of_the_page(reader: OpenReader, author: Author) -> None:
    _, slug = await author.post("Half a sentence")
    one = await reader()
    await one.read(slug)
    await one.composer.get_by_label("Write a comment").fill("I had begun to")
    await one.page.reload()
    assert await one.composer.get_by_label("Write a comment").input_value() == "I had begun to"


async def test_a_comment_whose_answer_was_lost_is_sent_again_and_stands_there_once(
    reader: OpenReader, author: Author
) -> None:
    _, slug = await author.post("Lost on the way back")
    one = await reader()
    await one.read(slug)
    lost: list[APIResponse] = []

    async def lose_first(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(await route.fetch())
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await one.page.route("**/comments", lose_first)
    await one.write("Only once", guest="Grace")
    await one.page.reload()
    await one.see(one.comment("Only once"))
    assert await one.texts() == ["Only once"]


async def test_an_empty_comment_is_refused_in_words_and_the_field_has_the_focus(
    reader: OpenReader, author: Author
) -> None:
    _, slug = await author.post("Nothing to say")
    one = await reader()
    await one.read(slug)
    await one.fill("   ", guest="Grace")
    await one.see("Write something first.")
    assert await one.page.evaluate("document.activeElement.ariaLabel") == "Write a comment"


async def test_what_a_stranger_writes_cannot_run(reader: OpenReader, author: Author) -> None:
    _, slug = await author.post("Nice try")
    one = await reader()
    await one.read(slug)
    await one.write(
        'Look <img src=x onerror="window.caught=1"> <script>window.caught=1</script> end',
        guest="<b>Eve</b>",
        shown="Look",
    )
    assert await one.page.evaluate("window.caught") is None
    await one.see("<b>Eve</b>")


# -- threads


async def test_a_thread_of_twelve_levels_can_be_read_on_a_narrow_screen(reader: OpenReader, author: Author) -> None:
    post, slug = await author.post("Deep")
    parent = await author.comment(post, "Level 1")
    for level in range(2, 13):
        parent = await author.comment(post, f"Level {level}", parent)
    one = await reader(width=360, height=780)
    await one.read(slug)
    assert await one.texts() == [f"Level {level}" for level in range(1, 13)]
    deepest = await one.comment("Level 12").locator(".prose").bounding_box()
    assert deepest is not None
    assert deepest["width"] > 240
    assert await one.page.evaluate("document.documentElement.scrollWidth") == 360
    await one.see(one.comment("Level 12").locator(".to"))


@pytest.mark.parametrize("width", [360, 1200])
async def test_a_very_long_word_makes_no_page_wider_than_the_screen(reader: OpenReader, width: int) -> None:
    one = await reader(width=width)
    name, title = "N" * 80, "T" * 81
    await one.sign_up(f"long{width}", name)
    await one.open("/write")
    await one.page.get_by_label("Title", exact=True).fill(title)
    await one.page.get_by_label("Text, in Markdown").fill(f"# {title}\n\nWords\n\n    {'code ' * 60}")
    await one.page.get_by_label("Tags, with commas").fill("g" * 30)
    await one.page.get_by_role("button", name="Publish", exact=True).click()
    await one.see(one.page.get_by_role("heading", name=title).first)
    for n in range(1, 11):
        await (one.reply(f"Level {n - 1}.", f"Level {n}.") if n > 1 else one.write("Level 1."))
    named = await one.see(one.comment("Level 10.").locator(".to"))
    box = await named.bounding_box()
    assert box is not None
    assert box["height"] < 30
    at_home = ("/", "/account", f"/@long{width}", "/notifications", "/bookmarks", f"/search?q={'k' * 200}")
    for path in (None, *at_home, f"/?tag={'g' * 30}", "/docs", "/nope"):
        if path is not None:
            await one.open(path)
            await one.see(one.page.locator("h1").first)
        wide = await one.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide == [width, width], path


async def test_the_list_tells_the_blocks_of_a_text_apart_and_its_title_the_tag(reader: OpenReader) -> None:
    one = await reader()
    await one.sign_up("lister", "Lister")
    await one.open("/write")
    await one.page.get_by_label("Title", exact=True).fill("In blocks")
    await one.page.get_by_label("Text, in Markdown").fill("# Heading\n\nA *sentence*.\n\n- one\n- two")
    await one.page.get_by_label("Tags, with commas").fill("blocks")
    await one.page.get_by_role("button", name="Publish", exact=True).click()
    await one.page.get_by_role("link", name="blocks", exact=True).click()
    await one.see("Heading · A sentence. one · two")
    assert await one.page.title() == "#blocks · Plaudit"


async def test_a_thread_is_folded_and_unfolded(reader: OpenReader, author: Author) -> None:
    post, slug = await author.post("Folded")
    root = await author.comment(post, "The root")
    await author.comment(post, "A branch", await author.comment(post, "A bough", root))
    one = await reader()
    await one.read(slug)
    fold = one.comment("The root").get_by_role("button", name="Hide replies")
    await fold.click()
    await one.see_no_more(one.comment("A branch"))
    await one.page.get_by_role("button", name="Show 2 replies").click()
    await one.see(one.comment("A branch"))


async def test_the_order_is_chosen_and_remembered(reader: OpenReader, author: Author) -> None:
    post, slug = await author.post("Order")
    for word in ("one", "two", "three"):
        await author.comment(post, word)
    one = await reader()
    await one.read(slug)
    assert await one.texts() == ["three", "two", "one"]
    await one.order("Oldest")
    await one.see(one.page.locator(".comment:first-child", has_text="one"))
    await one.page.reload()
    await one.see(one.page.locator(".comment:first-child", has_text="one"))
    assert await one.texts() == ["one", "two", "three"]


async def test_what_comes_while_another_order_is_read_is_there_after_it(reader: OpenReader, author: Author) -> None:
    post, slug = await author.post("Order in a hurry")
    await author.comment(post, "First")
    one = await reader()
    await one.read(slug)

    async def answer_late(route: Route) -> None:
        page = await route.fetch()
        await author.comment(post, "Meanwhile")
        await one.see(one.page.locator(".pill, .comment .prose", has_text=re.compile("1 new|Meanwhile")))
        await route.fulfill(response=page)

    await one.page.route(re.compile(r"/comments\?order=oldest"), answer_late)
    await one.order("Oldest")
    await one.show_new()
    assert await one.texts() == ["First", "Meanwhile"]


async def test_what_goes_or_changes_while_a_further_page_is_read_is_not_shown_as_it_was(
    reader: OpenReader, author: Author
) -> None:
    post, slug = await author.post("Long and lively")
    goes, changes = [await author.comment(post, text) for text in ("Goes", "Changes")]
    for n in range(50):
        await author.comment(post, f"Comment {n}")
    one = await reader()
    await one.read(slug)

    async def answer_late(route: Route) -> None:
        page = await route.fetch()
        await author.call("DELETE", f"/v1/posts/{post}/comments/{goes}")
        await author.call("PATCH", f"/v1/posts/{post}/comments/{changes}", {"body": "As it is now"})
        await author.comment(post, "Comes last")
        await one.see(one.pill.get_by_text("2 new comments"))
        await route.fulfill(response=page)

    await one.page.route(re.compile(r"/comments\?.*after="), answer_late)
    await one.page.get_by_role("button", name="Show more comments").click()
    await one.see(one.page.locator(".comment:last-child", has_text=re.compile("Goes|This comment was deleted")))
    assert (await one.texts())[-2:] == ["As it is now", "This comment was deleted."]


async def test_a_further_page_that_comes_after_another_order_was_chosen_is_not_shown(
    reader: OpenReader, author: Author
) -> None:
    post, slug = await author.post("Second thoughts")
    for n in range(110):
        await author.comment(post, f"Comment {n}")
    one = await reader()
    await one.read(slug)
    chosen = asyncio.Event()

    async def answer_late(route: Route) -> None:
        page = await route.fetch()
        await chosen.wait()
        await route.fulfill(response=page)

    more = one.page.get_by_role("button", name="Show more comments")
    await one.page.route(re.compile(r"/comments\?order=newest.*after="), answer_late)
    await more.click()
    await one.order("Oldest")
    await one.see(one.page.locator(".comment:first-child", has_text="Comment 0"))
    chosen.set()
    await more.click()
    await one.see(one.page.locator(".comment", has_text="Comment 99"))
    assert await one.texts() == [f"Comment {n}" for n in range(100)]


async def test_a_link_to_one_comment_leads_to_it_beyond_the_first_page(reader: OpenReader, author: Author) -> None:
    post, slug = await author.post("Linked")
    target = await author.comment(post, "The one that is meant")
    for n in range(55):
        await author.comment(post, f"Comment number {n}")
    one = await reader()
    await one.read(f"{slug}#c-{target}")
    await one.see(one.comment("The one that is meant"))
    assert await one.page.evaluate("document.activeElement.id") == f"c-{target}"
    assert (await one.texts())[-1] == "The one that is meant"


# -- reactions and applause


async def test_a_like_is_counted_for_everyone_and_taken_back(reader: OpenReader, author: Author) -> None:
    _, slug = await author.post("Liked")
    one, other = await reader(), await reader()
    await one.read(slug)
    await other.read(slug)
    await one.reaction("like").click()
    await one.page.get_by_role("dialog").get_by_label("Your name").fill("Grace")
    await one.page.get_by_role("button", name="Continue as a guest").click()
    await other.see(other.reaction("like").get_by_text("1"))
    await one.see(one.page.locator('.response [data-kind="like"][aria-pressed="true"]'))
    assert await other.reaction("like").get_attribute("aria-pressed") == "false"
    await one.page.reload()
    await one.see(one.page.locator('.response [data-kind="like"][aria-pressed="true"]'))
    await one.reaction("like").click()
    await other.see_no_more(other.reaction("like").get_by_text("1"))


async def test_a_reaction_to_a_comment_is_seen_by_the_others(reader: OpenReader, author: Author) -> None:
    post, slug = await author.post("A good comment")
    await author.comment(post, "Well said")
    one, other = await reader(), await reader()
    await one.read(slug)
    await other.read(slug)
    await one.write("Indeed", guest="Grace")
    await one.reaction("love", within=one.comment("Well said")).click()
    await other.see(other.reaction("love", within=other.comment("Well said")).get_by_text("1"))


async def test_applause_is_sent_as_one_total_and_taken_back(reader: OpenReader, author: Author) -> None:
    _, slug = await author.post("Applauded")
    one, other = await reader(), await reader()
    await one.read(slug)
    await other.read(slug)
    await one.write("Bravo", guest="Grace")
    sent: list[str | None] = []
    one.page.on("request", lambda request: sent.append(request.post_data) if request.method == "PUT" else None)

    async def clap() -> None:
        for _ in range(5):
            await one.applaud.click()

    await one.answered("PUT", "/applause", clap)
    assert sent == ['{"total":5}']
    await other.see(other.applause.get_by_text("5", exact=True))
    await one.answered("PUT", "/applause", one.page.get_by_role("button", name="Take back").click)
    await other.see(other.applause.get_by_text("0", exact=True))


async def test_holding_applauds_up_to_fifty(reader: OpenReader, author: Author) -> None:
    _, slug = await author.post("An ovation")
    one = await reader()
    await one.read(slug)
    await one.write("Bravo", guest="Grace")
    await one.applaud.scroll_into_view_if_needed()

    async def hold() -> None:
        await one.applaud.hover()
        await one.page.mouse.down()
        await one.see(one.applause.get_by_text("50", exact=True))
        await one.page.mouse.up()

    answer = await one.answered("PUT", "/applause", hold)
    assert answer.status == 200
    assert await one.applause.inner_text() == "50"


# -- accounts and writing


async def test_a_member_signs_up_writes_a_post_and_is_read(reader: OpenReader) -> None:
    writer, other = await reader(), await reader()
    await writer.sign_up("mary-s", "Mary S.")
    await writer.open("/write")
    await writer.page.get_by_label("Title", exact=True).fill("On a stormy night")
    await writer.page.get_by_label("Text, in Markdown").fill("It was *dark*.")
    await writer.page.get_by_label("Tags, with commas").fill("weather, night")
    await writer.page.get_by_role("button", name="Publish", exact=True).click()
    await writer.see(writer.page.get_by_role("heading", name="On a stormy night"))
    await other.open("/")
    await other.page.get_by_role("link", name="On a stormy night").click()
    await other.see(other.page.locator(".prose em", has_text="dark"))
    await other.page.get_by_role("link", name="weather").click()
    await other.see(other.page.get_by_role("heading", name="Posts on weather"))


async def test_a_draft_post_is_kept_then_scheduled(reader: OpenReader) -> None:
    writer = await reader()
    await writer.sign_up("jane", "Jane")
    await writer.open("/write")
    await writer.page.get_by_label("Title", exact=True).fill("Not yet")
    await writer.page.get_by_role("button", name="Keep as a draft").click()
    await writer.see("Kept as a draft.")
    await writer.page.get_by_label("Publish at (empty: now)").fill("2099-01-01T10:00")
    await writer.page.get_by_role("button", name="Publish", exact=True).click()
    await writer.see("Appears January 1, 2099")
    await writer.open("/account")
    await writer.see(writer.page.get_by_role("link", name="Not yet"))
    await writer.open("/")
    await writer.see(writer.page.locator("main h1"))
    assert await writer.page.get_by_role("link", name="Not yet").count() == 0


async def test_signing_in_is_refused_in_words_and_leads_back_when_it_succeeds(
    reader: OpenReader, author: Author
) -> None:
    _, slug = await author.post("Come back here")
    one = await reader()
    await one.read(slug)
    await one.page.locator("nav").get_by_role("link", name="Sign in").click()
    await one.page.get_by_label("User name or e-mail").fill("author")
    await one.page.get_by_label("Password").fill("not the password")
    await one.page.get_by_role("button", name="Sign in", exact=True).click()
    await one.see("No account has this name and password.")
    await one.page.get_by_label("Password").fill(PASSWORD)
    await one.page.get_by_role("button", name="Sign in", exact=True).click()
    await one.page.wait_for_url(f"**/p/{slug}")
    await one.see(one.page.locator("nav .me", has_text="Ada Lovelace"))
    await one.open("/account")
    await one.page.get_by_role("button", name="Sign out").click()
    # The page that one leaves shows it too; and a browser may wait for ever if its tab is closed on the way elsewhere.
    await one.page.wait_for_url(f"{one.url}/")
    await one.see(one.page.locator("nav").get_by_role("link", name="Sign in"))


async def test_a_sign_in_leads_to_no_other_site(reader: OpenReader) -> None:
    one = await reader()
    await one.sign_up("carl", "Carl")
    for elsewhere in ("https://example.org/", "//example.org/", "/\\example.org", "javascript:alert(1)"):
        await one.open(f"/sign-in?next={elsewhere}")
        await one.page.wait_for_url(f"{one.url}/")


# -- losing the server


async def test_where_no_websocket_gets_through_the_page_is_live_all_the_same(
    reader: OpenReader, author: Author
) -> None:
    post, slug = await author.post("Behind a strict proxy")
    one = await reader()
    await one.page.add_init_script(NO_SOCKET)
    async with one.page.expect_request("**/events?*"):
        await one.open(f"/p/{slug}")
    await author.comment(post, "Through the other door")
    await one.see(one.comment("Through the other door"))


async def test_after_a_restart_of_the_server_nothing_is_lost_and_nothing_doubled(
    reader: OpenReader, database_dir: Path
) -> None:
    arguments = ("server.py", "--data-dir", str(database_dir))
    async with serving(*arguments, "--port", "0", environment=SETTINGS) as served:
        url, port = served.url, served.port
        async with httpx.AsyncClient(base_url=url) as client:
            ada = await sign_up(client, "ada", "Ada")
            _, slug = await ada.post("A restart")
            one, other = await reader(url), await reader(url)
            await one.read(slug)
            await other.read(slug)
            await one.write("Before", guest="Grace")
            await other.see(other.comment("Before"))
        await served.kill()
    await one.see(one.notice.get_by_text("Connection lost. Trying again…"))
    # Sent into the dark: the page keeps it, and tries again.
    await one.fill("In between")
    await one.see(one.composer.get_by_role("button", name="Waiting for the connection…"))
    async with serving(*arguments, "--port", str(port), environment=SETTINGS):
        await one.see(one.comment("In between"))
        await one.see_no_more(one.notice)
        await one.see(one.composer.get_by_role("button", name="Comment"))
        await other.show_new()
        assert await other.texts() == ["In between", "Before"]
        assert await one.texts() == ["In between", "Before"]
