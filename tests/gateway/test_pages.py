"""What a browser gets before it asks for anything: the shell, its parts, and what they are allowed to do."""

import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from protocol.errors import Unavailable
from protocol.gateway.assets import STATIC
from protocol.gateway.pages import PAGES, SPRITE, Pages, Site
from tests.gateway.http_site import http_site
from tests.gateway.recording import RecordingBackend

Client = TestClient[web.Request, web.Application]
IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*"\./([^"]+)\"""")
SITE = Site(title="Ben & Ada's", guests=False, reaction_kinds=("like", "<script>"))


@pytest.fixture
def backend() -> RecordingBackend:
    return RecordingBackend()


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, backend: RecordingBackend) -> Client:
    app = web.Application()
    Pages(SITE, backend, None).add_to(app)
    return await aiohttp_client(app)


class Head(HTMLParser):
    """What the head of a page says to those who read nothing else."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said: dict[str, str | None] = {}
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if tag == "meta" and (name := values.get("name") or values.get("property")):
            self.said[name] = values["content"]
        if tag == "link" and values.get("rel") == "canonical":
            self.said["canonical"] = values["href"]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "title":
            self.said.setdefault("title", data)


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_the_shell_under_a_strict_policy(client: Client, path: str) -> None:
    response = await client.get(path)
    assert response.status == 200
    assert response.content_type == "text/html"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy


async def test_the_head_of_a_posts_page_says_what_it_is_about() -> None:
    async with http_site(public_url="https://talk.example/") as site:
        ada = await site.api.member("ada")
        post = await site.api.post(
            ada.access_token, title="Tea & <b>biscuits</b>", body='He said *"dunk"*.\n\n- {{head}}'
        )
        answer = await site.api.call("GET", f"/p/{post['slug']}")
        assert answer.status == 200
        head = Head(answer.body.decode())
        assert head.said["title"] == "Tea & <b>biscuits</b> · Plaudit"
        assert head.said["og:title"] == "Tea & <b>biscuits</b>"
        assert head.said["description"] == head.said["og:description"] == 'He said "dunk". {{head}}'
        assert head.said["canonical"] == head.said["og:url"] == f"https://talk.example/p/{post['slug']}"
        assert (head.said["og:type"], head.said["author"]) == ("article", "ada")
        assert "b" not in head.tags

        by_id = Head((await site.api.call("GET", f"/p/{post['id']}")).body.decode())
        assert by_id.said["canonical"] == head.said["canonical"]


async def test_where_the_server_does_not_know_its_address_links_are_relative() -> None:
    async with http_site() as site:
        post = await site.api.post((await site.api.member()).access_token, body="")
        head = Head((await site.api.call("GET", f"/p/{post['slug']}")).body.decode())
        assert head.said["canonical"] == f"/p/{post['slug']}"
        assert not {"og:url", "description"} & set(head.said)


async def test_the_post_of_a_page_elsewhere_names_that_page() -> None:
    async with http_site(allowed_origins=("https://blog.example",)) as site:
        page = (await site.api.call("PUT", "/v1/pages", {"url": "https://blog.example/a/?b=1"})).json
        head = Head((await site.api.call("GET", f"/p/{page['id']}")).body.decode())
        assert head.said["canonical"] == "https://blog.example/a"


async def test_a_post_that_is_not_there_for_all_is_not_found_and_nothing_of_it_is_said() -> None:
    async with http_site() as site:
        token = (await site.api.member()).access_token
        draft = await site.api.post(token, title="Secret plans", state="draft")
        later = await site.api.post(token, title="Secret date", publish_at="2099-01-01T00:00:00Z")
        gone = await site.api.post(token, title="Secret past")
        await site.api.call("DELETE", f"/v1/posts/{gone['id']}", token=token)
        hidden = [post[key] for post in (draft, later, gone) for key in ("slug", "id")]
        for name in (*hidden, "none-such", "12345", "9" * 30, "%00", "%ff", "%ed%a0%80"):
            answer = await site.api.call("GET", f"/p/{name}")
            assert answer.status == 404, name
            assert Head(answer.body.decode()).said["title"] == "Plaudit"
            assert b"Secret" not in answer.body


