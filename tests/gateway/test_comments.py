"""Comments, reactions and signals over HTTP."""

from typing import Any, NamedTuple

import pytest

from store.rows import CommentRow
from tests.gateway.http_site import Api, HttpSite


class Scene(NamedTuple):
    """A post, its author and a guest."""

    api: Api
    post: str
    author: str
    guest: str

    def path(self, rest: str = "") -> str:
        return f"/v1/posts/{self.post}{rest}"


@pytest.fixture
async def scene(api: Api) -> Scene:
    ada, gus = await api.member("ada"), await api.guest()
    post = await api.post(ada.access_token)
    return Scene(api, post["id"], ada.access_token, gus.access_token)


def ids(page: Any) -> list[str]:
    return [node["comment"]["id"] for node in page["comments"]]


# -- comments


async def test_a_comment_is_answered_as_it_will_be_shown(scene: Scene) -> None:
    answer = await scene.api.call("POST", scene.path("/comments"), {"body": "  \n**Hi**  "}, token=scene.guest)
    assert answer.status == 201
    assert answer.headers["Location"] == scene.path("/comments/1")
    assert (answer.json["body"], answer.json["state"]) == ("**Hi**", "visible")
    assert "<strong>Hi</strong>" in answer.json["html"]
    assert (await scene.api.call("GET", answer.headers["Location"])).json == answer.json


async def test_a_repeated_comment_is_written_once(site: HttpSite, scene: Scene) -> None:
    path, body = scene.path("/comments"), {"body": "once"}
    first = await site.api.call("POST", path, body, token=scene.guest, op="c-1")
    again = await site.api.call("POST", path, body, token=scene.guest, op="c-1")
    assert (first.status, first.json) == (again.status, again.json)
    assert len(site.store.rows(CommentRow)) == 1
    other = await site.api.call("POST", path, {"body": "other"}, token=scene.guest, op="c-1")
    assert other.code == "operation_reused"


async def test_comments_are_paged_in_every_order_and_view(scene: Scene) -> None:
    for number in range(1, 4):
        await scene.api.comment(scene.author, scene.post, f"number {number}")
    reply = (await scene.api.comment(scene.guest, scene.post, "reply", parent="1"))["id"]
    await scene.api.call("PUT", scene.path("/comments/2/reactions/like"), token=scene.guest)
    orders = {"newest": ["3", "2", "1", reply], "oldest": ["1", reply, "2", "3"], "best": ["2"]}
    for order, expected in orders.items():
        page = (await scene.api.call("GET", scene.path(f"/comments?order={order}"))).json
        assert ids(page)[: len(expected)] == expected
        assert page["total"] == 4
    level = (await scene.api.call("GET", scene.path("/comments?view=level&order=oldest"))).json
    assert ids(level) == ["1", "2", "3"]
    assert [node["hidden"] for node in level["comments"]] == [1, 0, 0]
    assert ids((await scene.api.call("GET", scene.path("/comments?view=level&parent=1"))).json) == [reply]


async def test_pages_of_comments_follow_each_other(scene: Scene) -> None:
    for number in range(5):
        await scene.api.comment(scene.author, scene.post, f"number {number}")
    path, seen = scene.path("/comments?limit=2&order=oldest"), []
    while path:
        answer = await scene.api.call("GET", path)
        seen += ids(answer.json)
        path = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert seen == ["1", "2", "3", "4", "5"]


async def test_from_a_page_to_its_cursor_nothing_is_lost(scene: Scene) -> None:
    page = (await scene.api.call("GET", scene.path("/comments"))).json
    comment = await scene.api.comment(scene.guest, scene.post)
    changes = (await scene.api.call("GET", scene.path(f"/changes?cursor={page['cursor']}"))).json
    assert [each["data"]["comment"]["id"] for each in changes["publications"]] == [comment["id"]]


async def test_a_page_that_did_not_change_is_not_sent_again(scene: Scene) -> None:
    await scene.api.comment(scene.guest, scene.post)
    path = scene.path("/comments")
    tag = {"If-None-Match": (await scene.api.call("GET", path)).headers["ETag"]}
    assert (await scene.api.call("GET", path, headers=tag)).status == 304
    # A reaction moves no offset, but is shown on the page.
    await scene.api.call("PUT", scene.path("/comments/1/reactions/like"), token=scene.guest)
    assert (await scene.api.call("GET", path, headers=tag)).status == 200


