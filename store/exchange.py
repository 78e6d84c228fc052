"""What this server and other systems give each other over Redis: what was published, and what is to be published.

Both are open to whoever reaches the Redis. ``PUBLISHED`` is a channel, which keeps nothing for those who do not listen.
``SUBMITTED`` is a stream, of which all workers together take each entry until one of them has finished it.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

PUBLISHED: Final = "plaudit:published"
SUBMITTED: Final = "plaudit:publish"
REJECTED: Final = "plaudit:publish:rejected"
GROUP: Final = "plaudit"
"""The consumer group of the stream, and its only consumer: nothing is kept of workers that are gone."""
REJECTED_MAX: Final = 10_000
"""About so many rejected entries are kept, the last ones."""
TAKEN_AGAIN_S: Final = 5.0
"""An entry that was taken so long ago, and is not finished, is taken again: who had it may have died."""
WAIT_S: Final = 2.0
"""So long is waited for an entry."""


class ExchangeUnavailable(Exception):
    """The exchange cannot be reached, or refuses: what was asked may be done or not. Ask again later."""


class Entry(NamedTuple):
    """What another system has handed in."""

    id: str
    """Its own: of no other entry, and the same whenever it is taken."""
    fields: tuple[tuple[bytes, bytes], ...]


class Rejection(NamedTuple):
    entry: Entry
    code: str
    reason: str
    """One line, for people."""


class Backlog(NamedTuple):
    waiting: int
    """Entries that are not finished."""
    pending: int
    """Those of them that were taken."""


class Exchange(Protocol):
    """Every method raises ``ExchangeUnavailable``."""

    async def announce(self, messages: Sequence[bytes]) -> None:
        """Say ``messages`` to whoever listens, in order; returns once the exchange has them all."""
        ...

    async def take(self, limit: int) -> list[Entry]:
        """At most ``limit`` entries to be finished: such as were taken ``TAKEN_AGAIN_S`` ago, then new ones, in order.

        Waits ``WAIT_S`` for the first; there may be none.
        """
        ...

    async def finish(self, accepted: Sequence[str], rejected: Sequence[Rejection]) -> None:
        """Nobody is to take these entries again. Those that are rejected are kept with the reason, for people to see.

        To do it again harms nothing; a rejection is then kept twice.
        """
        ...

    async def backlog(self) -> Backlog: ...
