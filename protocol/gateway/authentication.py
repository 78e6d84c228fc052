"""Who is asking: own tokens, the host site's tokens, tickets."""

from msgspec.structs import replace

from protocol.accounts import CheckSession, RedeemTicket
from protocol.errors import Refused
from protocol.gateway.backend import Backend
from protocol.gateway.hosts import HostUsers
from protocol.gateway.identity import Identity, Visitor
from protocol.gateway.revoked import Revoked
from protocol.gateway.tokens import ACCESS_TYPE, TOKEN_CHARS_MAX, Tokens, anonymous, token_type

HOST_SESSION = "host:"
"""Begins the session of a host's user: it is the host's to end."""


class Authentication:
    """See ``Authenticator``."""

    def __init__(self, backend: Backend, tokens: Tokens, revoked: Revoked, hosts: HostUsers | None) -> None:
        self._backend = backend
        self._tokens = tokens
        self._revoked = revoked
        self._hosts = hosts

    async def authenticate(self, token: str | None, visitor: Visitor) -> Identity:
        if not token:
            return anonymous(self._tokens, visitor)
        if len(token) > TOKEN_CHARS_MAX:
            raise Refused("unauthorized", "the token is too long")
        hosts = self._hosts
        if hosts is not None and (hosts.remembers(token) or token_type(token) != ACCESS_TYPE):
            identity = await self._host_identity(hosts, token)
        else:
            identity = self._tokens.read_access(token)
        return self._live(identity)

    async def redeem(self, ticket: str, visitor: Visitor) -> Identity:
        if len(ticket) > TOKEN_CHARS_MAX:
            raise Refused("unauthorized", "the ticket is too long")
        id, identity = self._tokens.read_ticket(ticket)
        account = identity.person.id
        command = RedeemTicket(account=account, attempt=self._tokens.new_id())
        try:
            # It begins with a blank, as no operation id of a client's does.
            await self._backend.ask(f"user:{account}", command, identity.person, f" {id}")
        except Refused as refusal:
            used = refusal.code == "operation_reused"
            reason = "the ticket was used before" if used else "the account was deleted"
            raise Refused("unauthorized", reason) from None
        return self._live(identity)

    def receipt(self, ticket: str) -> str:
        return self._tokens.receipt(ticket)

    async def resume(self, ticket: str, receipt: str) -> Identity:
        if len(ticket) > TOKEN_CHARS_MAX:
            raise Refused("unauthorized", "the ticket is too long")
        _, identity = self._tokens.read_used_ticket(ticket, receipt)
        # The host's sessions are known by their tokens only, and live as long as these; ours outlive them.
        of_host = identity.session is None or identity.session.startswith(HOST_SESSION)
        if of_host and self._tokens.ended(identity):
            raise Refused("token_expired")
        account = identity.person.id
        command = CheckSession(account=account, session=None if of_host else identity.session)
        try:
            await self._backend.ask(f"user:{account}", command, identity.person)
        except Refused:
            raise Refused("unauthorized", "the session has ended") from None
        return self._live(identity)

    async def _host_identity(self, hosts: HostUsers, token: str) -> Identity:
        person, claims = await hosts.authenticate(token)
        seen = replace(person, viewer=self._tokens.viewer(person, Visitor("")))
        return Identity(seen, f"{HOST_SESSION}{claims.jti}", claims.exp)

    def _live(self, identity: Identity) -> Identity:
        if self._revoked.refuses(identity):
            raise Refused("unauthorized", "the session has ended")
        return identity
