"""Many edges of the graph at once, from elsewhere, while no worker is there to write them: as the store is asked.

Everything is one transaction, which no worker can begin beside. Whoever was declared live but let its lease run out is
fenced: it will find its slots to be nobody's.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from msgspec import Struct

from store.rows import AlarmRow
from store.timelines import Strategy


class Served(Exception):
    """A worker lives; nothing was written."""


class FollowsTooMany(Exception):
    """Somebody would follow more people than one may; nothing was written."""

    def __init__(self, handle: str, count: int) -> None:
        super().__init__(f"{handle} would follow {count:,} people")
        self.handle = handle
        self.count = count


class Named(NamedTuple):
    """A person as the list has it, who is a user of the host site under that name."""

    name: str
    """At most 200 characters; the ``id`` of a user in the host's tokens."""
    handle: str
    """At most 30 characters, in its kept form; for who has no account yet. If it is taken, it gets an ending."""


class Rules(Struct, frozen=True, kw_only=True):
    """What the site holds people and edges to."""

    strategy: Strategy
    celebrity_followers: int
    following_max: int
    now_ms: int
    tending: Callable[[int], AlarmRow]
    """The alarm by which the timeline of an account is tended for the first time."""


class Added(Struct, kw_only=True):
    """What became of the edges so far."""

    people: int = 0
    """Who had no account before."""
    edges: int = 0
    """That are new."""
    left_out: int = 0
    """Between two whom a block keeps apart, or of an account that was deleted; each time that they were given."""


class EdgeWriter(Protocol):
    added: Added

    async def add(self, edges: Sequence[tuple[Named, Named]]) -> None:
        """Take in edges, follower first, of which any may be there already. Nobody follows themselves."""
        ...

    async def finish(self, progress: Callable[[int], None]) -> None:
        """Write what was taken in, and count it; ``progress`` is told how many edges are written. Then no more.

        Raises:
            FollowsTooMany: As it says.
        """
        ...


class Edges(Protocol):
    def importing(self, rules: Rules) -> AbstractAsyncContextManager[EdgeWriter]:
        """A writer whose edges are there once the context is left without an error, all of them, or none.

        An edge to who has published nothing is pushed at once where ``rules`` ask for it, for there is nothing to copy;
        other edges are pulled, and arranged when their reader comes.

        Raises:
            Served: As it says.
            StoreUnavailable: The store went away; on leaving it is unknown whether anything was written.
        """
        ...
