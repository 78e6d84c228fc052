"""A position in a stream: the epoch of the stream and the offset of the last change that a client has."""

from typing import NamedTuple


class Cursor(NamedTuple):
    """Written ``<epoch>-<offset>``: the ``id:`` of SSE, ``cursor`` in JSON; the WebSocket has the two as fields."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"


def parse_cursor(text: str) -> Cursor | None:
    """The cursor in ``text``, or None if it is not one."""
    epoch, dash, offset = text.rpartition("-")
    if not dash or not epoch or len(epoch) > 64 or not offset.isascii() or not offset.isdecimal() or len(offset) > 18:
        return None
    return Cursor(epoch, int(offset))
