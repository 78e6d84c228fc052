"""Token buckets: how often something may be done. Time is an argument, in seconds of any one monotonic clock."""

from collections import OrderedDict
from collections.abc import Hashable


class TokenBucket:
    """``per_s`` tokens a second on average, ``burst`` at once."""

    __slots__ = ("_at", "_burst", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: int, now: float) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = now

    def take(self, now: float) -> float:
        """Take a token and return 0, or take none and return the seconds after which there is one."""
        self._fill(now)
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._per_s

    def remaining(self, now: float) -> int:
        """Whole tokens there are."""
        self._fill(now)
        return int(self._tokens)

    def full_in_s(self, now: float) -> float:
        """Seconds after which nothing of what was taken shows any more."""
        self._fill(now)
        return (self._burst - self._tokens) / self._per_s

    def _fill(self, now: float) -> None:
        # Without min and max, which take longer than all else here. A clock that steps back gives and takes nothing.
        if now > self._at and self._tokens < self._burst:
            tokens = self._tokens + (now - self._at) * self._per_s
            self._tokens = tokens if tokens < self._burst else self._burst
        self._at = now


class Buckets:
    """One bucket per key (an account, an address), at most ``keys_max`` of them: the least recently used is forgotten.

    A forgotten bucket is a full one: as many keys as that within one bucket's time are more than one abuser.
    """

    def __init__(self, per_s: float, burst: int, *, keys_max: int = 100_000) -> None:
        self._per_s = per_s
        self.burst = burst
        self._keys_max = keys_max
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, key: Hashable, now: float) -> TokenBucket:
        """The bucket of ``key``, which counts as used."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._per_s, self.burst, now)
            if len(self._buckets) > self._keys_max:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket
