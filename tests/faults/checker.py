"""Judges a history: what must never happen in one, and how long the faults in it were felt.

``python -m tests.faults.checker FILE`` judges one that was kept. Nothing here knows the server or the clock.
"""

import sys
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby, pairwise
from math import ceil, inf
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from msgspec import Struct

from tests.faults.history import (
    Closed,
    Counted,
    Fault,
    Figures,
    Moved,
    Numbers,
    Opened,
    Read,
    Record,
    Saw,
    StoredComment,
    StoredPost,
    Wrote,
    read_history,
)

R = TypeVar("R")
NEVER: Final = inf
RECONNECT_CODES: Final = (0, 1000, 1001, 1006, *range(3000, 3500), *range(4000, 4500))
"""Ends of a connection after which a client is to come back."""


class History:
    """The records of a run, in order, by kind."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = list(records)

    def _all(self, kind: type[R]) -> list[R]:
        return [record for record in self._records if isinstance(record, kind)]

    @cached_property
    def writes(self) -> list[Wrote]:
        """Once each: what was asked again after its acknowledgement is in ``repeats``."""
        return [write for write in self._all(Wrote) if not write.again]

    @cached_property
    def repeats(self) -> list[Wrote]:
        return [write for write in self._all(Wrote) if write.again]

    @cached_property
    def acknowledged(self) -> list[Wrote]:
        return [write for write in self.writes if write.outcome == "acknowledged"]

    @cached_property
    def reads(self) -> list[Read]:
        return self._all(Read)

    @cached_property
    def faults(self) -> list[Fault]:
        return self._all(Fault)

    @cached_property
    def counted(self) -> list[Counted]:
        return self._all(Counted)

    @cached_property
    def stored(self) -> dict[str, StoredPost]:
        return {stored.post: stored for stored in self._all(StoredPost)}

    @cached_property
    def figures(self) -> Figures | None:
        return next(iter(self._all(Figures)), None)

    @cached_property
    def watched(self) -> dict[str, list[Opened | Saw | Moved | Closed]]:
        """What happened to each watcher."""
        watched: dict[str, list[Opened | Saw | Moved | Closed]] = defaultdict(list)
        for record in self._records:
            if isinstance(record, Opened | Saw | Moved | Closed):
                watched[record.watcher].append(record)
        return watched

    @cached_property
    def watchers(self) -> dict[str, Opened]:
        """The first time that each was subscribed."""
        firsts: dict[str, Opened] = {}
        for opened in self._all(Opened):
            firsts.setdefault(opened.watcher, opened)
        return firsts

    @cached_property
    def by_comment(self) -> dict[tuple[str, str], list[Wrote]]:
        """What was acknowledged about each comment, in the order in which its one author did it."""
        writes: dict[tuple[str, str], list[Wrote]] = defaultdict(list)
        for write in self.acknowledged:
            if write.method in ("create", "edit", "delete"):
                writes[write.post, write.comment].append(write)
        return writes

    @cached_property
    def unknown_bodies(self) -> set[tuple[str, str]]:
        """(post, body) of comments that may be there or not."""
        return {(write.post, write.body) for write in self.writes if write.outcome == "unknown"}


# -- what must never happen -------------------------------------------------------------------------------------------


def lost_or_doubled(history: History) -> Iterator[str]:
    """Each acknowledged comment is stored once, as its last acknowledged write left it; nothing else is stored."""
    acknowledged = Counter((write.post, write.comment) for write in history.acknowledged if write.method == "create")
    for (post, comment), times in acknowledged.items():
        if times > 1:
            yield f"post {post}: comment {comment} was the answer to {times} creations"
    for (post, comment), writes in history.by_comment.items():
        last, stored = writes[-1], history.stored[post].comments.get(comment)
        if stored is None:
            yield f"post {post}: comment {comment} of {last.lane} was acknowledged and is lost"
        elif (stored.deleted, stored.body) != (last.method == "delete", last.body):
            yield f"post {post}: comment {comment} is {_told(stored)!r}, {last.method} {last.body!r} was acknowledged"
    for post, rows in history.stored.items():
        unknown = Counter[str]()
        for comment, row in rows.comments.items():
            if (post, comment) in history.by_comment:
                continue
            unknown[row.body] += 1
            if (post, row.body) not in history.unknown_bodies:
                yield f"post {post}: comment {comment}, {_told(row)!r}, is there beside those that were asked for"
        yield from (f"post {post}: {body!r} was written {times} times" for body, times in unknown.items() if times > 1)


def _told(stored: StoredComment) -> str:
    return "deleted" if stored.deleted else stored.body


def repeats_differ(history: History) -> Iterator[str]:
    """Who asks again with the same operation id is told the comment of the first time."""
    for write in history.repeats:
        if not any(
            first.comment == write.comment and first.body == write.body and first.post == write.post
            for first in history.by_comment.get((write.post, write.comment), ())
        ):
            yield f"post {write.post}: {write.body!r} asked again was answered comment {write.comment}"


def wrong_reactions(history: History) -> Iterator[str]:
    """Reactions and applause are what each person said last."""
    given: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    for write in history.acknowledged:
        if write.method in ("react", "applaud"):
            given[write.post, write.comment, write.kind][write.person] = write.amount
    for post, stored in history.stored.items():
        targets: dict[tuple[str, str], Sequence[str]] = {("", kind): who for kind, who in stored.reactions.items()}
        for comment, row in stored.comments.items():
            targets |= {(comment, kind): who for kind, who in row.reactions.items()}
        asked = {(comment, kind) for of, comment, kind in given if of == post and kind}
        for comment, kind in sorted(asked | set(targets)):
            wanted = {person for person, amount in given[post, comment, kind].items() if amount}
            found = set(targets.get((comment, kind), ()))
            if wanted != found:
                yield f"post {post}, comment {comment or '-'}: {kind} is of {sorted(found)}, not {sorted(wanted)}"
        applause = {person: amount for person, amount in given[post, "", ""].items() if amount}
        if applause != stored.applause:
            yield f"post {post}: applause {stored.applause} is stored, not {applause}"


def wrong_counters(history: History) -> Iterator[str]:
    """What is counted is what is stored: in the row of counters, in the API, and at every watcher in the end."""
    for post, stored in history.stored.items():
        counted = numbers_of(stored)
        for name, numbers in (("stored", stored.kept), ("shown", stored.shown)):
            if nonzero(numbers) != counted:
                yield f"post {post}: the counters {name} are {numbers}, not {counted}"
        visible = {id: row.body for id, row in stored.comments.items() if not row.deleted}
        if stored.shown_bodies != visible:
            yield f"post {post}: the comments shown are not those stored: {_difference(stored.shown_bodies, visible)}"
        for id in visible:
            reactions = {kind: len(who) for kind, who in stored.comments[id].reactions.items() if who}
            shown = stored.shown_reactions.get(id, {})
            if shown != reactions:
                yield f"post {post}, comment {id}: {shown} reactions are shown, not {reactions}"
    for told in history.counted:
        post = history.watchers[told.watcher].post
        if nonzero(told.numbers) != numbers_of(history.stored[post]):
            yield f"{told.watcher} was told {told.numbers} of post {post} last, not {numbers_of(history.stored[post])}"


def numbers_of(stored: StoredPost) -> Numbers:
    """Counted from the rows."""
    return Numbers(
        comments=sum(not row.deleted for row in stored.comments.values()),
        applause=sum(stored.applause.values()),
        reactions={kind: len(who) for kind, who in stored.reactions.items() if who},
    )


def nonzero(numbers: Numbers) -> Numbers:
    given = {kind: number for kind, number in numbers.reactions.items() if number}
    return Numbers(numbers.comments, numbers.applause, given)


def _difference(shown: Mapping[str, str], stored: Mapping[str, str]) -> str:
    ids = sorted(id for id in {*shown, *stored} if shown.get(id) != stored.get(id))
    return ", ".join(f"{id}: {shown.get(id)!r} for {stored.get(id)!r}" for id in ids[:3])


def wrong_offsets(history: History) -> Iterator[str]:
    """No two changes share an offset; a row has that of its last change, and the head is at least the highest."""
    for post, writes in _grouped(history.acknowledged, attrgetter("post")).items():
        taken = Counter(write.offset for write in writes if write.offset)
        yield from (f"post {post}: {times} writes were given offset {at}" for at, times in taken.items() if times > 1)
        highest = max(taken, default=0)
        if history.stored[post].head < highest:
            yield f"post {post}: offset {highest} was acknowledged, the head is {history.stored[post].head}"
    for post, stored in history.stored.items():
        offsets = Counter(row.offset for row in stored.comments.values())
        yield from (f"post {post}: {times} comments are at offset {at}" for at, times in offsets.items() if times > 1)
        for comment, row in stored.comments.items():
            writes = history.by_comment.get((post, comment), [])
            if writes and writes[-1].offset not in (0, row.offset):
                yield f"post {post}: comment {comment} is at {row.offset}, acknowledged at {writes[-1].offset}"


def gaps(history: History) -> Iterator[str]:
    """A watcher is told everything in order, once, from where it was; only what is out of date may be left out."""
    changes = Changes(history)
    for watcher, records in history.watched.items():
        first, at = history.watchers[watcher], 0
        for record in records:
            match record:
                case Opened(offset=offset):
                    if record is not first and first.kind != "live":
                        if not record.recovered:
                            yield f"{watcher} could not resume from {at}: it was told to reload"
                        elif offset != at:
                            yield f"{watcher} asked to resume from {at}, and was resumed from {offset}"
                    at = offset
                case Saw(offset=offset):
                    if offset <= at:
                        yield f"{watcher}: {offset} came after {at}"
                    for missing in changes.missing(first.post, at + 1, offset, record.at):
                        yield f"{watcher}: {offset} followed {at}, {missing} is missing"
                    at = max(at, offset)
                case Moved(offset=offset):
                    if offset < at:
                        yield f"{watcher} was moved back from {at} to {offset}"
                    for missing in changes.missing(first.post, at + 1, offset + 1, record.at):
                        yield f"{watcher} was moved from {at} to {offset}, {missing} is missing"
                    at = offset
                case Closed(code=code):
                    if code not in RECONNECT_CODES:
                        yield f"{watcher} was closed for good, with {code}"


class Changes:
    """Which change stands at which offset."""

    def __init__(self, history: History) -> None:
        self._lasting = {
            (post, row.offset): comment
            for post, stored in history.stored.items()
            for comment, row in stored.comments.items()
        }
        self._next: dict[tuple[str, int], float] = {}
        """Of each change but a comment's last, when the next one of that comment was begun."""
        for (post, _), writes in history.by_comment.items():
            for write, following in pairwise(writes):
                self._next[post, write.offset] = following.began

    def missing(self, post: str, first: int, end: int, at: float) -> Iterator[int]:
        """Of the offsets ``first`` to ``end``, exclusive, those that had to be shown by ``at``.

        Whoever is caught up, after a loss or a rest, is shown the present state of what changed: so a change may be
        left out if the next one of its comment had been begun.
        """
        for offset in range(first, end):
            if (post, offset) in self._lasting or self._next.get((post, offset), -inf) > at:
                yield offset


