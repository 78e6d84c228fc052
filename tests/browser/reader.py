"""A person at a browser: the one place that knows how the page is built."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httpx
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Frame,
    Locator,
    Page,
    Response,
    WebSocketRoute,
)

TIMEOUT_MS = 15_000
PASSWORD = "correct horse battery"
NO_SOCKET = (
    "WebSocket = class extends EventTarget { constructor() { super(); "
    "setTimeout(() => this.onclose({ code: 1006 })); } close() {} };"
)
"""Run before a page's own scripts, lets no WebSocket through."""
# What a page may not do, in the browser's words.
_FORBIDDEN = re.compile(r"Content.Security.Policy|TrustedHTML|violates", re.IGNORECASE)


class Reader:
    """One browser context, as private as a person's own browser, with one tab."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context = context
        self.page = page
        self.scope: Page | Frame = page
        """Where the conversation is: the page, or a frame on it."""
        self.url = url
        self.mistakes: list[str] = []
        """Errors that were thrown in the page, and what its policy forbade."""
        self.unloaded: list[str] = []
        """Requests that failed, or were refused."""
        page.on("pageerror", self._thrown)
        page.on("requestfailed", lambda request: self.unloaded.append(f"{request.url}: {request.failure}"))
        page.on("response", self._answered)
        page.on("console", self._said)
        self._live = asyncio.Event()
        page.on("websocket", lambda socket: socket.on("framereceived", self._received))

    def _thrown(self, error: Error) -> None:
        self.mistakes.append(str(error))

    def _said(self, message: ConsoleMessage) -> None:
        if _FORBIDDEN.search(message.text):
            self.mistakes.append(message.text)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.unloaded.append(f"{response.url}: {response.status}")

    def _received(self, frame: str | bytes) -> None:
        if '"subscribe"' in str(frame):
            self._live.set()

    async def open(self, path: str) -> None:
        await self.page.goto(self.url + path)

    async def read(self, post: str) -> None:
        """Open a post and wait until it is live."""
        self._live.clear()
        await self.open(f"/p/{post}")
        await self._be_live()

    async def go_home(self) -> None:
        """Open the home feed and wait until it is live."""
        self._live.clear()
        await self.open("/")
        await asyncio.wait_for(self._live.wait(), TIMEOUT_MS / 1000)
        await self.see(self.page.locator(".tabs [aria-current]", has_text="Following"))

    async def read_embedded(self, address: str) -> None:
        """Open a page elsewhere, go to the frame on it, and wait until that is live."""
        self._live.clear()
        await self.page.goto(address)
        self.scope = await self.frame()
        await self._be_live()

    async def _be_live(self) -> None:
        await asyncio.wait_for(self._live.wait(), TIMEOUT_MS / 1000)
        await self.see(self.scope.locator(".conversation"))

    async def frame(self) -> Frame:
        """The frame on the page, brought into view."""
        element = self.page.locator("iframe")
        await element.scroll_into_view_if_needed()
        frame = await (await element.element_handle()).content_frame()
        assert frame is not None
        return frame

    async def see(self, what: Locator | str) -> Locator:
        """Wait until it can be seen."""
        locator = self.scope.get_by_text(what) if isinstance(what, str) else what
        try:
            await locator.first.wait_for(state="visible")
        except Error as error:
            error.add_note(f"at {self.page.url}, of which these did not load: {self.unloaded}")
            raise
        return locator.first

    async def see_no_more(self, what: Locator | str) -> None:
        locator = self.scope.get_by_text(what) if isinstance(what, str) else what
        await locator.first.wait_for(state="hidden")

    # -- who it is

    async def sign_up(self, handle: str, name: str) -> None:
        await self.open("/sign-in?new")
        await self.scope.get_by_label("User name").fill(handle)
        await self.scope.get_by_label("Name shown").fill(name)
        await self.scope.get_by_label("Password").fill(PASSWORD)
        await self.scope.get_by_role("button", name="Make the account").click()
        await self.see(self.scope.locator("nav .me", has_text=name))

    async def sign_in(self, handle: str, password: str = PASSWORD) -> None:
        await self.open("/sign-in")
        await self.scope.get_by_label("User name or e-mail").fill(handle)
        await self.scope.get_by_label("Password").fill(password)
        await self.scope.get_by_role("button", name="Sign in", exact=True).click()

    async def come_from_host(self, token: str) -> None:
        """Be the person whom the host site's ``token`` names."""
        await self.open("/")
        await self.page.evaluate(
            """async (token) => {
              const answer = await fetch("/v1/me", { headers: { Authorization: `Bearer ${token}` } });
              const kept = { account: await answer.json(), access_token: token, expires_ms: Date.now() + 3_600_000 };
              localStorage.setItem("plaudit.session", JSON.stringify(kept));
            }""",
            token,
        )

    async def by_http(self, client: httpx.AsyncClient) -> "Author":
        """Who is signed in, writing by HTTP."""
        token = await self.page.evaluate("JSON.parse(localStorage.getItem('plaudit.session')).access_token")
        return Author(client, token)

    async def on_a_weak_network(self) -> "Network":
        """From the next page on."""
        network = Network(self.page)
        await self.page.route_web_socket("**/connection/websocket", network.connect)
        return network

    async def tab(self) -> "Reader":
        """Another tab of the same browser, at the same address."""
        other = Reader(self.context, await self.context.new_page(), self.url)
        await other.page.goto(self.page.url)
        return other

    # -- the page

    async def ground(self) -> str:
        """The colour behind everything."""
        colour: str = await self.scope.evaluate("getComputedStyle(document.body).backgroundColor")
        return colour

    # -- people

    async def meet(self, handle: str) -> None:
        """Open the page of a member."""
        await self.open(f"/@{handle}")
        await self.see(self.page.locator(".author-head"))

    async def follow(self, name: str) -> None:
        """Follow somebody whose page is open."""
        button = self.page.locator(".author-head").get_by_role("button", name=f"Follow {name}")
        await self.answered("PUT", "/follow", button.click)
        await self.see(self.page.locator(".author-head").get_by_role("button", name=f"Following {name}"))

    async def choose(self, name: str, choice: str) -> None:
        """Take a choice of the menu on the page of a member."""
        await self.page.get_by_role("button", name=f"More about {name}").click()
        await self.page.locator(".menu").get_by_role("button", name=choice, exact=True).click()

    # -- the bell

    @property
    def bell(self) -> Locator:
        return self.page.locator(".bell")

    async def see_unread(self, n: int) -> None:
        await self.see(
            self.page.get_by_role("button", name=f"Notifications, {n} unread" if n else "Notifications", exact=True)
        )

    def notice_of(self, kind: str) -> Locator:
        """The groups of a kind, in the bell's panel or on their page."""
        return self.page.locator(f'.notices:visible [data-kind="{kind}"]')

    # -- the lists of posts

    async def publish(self, title: str, text: str) -> None:
        await self.open("/write")
        await self.page.get_by_label("Title", exact=True).fill(title)
        await self.page.get_by_label("Text, in Markdown").fill(text)
        await self.page.get_by_role("button", name="Publish", exact=True).click()
        await self.see(self.page.get_by_role("heading", name=title))

    def summary(self, title: str) -> Locator:
        return self.page.locator(".summary", has=self.page.locator("h2", has_text=title))

    async def titles(self) -> list[str]:
        return await self.page.locator(".summary h2").all_inner_texts()

    # -- the conversation

    def comment(self, text: str) -> Locator:
        """The one comment that contains ``text``."""
        return self.scope.locator(".comment", has=self.scope.locator(".prose", has_text=text))

    @property
    def composer(self) -> Locator:
        return self.scope.locator(".conversation > .composer")

    @property
    def pill(self) -> Locator:
        return self.scope.locator(".pill")

    @property
    def notice(self) -> Locator:
        return self.scope.locator("#notice")

    async def write(self, text: str, *, guest: str | None = None, shown: str | None = None) -> None:
        """Comment, and wait until it is there, as ``shown`` where that is not what was typed."""
        await self.fill(text, guest=guest)
        await self.see(self.comment(shown or text))

    async def fill(self, text: str, *, guest: str | None = None) -> None:
        """Comment, and wait for nothing."""
        await self.composer.get_by_label("Write a comment").fill(text)
        if guest is not None:
            await self.composer.get_by_label("Your name").fill(guest)
        await self.composer.get_by_role("button", name="Comment").click()

    async def reply(self, to: str, text: str) -> None:
        comment = self.comment(to)
        await comment.get_by_role("button", name=re.compile("^Reply to")).first.click()
        await comment.get_by_label(re.compile("^Reply to")).last.fill(text)
        await comment.get_by_role("button", name="Reply", exact=True).click()
        await self.see(self.comment(text))

    async def show_new(self) -> None:
        await self.see(self.pill)
        await self.pill.click()
        await self.see_no_more(self.pill)

    async def order(self, name: str) -> None:
        async with self.page.expect_response(lambda response: "/comments?" in response.url):
            await self.scope.get_by_role("radio", name=name).check(force=True)

    async def texts(self) -> list[str]:
        """The comments in reading order."""
        return [text.strip() for text in await self.scope.locator(".conversation > .comments .prose").all_inner_texts()]

    # -- reactions

    def reaction(self, kind: str, *, within: Locator | None = None) -> Locator:
        return (within or self.scope.locator(".response")).locator(f'[data-kind="{kind}"]')

    @property
    def applaud(self) -> Locator:
        return self.scope.locator(".applaud")

    @property
    def applause(self) -> Locator:
        return self.scope.locator(".applause > .amount")

    async def answered(self, method: str, path: str, act: Callable[[], object]) -> Response:
        """Do ``act`` and wait for the answer to the request that follows from it."""

        def fits(response: Response) -> bool:
            return response.request.method == method and path in response.url

        async with self.page.expect_response(fits) as coming:
            done = act()
            if asyncio.iscoroutine(done):
                await done
        return await coming.value


