"""The other workers: sends them messages over the bus, and hands what arrives to whoever handles its type."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from msgspec import Raw

from actors.runtime.messages import Message, inbox_of, packet, unpacked
from actors.runtime.metrics import Metrics
from store.bus import EVERYONE, Bus

log = logging.getLogger("plaudit.peers")

GATHERED_MAX = 256
PACKET_BYTES_MAX = 256 << 10
"""Messages in a packet, and its bytes unless it is one message: who gets it hands on all of it in one go."""

MessageT = TypeVar("MessageT", bound=Message)


class Peers:
    """One a worker. Without a bus there is nobody else: what is sent goes nowhere."""

    def __init__(self, bus: Bus | None, metrics: Metrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self.process = b""
        self._gathered: dict[bytes, list[Message | Raw]] = {}
        """By process, what was said to it in this turn of the loop: it travels as one packet."""
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
            try:
                yield
            finally:
                self._send_gathered()

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

    def send(self, process: bytes, message: Message | Raw) -> None:
        """To one process, in the order of these calls; it may be lost, and what goes to all may come before it."""
        if self._bus is None:
            return
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._send_gathered)
        gathered = self._gathered.setdefault(process, [])
        gathered.append(message)
        if len(gathered) >= GATHERED_MAX:
            self._send_gathered()

    def _send_gathered(self) -> None:
        gathered, self._gathered = self._gathered, {}
        for process, messages in gathered.items():
            self._send(inbox_of(process), messages)

    def _send(self, inbox: str, messages: Sequence[Message | Raw]) -> None:
        if self._bus is None:
            return
        data, half = packet(self.process, messages), len(messages) // 2
        if len(data) > PACKET_BYTES_MAX and half:
            self._send(inbox, messages[:half])
            self._send(inbox, messages[half:])
        else:
            self._bus.send(inbox, data)

    def send_all(self, message: Message) -> None:
        """To all other workers; it may be lost."""
        self._send(EVERYONE, [message])

    def received(self, message: bytes) -> None:
        try:
            process, messages = unpacked(message)
        except ValueError as error:
            log.debug("a message that no worker wrote: %s", error)
            self._metrics.bus_malformed.inc()
            return
        if process == self.process:
            return
        for each in messages:
            try:
                self._handlers[type(each)](process, each)
            except Exception:
                # One message that we cannot handle is no reason to hear no more.
                log.exception("%s could not be handled", type(each).__name__)

    def interrupted(self) -> None:
        self._metrics.bus_interrupted.inc()
        for catch_up in self._catch_ups:
            catch_up()

    def on_interrupted(self, catch_up: Callable[[], None]) -> None:
        """Have ``catch_up`` called whenever messages may have been lost."""
        self._catch_ups.append(catch_up)
