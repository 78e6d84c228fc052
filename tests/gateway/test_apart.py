"""Comments of those of whom a reader sees nothing, over HTTP and WebSocket: they keep their places, without words."""

import asyncio
import time
from typing import Any

import pytest

from actors.actor import SYSTEM
from protocol.commands import ImportComment, Person
from protocol.times import rfc3339_ms
from store.memory import Held, RequestLost
from tests.gateway.http_site import HOST_SECRET, HttpSite, host_token, http_site
from tests.gateway.live import WAIT_S, rpc, socket_of
from tests.gateway.people import People, Someone


class Talk:
    """A post of Ada's with a comment by Bob, answered by Eve, who likes it."""

    def __init__(self, post: str, ada: Someone, bob: Someone, eve: Someone) -> None:
        self.post, self.ada, self.bob, self.eve = post, ada, bob, eve
        self.path = f"/v1/posts/{post}/comments"

    @classmethod
    async def of(cls, people: People) -> "Talk":
        ada, bob, eve = await people.some("ada", "bob", "eve")
        post = (await people.api.post(ada.token))["id"]
        first = (await people.api.comment(bob.token, post, "*Bob* says"))["id"]
        await people.api.comment(eve.token, post, "*Eve* says", parent=first)
        await people.api.comment(ada.token, post, "*Ada* says")
        await eve.call("PUT", f"/v1/posts/{post}/comments/{first}/reactions/like")
        return cls(post, ada, bob, eve)

    async def page(self, reader: Someone | None, query: str = "order=oldest") -> Any:
        answer = await self.ada.api.call("GET", f"{self.path}?{query}", token=None if reader is None else reader.token)
        assert answer.status == 200, answer
        return answer.json


def words(page: Any) -> list[tuple[str, Any]]:
    """What is said in each comment, and whether its author is apart."""
    return [(node["comment"]["body"], node.get("apart")) for node in page["comments"]]


WHOLE = [("*Bob* says", False), ("*Eve* says", False), ("*Ada* says", False)]
WITHOUT_BOB = [("", True), *WHOLE[1:]]
UNASKED = [(body, None) for body, _ in WHOLE]


@pytest.mark.parametrize(("by_bob", "what"), [(False, "block"), (True, "block"), (False, "mute")])
async def test_a_page_leaves_out_only_the_words_of_whom_the_reader_sees_nothing(
    people: People, by_bob: bool, what: str
) -> None:
    talk = await Talk.of(people)
    assert words(await talk.page(talk.eve)) == WHOLE
    await (talk.bob.does("PUT", what, talk.eve) if by_bob else talk.eve.does("PUT", what, talk.bob))

    for query in ("order=oldest", "order=newest", "view=level", "limit=1&order=oldest"):
        page, expected = await talk.page(talk.eve, query), await talk.page(None, query)
        for node in expected["comments"]:
            apart = node["comment"]["author"]["id"] == talk.bob.id
            node |= {"apart": apart, "mine": ["like"] if apart else []}
            node["comment"] |= {"body": "", "html": ""} if apart else {}
        assert page == expected
    assert words(await talk.page(talk.ada)) == WHOLE
    # A block parts both; of a mute the other side knows nothing.
    parted = what == "block"
    assert words(await talk.page(talk.bob)) == ([WHOLE[0], ("", True), WHOLE[2]] if parted else WHOLE)


async def test_an_rpc_answers_what_http_answers(people: People) -> None:
    talk = await Talk.of(people)
    await talk.eve.does("PUT", "mute", talk.bob)
    async with socket_of(talk.eve) as socket:
        listed = await rpc(socket, "comment.list", post=talk.post, order="oldest")
        assert listed == await talk.page(talk.eve)
        assert words(listed) == WITHOUT_BOB
        await socket.send_json(
            {"id": 8, "rpc": {"method": "comment.list", "data": {"post": talk.post, "only": "held"}}}
        )
        assert (await socket.receive_json(timeout=WAIT_S))["error"]["message"] == "not allowed"


async def test_a_comment_read_by_itself_has_its_words(people: People) -> None:
    talk = await Talk.of(people)
    await talk.eve.does("PUT", "block", talk.bob)
    alone = await talk.eve.call("GET", f"{talk.path}/1")
    assert (alone.json["body"], alone.json["author"]["id"]) == ("*Bob* says", talk.bob.id)
    async with socket_of(talk.eve) as socket:
        assert await rpc(socket, "comment.get", post=talk.post, comment="1") == alone.json


async def test_what_was_left_out_is_shown_once_a_mute_ends(people: People) -> None:
    talk = await Talk.of(people)
    until_ms = int(time.time() * 1000) + 500
    await talk.eve.does("PUT", "mute", talk.bob, {"until": rfc3339_ms(until_ms)})
    async with asyncio.timeout(10):
        while words(await talk.page(talk.eve)) != WHOLE:
            await asyncio.sleep(0.02)
    assert time.time() * 1000 >= until_ms


