"""Home timelines and the posts of one author, as the store is asked.

A post's *place* is its ``published_id``: time-ordered like an id, and what pages and timelines go by. An edge of the
graph is in one of three states. *pulled*: whoever reads looks at the followee's posts. *pushed*: from the timeline's
floor on, every post of the followee is in it, or is the subject of a fan-out that goes on. Between the two *opening*:
posts are pushed, and looked for all the same, until ``tend`` has copied what is older. So a page is right in every
state, and whatever happens between two statements: the state only says where to look.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

from msgspec import Struct

Strategy = Literal["push", "pull", "hybrid", "adaptive"]

ENTRIES_MAX: Final = 800
"""Entries of one timeline, after it was tended."""
PLACE_MAX: Final = (1 << 63) - 1
"""Beyond every place."""


class Listed(NamedTuple):
    """A post on a page: which, and what tells its present state from any other."""

    place: int
    post_id: int
    changed_offset: int
    author_version: int
    """Of the author's account; 0 where the author is not shown."""
    version: int
    views: int
    viewers: int
    mine: dict[str, int]
    """What the reader has given it: kind → amount."""
    bookmarked: bool
    """Whether the reader has a bookmark on it."""

    @property
    def shown(self) -> tuple[object, ...]:
        """What tells how it is shown to everyone."""
        return self[1:7]


class Page(NamedTuple):
    listed: list[Listed]
    """By place, descending."""
    horizon: int
    """Transactions below it had ended when the page was read: what they wrote is on it, if it belongs there."""


class Wishes(Struct, frozen=True, kw_only=True):
    """Which edges of a reader are to be pushed."""

    strategy: Strategy
    here: bool
    """Whether the reader comes at all; for ``adaptive``."""
    reading: int
    """How often, by the scale of ``UserStateRow.reading``."""
    margin: int
    """A pushed edge is closed only if its author's ``posting`` is not below ``reading`` by so much more."""


class Tended(NamedTuple):
    unfinished: bool
    """Some edges are opening: tend again, and they will be pushed."""
    open: bool
    """Some edges are opening or pushed."""


class Timelines(Protocol):
    """Every method may be repeated, and may run while any other does."""

    async def page(self, reader: int, *, below: int = PLACE_MAX, limit: int, kinds: Sequence[str] = ()) -> Page:
        """The newest posts below a place that are the reader's own or by those whom the reader follows.

        Not among them: what is deleted, or embeds a page; and what is by someone whom a block stands between, whom the
        reader mutes now, or who has deleted the account. ``mine`` is of these ``kinds`` of reaction.
        """
        ...

    async def posts_of(
        self, author: int, *, reader: int, below: int = PLACE_MAX, limit: int, kinds: Sequence[str] = ()
    ) -> Page:
        """The author's newest posts below a place; none while a block stands between author and reader (0: nobody)."""
        ...

    async def push(self, author: int, place: int, *, after: int, limit: int) -> int | None:
        """Push a post to the next ``limit`` followers beyond account ``after`` whose edges are open.

        Returns the last of them, or None if there are no more.
        """
        ...

    async def close_edges(self, author: int, *, limit: int) -> bool:
        """Have ``limit`` more followers pull the author's posts; whether any are left."""
        ...

    async def tend(
        self, reader: int, wishes: Wishes, *, entries_max: int = ENTRIES_MAX, edges_max: int = 100
    ) -> Tended:
        """Bring the timeline of ``reader`` a step nearer to ``wishes``, and trim it to about ``entries_max``.

        Edges that were opening before are pushed from now on, at most ``edges_max`` of them: what they lack is copied.
        Others are closed or begin to open. Entries that show nothing any more are purged.
        """
        ...
