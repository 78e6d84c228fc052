"""What the gateway is told by configuration; ``server.py`` fills it from flags and ``PLAUDIT_*``."""

from msgspec import Struct

TICKET_TTL_S = 60
"""For so long a ticket is good."""


class Rate(Struct, frozen=True):
    """A token bucket: ``per_s`` tokens a second on average, ``burst`` at once."""

    per_s: float
    burst: int


class GatewaySettings(Struct, frozen=True, kw_only=True):
    public_url: str | None = None
    """Where clients reach the server, for links; by default what they ask for."""
    allowed_origins: tuple[str, ...] = ()
    """Other sites whose pages may talk to this server, as ``https://example.org``; ``*`` is any. Its own always may."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose ``X-Forwarded-For`` is believed."""
    secret: bytes
    """What tokens, tickets and viewers' hashes are signed with."""
    host_jwt_secret: str | None = None
    """HS256 secret shared with the host site, whose users then need no account here."""
    host_jwks_url: str | None = None
    """Or the address of its public keys."""
    guests: bool = True
    sign_up: bool = True
    access_ttl_s: int = 900
    refresh_ttl_s: int = 60 * 86_400
    guest_ttl_s: int = 365 * 86_400
    account_rate: Rate = Rate(20.0, 60)
    """Writes of one account."""
    address_rate: Rate = Rate(50.0, 200)
    """Requests of one address."""
    socket_rate: Rate = Rate(100.0, 300)
    """Commands of one WebSocket."""
    sign_in_rate: Rate = Rate(0.5, 10)
    """Sign-ups, sign-ins and guests of one address."""
    frame_bytes_max: int = 65_536
    """Of a WebSocket frame or a request body."""
    header_timeout_s: float = 10.0
    body_timeout_s: float = 10.0
    connections_per_address_max: int = 256
    subscriptions_max: int = 128
    """Of one WebSocket."""
    ping_interval_s: float = 25.0
