"""What a browser gets before it asks for anything: the shell, its parts, and what they are allowed to do."""

import re
from html.parser import HTMLParser

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from protocol.gateway.pages import PAGES, STATIC, Site, add_pages

Client = TestClient[web.Request, web.Application]
IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*"\./([^"]+)\"""")


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    app = web.Application()
    add_pages(app, Site(title="Ben & Ada's", guests=False, reaction_kinds=("like", "<script>")))
    return await aiohttp_client(app)


class Settings(HTMLParser):
    """Finds what the shell says of the site."""

    site: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta" and values.get("name") == "site":
            self.site = values["content"]


@pytest.mark.parametrize("path", [path.replace("{slug}", "any-post") for path in PAGES])
async def test_every_page_is_the_shell_under_a_strict_policy(client: Client, path: str) -> None:
    response = await client.get(path)
    assert response.status == 200
    assert response.content_type == "text/html"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy


async def test_the_shell_says_what_the_site_allows_and_nothing_of_it_becomes_markup(client: Client) -> None:
    text = await (await client.get("/")).text()
    assert "<title>Ben &amp; Ada&#x27;s</title>" in text
    assert '<script>"' not in text
    settings = Settings()
    settings.feed(text)
    assert settings.site is not None
    site = msgspec.json.decode(settings.site, type=Site)
    assert site == Site(title="Ben & Ada's", guests=False, reaction_kinds=("like", "<script>"))


async def test_what_the_browser_has_already_is_not_sent_again(client: Client) -> None:
    first = await client.get("/static/app.js")
    again = await client.get("/static/app.js", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    assert await again.read() == b""
    assert again.headers["Cache-Control"] == "no-cache"


async def test_a_client_that_takes_no_gzip_gets_plain_text(client: Client) -> None:
    plain = await client.get("/static/style.css", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert await plain.read() == (STATIC / "style.css").read_bytes()


@pytest.mark.parametrize("path", ["/static/none.js", "/static/index.html", "/static/..%2fpages.py"])
async def test_only_parts_of_the_page_are_served(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 404


async def test_every_part_that_a_part_names_is_there(client: Client) -> None:
    for part in STATIC.glob("*.js"):
        for name in IMPORT.findall(part.read_text(encoding="utf-8")):
            response = await client.get(f"/static/{name}")
            assert response.status == 200, f"{part.name} imports {name}"
            assert response.content_type == "text/javascript"


def test_every_picture_that_a_module_names_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'id="icon-([a-z]+)"', (STATIC / "index.html").read_text(encoding="utf-8")))
    named = {
        name
        for part in STATIC.glob("*.js")
        for name in re.findall(r'\bicon\("([a-z]+)"\)', part.read_text(encoding="utf-8"))
    }
    assert named | set(Site().reaction_kinds) | {"auto", "light", "dark", "other"} <= sprite
