"""Accounts, sessions, guests and tickets over HTTP."""

import asyncio
import time

import aiohttp
import msgspec
import pytest

from protocol.accounts import REFRESH_GRACE_MS
from protocol.errors import FORCED
from protocol.requests import SignedIn
from store.memory import MemoryStore
from store.rows import AccountRow, SessionRow
from tests.gateway.http_site import HOST_SECRET, PASSWORD, Answer, Api, HttpSite, host_token, http_site


def pair(answer: Answer) -> SignedIn:
    assert answer.status in (200, 201), answer
    return msgspec.json.decode(answer.body, type=SignedIn)


async def refreshed(api: Api, token: object) -> Answer:
    return await api.call("POST", "/v1/sessions/refresh", {"refresh_token": token})


# -- signing up


async def test_signing_up_makes_an_account_and_signs_in(api: Api) -> None:
    answer = await api.call(
        "POST", "/v1/accounts", {"handle": "Ada", "password": PASSWORD, "email": "Ada@Example.org", "name": "Ada L."}
    )
    assert answer.status == 201
    assert answer.headers["Location"] == "/v1/users/ada"
    signed_in = pair(answer)
    assert signed_in.account.handle == "ada"
    me = await api.call("GET", "/v1/me", token=signed_in.access_token)
    assert (me.json["name"], me.json["email"], me.json["role"]) == ("Ada L.", "ada@example.org", "member")


async def test_a_password_is_kept_as_an_argon2id_hash(site: HttpSite) -> None:
    await site.api.member("ada")
    (row,) = site.store.rows(AccountRow)
    assert row.password_hash is not None
    assert row.password_hash.startswith("$argon2id$")


async def test_a_handle_and_an_email_address_are_taken_once(api: Api) -> None:
    first = {"handle": "ada", "password": PASSWORD, "email": "ada@example.org"}
    assert (await api.call("POST", "/v1/accounts", first)).status == 201
    same_handle = {**first, "email": "other@example.org"}
    assert (await api.call("POST", "/v1/accounts", same_handle)).code == "handle_taken"
    same_email = {**first, "handle": "other"}
    assert (await api.call("POST", "/v1/accounts", same_email)).code == "email_taken"
    # Nothing of a refused sign-up is kept.
    assert (
        await api.call("POST", "/v1/accounts", {**first, "handle": "other", "email": "other@example.org"})
    ).status == 201


async def test_of_many_who_want_one_handle_at_once_one_gets_it(site: HttpSite) -> None:
    bodies = [{"handle": "ada", "password": PASSWORD, "email": f"a{n}@example.org"} for n in range(5)]
    answers = await asyncio.gather(*(site.api.call("POST", "/v1/accounts", body) for body in bodies))
    assert sorted(answer.code for answer in answers) == ["", *["handle_taken"] * 4]
    (row,) = site.store.rows(AccountRow)
    (winner,) = [body for body, answer in zip(bodies, answers, strict=True) if not answer.code]
    assert row.email == winner["email"]
    for body in bodies:
        free = body is not winner
        retried = await site.api.call("POST", "/v1/accounts", {**body, "handle": f"of-{body['email'][:2]}"})
        assert (retried.status == 201) is free, body


async def test_a_repeated_sign_up_with_the_same_key_and_password_signs_in(api: Api) -> None:
    body = {"handle": "ada", "password": PASSWORD}
    first = pair(await api.call("POST", "/v1/accounts", body, op="up-1"))
    again = pair(await api.call("POST", "/v1/accounts", body, op="up-1"))
    assert again.account.id == first.account.id
    stranger = {"handle": "ada", "password": "another password"}
    assert (await api.call("POST", "/v1/accounts", stranger, op="up-1")).code == "handle_taken"
    assert (await api.call("POST", "/v1/accounts", body)).code == "handle_taken"


async def test_handles_of_guests_are_for_guests(api: Api) -> None:
    answer = await api.call("POST", "/v1/accounts", {"handle": "guest-7", "password": PASSWORD})
    assert answer.code == "handle_taken"


async def test_sign_up_and_guests_can_be_closed() -> None:
    async with http_site(sign_up=False, guests=False) as site:
        body = {"handle": "ada", "password": PASSWORD}
        assert (await site.api.call("POST", "/v1/accounts", body)).code == "sign_up_closed"
        assert (await site.api.call("POST", "/v1/guests", {"name": "Gus"})).code == "guests_not_allowed"


# -- signing in and out


