"""One tag on a page of another site: its readers see each other there, and sites that are not allowed see why not."""

import re
import socket
from collections.abc import AsyncIterator
from html import escape

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import expect

from tests.browser.conftest import OpenReader
from tests.browser.reader import PASSWORD, Reader
from tests.processes import ROOT, Served

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "<p>So much to read.</p>" * 200


class Blog:
    """A site of someone else's, with pages that name the tag."""

    def __init__(self, comments: str, port: int) -> None:
        self._pages: dict[str, str] = {}
        self.comments = comments
        """The server whose tag it names."""
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def other_url(self) -> str:
        """The same pages as another site, one that is not allowed."""
        return f"http://localhost:{self.port}"

    def page(self, path: str, *, before: str = "", style: str = "", **data: str) -> str:
        """Put a page there; its address."""
        attributes = "".join(f' data-{name.replace("_", "-")}="{escape(value)}"' for name, value in data.items())
        body = f'{before}<script async src="{self.comments}/embed.js"{attributes}></script><p>The end.</p>'
        return self.put(path, f"<title>About {path}</title><style>{style}</style><body><h1>About {path}</h1>{body}")

    def put(self, path: str, html: str) -> str:
        self._pages[path] = f"<!doctype html><meta charset=utf-8>{html}"
        return self.url + path

    async def show(self, request: web.Request) -> web.Response:
        return web.Response(text=self._pages.get(request.path, ""), content_type="text/html")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def blog(chromium_path: str, server: Served, friend: socket.socket) -> AsyncIterator[Blog]:
    blog = Blog(server.url, friend.getsockname()[1])
    app = web.Application()
    app.router.add_get("/{path:.*}", blog.show)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, friend).start()
    yield blog
    await runner.cleanup()


async def in_window(reader: Reader, text: str) -> None:
    """Wait until the whole comment is within the window."""
    await expect(reader.comment(text)).to_be_in_viewport(ratio=1)


async def test_readers_of_a_page_elsewhere_see_each_others_comments_at_once(reader: OpenReader, blog: Blog) -> None:
    address = blog.page("/live", title="A live page")
    one, other = await reader(), await reader()
    await one.read_embedded(address)
    await other.read_embedded(address + "?from=newsletter")
    await one.write("Hello from **elsewhere**", guest="Grace", shown="Hello from elsewhere")
    await other.see(other.comment("Hello from elsewhere"))
    await one.reaction("like").click()
    await other.see(other.reaction("like").get_by_text("1"))
    await one.page.reload()
    one.scope = await one.frame()
    await one.see(one.comment("Hello from elsewhere").get_by_role("button", name=re.compile("^Edit")))


async def test_both_ways_that_the_readme_shows_work(reader: OpenReader, blog: Blog) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("https://comments.your.site", blog.comments)
    tag, program = re.findall(r"```html\n(.*?)```", readme, re.DOTALL)
    address = blog.put("/readme", f"<title>Readme</title><body>{tag}{program}")
    one, other = await reader(), await reader()
    said: list[str] = []
    other.page.on("console", lambda message: said.append(message.text))
    await one.read_embedded(address)
    await one.write("Read by a program", guest="Grace")
    async with other.page.expect_event("console", lambda message: "Grace" in message.text):
        await other.page.goto(address)
    assert "Grace <p>Read by a program</p>\n" in said
    async with other.page.expect_event("console"):
        await one.write("And heard by it")


async def test_the_frame_is_named_and_as_high_as_what_it_holds(reader: OpenReader, blog: Blog) -> None:
    one = await reader(width=360)
    await one.read_embedded(blog.page("/size"))
    for n in range(3):
        await one.write(f"Comment number {n}", guest="Grace" if n == 0 else None)
    assert await one.page.locator("iframe").get_attribute("title") == "Comments"
    held = await one.scope.evaluate("document.documentElement.scrollHeight")
    await one.page.wait_for_function(f"document.querySelector('iframe').clientHeight === {held}")
    assert await one.page.evaluate("document.documentElement.scrollWidth") == 360
    assert await one.scope.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_nothing_is_loaded_before_the_reader_comes_near(reader: OpenReader, blog: Blog) -> None:
    address = blog.page("/lazy", before=LONG * 3)
    one = await reader()
    asked: list[str] = []
    one.page.on("request", lambda request: asked.append(request.url))
    await one.page.goto(address, wait_until="networkidle")
    assert not [url for url in asked if "/embed?" in url or "/v1/" in url]
    one.scope = await one.frame()
    await one.see(one.scope.locator(".conversation"))


