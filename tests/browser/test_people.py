"""What people do beside writing: moderate, change how they are shown, leave; and what stands beside their words."""

import re
import sys
import tempfile
from asyncio.subprocess import DEVNULL, create_subprocess_exec
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.conftest import OpenReader
from tests.browser.reader import Author
from tests.processes import ROOT, Served, serving
from tests.protocol.test_wordpress import comment, export, item
from tests.site import SETTINGS, host_token

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = "<wp:comment_approved>0</wp:comment_approved>"
PINGBACK = """<wp:comment_type>pingback</wp:comment_type>
<wp:comment_author_url>https://elsewhere.example/</wp:comment_author_url>"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def imported(chromium_path: str) -> AsyncIterator[Served]:
    """A site with the post "hello" from WordPress: two comments, one that is held below them, and a pingback."""
    comments = (
        comment(1, body="First"),
        comment(2, parent=1, body="Second"),
        comment(3, parent=2, body="Held back", fields=HELD),
        comment(4, body="Mentioned over there", fields=PINGBACK),
    )
    with tempfile.TemporaryDirectory(prefix="plaudit-imported-") as directory:
        at = ("--data-dir", str(Path(directory) / "data"))
        file = Path(directory) / "export.xml"
        file.write_bytes(export(item("<wp:post_name>hello</wp:post_name>", "".join(comments))))
        importing = await create_subprocess_exec(
            sys.executable, "server.py", "import", "wordpress", str(file), *at, cwd=ROOT, stdout=DEVNULL
        )
        assert await importing.wait() == 0
        async with serving("server.py", "--port", "0", *at, environment=SETTINGS) as served:
            yield served


# -- beside the conversation


async def test_a_moderator_approves_a_held_comment_and_the_others_see_it(reader: OpenReader, imported: Served) -> None:
    moderator, other = await reader(imported.url), await reader(imported.url)
    await moderator.come_from_host(host_token(1, "moderator"))
    await moderator.read("hello")
    await other.read("hello")
    held = await moderator.see(moderator.page.get_by_role("region", name="Waiting for approval"))
    await moderator.see(held.get_by_text("Held back"))
    assert not await other.page.get_by_text("Waiting for approval").is_visible()
    assert await other.page.get_by_text("Held back").count() == 0
    await held.get_by_role("button", name=re.compile("^Approve")).click()
    await moderator.see_no_more(held)
    await other.show_new()
    for one in (moderator, other):
        assert await one.texts() == ["First", "Second", "Held back"]
        await one.see("3 comments")


async def test_mentions_elsewhere_stand_apart_from_the_comments(reader: OpenReader, imported: Served) -> None:
    one = await reader(imported.url)
    await one.read("hello")
    mentions = one.page.locator("details", has_text="1 mention")
    await one.see_no_more(mentions.locator(".prose"))
    await mentions.get_by_text("1 mention").click()
    await one.see(mentions.get_by_text("Mentioned over there"))
    assert await mentions.get_by_role("link", name="Ann").get_attribute("href") == "https://elsewhere.example/"
    assert await mentions.get_by_role("button").count() == 0


# -- how one is shown, and how one goes


async def test_a_profile_is_changed_for_everyone_who_reads(reader: OpenReader, author: Author) -> None:
    _, slug = await author.post("Renamed")
    one, other = await reader(), await reader()
    await one.sign_up("marie", "Marie S.")
    await one.read(slug)
    await one.write("Two prizes")
    await one.open("/account")
    await one.page.get_by_label("Name shown").fill("Marie Curie")
    await one.page.get_by_label("Address of your own site").fill("https://radium.example/")
    await one.page.get_by_role("button", name="Save").click()
    await one.see("Saved.")
    await one.see(one.page.locator("nav .me", has_text="Marie Curie"))
    await other.read(slug)
    name = other.comment("Two prizes").get_by_role("link", name="Marie Curie")
    await name.click()
    site = await other.see(other.page.get_by_role("link", name="radium.example"))
    assert await site.get_attribute("href") == "https://radium.example/"
    await one.page.get_by_label("Address of your own site").fill("")
    await one.page.get_by_role("button", name="Save").click()
    await one.see("Saved.")
    await other.page.reload()
    await other.see(other.page.get_by_role("heading", name="Marie Curie"))
    assert await site.count() == 0
    await one.page.reload()
    assert await one.page.get_by_label("Address of your own site").input_value() == ""


async def test_who_deletes_the_account_leaves_comments_without_a_name(reader: OpenReader, author: Author) -> None:
    _, slug = await author.post("Left behind")
    one, other = await reader(), await reader()
    await one.sign_up("gone", "Soon Gone")
    await one.read(slug)
    await one.write("Keep my words")
    await other.read(slug)
    await other.see(other.comment("Keep my words").get_by_text("Soon Gone"))
    await one.open("/account")
    await one.page.get_by_text("Delete this account").click()
    await one.page.get_by_role("button", name="Delete it for good").click()
    await one.page.wait_for_url(f"{one.url}/")
    await one.see(one.page.locator("nav").get_by_role("link", name="Sign in"))
    # While the page is open, too.
    await other.see_no_more(other.comment("Keep my words").get_by_text("Soon Gone"))
    await other.see(other.comment("Keep my words").get_by_text("someone"))


async def test_the_theme_is_chosen_and_remembered(reader: OpenReader) -> None:
    one = await reader()
    await one.open("/")
    button = one.page.get_by_role("button", name=re.compile("^Theme"))
    assert await button.get_attribute("aria-label") == "Theme: as the system has it"
    await button.click()
    assert await one.ground() == "rgb(251, 251, 249)"
    await button.click()
    assert await button.get_attribute("aria-label") == "Theme: dark"
    assert await one.ground() == "rgb(18, 23, 26)"
    await one.page.reload()
    assert await one.ground() == "rgb(18, 23, 26)"
