"""Who is asking: own tokens, the host site's tokens, tickets; and the sessions that have ended."""

from collections.abc import Callable

from msgspec.structs import replace

from protocol.errors import Refused
from protocol.gateway.backend import Backend
from protocol.gateway.hosts import HostUsers
from protocol.gateway.identity import Identity, Visitor
from protocol.gateway.tokens import ACCESS_TYPE, TOKEN_CHARS_MAX, Tokens, anonymous, token_type

HOST_SESSION = "host:"
"""Begins the session of a host's user: it is the host's to end."""


class Revoked:
    """Sessions and accounts whose access tokens are refused, for as long as such a token can live.

    ``clock`` gives Unix seconds.
    """

    def __init__(self, clock: Callable[[], float], access_ttl_s: int) -> None:
        self.session_ended: Callable[[str], None] = lambda session: None
        """Told of each session that ends."""
        self.account_ended: Callable[[int], None] = lambda account: None
        """Told of each account that is deleted."""
        self._clock = clock
        self._ttl_s = access_ttl_s
        self._until_s: dict[str, float] = {}

    async def load(self, backend: Backend) -> None:
        """Remember the sessions that ended before this process began."""
        since_ms = int((self._clock() - self._ttl_s) * 1000)
        for session, at_ms in sorted(await backend.revoked_sessions(since_ms), key=lambda ended: ended[1]):
            self.add_session(session, at_ms / 1000)

    def add_session(self, session: str, at_s: float | None = None) -> None:
        """``session`` ended, now or at Unix second ``at_s``."""
        self._add(f"session:{session}", at_s)
        self.session_ended(session)

    def add_account(self, account: int) -> None:
        self._add(f"account:{account}", None)
        self.account_ended(account)

    def refuses(self, identity: Identity) -> bool:
        return f"session:{identity.session}" in self._until_s or f"account:{identity.person.id}" in self._until_s

    def __len__(self) -> int:
        return len(self._until_s)

    def _add(self, key: str, at_s: float | None) -> None:
        now = self._clock()
        # Rises with time, so that the first are those that are over.
        for known, until_s in list(self._until_s.items()):
            if until_s > now:
                break
            del self._until_s[known]
        self._until_s.pop(key, None)
        self._until_s[key] = (now if at_s is None else at_s) + self._ttl_s


class Authentication:
    """See ``Authenticator``."""

    def __init__(self, tokens: Tokens, revoked: Revoked, hosts: HostUsers | None) -> None:
        self._tokens = tokens
        self._revoked = revoked
        self._hosts = hosts

    async def authenticate(self, token: str | None, visitor: Visitor) -> Identity:
        if not token:
            return anonymous(self._tokens, visitor)
        if len(token) > TOKEN_CHARS_MAX:
            raise Refused("unauthorized", "the token is too long")
        if token_type(token) == ACCESS_TYPE or self._hosts is None:
            identity = self._tokens.read_access(token)
        else:
            identity = await self._host_identity(self._hosts, token)
        return self._live(identity)

    async def redeem(self, ticket: str, visitor: Visitor) -> Identity:
        if len(ticket) > TOKEN_CHARS_MAX:
            raise Refused("unauthorized", "the ticket is too long")
        return self._live(self._tokens.redeem(ticket))

    async def _host_identity(self, hosts: HostUsers, token: str) -> Identity:
        person, claims = await hosts.authenticate(token)
        seen = replace(person, viewer=self._tokens.viewer(person, Visitor("")))
        return Identity(seen, f"{HOST_SESSION}{claims.jti}", claims.exp)

    def _live(self, identity: Identity) -> Identity:
        if self._revoked.refuses(identity):
            raise Refused("unauthorized", "the session has ended")
        return identity
