"""Decisions about what a person is told: groups that begin, count up and down, are read, and are dropped when old.

What others did comes as changes since the last message, each once. So a group is exact without a look at who is in it:
nobody is counted twice, and what is taken back is taken off. Whom the person blocks or mutes, or is blocked by, is
looked up each time, and passed over.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from actors.actor import (
    SYSTEM,
    Decision,
    Event,
    KindsSilenced,
    Need,
    NoticesNeeded,
    NotificationDropped,
    NotificationSaved,
    NotificationsRead,
    OldNoticesNeeded,
    RingAlarm,
)
from actors.userstate import UserState
from protocol.commands import Command, Person
from protocol.cursor import parse_cursor
from protocol.errors import Refused
from protocol.graph import FollowerGained, FollowerLost
from protocol.notifications import (
    KINDS,
    EditPreferences,
    ForgetPerson,
    Kind,
    MarkRead,
    Notice,
    Notify,
    Preferences,
    TakeBack,
)
from protocol.views import Ack
from store.notifications import Target
from store.rows import NotificationRow

TIDY_ALARM: Final = "notifications"
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
OPEN_MS: Final = 12 * HOUR_MS
"""So long after its hour began a group is added to; then another begins."""
KEPT_MS: Final = 90 * DAY_MS
KEPT_MAX: Final = 2_000
"""Groups that are older or more than this are dropped."""
DROPPED_AT_ONCE: Final = 500
SAMPLE_MAX: Final = 3
SPREAD: Final = 40_503
"""A prime: the daily tidying of people whose numbers are near is far apart."""


def needed(state: UserState, command: Command) -> Need | None:
    match command:
        case RingAlarm(name="notifications"):
            # Of whom is gone nothing is kept.
            return OldNoticesNeeded(KEPT_MAX if state.active else 0, KEPT_MS, DROPPED_AT_ONCE)
        case Notify():
            return NoticesNeeded(
                ids=tuple({id for notice in command.notices for id, _ in notice.people}),
                among=tuple({id for notice in command.notices for id, _ in notice.others}),
                targets=tuple(Target(notice.kind, notice.post, notice.comment) for notice in command.notices),
            )
        case TakeBack():
            return NoticesNeeded(about=tuple((command.post, comment) for comment in command.comments or (0,)))
        case ForgetPerson():
            return NoticesNeeded(naming=(command.account,))
        case FollowerGained() | FollowerLost():
            return NoticesNeeded(ids=(command.account,), targets=(Target("follow", 0, 0),))
        case _:
            return None


# -- what happened


def notify(state: UserState, command: Notify, now_ms: int) -> Decision:
    state.active_account()
    changed = [row for notice in command.notices for row in _changed(state, notice, now_ms)]
    return Decision(answer=Ack, events=_saved(state, changed, now_ms), alarms=_alarms(state, changed, now_ms))


def followers_changed(state: UserState, account: int, change: int, now_ms: int) -> Decision:
    """Someone follows (1), or does not any more (-1)."""
    if not state.active:
        return Decision(answer=Ack)
    notice = Notice("follow", 0, 0, change, state.followers + change, [(account, change)])
    changed = _changed(state, notice, now_ms)
    return Decision(answer=Ack, events=_saved(state, changed, now_ms), alarms=_alarms(state, changed, now_ms))


def take_back(state: UserState, command: TakeBack, now_ms: int) -> Decision:
    gone = [replace(row, count=0) for row in state.groups.about(command.post, command.comments)]
    return Decision(answer=Ack, events=_saved(state, gone, now_ms))


def forget(state: UserState, command: ForgetPerson, now_ms: int) -> Decision:
    return Decision(answer=Ack, events=forgotten(state, command.account, now_ms))


def forgotten(state: UserState, account: int, now_ms: int) -> tuple[Event, ...]:
    """What takes the account out of the groups that name it."""
    return _saved(state, [_less(row, account, 1) for row in state.groups.naming(account)], now_ms)


def _changed(state: UserState, notice: Notice, now_ms: int) -> list[NotificationRow]:
    """The groups that ``notice`` changes, or begins."""
    before = state.groups.of(Target(notice.kind, notice.post, notice.comment))
    if notice.kind == "mention" and before:
        # It was said of this comment already.
        return []
    shown = [(id, change) for id, change in notice.people if not _hidden(state, id, now_ms)]
    unwanted = sum(change for id, change in notice.others if _hidden(state, id, now_ms))
    unnamed = notice.change - sum(change for _, change in notice.people) - unwanted
    rows = before
    for id, change in shown:
        if change < 0:
            rows = _lowered(rows, id, -change)
    rows = _lowered(rows, 0, max(0, -unnamed))
    joined = [(id, change) for id, change in shown if change > 0 and state.relations.to(id).active]
    gained = sum(change for _, change in joined) + max(0, unnamed)
    if gained and notice.kind not in state.silenced:
        rows = _raised(state, rows, notice, [id for id, _ in reversed(joined)], gained, now_ms)
    rows = [_at_most(row, notice.total) for row in rows]
    return [row for row in rows if row not in before and (row.id or row.count)]


def _hidden(state: UserState, id: int, now_ms: int) -> bool:
    relation = state.relations.to(id)
    until_ms = relation.muting_until_ms
    return relation.apart or (relation.muting and (until_ms is None or until_ms > now_ms))


def _lowered(rows: Sequence[NotificationRow], account: int, by: int) -> list[NotificationRow]:
    """Take ``by`` off the group that names the account, and what is left off the newest, and so on."""
    lowered = {}
    for row in sorted(rows, key=lambda row: (account in row.sample, row.id), reverse=True):
        taken = min(by, row.count)
        lowered[row.id] = _less(row, account, taken) if taken else row
        by -= taken
    return [lowered[row.id] for row in rows]


def _less(row: NotificationRow, account: int, by: int) -> NotificationRow:
    count = row.count - by
    return replace(row, count=count, sample=[id for id in row.sample if id != account][:count])


def _at_most(row: NotificationRow, total: int) -> NotificationRow:
    return row if row.count <= total else replace(row, count=total, sample=row.sample[:total])


def _raised(
    state: UserState, rows: Sequence[NotificationRow], notice: Notice, joined: list[int], by: int, now_ms: int
) -> list[NotificationRow]:
    """Add to the newest group if it is still open, else to one that begins now; saved, it knows where it grew."""
    if rows and now_ms - rows[0].hour_ms < OPEN_MS:
        newest, older = rows[0], rows[1:]
    else:
        newest, older = _begun(state, notice, now_ms), rows
    sample = [*joined, *(id for id in newest.sample if id not in joined)][:SAMPLE_MAX]
    return [replace(newest, count=newest.count + by, sample=sample, grown_offset=0), *older]


def _begun(state: UserState, notice: Notice, now_ms: int) -> NotificationRow:
    """A group of nothing yet. Its number, like its offsets, is given when it is saved."""
    return NotificationRow(
        user_id=state.account_id,
        id=0,
        kind=notice.kind,
        post_id=notice.post,
        comment_id=notice.comment,
        hour_ms=now_ms - now_ms % HOUR_MS,
        count=0,
        sample=[],
        changed_offset=0,
        grown_offset=0,
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def _saved(state: UserState, rows: Iterable[NotificationRow], now_ms: int) -> tuple[Event, ...]:
    return tuple(
        NotificationSaved(
            replace(
                row,
                id=row.id or offset,
                changed_offset=offset,
                grown_offset=row.grown_offset or offset,
                updated_ms=now_ms,
                gone=row.count <= 0,
            )
        )
        for offset, row in enumerate(rows, state.head + 1)
    )


def _alarms(state: UserState, rows: Iterable[NotificationRow], now_ms: int) -> dict[str, int | None]:
    """A group that begins is to be dropped one day: look at the next time of day that is the person's."""
    if all(row.id for row in rows):
        return {}
    of_day_ms = state.account_id * SPREAD * 1000 % DAY_MS
    return {TIDY_ALARM: ((now_ms - of_day_ms) // DAY_MS + 1) * DAY_MS + of_day_ms}


# -- what the person does


def unread(state: UserState) -> Decision:
    return Decision(answer=lambda: state.numbers(()).message((0, 0), 0))


def check_reads(state: UserState, by: Person) -> None:
    """Only the person, or an actor."""
    if by.id != state.account_id and by != SYSTEM:
        raise Refused("permission_denied")
    state.active_account()


def mark_read(state: UserState, command: MarkRead, by: Person) -> Decision:
    check_reads(state, by)
    cursor = parse_cursor(command.cursor)
    if cursor is None or cursor.epoch != state.epoch or cursor.offset > state.head:
        raise Refused("invalid", "cursor: is none of these notifications")
    events = (NotificationsRead(cursor.offset),) if cursor.offset > state.read_offset else ()
    return replace(unread(state), events=events)


def preferences(state: UserState, by: Person) -> Decision:
    check_reads(state, by)
    return Decision(answer=lambda: Preferences(**{kind: kind not in state.silenced for kind in KINDS}))


def prefer(state: UserState, command: EditPreferences, by: Person) -> Decision:
    def wanted(kind: Kind) -> bool:
        given = getattr(command, kind)
        return kind not in state.silenced if given is UNSET else bool(given)

    silenced = tuple(kind for kind in KINDS if not wanted(kind))
    answered = preferences(state, by)
    return answered if silenced == state.silenced else replace(answered, events=(KindsSilenced(silenced),))


# -- what is old


def tidy(state: UserState, now_ms: int) -> Decision:
    ids, oldest_ms = state.old_notices
    due_ms = now_ms if len(ids) >= DROPPED_AT_ONCE else None if oldest_ms is None else oldest_ms + KEPT_MS
    dropped = tuple(NotificationDropped(state.account_id, id) for id in ids)
    return Decision(answer=Ack, events=dropped, alarms={TIDY_ALARM: due_ms})