def never_written(history: History) -> Iterator[str]:
    """Watchers are shown only what was asked for, each change at its own offset, and nothing that is lost."""
    by_offset = {(write.post, write.offset): write for write in history.acknowledged if write.offset}
    asked = {(write.post, write.comment, write.body) for write in history.writes}
    for watcher, records in history.watched.items():
        post = history.watchers[watcher].post
        for saw in records:
            if not isinstance(saw, Saw):
                continue
            write = by_offset.get((post, saw.offset))
            if write is not None and (write.comment, write.body) != (saw.comment, saw.body):
                yield f"{watcher}: {saw.body!r} is at {saw.offset}, where {write.body!r} was acknowledged"
            if (post, saw.comment, saw.body) not in asked and (post, saw.body) not in history.unknown_bodies:
                yield f"{watcher}: {saw.body!r} of comment {saw.comment} was never asked for"
            stored = history.stored[post].comments.get(saw.comment)
            if stored is None or stored.offset < saw.offset:
                yield f"{watcher} was shown comment {saw.comment} at {saw.offset}, which is not stored"


def not_caught_up(history: History) -> Iterator[str]:
    """In the end a watcher that resumes has made of what it was told what is stored, from where it began."""
    for watcher, first in history.watchers.items():
        if first.kind == "live":
            continue
        last = {saw.comment: saw for saw in history.watched[watcher] if isinstance(saw, Saw)}
        for comment, row in history.stored[first.post].comments.items():
            if row.offset <= first.offset:
                continue
            saw = last.get(comment)
            if saw is None or (saw.offset, saw.body, saw.deleted) != (row.offset, row.body, row.deleted):
                yield f"{watcher} has {saw.body if saw else None!r} of comment {comment}, which is {_told(row)!r}"


