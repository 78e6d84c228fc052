"""Whatever a client sends over HTTP, it gets a documented code: no 500, no traceback, and nothing is half-written."""

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import jwt
import pytest
import pytest_asyncio

from protocol.errors import ERRORS
from protocol.routes import ENDPOINTS, Endpoint
from store.rows import CommentRow, PostRow
from tests.gateway.http_site import HOST_SECRET, PASSWORD, Answer, HttpSite, host_token, http_site

DEEP = 10_000
JSON = {"Content-Type": "application/json"}


class Scene(NamedTuple):
    """A post with a comment by someone else, and who asks."""

    site: HttpSite
    post: str
    token: str

    async def call(self, method: str, path: str, **how: Any) -> Answer:
        how.setdefault("token", self.token)
        for part, value in {"{id}": self.post, "{comment}": "1", "{handle}": "ada"}.items():
            path = path.replace(part, value)
        return await self.site.api.call(method, path, **how)


@pytest_asyncio.fixture
async def scene(site: HttpSite) -> Scene:
    ada, bob = await site.api.member("ada"), await site.api.member("bob")
    post = await site.api.post(ada.access_token)
    await site.api.comment(ada.access_token, post["id"])
    return Scene(site, post["id"], bob.access_token)


async def unharmed(scene: Scene) -> None:
    """Nothing was written, and the server still serves."""
    assert len(scene.site.store.rows(CommentRow)) == 1
    assert len(scene.site.store.rows(PostRow)) == 1
    assert (await scene.call("GET", "/v1/posts/{id}")).status == 200


# -- bodies

BODIES: dict[str, tuple[bytes, str]] = {
    "nothing at all": (b" ", "bad_request"),
    "a broken object": (b'{"body": "x"', "bad_request"),
    "text after the object": (b'{"body": "x"} x', "bad_request"),
    "invalid UTF-8": (b'{"body": "\xff\xfe"}', "bad_request"),
    "an encoded surrogate": (b'{"body": "\xed\xa0\x80"}', "bad_request"),
    "a lone surrogate": (b'{"body": "\\ud800"}', "bad_request"),
    "NUL": (b'{"body": "a\\u0000b"}', "invalid"),
    "a raw control character": (b'{"body": "a\x00b"}', "bad_request"),
    "lists without end": (b'{"body": ' + b"[" * DEEP + b"]" * DEEP + b"}", "invalid"),
    "unknown lists without end": (b'{"x": ' + b"[" * DEEP + b"]" * DEEP + b"}", "invalid"),
    "nothing but lists": (b"[" * DEEP + b"]" * DEEP, "invalid"),
    "nothing but open lists": (b"[" * DEEP, "invalid"),
    "a number for a text": (b'{"body": 7}', "invalid"),
    "null for a text": (b'{"body": null}', "invalid"),
    "no body": (b"{}", "invalid"),
    "a list": (b"[]", "invalid"),
    "an unknown field": (b'{"body": "x", "role": "admin"}', "invalid"),
    "a post of its own": (b'{"body": "x", "post": "7"}', "invalid"),
    "an empty comment": (b'{"body": " \\u200b\\n "}', "comment_empty"),
    "a comment too long": (b'{"body": "' + b"x" * 10_001 + b'"}', "comment_too_long"),
    "an unknown parent": (b'{"body": "x", "parent": "99"}', "parent_not_found"),
    "a parent beyond 63 bits": (b'{"body": "x", "parent": "9999999999999999999"}', "invalid"),
    "a parent that is no id": (b'{"body": "x", "parent": "-1"}', "invalid"),
    "a number as parent": (b'{"body": "x", "parent": 1}', "invalid"),
    "more than 64 KiB": (b'{"body": "' + b"x" * 65_536 + b'"}', "too_large"),
}


@pytest.mark.parametrize(("body", "code"), BODIES.values(), ids=BODIES)
async def test_a_bad_body_is_refused_by_its_code(scene: Scene, body: bytes, code: str) -> None:
    answer = await scene.call("POST", "/v1/posts/{id}/comments", data=body)
    assert answer.code == code
    await unharmed(scene)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "x",
    ],
)
async def test_another_content_type_is_refused(scene: Scene, content_type: str) -> None:
    answer = await scene.call(
        "POST", "/v1/posts/{id}/comments", data=b'{"body": "x"}', headers={"Content-Type": content_type}
    )
    assert answer.code == "unsupported_media_type"
    await unharmed(scene)


