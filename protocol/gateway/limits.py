"""How often an address and an account may ask; what the ``RateLimit-*`` headers say of it."""

from collections.abc import Callable, Hashable
from math import ceil
from typing import NamedTuple

from protocol.buckets import Buckets
from protocol.errors import Refused
from protocol.gateway.addresses import rate_key
from protocol.gateway.settings import GatewaySettings, Rate


class Allowance(NamedTuple):
    """What is left of one bucket after a request."""

    limit: int
    remaining: int
    reset_s: int
    """Seconds until it is full again, rounded up."""

    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
        }


class TooManyRequests(Refused):
    """A bucket is empty."""

    def __init__(self, detail: str, allowance: Allowance, retry_after_s: float) -> None:
        super().__init__("too_many_requests", detail, retry_after_s=retry_after_s)
        self.allowance = allowance


class Limits:
    """The buckets of this process. ``timer`` gives seconds of a monotonic clock."""

    def __init__(self, settings: GatewaySettings, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._addresses = _buckets(settings.address_rate)
        self._accounts = _buckets(settings.account_rate)
        self._sign_ins = _buckets(settings.sign_in_rate)

    def of_address(self, address: str) -> Allowance:
        """Count a request. Raises ``TooManyRequests``."""
        return self._take(self._addresses, rate_key(address), "requests from this address")

    def of_sign_in(self, address: str) -> Allowance:
        """Count a sign-up, a sign-in or a guest. Raises ``TooManyRequests``."""
        return self._take(self._sign_ins, rate_key(address), "sign-ins from this address")

    def of_account(self, account: int) -> Allowance:
        """Count a write. Raises ``TooManyRequests``."""
        return self._take(self._accounts, account, "writes of this account")

    def write_of(self, account: int) -> None:
        """``of_account``, where nobody is told what is left."""
        now = self._timer()
        if self._accounts.of(account, now).take(now):
            self.of_account(account)

    def _take(self, buckets: Buckets, key: Hashable, what: str) -> Allowance:
        now = self._timer()
        bucket = buckets.of(key, now)
        retry_after_s = bucket.take(now)
        allowance = Allowance(buckets.burst, bucket.remaining(now), ceil(bucket.full_in_s(now)))
        if retry_after_s:
            raise TooManyRequests(f"too many {what}", allowance, retry_after_s)
        return allowance


def _buckets(rate: Rate) -> Buckets:
    return Buckets(rate.per_s, rate.burst)
