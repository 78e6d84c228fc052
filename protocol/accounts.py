"""What may be asked of ``user:<id>``: the account and its sessions. None of these is decoded from the wire as it is.

The gateway hashes passwords and signs tokens; the actor keeps the account, and decides about sessions. A refresh token
is derived from (session, generation), so that none is stored and the same successor can be given twice.
"""

from typing import Literal

from msgspec import Struct

from protocol.commands import Command, Person
from protocol.views import View

REFRESH_GRACE_MS = 30_000
"""For so long the token before the current one gets the current one again: a lost answer must not sign the user out."""


class SessionState(Struct, frozen=True):
    session: str
    generation: int
    expires_ms: int


class Credentials(Struct, frozen=True):
    """Never leaves the gateway."""

    password_hash: str | None


class AccountView(View, frozen=True):
    id: str
    handle: str
    name: str
    url: str | None
    role: Literal["guest", "member", "author", "moderator", "admin"]
    kind: Literal["member", "host", "guest"]
    email: str | None
    created_at: str
    posts: int
    """Published ones."""
    followers: int
    following: int

    @property
    def person(self) -> Person:
        """Its owner, as who asks."""
        return Person(int(self.id), self.handle, self.name, self.role, self.url or None)


class UserCommand(Command, frozen=True, kw_only=True):
    account: int


class CreateAccount(UserCommand, frozen=True, kw_only=True):
    """Make the account of an id that its names were claimed for; refuses ``already_exists`` if it is made already."""

    method = "account.create"
    answers = AccountView
    kind: Literal["member", "host", "guest"]
    handle: str
    name: str
    email: str | None = None
    url: str | None = None
    password_hash: str | None = None
    role: Literal["guest", "member", "author", "moderator", "admin"] = "member"


class SyncHostAccount(UserCommand, frozen=True, kw_only=True):
    """Create or bring up to date the account of a host site's user."""

    method = "account.sync"
    repeatable = True
    answers = AccountView
    handle: str
    name: str
    email: str | None = None
    url: str | None = None
    role: Literal["member", "author", "moderator", "admin"] = "member"


class ReadAccount(UserCommand, frozen=True, kw_only=True):
    """Refuses ``account_not_found`` also when it is deleted."""

    method = "account.get"
    writes = False
    answers = AccountView


class ReadCredentials(UserCommand, frozen=True, kw_only=True):
    method = "account.credentials"
    writes = False
    answers = Credentials


class EditAccount(UserCommand, frozen=True, kw_only=True):
    """Change what is given."""

    method = "account.edit"
    repeatable = True
    answers = AccountView
    name: str | None = None
    url: str | None = None
    """Empty: take it away."""
    role: Literal["member", "author", "moderator", "admin"] | None = None
    password_hash: str | None = None
    end_sessions: bool = False
    """Sign out everywhere: somebody else may have the old password."""


class DeleteAccount(UserCommand, frozen=True, kw_only=True):
    """End the account and its sessions; its comments become tombstones or anonymous, by configuration, soon after."""

    method = "account.delete"


class OpenSession(UserCommand, frozen=True, kw_only=True):
    """Begin with generation 0."""

    method = "session.open"
    answers = SessionState
    session: str
    """A new random id, chosen by the gateway."""
    ttl_ms: int


class RotateSession(UserCommand, frozen=True, kw_only=True):
    """Exchange the refresh token of ``generation`` for its successor.

    The current generation is advanced. The one before it gets the present one for 30 s. Any other is a stolen token:
    the session is revoked, and ``session_ended`` refused.
    """

    method = "session.rotate"
    repeatable = True
    answers = SessionState
    session: str
    generation: int
    ttl_ms: int


class CheckSession(UserCommand, frozen=True, kw_only=True):
    """Refuses ``account_not_found``, and ``session_ended`` for a session that is not there any more."""

    method = "session.check"
    writes = False
    session: str | None
    """None: one that is not kept here."""


class EndSession(UserCommand, frozen=True, kw_only=True):
    """Sign out; a no-op on a session that has ended."""

    method = "session.end"
    repeatable = True
    session: str


class RedeemTicket(UserCommand, frozen=True, kw_only=True):
    """Use a ticket up. Its operation id names the ticket, and ``attempt`` is new each time: so the second is refused.

    What was used up is a row of the commit like every operation: that holds for all workers and any crash.
    """

    method = "ticket.redeem"
    attempt: str
