"""Passwords: argon2id, off the loop, so many at once and no more."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from protocol.errors import Overloaded

T = TypeVar("T")

# OWASP's second choice of parameters: 19 MiB and about 20 ms of one core.
MEMORY_KIB = 19_456
PASSES = 2
THREADS = 2
WAITING_MAX = 32
"""Hashes under way or waiting: at 20 ms each, the last waits a third of a second."""


class Passwords:
    """Hashes and verifies. Raises ``Overloaded`` when too many wait."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._waiting = 0
        # Nobody's password: verifying against it takes as long as against a real one.
        self._decoy = self._hasher.hash("")

    async def hash(self, password: str) -> str:
        return await self._run(self._hasher.hash, password)

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether ``password`` is that of the hash; without one no, after as long a time."""
        matches = await self._run(self._matches, password, password_hash or self._decoy)
        return matches and password_hash is not None

    def outdated(self, password_hash: str) -> bool:
        """Whether a hash was made with other parameters than are used now."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (Argon2Error, InvalidHashError):
            return False

    async def _run(self, work: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= WAITING_MAX:
            raise Overloaded("too many sign-ins at once")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1
