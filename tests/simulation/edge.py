"""The edge of a simulated worker: does what a ``Session`` says, as the WebSocket endpoint does, without a socket."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import msgspec

from actors.keys import parse_key
from actors.runtime.node import Node
from protocol import session as conversation
from protocol.centrifuge import PING, encode_push
from protocol.channels import channel_of, key_of
from protocol.commands import Person
from protocol.cursor import parse_cursor
from protocol.delivery import Form, Pipe, Published, Subscription, write_each
from protocol.errors import SHUTDOWN, DomainError
from protocol.session import Action, Ask, Session, Subscribe
from protocol.views import Ack, CommentPage, CommentView, PostView
from tests.simulation.loop import Host, SimulatedLoop
from tests.simulation.oracles import Journal, Shown

BUFFERED_FACTOR = 4_096
"""What a client has not taken counts for so much more: a few messages fill a socket here."""
LIMITS = conversation.Limits(ping_interval_s=3_600.0)


class PushForm:
    """Publications as pushes, one a line."""

    names_stream = True
    write = staticmethod(write_each)

    def encode(self, key: str, epoch: str, items: Sequence[Published]) -> bytes:
        return b"\n".join(encode_push(channel_of(key), item) for item in items)


class Wire:
    """One direction of a connection: in order, with delays; what is unread can be held back."""

    def __init__(
        self, loop: SimulatedLoop, to: Host, receive: Callable[[bytes], None], rng: Random, delay_s: float
    ) -> None:
        self._loop = loop
        self._to = to
        self._receive = receive
        self._rng = rng
        self._delay_s = delay_s
        self._arrives_at = 0.0
        self._held: deque[bytes] | None = None
        self.unread_bytes = 0

    def write(self, data: bytes) -> None:
        if self._held is not None:
            self._held.append(data)
            self.unread_bytes += len(data)
            return
        delay = self._rng.expovariate(1 / self._delay_s)
        self._arrives_at = max(self._arrives_at, self._loop.time() + delay)
        self._loop.call_at(self._arrives_at, self._receive, data, context=self._to.context)

    def hold(self) -> None:
        """The reader takes nothing more for now."""
        if self._held is None:
            self._held = deque()

    def release(self) -> None:
        held, self._held = self._held or (), None
        self.unread_bytes = 0
        for data in held:
            self.write(data)


class Connection:
    """One client's connection to one worker: the ``Sink`` of its subscriptions, and the doer of its session's actions.

    Everything but ``hold`` and ``release`` runs on the worker's host.
    """

    def __init__(
        self, loop: SimulatedLoop, node: Node, client: str, by: Person, journal: Journal, form: PushForm, out: Wire,
        closed: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.form: Form = form
        self.pipe: Pipe = self
        self.client = client
        self.by = by
        self.out = out
        self._loop = loop
        self._node = node
        self._journal = journal
        self._say_closed = closed
        self._session = Session(client, LIMITS, loop.time())
        self._subscriptions: dict[str, Subscription] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    # -- the sink

    def write(self, data: bytes) -> int:
        if self._closed:
            return 0
        self.out.write(data)
        return self.buffered_bytes()

    def buffered_bytes(self) -> int:
        return self.out.unread_bytes * BUFFERED_FACTOR

    def close(self, code: int, reason: str) -> None:
        if not self._closed:
            self.end()
            self._say_closed(code)

    def end(self) -> None:
        """The connection is over, on whatever side it ended."""
        self._closed = True
        self._session.end()
        for subscription in self._subscriptions.values():
            subscription.close()
        self._subscriptions.clear()

    # -- the session

    def receive(self, frame: bytes) -> None:
        if self._closed:
            return
        for action in self._session.receive(frame, self._loop.time()):
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case conversation.Send(reply):
                self.write(reply)
            case conversation.Ping():
                self.write(PING)
            case conversation.Authenticate():
                self._perform(self._session.authenticated(action, self.by, None, self._loop.time()))
            case Ask():
                answered = partial(self._answered, action)
                self._node.submit(action.key, action.command, self.by, action.op, answered)
            case Subscribe():
                self._tasks.append(asyncio.create_task(self._attach(action), name=f"attach {self.client}"))
            case conversation.Unsubscribe(channel, reply):
                subscription = self._subscriptions.pop(channel, None)
                if subscription is not None:
                    subscription.close()
                self.write(reply)
            case conversation.Close(code, reason):
                self.close(code, reason)
            case conversation.ListPresence():
                self._tasks.append(asyncio.create_task(self._list_presence(action), name=f"presence {self.client}"))
            case conversation.ReadHistory():
                raise AssertionError("no simulated client asks for this")

    def _answered(self, action: Ask, answer: Any) -> None:
        self._hold_against_the_journal(action, answer)
        self.write(conversation.answer(action.id, answer))

    def _hold_against_the_journal(self, action: Ask, answer: Any) -> None:
        kind, post_id = parse_key(action.key)
        if kind != "post":
            return
        where = f"the reply to {action.command.method} ({action.op})"
        if isinstance(answer, bytes | msgspec.Raw):
            # What came from another worker is JSON already.
            answer = msgspec.json.decode(answer, type=Ack | None) if action.command.writes else answer
        match answer:
            case Ack():
                self._journal.acknowledged(post_id, answer.offset, answer.version, where)
            case PostView():
                self._journal.acknowledged(post_id, _offset(answer.cursor), answer.version, where)
            case CommentPage():
                self._journal.acknowledged(post_id, _offset(answer.cursor), None, where)
                self._journal.shown(post_id, [shown_in(node.comment) for node in answer.comments], where)
            case _:
                pass

    async def _attach(self, action: Subscribe) -> None:
        key = key_of(action.channel)
        try:
            attached = await self._node.attach(key, self, action.since)
        except DomainError as error:
            self._session.unsubscribed(action.channel)
            self.write(conversation.error_reply(action.id, error))
            return
        if self._closed:
            attached.subscription.close()
            return
        kind, _, number = key.partition(":")
        if kind == "post":
            self._journal.acknowledged(int(number), attached.offset, None, f"a subscription of {self.client}")
        self.write(self._session.subscribed(action, attached, len(attached.first)))
        self._subscriptions[action.channel] = attached.subscription
        attached.subscription.start()

    async def _list_presence(self, action: conversation.ListPresence) -> None:
        here = action.channel in self._subscriptions
        presence = await self._node.presence(action.channel)
        listed = {present.client for present in presence.listed}
        where = f"the presence of {action.channel} to {self.client}"
        self._journal.require(not here or self.client in listed, f"{where} leaves out who asks: {listed}")
        self._journal.require(len(listed) == presence.clients, f"{where} counts {presence.clients}: {listed}")
        self.write(conversation.present(action, presence))

    def shut_down(self) -> None:
        """The worker ends in order."""
        self.close(*SHUTDOWN)


def _offset(cursor: str) -> int:
    parsed = parse_cursor(cursor)
    assert parsed is not None
    return parsed.offset


def shown_in(comment: bytes | msgspec.Raw) -> Shown:
    view = msgspec.json.decode(comment, type=CommentView)
    return Shown(int(view.id), view.offset, view.state, view.body)
