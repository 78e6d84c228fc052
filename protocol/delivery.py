"""What passes between the hub, which decides what a subscriber gets, and the connection, which only writes.

The hub encodes a publication once; a ``Form`` turns what a tick has gathered into one frame, once for all connections
of that form, and has the same bytes object written to all their sockets; a ``Sink`` is one of them.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from protocol.commands import Person
from protocol.cursor import Cursor


class Published(NamedTuple):
    """One publication of a stream. ``data`` is its JSON; without an offset it is volatile (counters, typing)."""

    offset: int | None
    data: bytes


class Pipe(Protocol):
    """The way out to one client. No method waits; after the socket has closed each is a no-op."""

    def write(self, data: bytes) -> int:
        """Hand ``data`` to the transport as it is. Returns what it holds then that the kernel has not taken."""
        ...

    def buffered_bytes(self) -> int:
        """What the transport holds that the kernel has not taken."""
        ...


class Form(Protocol):
    """A way to put publications on a wire. One object per form, shared by all connections: the hub groups by it."""

    names_stream: bool
    """Whether the bytes say whose stream it is; else they are the same for all streams of an epoch."""

    def encode(self, key: str, epoch: str, items: Sequence[Published]) -> bytes:
        """One write's bytes (frame header and all) that carry ``items`` of the stream of ``key`` in order."""
        ...

    def write(self, pipes: Sequence[Pipe], data: bytes) -> Sequence[tuple[int, int]]:
        """Write the same bytes to the pipes of many sinks of this form, as ``Pipe.write`` does to one.

        Returns (place in ``pipes``, bytes held) of those whose transport holds something then.
        """
        ...


def write_each(pipes: Sequence[Pipe], data: bytes) -> list[tuple[int, int]]:
    """``Form.write`` by one call a pipe."""
    return [(place, held) for place, pipe in enumerate(pipes) if (held := pipe.write(data))]


class Sink(Pipe, Protocol):
    """One connection, as the hub sees it."""

    form: Form
    client: str
    """Unique id of the connection."""
    by: Person

    @property
    def pipe(self) -> Pipe:
        """Its way out, without what else it is; from ``Subscription.start`` on."""
        ...

    def close(self, code: int, reason: str) -> None:
        """End the connection: slow consumer, shutdown, forced."""
        ...


PRESENT_LISTED_MAX: Final = 100
"""If more connections are subscribed to a stream, on all workers, they are counted, and not listed."""


class Present(NamedTuple):
    """One connection that is subscribed to a stream."""

    client: str
    by: Person


class Presence(NamedTuple):
    """All connections that are subscribed to a stream."""

    clients: int
    users: int
    """The people with an account among them, each once."""
    listed: Sequence[Present]
    """All of them, or nobody if there are more than ``PRESENT_LISTED_MAX``."""


class Subscription(Protocol):
    """One sink's interest in one stream. Made by ``attach``; holds everything back until ``start``."""

    def start(self) -> None:
        """Deliver from now on what follows the first page: call it when the reply has been written."""
        ...

    def close(self) -> None:
        """Deliver nothing more; idempotent."""
        ...


class Changed(NamedTuple):
    """What changed on a stream since a cursor: one page."""

    items: Sequence[Published]
    cursor: Cursor
    """The position after them."""
    recovered: bool
    """False if the cursor was none of this stream: reload, and go on from ``cursor``."""
    more: bool
    counters: bytes | None
    """On the last page: JSON of a ``CountersChanged``, with every comment that was reacted to since."""


class Attached(NamedTuple):
    """The answer to an interest in a stream."""

    subscription: Subscription
    epoch: str
    offset: int
    """The position that ``first`` continues from: the client's own if it recovers, else the head."""
    recovered: bool
    """False if the client gave no cursor, or one that is foreign or beyond the head: it must reload."""
    first: Sequence[Published]
    """The first page of what was missed; later pages follow as ordinary publications after ``start``."""
    counters: bytes
    """JSON of what the stream shows besides, as of now: ``Latest``; of a feed, ``FeedOpened``."""