async def test_the_head_of_a_members_page_says_who_it_is() -> None:
    async with http_site(public_url="https://talk.example/") as site:
        ada = await site.api.member("ada")
        await site.api.call("PATCH", "/v1/me", {"name": "Ada <b>Lovelace</b>"}, token=ada.access_token)
        for path in ("/@ada", "/@Ada", "/@ada/followers", "/@ada/following"):
            answer = await site.api.call("GET", path)
            assert answer.status == 200, path
            head = Head(answer.body.decode())
            assert head.said["title"] == "Ada <b>Lovelace</b> (@ada) · Plaudit"
            assert head.said["canonical"] == head.said["og:url"] == "https://talk.example/@ada"
            assert (head.said["og:type"], head.said["profile:username"]) == ("profile", "ada")
            assert head.said["og:description"] == "What Ada <b>Lovelace</b> writes on Plaudit."
            assert "b" not in head.tags


async def test_the_page_of_who_is_not_there_is_not_found() -> None:
    async with http_site() as site:
        gone = await site.api.member("gone")
        await site.api.call("DELETE", "/v1/me", token=gone.access_token)
        guest = (await site.api.call("POST", "/v1/guests", {"name": "Grace"})).json["account"]
        for path in (
            "/@gone",
            f"/@{guest['handle']}",
            "/@nobody",
            "/@nobody/followers",
            "/@",
            "/@%00",
            "/@%ff",
            "/@ada/x",
        ):
            answer = await site.api.call("GET", path, headers={"Accept": "text/html"})
            assert answer.status == 404, path
            assert Head(answer.body.decode()).said["title"] == "Plaudit"


async def test_a_browser_gets_the_shell_where_nothing_is_and_a_program_the_error() -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with http_site() as site:
        for path, headers, kind in (
            ("/nope", browser, "text/html"),
            ("/posts/1", browser, "text/html"),
            ("/nope", {"Accept": "*/*"}, "application/problem+json"),
            ("/v1/nope", browser, "application/problem+json"),
            ("/v1/posts/999", browser, "application/problem+json"),
        ):
            answer = await site.api.call("GET", path, headers=headers)
            assert answer.status == 404
            assert answer.headers["Content-Type"].partition(";")[0] == kind, path


async def test_a_post_that_cannot_be_read_just_now_is_still_the_shell(
    client: Client, backend: RecordingBackend
) -> None:
    backend.answers["read_post"] = Unavailable("no store")
    response = await client.get("/p/1")
    assert response.status == 503
    assert 'id="main"' in await response.text()


async def test_the_shell_says_what_the_site_allows_and_nothing_of_it_becomes_markup(client: Client) -> None:
    text = await (await client.get("/")).text()
    assert "<title>Ben &amp; Ada&#x27;s</title>" in text
    assert '<script>"' not in text
    settings: Any = Head(text).said["site"]
    assert msgspec.json.decode(settings, type=Site) == SITE


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


@pytest.mark.parametrize(
    "path", ["/static/none.js", "/static/index.html", "/static/embedded.html", "/static/..%2fpages.py"]
)
async def test_only_parts_of_the_page_are_served(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 404


async def test_every_part_that_a_part_names_is_there(client: Client) -> None:
    for part in STATIC.glob("*.js"):
        for name in IMPORT.findall(part.read_text(encoding="utf-8")):
            response = await client.get(f"/static/{name}")
            assert response.status == 200, f"{part.name} imports {name}"
            assert response.content_type == "text/javascript"


def test_every_picture_that_a_module_names_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'id="icon-([a-z]+)"', (STATIC / SPRITE).read_text(encoding="utf-8")))
    named = {
        name
        for part in STATIC.glob("*.js")
        for name in re.findall(r'\bicon\("([a-z]+)"\)', part.read_text(encoding="utf-8"))
    }
    assert named | set(Site().reaction_kinds) | {"auto", "light", "dark", "other"} <= sprite