def stale_reads(history: History) -> Iterator[str]:
    """A read shows what was acknowledged before it began, and nothing that was asked for after it ended."""
    by_post = {post: Acknowledgements(writes) for post, writes in _grouped(history.writes, attrgetter("post")).items()}
    for read in history.reads:
        if read.comment:
            yield from _stale_comment(read, history.by_comment[read.post, read.comment])
        elif read.post in by_post:
            known = by_post[read.post]
            if read.offset < (least := known.offset_before(read.began)):
                yield f"post {read.post}: a read from {read.began:.3f} s on stood at {read.offset}, after {least}"
            low, high = known.comments_between(read.began, read.ended)
            if not low <= read.comments <= high:
                yield f"post {read.post}: {read.comments} comments counted at {read.ended:.3f} s, not {low} to {high}"


def _stale_comment(read: Read, writes: Sequence[Wrote]) -> Iterator[str]:
    before = [write for write in writes if write.ended <= read.began]
    during = [write for write in writes if write.began <= read.ended and write.ended > read.began]
    possible = {(write.body, write.method == "delete") for write in (*before[-1:], *during)}
    if (read.body, read.deleted) not in possible:
        yield f"post {read.post}: comment {read.comment} was {read.body!r} at {read.ended:.3f} s, not of {possible}"


