"""Brings a command to its actor, on whichever worker that is, and the answer back, within a deadline.

A command for another worker's slot is *pending* here until it is answered. Who owns the actor remembers which writes of
each process it has taken, for as long as these are pending there, so that the same one may be sent again and is done
once. After a change of owner that memory is gone: then only what may be done twice is sent again, or what has an
operation id.
"""

import asyncio
import logging
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

from msgspec import Struct

from actors.keys import parse_key, slot_of
from actors.runtime.activation import Delivery, Reply, Submit
from actors.runtime.env import Env
from actors.runtime.messages import (
    Answered,
    Message,
    NotAnswered,
    NotMine,
    Request,
    decode_answer,
    decode_command,
    encode_answer,
    encode_command,
    error_of,
    not_answered,
    process_of,
)
from actors.runtime.metrics import Metrics
from actors.runtime.ownership import Ownership
from actors.runtime.peers import Peers
from protocol.commands import Command, Person
from protocol.errors import DomainError, Overloaded, Unavailable

log = logging.getLogger("plaudit.router")

DEADLINE_S = 5.0
"""An answer that has not come by then does not come: the outcome is unknown."""
LOOK_AFTER_S = 0.25
"""Without an answer for so long, it is looked up who owns the actor now."""
AGAIN_AFTER_S = 1.0
"""Without an answer for so long, the same owner gets the request again; sooner only doubles the load of a slow one."""
TICK_S = 0.05
PENDING_MAX = 10_000
SILENT_S = 60.0
"""What was taken of a process that is not live and has asked nothing for so long is forgotten."""


class Pending(Struct, eq=False):
    """A command whose actor is not here."""

    id: int
    key: str
    slot: int
    command: Command
    data: bytes
    """The command, encoded."""
    by: Person
    op: str | None
    reply: Reply
    deadline: float
    sent_to: tuple[UUID, int] | None = None
    """The owner that may have got it, with its epoch."""
    sent_at: float = 0.0
    looked: bool = False
    refused_by: tuple[UUID, int] | None = None
    """The owner that has not done it, since it is about to give the slot away; ``sent_at`` is when it said so."""

    @property
    def repeatable(self) -> bool:
        """Whether another owner may get it although the one before may have done it."""
        command = self.command
        return self.op is not None or not command.writes or command.repeatable or isinstance(command, Delivery)


class Window:
    """The writes of one process that were taken here and that it may send again, with what was answered."""

    def __init__(self) -> None:
        self.answers: dict[int, Message | None] = {}
        """By rising id; None: not answered yet."""
        self.heard_at = 0.0
        self._floor = 0

    def stale(self, request: Request) -> bool:
        """Whether nobody waits for ``request`` any more, so that it must not be done."""
        self._floor = max(self._floor, request.oldest)
        while self.answers and (first := next(iter(self.answers))) < self._floor:
            del self.answers[first]
        return request.id < self._floor