async def test_json_with_its_charset_is_taken(scene: Scene) -> None:
    headers = {"Content-Type": "application/json; charset=UTF-8"}
    answer = await scene.call("POST", "/v1/posts/{id}/comments", data=b'{"body": "x"}', headers=headers)
    assert answer.status == 201


@pytest.mark.parametrize("body", [zlib.compress(b'{"body": "' + b"x" * 50_000_000), zlib.compress(b"{}"), b"broken"])
async def test_a_compressed_body_is_refused_as_it_came(scene: Scene, body: bytes) -> None:
    headers = {**JSON, "Content-Encoding": "deflate"}
    answer = await scene.call("POST", "/v1/posts/{id}/comments", data=body, headers=headers)
    assert answer.code == "unsupported_media_type"
    await unharmed(scene)


async def test_a_long_post_may_be_as_long_as_a_post_may_be(scene: Scene) -> None:
    body = {"title": "Long", "body": "é" * 100_000}
    assert (await scene.call("POST", "/v1/posts", json=body)).status == 201
    assert (await scene.call("POST", "/v1/posts", json={**body, "body": "é" * 100_001})).code == "invalid"
    assert (await scene.call("POST", "/v1/posts", json={**body, "body": "x" * (1 << 20)})).code == "too_large"


OTHERS: list[tuple[str, str, Any, str]] = [
    ("PUT", "/v1/posts/{id}/applause", {"total": -1}, "applause_out_of_range"),
    ("PUT", "/v1/posts/{id}/applause", {"total": 51}, "applause_out_of_range"),
    ("PUT", "/v1/posts/{id}/applause", {"total": 10**30}, "applause_out_of_range"),
    ("PUT", "/v1/posts/{id}/applause", {"total": 1.5}, "invalid"),
    ("PUT", "/v1/posts/{id}/applause", {}, "invalid"),
    ("PUT", "/v1/posts/{id}/reactions/hate", None, "unknown_reaction"),
    ("PUT", "/v1/posts/{id}/reactions/%00", None, "unknown_reaction"),
    ("PUT", "/v1/posts/{id}/reactions/%ff", None, "unknown_reaction"),
    ("PUT", "/v1/posts/{id}/reactions/" + "x" * 5_000, None, "unknown_reaction"),
    ("PUT", "/v1/posts/{id}/comments/99/reactions/like", None, "comment_not_found"),
    ("PUT", "/v1/posts/{id}/comments/x/reactions/like", None, "comment_not_found"),
    ("PATCH", "/v1/posts/{id}/comments/{comment}", {"body": "mine"}, "not_author"),
    ("DELETE", "/v1/posts/{id}/comments/{comment}", None, "not_author"),
    ("PATCH", "/v1/posts/{id}/comments/99", {"body": "x"}, "comment_not_found"),
    ("DELETE", "/v1/posts/{id}/comments/0", None, "comment_not_found"),
    ("GET", "/v1/posts/{id}/comments/9999999999999999999", None, "comment_not_found"),
    ("PATCH", "/v1/posts/{id}", {"title": "mine"}, "not_author"),
    ("DELETE", "/v1/posts/{id}", None, "not_author"),
    ("POST", "/v1/posts/{id}/publish", {}, "not_author"),
    ("POST", "/v1/posts/{id}/publish", {"at": "tomorrow"}, "invalid"),
    ("POST", "/v1/posts", {"title": ""}, "invalid"),
    ("POST", "/v1/posts", {"title": "\u200b"}, "invalid"),
    ("POST", "/v1/posts", {"title": "x" * 301}, "invalid"),
    ("POST", "/v1/posts", {"title": "x", "slug": "Not A Slug"}, "invalid"),
    ("POST", "/v1/posts", {"title": "x", "slug": "../../etc"}, "invalid"),
    ("POST", "/v1/posts", {"title": "x", "tags": ["x"] * 21}, "invalid"),
    ("POST", "/v1/posts", {"title": "x", "tags": ["\0"]}, "invalid"),
    ("POST", "/v1/posts", {"title": "x", "publish_at": "2030-01-01T00:00:00"}, "invalid"),
    ("POST", "/v1/posts", {"title": "x", "publish_at": "9999-12-31T23:59:59-01:00"}, "invalid"),
    ("POST", "/v1/posts/1/publish", {"at": "9999-12-31T23:59:59-01:00"}, "invalid"),
    ("POST", "/v1/posts", {"title": "x", "state": "deleted"}, "invalid"),
    ("POST", "/v1/posts", {"title": "x", "page_url": "https://x.org/"}, "invalid"),
    ("POST", "/v1/posts", {"title": "x", "created_at": 1}, "invalid"),
    ("GET", "/v1/posts/999", None, "post_not_found"),
    ("GET", "/v1/posts/0", None, "post_not_found"),
    ("GET", "/v1/posts/-1", None, "post_not_found"),
    ("GET", "/v1/posts/1e3", None, "post_not_found"),
    ("GET", "/v1/posts/9999999999999999999", None, "post_not_found"),
    ("GET", "/v1/posts/%00", None, "post_not_found"),
    ("GET", "/v1/posts/%D9%A1", None, "post_not_found"),
    ("GET", "/v1/posts/by-slug/%00", None, "post_not_found"),
    ("GET", "/v1/posts/by-slug/%ff", None, "post_not_found"),
    ("GET", "/v1/posts/by-slug/nobody", None, "post_not_found"),
    ("GET", "/v1/posts/999/comments", None, "post_not_found"),
    ("POST", "/v1/posts/999/comments", {"body": "x"}, "post_not_found"),
    ("PUT", "/v1/posts/999/reactions/like", None, "post_not_found"),
    ("POST", "/v1/posts/999/views", None, "post_not_found"),
    ("POST", "/v1/posts/999/typing", {}, "post_not_found"),
    ("GET", "/v1/posts/999/changes", None, "post_not_found"),
    ("GET", "/v1/posts?limit=0", None, "invalid"),
    ("GET", "/v1/posts?limit=101", None, "invalid"),
    ("GET", "/v1/posts?limit=x", None, "invalid"),
    ("GET", "/v1/posts?before=x", None, "invalid"),
    ("GET", "/v1/posts?before=9999999999999999999", None, "invalid"),
    ("GET", "/v1/posts?tag=%00", None, "invalid"),
    ("GET", "/v1/posts?author=%00", None, "invalid"),
    ("GET", "/v1/posts/{id}/comments?order=worst", None, "invalid"),
    ("GET", "/v1/posts/{id}/comments?limit=201", None, "invalid"),
    ("GET", "/v1/posts/{id}/comments?parent=99", None, "comment_not_found"),
    ("GET", "/v1/posts/{id}/comments?after=nonsense", None, "invalid"),
    ("GET", "/v1/posts/{id}/comments?after=%00", None, "invalid"),
    ("GET", "/v1/posts/{id}/comments?after=" + "x" * 65, None, "invalid"),
    ("GET", "/v1/posts/{id}/changes?cursor=" + "x" * 97, None, "invalid"),
    ("GET", "/v1/users/nobody", None, "account_not_found"),
    ("GET", "/v1/users/%00", None, "account_not_found"),
    ("POST", "/v1/counts", {"posts": ["x"]}, "invalid"),
    ("POST", "/v1/counts", {"posts": ["9999999999999999999"]}, "invalid"),
    ("POST", "/v1/counts", {"posts": "1"}, "invalid"),
    ("POST", "/v1/accounts", {"handle": "x", "password": PASSWORD}, "invalid"),
    ("POST", "/v1/accounts", {"handle": "a b", "password": PASSWORD}, "invalid"),
    ("POST", "/v1/accounts", {"handle": "newbie", "password": "short"}, "invalid"),
    ("POST", "/v1/accounts", {"handle": "newbie", "password": "x" * 257}, "invalid"),
    ("POST", "/v1/accounts", {"handle": "newbie", "password": PASSWORD + "\0"}, "invalid"),
    ("POST", "/v1/accounts", {"handle": "newbie", "password": PASSWORD, "email": "x"}, "invalid"),
    ("POST", "/v1/accounts", {"handle": "newbie", "password": PASSWORD, "role": "admin"}, "invalid"),
    ("POST", "/v1/sessions", {"login": "ada\0", "password": "x"}, "invalid"),
    ("POST", "/v1/sessions/refresh", {"refresh_token": "x"}, "unauthorized"),
    ("POST", "/v1/sessions/refresh", {"refresh_token": "é.1.0.x"}, "unauthorized"),
    ("POST", "/v1/guests", {"name": " "}, "invalid"),
    ("POST", "/v1/guests", {"name": "\u202eevil"}, "invalid"),
    ("PATCH", "/v1/me", {"url": "javascript:alert(1)"}, "invalid"),
    ("PATCH", "/v1/me", {"role": "admin"}, "invalid"),
    ("PATCH", "/v1/me", {"name": None}, "invalid"),
    ("GET", "/v1/nothing", None, "not_found"),
    ("GET", "/nothing", None, "not_found"),
    ("GET", "/v1/posts/{id}/comments/", None, "not_found"),
    ("TRACE", "/v1/posts", None, "method_not_allowed"),
    ("PUT", "/v1/posts", None, "method_not_allowed"),
    ("OPTIONS", "/v1/posts", None, "method_not_allowed"),
    ("GET", "/static/../app.py", None, "not_found"),
    ("GET", "/static/%2e%2e%2fapp.py", None, "not_found"),
]


