"""How often an address and an account may ask."""

import pytest

from protocol.gateway.limits import Allowance, Limits, TooManyRequests
from protocol.gateway.settings import GatewaySettings, Rate

SETTINGS = GatewaySettings(secret=b"", address_rate=Rate(1.0, 2), account_rate=Rate(0.5, 1), sign_in_rate=Rate(0.1, 1))


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_tells_what_is_left_and_when_to_come_back() -> None:
    clock = Hand()
    limits = Limits(SETTINGS, clock)
    assert limits.of_address("192.0.2.1") == Allowance(limit=2, remaining=1, reset_s=1)
    assert limits.of_address("192.0.2.1") == Allowance(limit=2, remaining=0, reset_s=2)
    with pytest.raises(TooManyRequests) as refusal:
        limits.of_address("192.0.2.1")
    assert refusal.value.code == "too_many_requests"
    assert refusal.value.retry_after_s == pytest.approx(1.0)
    assert refusal.value.allowance.remaining == 0
    clock.now += 1.0
    limits.of_address("192.0.2.1")


def test_one_address_or_account_does_not_use_up_anothers() -> None:
    limits = Limits(SETTINGS, Hand())
    limits.of_account(1)
    limits.of_account(2)
    with pytest.raises(TooManyRequests):
        limits.of_account(1)
    limits.of_sign_in("192.0.2.1")
    limits.of_sign_in("192.0.2.2")
    with pytest.raises(TooManyRequests):
        limits.of_sign_in("192.0.2.1")


def test_the_addresses_of_one_ipv6_network_share_a_bucket() -> None:
    limits = Limits(SETTINGS, Hand())
    limits.of_sign_in("2001:db8::1")
    with pytest.raises(TooManyRequests):
        limits.of_sign_in("2001:db8::2")
