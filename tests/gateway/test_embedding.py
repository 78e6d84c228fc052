"""Who may show the frame: what the server says to the browser, and to a site that it is not for."""

import re

import pytest

from tests.gateway.http_site import http_site

SITE = "https://blog.example"


def ancestors(policy: str) -> list[str]:
    """Whom a policy lets show the page in a frame."""
    found = re.search(r"frame-ancestors ([^;]+)", policy)
    assert found is not None
    return found[1].split()


async def test_the_frame_is_for_pages_of_the_allowed_sites_and_of_the_servers_own() -> None:
    async with http_site(allowed_origins=(SITE, "http://Other.example:80"), public_url="https://talk.example/") as site:
        for origin in (SITE, "http://other.example", "https://talk.example", site.api.url):
            frame = await site.api.call("GET", f"/embed?origin={origin}&theme=dark")
            assert frame.status == 200
            assert b'data-theme="dark"' in frame.body
            policy = frame.headers["Content-Security-Policy"]
            assert ancestors(policy) == ["'self'", "https://talk.example", "http://other.example", SITE]
            assert "require-trusted-types-for 'script'" in policy


async def test_where_any_site_is_allowed_any_may_show_the_frame() -> None:
    async with http_site(allowed_origins=("*",)) as site:
        frame = await site.api.call("GET", f"/embed?origin={SITE}")
        assert ancestors(frame.headers["Content-Security-Policy"]) == ["*"]


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://[", f"{SITE}/", f"{SITE}.evil.example", "<script>", "{{theme}}"],
)
async def test_a_site_that_is_not_allowed_is_told_so_by_a_page_that_runs_nothing(origin: str) -> None:
    async with http_site(allowed_origins=(SITE,)) as site:
        refusal = await site.api.call("GET", f"/embed?theme=neon&origin={origin}")
        assert refusal.status == 403
        assert refusal.headers["Content-Type"].startswith("text/html")
        assert b"is not among the sites" in refusal.body
        assert b"<script" not in refusal.body
        assert b"neon" not in refusal.body


async def test_the_script_is_served_to_every_site() -> None:
    async with http_site() as site:
        script = await site.api.call("GET", "/embed.js", headers={"Origin": "https://evil.example"})
        assert (script.status, script.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")


@pytest.mark.parametrize("origin", ["http://[", "https://", "//", ""])
async def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    async with http_site() as site:
        answer = await site.api.call("POST", "/v1/guests", {"name": "Eve"}, headers={"Origin": origin})
        assert answer.code == "origin_not_allowed"
