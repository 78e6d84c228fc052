"""Tokens: one kind is noise as any other, and nothing but the right key opens one."""

import base64
import json
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

import jwt
import pytest

from protocol.commands import ANONYMOUS, Person
from protocol.errors import Refused
from protocol.gateway.identity import Identity, Visitor
from protocol.gateway.tokens import ACCESS_TYPE, Tokens, derived_key

SECRET = b"one secret"
ADA = Person(id=7, handle="ada", name="Ada", role="author", url="https://ada.example/")
NOW = 1_800_000_000.0


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def made(secret: bytes = SECRET, clock: Callable[[], float] | None = None) -> Tokens:
    return Tokens(secret, clock=clock or Hand(), token_bytes=secrets.token_bytes)


def code_of(work: Callable[[], Any]) -> str:
    with pytest.raises(Refused) as refusal:
        work()
    return refusal.value.code


def unsigned(token: str, header: dict[str, Any]) -> str:
    """``token`` with another header and no signature."""
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{encoded}.{token.split('.')[1]}."


def test_an_access_token_carries_the_person_and_the_session() -> None:
    tokens = made()
    token, expires_s = tokens.access(ADA, "s1", 900)
    identity = tokens.read_access(token)
    assert identity.person == Person(7, "ada", "Ada", "author", "https://ada.example/", identity.person.viewer)
    assert (identity.session, identity.expires_at_s, expires_s) == ("s1", NOW + 900, NOW + 900)


def test_an_access_token_ends_at_its_second() -> None:
    clock = Hand()
    tokens = made(clock=clock)
    token, _ = tokens.access(ADA, "s1", 900)
    clock.now += 899
    tokens.read_access(token)
    clock.now += 1
    assert code_of(lambda: tokens.read_access(token)) == "token_expired"


def test_a_token_of_another_server_is_refused() -> None:
    token, _ = made(b"another secret").access(ADA, "s1", 900)
    assert code_of(lambda: made().read_access(token)) == "unauthorized"


@pytest.mark.parametrize("algorithm", ["none", "None", "HS512", "RS256", "HS256"])
def test_a_token_cannot_choose_how_it_is_verified(algorithm: str) -> None:
    token, _ = made().access(ADA, "s1", 900)
    forged = unsigned(token, {"alg": algorithm, "typ": ACCESS_TYPE})
    assert code_of(lambda: made().read_access(forged)) == "unauthorized"


def test_a_token_signed_with_the_bare_secret_is_refused() -> None:
    claims = {"sub": "1", "preferred_username": "x", "name": "x", "role": "admin", "iat": 1, "exp": NOW + 9}
    forged = jwt.encode(claims, SECRET * 4, algorithm="HS256", headers={"typ": ACCESS_TYPE})
    assert code_of(lambda: made(SECRET * 4).read_access(forged)) == "unauthorized"


def test_a_changed_payload_is_refused() -> None:
    token, _ = made().access(ADA, "s1", 900)
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["role"] = "admin"
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    assert code_of(lambda: made().read_access(f"{head}.{changed}.{signature}")) == "unauthorized"


def test_tokens_of_one_kind_are_refused_as_any_other() -> None:
    tokens = made()
    access, _ = tokens.access(ADA, "s1", 900)
    ticket, _ = tokens.ticket(Identity(ADA, "s1", NOW + 900))
    refresh = tokens.refresh("s1", 7, 0)
    for wrong in (ticket, refresh):
        assert code_of(partial(tokens.read_access, wrong)) == "unauthorized"
    for wrong in (access, refresh):
        assert code_of(partial(tokens.read_ticket, wrong)) == "unauthorized"
    for wrong in (access, ticket):
        assert code_of(partial(tokens.read_refresh, wrong)) == "unauthorized"


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.é.é", "\ud800", "a" * 10_000, "." * 5_000, "eyJ.e30.x"])
def test_noise_is_refused(token: str) -> None:
    tokens = made()
    assert code_of(lambda: tokens.read_access(token)) == "unauthorized"
    assert code_of(lambda: tokens.read_ticket(token)) == "unauthorized"
    assert code_of(lambda: tokens.read_refresh(token)) == "unauthorized"


def test_a_refresh_token_is_the_same_each_time_it_is_made() -> None:
    assert made().refresh("s1", 7, 3) == made().refresh("s1", 7, 3)
    assert made().read_refresh(made().refresh("s1", 7, 3)) == ("s1", 7, 3)


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_a_refresh_token_holds_in_every_part(part: int) -> None:
    parts = made().refresh("s1", 7, 3).split(".")
    parts[part] += "1"
    assert code_of(lambda: made().read_refresh(".".join(parts))) == "unauthorized"


def test_a_ticket_says_for_a_minute_who_it_was_made_for() -> None:
    clock = Hand()
    tokens = made(clock=clock)
    token, expires_s = tokens.ticket(Identity(ADA, "s1", NOW + 900))
    assert expires_s == NOW + 60
    ticket = tokens.read_ticket(token)
    assert ticket.identity.person.id == 7
    assert (ticket.identity.session, ticket.identity.expires_at_s) == ("s1", NOW + 900)
    assert tokens.read_ticket(tokens.ticket(Identity(ADA, "s1"))[0]).id != ticket.id
    clock.now += 60
    assert code_of(lambda: tokens.read_ticket(token)) == "token_expired"


def test_a_viewer_is_the_account_or_else_the_address_and_the_browser() -> None:
    tokens = made()
    one, other = Visitor("192.0.2.1", "Firefox"), Visitor("192.0.2.2", "Firefox")
    assert tokens.viewer(ADA, one) == tokens.viewer(ADA, other)
    assert tokens.viewer(ANONYMOUS, one) == tokens.viewer(ANONYMOUS, one)
    assert len({tokens.viewer(ANONYMOUS, who) for who in (one, other, Visitor("192.0.2.1", "Safari"))}) == 3
    assert 0 <= tokens.viewer(ANONYMOUS, Visitor("x", "\udcff")) < 1 << 32
    assert made(b"other").viewer(ADA, one) != tokens.viewer(ADA, one)


def test_every_purpose_has_its_own_key() -> None:
    assert derived_key(SECRET, "a") != derived_key(SECRET, "b")
    assert len(derived_key(SECRET, "a")) == 32


def test_a_used_ticket_says_who_it_was_made_for_to_who_has_its_receipt_and_to_nobody_else() -> None:
    clock = Hand()
    tokens = made(clock=clock)
    one, other = [tokens.ticket(Identity(ADA, "s1", NOW + 900))[0] for _ in range(2)]
    receipt = tokens.receipt(one)
    clock.now += 1_000_000
    ticket = tokens.read_used_ticket(one, receipt)
    assert (ticket.identity.person.id, ticket.identity.session) == (7, "s1")
    assert tokens.ended(ticket.identity)
    for wrong in ("", receipt[:-1], receipt + "A", tokens.receipt(other), made(b"another secret").receipt(one), "é"):
        assert code_of(partial(tokens.read_used_ticket, one, wrong)) == "unauthorized"
    access, _ = tokens.access(ADA, "s1", 900)
    for no_ticket in (access, "", "\ud800"):
        assert code_of(partial(tokens.read_used_ticket, no_ticket, tokens.receipt(no_ticket))) == "unauthorized"
