"""The host site's users: its signed tokens, and the accounts that stand for them here.

A token is a JWT ``{jti, iat, exp, user: {id, email, username, role, url}}``, signed with a secret that both sites know
(HS256) or with a private key whose public half the host publishes (JWKS). The account is made on first use and follows
the token.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol

import jwt
import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout
from msgspec import Meta, Struct

from protocol import text
from protocol.accounts import AccountView, ReadAccount, SyncHostAccount
from protocol.commands import ANONYMOUS, Person
from protocol.errors import DomainError, Refused, Unavailable
from protocol.gateway.backend import Backend
from protocol.gateway.names import claim_first
from protocol.gateway.tokens import verified_payload

KEYS_TTL_S = 600.0
KEYS_PAUSE_S = 30.0
"""Between two fetches, however many tokens name keys that are not there."""
KEYS_BYTES_MAX = 262_144
FETCH_TIMEOUT_S = 5.0
CLOCK_SKEW_S = 30
USERS_REMEMBERED_MAX = 50_000
TOKENS_REMEMBERED_MAX = 10_000

Role = Literal["member", "author", "moderator", "admin"]
_ROLES: Final[dict[str, Role]] = {
    "author": "author",
    "staff": "author",
    "editor": "moderator",
    "moderator": "moderator",
    "admin": "admin",
    "administrator": "admin",
}
_ALGORITHMS: Final = {
    "RSA": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    "EC": ["ES256", "ES384", "ES512"],
    "OKP": ["EdDSA"],
}
"""By type of public key. No HMAC: with it, whoever knows the public key could sign."""


class HostUser(Struct, frozen=True, kw_only=True):
    """A user as the host site names it."""

    id: Annotated[str, Meta(min_length=1, max_length=200)]
    username: Annotated[str, Meta(min_length=1, max_length=200)]
    email: str | None = None
    role: str | None = None
    url: str | None = None


class HostClaims(Struct, frozen=True, kw_only=True):
    jti: Annotated[str, Meta(min_length=1, max_length=200)]
    iat: float
    exp: float
    user: HostUser


class Key(NamedTuple):
    """What verifies a token, and the algorithms it is meant for."""

    key: Any
    algorithms: list[str]


class Keys(Protocol):
    async def key_of(self, token: str) -> Key:
        """The key that must have signed ``token``. Raises ``Refused("unauthorized")``, ``Unavailable``."""
        ...


class SharedSecret:
    """One secret that both sites know."""

    def __init__(self, secret: str) -> None:
        self._key = Key(secret.encode(), ["HS256"])

    async def key_of(self, token: str) -> Key:
        return self._key


class PublishedKeys:
    """The host's JWKS, fetched when first needed and again when it is old or lacks a key. ``timer`` is monotonic."""

    def __init__(self, fetch: Callable[[], Awaitable[bytes]], timer: Callable[[], float]) -> None:
        self._fetch = fetch
        self._timer = timer
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def key_of(self, token: str) -> Key:
        kid = _key_id(token)
        if self._stale() or kid not in self._keys:
            await self._refetch()
        found = self._keys.get(kid)
        if found is None:
            raise Refused("unauthorized", "the host site has no such key")
        return Key(found.key, _algorithms(found))

    def _stale(self) -> bool:
        return self._fetched_at is None or self._timer() - self._fetched_at > KEYS_TTL_S

    async def _refetch(self) -> None:
        async with self._fetching:
            now = self._timer()
            if self._tried_at is not None and now - self._tried_at < KEYS_PAUSE_S:
                if self._fetched_at is None:
                    raise Unavailable("the host site's keys cannot be read", retry_after_s=KEYS_PAUSE_S)
                return
            self._tried_at = now
            try:
                self._keys = _parsed_keys(await self._fetch())
            except (OSError, ClientError, TimeoutError, ValueError, jwt.PyJWTError) as error:
                # What was known before stays good: a host that is down for a while locks nobody out.
                if self._fetched_at is None:
                    raise Unavailable("the host site's keys cannot be read", retry_after_s=KEYS_PAUSE_S) from error
                return
            self._fetched_at = now


def jwks_fetcher(url: str) -> Callable[[], Awaitable[bytes]]:
    """Reads the JWKS at ``url``: bounded in time and size, no redirects."""
    timeout = ClientTimeout(total=FETCH_TIMEOUT_S)

    async def fetch() -> bytes:
        # A session for each fetch: there is one in ten minutes.
        async with ClientSession(timeout=timeout) as client, client.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            data = b""
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > KEYS_BYTES_MAX:
                    raise ValueError("too long")
            return data

    return fetch


def _parsed_keys(data: bytes) -> dict[str | None, jwt.PyJWK]:
    keys = jwt.PyJWKSet.from_dict(msgspec.json.decode(data, type=dict[str, Any])).keys
    usable = [key for key in keys if key.key_type in _ALGORITHMS and key.public_key_use in (None, "sig")]
    known: dict[str | None, jwt.PyJWK] = {key.key_id: key for key in usable}
    # A token without a key id is only unambiguous if there is one key.
    if len(usable) == 1:
        known[None] = usable[0]
    return known


def _algorithms(key: jwt.PyJWK) -> list[str]:
    family = _ALGORITHMS[str(key.key_type)]
    return [key.algorithm_name] if key.key_type != "RSA" and key.algorithm_name in family else family


