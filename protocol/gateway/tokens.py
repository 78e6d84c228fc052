"""Tokens that this server signs: access tokens, refresh tokens, tickets; and the hash that stands for a viewer.

Every kind has a key of its own, derived from the one secret: a token of one kind is noise as any other. Access tokens
and tickets are JWTs that carry the person, so that a request needs no look-up; a refresh token is derived from
(session, generation) and so can be given twice.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b, sha256
from typing import Any, Final, Literal, NamedTuple

import jwt
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from protocol.commands import ANONYMOUS, Person
from protocol.errors import Refused
from protocol.gateway.identity import Identity, Visitor
from protocol.gateway.settings import TICKET_TTL_S

TOKEN_CHARS_MAX = 8_192
RECEIPT_BYTES = 16
ACCESS_TYPE = "plaudit-access"
TICKET_TYPE = "plaudit-ticket"
OTHER_USES = ("refresh", "viewer", "receipt")

_SIGNATURE_ONLY: Final[jwt.types.Options] = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_sub": False,
    "verify_jti": False,
}


class Claims(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an access token or a ticket says. The names are those of RFC 7519 and OpenID Connect where they have one."""

    sub: str
    preferred_username: str
    name: str
    role: Literal["guest", "member", "author", "moderator", "admin"]
    iat: int
    exp: int
    website: str | None = None
    sid: str | None = None
    jti: str | None = None
    session_exp: float | None = None
    """Of a ticket: when the token that it stands for ends."""


class Refresh(NamedTuple):
    """What a genuine refresh token says."""

    session: str
    account: int
    generation: int


class Ticket(NamedTuple):
    """What a genuine ticket says."""

    id: str
    identity: Identity


