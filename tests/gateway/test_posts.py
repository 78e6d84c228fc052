"""Posts, pages elsewhere, counts and changes over HTTP."""

import asyncio
import time
from typing import Any

import pytest

from protocol.requests import SignedIn
from protocol.times import rfc3339
from store.rows import PostRow
from tests.gateway.http_site import HOST_SECRET, Api, HttpSite, host_token, http_site

FOREIGN = "https://blog.example"


@pytest.fixture
async def ada(api: Api) -> SignedIn:
    return await api.member("ada")


# -- writing


async def test_a_post_is_made_and_found_at_its_location(api: Api, ada: SignedIn) -> None:
    body = {"title": "Hello", "body": "**Hi**", "tags": ["News", "news"]}
    answer = await api.call("POST", "/v1/posts", body, token=ada.access_token)
    assert answer.status == 201
    found = await api.call("GET", answer.headers["Location"])
    assert found.json["id"] == answer.json["id"]
    assert (found.json["title"], found.json["slug"], found.json["tags"]) == ("Hello", "hello", ["news"])
    assert "<strong>Hi</strong>" in found.json["html"]
    assert (await api.call("GET", "/v1/posts/by-slug/hello")).json["id"] == answer.json["id"]


async def test_posts_of_one_title_get_slugs_of_their_own(api: Api, ada: SignedIn) -> None:
    slugs = [(await api.post(ada.access_token, title="Hello"))["slug"] for _ in range(3)]
    assert slugs[0] == "hello"
    assert len(set(slugs)) == 3
    assert all(slug.startswith("hello-") for slug in slugs[1:])


async def test_posts_of_one_title_made_at_once_get_slugs_of_their_own(api: Api, ada: SignedIn) -> None:
    posts = await asyncio.gather(*(api.post(ada.access_token, title="Hello") for _ in range(5)))
    assert len({post["slug"] for post in posts}) == 5
    assert len({post["id"] for post in posts}) == 5


async def test_a_chosen_slug_that_is_taken_is_refused(api: Api, ada: SignedIn) -> None:
    await api.post(ada.access_token, slug="hello")
    answer = await api.call("POST", "/v1/posts", {"title": "x", "slug": "hello"}, token=ada.access_token)
    assert answer.code == "slug_taken"


async def test_a_repeated_creation_is_done_once(site: HttpSite, ada: SignedIn) -> None:
    body = {"title": "Hello"}
    first = await site.api.call("POST", "/v1/posts", body, token=ada.access_token, op="new-1")
    again = await site.api.call("POST", "/v1/posts", body, token=ada.access_token, op="new-1")
    assert first.json == again.json
    assert len(site.store.rows(PostRow)) == 1


async def test_creations_repeated_at_once_are_done_once(site: HttpSite, ada: SignedIn) -> None:
    calls = (site.api.call("POST", "/v1/posts", {"title": "Hi"}, token=ada.access_token, op="new") for _ in range(5))
    answers = await asyncio.gather(*calls)
    assert [answer.status for answer in answers] == [201] * 5
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len(site.store.rows(PostRow)) == 1


async def test_an_operation_id_is_one_persons_own(api: Api, ada: SignedIn) -> None:
    bob = await api.member("bob")
    one = await api.call("POST", "/v1/posts", {"title": "x"}, token=ada.access_token, op="same")
    other = await api.call("POST", "/v1/posts", {"title": "x"}, token=bob.access_token, op="same")
    assert one.json["id"] != other.json["id"]


async def test_an_operation_id_with_other_content_is_refused_and_takes_no_slug(api: Api, ada: SignedIn) -> None:
    await api.call("POST", "/v1/posts", {"title": "One"}, token=ada.access_token, op="same")
    answer = await api.call("POST", "/v1/posts", {"title": "Two"}, token=ada.access_token, op="same")
    assert answer.code == "operation_reused"
    assert (await api.call("GET", "/v1/posts/by-slug/two")).code == "post_not_found"
    assert (await api.call("GET", "/v1/posts/by-slug/one")).status == 200


