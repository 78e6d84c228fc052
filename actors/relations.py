"""How a person stands to those whom a decision is about: their side as it is stored, one's own as it will be.

And so to posts: what bookmarks there are.
"""

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from store.finding import Bookmarked
from store.graph import Relation


class Relations:
    """A small cache: filled for each decision, folded into by its events, emptied once these are durable.

    Others write their side at any time, so it is read each time. One's own side is written by this actor alone, and
    what is stored of it may be older than what is folded here.
    """

    def __init__(self) -> None:
        self._stored: dict[int, Relation] = {}
        self._folded: dict[int, dict[str, Any]] = {}

    def provide(self, relations: Iterable[Relation]) -> None:
        self._stored.update((relation.id, relation) for relation in relations)

    def to(self, id: int) -> Relation:
        """The relation to someone that was provided; to someone who never had an account, an empty one."""
        return replace(self._stored.get(id, Relation(id=id)), **self._folded.get(id, {}))

    def knows(self, id: int) -> bool:
        """Whether there ever was such an account, of those provided."""
        return id in self._stored

    def fold(self, id: int, **mine: Any) -> None:
        """Fields of one's own side have new values."""
        self._folded.setdefault(id, {}).update(mine)

    def not_ended(self, field: str, ids: Iterable[int]) -> list[int]:
        """Those of ``ids``, whose ``field`` is stored, that were not folded to nothing since."""
        return [id for id in ids if self._folded.get(id, {}).get(field, True)]

    def clear(self) -> None:
        """Everything is durable."""
        self._stored.clear()
        self._folded.clear()


class Bookmarks:
    """A cache of the same kind, of the posts that a decision is about."""

    def __init__(self) -> None:
        self._stored: dict[int, Bookmarked] = {}
        self._folded: dict[int, bool] = {}

    def provide(self, post: int, stored: Bookmarked) -> None:
        self._stored[post] = stored

    def published(self, post: int) -> bool:
        """Whether a post that was provided can be read."""
        return self._stored[post].published

    def on(self, post: int) -> bool:
        """Whether there is a bookmark on a post that was provided."""
        return self._folded.get(post, self._stored[post].on)

    def fold(self, post: int, *, on: bool) -> None:
        self._folded[post] = on

    def clear(self) -> None:
        """Everything is durable."""
        self._stored.clear()
        self._folded.clear()
