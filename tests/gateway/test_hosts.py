"""The host site's keys: which verify, when they are fetched, and what happens when they cannot be."""

import hmac
import time
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol.accounts import AccountView
from protocol.commands import Command, Person
from protocol.errors import Refused, Unavailable
from protocol.gateway.backend import Answer
from protocol.gateway.hosts import KEYS_PAUSE_S, KEYS_TTL_S, HostUsers, PublishedKeys, handle_candidates, jwks_fetcher
from protocol.gateway.tokens import verified_payload
from tests.gateway.http_site import http_site
from tests.gateway.recording import RecordingBackend

RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    algorithms = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256", Ed25519PrivateKey: "EdDSA"}
    (name,) = (name for kind, name in algorithms.items() if isinstance(key, kind))
    public = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
    return {**public, **({} if kid is None else {"kid": kid}), **more}


def jwks(*keys: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"keys": keys})


def signed(key: Any, algorithm: str, kid: str | None) -> str:
    now = int(time.time())
    claims = {"jti": "1", "iat": now, "exp": now + 600, "user": {"id": "u1", "username": "ada"}}
    return jwt.encode(claims, key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class Publisher:
    """What the host publishes, and how often it was asked; a moved clock with it."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.fetches = 0
        self.now = 1_000.0

    async def fetch(self) -> bytes:
        self.fetches += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def keys(self) -> PublishedKeys:
        return PublishedKeys(self.fetch, lambda: self.now)


class OneAccount(RecordingBackend):
    """Every user is the same one."""

    async def ask(self, key: str, command: Command, by: Person, op: str | None = None) -> Answer:
        return AccountView(
            id="7", handle="ada", name="ada", url=None, role="member", kind="host", email=None,
            created_at="2026-01-01T00:00:00Z", posts=0, followers=0, following=0,
        )  # fmt: skip


async def verified(keys: PublishedKeys, token: str) -> dict[str, Any]:
    key = await keys.key_of(token)
    return verified_payload(token, key.key, key.algorithms)


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (RSA, "RS512"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA")]
)
async def test_a_token_of_a_published_key_is_taken(key: Any, algorithm: str) -> None:
    keys = Publisher(jwks(jwk(RSA, "r"), jwk(EC, "e"), jwk(ED, "d"))).keys()
    kid = {id(RSA): "r", id(EC): "e", id(ED): "d"}[id(key)]
    assert (await verified(keys, signed(key, algorithm, kid)))["user"]["id"] == "u1"


async def test_the_public_key_is_no_secret_to_sign_with() -> None:
    keys = Publisher(jwks(jwk(RSA, "r"))).keys()
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    said = base64url(b'{"alg":"HS256","kid":"r"}') + "." + base64url(b'{"user":{}}')
    forged = f"{said}.{base64url(hmac.digest(public, said.encode(), 'sha256'))}"
    with pytest.raises(Refused) as refusal:
        await verified(keys, forged)
    assert refusal.value.code == "unauthorized"


async def test_a_published_secret_verifies_nothing() -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "s", "alg": "HS256"}
    keys = Publisher(jwks(secret, jwk(RSA, "r"))).keys()
    forged = jwt.encode({"user": {}}, "secret" * 8, algorithm="HS256", headers={"kid": "s"})
    with pytest.raises(Refused):
        await verified(keys, forged)


async def test_a_key_for_encryption_verifies_nothing() -> None:
    keys = Publisher(jwks(jwk(RSA, "r", use="enc"), jwk(EC, "e"))).keys()
    with pytest.raises(Refused):
        await verified(keys, signed(RSA, "RS256", "r"))


async def test_without_a_key_id_there_must_be_one_key() -> None:
    token = signed(RSA, "RS256", None)
    assert await verified(Publisher(jwks(jwk(RSA, None))).keys(), token)
    assert await verified(Publisher(jwks(jwk(RSA, "r"))).keys(), token)
    with pytest.raises(Refused):
        await verified(Publisher(jwks(jwk(RSA, "r"), jwk(EC, "e"))).keys(), token)


async def test_keys_are_fetched_once_and_again_when_they_are_old() -> None:
    publisher = Publisher(jwks(jwk(RSA, "r")))
    keys = publisher.keys()
    for _ in range(3):
        await verified(keys, signed(RSA, "RS256", "r"))
    assert publisher.fetches == 1
    publisher.now += KEYS_TTL_S + 1
    await verified(keys, signed(RSA, "RS256", "r"))
    assert publisher.fetches == 2


async def test_a_new_key_is_found_but_unknown_ones_do_not_make_a_storm() -> None:
    publisher = Publisher(jwks(jwk(RSA, "r")))
    keys = publisher.keys()
    await verified(keys, signed(RSA, "RS256", "r"))
    publisher.answer = jwks(jwk(RSA, "r"), jwk(EC, "new"))
    publisher.now += KEYS_PAUSE_S + 1
    await verified(keys, signed(EC, "ES256", "new"))
    for number in range(10):
        with pytest.raises(Refused):
            await verified(keys, signed(EC, "ES256", f"unknown-{number}"))
    assert publisher.fetches == 2


@pytest.mark.parametrize(
    "answer", [OSError(), TimeoutError(), b"", b"{}", b'{"keys": []}', b'{"keys": [{}]}', b"[" * 9_000]
)
async def test_keys_that_cannot_be_read_are_asked_for_again_later(answer: bytes | Exception) -> None:
    publisher = Publisher(answer)
    keys = publisher.keys()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await keys.key_of(signed(RSA, "RS256", "r"))
    assert publisher.fetches == 1
    publisher.answer = jwks(jwk(RSA, "r"))
    publisher.now += KEYS_PAUSE_S + 1
    assert await verified(keys, signed(RSA, "RS256", "r"))


async def test_a_host_that_is_away_for_a_while_locks_nobody_out() -> None:
    publisher = Publisher(jwks(jwk(RSA, "r")))
    keys = publisher.keys()
    await verified(keys, signed(RSA, "RS256", "r"))
    publisher.answer = OSError()
    publisher.now += KEYS_TTL_S + 1
    assert await verified(keys, signed(RSA, "RS256", "r"))


async def test_the_keys_are_read_over_http(aiohttp_server: Any) -> None:
    async def published(_: web.Request) -> web.Response:
        return web.Response(body=jwks(jwk(RSA, "r")))

    app = web.Application()
    app.router.add_get("/jwks.json", published)
    server = await aiohttp_server(app)
    async with http_site(host_jwks_url=str(server.make_url("/jwks.json"))) as site:
        me = await site.api.call("GET", "/v1/me", token=signed(RSA, "RS256", "r"))
        assert me.json["handle"] == "ada"
        ours = await site.api.member("bob")
        assert (await site.api.call("GET", "/v1/me", token=ours.access_token)).json["handle"] == "bob"


@pytest.mark.parametrize(
    "answer", [web.Response(status=500), web.Response(body=b"x" * 300_000)], ids=["error", "too long"]
)
async def test_what_is_no_key_set_is_not_read(aiohttp_server: Any, answer: web.Response) -> None:
    async def published(_: web.Request) -> web.Response:
        return answer

    app = web.Application()
    app.router.add_get("/jwks.json", published)
    server = await aiohttp_server(app)
    with pytest.raises(ValueError, match=r"status 500|too long"):
        await jwks_fetcher(str(server.make_url("/jwks.json")))()


@pytest.mark.parametrize(
    ("username", "candidates"),
    [
        ("Ada Lovelace", ["ada-lovelace", "ada-lovelace-7", "user-7"]),
        ("日本", ["user-7", "user-7"]),
        ("x", ["x-7", "user-7"]),
        ("guest-9", ["guest-9-7", "user-7"]),
        ("a" * 60, ["a" * 30, "a" * 28 + "-7", "user-7"]),
    ],
)
def test_a_handle_is_made_of_the_hosts_name(username: str, candidates: list[str]) -> None:
    assert list(handle_candidates(username, 7)) == candidates


async def test_a_token_that_was_good_is_refused_once_it_has_ended_or_its_key_is_withdrawn() -> None:
    publisher = Publisher(jwks(jwk(RSA, "r")))
    now = time.time()
    users = HostUsers(OneAccount(), publisher.keys(), lambda: now)
    token = signed(RSA, "RS256", "r")
    for _ in range(2):
        _, claims = await users.authenticate(token)
        assert claims.user.username == "ada"
    publisher.answer = jwks(jwk(EC, "r"))
    publisher.now += KEYS_TTL_S + 1
    with pytest.raises(Refused) as withdrawn:
        await users.authenticate(token)
    assert withdrawn.value.code == "unauthorized"
    publisher.answer = jwks(jwk(RSA, "r"))
    publisher.now += KEYS_TTL_S + 1
    await users.authenticate(token)
    now += 601
    with pytest.raises(Refused) as ended:
        await users.authenticate(token)
    assert ended.value.code == "token_expired"
