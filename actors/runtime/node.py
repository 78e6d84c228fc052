"""The door to the actors of one worker: what the gateway asks, and what it is made of."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from actors.actor import SYSTEM, RingAlarm
from actors.encoding import Encoder
from actors.policy import Policy
from actors.runtime.activation import Activation, Delivery, Envelope
from actors.runtime.alarms import Alarms
from actors.runtime.committer import Committer
from actors.runtime.directory import Directory
from actors.runtime.env import Env, Ids
from actors.runtime.gateways import Gateways
from actors.runtime.hub import Hub
from actors.runtime.metrics import Metrics
from actors.runtime.outbox import Outbox, encode_message
from actors.runtime.ownership import Ownership
from actors.runtime.past import Past
from actors.runtime.registry import Registry
from actors.runtime.streams import Streams, resolve
from actors.runtime.tasks import Tasks
from protocol.cluster import Worker
from protocol.commands import Command, Person, Typing
from protocol.delivery import Present
from protocol.errors import DomainError, Unavailable
from store.base import Store, StoreUnavailable

log = logging.getLogger("plaudit.node")

START_PATIENCE_S = 5.0
"""For so long a start waits for the lease of a worker that ended badly."""
FLUSH_TIMEOUT_S = 2.0
FIND_RETRY_S = 1.0


class Node:
    """One a worker process; it is the gateway's ``Backend``. Make it with ``running``."""

    def __init__(self, store: Store, env: Env, policy: Policy, metrics: Metrics, *, node: str, epoch: str) -> None:
        self._store = store
        self._env = env
        self._label = node
        self._metrics = metrics
        self._epoch = epoch
        self._closing = False
        self._tasks = Tasks()
        encoder = Encoder()
        self._ownership = Ownership(store, env, node=node, on_lost=self._slots_lost)
        self._committer = Committer(store, self._ownership, env, metrics, encode=encode_message)
        self._alarms = Alarms(store, self._ownership, env, ring=self._ring)
        self._outbox = Outbox(
            deliver=self._deliver, acknowledge=self._committer.enqueue_rows, delivered=metrics.messages.inc
        )
        past = Past(store, encoder, ask=self._ask_for_nobody, find=self._find)
        self._hub = Hub(env, metrics, past)
        self._registry = Registry(
            store,
            env,
            policy,
            metrics,
            ownership=self._ownership,
            committer=self._committer,
            hub=self._hub,
            encoder=encoder,
            stream_epoch=self._stream_epoch,
            alarm_set=self._alarms.note,
            messages_sent=self._outbox.add,
        )
        self._streams = streams = Streams(
            self._hub,
            past,
            metrics,
            submit=self.submit,
            find=self._find,
            epoch=self._stream_epoch,
        )
        directory = Directory(store, encoder, Ids(env), epoch=self._stream_epoch, watchers=self._hub.watchers)
        self._gateways = gateways = Gateways()
        # The rest of the gateway's interface: the node is only where it is found.
        self.attach = streams.attach
        self.changes = streams.changes
        self.on_told = gateways.on_told
        self.on_interrupted = gateways.on_interrupted
        self.on_asked = gateways.on_asked
        self.new_id = directory.new_id
        self.account_number = directory.account_number
        self.claim_names = directory.claim_names
        self.release_name = directory.release_name
        self.resolve = directory.resolve
        self.revoked_sessions = directory.revoked_sessions
        self.ended_accounts = directory.ended_accounts
        self.leases = directory.leases
        self.busiest = self._registry.busiest
        self.authors = directory.authors
        self.posts = directory.posts

    # -- life

    @classmethod
    @asynccontextmanager
    async def running(
        cls, store: Store, env: Env, policy: Policy, metrics: Metrics, *, node: str
    ) -> AsyncIterator["Node"]:
        """A node that owns every slot. Raises ``OwnedByAnother`` or ``StoreUnavailable``.

        On leaving, what is undurable is committed, views and snapshots are written, and the slots are given back.
        """
        meta = await store.meta()
        self = cls(store, env, policy, metrics, node=node, epoch=meta.epoch)
        await self._ownership.start(patience_s=START_PATIENCE_S)
        forgotten = self._outbox.forget(self._ownership.slots)
        self._committer.start(self._registry)
        self._alarms.start()
        self._registry.start()
        try:
            self._outbox.found(forgotten, await store.outbox(list(forgotten)))
            yield self
        finally:
            await self._stop()

    async def _stop(self) -> None:
        self._closing = True
        self._outbox.forget(self._ownership.slots)
        await self._alarms.stop()
        await self._hub.stop()
        self._registry.close()
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                await self._committer.flushed()
        except TimeoutError:
            log.warning("ended before everything was written; nothing unwritten was acknowledged")
        await self._tasks.stop()
        await self._committer.stop()
        await self._registry.stop()
        await self._ownership.stop()

    def ready(self) -> dict[str, str]:
        """What cannot serve, and why; empty when all can."""
        if self._closing:
            return {"server": "shutting down"}
        if not self._ownership.held():
            return {"database": "the lease could not be renewed"}
        if missing := len(self._ownership.missing()):
            return {"slots": f"{missing} slots are not owned"}
        return {}

    def worker(self) -> Worker:
        """See ``Backend.worker``."""
        return Worker(str(self._ownership.worker), self._label, "none")

    # -- asking

    def submit(self, key: str, command: Command, by: Person, op: str | None, reply: Callable[[Any], None]) -> None:
        """See ``Backend.submit``."""
        if isinstance(command, Typing):
            self._streams.typing(key, command, by, reply)
            return
        self._metrics.command(command.method)
        envelope = Envelope(command, by, op, reply, self._env.monotonic(), _size_bytes(command))
        try:
            if self._closing or not self._ownership.held():
                raise Unavailable()
            self._registry.submit(key, envelope)
        except DomainError as error:
            self._registry.reply(envelope, error)

    async def ask(self, key: str, command: Command, by: Person, op: str | None = None) -> Any:
        """See ``Backend.ask``."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.submit(key, command, by, op, partial(resolve, future))
        return await future

    async def presence(self, key: str) -> list[Present]:
        """See ``Backend.presence``."""
        return self._streams.present(key)

    # -- the gateways of the other workers

    def tell(self, subject: str, data: bytes) -> None:
        """See ``Backend.tell``; there is no other."""

    async def gather(self, subject: str, data: bytes = b"") -> list[bytes]:
        """See ``Backend.gather``."""
        answer = self._gateways.asked(subject, data)
        return [] if answer is None else [answer]

    # -- inside

    async def _ask_for_nobody(self, key: str, command: Command) -> Any:
        return await self.ask(key, command, SYSTEM)

    def _find(self, key: str) -> Activation | None:
        return self._registry.find(key)

    def _stream_epoch(self, key: str) -> str:
        return f"{self._epoch}:{key}"

    def _ring(self, key: str, alarm: RingAlarm) -> None:
        self.submit(key, alarm, SYSTEM, None, _ignore)

    def _deliver(self, receiver: str, delivery: Delivery, reply: Callable[[Any], None]) -> None:
        self.submit(receiver, delivery, SYSTEM, None, reply)

    def _slots_lost(self, slots: Iterable[int]) -> None:
        lost = set(slots)
        forgotten = self._outbox.forget(lost)
        self._registry.slots_lost(lost)
        self._tasks.spawn(self._find_messages(forgotten), "outbox")

    async def _find_messages(self, forgotten: dict[int, int]) -> None:
        """Once the slots are ours again: their unacknowledged messages."""
        for slot in forgotten:
            await self._ownership.owned(slot)
        while True:
            try:
                self._outbox.found(forgotten, await self._store.outbox(list(forgotten)))
                return
            except StoreUnavailable as error:
                log.warning("messages not read: %s", error)
                await asyncio.sleep(FIND_RETRY_S)


def _ignore(answer: Any) -> None:
    """Nobody waits for it."""


def _size_bytes(command: Command) -> int:
    """About how much the command keeps in memory until it is durable."""
    body = getattr(command, "body", None)
    return 256 + (len(body) if isinstance(body, str) else 0)
