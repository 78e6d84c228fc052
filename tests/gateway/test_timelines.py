"""Timelines over HTTP: pages, what each post shows of its reader, and who may see what."""

import asyncio
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from store.rows import FollowRow, UserStateRow
from tests.gateway.http_site import Answer, Api, HttpSite
from tests.processes import Served


async def read(api: Api, token: str, **query: object) -> Any:
    """The timeline's page."""
    given = "&".join(f"{name}={value}" for name, value in query.items())
    answer = await api.call("GET", f"/v1/timeline?{given}", token=token)
    assert answer.status == 200, answer
    return answer.json


def titles(posts: list[Any]) -> list[str]:
    return [post["title"] for post in posts]


async def follow(api: Api, token: str, handle: str) -> None:
    answer = await api.call("PUT", f"/v1/users/{handle}/follow", token=token)
    assert answer.status == 200, answer


async def test_a_timeline_shows_ones_own_posts_and_those_of_whom_one_follows(api: Api) -> None:
    ann, bob, cid = [await api.member(handle) for handle in ("ann", "bob", "cid")]
    await follow(api, bob.access_token, "ann")
    for author in (ann, bob, cid):
        await api.post(author.access_token, title=f"By {author.account.handle}")

    assert titles((await read(api, bob.access_token))["posts"]) == ["By bob", "By ann"]
    assert titles((await read(api, ann.access_token))["posts"]) == ["By ann"]


async def test_pages_are_linked_and_end(api: Api) -> None:
    ann, bob = await api.member("ann"), await api.member("bob")
    await follow(api, bob.access_token, "ann")
    for number in range(5):
        await api.post(ann.access_token, title=f"Post {number}")

    async def pages(path: str) -> list[list[str]]:
        found = []
        next_: str | None = path
        while next_ is not None:
            answer = await api.call("GET", next_, token=bob.access_token)
            posts = answer.json["posts"] if isinstance(answer.json, dict) else answer.json
            found.append(titles(posts))
            next_ = linked(answer)
            assert len(found) < 10
        return found

    for path in ("/v1/timeline?limit=2", "/v1/users/ann/posts?limit=2"):
        assert await pages(path) == [["Post 4", "Post 3"], ["Post 2", "Post 1"], ["Post 0"]], path


def linked(answer: Answer) -> str | None:
    """The path of the page after."""
    link = answer.headers.get("Link")
    return None if link is None else link[1 : link.index(">")]


async def test_a_profile_counts_the_posts_that_are_published(api: Api) -> None:
    ann = await api.member("ann")
    token = ann.access_token

    async def counted(posts: int) -> None:
        """Return once profile and account say so: a message is on its way."""
        async with asyncio.timeout(5):
            for path in ("/v1/users/ann", "/v1/me"):
                while (await api.call("GET", path, token=token)).json["posts"] != posts:
                    await asyncio.sleep(0.005)

    await counted(0)
    draft = await api.post(token, state="draft")
    first, second = [await api.post(token, title=title) for title in ("First", "Second")]
    await counted(2)
    await api.call("POST", f"/v1/posts/{draft['id']}/publish", {}, token=token)
    await counted(3)
    await api.call("PATCH", f"/v1/posts/{first['id']}", {"title": "Changed"}, token=token)
    for post in (first, first, second):
        await api.call("DELETE", f"/v1/posts/{post['id']}", token=token)
    await counted(1)


async def test_a_post_of_the_timeline_is_shown_as_it_is_elsewhere(api: Api) -> None:
    ann, bob = await api.member("ann"), await api.member("bob")
    await follow(api, bob.access_token, "ann")
    post = await api.post(ann.access_token, title="Words", body="Some *words*", tags=["one"])
    path = f"/v1/posts/{post['id']}"
    for _ in range(2):
        for token in (ann.access_token, bob.access_token):
            shown = (await api.call("GET", path, token=token)).json
            assert (await read(api, token))["posts"] == [shown]
            assert (await api.call("GET", "/v1/users/ann/posts", token=token)).json == [shown]
        await api.call("PUT", f"{path}/reactions/like", token=bob.access_token)
        await api.call("PUT", f"{path}/applause", {"total": 3}, token=ann.access_token)
        await api.comment(bob.access_token, post["id"])
    assert (await api.call("GET", "/v1/users/ann/posts")).json == [(await api.call("GET", path)).json]


async def test_edits_renames_and_deletions_show_at_once(api: Api) -> None:
    ann, bob = await api.member("ann"), await api.member("bob")
    await follow(api, bob.access_token, "ann")
    post = await api.post(ann.access_token, title="Before")
    await api.post(ann.access_token, title="Other")
    assert titles((await read(api, bob.access_token))["posts"]) == ["Other", "Before"]

    await api.call("PATCH", f"/v1/posts/{post['id']}", {"title": "After"}, token=ann.access_token)
    await api.call("PATCH", "/v1/me", {"name": "Annabel"}, token=ann.access_token)
    shown = (await read(api, bob.access_token))["posts"]
    assert [(each["title"], each["author"]["name"]) for each in shown] == [("Other", "Annabel"), ("After", "Annabel")]

    await api.call("DELETE", f"/v1/posts/{post['id']}", token=ann.access_token)
    assert titles((await read(api, bob.access_token))["posts"]) == ["Other"]
    await api.call("DELETE", "/v1/me", token=ann.access_token)
    assert (await read(api, bob.access_token))["posts"] == []


