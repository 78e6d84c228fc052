"""Bookmarks, recent and hot posts, and search over HTTP, with real actors whose alarms ring in their own time."""

import asyncio
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from actors.finding import FINDING_ALARM
from store.rows import AccountRow, AlarmRow, BookmarkRow
from tests.gateway.http_site import Answer, Api, HttpSite


def titles(posts: list[Any]) -> list[str]:
    return [post["title"] for post in posts]


def linked(answer: Answer) -> str | None:
    """The path of the page after."""
    link = answer.headers.get("Link")
    return None if link is None else link[1 : link.index(">")]


async def caught_up(site: HttpSite) -> None:
    """Return once everything is found that can be."""
    async with asyncio.timeout(20):
        while any(alarm.name == FINDING_ALARM for alarm in site.store.rows(AlarmRow)):
            await asyncio.sleep(0.01)


async def pages(api: Api, path: str, token: str | None = None) -> list[list[Any]]:
    """All pages, from ``path`` on."""
    found = []
    next_: str | None = path
    while next_ is not None:
        answer = await api.call("GET", next_, token=token)
        assert answer.status == 200, answer
        found.append(answer.json)
        next_ = linked(answer)
        assert len(found) < 10
    return found


async def search(api: Api, words: str, token: str | None = None, **query: object) -> list[Any]:
    given = "".join(f"&{name}={value}" for name, value in query.items())
    answer = await api.call("GET", f"/v1/search?q={quote(words)}{given}", token=token)
    assert answer.status == 200, answer
    found: list[Any] = answer.json
    return found


# -- bookmarks


async def test_a_bookmark_is_listed_until_it_is_taken_away(api: Api) -> None:
    ann, gus = await api.member("ann"), await api.guest()
    post = await api.post(ann.access_token, title="Keep me", body="Some *words*")
    path = f"/v1/posts/{post['id']}"
    await api.call("PUT", f"{path}/reactions/like", token=gus.access_token)

    for _ in range(2):
        assert (await api.call("PUT", f"{path}/bookmark", token=gus.access_token)).status == 200
    listed = await api.call("GET", "/v1/bookmarks", token=gus.access_token)
    assert listed.json == [(await api.call("GET", path, token=gus.access_token)).json]
    assert listed.json[0]["mine"] == ["like"]
    assert "private" in listed.headers["Cache-Control"]
    assert (await api.call("GET", "/v1/bookmarks", token=ann.access_token)).json == []

    for _ in range(2):
        assert (await api.call("DELETE", f"{path}/bookmark", token=gus.access_token)).status == 200
    assert (await api.call("GET", "/v1/bookmarks", token=gus.access_token)).json == []


async def test_who_is_signed_in_sees_what_is_bookmarked_wherever_posts_are_shown(site: HttpSite) -> None:
    api = site.api
    ann, bob = await api.member("ann"), await api.member("bob")
    await api.call("PUT", "/v1/users/ann/follow", token=bob.access_token)
    post = await api.post(ann.access_token, title="Keep me")
    await caught_up(site)
    path = f"/v1/posts/{post['id']}"
    singles = (path, f"/v1/posts/by-slug/{post['slug']}")
    lists = ("/v1/posts", "/v1/posts?order=recent", "/v1/posts?order=hot", "/v1/users/ann/posts", "/v1/timeline")

    async def shown(token: str) -> list[bool]:
        found = [(await api.call("GET", single, token=token)).json for single in singles]
        for each in lists:
            listed = (await api.call("GET", each, token=token)).json
            found.extend(listed["posts"] if isinstance(listed, dict) else listed)
        assert len(found) == len(singles) + len(lists)
        return [each["bookmarked"] for each in found]

    for on, method in ((True, "PUT"), (True, "PUT"), (False, "DELETE")):
        before = await api.call("GET", path, token=bob.access_token)
        assert (await api.call(method, f"{path}/bookmark", token=bob.access_token)).status == 200
        assert set(await shown(bob.access_token)) == {on}
        assert set(await shown(ann.access_token)) == {False}
        # What the client has is out of date if the bookmark was not there.
        unchanged = before.json["bookmarked"] == on
        tag = {"If-None-Match": before.headers["ETag"]}
        again = await api.call("GET", path, token=bob.access_token, headers=tag)
        assert again.status == (304 if unchanged else 200)
    for each in (*singles, "/v1/posts", "/v1/posts?order=recent"):
        anonymous = (await api.call("GET", each)).json
        assert "bookmarked" not in (anonymous[0] if isinstance(anonymous, list) else anonymous)


async def test_bookmarks_stand_by_when_they_were_set_in_pages_that_end(api: Api) -> None:
    token = (await api.member()).access_token
    posts = [await api.post(token, title=f"Post {number}") for number in range(5)]
    for number in (3, 0, 4, 1, 2):
        await api.call("PUT", f"/v1/posts/{posts[number]['id']}/bookmark", token=token)
    await api.call("DELETE", f"/v1/posts/{posts[4]['id']}", token=token)

    found = await pages(api, "/v1/bookmarks?limit=2", token)
    assert [titles(page) for page in found] == [["Post 2", "Post 1"], ["Post 0", "Post 3"]]