async def new_reader(browser: Browser, url: str, *, width: int = 1100, height: int = 800) -> Reader:
    context = await browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    context.set_default_timeout(TIMEOUT_MS)
    return Reader(context, await context.new_page(), url)


class Network:
    """Between a page and the server: goes down, and comes back."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._down = False
        self._sockets: list[WebSocketRoute] = []

    async def connect(self, socket: WebSocketRoute) -> None:
        if self._down:
            await socket.close()
        else:
            socket.connect_to_server()
            self._sockets.append(socket)

    async def go_down(self) -> None:
        self._down = True
        await self._page.context.set_offline(True)
        while self._sockets:
            await self._sockets.pop().close()

    async def come_back(self) -> None:
        self._down = False
        await self._page.context.set_offline(False)


class Author:
    """A member who writes by HTTP, to set the scene."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}

    async def post(self, title: str, body: str = "Some words.") -> tuple[str, str]:
        """(id, slug) of a new published post."""
        response = await self._client.post("/v1/posts", headers=self._headers, json={"title": title, "body": body})
        response.raise_for_status()
        written = response.json()
        return written["id"], written["slug"]

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of what ``path`` answers, if it answers any."""
        response = await self._client.request(method, path, headers=self._headers, json=body)
        response.raise_for_status()
        return response.json() if response.content else None

    async def comment(self, post: str, body: str, parent: str | None = None) -> str:
        response = await self._client.post(
            f"/v1/posts/{post}/comments", headers=self._headers, json={"body": body, "parent": parent}
        )
        response.raise_for_status()
        return str(response.json()["id"])


async def sign_up(client: httpx.AsyncClient, handle: str, name: str) -> Author:
    response = await client.post("/v1/accounts", json={"handle": handle, "name": name, "password": PASSWORD})
    response.raise_for_status()
    return Author(client, response.json()["access_token"])