async def test_one_signs_in_by_handle_or_email_address_in_any_case(api: Api) -> None:
    await api.call("POST", "/v1/accounts", {"handle": "ada", "password": PASSWORD, "email": "ada@example.org"})
    for login in ("ada", "ADA", "ada@example.org", "Ada@Example.ORG"):
        answer = await api.call("POST", "/v1/sessions", {"login": login, "password": PASSWORD})
        assert pair(answer).account.handle == "ada"


@pytest.mark.parametrize(
    ("login", "password"),
    [("ada", "wrong"), ("nobody", PASSWORD), ("nobody@example.org", PASSWORD), ("guest-2", ""), ("\x7f", "x")],
)
async def test_wrong_credentials_do_not_tell_what_is_wrong(api: Api, login: str, password: str) -> None:
    await api.member("ada")
    await api.guest()
    answer = await api.call("POST", "/v1/sessions", {"login": login, "password": password or "x"})
    assert answer.code == "wrong_credentials"
    assert answer.json["detail"] == "wrong name or password"


async def test_signing_out_ends_both_tokens_at_once(api: Api) -> None:
    ada = await api.member()
    assert (await api.call("DELETE", "/v1/sessions/current", token=ada.access_token)).status == 204
    assert (await api.call("GET", "/v1/me", token=ada.access_token)).code == "unauthorized"
    assert (await refreshed(api, ada.refresh_token)).code == "session_ended"


async def test_signing_out_leaves_other_devices_signed_in(api: Api) -> None:
    phone = await api.member("ada")
    laptop = pair(await api.call("POST", "/v1/sessions", {"login": "ada", "password": PASSWORD}))
    await api.call("DELETE", "/v1/sessions/current", token=phone.access_token)
    assert (await api.call("GET", "/v1/me", token=laptop.access_token)).status == 200


async def test_sessions_that_ended_before_a_restart_stay_ended(site: HttpSite) -> None:
    ada = await site.api.member()
    await site.api.call("DELETE", "/v1/sessions/current", token=ada.access_token)
    assert [row.revoked_ms is not None for row in site.store.rows(SessionRow)] == [True]


async def test_a_restarted_server_refuses_a_signed_out_token() -> None:
    async with http_site() as site:
        ada = await site.api.member()
        await site.api.call("DELETE", "/v1/sessions/current", token=ada.access_token)
    async with http_site(store=site.store) as site:
        assert (await site.api.call("GET", "/v1/me", token=ada.access_token)).code == "unauthorized"


# -- refreshing


async def test_refreshing_gives_the_next_pair(api: Api) -> None:
    ada = await api.member()
    second = pair(await refreshed(api, ada.refresh_token))
    assert second.refresh_token != ada.refresh_token
    assert (await api.call("GET", "/v1/me", token=second.access_token)).status == 200


async def test_a_lost_answer_does_not_sign_out(api: Api) -> None:
    ada = await api.member()
    second = pair(await refreshed(api, ada.refresh_token))
    again = pair(await refreshed(api, ada.refresh_token))
    assert again.refresh_token == second.refresh_token


async def test_a_refresh_token_used_twice_ends_the_session() -> None:
    async with http_site() as site:
        ada = await site.api.member()
        second = pair(await refreshed(site.api, ada.refresh_token))
        third = pair(await refreshed(site.api, second.refresh_token))
        stolen = await refreshed(site.api, ada.refresh_token)
        assert stolen.code == "session_ended"
        assert (await refreshed(site.api, third.refresh_token)).code == "session_ended"
        assert (await site.api.call("GET", "/v1/me", token=third.access_token)).code == "unauthorized"
        assert REFRESH_GRACE_MS == 30_000


async def test_an_access_token_expires_and_the_refresh_token_outlives_it(site: HttpSite) -> None:
    ada = await site.api.member()
    site.clock.ahead_s += 901
    assert (await site.api.call("GET", "/v1/me", token=ada.access_token)).code == "token_expired"
    second = pair(await refreshed(site.api, ada.refresh_token))
    assert (await site.api.call("GET", "/v1/me", token=second.access_token)).status == 200


# -- profile


async def test_a_profile_is_changed_and_the_new_token_bears_the_new_name(api: Api) -> None:
    ada = await api.member("ada")
    answer = await api.call(
        "PATCH", "/v1/me", {"name": "Countess", "url": "https://ada.example/"}, token=ada.access_token
    )
    changed = pair(answer)
    assert (changed.account.name, changed.account.url) == ("Countess", "https://ada.example/")
    post = await api.post(changed.access_token)
    assert post["author"] == {"id": ada.account.id, "handle": "ada", "name": "Countess", "url": "https://ada.example/"}
    profile = await api.call("GET", "/v1/users/Ada")
    assert profile.json["name"] == "Countess"
    assert "email" not in profile.json


