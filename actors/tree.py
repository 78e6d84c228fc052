"""The tree of a post's comments, without their texts: who answers whom, in what state, in what order.

Comments are numbered 1, 2, 3 … as they arrive, and a reply comes after what it answers. So the tree is a few arrays,
children stand in ascending order by themselves, and one backward pass counts all descendants. Reading a page costs
what the page shows, not what the post holds, however deep or wide that is.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

Order = Literal["newest", "oldest", "best"]

VISIBLE, HELD, DELETED = 0, 1, 2
STATES: dict[str, int] = {"visible": VISIBLE, "held": HELD, "deleted": DELETED}
STATE_MASK = 3
PINGBACK = 4
SHOWN = (VISIBLE, DELETED)
"""The flags of what has a place on the page."""
ROOT = 0


class Placed(NamedTuple):
    """A comment on a page: its number, its depth, its direct replies, and the descendants not shown with it."""

    id: int
    depth: int
    replies: int
    hidden: int


class Page(NamedTuple):
    placed: list[Placed]
    next: str | None
    """Where the next page begins; None on the last."""


class Counts(NamedTuple):
    """By comment: its direct replies, and everything below it, of what is shown."""

    replies: "array[int]"
    descendants: "array[int]"


class CommentTree:
    """Who answers whom. Numbers out of range are simply not there; nothing here raises for them."""

    __slots__ = ("_best", "_children", "_counts", "_flags", "_levels", "_parents", "_score")

    def __init__(self, score: Callable[[int], int]) -> None:
        self._score = score
        self._parents = array("I", (ROOT,))
        self._flags = bytearray((VISIBLE,))
        self._levels: array[int] | None = None
        """Of the root 0, of its children 1, and so on. What is derived is made for the first page, not for a load."""
        self._children: dict[int, array[int]] | None = None
        self._counts: Counts | None = None
        self._best: dict[int, list[tuple[int, int]]] | None = None

    # -- one comment

    @property
    def last_id(self) -> int:
        return len(self._parents) - 1

    def has(self, id: int) -> bool:
        return 0 < id < len(self._parents)

    def state(self, id: int) -> int:
        return self._flags[id] & STATE_MASK

    def visible(self, id: int) -> bool:
        """Written, neither held nor deleted."""
        return self.has(id) and self.state(id) == VISIBLE

    def shown(self, id: int) -> bool:
        """Has a place on the page: a tombstone has, what is held has not, and a pingback stands apart."""
        return self._flags[id] in SHOWN

    def put(self, id: int, parent: int, state: str, kind: str) -> None:
        """Add the next comment, or change the state of one that is there."""
        flags = STATES[state] | (PINGBACK if kind == "pingback" else 0)
        if id < len(self._parents):
            was_shown = self.shown(id)
            self._flags[id] = flags
            if self.shown(id) is not was_shown:
                self._counts = None
            return
        # A number that was never stored (its commit was refused) leaves a hole: nothing, held for ever.
        while len(self._parents) < id:
            self._append(ROOT, HELD | PINGBACK)
        self._append(parent, flags)
        self._count_one_more(id)
        if self._children is not None:
            self._children.setdefault(parent, array("I")).append(id)
        if self._best is not None and parent in self._best:
            insort(self._best[parent], self._rank(id))

    def _append(self, parent: int, flags: int) -> None:
        self._parents.append(parent)
        self._flags.append(flags)
        if self._levels is not None:
            self._levels.append(self._levels[parent] + 1)

    def rescored(self, id: int, before: int) -> None:
        """The score of a comment is no longer ``before``."""
        if self._best is None or not self.has(id):
            return
        ranks = self._best.get(self._parents[id])
        if ranks is not None:
            ranks.pop(bisect_left(ranks, (-before, -id)))
            insort(ranks, self._rank(id))

    # -- pages

    def level(self, parent: int, order: Order, limit: int, after: str | None) -> Page:
        """The children of ``parent``, each with the count of what hangs on it unseen."""
        counts, depth = self._count(), self._leveled()[parent]
        placed: list[Placed] = []
        for id in self._siblings(parent, order, after):
            if not self.shown(id):
                continue
            if len(placed) == limit:
                return Page(placed, self._mark(placed[-1].id, order))
            placed.append(Placed(id, depth, counts.replies[id], counts.descendants[id]))
        return Page(placed, None)

    def threads(self, parent: int, order: Order, limit: int, after: str | None) -> Page:
        """Whole threads below ``parent``, each comment before its replies; these oldest first, the top in ``order``."""
        counts, levels = self._count(), self._leveled()
        placed: list[Placed] = []
        last_top = ""
        for top, id in self._walk(parent, order, after):
            if not self.shown(id):
                continue
            if len(placed) == limit:
                return Page(placed, f"{last_top}.{placed[-1].id}")
            last_top = top
            placed.append(Placed(id, levels[id] - 1, counts.replies[id], 0))
        return Page(placed, None)

    def held(self, limit: int, after: str | None) -> Page:
        """What waits for approval, oldest first."""
        levels = self._leveled()
        placed: list[Placed] = []
        for id in range(_number(after) + 1, len(self._parents)):
            # A hole is flagged both held and pingback, and parentless: it has no text to approve.
            if self.state(id) == HELD and not self._flags[id] & PINGBACK:
                if len(placed) == limit:
                    return Page(placed, str(placed[-1].id))
                placed.append(Placed(id, levels[id] - 1, 0, 0))
        return Page(placed, None)

    def pingbacks(self, limit: int, after: str | None) -> Page:
        placed: list[Placed] = []
        for id in range(_number(after) + 1, len(self._parents)):
            if self._flags[id] == VISIBLE | PINGBACK:
                if len(placed) == limit:
                    return Page(placed, str(placed[-1].id))
                placed.append(Placed(id, 0, 0, 0))
        return Page(placed, None)

    # -- snapshot

    def dump(self) -> tuple[bytes, bytes]:
        return self._parents.tobytes(), bytes(self._flags)

    def load(self, parents: bytes, flags: bytes) -> None:
        self._parents = array("I")
        self._parents.frombytes(parents)
        self._flags = bytearray(flags)

    # -- inside: each of these passes over all comments once; with 10,000 it is a page's time, so they are spelt out

    def _leveled(self) -> "array[int]":
        if self._levels is None:
            levels = [0]
            for parent in islice(self._parents, 1, None):
                levels.append(levels[parent] + 1)
            self._levels = array("I", levels)
        return self._levels

    def _child_lists(self) -> dict[int, "array[int]"]:
        if self._children is None:
            children = self._children = {}
            for id, parent in enumerate(islice(self._parents, 1, None), 1):
                siblings = children.get(parent)
                if siblings is None:
                    children[parent] = array("I", (id,))
                else:
                    siblings.append(id)
        return self._children

    def _count(self) -> "Counts":
        if self._counts is None:
            replies, descendants = ([0] * len(self._parents) for _ in range(2))
            each = zip(range(self.last_id, ROOT, -1), reversed(self._parents), reversed(self._flags), strict=False)
            for id, parent, flags in each:
                # What hangs on a comment that is not shown cannot be reached, and is not counted either.
                if flags in SHOWN:
                    replies[parent] += 1
                    descendants[parent] += descendants[id] + 1
            self._counts = Counts(array("I", replies), array("I", descendants))
        return self._counts

    def _count_one_more(self, id: int) -> None:
        if self._counts is None:
            return
        replies, descendants = self._counts
        while len(replies) <= id:
            replies.append(0)
            descendants.append(0)
        if self.shown(id):
            replies[self._parents[id]] += 1
        while id != ROOT and self.shown(id):
            id = self._parents[id]
            descendants[id] += 1

    def _rank(self, id: int) -> tuple[int, int]:
        return -self._score(id), -id

    def _ranks(self, parent: int) -> list[tuple[int, int]]:
        if self._best is None:
            self._best = {}
        if parent not in self._best:
            self._best[parent] = sorted(self._rank(child) for child in self._child_lists().get(parent, ()))
        return self._best[parent]

    def _mark(self, id: int, order: Order) -> str:
        """Where a sibling stands, in a form that survives a change of its score."""
        return f"{self._score(id)}.{id}" if order == "best" else str(id)

    def _siblings(self, parent: int, order: Order, after: str | None) -> Iterator[int]:
        """The children of ``parent`` in ``order``, beyond the mark ``after``."""
        if order == "best":
            ranks = self._ranks(parent)
            score, id = _numbers(after, 2)
            start = bisect_right(ranks, (-score, -id)) if after else 0
            return (-ranks[at][1] for at in range(start, len(ranks)))
        children: Sequence[int] = self._child_lists().get(parent, ())
        mark = _number(after)
        if order == "oldest":
            start = bisect_right(children, mark) if after else 0
            return (children[at] for at in range(start, len(children)))
        end = bisect_left(children, mark) if after else len(children)
        return (children[at] for at in range(end - 1, -1, -1))

    def _walk(self, parent: int, order: Order, after: str | None) -> Iterator[tuple[str, int]]:
        """(mark of its top, id) in reading order, beyond ``after``: such a mark, a dot, the last comment shown."""
        levels = self._leveled()
        level = levels[parent] + 1
        mark, _, last = (after or "").rpartition(".")
        if mark:
            # As it stood when its thread began: by its score of now, its siblings would be shown again or never.
            top = ".".join(map(str, _numbers(mark, 2 if order == "best" else 1)))
            seen = _number(last)
            if self.has(seen) and levels[seen] >= level:
                for id in self._below(seen, level):
                    yield top, id
        for id in self._siblings(parent, order, mark or None):
            top = self._mark(id, order)
            yield top, id
            if self.shown(id):
                for reply in self._below(id, level):
                    yield top, reply

    def _below(self, seen: int, level: int) -> Iterator[int]:
        """What follows ``seen`` in its thread, whose top is at ``level``; not what hangs on a comment not shown."""
        children, levels = self._child_lists(), self._leveled()
        id = seen
        while True:
            replies = children.get(id, ()) if self.shown(id) else ()
            if replies:
                id = replies[0]
            else:
                while levels[id] > level:
                    siblings = children[self._parents[id]]
                    at = bisect_right(siblings, id)
                    if at < len(siblings):
                        id = siblings[at]
                        break
                    id = self._parents[id]
                else:
                    return
            yield id


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 10 else 0


def _numbers(text: str | None, count: int) -> list[int]:
    parts = (text or "").split(".")
    return [_number(part) for part in parts[:count]] + [0] * (count - len(parts))