async def test_a_comment_is_edited_and_deleted_by_its_author(scene: Scene) -> None:
    await scene.api.comment(scene.guest, scene.post)
    path = scene.path("/comments/1")
    assert (await scene.api.call("PATCH", path, {"body": "x"}, token=scene.author)).code == "not_author"
    edited = await scene.api.call("PATCH", path, {"body": "better"}, token=scene.guest)
    assert (edited.status, edited.json["body"]) == (200, "better")
    assert (await scene.api.call("DELETE", path, token=scene.guest)).status == 204
    assert (await scene.api.call("DELETE", path, token=scene.guest)).status == 204
    tombstone = (await scene.api.call("GET", path)).json
    assert (tombstone["state"], tombstone["body"], tombstone["author"]) == ("deleted", "", None)
    assert (await scene.api.call("PATCH", path, {"body": "x"}, token=scene.guest)).code == "comment_not_found"
    reply = await scene.api.call("POST", scene.path("/comments"), {"body": "x", "parent": "1"}, token=scene.guest)
    assert reply.code == "parent_not_found"


async def test_the_posts_author_deletes_any_comment_and_approves(scene: Scene) -> None:
    await scene.api.comment(scene.guest, scene.post)
    bob = await scene.api.member("bob")
    approve = scene.path("/comments/1/approve")
    assert (await scene.api.call("POST", approve, token=bob.access_token)).code == "permission_denied"
    assert (await scene.api.call("POST", approve, token=scene.guest)).code == "permission_denied"
    assert (await scene.api.call("POST", approve, token=scene.author)).json["state"] == "visible"
    assert (await scene.api.call("DELETE", scene.path("/comments/1"), token=bob.access_token)).code == "not_author"
    assert (await scene.api.call("DELETE", scene.path("/comments/1"), token=scene.author)).status == 204


async def test_held_comments_are_for_the_posts_author(scene: Scene) -> None:
    assert (await scene.api.call("GET", scene.path("/comments?only=held"))).code == "permission_denied"
    assert (await scene.api.call("GET", scene.path("/comments?only=held"), token=scene.author)).json["comments"] == []


async def test_closed_comments_take_no_more(scene: Scene) -> None:
    await scene.api.call("PATCH", scene.path(), {"comments_open": False}, token=scene.author)
    answer = await scene.api.call("POST", scene.path("/comments"), {"body": "x"}, token=scene.guest)
    assert answer.code == "comments_closed"


# -- reactions and signals


async def counters(scene: Scene) -> Any:
    return (await scene.api.call("GET", scene.path())).json["counters"]


async def test_a_reaction_is_given_once_and_taken_back(scene: Scene) -> None:
    path = scene.path("/reactions/like")
    for _ in range(2):
        assert (await scene.api.call("PUT", path, token=scene.guest)).status == 200
    assert (await counters(scene))["reactions"] == {"like": 1}
    mine = await scene.api.call("GET", scene.path(), token=scene.guest)
    assert mine.json["mine"] == ["like"]
    assert "mine" not in (await scene.api.call("GET", scene.path())).json
    for _ in range(2):
        assert (await scene.api.call("DELETE", path, token=scene.guest)).status == 200
    assert not (await counters(scene))["reactions"].get("like")


async def test_a_comment_is_reacted_to(scene: Scene) -> None:
    await scene.api.comment(scene.author, scene.post)
    path = scene.path("/comments/1/reactions/love")
    await scene.api.call("PUT", path, token=scene.guest)
    (node,) = (await scene.api.call("GET", scene.path("/comments"), token=scene.guest)).json["comments"]
    assert (node["reactions"], node["mine"]) == ({"love": 1}, ["love"])
    await scene.api.call("DELETE", path, token=scene.guest)
    (node,) = (await scene.api.call("GET", scene.path("/comments"), token=scene.guest)).json["comments"]
    assert node["mine"] == []


async def test_applause_is_ones_own_total(scene: Scene) -> None:
    for total in (50, 3, 3):
        answer = await scene.api.call("PUT", scene.path("/applause"), {"total": total}, token=scene.guest)
        assert answer.json["total"] == total
    await scene.api.call("PUT", scene.path("/applause"), {"total": 4}, token=scene.author)
    assert (await counters(scene))["applause"] == 7


async def test_a_view_counts_once_per_viewer(scene: Scene) -> None:
    browsers = [{"User-Agent": "one"}, {"User-Agent": "one"}, {"User-Agent": "other"}]
    for headers in browsers:
        assert (await scene.api.call("POST", scene.path("/views"), headers=headers)).status == 204
    for _ in range(2):
        await scene.api.call("POST", scene.path("/views"), token=scene.guest)
    seen = await counters(scene)
    assert (seen["views"], seen["viewers"]) == (3, 3)


async def test_typing_is_for_who_may_comment(scene: Scene) -> None:
    assert (await scene.api.call("POST", scene.path("/typing"), {"on": True}, token=scene.guest)).status == 204
    assert (await scene.api.call("POST", scene.path("/typing"), token=scene.guest)).status == 204
    assert (await scene.api.call("POST", scene.path("/typing"), {"on": True})).code == "unauthorized"
