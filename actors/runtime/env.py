"""What an actor's host may not get by itself: time, chance and new ids; so that a whole cluster can be simulated."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple
from uuid import UUID

from actors.keys import ID_LOW_BITS


class Env(NamedTuple):
    clock: Callable[[], float]
    """Seconds since 1970."""
    monotonic: Callable[[], float]
    """Seconds of a clock that never goes back and counts suspension."""
    rng: Random


def new_uuid(env: Env) -> UUID:
    return UUID(int=env.rng.getrandbits(128), version=4)


class Ids:
    """Time-ordered 63-bit ids: Unix milliseconds, then 20 random bits; of those for now, each above the last."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._last = 0

    def next(self) -> int:
        self._last = max(self._last + 1, self.at(int(self._env.clock() * 1000)))
        return self._last

    def at(self, unix_ms: int) -> int:
        """An id for something of another time."""
        return max(1, unix_ms) << ID_LOW_BITS | self._env.rng.getrandbits(ID_LOW_BITS)
