"""The tree of a post's comments, without their texts: who answers whom, in what state, in what order.

Comments are numbered 1, 2, 3 … as they arrive, and a reply comes after what it answers. So the tree is two arrays (5
bytes a comment), children stand in ascending order by themselves, and one backward pass counts all descendants.
Reading a page costs what the page shows, not what the post holds.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

Order = Literal["newest", "oldest", "best"]

VISIBLE, HELD, DELETED = 0, 1, 2
STATES: dict[str, int] = {"visible": VISIBLE, "held": HELD, "deleted": DELETED}
STATE_MASK = 3
PINGBACK = 4
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


class CommentTree:
    """Who answers whom. Numbers out of range are simply not there; nothing here raises for them."""

    def __init__(self, score: Callable[[int], int]) -> None:
        self._score = score
        self._parents = array("I", (ROOT,))
        self._flags = bytearray((VISIBLE,))
        self._children: dict[int, array[int]] | None = None
        self._descendants: array[int] | None = None
        self._best: dict[int, list[tuple[int, int]]] = {}

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
        return self.state(id) != HELD and not self._flags[id] & PINGBACK

    def put(self, id: int, parent: int, state: str, kind: str) -> None:
        """Add the next comment, or change the state of one that is there."""
        flags = STATES[state] | (PINGBACK if kind == "pingback" else 0)
        if id < len(self._parents):
            if self._flags[id] != flags:
                self._flags[id] = flags
                self._descendants = None
            return
        # A number that was never stored (its commit was refused) leaves a hole: nothing, held for ever.
        while len(self._parents) < id:
            self._parents.append(ROOT)
            self._flags.append(HELD | PINGBACK)
        self._parents.append(parent)
        self._flags.append(flags)
        self._count_one_more(id)
        if self._children is not None:
            self._children.setdefault(parent, array("I")).append(id)
        if parent in self._best:
            insort(self._best[parent], self._rank(id))

    def rescored(self, id: int, before: int) -> None:
        """The score of a comment is no longer ``before``."""
        if not self.has(id):
            return
        ranks = self._best.get(self._parents[id])
        if ranks is not None:
            ranks.pop(bisect_left(ranks, (-before, -id)))
            insort(ranks, self._rank(id))

    # -- pages

    def level(self, parent: int, order: Order, limit: int, after: str | None) -> Page:
        """The children of ``parent``, each with the count of what hangs on it unseen."""
        descendants = self._count_descendants()
        placed: list[Placed] = []
        depth = self._depth(parent) + 1 if parent else 0
        for id in self._siblings(parent, order, after):
            if not self.shown(id):
                continue
            if len(placed) == limit:
                return Page(placed, self._mark(placed[-1].id, parent, order))
            placed.append(Placed(id, depth, self._replies(id), descendants[id]))
        return Page(placed, None)

    def threads(self, parent: int, order: Order, limit: int, after: str | None) -> Page:
        """Whole threads below ``parent``, each comment before its replies; these oldest first, the top in ``order``."""
        placed: list[Placed] = []
        last_top = ROOT
        for top, id, depth in self._walk(parent, order, after):
            if not self.shown(id):
                continue
            if len(placed) == limit:
                return Page(placed, f"{self._mark(last_top, parent, order)}.{placed[-1].id}")
            last_top = top
            placed.append(Placed(id, depth, self._replies(id), 0))
        return Page(placed, None)

    def held(self, limit: int, after: str | None) -> Page:
        """What waits for approval, oldest first."""
        placed: list[Placed] = []
        for id in range(_number(after) + 1, len(self._parents)):
            # A hole is flagged both held and pingback, and parentless: it has no text to approve.
            if self.state(id) == HELD and not self._flags[id] & PINGBACK:
                if len(placed) == limit:
                    return Page(placed, str(placed[-1].id))
                placed.append(Placed(id, self._depth(id), 0, 0))
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

    # -- inside

    def _child_lists(self) -> dict[int, "array[int]"]:
        if self._children is None:
            self._children = {}
            for id in range(1, len(self._parents)):
                self._children.setdefault(self._parents[id], array("I")).append(id)
        return self._children

    def _count_descendants(self) -> "array[int]":
        if self._descendants is None:
            counts = array("I", bytes(4 * len(self._parents)))
            for id in range(len(self._parents) - 1, 0, -1):
                # What hangs on a comment that is not shown cannot be reached, and is not counted either.
                if self.shown(id):
                    counts[self._parents[id]] += counts[id] + 1
            self._descendants = counts
        return self._descendants

    def _count_one_more(self, id: int) -> None:
        if self._descendants is None:
            return
        if len(self._descendants) != id:  # There was a hole before it.
            self._descendants = None
            return
        self._descendants.append(0)
        while id != ROOT and self.shown(id):
            id = self._parents[id]
            self._descendants[id] += 1

    def _replies(self, id: int) -> int:
        return sum(1 for child in self._child_lists().get(id, ()) if self.shown(child))

    def _depth(self, id: int) -> int:
        depth = 0
        while (id := self._parents[id]) != ROOT:
            depth += 1
        return depth

    def _rank(self, id: int) -> tuple[int, int]:
        return -self._score(id), -id

    def _ranks(self, parent: int) -> list[tuple[int, int]]:
        if parent not in self._best:
            self._best[parent] = sorted(self._rank(child) for child in self._child_lists().get(parent, ()))
        return self._best[parent]

    def _mark(self, id: int, parent: int, order: Order) -> str:
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
            return iter(children[bisect_right(children, mark) :] if after else children)
        end = bisect_left(children, mark) if after else len(children)
        return (children[at] for at in range(end - 1, -1, -1))

    def _walk(self, parent: int, order: Order, after: str | None) -> Iterator[tuple[int, int, int]]:
        """(top, id, depth) in reading order, beyond ``after``: the mark of a top, a dot, the last comment shown."""
        base = self._depth(parent) + 1 if parent else 0
        mark, _, last = (after or "").rpartition(".")
        if after:
            top, seen = self._top_of(_number(last), parent), _number(last)
            if top:
                yield from self._below(top, seen, base)
        for top in self._siblings(parent, order, mark or None):
            yield top, top, base
            if self.shown(top):
                yield from self._below(top, top, base)

    def _top_of(self, id: int, parent: int) -> int:
        """The child of ``parent`` that ``id`` hangs on; ROOT if it does not."""
        if not self.has(id):
            return ROOT
        while id != ROOT and self._parents[id] != parent:
            id = self._parents[id]
        return id

    def _below(self, top: int, seen: int, base: int) -> Iterator[tuple[int, int, int]]:
        """The descendants of ``top`` that follow ``seen`` in reading order; not those of a comment not shown."""
        children = self._child_lists()
        depth = base + self._depth(seen) - self._depth(top)
        id = seen
        while True:
            replies = children.get(id, ()) if self.shown(id) else ()
            if replies:
                id, depth = replies[0], depth + 1
            else:
                while id != top:
                    siblings = children[self._parents[id]]
                    at = bisect_right(siblings, id)
                    if at < len(siblings):
                        id = siblings[at]
                        break
                    id, depth = self._parents[id], depth - 1
                if id == top:
                    return
            yield top, id, depth


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 10 else 0


def _numbers(text: str | None, count: int) -> list[int]:
    parts = (text or "").split(".")
    return [_number(part) for part in parts[:count]] + [0] * (count - len(parts))
