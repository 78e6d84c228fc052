"""Following, blocking and muting over HTTP and WebSocket, over a store in memory and over the whole server."""

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from protocol.times import rfc3339
from store.memory import MemoryStore
from store.rows import BlockRow, FollowRow, MuteRow
from tests.gateway.http_site import HttpSite
from tests.gateway.people import NOTHING, People, Someone


async def test_one_follows_and_unfollows(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    assert await ada.does("PUT", "follow", bob) == {"following": True}
    assert await ada.does("PUT", "follow", bob) == {"following": True}
    await bob.counts(1, 0)
    await ada.counts(0, 1)
    assert await bob.does("PUT", "follow", ada) == {"following": True, "followed_by": True}

    assert await ada.does("DELETE", "follow", bob) == {"followed_by": True}
    assert await ada.does("DELETE", "follow", bob) == {"followed_by": True}
    await bob.counts(0, 1)
    me = (await ada.call("GET", "/v1/me")).json
    assert me["following"] == 0


async def test_a_block_ends_both_edges_and_keeps_them_ended(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    await ada.does("PUT", "follow", bob)
    await bob.does("PUT", "follow", ada)

    assert await ada.does("PUT", "block", bob) == {"blocking": True}
    assert await ada.does("PUT", "block", bob) == {"blocking": True}
    await ada.counts(0, 0)
    await bob.counts(0, 0)
    assert (await bob.call("PUT", f"/v1/users/{ada.handle}/follow")).code == "blocked"
    assert (await ada.call("PUT", f"/v1/users/{bob.handle}/follow")).code == "blocking"
    assert await ada.does("DELETE", "block", bob) == {}
    assert await bob.does("PUT", "follow", ada) == {"following": True}


async def test_a_mute_has_an_end_or_none(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    until = rfc3339((datetime.now(UTC) + timedelta(hours=1)).timestamp()).replace("Z", ".000Z")
    assert await ada.does("PUT", "mute", bob, {"until": until}) == {"muting": True, "muting_until": until}
    (listed,) = (await ada.call("GET", "/v1/me/mutes")).json
    assert (listed["handle"], listed["until"]) == (bob.handle, until)
    assert await ada.does("PUT", "mute", bob) == {"muting": True}

    (listed,) = (await ada.call("GET", "/v1/me/mutes")).json
    assert listed["until"] is None
    assert await ada.does("DELETE", "mute", bob) == {}
    assert (await ada.call("GET", "/v1/me/mutes")).json == []


async def test_a_follower_is_removed_and_may_come_back(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    await bob.does("PUT", "follow", ada)
    await ada.counts(1, 0)

    answer = await ada.call("DELETE", f"/v1/me/followers/{bob.handle}")
    assert answer.json == {"id": bob.id, **NOTHING}
    await ada.counts(0, 0)
    await bob.counts(0, 0)
    assert await bob.does("PUT", "follow", ada) == {"following": True}


async def test_lists_are_the_newest_first_in_pages(people: People) -> None:
    hub, *others = await people.some("hub", "one", "two", "three", "four", "five")
    for other in others:
        await other.does("PUT", "follow", hub)
        await hub.does("PUT", "follow", other)
        await hub.does("PUT", "mute", other)
    newest_first = [other.handle for other in reversed(others)]
    paths = [f"/v1/users/{hub.handle}/followers", f"/v1/users/{hub.handle}/following", "/v1/me/mutes"]
    for path in paths:
        assert await listed(hub, f"{path}?limit=2") == (newest_first, 3)
    (person, *_) = (await hub.call("GET", paths[0])).json
    assert person.keys() == {"id", "handle", "name", "url", "since"}

    for other in others:
        await hub.does("PUT", "block", other)
    assert await listed(hub, "/v1/me/blocks?limit=2") == (newest_first, 3)
    assert await listed(hub, f"{paths[0]}?limit=2") == ([], 1)


async def listed(someone: Someone, path: str) -> tuple[list[str], int]:
    """The handles on all pages, and how many pages there are."""
    handles: list[str] = []
    pages = 0
    while path:
        answer = await someone.call("GET", path)
        assert answer.status == 200, answer
        handles += [person["handle"] for person in answer.json]
        pages += 1
        path = answer.headers["Link"].partition("<")[2].partition(">")[0] if "Link" in answer.headers else ""
    return handles, pages


async def test_relationships_to_many_are_read_in_one_call(people: People) -> None:
    ada, bob, cid, dan = await people.some("ada", "bob", "cid", "dan")
    await ada.does("PUT", "follow", bob)
    await cid.does("PUT", "block", ada)
    await dan.does("PUT", "follow", ada)

    query = "&".join(f"id={id}" for id in (dan.id, bob.id, ada.id, "999999999", cid.id))
    assert (await ada.call("GET", f"/v1/relationships?{query}")).json == [
        {"id": dan.id, **NOTHING, "followed_by": True},
        {"id": bob.id, **NOTHING, "following": True},
        {"id": cid.id, **NOTHING, "blocked_by": True},
    ]
    assert (await ada.call("GET", "/v1/relationships")).json == []


async def test_those_whom_the_followed_follow_are_suggested(people: People) -> None:
    ada, bob, cid, dan, eve = await people.some("ada", "bob", "cid", "dan", "eve")
    for me, other in ((ada, bob), (ada, cid), (bob, dan), (cid, dan), (bob, eve)):
        await me.does("PUT", "follow", other)
    await dan.counts(2, 0)
    await eve.counts(1, 0)

    suggested = (await ada.call("GET", "/v1/suggestions?limit=2")).json
    assert [(each["handle"], each["paths"], each["followers"]) for each in suggested] == [
        (dan.handle, 2, 2),
        (eve.handle, 1, 1),
    ]
    await ada.does("PUT", "mute", dan)
    assert [each["handle"] for each in (await ada.call("GET", "/v1/suggestions")).json] == [eve.handle]


async def test_who_is_deleted_is_in_no_list_and_in_no_count(people: People) -> None:
    ada, bob, cid = await people.some("ada", "bob", "cid")
    for me, other in ((ada, bob), (bob, ada), (bob, cid), (cid, bob)):
        await me.does("PUT", "follow", other)
    await cid.counts(1, 1)
    assert (await bob.call("DELETE", "/v1/me")).status == 204

    await ada.counts(0, 0)
    await cid.counts(0, 0)
    assert await listed(ada, f"/v1/users/{ada.handle}/followers") == ([], 1)
    assert (await ada.call("GET", f"/v1/users/{bob.handle}/followers")).code == "account_not_found"
    assert (await ada.call("PUT", f"/v1/users/{bob.handle}/follow")).code == "account_not_found"
    # What one had with them ends without an error.
    assert await ada.does("DELETE", "follow", bob) == {}


# -- over the WebSocket


async def rpc(socket: aiohttp.ClientWebSocketResponse, method: str, **data: Any) -> Any:
    """The result, or the error's message."""
    await socket.send_json({"id": 7, "rpc": {"method": method, "data": data}})
    reply = await socket.receive_json()
    return reply["rpc"]["data"] if "rpc" in reply else reply["error"]["message"]


async def test_the_same_is_said_over_the_websocket_by_account(people: People) -> None:
    ada, bob = await people.some("ada", "bob")
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{ada.api.url}/connection/websocket") as socket:
        await socket.send_json({"id": 1, "connect": {"token": ada.token}})
        assert "connect" in await socket.receive_json()

        assert await rpc(socket, "follow", account=bob.id) == {"id": bob.id, **NOTHING, "following": True}
        assert await rpc(socket, "unfollow", account=bob.id) == {"id": bob.id, **NOTHING}
        assert await rpc(socket, "mute", account=bob.id, op="m") == {"id": bob.id, **NOTHING, "muting": True}
        assert await rpc(socket, "unmute", account=bob.id) == {"id": bob.id, **NOTHING}
        assert await rpc(socket, "block", account=bob.id) == {"id": bob.id, **NOTHING, "blocking": True}
        assert await rpc(socket, "unblock", account=bob.id) == {"id": bob.id, **NOTHING}
        assert await rpc(socket, "follower.remove", account=bob.id) == {"id": bob.id, **NOTHING}
        assert await rpc(socket, "mute", account=bob.id, op="m") == {"id": bob.id, **NOTHING, "muting": True}
        assert await rpc(socket, "follow", account=ada.id) == "one cannot do this to oneself"
        assert await rpc(socket, "follow", account="999999999") == "no such account"
        assert "unknown method" in await rpc(socket, "follower.gained", account=bob.id)


async def test_guests_and_readers_have_no_part_in_it(site: HttpSite) -> None:
    ada = await site.api.member("ada")
    gus = await site.api.guest()
    for path in ("/v1/me/blocks", "/v1/me/mutes", "/v1/relationships", "/v1/suggestions"):
        assert (await site.api.call("GET", path)).code == "unauthorized"
        assert (await site.api.call("GET", path, token=gus.access_token)).code == "permission_denied"
    for what in ("follow", "block", "mute"):
        for method in ("PUT", "DELETE"):
            assert (await site.api.call(method, f"/v1/users/ada/{what}")).code == "unauthorized"
            answer = await site.api.call(method, f"/v1/users/ada/{what}", token=gus.access_token)
            assert answer.code == "permission_denied"
    # Who follows whom everyone may know.
    assert (await site.api.call("GET", "/v1/users/ada/followers")).json == []
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{site.api.url}/connection/websocket") as anonymous,
        client.ws_connect(f"{site.api.url}/connection/websocket") as guest,
    ):
        await anonymous.send_json({"id": 1, "connect": {}})
        assert "connect" in await anonymous.receive_json()
        assert await rpc(anonymous, "follow", account=ada.account.id) == "sign in"
        await guest.send_json({"id": 1, "connect": {"token": gus.access_token}})
        assert "connect" in await guest.receive_json()
        assert await rpc(guest, "follow", account=ada.account.id) == "not allowed"
    assert nothing_is_stored(site.store)


async def test_a_guest_is_blocked_and_muted_by_the_handle_that_stands_beside_what_the_guest_wrote(
    people: People,
) -> None:
    ada = await people.one("ada")
    gus = (await ada.api.guest("Gus")).account
    path = f"/v1/users/{gus.handle}"
    for method, what, shown in (
        ("PUT", "block", {"blocking": True}),
        ("DELETE", "block", {}),
        ("PUT", "mute", {"muting": True}),
        ("DELETE", "mute", {}),
    ):
        assert (await ada.call(method, f"{path}/{what}")).json == {"id": gus.id, **NOTHING, **shown}
        listed = (await ada.call("GET", "/v1/me/blocks")).json + (await ada.call("GET", "/v1/me/mutes")).json
        assert [each["handle"] for each in listed] == ([gus.handle] if shown else [])
    # But a guest is nobody whom one follows, or finds by name.
    for method, other in (("PUT", f"{path}/follow"), ("GET", path), ("GET", f"{path}/followers")):
        assert (await ada.call(method, other)).code == "account_not_found"
    assert (await ada.call("PUT", f"/v1/users/guest-{ada.id}/block")).code == "account_not_found"


# -- bad input


def nothing_is_stored(store: MemoryStore) -> bool:
    return not any(store.rows(row_type) for row_type in (FollowRow, BlockRow, MuteRow))


BAD: list[tuple[str, str, Any, str]] = [
    ("PUT", "/v1/users/nobody/follow", None, "account_not_found"),
    ("PUT", "/v1/users/guest-2/follow", None, "account_not_found"),
    ("PUT", "/v1/users/guest-999999999/block", None, "account_not_found"),
    ("PUT", f"/v1/users/guest-{'9' * 20}/mute", None, "account_not_found"),
    ("PUT", "/v1/users/guest-x/block", None, "account_not_found"),
    ("PUT", "/v1/users/%00/follow", None, "account_not_found"),
    ("PUT", "/v1/users/%ff/block", None, "account_not_found"),
    ("DELETE", f"/v1/users/{'x' * 5_000}/mute", None, "account_not_found"),
    ("DELETE", "/v1/me/followers/nobody", None, "account_not_found"),
    ("PUT", "/v1/users/ada/follow", None, "oneself"),
    ("PUT", "/v1/users/ada/block", None, "oneself"),
    ("PUT", "/v1/users/ada/mute", None, "oneself"),
    ("DELETE", "/v1/users/ada/follow", None, "oneself"),
    ("DELETE", "/v1/me/followers/ada", None, "oneself"),
    ("PUT", "/v1/users/bob/mute", {"until": "tomorrow"}, "invalid"),
    ("PUT", "/v1/users/bob/mute", {"until": "2030-01-01T00:00:00"}, "invalid"),
    ("PUT", "/v1/users/bob/mute", {"until": "2020-01-01T00:00:00Z"}, "invalid"),
    ("PUT", "/v1/users/bob/mute", {"until": "0001-01-01T00:00:00Z"}, "invalid"),
    ("PUT", "/v1/users/bob/mute", {"until": "9999-12-31T23:59:59-01:00"}, "invalid"),
    ("PUT", "/v1/users/bob/mute", {"until": 5}, "invalid"),
    ("PUT", "/v1/users/bob/mute", {"for": 5}, "invalid"),
    ("GET", "/v1/users/nobody/followers", None, "account_not_found"),
    ("GET", "/v1/users/bob/followers?limit=0", None, "invalid"),
    ("GET", "/v1/users/bob/followers?limit=101", None, "invalid"),
    ("GET", "/v1/users/bob/followers?limit=10000", None, "invalid"),
    ("GET", "/v1/users/bob/following?before=", None, "invalid"),
    ("GET", "/v1/users/bob/following?before=1", None, "invalid"),
    ("GET", "/v1/users/bob/following?before=1.0", None, "invalid"),
    ("GET", "/v1/users/bob/following?before=-1.1", None, "invalid"),
    ("GET", "/v1/users/bob/following?before=1.1.1", None, "invalid"),
    ("GET", "/v1/users/bob/following?before=999999999999999.1", None, "invalid"),
    ("GET", "/v1/users/bob/following?before=1.9223372036854775808", None, "invalid"),
    ("GET", "/v1/me/blocks?before=%D9%A1.1", None, "invalid"),
    ("GET", "/v1/me/mutes?before=epoch-17", None, "invalid"),
    ("GET", "/v1/relationships?id=bob", None, "invalid"),
    ("GET", "/v1/relationships?id=0", None, "invalid"),
    ("GET", "/v1/relationships?id=1&id=9223372036854775808", None, "invalid"),
    ("GET", "/v1/relationships?" + "&".join(f"id={id}" for id in range(1, 102)), None, "invalid"),
    ("GET", "/v1/suggestions?limit=0", None, "invalid"),
]


@pytest.mark.parametrize(("method", "path", "body", "code"), BAD, ids=lambda value: str(value)[:60])
async def test_bad_input_is_refused_by_its_code(site: HttpSite, method: str, path: str, body: Any, code: str) -> None:
    ada = await site.api.member("ada")
    await site.api.member("bob")

    assert (await site.api.call(method, path, body, token=ada.access_token)).code == code
    assert nothing_is_stored(site.store)


async def test_a_hundred_relationships_and_the_widest_places_are_fine(site: HttpSite) -> None:
    ada = await site.api.member("ada")
    ids = "&".join(f"id={id}" for id in range(1, 101))
    for path in (
        f"/v1/relationships?{ids}",
        "/v1/users/ada/followers?before=0.1&limit=100",
        "/v1/users/ada/followers?before=253402300799999.9223372036854775807&limit=1",
    ):
        assert (await site.api.call("GET", path, token=ada.access_token)).json == []
