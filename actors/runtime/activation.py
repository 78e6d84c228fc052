"""One actor in memory: its mailbox, what it changed that is not durable, and the gate that holds what shows it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from actors.actor import (
    Actor,
    CommentsNeeded,
    Decision,
    Event,
    Gone,
    Message,
    Need,
    NoticesNeeded,
    Numbers,
    Publication,
    RelationsNeeded,
)
from actors.runtime.backlog import Backlog
from protocol.commands import Command, Person
from protocol.errors import DomainError, Overloaded, Refused
from store.base import Loaded, WrittenComment
from store.rows import AlarmRow, Author, MarkRow, OperationRow, ReactionRow, Row

MAILBOX_CAPACITY = 1_024
MAILBOX_BYTES_MAX = 4 << 20
"""What may wait for an actor to load."""
MAILBOX_AGE_S = 5.0
"""A command that has waited so long is answered ``overloaded``."""
SNAPSHOT_ROWS = 2_000
"""Rows behind the snapshot, after which a new one is written."""
PURGE_ALARM = "operations"
NONE: Final[Mapping[Any, int]] = MappingProxyType({})
"""Of most actors at rest, their marks and alarms: these are few and change seldom, so that a change is another dict."""

Reply = Callable[[Any], None]
"""Takes the answer, or the ``DomainError``."""


class Submit(Protocol):
    """Puts a command to an actor; ``reply`` is called once. May raise a ``DomainError`` if it was not taken."""

    def __call__(self, key: str, command: Command, by: Person, op: str | None, reply: Reply) -> None: ...


class Envelope(Struct):
    """A command, who asks, and where to answer."""

    command: Command
    by: Person
    op: str | None
    reply: Reply
    at: float
    """Monotonic seconds when it came."""
    size_bytes: int
    """About what it keeps in memory until it is durable."""
    answered: bool = False
    """After a refused batch a command may be decided twice; it is answered once."""


class Delivery(Command, frozen=True, kw_only=True):
    """Durable messages from one slot, in order: (id, command)."""

    method = "outbox"
    slot: int
    messages: tuple[tuple[int, Command], ...]


class Outcome(Struct):
    """What waits at the gate for one envelope: what to answer, and what to publish before it."""

    envelope: Envelope
    answer: Any
    publications: tuple[Publication, ...]
    events: tuple[Event, ...]


class Taken(Struct):
    """What one activation gives to one commit."""

    rows: dict[tuple[type[Row], tuple[Any, ...]], Row | None]
    count: int
    messages: list[Message]
    outcomes: list[Outcome]
    numbers: Numbers | None


class Undurable(Struct):
    """What an activation has changed since a commit took what it had changed before."""

    rows: dict[tuple[type[Row], tuple[Any, ...]], Row | None] = {}
    events: int = 0
    messages: list[Message] = []
    waiting: list[Outcome] = []

    def touch(self, row: Row) -> None:
        self.rows[type(row), row.identity()] = row


class Phase(Enum):
    LOADING = "loading"
    """It has no state yet."""
    REPLAYING = "replaying"
    """It has a state that is closed to others until the commands of a refused batch are decided again."""
    READING = "reading"
    """It fetches what the first command of its mailbox needs."""
    READY = "ready"
    GONE = "gone"
    """Thrown away or put away; whoever still holds it must ask the registry."""


class Activation:
    """Takes commands in order of arrival, one at a time.

    While it is ready a command is decided and applied at once, without a task; while it loads, or reads what a command
    needs, commands wait in the mailbox.
    """

    __slots__ = (
        "__weakref__", "_alarms", "_backlog", "_durable", "_in_flight", "_marks", "_operations", "_undurable", "actor",
        "commands", "commands_per_s", "epoch", "face", "key", "mailbox", "phase", "rows_since_snapshot", "slot",
        "used_at", "views_flush_due",
    )  # fmt: skip

    def __init__(self, key: str, slot: int, backlog: Backlog) -> None:
        self.key = key
        self.slot = slot
        self._backlog = backlog
        self.phase = Phase.LOADING
        self.actor: Actor | None = None
        self.epoch = 0
        """Of the claim under which it was loaded: under another it may not write."""
        self.mailbox: list[Envelope] = []
        """In order; a list, for an empty one is a tenth of a deque, and all but a few are empty."""
        self.used_at = 0.0
        self.commands = 0
        """Since the last sweep."""
        self.commands_per_s = 0.0
        """Before it."""
        self.rows_since_snapshot = 0
        self.views_flush_due = False
        self._durable: Numbers | None = None
        """Those of the last commit; None while it has changed nothing since it was loaded."""
        self.face = object()
        """Another one whenever the answer to a read may be another: two that are the same show the same."""
        self._alarms: Mapping[str, int] = NONE
        self._operations: dict[tuple[int, str], OperationRow] = {}
        self._marks: Mapping[int, int] = NONE
        self._undurable: Undurable | None = None
        self._in_flight: list[Outcome] | None = None

    def loaded(self, actor: Actor, loaded: Loaded, epoch: int) -> None:
        self.actor = actor
        self.epoch = epoch
        self.rows_since_snapshot = loaded.tail_rows
        self._operations = {row.identity(): row for row in loaded.operations}
        self._marks = {row.slot: row.id for row in loaded.marks} or NONE
        self._alarms = {row.name: row.due_ms for row in loaded.alarms} or NONE

    @property
    def durable(self) -> Numbers | None:
        """The counters of the last commit; what the hub may show."""
        return self._durable or (None if self.actor is None else self.actor.numbers(()))

    @property
    def _changed(self) -> Undurable:
        if self._undurable is None:
            self._undurable = Undurable()
        return self._undurable

    # -- what it is told besides commands

    def watched_by(self, watchers: int) -> None:
        """So many are subscribed to its stream now."""
        assert self.actor is not None
        if self.actor.watchers != watchers:
            self.actor.watchers = watchers
            self.face = object()

    def author_changed(self, id: int, author: Author | None) -> None:
        """Someone has another name or address now: show it, also in texts that are not in memory."""
        if self.actor is not None:
            self.actor.author_changed(id, author)
            self.face = object()

    def provide(self, comments: Sequence[WrittenComment]) -> None:
        """Texts as they are in the store: those that there is room for stay in memory."""
        if self.actor is not None:
            self.actor.provide_comments(comments)
            self.trim()

    # -- the mailbox

    def post(self, envelope: Envelope) -> None:
        """Add to the mailbox. Raises ``Overloaded``."""
        waiting_bytes = sum(waiting.size_bytes for waiting in self.mailbox)
        if len(self.mailbox) >= MAILBOX_CAPACITY or waiting_bytes + envelope.size_bytes > MAILBOX_BYTES_MAX:
            raise Overloaded("too many commands wait for this actor")
        self.mailbox.append(envelope)

    # -- deciding

    def need(self, command: Command) -> Need | None:
        """What has to be read before ``command`` can be decided; for a delivery, whatever its messages need."""
        assert self.actor is not None
        if not isinstance(command, Delivery):
            return self.actor.needs(command)
        mark = self._marks.get(command.slot, 0)
        return _joined(self.actor.needs(message) for id, message in command.messages if id > mark)

    def handle(self, envelope: Envelope, now: float, op_ttl_ms: int) -> tuple[Outcome, bool]:
        """Decide and apply; what came of it, and whether it may be answered at once.

        The answer of a refusal is the ``DomainError``; like every other it waits while something it may have seen is
        not durable.
        """
        assert self.actor is not None
        try:
            outcome = self._decide(envelope, now, op_ttl_ms)
        except DomainError as error:
            outcome = Outcome(envelope, error, (), ())
        return outcome, not self._hold(outcome)

    def _decide(self, envelope: Envelope, now: float, op_ttl_ms: int) -> Outcome:
        assert self.actor is not None
        command = envelope.command
        if isinstance(command, Delivery):
            return self._receive(envelope, command, now)
        if envelope.op is None or not envelope.by.id or not command.writes:
            return self._accept(envelope, self.actor.decide(command, envelope.by, now), now)
        identity, print_ = (envelope.by.id, envelope.op), fingerprint(command)
        done = self._operations.get(identity)
        if done is not None:
            if done.fingerprint != print_:
                raise Refused("operation_reused")
            return Outcome(envelope, msgspec.json.decode(done.result, type=command.answers), (), ())
        outcome = self._accept(envelope, self.actor.decide(command, envelope.by, now), now)
        if not isinstance(outcome.answer, DomainError):
            self._remember(envelope, print_, outcome, int(now * 1000), op_ttl_ms)
        return outcome

    def _accept(self, envelope: Envelope, decision: Decision, now: float) -> Outcome:
        assert self.actor is not None
        publications: list[Publication] = []
        if decision.events and self._durable is None:
            self._durable = self.actor.numbers(())
        for event in decision.events:
            self.actor.apply(event)
            self._write_event(event)
            publication = self.actor.publication(event)
            if publication is not None:
                publications.append(publication)
        if decision.events:
            self._changed.events += len(decision.events)
        if decision.viewed is not None and self.actor.look(decision.viewed):
            self.views_flush_due = True
            self.face = object()
        if decision.events:
            self.face = object()
        if decision.messages:
            self._changed.messages.extend(decision.messages)
        for name, due_ms in decision.alarms.items():
            self._set_alarm(name, due_ms)
        try:
            answer = decision.answer()
        except DomainError as error:
            answer = error
        return Outcome(envelope, answer, tuple(publications), decision.events)

    def _write_event(self, event: Event) -> None:
        match event.row:
            case Gone(row_type, identity):
                self._changed.rows[row_type, identity] = None
            case None:
                pass  # It is in the row that every commit of the actor has.
            case row:
                self._touch(row)

    def _remember(self, envelope: Envelope, print_: bytes, outcome: Outcome, now_ms: int, ttl_ms: int) -> None:
        row = OperationRow(
            account_id=envelope.by.id,
            op=envelope.op or "",
            actor=self.key,
            fingerprint=print_,
            result=msgspec.json.encode(outcome.answer),
            at_ms=now_ms,
        )
        self._operations[row.identity()] = row
        self._touch(row)
        if PURGE_ALARM not in self._alarms:
            self._set_alarm(PURGE_ALARM, now_ms + ttl_ms)

    def purge(self, now: float, ttl_ms: int) -> None:
        """Forget the operations that are older than ``ttl_ms``; ring again for the rest."""
        before_ms = int(now * 1000) - ttl_ms
        for identity, row in list(self._operations.items()):
            if row.at_ms > before_ms:
                self._set_alarm(PURGE_ALARM, row.at_ms + ttl_ms)
                return
            del self._operations[identity]
            self._changed.rows[OperationRow, identity] = None
        self._set_alarm(PURGE_ALARM, None)

    def _receive(self, envelope: Envelope, delivery: Delivery, now: float) -> Outcome:
        """Messages that were handled before are passed over; a refusal counts as handled."""
        publications: list[Publication] = []
        events: list[Event] = []
        mark = self._marks.get(delivery.slot, 0)
        assert self.actor is not None
        for id, command in delivery.messages:
            if id <= mark:
                continue
            mark = id
            try:
                outcome = self._accept(envelope, self.actor.decide(command, envelope.by, now), now)
            except DomainError:
                continue
            publications.extend(outcome.publications)
            events.extend(outcome.events)
        if mark != self._marks.get(delivery.slot, 0):
            self._marks = {**self._marks, delivery.slot: mark}
            self._touch(MarkRow(receiver=self.key, slot=delivery.slot, id=mark))
        return Outcome(envelope, None, tuple(publications), tuple(events))

    def _set_alarm(self, name: str, due_ms: int | None) -> None:
        if due_ms is not None:
            self._alarms = {**self._alarms, name: due_ms}
            self._touch(AlarmRow(slot=self.slot, actor=self.key, name=name, due_ms=due_ms))
        elif name in self._alarms:
            self._alarms = {other: due for other, due in self._alarms.items() if other != name} or NONE
            self._changed.rows[AlarmRow, (self.key, name)] = None

    def alarm_due(self, name: str, now: float) -> bool:
        """Whether the timer is still set, and for no later time."""
        due_ms = self._alarms.get(name)
        return due_ms is not None and due_ms <= int(now * 1000)

    def write(self, row: Row) -> None:
        """Have ``row`` in the next commit, for no one's sake: a snapshot, a flush of views."""
        self._touch(row)

    def _touch(self, row: Row) -> None:
        self._changed.touch(row)

    # -- the gate

    @property
    def dirty(self) -> bool:
        # An event may have no row but the one that every commit of the actor has.
        changed = self._undurable
        return changed is not None and bool(changed.rows or changed.messages or changed.events)

    @property
    def settled(self) -> bool:
        """Nothing of it is undurable or on its way, and nobody waits."""
        return not self.gated and not self.mailbox

    @property
    def gated(self) -> bool:
        """Something of it is undurable or on its way: its answers wait."""
        return self.dirty or self._in_flight is not None

    @property
    def gone(self) -> bool:
        """Thrown away, perhaps while it was waited for."""
        return self.phase is Phase.GONE

    def _hold(self, outcome: Outcome) -> bool:
        """Keep ``outcome`` back if it shows what is not durable yet."""
        if self.dirty:
            self._changed.waiting.append(outcome)
        elif self._in_flight is not None:
            self._in_flight.append(outcome)
        else:
            return False
        self._backlog.add(outcome.envelope.size_bytes)
        return True

    def take(self) -> Taken:
        """Everything that is to be written now; it is in flight until ``landed``."""
        assert self.actor is not None
        assert self._in_flight is None
        changed, self._undurable = self._changed, None
        if changed.events and (row := self.actor.state_row()) is not None:
            changed.touch(row)
        reacted = dict.fromkeys(row.comment_id for row in changed.rows.values() if isinstance(row, ReactionRow))
        self.rows_since_snapshot += changed.events
        self._in_flight = changed.waiting
        return Taken(
            rows=changed.rows,
            count=changed.events + len(changed.messages),
            messages=changed.messages,
            outcomes=changed.waiting,
            numbers=self.actor.numbers([id for id in reacted if id]) if changed.events else None,
        )

    def landed(self, taken: Taken) -> list[Outcome]:
        """What was taken is durable: who waited for it, in order."""
        outcomes, self._in_flight = self._in_flight or [], None
        for outcome in outcomes:
            self._backlog.remove(outcome.envelope.size_bytes)
        if taken.numbers is not None:
            self._durable = taken.numbers
        self.trim()
        return outcomes

    def trim(self) -> None:
        """Let caches shrink to their bounds, unless something of them is undurable.

        Nor while something is read: what arrives may be older than what has become durable meanwhile.
        """
        if not self.gated and self.phase is not Phase.READING and self.actor is not None:
            self.actor.trim()

    def held(self) -> list[Envelope]:
        """The envelopes that wait at the gate, in order."""
        waiting = () if self._undurable is None else self._undurable.waiting
        return [outcome.envelope for outcome in (*(self._in_flight or ()), *waiting)]

    def abandon(self) -> list[Envelope]:
        """Give up everything that is not durable; who waited, at the gate or in the mailbox."""
        self.phase = Phase.GONE
        held = self.held()
        for envelope in held:
            self._backlog.remove(envelope.size_bytes)
        held.extend(self.mailbox)
        self.mailbox.clear()
        self._undurable = self._in_flight = None
        return held


