"""Where a request comes from."""

import pytest

from protocol.gateway.addresses import Proxies, rate_key

PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # A stranger may write what it likes.
        ("192.0.2.9", ["1.1.1.1"], "192.0.2.9"),
        (PROXY, ["192.0.2.1"], "192.0.2.1"),
        # What stands left of the client came from the client.
        (PROXY, ["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (PROXY, ["6.6.6.6", "192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (PROXY, ["192.0.2.1, nonsense"], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, [], PROXY),
        (PROXY, ["10.0.0.3"], "10.0.0.3"),
        (PROXY, ["192.0.2.1:5678"], "192.0.2.1"),
        (PROXY, ["[2001:db8::1]:443"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        (None, ["192.0.2.1"], "unknown"),
        ("", ["192.0.2.1"], "unknown"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str | None, forwarded: list[str], client: str) -> None:
    assert Proxies(["10.0.0.0/8"]).client(peer, forwarded) == client


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert Proxies([]).client("127.0.0.1", ["192.0.2.1"]) == "127.0.0.1"


def test_a_unix_socket_is_trusted_when_it_is_named() -> None:
    assert Proxies(["unix"]).client(None, ["192.0.2.1"]) == "192.0.2.1"


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Proxies(["nonsense"])


def test_an_ipv6_client_is_counted_by_its_network() -> None:
    assert rate_key("2001:db8:1:2:3::4") == rate_key("2001:db8:1:2:ffff::1")
    assert rate_key("2001:db8:1:2::1") != rate_key("2001:db8:1:3::1")
    assert rate_key("192.0.2.1") != rate_key("192.0.2.2")