async def test_a_guest_may_be_apart_and_read_what_is_kept_apart(people: People) -> None:
    talk = await Talk.of(people)
    guest = await people.api.guest()
    gus = Someone(people.api, f"guest-{guest.account.id}", guest.account.id, guest.access_token)
    await people.api.comment(gus.token, talk.post, "*Gus* says")
    await talk.bob.does("PUT", "block", gus)
    assert words(await talk.page(gus)) == [*WITHOUT_BOB, ("*Gus* says", False)]
    assert words(await talk.page(talk.bob)) == [*WHOLE, ("", True)]


async def test_a_page_has_another_tag_once_words_are_left_out(people: People) -> None:
    talk = await Talk.of(people)

    async def read(tag: str) -> tuple[int, str]:
        answer = await people.api.call("GET", talk.path, token=talk.eve.token, headers={"If-None-Match": tag})
        return answer.status, answer.headers["ETag"]

    _, whole = await read('W/"none"')
    assert await read(whole) == (304, whole)
    await talk.eve.does("PUT", "mute", talk.bob)
    status, without = await read(whole)
    assert (status, without != whole) == (200, True)
    assert await read(without) == (304, without)
    await talk.eve.does("DELETE", "mute", talk.bob)
    assert await read(without) == (200, whole)


async def test_the_store_is_asked_once_a_page_and_only_for_a_reader_with_others_on_it(site: HttpSite) -> None:
    talk = await Talk.of(People(site.api))
    assert words(await talk.page(None)) == UNASKED
    assert words(await talk.page(talk.bob, "view=level&order=oldest&limit=1")) == WHOLE[:1]
    assert site.store.calls["hidden_from"] == 0
    assert words(await talk.page(talk.eve)) == WHOLE
    assert site.store.calls["hidden_from"] == 1


async def test_without_the_database_a_page_is_whole_and_says_that_nobody_was_asked(site: HttpSite) -> None:
    talk = await Talk.of(People(site.api))
    await talk.eve.does("PUT", "mute", talk.bob)
    site.store.faults += [RequestLost("hidden_from"), RequestLost("hidden_from")]
    assert words(await talk.page(talk.eve)) == UNASKED
    async with socket_of(talk.eve) as socket:
        assert words(await rpc(socket, "comment.list", post=talk.post, order="oldest")) == UNASKED
    assert site.store.faults == []
    assert words(await talk.page(talk.eve)) == WITHOUT_BOB


async def test_a_page_does_not_wait_for_a_database_that_does_not_answer(site: HttpSite) -> None:
    talk = await Talk.of(People(site.api))
    await talk.eve.does("PUT", "mute", talk.bob)
    site.store.faults.append(Held("hidden_from", asyncio.Event()))
    async with asyncio.timeout(5):
        assert words(await talk.page(talk.eve)) == UNASKED


async def test_a_moderator_sees_what_everyone_says() -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        talk = await Talk.of(People(site.api))
        token = host_token({"id": "m", "username": "mod", "role": "MODERATOR"})
        account = (await site.api.call("GET", "/v1/me", token=token)).json
        moderator = Someone(site.api, account["handle"], account["id"], token)
        await talk.bob.does("PUT", "block", moderator)
        assert words(await talk.page(moderator)) == UNASKED


async def test_what_is_held_is_shown_to_the_posts_author_whoever_wrote_it(site: HttpSite) -> None:
    talk = await Talk.of(People(site.api))
    held = ImportComment(
        post=talk.post,
        source="elsewhere:1",
        body="Buy *this*",
        created_at=1_700_000_000_000,
        author=Person(id=int(talk.bob.id), handle=talk.bob.handle, name="Bob"),
        held=True,
    )
    await site.node.ask(f"post:{talk.post}", held, SYSTEM)
    await talk.ada.does("PUT", "block", talk.bob)
    assert words(await talk.page(talk.ada, "only=held")) == [("Buy *this*", None)]
    assert words(await talk.page(talk.ada)) == WITHOUT_BOB


async def test_what_comes_live_is_the_same_for_all(people: People) -> None:
    talk = await Talk.of(people)
    cursor = (await talk.page(talk.eve))["cursor"]
    await talk.eve.does("PUT", "mute", talk.bob)
    await people.api.comment(talk.bob.token, talk.post, "once more")
    changes = await talk.eve.call("GET", f"/v1/posts/{talk.post}/changes?cursor={cursor}")
    (change,) = changes.json["publications"]
    assert (change["data"].keys(), change["data"]["comment"]["body"]) == ({"type", "comment"}, "once more")
