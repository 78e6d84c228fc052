"""Live feeds, as the store is asked: whose posts a feed brings, and which of them came, changed or went since when.

A feed's *position* is the number of a transaction: what was written by those below it is known. Posts do not become
visible in the order of these numbers; so nothing is read of a transaction that is not below the *horizon*, under which
all have ended. What of a read comes to light may have been deleted meanwhile: it is then shown so. Drafts and embedding
pages come to light nowhere.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

NEWEST_OF_EDGE: Final = 10
"""Posts that somebody brings who was followed while the reader was away."""


class Followed(NamedTuple):
    """Whose posts the feed of one reader brings, beside the reader's own."""

    ties: int
    """How often the reader changed that, by the same read: see ``UserStateRow``."""
    authors: list[int]
    until_ms: int | None
    """When the first mute among those ends that hide somebody whom the reader follows."""


class Saved(NamedTuple):
    """A post, and the change that was its last."""

    post_id: int
    author_id: int
    changed_offset: int


class Swept(NamedTuple):
    posts: list[Saved]
    """In the order of their transactions."""
    through: int
    """The position after them."""
    more: bool
    """Whether there was no room for all."""
    ties: dict[int, int]
    """Reader → ties; whoever never changed anything may be missing."""
    now_ms: int
    """The time by the clock that mutes end by, not before what was read."""


class Missed(NamedTuple):
    posts: list[tuple[int, int]]
    """(transaction, post), in order; a post may come twice."""
    through: int
    more: bool


class Feeds(Protocol):
    """All that one method answers is as of one moment. Pages end between two transactions, if need be beyond limits."""

    async def followed(self, readers: Sequence[int]) -> tuple[int, dict[int, Followed]]:
        """The horizon, and whom each of ``readers`` follows who is neither muted nor behind a block nor gone."""
        ...

    async def swept(self, readers: Sequence[int], *, since: int, limit: int) -> Swept:
        """What was saved from position ``since`` on, by anybody, about ``limit`` posts; and how often ``readers``
        changed whom they follow.
        """
        ...

    async def missed(self, reader: int, *, since: int, limit: int) -> Missed:
        """What came, changed or went of the reader's own posts and of those whom the reader follows, from ``since`` on.

        An edge made since brings the followee's newest posts, in its own place.
        """
        ...
