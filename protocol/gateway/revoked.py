"""Sessions and accounts that have ended: what was signed for them is refused, and their connections end, everywhere.

The worker on which one ends tells the others, and waits a little until they have heard; this may be lost. After any
loss that is noticed, and every some seconds for those that are not, each reads from the store what has ended of late.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from protocol.errors import DomainError
from protocol.gateway.backend import Backend
from protocol.gateway.identity import Identity

log = logging.getLogger(__name__)

READ_INTERVAL_S: Final = 15.0
OVERLAP_S: Final = 60.0
"""So much is read twice: a row is there some time after the moment that it bears, which is by the writer's clock."""
RETRY_S: Final = 1.0
SESSION_ENDED: Final = "session ended"
ACCOUNT_ENDED: Final = "account ended"


class Revoked:
    """Sessions and accounts whose access tokens are refused, for as long as such a token can live.

    ``clock`` gives Unix seconds.
    """

    def __init__(self, backend: Backend, clock: Callable[[], float], access_ttl_s: int) -> None:
        self.session_ended: Callable[[str], None] = lambda session: None
        """Told of each session that ends."""
        self.account_ended: Callable[[int], None] = lambda account: None
        """Told of each account that is deleted, perhaps more than once."""
        self._backend = backend
        self._clock = clock
        self._ttl_s = access_ttl_s
        self._until_s: dict[str, float] = {}
        self._read_at_s: float | None = None
        self._interrupted = asyncio.Event()
        backend.on_told(SESSION_ENDED, self._hear_of_session)
        backend.on_told(ACCOUNT_ENDED, self._hear_of_account)
        backend.on_interrupted(self._interrupted.set)

    def refuses(self, identity: Identity) -> bool:
        return f"session:{identity.session}" in self._until_s or f"account:{identity.person.id}" in self._until_s

    def __len__(self) -> int:
        return len(self._until_s)

    # -- on this worker

    async def end_session(self, session: str) -> None:
        """``session`` ended just now. Returns when all live workers know, as far as they can be told within 1 s."""
        if self._session_ended(session, self._clock()):
            await self._backend.tell(SESSION_ENDED, session.encode())

    async def end_account(self, account: int) -> None:
        """``account`` was deleted just now. Returns as ``end_session`` does."""
        self._account_ended(account, self._clock())
        await self._backend.tell(ACCOUNT_ENDED, str(account).encode())

    # -- on the others

    def _hear_of_session(self, session: bytes) -> None:
        self._session_ended(session.decode(), self._clock())

    def _hear_of_account(self, account: bytes) -> None:
        self._account_ended(int(account), self._clock())

    async def read(self) -> None:
        """Learn from the store what has ended since the last time. Raises ``Unavailable``."""
        now = self._clock()
        since_s = now - self._ttl_s if self._read_at_s is None else self._read_at_s - OVERLAP_S
        for session, at_ms in await self._backend.revoked_sessions(int(since_s * 1000)):
            self._session_ended(session, at_ms / 1000)
        for account, at_ms in await self._backend.ended_accounts(int(since_s * 1000)):
            self._account_ended(account, at_ms / 1000)
        self._read_at_s = now

    async def keep_reading(self) -> None:
        """Read at once after a loss, and every ``READ_INTERVAL_S``; until cancelled."""
        pause_s = READ_INTERVAL_S
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._interrupted.wait(), pause_s)
            self._interrupted.clear()
            try:
                await self.read()
                pause_s = READ_INTERVAL_S
            except DomainError as error:
                log.warning("not known what has ended: %s", error)
                pause_s = RETRY_S

    # -- inside

    def _session_ended(self, session: str, at_s: float) -> bool:
        """Whether that is new."""
        if not self._add(f"session:{session}", at_s):
            return False
        self.session_ended(session)
        return True

    def _account_ended(self, account: int, at_s: float) -> None:
        self._add(f"account:{account}", at_s)
        self.account_ended(account)

    def _add(self, key: str, at_s: float) -> bool:
        """Whether it is not known yet."""
        now = self._clock()
        # About in order of time; what comes late stays a little longer than it must.
        for known, until_s in list(self._until_s.items()):
            if until_s > now:
                break
            del self._until_s[known]
        if key in self._until_s:
            return False
        if at_s + self._ttl_s > now:
            self._until_s[key] = at_s + self._ttl_s
        return True