async def test_only_what_can_be_read_takes_a_bookmark_of_somebody(api: Api) -> None:
    token = (await api.member()).access_token
    draft = await api.post(token, state="draft")
    gone = await api.post(token)
    await api.call("DELETE", f"/v1/posts/{gone['id']}", token=token)
    for post in (draft["id"], gone["id"], "404", "0", "x", "9999999999999999999"):
        assert (await api.call("PUT", f"/v1/posts/{post}/bookmark", token=token)).code == "post_not_found"
    for method, path in (("PUT", "/v1/posts/7/bookmark"), ("GET", "/v1/bookmarks")):
        assert (await api.call(method, path)).code == "unauthorized"


async def test_bookmarks_go_with_the_account(site: HttpSite) -> None:
    api = site.api
    token = (await api.member()).access_token
    post = await api.post((await api.member()).access_token)
    await api.call("PUT", f"/v1/posts/{post['id']}/bookmark", token=token)
    assert len(site.store.rows(BookmarkRow)) == 1
    await api.call("DELETE", "/v1/me", token=token)
    async with asyncio.timeout(10):
        while "deleted" not in {account.state for account in site.store.rows(AccountRow)}:
            await asyncio.sleep(0.01)
    assert site.store.rows(BookmarkRow) == []


async def test_a_bookmark_is_set_over_the_websocket_too(api: Api) -> None:
    token = (await api.member()).access_token
    post = await api.post(token)
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{api.url}/connection/websocket") as socket:

        async def rpc(**data: Any) -> Any:
            """How many bookmarks there are then, or the error's message."""
            await socket.send_json({"id": 2, "rpc": {"method": "bookmark", "data": data}})
            reply = await socket.receive_json()
            if "error" in reply:
                return reply["error"]["message"]
            return len((await api.call("GET", "/v1/bookmarks", token=token)).json)

        await socket.send_json({"id": 1, "connect": {"token": token}})
        assert "connect" in await socket.receive_json()
        assert await rpc(post=post["id"]) == 1
        assert await rpc(post=post["id"], op="again") == 1
        assert await rpc(post=post["id"], on=False) == 0
        assert await rpc(post="404") == "no such post"
        assert "post" in await rpc(post="x")
        assert "on" in await rpc(post=post["id"], on="yes")


# -- lists


async def test_recent_posts_stand_by_their_publication(api: Api) -> None:
    token = (await api.member()).access_token
    draft = await api.post(token, title="Draft", state="draft", tags=["Tea"])
    for number in range(3):
        await api.post(token, title=f"Post {number}", tags=["tea"] if number else [])
    assert titles((await api.call("GET", "/v1/posts?order=recent")).json) == ["Post 2", "Post 1", "Post 0"]
    # Places go by the millisecond.
    await asyncio.sleep(0.002)
    await api.call("POST", f"/v1/posts/{draft['id']}/publish", {}, token=token)

    found = await pages(api, "/v1/posts?order=recent&limit=3")
    assert [titles(page) for page in found] == [["Draft", "Post 2", "Post 1"], ["Post 0"]]
    found = await pages(api, "/v1/posts?order=recent&tag=TEA&limit=2", token)
    assert [titles(page) for page in found] == [["Draft", "Post 2"], ["Post 1"]]


async def test_hot_posts_are_those_that_move_people(site: HttpSite) -> None:
    api = site.api
    ann, bob = (await api.member("ann")).access_token, (await api.member("bob")).access_token
    posts = [await api.post(ann, title=f"Post {number}", tags=["odd"] * (number % 2)) for number in range(4)]
    await api.call("PUT", f"/v1/posts/{posts[0]['id']}/reactions/like", token=bob)
    for body in ("One", "Two"):
        await api.comment(bob, posts[1]["id"], body)
    await caught_up(site)

    found = await pages(api, "/v1/posts?order=hot&limit=3", bob)
    assert [titles(page) for page in found] == [["Post 1", "Post 0", "Post 3"], ["Post 2"]]
    assert found[0][1]["mine"] == ["like"]
    assert titles((await api.call("GET", "/v1/posts?order=hot&tag=odd")).json) == ["Post 1", "Post 3"]

    await api.call("DELETE", f"/v1/posts/{posts[1]['id']}", token=ann)
    await api.call("PUT", "/v1/users/ann/block", token=bob)
    assert titles((await api.call("GET", "/v1/posts?order=hot")).json) == ["Post 0", "Post 3", "Post 2"]
    assert (await api.call("GET", "/v1/posts?order=hot", token=bob)).json == []


# -- search