async def test_a_link_to_a_comment_opens_the_page_that_embeds_it_and_leads_there(
    reader: OpenReader, blog: Blog
) -> None:
    address = blog.page("/linked", before=LONG)
    one, other = await reader(), await reader(height=400)
    await one.read_embedded(address)
    await one.write("The one that is meant", guest="Grace")
    for n in range(5):
        await one.write(f"Comment number {n}")
    link = await one.comment("The one that is meant").locator(".when").get_attribute("href")
    assert link is not None
    assert link.startswith(f"{address}#c-")
    await other.read_embedded(link)
    await in_window(other, "The one that is meant")
    # A click keeps to the page, and its address says which comment.
    newest = other.comment("Comment number 4").locator(".when")
    await newest.click()
    await other.page.wait_for_url(str(await newest.get_attribute("href")))
    await in_window(other, "Comment number 4")
    # So does a link on the page itself.
    await other.page.evaluate(f"scrollTo(0, 0); location.hash = {link.partition('#')[2]!r}")
    await in_window(other, "The one that is meant")


async def test_new_comments_are_told_where_the_reader_is(reader: OpenReader, blog: Blog) -> None:
    address = blog.page("/pill")
    one, other = await reader(), await reader(height=400)
    await one.read_embedded(address)
    for n in range(5):
        await one.write(f"Comment number {n}", guest="Grace" if n == 0 else None)
    await other.read_embedded(address)
    await other.comment("Comment number 1").scroll_into_view_if_needed()
    await one.write("Meanwhile")
    await other.see(other.pill.get_by_text("1 new comment"))
    await expect(other.pill).to_be_in_viewport(ratio=1)
    await other.show_new()
    await in_window(other, "Meanwhile")


async def test_an_account_is_made_and_left_within_the_frame(reader: OpenReader, blog: Blog) -> None:
    one = await reader()
    await one.read_embedded(blog.page("/member"))
    await one.composer.get_by_role("button", name="sign in").click()
    dialog = one.scope.get_by_role("dialog")
    await dialog.get_by_role("button", name="Make an account").click()
    await dialog.get_by_label("User name").fill("embedded")
    await dialog.get_by_label("Name shown").fill("Ada of the frame")
    await dialog.get_by_label("Password").fill(PASSWORD)
    await dialog.get_by_role("button", name="Make the account").click()
    await one.see("You are Ada of the frame.")
    await one.write("As a member")
    await one.see(one.comment("As a member").get_by_text("Ada of the frame"))
    assert one.page.url == f"{blog.url}/member"
    await one.scope.get_by_role("button", name="Sign out").click()
    await one.see(one.composer.get_by_label("Your name"))


async def test_one_id_is_one_conversation_whatever_the_address(reader: OpenReader, blog: Blog) -> None:
    one, other = await reader(), await reader()
    await one.read_embedded(blog.page("/old-address", page_id="article-7", order="oldest"))
    await one.write("First", guest="Grace")
    await one.write("Second")
    await other.read_embedded(blog.page("/new-address", page_id="article-7", order="oldest"))
    assert await other.texts() == ["First", "Second"]


async def test_the_frame_is_light_or_dark_as_the_page_around_it(reader: OpenReader, blog: Blog) -> None:
    style = "body { background: white } body.night { background: #222; color: white }"
    one = await reader()
    await one.read_embedded(blog.page("/theme", style=style))
    root = one.scope.locator("html")
    assert await root.get_attribute("data-theme") == "light"
    await one.page.evaluate("document.body.className = 'night'")
    await one.see(one.scope.locator("html[data-theme=dark]"))
    assert await one.ground() == "rgba(0, 0, 0, 0)"
    await one.read_embedded(blog.page("/always-dark", style=style, theme="dark"))
    assert await one.scope.locator("html").get_attribute("data-theme") == "dark"


async def test_a_site_that_is_not_allowed_is_told_so_and_no_page_is_made(reader: OpenReader, blog: Blog) -> None:
    blog.page("/foreign")
    one = await reader()
    asked: list[str] = []
    one.page.on("request", lambda request: asked.append(request.url))
    await one.page.goto(blog.other_url + "/foreign")
    one.scope = await one.frame()
    await one.see(f"Comments cannot be shown here: {blog.other_url} is not among the sites that this server is for.")
    assert not [url for url in asked if "/v1/" in url]


async def test_a_site_that_says_it_is_another_is_shown_nothing(reader: OpenReader, blog: Blog) -> None:
    one = await reader()
    blog.put("/forged", f'<iframe src="{blog.comments}/embed?origin={blog.url}#page={blog.url}/live">')
    async with one.page.expect_event("console", lambda message: "frame-ancestors" in message.text):
        await one.page.goto(blog.other_url + "/forged")
    # What the reader's browser has forbidden here is as it should be.
    one.mistakes.clear()
    assert await (await one.frame()).locator(".conversation").count() == 0