async def test_a_post_is_edited_by_its_author_only(api: Api, ada: SignedIn) -> None:
    post = await api.post(ada.access_token, body="one")
    bob = await api.member("bob")
    path = f"/v1/posts/{post['id']}"
    assert (await api.call("PATCH", path, {"body": "two"}, token=bob.access_token)).code == "not_author"
    edited = await api.call("PATCH", path, {"body": "two"}, token=ada.access_token)
    assert (edited.json["body"], edited.json["title"]) == ("two", "A post")
    assert edited.json["edited_at"] is not None


async def test_a_slug_that_is_given_up_is_free_again(api: Api, ada: SignedIn) -> None:
    post = await api.post(ada.access_token, slug="one")
    path = f"/v1/posts/{post['id']}"
    await api.post(ada.access_token, slug="taken")
    assert (await api.call("PATCH", path, {"slug": "taken"}, token=ada.access_token)).code == "slug_taken"
    assert (await api.call("PATCH", path, {"slug": "two"}, token=ada.access_token)).json["slug"] == "two"
    assert (await api.call("PATCH", path, {"slug": "two"}, token=ada.access_token)).json["slug"] == "two"
    assert (await api.post(ada.access_token, slug="one"))["slug"] == "one"
    bob = await api.member("bob")
    assert (await api.call("PATCH", path, {"slug": "three"}, token=bob.access_token)).code == "not_author"
    assert (await api.post(bob.access_token, slug="three"))["slug"] == "three"


async def test_a_deleted_post_is_gone_and_its_slug_free(api: Api, ada: SignedIn) -> None:
    post = await api.post(ada.access_token, slug="one")
    path = f"/v1/posts/{post['id']}"
    assert (await api.call("DELETE", path, token=ada.access_token)).status == 204
    assert (await api.call("DELETE", path, token=ada.access_token)).status == 204
    for gone in (path, f"{path}/comments", "/v1/posts/by-slug/one"):
        assert (await api.call("GET", gone)).code == "post_not_found"
    assert (await api.post(ada.access_token, slug="one"))["slug"] == "one"


# -- drafts and publication


async def test_a_draft_is_shown_to_its_author_only_until_it_is_published(api: Api, ada: SignedIn) -> None:
    post = await api.post(ada.access_token, state="draft")
    bob = await api.member("bob")
    path = f"/v1/posts/{post['id']}"
    assert (await api.call("GET", path)).code == "post_not_found"
    assert (await api.call("GET", path, token=bob.access_token)).code == "post_not_found"
    assert (await api.call("GET", path, token=ada.access_token)).json["state"] == "draft"
    assert (await api.call("POST", f"{path}/publish", token=bob.access_token)).code == "post_not_found"
    assert (await api.call("POST", f"{path}/publish", token=ada.access_token)).json["state"] == "published"
    assert (await api.call("GET", path)).status == 200


async def test_a_post_is_scheduled_for_a_time_to_come(api: Api, ada: SignedIn) -> None:
    at = rfc3339(time.time() + 3_600)
    post = await api.post(ada.access_token, publish_at=at)
    assert post["state"] == "scheduled"
    draft = await api.post(ada.access_token, state="draft")
    scheduled = await api.call("POST", f"/v1/posts/{draft['id']}/publish", {"at": at}, token=ada.access_token)
    assert scheduled.json["state"] == "scheduled"
    past = await api.post(ada.access_token, publish_at="2001-01-01T00:00:00+02:00")
    assert past["state"] == "published"


async def test_drafts_are_listed_for_their_author_and_moderators(ada: SignedIn, api: Api) -> None:
    await api.post(ada.access_token, state="draft")
    mine = await api.call("GET", "/v1/posts?author=ada&drafts=true", token=ada.access_token)
    assert [post["state"] for post in mine.json] == ["draft"]
    assert (await api.call("GET", "/v1/posts?author=ada")).json == []
    assert (await api.call("GET", "/v1/posts?author=ada&drafts=true")).code == "permission_denied"
    assert (await api.call("GET", "/v1/posts?drafts=true", token=ada.access_token)).code == "permission_denied"


