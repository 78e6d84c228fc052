"""Where a request comes from: the peer, or what trusted proxies say about it."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from protocol.gateway.identity import Visitor

AGENT_CHARS_MAX = 512
UNKNOWN = "unknown"
"""The address of a peer without one, as on a Unix socket."""
REMEMBERED: Final = 4_096
"""Addresses whose parsing, which takes as long as all else that is found out of a request, is not repeated."""

Address = IPv4Address | IPv6Address


class Hop(NamedTuple):
    """Where a request came by."""

    address: str
    trusted: bool


class Proxies:
    """The networks whose ``X-Forwarded-For`` is believed; of a Unix socket if ``unix`` is among them.

    Raises:
        ValueError: A network is not one.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        given = list(networks)
        self._unix = "unix" in given
        self._networks = [ip_network(network, strict=False) for network in given if network != "unix"]
        self._hop = lru_cache(REMEMBERED)(self._parsed)

    def client(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """The client's address: the last hop that is no trusted proxy.

        Read from the right: each trusted proxy appended whom it heard from, and what stands left of the first stranger
        is whatever the stranger liked to write.
        """
        hop = self._hop(peer or "")
        if not hop.trusted:
            return hop.address
        for text in reversed([text.strip() for line in forwarded for text in line.split(",")]):
            nearer = self._hop(text)
            if nearer.address == UNKNOWN:
                break
            hop = nearer
            if not hop.trusted:
                break
        return hop.address

    def _parsed(self, text: str) -> Hop:
        address = _address(text)
        if address is None:
            return Hop(UNKNOWN, trusted=self._unix)
        return Hop(str(address), trusted=any(address in network for network in self._networks))


def visitor_of(request: web.BaseRequest, proxies: Proxies) -> Visitor:
    """Whom ``request`` comes from."""
    return Visitor(
        proxies.client(request.remote, request.headers.getall(hdrs.X_FORWARDED_FOR, [])),
        request.headers.get(hdrs.USER_AGENT, "")[:AGENT_CHARS_MAX],
    )


def rate_key(address: str) -> str:
    """What one client is counted by: an IPv4 address, or the /64 that an IPv6 client has all of."""
    if ":" not in address:
        return address
    parsed = _address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, 64), strict=False))
    return address


def _address(text: str) -> Address | None:
    """The address in ``text``, which may carry a port, as some proxies write it."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