class Acknowledgements:
    """What of a post was known when."""

    def __init__(self, writes: Sequence[Wrote]) -> None:
        acknowledged = [write for write in writes if write.outcome == "acknowledged"]
        created = [write for write in acknowledged if write.method == "create"]
        deleted = [write for write in acknowledged if write.method == "delete"]
        self._created = sorted(write.ended for write in created)
        self._deleted = sorted(write.ended for write in deleted)
        asked = [write for write in writes if write.method == "create"]
        self._create_asked = sorted(write.began for write in asked)
        self._delete_asked = sorted(write.began for write in deleted)
        highest, offsets = 0, []
        for write in sorted(acknowledged, key=attrgetter("ended")):
            highest = max(highest, write.offset)
            offsets.append((write.ended, highest))
        self._offsets = offsets

    def offset_before(self, at: float) -> int:
        index = bisect_left(self._offsets, (at, 0))
        return self._offsets[index - 1][1] if index else 0

    def comments_between(self, began: float, ended: float) -> tuple[int, int]:
        """The fewest and the most that a read of that time may count."""
        low = bisect_left(self._created, began) - bisect_left(self._delete_asked, ended)
        high = bisect_left(self._create_asked, ended) - bisect_left(self._deleted, began)
        return low, high


def refused(history: History) -> Iterator[str]:
    """Nothing that clients ask here is theirs to mend, and nobody gives up."""
    for write in history.writes + history.repeats:
        if write.outcome == "refused":
            yield f"post {write.post}: {write.method} of {write.lane} was refused at {write.ended:.3f} s: {write.code}"


