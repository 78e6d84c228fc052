"""The tree of a post's comments: pages put together are the whole, in every order and view, at linear cost."""

import sys
from collections.abc import Callable, Sequence
from random import Random
from types import FrameType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import tree as tree_module
from actors.tree import ROOT, CommentTree, Order, Page, Placed

ORDERS: tuple[Order, ...] = ("newest", "oldest", "best")
READS: tuple[str, ...] = ("threads", "level")


class Node(NamedTuple):
    id: int
    parent: int
    state: str
    kind: str


class Model:
    """The same by brute force, from a list of comments."""

    def __init__(self, nodes: Sequence[Node], scores: dict[int, int]) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.scores = scores

    def shown(self, id: int) -> bool:
        node = self.nodes[id]
        return node.state != "held" and node.kind == "comment"

    def children(self, id: int) -> list[int]:
        return [node.id for node in self.nodes.values() if node.parent == id and self.shown(node.id)]

    def below(self, id: int) -> list[int]:
        """Everything that hangs on ``id``, in reading order."""
        return [at for child in self.children(id) for at in (child, *self.below(child))]

    def depth(self, id: int) -> int:
        parent = self.nodes[id].parent
        return 0 if parent == ROOT else self.depth(parent) + 1

    def tops(self, parent: int, order: Order) -> list[int]:
        tops = self.children(parent)
        if order == "oldest":
            return tops
        if order == "newest":
            return tops[::-1]
        return sorted(tops, key=lambda id: (-self.scores.get(id, 0), -id))

    def read(self, view: str, parent: int, order: Order) -> list[Placed]:
        tops = self.tops(parent, order)
        if view == "level":
            return [self.placed(id, hidden=len(self.below(id))) for id in tops]
        return [self.placed(id, hidden=0) for top in tops for id in (top, *self.below(top))]

    def placed(self, id: int, *, hidden: int) -> Placed:
        return Placed(id, self.depth(id), len(self.children(id)), hidden)


@st.composite
def comments(draw: st.DrawFn) -> list[Node]:
    """Up to 40 comments with replies, tombstones, held ones, pingbacks and numbers that were never stored."""
    nodes: list[Node] = []
    id = 0
    for _ in range(draw(st.integers(0, 40))):
        id += draw(st.sampled_from((1, 1, 1, 1, 2)))
        known = [node.id for node in nodes if node.kind == "comment"]
        parent = draw(st.sampled_from([ROOT, *known[-6:], *known[:2]]))
        state = draw(st.sampled_from(("visible", "visible", "visible", "deleted", "held")))
        kind = "pingback" if parent == ROOT and draw(st.integers(0, 9)) == 0 else "comment"
        nodes.append(Node(id, parent, state, kind))
    return nodes


SCORES = st.dictionaries(st.integers(1, 40), st.integers(0, 4))


def build(nodes: Sequence[Node], scores: dict[int, int]) -> CommentTree:
    tree = CommentTree(lambda id: scores.get(id, 0))
    for node in nodes:
        tree.put(node.id, node.parent, node.state, node.kind)
    return tree


def reader(tree: CommentTree, view: str, parent: int, order: Order, limit: int) -> Callable[[str | None], Page]:
    read = tree.level if view == "level" else tree.threads
    return lambda after: read(parent, order, limit, after)


def put_together(read: Callable[[str | None], Page], limit: int) -> list[Placed]:
    placed: list[Placed] = []
    after = None
    for _ in range(100_000):
        page = read(after)
        assert len(page.placed) <= limit
        placed += page.placed
        after = page.next
        if after is None:
            return placed
        assert len(page.placed) == limit
        assert len(after) <= 64
    raise AssertionError("the pages never end")


@settings(max_examples=150, deadline=None)
@given(comments(), SCORES, st.integers(1, 7), st.data())
def test_pages_put_together_are_the_whole(
    nodes: list[Node], scores: dict[int, int], limit: int, data: st.DataObject
) -> None:
    tree, model = build(nodes, scores), Model(nodes, scores)
    parent = data.draw(st.sampled_from([ROOT, *(node.id for node in nodes)]))

    for view in READS:
        for order in ORDERS:
            whole = put_together(reader(tree, view, parent, order, limit), limit)
            assert whole == model.read(view, parent, order), (view, order)