async def test_a_new_password_needs_the_present_one(api: Api) -> None:
    ada = await api.member("ada")
    new = "another password"
    for current in ({}, {"current_password": "wrong"}):
        answer = await api.call("PATCH", "/v1/me", {"password": new, **current}, token=ada.access_token)
        assert answer.code == "wrong_credentials"
    body = {"password": new, "current_password": PASSWORD}
    assert (await api.call("PATCH", "/v1/me", body, token=ada.access_token)).status == 200
    assert (await api.call("POST", "/v1/sessions", {"login": "ada", "password": PASSWORD})).code == "wrong_credentials"
    assert (await api.call("POST", "/v1/sessions", {"login": "ada", "password": new})).status == 201


async def test_a_deleted_account_is_gone_with_its_tokens(api: Api) -> None:
    ada = await api.member("ada")
    assert (await api.call("DELETE", "/v1/me", token=ada.access_token)).status == 204
    assert (await api.call("GET", "/v1/me", token=ada.access_token)).code == "unauthorized"
    assert (await refreshed(api, ada.refresh_token)).code == "session_ended"
    assert (await api.call("GET", "/v1/users/ada")).code == "account_not_found"
    assert (await api.call("POST", "/v1/sessions", {"login": "ada", "password": PASSWORD})).code == "wrong_credentials"


async def test_the_live_connections_of_who_signs_out_or_leaves_are_ended(site: HttpSite) -> None:
    for path in ("/v1/sessions/current", "/v1/me"):
        ada = await site.api.member()
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"{site.api.url}/connection/websocket") as socket,
        ):
            await socket.send_json({"id": 1, "connect": {"token": ada.access_token}})
            assert "connect" in await socket.receive_json()
            assert (await site.api.call("DELETE", path, token=ada.access_token)).status == 204
            while (message := await socket.receive()).type != aiohttp.WSMsgType.CLOSE:
                pass
            assert message.data == FORCED[0]


async def test_an_email_address_is_free_again_after_its_account(api: Api) -> None:
    body = {"handle": "ada", "password": PASSWORD, "email": "ada@example.org"}
    ada = pair(await api.call("POST", "/v1/accounts", body))
    await api.call("DELETE", "/v1/me", token=ada.access_token)
    assert (await api.call("POST", "/v1/accounts", {**body, "handle": "ada2"})).status == 201
    # But the handle is not: another's comments would seem to be the old ones' author's.
    assert (await api.call("POST", "/v1/accounts", {"handle": "ada", "password": PASSWORD})).code == "handle_taken"


# -- guests and tickets


async def test_a_guest_comments_and_edits_but_writes_no_posts(api: Api) -> None:
    ada, gus = await api.member(), await api.guest("Gus")
    assert (gus.account.role, gus.account.name) == ("guest", "Gus")
    post = await api.post(ada.access_token)
    comment = await api.comment(gus.access_token, post["id"])
    path = f"/v1/posts/{post['id']}/comments/{comment['id']}"
    assert (await api.call("PATCH", path, {"body": "better"}, token=gus.access_token)).json["body"] == "better"
    other = await api.guest("Gus")
    assert (await api.call("PATCH", path, {"body": "worse"}, token=other.access_token)).code == "not_author"
    assert (await api.call("POST", "/v1/posts", {"title": "x"}, token=gus.access_token)).code == "permission_denied"


async def test_a_guest_comes_back_by_refreshing(api: Api) -> None:
    gus = await api.guest()
    again = pair(await refreshed(api, gus.refresh_token))
    assert again.account == gus.account


async def test_a_ticket_is_made_for_who_is_signed_in(api: Api) -> None:
    ada = await api.member()
    answer = await api.call("POST", "/v1/tickets", token=ada.access_token)
    assert answer.status == 201
    # A ticket is for a query: as a token it is nothing.
    assert (await api.call("GET", "/v1/me", token=answer.json["ticket"])).code == "unauthorized"
    assert (await api.call("POST", "/v1/tickets")).code == "unauthorized"


async def listened(url: str, post: str, ticket: str) -> int:
    """The status of an event stream that is asked for with a ticket."""
    events = f"{url}/v1/posts/{post}/events?ticket={ticket}"
    async with aiohttp.ClientSession() as client, client.get(events) as response:
        return response.status