def _joined(needs: Iterable[Need | None]) -> Need | None:
    """All that ``needs`` ask for: those of the messages in one delivery, which are for a post or for a user."""
    comments: dict[int, None] = {}
    ids: dict[int, None] = {}
    among: dict[int, None] = {}
    notices = []
    for need in needs:
        match need:
            case CommentsNeeded():
                comments.update(dict.fromkeys(need.ids))
            case RelationsNeeded():
                ids.update(dict.fromkeys(need.ids))
            case NoticesNeeded():
                ids.update(dict.fromkeys(need.ids))
                among.update(dict.fromkeys(need.among))
                notices.append(need)
            case _:
                assert need is None, "no message needs it"
    if comments:
        return CommentsNeeded(tuple(comments))
    if not notices:
        return RelationsNeeded(tuple(ids)) if ids else None
    return NoticesNeeded(
        ids=tuple(ids),
        among=tuple(among),
        targets=tuple({target: None for need in notices for target in need.targets}),
        about=tuple({place: None for need in notices for place in need.about}),
        naming=tuple({id: None for need in notices for id in need.naming}),
    )


def fingerprint(command: Command) -> bytes:
    """Equal for equal commands: what a repeated operation id is compared by."""
    return blake2b(command.method.encode() + b"\0" + packed(command), digest_size=16).digest()


def packed(command: Command) -> bytes:
    """``command`` in MessagePack. Raises ``Refused`` for a number of more than 64 bits, which JSON knows."""
    try:
        return msgspec.msgpack.encode(command)
    except OverflowError:
        raise Refused("invalid", "a number is too large") from None