@pytest.mark.parametrize(("method", "path", "body", "code"), OTHERS, ids=lambda value: str(value)[:60])
async def test_a_bad_request_is_refused_by_its_code(scene: Scene, method: str, path: str, body: Any, code: str) -> None:
    assert (await scene.call(method, path, json=body)).code == code
    await unharmed(scene)


@pytest.mark.parametrize("op", ["x" * 129, "é", "a  b", " ", "tab\tbed"])
async def test_an_operation_id_is_short_printable_ascii(scene: Scene, op: str) -> None:
    for path, body in (("/v1/posts/{id}/comments", {"body": "x"}), ("/v1/posts", {"title": "x"})):
        assert (await scene.call("POST", path, json=body, op=op)).code == "invalid"
    await unharmed(scene)


# -- who asks


def forged(**claims: Any) -> str:
    said = {"sub": "1", "preferred_username": "ada", "name": "Ada", "role": "admin", "iat": 1, "exp": time.time() + 900}
    return jwt.encode({**said, **claims}, "k" * 32, algorithm="HS256", headers={"typ": "plaudit-access"})


BAD_TOKENS: dict[str, tuple[Mapping[str, str], str]] = {
    "nothing": ({"Authorization": ""}, "unauthorized"),
    "no scheme": ({"Authorization": "abc"}, "unauthorized"),
    "another scheme": ({"Authorization": "Basic YWRhOmFkYQ=="}, "unauthorized"),
    "no token": ({"Authorization": "Bearer "}, "unauthorized"),
    "noise": ({"Authorization": "Bearer abc"}, "unauthorized"),
    "bytes": ({"Authorization": "Bearer \udcff\udcfe"}, "unauthorized"),
    "a forged token": ({"Authorization": f"Bearer {forged()}"}, "unauthorized"),
    "a host's token where there is no host": (
        {"Authorization": f"Bearer {host_token({'id': '1', 'username': 'x'})}"},
        "unauthorized",
    ),
    "too much": ({"Authorization": "Bearer " + "a" * 8_000}, "unauthorized"),
}