class Router:
    """One a worker."""

    def __init__(self, env: Env, metrics: Metrics, ownership: Ownership, peers: Peers, *, local: Submit) -> None:
        self._env = env
        self._metrics = metrics
        self._ownership = ownership
        self._peers = peers
        self._local = local
        self._ids = count(1)
        self._pending: dict[int, Pending] = {}
        self._tick: asyncio.TimerHandle | None = None
        self._sent = 0
        """Requests since the last tick, which tells the figures: one by one that would cost as much as to send them."""
        self._stopped = False
        self._windows: dict[bytes, Window] = {}
        """By process: the writes that were taken here."""
        peers.handle(Request, self._requested)
        peers.handle(Answered, self._answered)
        peers.handle(NotAnswered, self._not_answered)
        peers.handle(NotMine, self._not_mine)

    def stop(self) -> None:
        """End; who still waits is told to retry, as is who comes from now on."""
        self._stopped = True
        if self._tick is not None:
            self._tick.cancel()
        for pending in list(self._pending.values()):
            self._finish(pending, Unavailable())

    # -- asking

    def is_here(self, slot: int) -> bool:
        """Whether commands for ``slot`` are for the actors of this worker."""
        return self._peers.alone or self._ownership.ours(slot)

    def submit(self, key: str, command: Command, by: Person, op: str | None, reply: Reply) -> None:
        """See ``Backend.submit``. Raises ``DomainError`` if the command was not taken."""
        if self._peers.alone:
            self._local(key, command, by, op, reply)
            return
        slot = slot_of(key)
        if self._ownership.ours(slot):
            self._local(key, command, by, op, reply)
            return
        parse_key(key)
        if self._stopped:
            raise Unavailable()
        if len(self._pending) >= PENDING_MAX:
            raise Overloaded("too many commands wait for other workers")
        data = encode_command(command)
        deadline = self._env.monotonic() + DEADLINE_S
        pending = Pending(next(self._ids), key, slot, command, data, by, op, reply, deadline)
        self._pending[pending.id] = pending
        self._route(pending)
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(TICK_S, self._look_after)

    def owners_changed(self) -> None:
        """Bring what waits to where its actor is now, in the order it came."""
        live = {process_of(worker) for worker in self._ownership.live()}
        long_ago = self._env.monotonic() - SILENT_S
        for process in [process for process in self._windows if process not in live]:
            if self._windows[process].heard_at < long_ago:
                del self._windows[process]
        for pending in list(self._pending.values()):
            if pending.sent_to is None or pending.sent_to != self._ownership.owner(pending.slot):
                self._route(pending)

    def _route(self, pending: Pending) -> None:
        """Send it to the owner that is known, or hold it."""
        ours = self._ownership.ours(pending.slot)
        owner = self._ownership.owner(pending.slot)
        if not ours and (owner is None or (self._peers.down() is not None and pending.sent_to is None)):
            if self._peers.down() is not None:
                self._finish(pending, Unavailable("other workers cannot be reached"))
            return
        if pending.sent_to is not None and pending.sent_to != owner and not pending.repeatable:
            self._finish(pending, Unavailable())
        elif ours:
            self._forget(pending)
            self._submit_here(pending)
        elif owner is not None and pending.sent_to != owner and not self._just_refused(pending, owner):
            self._send(pending, owner)

    def _just_refused(self, pending: Pending, owner: tuple[UUID, int]) -> bool:
        """Whether ``owner`` would say so again: a slow move must not keep both busy with asking."""
        return pending.refused_by == owner and self._env.monotonic() - pending.sent_at < LOOK_AFTER_S

    def _submit_here(self, pending: Pending) -> None:
        try:
            self._local(pending.key, pending.command, pending.by, pending.op, pending.reply)
        except DomainError as error:
            pending.reply(error)

    def _send(self, pending: Pending, owner: tuple[UUID, int]) -> None:
        if pending.sent_to is not None:
            self._metrics.retries.inc()
        pending.sent_to, pending.sent_at, pending.looked = owner, self._env.monotonic(), False
        oldest, method, (worker, epoch) = next(iter(self._pending)), pending.command.method, owner
        request = Request(pending.id, oldest, epoch, pending.key, method, pending.data, pending.by, pending.op)
        self._sent += 1
        self._peers.send(process_of(worker), request)

    def _look_after(self) -> None:
        """Every tick while something is pending: give up, look up, send again."""
        self._tick = None
        now = self._env.monotonic()
        for pending in list(self._pending.values()):
            if now >= pending.deadline:
                self._finish(pending, Unavailable())
            elif pending.sent_to is None:
                self._ownership.look()
            elif now - pending.sent_at >= AGAIN_AFTER_S:
                self._send(pending, pending.sent_to)
            elif now - pending.sent_at >= LOOK_AFTER_S and not pending.looked:
                pending.looked = True
                self._ownership.look()
        self._metrics.held_requests.set(sum(pending.sent_to is None for pending in self._pending.values()))
        self._metrics.remote_requests.inc(self._sent)
        self._sent = 0
        if self._pending:
            self._tick = asyncio.get_running_loop().call_later(TICK_S, self._look_after)

    def _finish(self, pending: Pending, answer: Any) -> None:
        self._forget(pending)
        try:
            pending.reply(answer)
        except Exception:
            log.exception("a reply could not be given")

    def _forget(self, pending: Pending) -> None:
        self._pending.pop(pending.id, None)

    # -- what comes back

    def _answered(self, _: bytes, message: Answered) -> None:
        pending = self._pending.get(message.id)
        if pending is None:
            return
        try:
            answer = decode_answer(pending.command, message.answer)
        except ValueError as error:
            log.error("%s was answered with something else: %s", pending.command.method, error)
            answer = DomainError("internal")
        self._finish(pending, answer)

    def _not_answered(self, _: bytes, message: NotAnswered) -> None:
        pending = self._pending.get(message.id)
        if pending is not None:
            self._finish(pending, error_of(message))

    def _not_mine(self, process: bytes, message: NotMine) -> None:
        pending = self._pending.get(message.id)
        if pending is None or pending.sent_to is None:
            return
        owner, epoch = pending.sent_to
        if process_of(owner) != process or epoch != message.epoch:
            # It has been sent again since, under another claim.
            return
        # Nothing was done there: it may go anywhere, once it is known where to.
        pending.refused_by, pending.sent_at = pending.sent_to, self._env.monotonic()
        pending.sent_to = None
        self._ownership.look()

    # -- what others ask

    def _requested(self, process: bytes, request: Request) -> None:
        window = self._windows.get(process)
        if window is None:
            window = self._windows[process] = Window()
        window.heard_at = self._env.monotonic()
        if window.stale(request):
            return
        if request.id in window.answers:
            answer = window.answers[request.id]
            if answer is not None:
                self._peers.send(process, answer)
            return
        slot = slot_of(request.key)
        if not self._ownership.ours(slot) or not self._ownership.owns(slot, request.epoch):
            self._peers.send(process, NotMine(request.id, request.epoch))
            return
        try:
            command = decode_command(request.method, request.command)
        except ValueError as error:
            log.error("a request that no worker wrote: %s", error)
            self._metrics.bus_malformed.inc()
            return
        if command.writes:
            window.answers[request.id] = None
        reply = partial(self._answer, process, window, request.id)
        try:
            self._local(request.key, command, request.by, request.op, reply)
        except DomainError as error:
            reply(error)

    def _answer(self, process: bytes, window: Window, id: int, answer: Any) -> None:
        refused = isinstance(answer, DomainError)
        message: Message = not_answered(id, answer) if refused else Answered(id, encode_answer(answer))
        if id in window.answers:
            window.answers[id] = message
        self._peers.send(process, message)
