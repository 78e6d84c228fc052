"""What carries messages between workers, and what it promises: little. Redis and its twins pass one contract suite.

Nothing that must not be lost travels here without somebody who notices: who sends numbers what it sends, who listens
is told when it may have missed something, and Postgres has the truth.
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

EVERYONE = "everyone"
"""The inbox that every listener has beside its own."""
PENDING_BYTES_MAX = 64 << 20
"""What may wait to be sent; what comes beyond is dropped, and counted."""
REDIS_MIN = (6, 2)
"""The oldest version of Redis that this program was tried with. Valkey is newer than that."""


class Listener(Protocol):
    """Who gets what arrives. Both are called from the event loop, and do not wait."""

    def received(self, message: bytes) -> None:
        """In the order in which one sender sent them to one inbox."""
        ...

    def interrupted(self) -> None:
        """Messages may have been lost until now: after a lost connection, before anything that follows it."""
        ...


class Bus(Protocol):
    """At most once, in order per sender and inbox. Messages of one turn of the event loop travel together."""

    def joined(self, inbox: str, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Listen at ``inbox`` and at ``EVERYONE``, one's own messages included, until left. Once a bus.

        The name of the inbox is that of no other bus, nor was it ever: messages are known by it to be of one sender.

        Entering waits until the bus is reached, at most a few seconds; leaving, until what was sent is on its way, at
        most a second. One that was made so that it may be away is entered then all the same, and is as after a loss:
        down until it is reached, which the listener is told.

        Raises:
            BusUnavailable: It may not be away, and is not reached, or not one this program may use; the message is one
                line.
        """
        ...

    def send(self, inbox: str, message: bytes) -> None:
        """Hand ``message`` over; never waits or raises. It is lost, and counted, while the bus is away."""
        ...

    def down(self) -> str | None:
        """Why nothing arrives at present; None while all is well. Silence of 5 s is tried by a probe."""
        ...


class BusUnavailable(Exception):
    """The bus cannot be reached at the start, or refuses this program."""


class BusCounts(Protocol):
    """What a bus counts, for the metrics of its owner."""

    def sent(self, messages: int, size_bytes: int) -> None: ...

    def dropped(self, messages: int) -> None:
        """Because the bus was away, or more than ``PENDING_BYTES_MAX`` waited."""
        ...

    def malformed(self) -> None:
        """Something arrived that none of us wrote; it is passed over."""
        ...

    def lag(self, seconds: float) -> None:
        """The time that a probe took to come back."""
        ...