async def test_what_was_written_is_found_edited_and_taken_away(site: HttpSite) -> None:
    api = site.api
    ann, bob = (await api.member("ann")).access_token, (await api.member("bob")).access_token
    post = await api.post(ann, title="On kettles", body="<script>They</script> boil & sing", tags=["tea"])
    await api.comment(bob, post["id"], "Mine does not *sing*")
    draft = await api.post(ann, title="Kettles to come", state="draft")
    await caught_up(site)

    (hit,) = await search(api, "kettles")
    assert {name: hit[name] for name in ("kind", "post", "comment", "title", "slug")} == {
        "kind": "post",
        "post": post["id"],
        "comment": None,
        "title": "On kettles",
        "slug": post["slug"],
    }
    assert (hit["author"]["handle"], hit["created_at"]) == ("ann", post["published_at"])
    (hit,) = await search(api, "sing", kind="comments")
    assert (hit["comment"], hit["author"]["handle"]) == ("1", "bob")
    assert hit["excerpt"] == "Mine does not <mark>sing</mark>"
    (hit,) = await search(api, "sing", kind="posts", tag="Tea")
    assert hit["excerpt"] == "&lt;script&gt;They&lt;/script&gt; boil &amp; <mark>sing</mark>"
    assert len(await search(api, "sing")) == 2
    assert await search(api, "sing", tag="coffee") == []

    await api.call("PATCH", f"/v1/posts/{post['id']}/comments/1", {"body": "Mine whistles"}, token=bob)
    await api.call("POST", f"/v1/posts/{draft['id']}/publish", {}, token=ann)
    await caught_up(site)
    assert await search(api, "sing", kind="comments") == []
    assert len(await search(api, "whistles")) == 1
    assert len(await search(api, "kettles")) == 2

    await api.call("DELETE", f"/v1/posts/{post['id']}/comments/1", token=bob)
    await api.call("DELETE", f"/v1/posts/{draft['id']}", token=ann)
    assert await search(api, "whistles") == []
    assert len(await search(api, "kettles")) == 1
    assert await search(api, "boil", (await api.member()).access_token) != []
    await api.call("PUT", "/v1/users/bob/block", token=ann)
    assert await search(api, "boil", bob) == []


async def test_pages_of_what_was_found_hold_everything_once(site: HttpSite) -> None:
    api = site.api
    token = (await api.member()).access_token
    post = await api.post(token, title="Tea")
    for number in range(6):
        await api.comment(token, post["id"], f"Tea {number}")
    await caught_up(site)
    found = await pages(api, "/v1/search?q=tea&limit=3")
    assert [len(page) for page in found] == [3, 3, 1]
    assert {hit["comment"] for page in found for hit in page} == {None, *map(str, range(1, 7))}


# -- bad input


@pytest.mark.parametrize(
    "path",
    [
        "/v1/search",
        "/v1/search?q=",
        "/v1/search?q=%20%20",
        "/v1/search?q=%E2%80%8B",
        "/v1/search?q=%00",
        "/v1/search?q=%1b%5b31m",
        "/v1/search?q=" + "x" * 301,
        "/v1/search?q=x&kind=people",
        "/v1/search?q=x&limit=0",
        "/v1/search?q=x&limit=51",
        "/v1/search?q=x&limit=x",
        "/v1/search?q=x&tag=",
        "/v1/search?q=x&tag=%00",
        "/v1/search?q=x&after=",
        "/v1/search?q=x&after=1.2",
        "/v1/search?q=x&after=-1.2.3",
        "/v1/search?q=x&after=%D9%A1.2.3",
        "/v1/search?q=x&after=1.2.3%0A",
        "/v1/search?q=x&after=9999999999999999999.1.1",
        "/v1/posts?order=cold",
        "/v1/posts?order=hot&before=x",
        "/v1/posts?order=hot&before=9999999999999999999",
        "/v1/posts?order=hot&limit=0",
        "/v1/posts?order=recent&drafts=true",
        "/v1/posts?order=recent&author=ann",
        "/v1/bookmarks?before=0",
        "/v1/bookmarks?before=9999999999999999999",
        "/v1/bookmarks?limit=10000",
        "/v1/timeline?before=9999999999999999999",
    ],
)
async def test_what_no_page_has_given_is_refused(api: Api, path: str) -> None:
    token = (await api.member()).access_token
    assert (await api.call("GET", path, token=token)).code == "invalid"


async def test_a_search_of_ten_thousand_characters_is_refused(api: Api) -> None:
    assert (await api.call("GET", "/v1/search?q=" + "x" * 10_000)).status in (400, 414, 422)


@pytest.mark.parametrize(
    "words", ["-", "or", '"', '"""', "-or-", "& | ! ( ) : *", "' OR 1=1 --", "\\", "<->", "%", "😀"]
)
async def test_a_search_of_operators_alone_finds_nothing(api: Api, words: str) -> None:
    assert await search(api, words) == []


async def test_a_mark_from_far_away_is_the_end(api: Api) -> None:
    assert await search(api, "tea", after="0.0.0") == []
    assert (await api.call("GET", "/v1/posts?order=hot&before=1")).json == []