async def test_a_moderator_reads_drafts_and_deletes_posts() -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        ada = await site.api.member("ada")
        post = await site.api.post(ada.access_token, state="draft")
        moderator = host_token({"id": "m", "username": "mod", "role": "MODERATOR"})
        listed = await site.api.call("GET", "/v1/posts?drafts=true", token=moderator)
        assert [each["id"] for each in listed.json] == [post["id"]]
        assert (await site.api.call("DELETE", f"/v1/posts/{post['id']}", token=moderator)).status == 204


# -- reading


async def test_posts_are_paged_newest_first(api: Api, ada: SignedIn) -> None:
    made = [
        (await api.post(ada.access_token, title=f"Post {n}", tags=["even"] if n % 2 == 0 else []))["id"]
        for n in range(5)
    ]
    path, seen, pages = "/v1/posts?limit=2", [], 0
    while path:
        answer = await api.call("GET", path)
        seen += [post["id"] for post in answer.json]
        path = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
        pages += 1
    assert (seen, pages) == (made[::-1], 3)
    even = await api.call("GET", "/v1/posts?tag=Even&limit=2")
    assert [post["id"] for post in even.json] == [made[4], made[2]]
    assert "tag=Even" in even.headers["Link"]
    assert 'rel="next"' in even.headers["Link"]
    assert (await api.call("GET", "/v1/posts?author=nobody")).json == []


async def test_a_post_that_did_not_change_is_not_sent_again(api: Api, ada: SignedIn) -> None:
    post = await api.post(ada.access_token)
    path = f"/v1/posts/{post['id']}"
    first = await api.call("GET", path)
    tag = {"If-None-Match": first.headers["ETag"]}
    unchanged = await api.call("GET", path, headers=tag)
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert unchanged.headers["ETag"] == first.headers["ETag"]
    # Another reader is shown other things.
    assert (await api.call("GET", path, headers=tag, token=ada.access_token)).status == 200
    await api.comment(ada.access_token, post["id"])
    assert (await api.call("GET", path, headers=tag)).status == 200


async def test_counts_of_many_posts_come_in_one_call(api: Api, ada: SignedIn) -> None:
    one, draft = await api.post(ada.access_token), await api.post(ada.access_token, state="draft")
    await api.comment(ada.access_token, one["id"])
    answer = await api.call("POST", "/v1/counts", {"posts": [one["id"], draft["id"], "12345", one["id"]]})
    assert {post: counters["comments"] for post, counters in answer.json.items()} == {one["id"]: 1}
    too_many = [str(number) for number in range(1, 102)]
    assert (await api.call("POST", "/v1/counts", {"posts": too_many})).code == "invalid"


async def test_changes_are_resumed_over_plain_http(api: Api, ada: SignedIn) -> None:
    post = await api.post(ada.access_token)
    path = f"/v1/posts/{post['id']}/changes"
    start = await api.call("GET", path)
    assert (start.json["publications"], start.json["recovered"]) == ([], False)
    written = [(await api.comment(ada.access_token, post["id"], f"number {n}"))["id"] for n in range(3)]
    cursor, seen, offsets = start.json["cursor"], [], []
    more = True
    while more:
        page = (await api.call("GET", f"{path}?cursor={cursor}&limit=2")).json
        assert page["recovered"] is True
        seen += [each["data"]["comment"]["id"] for each in page["publications"]]
        offsets += [each["offset"] for each in page["publications"]]
        cursor, more = page["cursor"], page["more"]
    assert seen == written
    assert offsets == sorted(set(offsets))


@pytest.mark.parametrize("cursor", ["nonsense", "foreign-3", "memory-999999999", "-", "a-%00"])
async def test_a_cursor_that_is_none_of_the_stream_says_reload(api: Api, ada: SignedIn, cursor: str) -> None:
    post = await api.post(ada.access_token)
    page = (await api.call("GET", f"/v1/posts/{post['id']}/changes?cursor={cursor}")).json
    assert (page["recovered"], page["publications"]) == (False, [])


