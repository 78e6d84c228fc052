"""Who is at the other end: what the sockets ask of authentication, which HTTP, tokens and guests fill."""

from typing import NamedTuple, Protocol

from msgspec import Struct

from protocol.commands import Person


class Visitor(NamedTuple):
    """What is known of a client before it says who it is."""

    address: str
    """The address it comes from, with trusted proxies taken off."""
    agent: str = ""
    """Its ``User-Agent``; with the address it makes the viewer of an anonymous reader."""


class Identity(Struct, frozen=True):
    """A person the gateway vouches for, and for how long."""

    person: Person
    session: str | None = None
    """The signed-in device, where there is one: the connection ends when it is revoked."""
    expires_at_s: float | None = None
    """Unix seconds at which the token ends; None: never."""


class Authenticator(Protocol):
    async def authenticate(self, token: str | None, visitor: Visitor) -> Identity:
        """Who ``token`` is; without one an anonymous reader.

        Raises:
            Refused: ``token_expired`` if it was valid once, ``unauthorized`` if it never was or its session has ended.
            Overloaded, Unavailable: Come back later.
        """
        ...

    async def redeem(self, ticket: str, visitor: Visitor) -> Identity:
        """Who a ticket was made for: single use, one minute. Raises as ``authenticate``."""
        ...

    def receipt(self, ticket: str) -> str:
        """What only those get to see who read what ``ticket`` has opened."""
        ...

    async def resume(self, ticket: str, receipt: str) -> Identity:
        """Who a ticket was made for, that was used and whose receipt this is: while the session lives.

        Raises as ``authenticate``.
        """
        ...