@pytest.mark.parametrize(("headers", "code"), BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_a_bad_token_is_refused_for_reads_too(scene: Scene, headers: Mapping[str, str], code: str) -> None:
    for method, path, body in (("GET", "/v1/posts/{id}", None), ("POST", "/v1/posts/{id}/comments", {"body": "x"})):
        answer = await scene.call(method, path, json=body, token=None, headers=headers)
        assert answer.code == code
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    await unharmed(scene)


async def test_an_expired_token_says_so(scene: Scene) -> None:
    scene.site.clock.ahead_s += 901
    assert (await scene.call("GET", "/v1/posts/{id}")).code == "token_expired"


WRITES = [endpoint for endpoint in ENDPOINTS if endpoint.who != "anyone"]


@pytest.mark.parametrize("endpoint", WRITES, ids=lambda endpoint: endpoint.name)
async def test_what_needs_an_account_is_refused_to_strangers(scene: Scene, endpoint: Endpoint) -> None:
    path = endpoint.path.replace("{kind}", "like")
    answer = await scene.call(endpoint.method, path, token=None, data=b"{}" if endpoint.body else None)
    assert answer.code == "unauthorized"
    await unharmed(scene)


@pytest.mark.parametrize(
    "endpoint", [endpoint for endpoint in WRITES if endpoint.who == "member"], ids=lambda endpoint: endpoint.name
)
async def test_what_needs_a_member_is_refused_to_guests(scene: Scene, endpoint: Endpoint) -> None:
    gus = await scene.site.api.guest()
    answer = await scene.call(
        endpoint.method, endpoint.path, token=gus.access_token, data=b"{}" if endpoint.body else None
    )
    assert answer.code == "permission_denied"


USER = {"id": "u1", "username": "ada"}
DAY_S = 86_400
"""A token that is no longer from the future when its test's turn comes is refused for another reason."""
HOST_TOKENS: dict[str, str] = {
    "another secret": host_token(USER, secret="x" * 40),
    "no user": host_token({}),
    "a user without a name": host_token({"id": "1"}),
    "a number as id": host_token({"id": 1, "username": "ada"}),
    "a token from the future": host_token(USER, iat=time.time() + DAY_S, exp=time.time() + 2 * DAY_S),
    "no jti": host_token(USER, jti=None),
    "no end": host_token(USER, exp=None),
    "another algorithm": jwt.encode({"user": USER}, HOST_SECRET * 2, algorithm="HS512"),
    "no algorithm": jwt.encode({"user": USER}, "", algorithm="none"),
}


@pytest.mark.parametrize("token", HOST_TOKENS.values(), ids=HOST_TOKENS)
async def test_a_host_token_that_does_not_hold_is_refused(token: str) -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        assert (await site.api.call("GET", "/v1/me", token=token)).code == "unauthorized"


async def test_an_expired_host_token_says_so() -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        token = host_token(USER, exp=time.time() - 1)
        assert (await site.api.call("GET", "/v1/me", token=token)).code == "token_expired"


async def test_the_hosts_secret_signs_no_access_tokens() -> None:
    async with http_site(host_jwt_secret=HOST_SECRET) as site:
        claims = {"sub": "1", "preferred_username": "x", "name": "x", "role": "admin", "iat": 1, "exp": time.time() + 9}
        token = jwt.encode(claims, HOST_SECRET, algorithm="HS256", headers={"typ": "plaudit-access"})
        assert (await site.api.call("GET", "/v1/me", token=token)).code == "unauthorized"


# -- slow and half-sent requests


@contextlib.asynccontextmanager
async def dialled(site: HttpSite) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def heard(site: HttpSite, sent: bytes) -> bytes:
    """All that the server says to ``sent`` until it closes."""
    async with dialled(site) as (reader, writer):
        writer.write(sent)
        return await reader.read()


COMMENT = b"POST /v1/guests HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


async def test_a_half_sent_body_is_answered_and_the_connection_closed() -> None:
    async with http_site(body_timeout_s=0.05) as site:
        said = await heard(site, COMMENT + b'Content-Length: 100\r\n\r\n{"name"')
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"request_timeout"' in said


async def test_half_sent_headers_are_answered_and_the_connection_closed() -> None:
    async with http_site(header_timeout_s=0.05) as site:
        said = await heard(site, b"GET /v1/posts HTTP/1.1\r\nHost:")
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"request_timeout"' in said


async def test_who_says_nothing_is_hung_up_on() -> None:
    async with http_site(header_timeout_s=0.05) as site:
        assert await heard(site, b"") == b""


async def test_the_second_requests_headers_have_a_deadline_too() -> None:
    async with http_site(header_timeout_s=0.05) as site, dialled(site) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"alive" in await reader.readuntil(b"}")
        writer.write(b"GET /healthz HT")
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_kept() -> None:
    async with http_site(header_timeout_s=0.05) as site, dialled(site) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"alive" in await reader.readuntil(b"}")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.1)


@pytest.mark.parametrize(
    "request_line",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_answered_by_a_problem(site: HttpSite, request_line: bytes) -> None:
    said = await heard(site, request_line)
    assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b'"code":"bad_request"' in said
    assert b"Traceback" not in said
    assert b"aiohttp" not in said


@pytest.mark.parametrize(
    "body",
    [
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_a_body_that_does_not_hold_to_http_is_a_bad_request(site: HttpSite, body: bytes) -> None:
    said = await heard(site, COMMENT + b"Connection: close\r\n" + body)
    assert b'"code":"bad_request"' in said


async def test_a_client_that_leaves_in_the_middle_harms_nobody(scene: Scene) -> None:
    async with dialled(scene.site) as (_, writer):
        writer.write(COMMENT + b'Content-Length: 100\r\n\r\n{"na')
        await writer.drain()
    await unharmed(scene)


async def test_a_body_announced_too_large_is_refused_before_it_is_sent(site: HttpSite) -> None:
    async with dialled(site) as (reader, writer):
        writer.write(COMMENT + b"Content-Length: 1000000\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")


def test_every_code_used_here_is_in_the_table() -> None:
    codes = {code for _, code in BODIES.values()} | {code for *_, code in OTHERS}
    assert codes <= set(ERRORS)
