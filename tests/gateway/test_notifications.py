"""Notifications over HTTP, WebSocket and Server-Sent Events, over a store in memory and over the whole server."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp

from tests.gateway.http_site import Api
from tests.gateway.live import WAIT_S, event, pushes, rpc, socket_of, subscribe
from tests.gateway.people import People, Someone
from tests.processes import serving
from tests.site import SETTINGS

EVERYTHING = {"comment": True, "reply": True, "mention": True, "follow": True, "reaction": True, "applause": True}


# -- what the tests do


async def listed(someone: Someone, count: int, path: str = "/v1/notifications") -> Any:
    """The page, once it has so many groups: the news are gathered for a second."""
    async with asyncio.timeout(WAIT_S):
        while True:
            answer = await someone.call("GET", path)
            assert answer.status == 200, answer
            if len(answer.json["groups"]) == count:
                return answer.json
            await asyncio.sleep(0.02)


async def post_of(someone: Someone) -> str:
    return str((await someone.api.post(someone.token, title="A post"))["id"])


async def applaud(someone: Someone, post: str, total: int = 3) -> None:
    assert (await someone.call("PUT", f"/v1/posts/{post}/applause", {"total": total})).status == 200


# -- pages


async def test_a_page_tells_what_happened_to_whom_and_by_whom(people: People) -> None:
    ada, bob, cyd = await people.some("ada", "bob", "cyd")
    post = await post_of(ada)
    comment = await bob.api.comment(bob.token, post, f"hello @{cyd.handle}")
    await cyd.api.comment(cyd.token, post, "an answer", comment["id"])
    for someone in (bob, cyd):
        await applaud(someone, post)
    await bob.does("PUT", "follow", ada)

    page = await listed(ada, 3)
    groups = {group["kind"]: group for group in page["groups"]}
    assert {kind: (group["count"], set(group["sample"])) for kind, group in groups.items()} == {
        "comment": (2, {bob.id, cyd.id}),
        "applause": (2, {bob.id, cyd.id}),
        "follow": (1, {bob.id}),
    }
    assert groups["comment"]["post"] == post
    assert (groups["follow"]["post"], groups["follow"]["comment"]) == (None, None)
    assert page["accounts"][bob.id]["handle"] == bob.handle
    assert page["posts"][post]["title"] == "A post"
    assert page["unread"] == 3
    assert not any(group["read"] for group in page["groups"])
    (reply,) = (await listed(bob, 1))["groups"]
    assert (reply["kind"], reply["comment"], reply["sample"]) == ("reply", comment["id"], [cyd.id])
    (mention,) = (await listed(cyd, 1))["groups"]
    assert (mention["kind"], mention["comment"], mention["sample"]) == ("mention", comment["id"], [bob.id])


async def test_pages_are_linked_and_bad_ones_refused(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    for _ in range(3):
        await applaud(bob, await post_of(ada))
    whole = await listed(ada, 3)
    first = await ada.call("GET", "/v1/notifications?limit=2")
    assert first.headers["Cache-Control"] == "private, no-cache"
    further = first.headers["Link"].removeprefix("<").partition(">")[0]
    second = await ada.call("GET", further)

    assert first.json["groups"] + second.json["groups"] == whole["groups"]
    assert "Link" not in second.headers
    for query in ("limit=0", "limit=10000", "before=x", "before=-1", "before=99999999999999999999"):
        assert (await ada.call("GET", f"/v1/notifications?{query}")).code == "invalid"
    for method, path in (("GET", ""), ("POST", "/read"), ("GET", "/preferences"), ("GET", "/events")):
        assert (await ada.api.call(method, f"/v1/notifications{path}")).code == "unauthorized"


async def test_marking_read_is_absolute_and_may_be_repeated(people: People) -> None:
    ada, bob, cyd = await people.some("ada", "bob", "cyd")
    await applaud(bob, await post_of(ada))
    await applaud(bob, await post_of(ada))
    page = await listed(ada, 2)
    older = f"{page['cursor'].rpartition('-')[0]}-{page['groups'][1]['offset']}"
    for cursor, unread in ((older, 1), (older, 1), (page["cursor"], 0), (older, 0)):
        answer = await ada.call("POST", "/v1/notifications/read", {"cursor": cursor})
        assert (answer.status, answer.json["unread"]) == (200, unread)

    page = await listed(ada, 2)
    assert page["unread"] == 0
    assert all(group["read"] for group in page["groups"])
    epoch, _, offset = page["cursor"].rpartition("-")
    theirs = (await listed(cyd, 0))["cursor"]
    for cursor in ("", "x", f"{epoch}-{int(offset) + 1}", f"{epoch}x-1", theirs, f"{epoch}--1"):
        assert (await ada.call("POST", "/v1/notifications/read", {"cursor": cursor})).code == "invalid"
    assert (await ada.call("POST", "/v1/notifications/read", {})).code == "invalid"


async def test_kinds_can_be_switched_off(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    assert (await ada.call("GET", "/v1/notifications/preferences")).json == EVERYTHING
    changed = await ada.call("PATCH", "/v1/notifications/preferences", {"applause": False})
    assert changed.json == {**EVERYTHING, "applause": False}
    assert (await ada.call("PATCH", "/v1/notifications/preferences", {"rumour": True})).code == "invalid"
    post = await post_of(ada)
    await applaud(bob, post)
    await bob.api.comment(bob.token, post)

    (group,) = (await listed(ada, 1))["groups"]
    assert group["kind"] == "comment"
    assert (await ada.call("GET", "/v1/notifications/preferences")).json == {**EVERYTHING, "applause": False}


async def test_of_a_guest_who_is_muted_or_blocked_one_is_told_nothing(people: People) -> None:
    ada = await people.one("ada")
    post = await post_of(ada)
    loud, rude, gus = [await ada.api.guest(name) for name in ("Loud", "Rude", "Gus")]
    assert (await ada.call("PUT", f"/v1/users/{loud.account.handle}/mute")).status == 200
    assert (await ada.call("PUT", f"/v1/users/{rude.account.handle}/block")).status == 200
    for guest in (loud, rude, gus):
        await ada.api.comment(guest.access_token, post)
    (group,) = (await listed(ada, 1))["groups"]
    assert (group["count"], group["sample"]) == (1, [gus.account.id])


async def test_who_blocks_is_told_nothing_and_what_is_taken_back_is_gone(people: People) -> None:
    ada, bob, cyd = await people.some("ada", "bob", "cyd")
    await ada.does("PUT", "block", cyd)
    post = await post_of(ada)
    await applaud(cyd, post)
    await applaud(bob, post)
    (group,) = (await listed(ada, 1))["groups"]
    assert (group["count"], group["sample"]) == (1, [bob.id])
    await applaud(bob, post, 0)
    assert (await listed(ada, 0))["unread"] == 0


# -- live


async def test_notifications_come_live_over_the_websocket_and_over_server_sent_events(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    post = await post_of(ada)
    ticket = (await ada.call("POST", "/v1/tickets")).json["ticket"]
    async with (
        socket_of(ada) as socket,
        aiohttp.ClientSession() as client,
        client.get(f"{ada.api.url}/v1/notifications/events?ticket={ticket}") as events,
    ):
        assert events.status == 200
        id, shown = await event(events, "unread")
        assert (shown["unread"], id.rpartition("-")[2]) == (0, "0")
        reply = await subscribe(socket, f"notifications:{ada.id}")
        assert reply["subscribe"]["data"] == {"type": "unread", "version": shown["version"], "unread": 0, "read": 0}
        await applaud(bob, post)

        pushed, counted = await pushes(socket, "notification", "unread")
        assert (pushed["channel"], pushed["pub"]["offset"]) == (f"notifications:{ada.id}", 1)
        assert counted["pub"]["data"]["unread"] == 1
        id, shown = await event(events, "notification")
        assert shown == pushed["pub"]["data"]
        assert shown["accounts"][bob.id]["handle"] == bob.handle
        assert (await event(events, "unread"))[1]["unread"] == 1
        assert (await rpc(socket, "notifications.read", cursor=id))["unread"] == 0
        assert (await event(events, "unread"))[1]["unread"] == 0
        assert await rpc(socket, "notifications.prefer", follow=False) == {**EVERYTHING, "follow": False}
        assert await rpc(socket, "notifications.preferences") == {**EVERYTHING, "follow": False}


async def test_what_was_missed_is_sent_from_any_cursor(people: People) -> None:
    ada, bob, cyd = await people.some("ada", "bob", "cyd")
    post = await post_of(ada)
    before = (await listed(ada, 0))["cursor"]
    await applaud(bob, post)
    await bob.api.comment(bob.token, post)
    page = await listed(ada, 2)
    await applaud(cyd, post, 0)

    async with socket_of(ada) as socket:
        reply = (await subscribe(socket, f"notifications:{ada.id}", before))["subscribe"]
        assert reply["recovered"]
        missed = [publication["data"]["group"] for publication in reply["publications"]]
        assert sorted(missed, key=lambda group: -group["offset"]) == page["groups"]
    headers = {"Authorization": f"Bearer {ada.token}", "Last-Event-ID": before}
    async with (
        aiohttp.ClientSession(headers=headers) as client,
        client.get(f"{ada.api.url}/v1/notifications/events") as events,
    ):
        again = [(await event(events, "notification"))[1]["group"] for _ in range(2)]
        assert again == missed
    async with socket_of(ada) as socket:
        reply = (await subscribe(socket, f"notifications:{ada.id}", "foreign-1"))["subscribe"]
        assert "recovered" not in reply


async def test_nobody_else_may_listen(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    async with socket_of(bob) as socket:
        for channel, message in (
            (f"notifications:{ada.id}", "permission denied"),
            ("notifications:99999999", "permission denied"),
            ("notifications:x", "unknown channel"),
            (f"user:{bob.id}", "unknown channel"),
        ):
            reply = await subscribe(socket, channel)
            code = {"permission denied": 103, "unknown channel": 102}[message]
            assert reply["error"]["code"] == code, (channel, reply)


async def test_notifications_are_there_after_a_kill_and_go_on_from_the_cursor(tmp_path: Path) -> None:
    arguments = ("server.py", "--port", "0", "--data-dir", str(tmp_path / "data"))
    async with serving(*arguments, environment=SETTINGS) as served, aiohttp.ClientSession() as client:
        people = People(Api(client, served.url))
        ada, bob = await people.some("ada", "bob")
        post = await post_of(ada)
        cursor = (await listed(ada, 0))["cursor"]
        await applaud(bob, post)
        before = await listed(ada, 1)
        # Nobody is told of this yet.
        comment = await bob.api.comment(bob.token, post)
        await served.kill()
    async with serving(*arguments, environment=SETTINGS) as served, aiohttp.ClientSession() as client:
        api = Api(client, served.url)
        ada = ada._replace(api=api)
        page = await listed(ada, 2)
        assert page["groups"][1] == before["groups"][0]
        assert (page["groups"][0]["kind"], page["groups"][0]["count"]) == ("comment", 1)
        assert comment["post"] == page["groups"][0]["post"]
        async with socket_of(ada) as socket:
            reply = (await subscribe(socket, f"notifications:{ada.id}", cursor))["subscribe"]
            assert [publication["offset"] for publication in reply["publications"]] == [1, 2]