async def test_a_ticket_is_good_once_also_after_a_crash_and_on_another_worker() -> None:
    store = MemoryStore(time.time)
    async with http_site(store=store) as site:
        ada = await site.api.member("ada")
        post = (await site.api.post(ada.access_token))["id"]
        used, later = [
            (await site.api.call("POST", "/v1/tickets", token=ada.access_token)).json["ticket"] for _ in range(2)
        ]
        statuses = await asyncio.gather(*(listened(site.api.url, post, used) for _ in range(3)))
        assert sorted(statuses) == [200, 401, 401]
    # What a worker had in memory is gone.
    async with http_site(store=store) as site:
        assert await listened(site.api.url, post, used) == 401
        assert await listened(site.api.url, post, later) == 200


async def test_a_ticket_of_a_deleted_account_is_refused() -> None:
    store = MemoryStore(time.time)
    async with http_site(store=store) as site:
        ada, bob = await site.api.member(), await site.api.member()
        post = (await site.api.post(bob.access_token))["id"]
        ticket = (await site.api.call("POST", "/v1/tickets", token=ada.access_token)).json["ticket"]
        assert (await site.api.call("DELETE", "/v1/me", token=ada.access_token)).status == 204
        assert await listened(site.api.url, post, ticket) == 401


# -- the host site's users

HOST_ADA = {
    "id": "u1",
    "username": "Ada Lovelace",
    "email": "ada@host.example",
    "role": "STAFF",
    "url": "https://a.example/",
}


async def test_a_host_user_gets_an_account_on_first_use() -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        me = await site.api.call("GET", "/v1/me", token=host_token(HOST_ADA))
        assert {key: me.json[key] for key in ("handle", "name", "email", "role", "kind", "url")} == {
            "handle": "ada-lovelace",
            "name": "Ada Lovelace",
            "email": "ada@host.example",
            "role": "author",
            "kind": "host",
            "url": "https://a.example/",
        }
        renamed = await site.api.call(
            "GET", "/v1/me", token=host_token({**HOST_ADA, "username": "Ada", "role": "admin"})
        )
        assert (renamed.json["id"], renamed.json["handle"]) == (me.json["id"], "ada-lovelace")
        assert (renamed.json["name"], renamed.json["role"]) == ("Ada", "admin")


@pytest.mark.parametrize("id", ["a\0b", "\ud800", "a\r\nb"])
async def test_a_host_user_whose_id_cannot_be_kept_is_refused(id: str) -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        me = await site.api.call("GET", "/v1/me", token=host_token({**HOST_ADA, "id": id}))
        assert me.code == "unauthorized"


async def test_many_first_requests_of_one_host_user_make_one_account() -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        token = host_token(HOST_ADA)
        answers = await asyncio.gather(*(site.api.call("GET", "/v1/me", token=token) for _ in range(5)))
        assert {answer.json["id"] for answer in answers} == {"1"}
        assert len(site.store.rows(AccountRow)) == 1


async def test_a_host_user_does_not_take_a_members_handle() -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        await site.api.member("ada")
        me = await site.api.call("GET", "/v1/me", token=host_token({"id": "u1", "username": "ada"}))
        assert me.json["handle"] == f"ada-{me.json['id']}"


async def test_a_host_user_is_remembered_by_a_new_process() -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        first = await site.api.call("GET", "/v1/me", token=host_token(HOST_ADA))
    async with http_site(host_jwt_secret=HOST_SECRET, store=site.store) as site:
        second = await site.api.call("GET", "/v1/me", token=host_token(HOST_ADA))
    assert first.json == second.json


async def test_what_the_host_keeps_is_not_changed_here() -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        token = host_token(HOST_ADA)
        assert (await site.api.call("PATCH", "/v1/me", {"name": "x"}, token=token)).code == "not_available"
        assert (await site.api.call("DELETE", "/v1/sessions/current", token=token)).code == "not_available"


async def test_a_host_user_who_deleted_the_account_stays_out() -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        token = host_token(HOST_ADA)
        assert (await site.api.call("DELETE", "/v1/me", token=token)).status == 204
        assert (await site.api.call("GET", "/v1/me", token=token)).code == "unauthorized"
        site.clock.ahead_s += 1_000
        fresh = host_token(HOST_ADA, jti="2", exp=site.clock() + 600)
        assert (await site.api.call("GET", "/v1/me", token=fresh)).code == "unauthorized"
