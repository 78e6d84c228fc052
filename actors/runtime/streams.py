"""What may be asked of the streams: to subscribe from a position, and what changed since one."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from msgspec import json

from actors.actor import ReadHead, ShowPost
from actors.encoding import Encoder
from actors.keys import parse_key
from actors.runtime.activation import Activation
from actors.runtime.hub import PAGE_ROWS, Hub, Missed, StreamSubscription
from actors.runtime.metrics import Metrics
from protocol.commands import Command, Person, Typing
from protocol.cursor import Cursor
from protocol.delivery import Attached, Published, Sink
from protocol.errors import DomainError, Refused, Unavailable
from protocol.views import Ack
from store.base import Changes, Store, StoreUnavailable, WrittenComment

PAGE_BYTES = 256 << 10
"""Bytes of bodies in one page of what changed."""
ENCODED_AT_ONCE = 32
"""Comments rendered before others get their turn."""
SYSTEM = Person(id=0, handle="", name="", role="admin")
"""In whose name actors ask each other, and alarms ring."""


class Submit(Protocol):
    def __call__(
        self, key: str, command: Command, by: Person, op: str | None, reply: Callable[[Any], None]
    ) -> None: ...


class Streams:
    """The streams of the actors on this worker, as the gateway asks for them."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        encoder: Encoder,
        metrics: Metrics,
        *,
        submit: Submit,
        find: Callable[[str], Activation | None],
        epoch: Callable[[str], str],
    ) -> None:
        self._store = store
        self._hub = hub
        self._encoder = encoder
        self._metrics = metrics
        self._submit = submit
        self._find = find
        self._epoch = epoch

    async def attach(self, key: str, sink: Sink, since: Cursor | None) -> Attached:
        """Subscribe ``sink``, with the first page of what it missed. Raises ``DomainError``."""
        subscription, known = await self._subscribe(key, sink, since)
        try:
            return await self._first_page(subscription, since is not None, known)
        except StoreUnavailable:
            subscription.close()
            raise Unavailable() from None
        except BaseException:
            subscription.close()
            raise

    async def _subscribe(self, key: str, sink: Sink, since: Cursor | None) -> tuple[StreamSubscription, bool]:
        """Between two commands, so that the position and what follows it are decided in one step.

        Returns:
            The subscription, and whether it stands where ``since`` says.
        """
        parse_key(key)
        future: asyncio.Future[tuple[StreamSubscription, bool]] = asyncio.get_running_loop().create_future()

        def register(answer: Any) -> None:
            if isinstance(answer, DomainError) or future.done():
                resolve(future, answer)
                return
            activation = self._find(key)
            if activation is None or activation.actor is None:
                resolve(future, Unavailable())
                return
            stream = self._hub.open(key, self._epoch(key), answer, activation.durable, activation.actor.views())
            known = since is not None and since.epoch == stream.epoch and since.offset <= answer
            position = since.offset if known and since is not None else answer
            future.set_result((self._hub.subscribe(stream, sink, position), known))

        self._submit(key, ReadHead(), sink.by, None, register)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result()[0].close()
            raise

    async def _first_page(self, subscription: StreamSubscription, asked: bool, known: bool) -> Attached:
        stream, from_offset = subscription.stream, subscription.position
        if asked:
            self._metrics.recoveries.labels("recovered" if known else "reload").inc()
        items: Sequence[Published] = ()
        if known and from_offset < stream.head:
            recent = stream.after(from_offset)
            if recent is not None and len(recent) <= PAGE_ROWS:
                items, subscription.position = recent, stream.head
            else:
                items, subscription.position = await self.read_missed(stream.key, from_offset)
        counters = json.encode(stream.counters())
        return Attached(subscription, stream.epoch, from_offset, known, items, counters)

    async def changes(self, key: str, since: Cursor | None, limit: int) -> tuple[list[Published], Cursor, bool, bool]:
        _, number = parse_key(key)
        head = await self._ask(key, ReadHead())
        epoch = self._epoch(key)
        if since is None or since.epoch != epoch or since.offset > head:
            return [], Cursor(epoch, head), False, False
        try:
            changes = await self._store.changes(number, since.offset, rows_max=limit, bytes_max=PAGE_BYTES)
        except StoreUnavailable:
            raise Unavailable() from None
        items = await self._encode_changes(key, changes)
        return items, Cursor(epoch, changes.through), True, changes.through < changes.head

    def presence(self, key: str) -> list[Sink]:
        stream = self._hub.stream(key)
        return [] if stream is None else [subscription.sink for subscription in stream.subscriptions]

    async def read_missed(self, key: str, after: int) -> Missed:
        """One page of what changed, from the store. Raises ``StoreUnavailable`` or ``DomainError``."""
        _, post_id = parse_key(key)
        changes = await self._store.changes(post_id, after, rows_max=PAGE_ROWS, bytes_max=PAGE_BYTES)
        return Missed(await self._encode_changes(key, changes), changes.through)

    async def _encode_changes(self, key: str, changes: Changes) -> list[Published]:
        """The present state of what changed, in the order of the last changes."""
        await render_ahead(self._encoder, changes.comments)
        items = [
            Published(written.comment.changed_offset, self._encoder.comment_changed(*written))
            for written in changes.comments
        ]
        if changes.post is not None:
            view = await self._ask(key, ShowPost())
            items.append(Published(changes.post.changed_offset, self._encoder.post_changed(view)))
            items.sort(key=lambda item: item.offset or 0)
        return items

    def typing(self, key: str, command: Typing, by: Person, reply: Callable[[Any], None]) -> None:
        """Whoever may read the post, and has a name, is shown as typing."""

        def readable(answer: Any) -> None:
            if isinstance(answer, DomainError):
                reply(answer)
            elif not by.id:
                reply(Refused("unauthorized"))
            else:
                self._hub.typing(key, by.id, by.name, command.on)
                reply(Ack())

        self._submit(key, ReadHead(), by, None, readable)

    async def _ask(self, key: str, command: Command) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._submit(key, command, SYSTEM, None, partial(resolve, future))
        return await future


async def render_ahead(encoder: Encoder, written: Sequence[WrittenComment]) -> None:
    """Encode what is about to be sent, some at a time: rendering is the one costly thing here."""
    for at, comment in enumerate(written):
        encoder.comment(*comment)
        if at % ENCODED_AT_ONCE == ENCODED_AT_ONCE - 1:
            await asyncio.sleep(0)


def resolve(future: asyncio.Future[Any], answer: Any) -> None:
    """Give ``future`` the answer, or raise the ``DomainError`` there; nobody may wait any more."""
    if future.done():
        return
    if isinstance(answer, DomainError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