@settings(max_examples=60, deadline=None)
@given(comments(), SCORES, st.data())
def test_pages_follow_every_change(nodes: list[Node], scores: dict[int, int], data: st.DataObject) -> None:
    """Read between the changes, so that what is kept for reading is made early and has to be kept true."""
    tree = CommentTree(lambda id: scores.get(id, 0))
    current: list[Node] = []

    def check() -> None:
        model = Model(current, scores)
        for view in READS:
            for order in ORDERS:
                assert put_together(reader(tree, view, ROOT, order, 5), 5) == model.read(view, ROOT, order)

    for node in nodes:
        current.append(node)
        tree.put(node.id, node.parent, node.state, node.kind)
        change = data.draw(st.integers(0, 5))
        if change == 0:
            at = data.draw(st.integers(0, len(current) - 1))
            current[at] = current[at]._replace(state=data.draw(st.sampled_from(("visible", "deleted"))))
            tree.put(*current[at])
        if change == 1:
            id = data.draw(st.sampled_from(current)).id
            before, scores[id] = scores.get(id, 0), data.draw(st.integers(0, 4))
            tree.rescored(id, before)
        if change < 3:
            check()
    check()


@settings(max_examples=60, deadline=None)
@given(comments(), SCORES)
def test_a_tree_that_was_put_away_comes_back_as_it_was(nodes: list[Node], scores: dict[int, int]) -> None:
    tree = build(nodes, scores)
    loaded = CommentTree(lambda id: scores.get(id, 0))
    loaded.load(*tree.dump())

    assert loaded.last_id == tree.last_id
    for view in READS:
        for order in ORDERS:
            assert put_together(reader(loaded, view, ROOT, order, 3), 3) == put_together(
                reader(tree, view, ROOT, order, 3), 3
            )


@settings(max_examples=60, deadline=None)
@given(comments(), st.integers(1, 5))
def test_what_waits_and_pingbacks_are_read_oldest_first(nodes: list[Node], limit: int) -> None:
    tree = build(nodes, {})
    held = put_together(lambda after: tree.held(limit, after), limit)
    pingbacks = put_together(lambda after: tree.pingbacks(limit, after), limit)

    assert [placed.id for placed in held] == [n.id for n in nodes if n.state == "held" and n.kind == "comment"]
    assert [placed.id for placed in pingbacks] == [n.id for n in nodes if n.state == "visible" and n.kind == "pingback"]


MARKS = st.one_of(
    st.text(max_size=64),
    st.from_regex(r"[0-9]{0,12}(\.[0-9]{0,12}){0,4}", fullmatch=True),
    st.lists(st.integers(0, 45), max_size=4).map(lambda numbers: ".".join(map(str, numbers))),
)


@settings(max_examples=200, deadline=None)
@given(comments(), SCORES, MARKS, st.integers(0, 50), st.data())
def test_a_stale_or_forged_mark_raises_nothing_and_ends(
    nodes: list[Node], scores: dict[int, int], after: str, parent: int, data: st.DataObject
) -> None:
    tree = build(nodes, scores)
    parent = parent if tree.has(parent) else ROOT
    order = data.draw(st.sampled_from(ORDERS))
    for read in (
        reader(tree, "threads", parent, order, 3),
        reader(tree, "level", parent, order, 3),
        lambda mark: tree.held(3, mark),
        lambda mark: tree.pingbacks(3, mark),
    ):
        mark: str | None = after
        seen = 0
        while mark is not None:
            page = read(mark)
            mark = page.next
            seen += len(page.placed)
            # Nothing forged is repeated to others, and the pages end.
            assert mark is None or (mark.replace(".", "").isdecimal() and len(mark) <= 64)
            assert seen <= 3 * len(nodes) + 3


def test_best_goes_on_where_it_stood_though_scores_change() -> None:
    scores = {id: id % 5 for id in range(1, 31)}
    nodes = [Node(id, ROOT, "visible", "comment") for id in range(1, 31)]
    tree = build(nodes, scores)
    first = tree.level(ROOT, "best", 10, None)
    for id in (first.placed[-1].id, first.placed[0].id):
        before, scores[id] = scores[id], 9
        tree.rescored(id, before)
    rest = put_together(lambda after: tree.level(ROOT, "best", 10, after or first.next), 10)

    ids = [placed.id for placed in (*first.placed, *rest)]
    assert sorted(ids) == list(range(1, 31))


