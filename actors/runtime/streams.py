"""What may be asked of the streams: to subscribe from a position, and what changed since one."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import json

from actors.actor import SYSTEM, ReadHead
from actors.keys import parse_key, slot_of
from actors.runtime.activation import Activation, Reply, Submit
from actors.runtime.hub import Hub
from actors.runtime.metrics import Metrics
from actors.runtime.ownership import Ownership
from actors.runtime.past import PAGE_ROWS, Past
from actors.runtime.relays import Moved, Relay, Relays
from actors.runtime.stream import Stream, StreamSubscription
from protocol.commands import Person, Typing
from protocol.cursor import Cursor
from protocol.delivery import Attached, Changed, Published, Sink
from protocol.errors import DomainError, Refused, Unavailable
from protocol.views import Ack
from store.base import StoreUnavailable

MOVES_MAX = 3
"""So often an actor may change its worker while somebody subscribes."""


class Streams:
    """All streams, wherever their actors are, as the gateway asks for them."""

    def __init__(
        self,
        hub: Hub,
        past: Past,
        metrics: Metrics,
        *,
        ownership: Ownership,
        relays: Relays,
        submit: Submit,
        find: Callable[[str], Activation | None],
        epoch: Callable[[str], str],
    ) -> None:
        self._hub = hub
        self._past = past
        self._metrics = metrics
        self._ownership = ownership
        self._relays = relays
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
        """Returns the subscription, and whether it stands where ``since`` says."""
        parse_key(key)
        for _ in range(MOVES_MAX):
            with suppress(Moved):
                if self._ownership.ours(slot_of(key)):
                    return await self._subscribe_here(key, sink, since)
                return await self._subscribe_elsewhere(key, sink, since)
        raise Unavailable()

    async def _subscribe_here(self, key: str, sink: Sink, since: Cursor | None) -> tuple[StreamSubscription, bool]:
        """Between two commands, so that the position and what follows it are decided in one step."""
        future: asyncio.Future[tuple[StreamSubscription, bool]] = asyncio.get_running_loop().create_future()

        def register(answer: Any) -> None:
            if isinstance(answer, DomainError) or future.done():
                resolve(future, answer)
                return
            activation = self._find(key)
            if activation is None or activation.actor is None:
                resolve(future, Moved())
                return
            stream = self._hub.open(key, self._epoch(key), answer, activation.durable, activation.actor.views())
            future.set_result(self._stand(stream, sink, since, answer))

        self._submit(key, ReadHead(), sink.by, None, register)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result()[0].close()
            raise

    async def _subscribe_elsewhere(self, key: str, sink: Sink, since: Cursor | None) -> tuple[StreamSubscription, bool]:
        """Its owner says who may read it and where it stands; what follows comes over the relay."""
        head = await self._read_head(key, sink.by)
        stream = await self._relays.follow(key)
        return self._stand(stream, sink, since, max(head, stream.head))

    def _stand(self, stream: Stream, sink: Sink, since: Cursor | None, head: int) -> tuple[StreamSubscription, bool]:
        """Subscribe at ``since``, if that is a position of this stream, whose head is ``head``; else at the head."""
        if since is not None and since.epoch == stream.epoch and since.offset <= head:
            return self._hub.subscribe(stream, sink, since.offset), True
        return self._hub.subscribe(stream, sink, stream.head), False

    async def _read_head(self, key: str, by: Person) -> int:
        head: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._submit(key, ReadHead(), by, None, partial(resolve, head))
        return await head

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
                items, subscription.position, _ = await self._past.missed(stream.key, from_offset)
        latest = await self._past.latest(stream.key, from_offset) if known else stream.latest()
        return Attached(subscription, stream.epoch, from_offset, known, items, json.encode(latest))

    async def changes(self, key: str, since: Cursor | None, limit: int) -> Changed:
        """See ``Backend.changes``."""
        parse_key(key)
        head, epoch = await self._read_head(key, SYSTEM), self._epoch(key)
        if since is None or since.epoch != epoch or since.offset > head:
            return Changed([], Cursor(epoch, head), False, False, None)
        try:
            items, through, more = await self._past.missed(key, since.offset, rows_max=limit)
            if more:
                return Changed(items, Cursor(epoch, through), True, True, None)
            latest = await self._past.latest(key, since.offset)
        except StoreUnavailable:
            raise Unavailable() from None
        return Changed(items, Cursor(epoch, through), True, False, json.encode(latest))

    def sinks(self, key: str) -> list[Sink]:
        """Who is subscribed on this worker."""
        stream = self._hub.stream(key)
        subscriptions = () if stream is None else stream.subscriptions
        return [subscription.sink for subscription in subscriptions if not isinstance(subscription, Relay)]

    def typing(self, key: str, command: Typing, by: Person, reply: Reply) -> None:
        """Whoever may read the post, which is here, and has a name, is shown as typing."""

        def readable(answer: Any) -> None:
            if isinstance(answer, DomainError):
                reply(answer)
            elif not by.id:
                reply(Refused("unauthorized"))
            else:
                self._hub.typing(key, by.id, by.name, command.on)
                reply(Ack())

        self._submit(key, ReadHead(), by, None, readable)


def resolve(future: asyncio.Future[Any], answer: Any) -> None:
    """Give ``future`` the answer, or raise the ``DomainError`` there; nobody may wait any more."""
    if future.done():
        return
    if isinstance(answer, DomainError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
