"""Who follows, blocks and mutes whom, as the store is asked; such rows are written by commits, like all others.

An edge *counts* only while no block stands between the two, whichever way. Of people, only those are shown whose
account is there and not deleted.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from store.rows import Author, FollowRow


class Relation(Struct, frozen=True, kw_only=True):
    """How one person (me) and another (``id``) stand to each other, by the rows alone."""

    id: int
    active: bool = False
    """Whether the other has an account, and has not deleted it."""
    edge: FollowRow | None = None
    """Mine to the other, which may not count."""
    back: FollowRow | None = None
    """The other's to me, which may not count either."""
    blocking: bool = False
    blocked_by: bool = False
    muting: bool = False
    """I have muted the other, until then if there is an end: it may be over."""
    muting_until_ms: int | None = None

    @property
    def apart(self) -> bool:
        """Whether a block stands between the two."""
        return self.blocking or self.blocked_by

    @property
    def following(self) -> bool:
        return self.edge is not None and not self.apart

    @property
    def followed_by(self) -> bool:
        return self.back is not None and not self.apart


class Mark(NamedTuple):
    """A place in a list that is sorted by time, then account, newest first."""

    created_ms: int
    account: int


NEWEST: Final = Mark(253_402_300_799_999, (1 << 63) - 1)
"""Before everything: the end of the year 9999."""


class Neighbour(NamedTuple):
    """Somebody in a list of followers, followed, blocked or muted people."""

    person: Author
    created_ms: int
    until_ms: int | None = None
    """When a mute ends."""

    @property
    def mark(self) -> Mark:
        return Mark(self.created_ms, self.person.id)


class Suggestion(NamedTuple):
    person: Author
    paths: int
    """How many of those I follow lead to this person, of those that were looked at."""
    followers: int


class Ties(NamedTuple):
    """Everything that ties an account to others, by rows alone: what is to be undone when it is erased."""

    following: list[int]
    followers: list[int]
    blocking: list[int]
    muting: list[int]

    def __bool__(self) -> bool:
        return any(tuple(self))


PATHS_FROM_MAX: Final = 100
PATHS_THROUGH_MAX: Final = 400
"""Suggestions follow the newest edges of at most so many people whom I followed last, however many there are."""
CANDIDATES_MAX: Final = 500
"""Of those to whom the most paths lead; what else there is to know of a person is only asked of these."""


class Graph(Protocol):
    """Every method raises ``StoreUnavailable``, as those of ``Store`` do."""

    async def relations(self, me: int, ids: Sequence[int]) -> list[Relation]:
        """How ``me`` stands to those of ``ids`` that ever had an account, by id."""
        ...

    async def unwanted(self, me: int, ids: Sequence[int]) -> list[int]:
        """Those of ``ids`` from whom a block, or a mute of ``me``, parts ``me``; a mute that is over too, by id."""
        ...

    async def hidden_from(self, reader: int, ids: Sequence[int]) -> list[int]:
        """Those of ``ids`` of whom ``reader`` sees nothing now, by id.

        Either blocks the other, or ``reader`` mutes them, until a time that has not come by the store's clock.
        """
        ...

    async def followers(self, id: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        """Whose edge to ``id`` counts, newest first, beyond ``before``."""
        ...

    async def following(self, id: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        """To whom an edge of ``id`` counts, newest first, beyond ``before``."""
        ...

    async def blocks(self, me: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        """Whom ``me`` blocks, newest first, beyond ``before``."""
        ...

    async def mutes(self, me: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        """Whom ``me`` mutes now, newest first, beyond ``before``."""
        ...

    async def suggestions(self, me: int, limit: int) -> list[Suggestion]:
        """Who is followed by those whom ``me`` follows: by number of paths, then of followers, then the newest account.

        Neither ``me``, nor whom ``me`` follows or mutes, nor anyone beyond a block. Edges that do not count make no
        path.
        """
        ...

    async def ties(self, id: int, limit: int) -> Ties:
        """What ties ``id`` to others, at most ``limit`` of each kind, by account."""
        ...
