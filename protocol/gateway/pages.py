"""The pages of the small blog: one shell for every address, and the modules, styles and pictures it is made of.

What a page shows comes through the public interface, as it would for any other client. Only the head of the
page of a post or a member is filled here, with what an anonymous reader may see: search engines and previews of links
read no further.
"""

from collections.abc import Awaitable, Callable, Iterator
from html import escape
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from msgspec import Struct

from protocol import text
from protocol.accounts import AccountView, ReadAccount
from protocol.commands import ANONYMOUS, ReadPost
from protocol.errors import DomainError, Refused
from protocol.excerpts import excerpt
from protocol.gateway.assets import STATIC, Asset, asset, send
from protocol.gateway.backend import Backend
from protocol.views import PostView

PAGES: Final = ("/", "/search", "/notifications", "/bookmarks", "/sign-in", "/account", "/write")
POST: Final = "/p/{slug}"
PERSON: Final = ("/@{handle}", "/@{handle}/followers", "/@{handle}/following")
INTERFACES: Final = ("/v1/", "/connection/")
"""Begin the paths that are for programs, whatever these say that they accept."""
SHELL: Final = "index.html"
SPRITE: Final = "sprite.svg"
DESCRIPTION_CHARS_MAX: Final = 200
T = TypeVar("T")


class Site(Struct, frozen=True, kw_only=True):
    """What the page must know of the site before it asks for anything."""

    title: str = "Plaudit"
    guests: bool = True
    sign_up: bool = True
    reaction_kinds: tuple[str, ...] = ("like", "laugh", "love")
    edit_window_s: int = 900


class Pages:
    """Serves the pages of ``site``. Reads the files once, when it is made."""

    def __init__(self, site: Site, backend: Backend, public_url: str | None) -> None:
        self._site = site
        self._backend = backend
        # Without it links are relative: else they would repeat the Host header, which is whatever the client said.
        self._base = (public_url or "").rstrip("/")
        self._assets = {
            path.name: asset(path.name, path.read_bytes())
            for path in sorted(STATIC.iterdir())
            if path.suffix != ".html" and path.is_file()
        }
        self._template = filled((STATIC / SHELL).read_text(encoding="utf-8"), site)
        self._shell = self._with_head(f"<title>{escape(site.title)}</title>")

    def add_to(self, app: web.Application) -> None:
        app.middlewares.append(self._lost)
        for path in PAGES:
            app.router.add_get(path, self.page)
        app.router.add_get(POST, self.post)
        for path in PERSON:
            app.router.add_get(path, self.person)
        app.router.add_get("/static/{name}", self.static)

    async def page(self, request: web.Request) -> web.Response:
        return send(request, self._shell)

    async def post(self, request: web.Request) -> web.Response:
        """The shell, about its post. One that is not there for everyone is not found; its author still sees it then."""
        reading = self._public(request.match_info["slug"])
        return await self._about(request, reading, post_head)

    async def person(self, request: web.Request) -> web.Response:
        """The shell, about a member."""
        return await self._about(request, self._member(request.match_info["handle"]), person_head)

    async def _about(
        self, request: web.Request, reading: Awaitable[T], head: Callable[[T, str, str], Iterator[str]]
    ) -> web.Response:
        """The shell, with the head of what is read for it; without, under the status of why it cannot be read."""
        try:
            view = await reading
        except Refused:
            return send(request, self._shell, status=404)
        except DomainError as error:
            return send(request, self._shell, status=error.meaning.status)
        return send(request, self._with_head("\n".join(head(view, self._site.title, self._base))))

    @web.middleware
    async def _lost(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The shell, for a browser at an address where nothing is; programs get the error as it is."""
        try:
            return await handler(request)
        except web.HTTPNotFound:
            if "text/html" not in request.headers.get(hdrs.ACCEPT, "") or request.path.startswith(INTERFACES):
                raise
            return send(request, self._shell, status=404)

    async def static(self, request: web.Request) -> web.Response:
        found = self._assets.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return send(request, found)

    async def _public(self, name: str) -> PostView:
        """The post of a slug, or of an id, as anybody sees it. Raises ``DomainError``."""
        post_id = await self._backend.resolve("slug", text.plain(name)) or int(text.decimal_id(name))
        view: PostView = await self._backend.ask(f"post:{post_id}", ReadPost(post=str(post_id)), ANONYMOUS)
        return view

    async def _member(self, handle: str) -> AccountView:
        """The member of a handle. Raises ``DomainError``."""
        number = await self._backend.resolve("handle", text.handle(handle))
        if number is None:
            raise Refused("account_not_found")
        account: AccountView = await self._backend.ask(f"user:{number}", ReadAccount(account=number), ANONYMOUS)
        return account

    def _with_head(self, head: str) -> Asset:
        # Last, so that nothing within it is taken for a place to fill.
        return asset(SHELL, self._template.replace("{{head}}", head).encode())


def filled(template: str, site: Site) -> str:
    """``template`` with what is known of the site in its places."""
    settings = escape(msgspec.json.encode(site).decode())
    sprite = (STATIC / SPRITE).read_text(encoding="utf-8").rstrip()
    return template.replace("{{sprite}}", sprite).replace("{{site}}", settings).replace("{{title}}", escape(site.title))


def post_head(post: PostView, site_title: str, base: str) -> Iterator[str]:
    """What the head says of ``post`` to those who read nothing else, in the words of HTML and of the Open Graph."""
    # A page elsewhere that embeds the post is the place to read it.
    address = post.page_url or f"{base}/p/{quote(post.slug or post.id)}"
    description = excerpt(post.html, DESCRIPTION_CHARS_MAX)
    yield f"<title>{escape(post.title)} · {escape(site_title)}</title>"
    yield f'<link rel="canonical" href="{escape(address)}">'
    if post.author is not None:
        yield _meta("name", "author", post.author.name)
    yield _meta("property", "og:type", "article")
    yield _meta("property", "og:site_name", site_title)
    yield _meta("property", "og:title", post.title)
    if "://" in address:
        yield _meta("property", "og:url", address)
    if description:
        yield _meta("name", "description", description)
        yield _meta("property", "og:description", description)
    if post.published_at is not None:
        yield _meta("property", "article:published_time", post.published_at)


def person_head(person: AccountView, site_title: str, base: str) -> Iterator[str]:
    """What the head says of a member, whichever of their lists is shown."""
    address = f"{base}/@{quote(person.handle)}"
    description = f"What {person.name} writes on {site_title}."
    yield f"<title>{escape(person.name)} (@{escape(person.handle)}) · {escape(site_title)}</title>"
    yield f'<link rel="canonical" href="{escape(address)}">'
    yield _meta("name", "description", description)
    yield _meta("property", "og:type", "profile")
    yield _meta("property", "og:site_name", site_title)
    yield _meta("property", "og:title", person.name)
    yield _meta("property", "og:description", description)
    yield _meta("property", "profile:username", person.handle)
    if "://" in address:
        yield _meta("property", "og:url", address)


def _meta(attribute: str, name: str, content: str) -> str:
    return f'<meta {attribute}="{name}" content="{escape(content)}">'
