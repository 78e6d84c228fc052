"""The other workers: sends them messages over the bus, and hands what arrives to whoever handles its type."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from actors.runtime.messages import Message, decode, encode, inbox_of
from actors.runtime.metrics import Metrics
from store.bus import EVERYONE, Bus

log = logging.getLogger("plaudit.peers")

MessageT = TypeVar("MessageT", bound=Message)


class Peers:
    """One a worker. Without a bus there is nobody else: what is sent goes nowhere."""

    def __init__(self, bus: Bus | None, metrics: Metrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self.process = b""
        self._handlers: dict[type[Message], Callable[[bytes, Any], None]] = {}
        self._catch_ups: list[Callable[[], None]] = []

    @asynccontextmanager
    async def joined(self, process: bytes) -> AsyncIterator[None]:
        """Listen as ``process`` until left. Raises ``BusUnavailable``."""
        self.process = process
        if self._bus is None:
            yield
            return
        async with self._bus.joined(inbox_of(process), self):
            yield

    @property
    def alone(self) -> bool:
        return self._bus is None

    def down(self) -> str | None:
        """Why no other worker can be reached at present; None while all is well."""
        return None if self._bus is None else self._bus.down()

    # -- messages

    def handle(self, kind: type[MessageT], handler: Callable[[bytes, MessageT], None]) -> None:
        """Have ``handler`` called with the sender's process and each message of ``kind``."""
        self._handlers[kind] = handler

    def send(self, process: bytes, message: Message) -> None:
        """To one process; it may be lost."""
        self.send_encoded(process, encode(self.process, message))

    def send_encoded(self, process: bytes, data: bytes) -> None:
        if self._bus is not None:
            self._bus.send(inbox_of(process), data)

    def send_all(self, message: Message) -> None:
        """To all other workers; it may be lost."""
        if self._bus is not None:
            self._bus.send(EVERYONE, encode(self.process, message))

    def encode(self, message: Message) -> bytes:
        """For ``send_encoded``: once for several receivers."""
        return encode(self.process, message)

    def received(self, message: bytes) -> None:
        try:
            process, decoded = decode(message)
        except ValueError as error:
            log.debug("a message that no worker wrote: %s", error)
            self._metrics.bus_malformed.inc()
            return
        if process == self.process:
            return
        try:
            self._handlers[type(decoded)](process, decoded)
        except Exception:
            # One message that we cannot handle is no reason to hear no more.
            log.exception("%s could not be handled", type(decoded).__name__)

    def interrupted(self) -> None:
        self._metrics.bus_interrupted.inc()
        for catch_up in self._catch_ups:
            catch_up()

    def on_interrupted(self, catch_up: Callable[[], None]) -> None:
        """Have ``catch_up`` called whenever messages may have been lost."""
        self._catch_ups.append(catch_up)
