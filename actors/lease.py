"""For how long a worker may believe that it owns its slots. Times are seconds of a clock that counts suspension."""

LEASE_TTL_S = 3.0
LEASE_TRUSTED_S = 0.8 * LEASE_TTL_S
LEASE_RENEW_S = 1.0
# One renewal may fail before the lease is distrusted: a lost packet is no failover.
assert LEASE_RENEW_S * 2 < LEASE_TRUSTED_S


class Lease:
    """Trusted until 0.8 TTL after the moment *before* the renewal was sent: the store began to count later."""

    def __init__(self) -> None:
        self._trusted_until = float("-inf")
        self._held_since = float("inf")

    def renewed(self, sent_at: float) -> None:
        if sent_at >= self._trusted_until:
            self._held_since = sent_at
        self._trusted_until = max(self._trusted_until, sent_at + LEASE_TRUSTED_S)

    def lost(self) -> None:
        self._trusted_until = float("-inf")
        self._held_since = float("inf")

    def held(self, now: float) -> bool:
        return now < self._trusted_until

    def may_judge(self, now: float) -> bool:
        """Whether others may be declared dead: after an absence of the store, they too need the time to come back."""
        return self.held(now) and now - self._held_since >= LEASE_TTL_S