class Tokens:
    """Signs and verifies. ``clock`` gives Unix seconds, ``token_bytes`` so many random bytes."""

    def __init__(self, secret: bytes, *, clock: Callable[[], float], token_bytes: Callable[[int], bytes]) -> None:
        self._keys = {kind: derived_key(secret, kind) for kind in (ACCESS_TYPE, TICKET_TYPE, *OTHER_USES)}
        self._clock = clock
        self._token_bytes = token_bytes

    def new_id(self) -> str:
        """Text that nobody can guess."""
        return _text(self._token_bytes(16))

    # -- access tokens

    def access(self, person: Person, session: str, ttl_s: int) -> tuple[str, int]:
        """An access token and the Unix second at which it ends."""
        now = int(self._clock())
        claims = self._claims(person, session, now, now + ttl_s)
        return self._sign(ACCESS_TYPE, claims), claims.exp

    def read_access(self, token: str) -> Identity:
        """Raises ``Refused``: ``unauthorized``, ``token_expired``."""
        claims = self._verify(ACCESS_TYPE, token)
        return Identity(self._person(claims), claims.sid, float(claims.exp))

    # -- tickets

    def ticket(self, identity: Identity) -> tuple[str, int]:
        """A ticket for who ``identity`` is, and the Unix second at which it ends."""
        now = int(self._clock())
        claims = replace(
            self._claims(identity.person, identity.session, now, now + TICKET_TTL_S),
            jti=self.new_id(),
            session_exp=identity.expires_at_s,
        )
        return self._sign(TICKET_TYPE, claims), claims.exp

    def read_ticket(self, token: str) -> Ticket:
        """Who a ticket was made for; that it is used once is for the caller to see to. Raises ``Refused``."""
        return self._ticket(self._verify(TICKET_TYPE, token))

    def receipt(self, ticket: str) -> str:
        """For who reads what ``ticket`` has opened: text that the ticket alone does not tell."""
        return _text(hmac.digest(self._keys["receipt"], ticket.encode(errors="surrogatepass"), sha256)[:RECEIPT_BYTES])

    def read_used_ticket(self, token: str, receipt: str) -> Ticket:
        """Who a ticket was made for, however long ago, by who has its receipt. Raises ``Refused("unauthorized")``."""
        if not receipt.isascii() or not hmac.compare_digest(receipt, self.receipt(token)):
            raise Refused("unauthorized", "the ticket was used before")
        return self._ticket(self._verify(TICKET_TYPE, token, expired_too=True))

    def ended(self, identity: Identity) -> bool:
        """Whether the token has ended by which ``identity`` was known."""
        return identity.expires_at_s is not None and identity.expires_at_s <= self._clock()

    def _ticket(self, claims: Claims) -> Ticket:
        if claims.jti is None:
            raise Refused("unauthorized", "not a ticket of this server")
        return Ticket(claims.jti, Identity(self._person(claims), claims.sid, claims.session_exp))

    # -- refresh tokens

    def refresh(self, session: str, account: int, generation: int) -> str:
        said = f"{session}.{account}.{generation}"
        return f"{said}.{self._refresh_mac(said)}"

    def read_refresh(self, token: str) -> Refresh:
        """Raises ``Refused("unauthorized")`` for what was not made here."""
        said, _, mac = token.rpartition(".")
        if not token.isascii() or not hmac.compare_digest(mac, self._refresh_mac(said)):
            raise Refused("unauthorized", "not a refresh token of this server")
        session, account, generation = said.split(".")
        return Refresh(session, int(account), int(generation))

    def _refresh_mac(self, said: str) -> str:
        return _text(hmac.digest(self._keys["refresh"], said.encode(), sha256))

    # -- viewers

    def viewer(self, person: Person, visitor: Visitor) -> int:
        """The 32-bit hash that a view counts for: of the account, or of an anonymous reader's address and browser."""
        who = f"account:{person.id}" if person.id else f"visitor:{visitor.address}\0{visitor.agent}"
        digest = blake2b(who.encode(errors="surrogatepass"), key=self._keys["viewer"], digest_size=4).digest()
        return int.from_bytes(digest, "big")

    # -- JWT

    def _claims(self, person: Person, session: str | None, iat: int, exp: int) -> Claims:
        assert person.role != "anonymous"
        return Claims(
            sub=str(person.id),
            preferred_username=person.handle,
            name=person.name,
            role=person.role,
            website=person.url,
            sid=session,
            iat=iat,
            exp=exp,
        )

    def _person(self, claims: Claims) -> Person:
        person = Person(int(claims.sub), claims.preferred_username, claims.name, claims.role, claims.website)
        return replace(person, viewer=self.viewer(person, Visitor("")))

    def _sign(self, kind: str, claims: Claims) -> str:
        return jwt.encode(msgspec.to_builtins(claims), self._keys[kind], algorithm="HS256", headers={"typ": kind})

    def _verify(self, kind: str, token: str, *, expired_too: bool = False) -> Claims:
        payload = verified_payload(token, self._keys[kind], ["HS256"])
        try:
            claims = msgspec.convert(payload, Claims)
        except msgspec.ValidationError:
            raise Refused("unauthorized", "not a token of this server") from None
        if claims.exp <= self._clock() and not expired_too:
            raise Refused("token_expired")
        return claims


def derived_key(secret: bytes, purpose: str) -> bytes:
    """A key for one purpose, 32 bytes: the one step of HKDF-Expand (RFC 5869) that this length needs."""
    return hmac.digest(secret, purpose.encode() + b"\x01", sha256)


def token_type(token: str) -> str | None:
    """What a JWT says that it is. Unverified: good for choosing the verifier and nothing else."""
    try:
        kind = jwt.get_unverified_header(token).get("typ")
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return None
    return kind if isinstance(kind, str) else None


def verified_payload(token: str, key: Any, algorithms: list[str]) -> dict[str, Any]:
    """The payload of a JWT whose signature holds; the times in it are for the caller to check, by its own clock.

    ``algorithms`` are those that ``key`` is meant for, never what the token asks for.
    """
    try:
        payload: dict[str, Any] = jwt.decode(token, key, algorithms=algorithms, options=_SIGNATURE_ONLY)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Refused("unauthorized", "the token's signature does not hold") from None
    return payload


def anonymous(tokens: Tokens, visitor: Visitor) -> Identity:
    """A reader without a token."""
    return Identity(replace(ANONYMOUS, viewer=tokens.viewer(ANONYMOUS, visitor)))


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
