"""Sockets as the hub sees them, that keep what they get."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from actors.runtime.draining import BEHIND_BYTES
from protocol.commands import Person
from protocol.delivery import Attached, Form, Pipe, Published, write_each
from tests.actors.runtime.rig import BOB


class Frame(NamedTuple):
    channel: str
    epoch: str
    items: list[tuple[int | None, str]]


class PlainForm:
    """Publications as JSON; counts what it encoded."""

    names_stream = True
    write = staticmethod(write_each)

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, key: str, epoch: str, items: Sequence[Published]) -> bytes:
        self.encoded += 1
        return msgspec.json.encode([key, epoch, [(item.offset, item.data.decode()) for item in items]])


class RecordingSink:
    """Keeps what is written; ``stall`` makes it a socket that takes nothing."""

    def __init__(self, form: PlainForm | None = None, by: Person = BOB, client: str = "a client") -> None:
        self.form: Form = form or PlainForm()
        self.pipe: Pipe = self
        self.by = by
        self.client = client
        self.frames: list[Frame] = []
        self.closed: tuple[int, str] | None = None
        self._buffered_bytes = 0

    def write(self, data: bytes) -> int:
        self.frames.append(msgspec.json.decode(data, type=Frame))
        return self._buffered_bytes

    def buffered_bytes(self) -> int:
        return self._buffered_bytes

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    # -- for tests

    def stall(self, buffered_bytes: int = 2 * BEHIND_BYTES) -> None:
        self._buffered_bytes = buffered_bytes

    def drain(self) -> None:
        self._buffered_bytes = 0

    def take(self, attached: Attached) -> None:
        """Write the first page, as a connection does, and start."""
        if attached.first:
            self.write(self.form.encode("post:7", attached.epoch, attached.first))
        attached.subscription.start()

    def offsets(self) -> list[int]:
        """Of all publications that have one, in the order they came."""
        return [offset for frame in self.frames for offset, _ in frame.items if offset is not None]

    def of_type(self, type: str) -> list[dict[str, Any]]:
        decoded = [msgspec.json.decode(data, type=dict[str, Any]) for frame in self.frames for _, data in frame.items]
        return [publication for publication in decoded if publication["type"] == type]