def never_well(history: History) -> Iterator[str]:
    """After every fault everything goes on by itself."""
    for fault in history.faults:
        for each in fault.ill:
            yield f"{fault.ended - fault.returned:.0f} s after {fault.name}, {each}"


RULES: Final[Mapping[str, Sequence[Callable[[History], Iterator[str]]]]] = MappingProxyType(
    {
        "acknowledged writes lost or doubled": (lost_or_doubled, repeats_differ, wrong_reactions, wrong_offsets),
        "gaps in a stream": (gaps, not_caught_up, never_written),
        "wrong counters": (wrong_counters,),
        "stale reads": (stale_reads,),
        "failed requests": (refused,),
        "not well again": (never_well,),
    }
)


def violations(history: History) -> dict[str, list[str]]:
    """By what is to be 0, what was found."""
    return {name: [found for rule in rules for found in rule(history)] for name, rules in RULES.items()}


def _grouped(items: Iterable[Wrote], key: Callable[[Wrote], str]) -> dict[str, list[Wrote]]:
    return {name: list(group) for name, group in groupby(sorted(items, key=key), key)}


# -- how long the faults were felt ------------------------------------------------------------------------------------


class Pause(Struct, frozen=True):
    """A time in which writes to a post were due, and none was acknowledged."""

    post: str
    began: float
    ended: float


def pauses(history: History) -> Iterator[Pause]:
    for post, writes in _grouped(history.acknowledged, attrgetter("post")).items():
        writes.sort(key=attrgetter("ended"))
        # The earliest of those that still waited after each acknowledgement.
        due, earliest = [inf] * len(writes), inf
        for index in range(len(writes) - 1, -1, -1):
            due[index] = earliest = min(earliest, writes[index].began)
        before = -inf
        for write, waited_since in zip(writes, due, strict=True):
            yield Pause(post, max(before, waited_since), write.ended)
            before = write.ended


def longest_by_post(history: History, began: float, ended: float) -> list[float]:
    """The longest pause of each post in the time given; of one that reaches beyond it, what lies within."""
    longest: dict[str, float] = defaultdict(float)
    for pause in pauses(history):
        if pause.ended >= began and pause.began <= ended:
            within = min(ended, pause.ended) - max(began, pause.began)
            longest[pause.post] = max(longest[pause.post], within)
    return list(longest.values())


def percentile(values: Sequence[float], share: float) -> float:
    """By nearest rank; 0 of nothing."""
    return sorted(values)[ceil(share * len(values)) - 1] if values else 0.0


def longest_pause(history: History, fault: Fault) -> float:
    return max(longest_by_post(history, fault.began, fault.ended), default=NEVER)


def pause_p99(history: History, fault: Fault) -> float:
    return percentile(longest_by_post(history, fault.began, fault.ended), 0.99)


def written_again(history: History, fault: Fault) -> float:
    """From the return of what was away until every post is written to."""
    return max(longest_by_post(history, fault.returned, fault.ended), default=NEVER)


def ready_again(history: History, fault: Fault) -> float:
    """From the fault to its end, as the run measured it."""
    return fault.returned - fault.began


def caught_up(history: History, fault: Fault) -> float:
    """From the return of what was away until everyone who watched by then has what was acknowledged before."""
    heads: dict[str, int] = defaultdict(int)
    for write in history.acknowledged:
        if write.ended <= fault.returned:
            heads[write.post] = max(heads[write.post], write.offset)
    latest = 0.0
    for watcher, first in history.watchers.items():
        if first.at > fault.returned:
            continue
        head, at = heads[first.post], 0
        for record in history.watched[watcher]:
            if isinstance(record, Opened | Saw | Moved):
                at = max(at, record.offset)
            if at >= head:
                latest = max(latest, record.at - fault.returned)
                break
        else:
            return NEVER
    return latest


class Budget(Struct, frozen=True):
    """What a fault may cost."""

    what: str
    limit_s: float
    measure: Callable[[History, Fault], float]