async def test_the_changes_of_a_draft_are_for_its_author(api: Api, ada: SignedIn) -> None:
    post = await api.post(ada.access_token, state="draft")
    assert (await api.call("GET", f"/v1/posts/{post['id']}/changes")).code == "post_not_found"
    assert (await api.call("GET", f"/v1/posts/{post['id']}/changes", token=ada.access_token)).status == 200


# -- pages elsewhere


async def opened(api: Api, body: Any, origin: str | None = FOREIGN) -> Any:
    return await api.call("PUT", "/v1/pages", body, headers={} if origin is None else {"Origin": origin})


async def test_a_page_gets_one_post_however_its_address_is_written() -> None:
    async with http_site(allowed_origins=(FOREIGN,)) as site:
        first = await opened(site.api, {"url": f"{FOREIGN}/a/?utm=1", "title": "About A"})
        assert (first.status, first.json["title"]) == (200, "About A")
        assert first.json["page_url"] == f"{FOREIGN}/a"
        assert first.json["author"] is None
        for same in ({"url": "http://BLOG.example:80/a#x"}, {"path": "/a/"}, {"url": f"{FOREIGN}/a", "title": "Other"}):
            assert (await opened(site.api, same)).json["id"] == first.json["id"]
        assert (await opened(site.api, {"url": f"{FOREIGN}/b"})).json["id"] != first.json["id"]
        by_id = await opened(site.api, {"id": "a", "url": f"{FOREIGN}/a"})
        assert by_id.json["id"] != first.json["id"]
        assert (await site.api.call("GET", "/v1/posts")).json == []


async def test_first_visits_at_once_make_one_page() -> None:
    async with http_site(allowed_origins=(FOREIGN,)) as site:
        answers = await asyncio.gather(*(opened(site.api, {"path": "/a"}) for _ in range(5)))
        assert len({answer.json["id"] for answer in answers}) == 1
        assert len(site.store.rows(PostRow)) == 1


async def test_pages_are_for_allowed_origins_only() -> None:
    async with http_site(allowed_origins=(FOREIGN,)) as site:
        refused: list[tuple[Any, str | None]] = [
            ({"path": "/a"}, "https://evil.example"),
            ({"url": "https://evil.example/a"}, FOREIGN),
            ({"url": "https://evil.example/a"}, None),
            ({"id": "a"}, None),
            ({"id": "a"}, "null"),
            # The server's own frame on any site could ask so.
            ({"id": "a"}, site.api.url),
            ({"id": "a", "url": "https://evil.example/a"}, site.api.url),
        ]
        for body, origin in refused:
            assert (await opened(site.api, body, origin)).code == "origin_not_allowed", (body, origin)
        assert site.store.rows(PostRow) == []
        assert (await opened(site.api, {"url": f"{FOREIGN}/a"}, None)).status == 200
        assert (await opened(site.api, {"path": "/own"}, site.api.url)).status == 200
        assert (await opened(site.api, {"id": "a", "url": f"{FOREIGN}/a"}, site.api.url)).status == 200


@pytest.mark.parametrize("body", [{}, {"path": "/a"}, {"url": "nonsense"}, {"id": ""}, {"title": "x"}, {"id": "\0"}])
async def test_a_page_needs_a_key(api: Api, body: Any) -> None:
    assert (await opened(api, body, None)).code == "invalid"


async def test_a_page_that_was_claimed_and_never_made_is_made() -> None:
    async with http_site(allowed_origins=(FOREIGN,)) as site:
        await site.store.claim_names("post", [("page", "url:blog.example/a")], 4711)
        assert (await opened(site.api, {"path": "/a"})).json["id"] == "4711"


async def test_comments_are_written_on_a_page() -> None:
    async with http_site(allowed_origins=(FOREIGN,)) as site:
        page = (await opened(site.api, {"path": "/a"})).json
        gus = await site.api.guest()
        await site.api.comment(gus.access_token, page["id"])
        assert (await opened(site.api, {"path": "/a"})).json["counters"]["comments"] == 1
