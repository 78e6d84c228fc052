"""The checker finds what it is there to find: each rule, shown a history that breaks it and one that does not."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.faults.checker import History as Checked
from tests.faults.checker import judge, longest_by_post, report, violations
from tests.faults.history import (
    Closed,
    Counted,
    Fault,
    Kind,
    Moved,
    Numbers,
    Opened,
    Read,
    Record,
    Recorder,
    Saw,
    StoredComment,
    StoredPost,
    Wrote,
    read_history,
)

POST, LANE, PERSON = "7", "ada-like", "1"
LOST, GAPS, COUNTERS, STALE, FAILED, ILL = (
    "acknowledged writes lost or doubled",
    "gaps in a stream",
    "wrong counters",
    "stale reads",
    "failed requests",
    "not well again",
)


def create(comment: str, at: float, offset: int, *, body: str = "", **more: object) -> Wrote:
    write = Wrote(
        lane=LANE,
        person=PERSON,
        post=POST,
        method="create",
        began=at,
        ended=at + 0.1,
        outcome="acknowledged",
        comment=comment,
        body=body or f"body {comment}",
        offset=offset,
    )
    return replace(write, **more)


def edit(comment: str, at: float, offset: int, body: str) -> Wrote:
    return create(comment, at, offset, body=body, method="edit")


def delete(comment: str, at: float, offset: int) -> Wrote:
    return replace(create(comment, at, offset), method="delete", body="")


def react(kind: str, amount: int, at: float, comment: str = "") -> Wrote:
    return replace(create(comment, at, 0), method="react", body="", kind=kind, amount=amount)


def applaud(amount: int, at: float) -> Wrote:
    return replace(create("", at, 0), method="applaud", body="", amount=amount)


def saw(comment: str, offset: int, at: float, body: str = "", *, watcher: str = "w", deleted: bool = False) -> Saw:
    shown = "" if deleted else body or f"body {comment}"
    return Saw(watcher=watcher, at=at, offset=offset, comment=comment, body=shown, deleted=deleted)


def opened(offset: int, at: float, *, recovered: bool = True, kind: Kind = "resuming") -> Opened:
    return Opened(watcher="w", kind=kind, post=POST, at=at, offset=offset, recovered=recovered)


STORED = StoredPost(
    post=POST,
    head=5,
    comments={
        "1": StoredComment("edited", False, 4, {"love": [PERSON]}),
        "2": StoredComment("", True, 5, {}),
        "3": StoredComment("body 3", False, 3, {}),
    },
    reactions={"like": [PERSON]},
    applause={PERSON: 9},
    kept=Numbers(2, 9, {"like": 1}),
    shown=Numbers(2, 9, {"like": 1, "laugh": 0}),
    shown_bodies={"1": "edited", "3": "body 3"},
    shown_reactions={"1": {"love": 1}, "3": {}},
)
WRITES: tuple[Wrote, ...] = (
    create("1", 1.0, 1),
    create("2", 2.0, 2),
    create("3", 3.0, 3),
    edit("1", 4.0, 4, "edited"),
    delete("2", 5.0, 5),
    react("like", 1, 5.2),
    react("love", 1, 5.4, comment="1"),
    applaud(3, 5.6),
    applaud(9, 5.8),
)
SEEN: tuple[Record, ...] = (
    opened(0, 0.5),
    saw("1", 1, 1.2),
    saw("2", 2, 2.2),
    Closed(watcher="w", at=2.5, code=3001),
    # A resume is sparse: the first states of 1 and 2 are out of date.
    opened(2, 6.0),
    saw("3", 3, 6.1),
    saw("1", 4, 6.1, "edited"),
    saw("2", 5, 6.1, deleted=True),
    Counted(watcher="w", at=7.0, numbers=Numbers(2, 9, {"like": 1})),
)
READS: tuple[Record, ...] = (
    Read(post=POST, began=2.5, ended=2.6, comments=2, offset=2),
    Read(post=POST, began=2.5, ended=4.5, comment="1", body="edited"),
    Read(post=POST, began=4.05, ended=4.5, comment="1", body="body 1"),
    Read(post=POST, began=6.0, ended=6.1, comment="2", deleted=True),
)
GOOD: tuple[Record, ...] = (*WRITES, *SEEN, *READS, STORED)


def stored(**changes: object) -> StoredPost:
    return replace(STORED, **changes)


def comments(**changes: StoredComment | None) -> StoredPost:
    """The rows, with those of some comments changed or gone."""
    rows = {**STORED.comments, **{name.removeprefix("c"): row for name, row in changes.items()}}
    return stored(comments={id: row for id, row in rows.items() if row is not None})


def without(*records: Record) -> list[Record]:
    return [record for record in GOOD if record not in records]


def found(records: Sequence[Record]) -> dict[str, list[str]]:
    return {name: what for name, what in violations(Checked(records)).items() if what}


def test_nothing_is_found_in_a_history_in_which_all_is_well() -> None:
    assert found(GOOD) == {}


BROKEN: dict[str, tuple[str, Sequence[Record]]] = {
    "an acknowledged comment is lost": (LOST, [*without(STORED), comments(c3=None)]),
    "an acknowledged edit is lost": (
        LOST,
        [*without(STORED), comments(c1=StoredComment("body 1", False, 4, {"love": [PERSON]}))],
    ),
    "a deletion is lost": (LOST, [*without(STORED), comments(c2=StoredComment("body 2", False, 5, {}))]),
    "a comment is there twice": (LOST, [*without(STORED), comments(c4=StoredComment("body 3", False, 6, {}))]),
    "an unknown outcome is there twice": (
        LOST,
        [
            *without(STORED),
            create("", 6.0, 0, body="perhaps", outcome="unknown"),
            comments(c4=StoredComment("perhaps", False, 6, {}), c5=StoredComment("perhaps", False, 7, {})),
        ],
    ),
    "two creations were answered the same comment": (LOST, [*GOOD, create("3", 6.0, 6, body="another")]),
    "a repeated operation was answered another comment": (
        LOST,
        [*GOOD, create("3", 6.0, 0, body="body 1", again=True)],
    ),
    "a reaction is lost": (LOST, [*without(STORED), stored(reactions={})]),
    "a reaction was taken back and is there": (LOST, [*GOOD, react("like", 0, 6.0)]),
    "somebody else's reaction is there": (LOST, [*without(STORED), stored(reactions={"like": [PERSON, "2"]})]),
    "a comment's reaction is lost": (LOST, [*GOOD, react("laugh", 1, 6.0, comment="3")]),
    "applause is that of before": (LOST, [*without(STORED), stored(applause={PERSON: 3})]),
    "two changes stand at one offset": (LOST, [*without(STORED), comments(c3=StoredComment("body 3", False, 4, {}))]),
    "two writes were given one offset": (LOST, [*without(WRITES[2]), create("3", 3.0, 4)]),
    "the head is behind what was acknowledged": (LOST, [*without(STORED), stored(head=4)]),
    "a live event is missing": (
        GAPS,
        [*WRITES, opened(1, 1.5, kind="live"), saw("3", 3, 3.2), saw("1", 4, 4.2, "edited"), STORED],
    ),
    "a change that lasts is missing": (GAPS, without(saw("3", 3, 6.1))),
    "an event came twice": (GAPS, [*GOOD, saw("2", 5, 6.2, deleted=True)]),
    "an event came late": (GAPS, [*GOOD, saw("3", 3, 6.2)]),
    "a resume began too late": (GAPS, [opened(3, 6.0) if record == opened(2, 6.0) else record for record in GOOD]),
    "a resume was refused": (
        GAPS,
        [opened(2, 6.0, recovered=False) if record == opened(2, 6.0) else record for record in GOOD],
    ),
    "who asks by turns was moved past a change": (
        GAPS,
        [Moved(watcher="w", at=6.1, offset=3) if record == saw("3", 3, 6.1) else record for record in GOOD],
    ),
    "a watcher was closed for good": (GAPS, [*GOOD, Closed(watcher="w", at=8.0, code=3500)]),
    "a watcher's last state is an old one": (GAPS, without(saw("2", 5, 6.1, deleted=True))),
    "a watcher was shown what nobody wrote": (GAPS, [*GOOD, saw("9", 6, 7.0, "nobody's")]),
    "a watcher was shown what was then not stored": (
        GAPS,
        [*GOOD, create("", 6.0, 0, body="perhaps", outcome="unknown"), saw("4", 6, 7.0, "perhaps")],
    ),
    "a watcher was shown another change at an offset": (
        GAPS,
        [saw("1", 2, 2.2) if record == saw("2", 2, 2.2) else record for record in GOOD],
    ),
    "the counters kept are wrong": (COUNTERS, [*without(STORED), stored(kept=Numbers(3, 9, {"like": 1}))]),
    "the counters shown are wrong": (COUNTERS, [*without(STORED), stored(shown=Numbers(2, 8, {"like": 1}))]),
    "a comment is not shown": (COUNTERS, [*without(STORED), stored(shown_bodies={"1": "edited"})]),
    "reactions of a comment are miscounted": (COUNTERS, [*without(STORED), stored(shown_reactions={"1": {"love": 2}})]),
    "a watcher was told wrong numbers last": (
        COUNTERS,
        [*GOOD, Counted(watcher="w", at=8.0, numbers=Numbers(2, 9, {"like": 2}))],
    ),
    "a read shows an old body": (STALE, [*GOOD, Read(post=POST, began=6.0, ended=6.1, comment="1", body="body 1")]),
    "a read shows what was not asked for yet": (
        STALE,
        [*GOOD, Read(post=POST, began=3.0, ended=3.1, comment="1", body="edited")],
    ),
    "a read shows a deleted comment": (
        STALE,
        [*GOOD, Read(post=POST, began=6.0, ended=6.1, comment="2", body="body 2")],
    ),
    "a read stands before what was acknowledged": (
        STALE,
        [*GOOD, Read(post=POST, began=6.0, ended=6.1, comments=2, offset=4)],
    ),
    "a read counts too few": (STALE, [*GOOD, Read(post=POST, began=6.0, ended=6.1, comments=1, offset=5)]),
    "a read counts too many": (STALE, [*GOOD, Read(post=POST, began=6.0, ended=6.1, comments=3, offset=5)]),
    "a post was never written to again": (
        ILL,
        [*GOOD, Fault(name="storm", began=6.0, returned=6.0, ended=36.0, ill=[f"post {POST} is not written to"])],
    ),
    "a request was refused": (FAILED, [*GOOD, create("", 6.0, 0, body="no", outcome="refused", code="internal")]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_it_is_found_that(name: str) -> None:
    where, records = BROKEN[name]
    assert where in found(records)


def test_a_comment_of_unknown_outcome_may_be_there_or_not() -> None:
    unknown = create("", 6.0, 0, body="perhaps", outcome="unknown")
    there = {
        **STORED.comments,
        "4": StoredComment("perhaps", False, 6, {}),
    }
    counted = Numbers(3, 9, {"like": 1})
    with_it = stored(
        head=6, comments=there, kept=counted, shown=counted, shown_bodies={**STORED.shown_bodies, "4": "perhaps"}
    )
    told: list[Record] = [saw("4", 6, 7.0, "perhaps"), Counted(watcher="w", at=7.0, numbers=counted)]

    assert found([*GOOD, unknown]) == {}
    assert found([*without(STORED, SEEN[-1]), unknown, *told, with_it]) == {}


def test_a_pause_is_the_time_in_which_a_write_was_due_and_none_was_acknowledged() -> None:
    writes = [
        create("1", 1.0, 1, ended=1.1),
        # It waited 2 s, of which another was acknowledged after 0.5 s.
        create("2", 2.0, 2, ended=4.0),
        create("3", 2.2, 3, ended=2.5),
        # Nothing was due before.
        create("4", 9.0, 4, ended=9.1),
    ]
    history = Checked(writes)

    assert longest_by_post(history, 0.0, 5.0) == pytest.approx([1.5])
    assert longest_by_post(history, 3.5, 5.0) == pytest.approx([0.5])
    assert longest_by_post(history, 2.0, 3.5) == pytest.approx([1.0])
    assert longest_by_post(history, 5.0, 10.0) == pytest.approx([0.1])


@pytest.mark.parametrize(
    ("name", "took_s", "kept"), [("kill-worker", 0.4, True), ("kill-worker", 0.6, False), ("kill-machine", 0.6, True)]
)
def test_a_fault_is_held_against_its_budget(name: str, took_s: float, kept: bool) -> None:
    fault = Fault(name=name, began=6.0, returned=6.0, ended=8.0)
    slow = replace(react("like", 1, 6.0), ended=6.0 + took_s)
    verdict = judge([*GOOD, fault, slow])

    assert verdict.passed() is kept
    assert verdict.measured[0].took_s == pytest.approx(took_s)
    assert ("BROKEN" in report(verdict)) is not kept


def test_a_report_has_what_workers_said_of_a_fault() -> None:
    fault = Fault(name="rolling-restart", began=6.0, returned=6.0, ended=8.0, told=["drained within 3 ms"])

    assert "drained within 3 ms" in report(judge([*GOOD, fault]))


def test_watchers_are_caught_up_when_the_last_one_has_what_was_acknowledged_before_the_return() -> None:
    fault = Fault(name="redis-restart", began=4.5, returned=5.3, ended=8.0)

    assert judge([*GOOD, fault]).measured[0].took_s == pytest.approx(6.1 - 5.3)


def test_writes_after_a_return_are_measured_from_it() -> None:
    fault = Fault(name="postgres-restart", began=6.0, returned=8.0, ended=10.0)
    late = replace(react("like", 1, 6.1), ended=8.7)

    assert judge([*GOOD, fault, late]).measured[0].took_s == pytest.approx(0.7)


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    heard: list[Record] = []
    with path.open("wb") as file:
        recorder = Recorder(file, heard.append)
        for record in GOOD:
            recorder.note(record)

    assert list(read_history(path)) == heard == list(GOOD)
