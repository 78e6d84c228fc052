"""A position in a stream: the epoch of the stream and the offset of the last change that a client has."""

from typing import Final, NamedTuple

RECEIPT: Final = "~"
"""Begins, behind an epoch, what its client may need to come back with; it is no part of the position."""


class Cursor(NamedTuple):
    """Written ``<epoch>-<offset>``: the ``id:`` of SSE, ``cursor`` in JSON; the WebSocket has the two as fields."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"


def parse_cursor(text: str) -> Cursor | None:
    """The cursor in ``text``, or None if it is not one."""
    said, dash, offset = text.rpartition("-")
    epoch = bare(said)
    if not dash or not epoch or len(epoch) > 64 or not offset.isascii() or not offset.isdecimal() or len(offset) > 18:
        return None
    return Cursor(epoch, int(offset))


def bare(epoch: str) -> str:
    """An epoch, without the receipt that it may come with."""
    return epoch.partition(RECEIPT)[0]


def receipt_in(text: str) -> str:
    """The receipt in a cursor; empty if there is none."""
    return text.rpartition("-")[0].partition(RECEIPT)[2]