async def test_a_draft_stands_where_it_was_published(api: Api) -> None:
    ann = await api.member("ann")
    draft = await api.post(ann.access_token, title="Draft", state="draft")
    await api.post(ann.access_token, title="Between")
    assert titles((await read(api, ann.access_token))["posts"]) == ["Between"]
    # Places go by the millisecond.
    await asyncio.sleep(0.002)
    await api.call("POST", f"/v1/posts/{draft['id']}/publish", {}, token=ann.access_token)
    assert titles((await read(api, ann.access_token))["posts"]) == ["Draft", "Between"]


async def test_the_cursor_of_a_page_is_the_feeds_and_rises(api: Api) -> None:
    ann = await api.member("ann")
    before = (await read(api, ann.access_token))["cursor"]
    await api.post(ann.access_token)
    after = (await read(api, ann.access_token))["cursor"]
    epoch, _, offset = before.rpartition("-")
    assert epoch.endswith(":feed")
    assert after.rpartition("-")[0] == epoch
    assert int(after.rpartition("-")[2]) > int(offset)


async def test_posts_of_an_author_are_not_shown_across_a_block(api: Api) -> None:
    ann, bob = await api.member("ann"), await api.member("bob")
    await api.post(ann.access_token, title="A post")
    await api.call("PUT", "/v1/users/bob/block", token=ann.access_token)
    assert (await api.call("GET", "/v1/users/ann/posts", token=bob.access_token)).json == []
    assert titles((await api.call("GET", "/v1/users/ann/posts")).json) == ["A post"]


async def test_reading_is_noted_and_opens_edges(site: HttpSite) -> None:
    api = site.api
    ann, bob = await api.member("ann"), await api.member("bob")
    await follow(api, bob.access_token, "ann")
    await read(api, bob.access_token)
    wanted = (int(bob.account.id), "hybrid")
    async with asyncio.timeout(5):
        while wanted not in [(row.user_id, row.arranged) for row in site.store.rows(UserStateRow) if row.seen_ms]:
            await asyncio.sleep(0.01)
    await api.post(ann.access_token, title="Pushed")
    await site.fanned_out()
    assert titles((await read(api, bob.access_token))["posts"]) == ["Pushed"]
    assert len(site.store.rows(FollowRow)) == 1


async def test_the_whole_server_pushes_and_pulls_and_shows_the_same(server: Served) -> None:
    """Over Postgres: before the edge is open, and when everything that follows has happened."""
    names = [f"{name}{uuid4().hex[:8]}" for name in ("ann", "bob")]
    async with aiohttp.ClientSession() as client:
        api = Api(client, server.url)
        ann, bob = [await api.member(name) for name in names]
        first = await api.post(ann.access_token, title="First", body="Some *words*")
        await follow(api, bob.access_token, names[0])
        await api.call("PUT", f"/v1/posts/{first['id']}/reactions/like", token=bob.access_token)
        pages = []
        for number in range(4):
            second = await api.post(ann.access_token, title=f"Post {number}")
            pages.append((await read(api, bob.access_token, limit=2))["posts"])
            assert titles(pages[-1])[0] == second["title"]
            await asyncio.sleep(0.4 * number)
        everything = (await read(api, bob.access_token))["posts"]
        assert titles(everything) == ["Post 3", "Post 2", "Post 1", "Post 0", "First"]
        assert everything[-1] == (await api.call("GET", f"/v1/posts/{first['id']}", token=bob.access_token)).json
        assert everything[-1]["mine"] == ["like"]
        assert (await api.call("GET", f"/v1/users/{names[0]}/posts", token=bob.access_token)).json == everything


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/timeline?limit=0", "invalid"),
        ("/v1/timeline?limit=101", "invalid"),
        ("/v1/timeline?limit=10000", "invalid"),
        ("/v1/timeline?before=0", "invalid"),
        ("/v1/timeline?before=-1", "invalid"),
        ("/v1/timeline?before=99999999999999999999", "invalid"),
        ("/v1/timeline?before=e1-7", "invalid"),
        ("/v1/users/nobody/posts", "account_not_found"),
        ("/v1/users/%00/posts", "account_not_found"),
        ("/v1/users/ann/posts?limit=0", "invalid"),
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, path: str, code: str) -> None:
    ann = await api.member("ann")
    assert (await api.call("GET", path, token=ann.access_token)).code == code


async def test_any_place_may_be_asked_for(api: Api) -> None:
    ann = await api.member("ann")
    await api.post(ann.access_token, title="A post")
    assert (await read(api, ann.access_token, before=1))["posts"] == []
    assert titles((await read(api, ann.access_token, before=(1 << 63) - 1))["posts"]) == ["A post"]


async def test_a_timeline_is_for_members(api: Api) -> None:
    assert (await api.call("GET", "/v1/timeline")).code == "unauthorized"
    guest = await api.guest()
    assert (await api.call("GET", "/v1/timeline", token=guest.access_token)).code == "permission_denied"