WITHIN: Final = Budget("longest pause", 15.0, longest_pause)
"""For faults without a budget of their own: everything goes on by itself."""
BUDGETS: Final[Mapping[str, Budget]] = MappingProxyType(
    {
        "kill-worker": Budget("writes again", 0.5, longest_pause),
        "kill-parent": Budget("ready again", 5.0, ready_again),
        "kill-machine": Budget("writes again", 5.0, longest_pause),
        "cut-machine": Budget("writes again", 5.0, longest_pause),
        "rolling-restart": Budget("pause, p99 of posts", 0.2, pause_p99),
        "redis-restart": Budget("watchers caught up", 2.0, caught_up),
        "postgres-restart": Budget("writes again", 2.0, written_again),
        "deaf-subscriber": Budget("longest pause", 0.5, longest_pause),
    }
)


class Measured(Struct, frozen=True):
    """One fault against its budget."""

    fault: Fault
    budget: Budget
    took_s: float
    pause_s: float
    """The longest, whatever the budget is about."""

    def kept(self, patience: float = 1.0) -> bool:
        """Whether the budget, times ``patience``, was enough."""
        return self.took_s <= patience * self.budget.limit_s


class Verdict(Struct, frozen=True):
    """What a history amounts to."""

    violations: Mapping[str, Sequence[str]]
    measured: Sequence[Measured]
    acknowledged: int
    unknown: int
    unanswered: int
    longest_pause_s: float
    figures: Figures | None

    def passed(self, patience: float = 1.0) -> bool:
        """Whether nothing was found that must not be, and every budget, times ``patience``, was enough."""
        return not any(self.violations.values()) and all(measured.kept(patience) for measured in self.measured)


def judge(records: Iterable[Record]) -> Verdict:
    history = History(records)
    measured = []
    for fault in history.faults:
        budget = BUDGETS.get(fault.name, WITHIN)
        measured.append(Measured(fault, budget, budget.measure(history, fault), longest_pause(history, fault)))
    return Verdict(
        violations=violations(history),
        measured=measured,
        acknowledged=len(history.acknowledged),
        unknown=sum(write.outcome == "unknown" for write in history.writes),
        unanswered=sum(write.unanswered for write in history.writes),
        longest_pause_s=max((pause.ended - pause.began for pause in pauses(history)), default=0.0),
        figures=history.figures,
    )


def report(verdict: Verdict) -> str:
    """For people; a line for each fault, then what is to be 0, then the sums."""
    lines = [f"{'fault':<18}{'what':<22}{'took':>9}{'budget':>9}{'longest pause':>15}  done"]
    for each in verdict.measured:
        mark = "" if each.kept() else "  BROKEN"
        lines.append(
            f"{each.fault.name:<18}{each.budget.what:<22}{each.took_s:>7.2f} s{each.budget.limit_s:>7.1f} s"
            f"{each.pause_s:>13.2f} s  {each.fault.done}{mark}"
        )
        lines += [f"    {told}" for told in each.fault.told]
    for name, found in verdict.violations.items():
        lines.append(f"{name:<40}{len(found):>9}")
        lines += [f"    {each}" for each in found[:5]]
    figures = verdict.figures or Figures(fenced=0, resyncs=0, handoffs=0, retries=0, gaps=0)
    lines.append(
        f"{verdict.acknowledged} writes acknowledged, {verdict.unknown} outcomes unknown,"
        f" {verdict.unanswered} requests unanswered; longest unavailability {verdict.longest_pause_s:.2f} s"
    )
    lines.append(
        f"{figures.fenced} commits fenced, {figures.resyncs} resyncs, {figures.handoffs} handoffs,"
        f" {figures.retries} retries, {figures.gaps} gaps mended"
    )
    lines.append(f"{figures.loads} actors loaded, each in {1000 * figures.load_s:.1f} ms on average")
    return "\n".join(lines)


if __name__ == "__main__":
    found = judge(read_history(Path(sys.argv[1])))
    print(report(found))
    sys.exit(not found.passed())