def _key_id(token: str) -> str | None:
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Refused("unauthorized", "not a token") from None
    return kid if isinstance(kid, str) else None


class HostUsers:
    """Verifies the host's tokens and keeps the accounts of its users. ``clock`` gives Unix seconds."""

    def __init__(self, backend: Backend, keys: Keys, clock: Callable[[], float]) -> None:
        self._backend = backend
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[str, tuple[HostUser, Person]] = OrderedDict()
        self._verified: OrderedDict[str, tuple[Key, HostClaims]] = OrderedDict()
        """Tokens whose signature was found to hold, by which key: who reads a page asks with the same one again."""

    async def authenticate(self, token: str) -> tuple[Person, HostClaims]:
        """Who a token of the host's is. Raises ``Refused``: ``unauthorized``, ``token_expired``; ``Unavailable``."""
        claims = self._claims(token, await self._keys.key_of(token))
        return await self._person(claims.user), claims

    def remembers(self, token: str) -> bool:
        """Whether ``token`` was taken before; not whether it would be now."""
        return token in self._verified

    def forget(self, account: int) -> None:
        """An account was deleted: ask its actor again."""
        for user_id, (_, person) in list(self._known.items()):
            if person.id == account:
                del self._known[user_id]

    def _claims(self, token: str, key: Key) -> HostClaims:
        verified = self._verified.get(token)
        if verified is not None and verified[0].key is key.key:
            self._verified.move_to_end(token)
            return self._timely(verified[1])
        claims = self._timely(_claims(verified_payload(token, key.key, key.algorithms)))
        self._verified[token] = key, claims
        self._verified.move_to_end(token)
        if len(self._verified) > TOKENS_REMEMBERED_MAX:
            self._verified.popitem(last=False)
        return claims

    def _timely(self, claims: HostClaims) -> HostClaims:
        now = self._clock()
        if claims.exp <= now:
            raise Refused("token_expired")
        if claims.iat > now + CLOCK_SKEW_S:
            raise Refused("unauthorized", "the token is from the future")
        return claims

    async def _person(self, user: HostUser) -> Person:
        known = self._known.get(user.id)
        if known is not None and known[0] == user:
            self._known.move_to_end(user.id)
            return known[1]
        try:
            person = (await self._account(user)).person
        except DomainError as error:
            if error.code == "account_not_found":
                raise Refused("unauthorized", "the account was deleted") from None
            raise
        self._known[user.id] = (user, person)
        self._known.move_to_end(user.id)
        if len(self._known) > USERS_REMEMBERED_MAX:
            self._known.popitem(last=False)
        return person

    async def _account(self, user: HostUser) -> AccountView:
        """The account of ``user``, made or brought up to date."""
        account = await self._backend.resolve("host", user.id)
        if account is None:
            number = await self._backend.account_number()
            claimed = await self._backend.claim_names("account", [("host", user.id)], number)
            account = claimed if isinstance(claimed, int) else await self._backend.resolve("host", user.id)
            assert account is not None, "a name that is taken is bound"
        handle = await self._handle(account, user)
        return await self._sync(account, handle, user)

    async def _handle(self, account: int, user: HostUser) -> str:
        """The handle that the account has, else one made from the host's name for the user."""
        try:
            view: AccountView = await self._backend.ask(f"user:{account}", ReadAccount(account=account), ANONYMOUS)
        except Refused:
            candidates = handle_candidates(user.username, account)
            handle = await claim_first(self._backend, "account", "handle", candidates, account)
            if handle is None:
                raise Refused("handle_taken") from None
            return handle
        return view.handle

    async def _sync(self, account: int, handle: str, user: HostUser) -> AccountView:
        command = SyncHostAccount(
            account=account,
            handle=handle,
            name=_kept(text.display_name, user.username[: text.NAME_CHARS_MAX]) or handle,
            email=_kept(text.email_address, user.email),
            url=_kept(text.web_address, user.url),
            role=_ROLES.get((user.role or "").lower(), "member"),
        )
        view: AccountView = await self._backend.ask(f"user:{account}", command, ANONYMOUS)
        return view


def _claims(payload: dict[str, Any]) -> HostClaims:
    try:
        claims = msgspec.convert(payload, HostClaims)
    except msgspec.ValidationError as error:
        raise Refused("unauthorized", f"the host's token: {error}") from None
    if claims.user.id != _kept(text.plain, claims.user.id):
        raise Refused("unauthorized", "the host's token: user.id has characters that cannot be kept")
    return claims


def handle_candidates(username: str, account: int) -> Iterator[str]:
    """Handles to try for a host's user, best first, the same ones each time."""
    base = text.slug_of(username)[: text.HANDLE_CHARS_MAX].strip("-")
    if len(base) >= 2 and not base.startswith("guest-"):
        yield base
    ending = f"-{account}"
    yield f"{(base or 'user')[: text.HANDLE_CHARS_MAX - len(ending)].rstrip('-')}{ending}"
    yield f"user-{account}"


def _kept(rule: Callable[[str], str], value: str | None) -> str | None:
    """``value`` in its kept form; None for what cannot be kept: the host's carelessness locks nobody out."""
    if value is None:
        return None
    try:
        return rule(value)
    except Refused:
        return None