def test_a_thread_goes_on_where_it_stood_though_its_score_rises_on_the_way() -> None:
    scores = dict.fromkeys(range(1, 41), 0)
    scores[1] = 5
    nodes = [Node(id, ROOT, "visible", "comment") for id in range(1, 11)]
    # The least of the tops has a long thread.
    nodes += [Node(id, 2, "visible", "comment") for id in range(11, 41)]
    tree = build(nodes, scores)
    ids: list[int] = []
    after = None
    while True:
        page = tree.threads(ROOT, "best", 12, after)
        ids += [placed.id for placed in page.placed]
        after = page.next
        if after is None:
            break
        before, scores[2] = scores[2], scores[2] + 3
        tree.rescored(2, before)

    assert sorted(ids) == list(range(1, 41))


def test_a_reply_to_what_waits_is_not_shown_before_it() -> None:
    nodes = [Node(1, ROOT, "held", "comment"), Node(2, 1, "visible", "comment"), Node(3, ROOT, "visible", "comment")]
    tree = build(nodes, {})
    assert [placed.id for placed in tree.threads(ROOT, "oldest", 10, None).placed] == [3]
    tree.put(1, ROOT, "visible", "comment")

    assert [placed.id for placed in tree.threads(ROOT, "oldest", 10, None).placed] == [1, 2, 3]


def test_a_comment_that_is_not_there_is_neither_visible_nor_has_a_place() -> None:
    tree = build([Node(3, ROOT, "visible", "comment")], {})

    assert [tree.has(id) for id in (-1, 0, 1, 3, 4, 1 << 70)] == [False, False, True, True, False, False]
    assert [tree.visible(id) for id in (-1, 0, 1, 3, 4, 1 << 70)] == [False, False, False, True, False, False]


# -- cost

COUNT = 10_000


def chain() -> list[Node]:
    """Each answers the one before."""
    return [Node(id, id - 1, "visible", "comment") for id in range(1, COUNT + 1)]


def star() -> list[Node]:
    """All answer the first."""
    return [Node(id, min(id - 1, 1), "visible", "comment") for id in range(1, COUNT + 1)]


def flat() -> list[Node]:
    return [Node(id, ROOT, "visible", "comment") for id in range(1, COUNT + 1)]


def random_tree() -> list[Node]:
    """Some hundreds deep."""
    rng = Random(1)
    return [Node(id, rng.randrange(max(0, id - 50), id), "visible", "comment") for id in range(1, COUNT + 1)]


def lines_run(work: Callable[[], Any]) -> int:
    """Lines of ``actors/tree.py`` that ``work`` runs: the same on every machine, unlike time."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != tree_module.__file__:
            return None
        lines += event == "line"
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(previous)
    return lines


@pytest.mark.parametrize("shape", [chain, star, flat, random_tree])
@pytest.mark.parametrize("view", READS)
@pytest.mark.parametrize("order", ORDERS)
def test_reading_ten_thousand_comments_is_linear_work(shape: Callable[[], list[Node]], view: str, order: Order) -> None:
    nodes = shape()
    tree = build(nodes, {})
    parent = 1 if view == "level" and shape is star else ROOT
    whole: list[Placed] = []
    lines = lines_run(lambda: whole.extend(put_together(reader(tree, view, parent, order, 50), 50)))

    assert lines < 60 * COUNT
    if view == "threads":
        assert len(whole) == COUNT


def bushy_tree() -> list[Node]:
    rng = Random(1)
    return [Node(id, rng.randrange(id), "visible", "comment") for id in range(1, COUNT + 1)]


@pytest.mark.parametrize("shape", [star, flat, bushy_tree])
def test_ten_thousand_comments_are_added_in_linear_work_though_pages_are_read_between(
    shape: Callable[[], list[Node]],
) -> None:
    nodes = shape()
    tree = CommentTree(lambda id: 0)

    def work() -> None:
        for node in nodes:
            tree.put(*node)
            if node.id % 100 == 0:
                tree.level(ROOT, "newest", 20, None)

    assert lines_run(work) < 100 * COUNT


def test_a_deep_chain_is_read_from_any_place_in_few_steps() -> None:
    tree = build(chain(), {})
    tree.threads(ROOT, "newest", 1, None)

    assert lines_run(lambda: tree.threads(ROOT, "newest", 50, "1.5000")) < 50 * 30
    assert tree.threads(ROOT, "newest", 1, "1.5000").placed == [Placed(5001, 5000, 1, 0)]
