"""Edge lists, as graphs are published: ``a b`` a line says that a follows b; ``#`` begins a comment.

Nothing is trusted: a line may be of any length and hold any bytes. What is no edge is junk, told by its line.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

LINE_BYTES_MAX: Final = 1_000
"""Longer ones are junk, and not kept while they are read."""
NAME_CHARS_MAX: Final = 28
"""A handle made of such a name has room for one letter before it."""
SHOWN_CHARS_MAX: Final = 40
"""Of what is wrong with a line, what is repeated of it."""

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,26}[A-Za-z0-9])?")
_RESERVED: Final = "guest-"
"""No handle but a guest's begins so."""


class Edge(NamedTuple):
    follower: str
    followee: str


class Junk(NamedTuple):
    """A line that is neither an edge, nor empty, nor a comment. The first is line 1."""

    line: int
    reason: str


def read_edges(chunks: Iterable[bytes]) -> Iterator[Edge | Junk]:
    """What the lines of a file say, in their order, however the file was cut into ``chunks``."""
    for number, line in enumerate(_lines(chunks), 1):
        if line is None:
            yield Junk(number, f"is longer than {LINE_BYTES_MAX:,} bytes")
        elif (said := _said(line.removeprefix(BOM_UTF8) if number == 1 else line)) is not None:
            yield Junk(number, said) if isinstance(said, str) else said


def handle_of(name: str) -> str:
    """The handle that a person of an edge list asks for: its name, with a letter before it if that is none."""
    lowered = name.lower()
    return f"p{lowered}" if lowered.isdigit() or len(lowered) < 2 or lowered.startswith(_RESERVED) else lowered


def _said(line: bytes) -> Edge | str | None:
    """The edge in a line, what is wrong with it, or None if it says nothing."""
    text = line.decode("utf-8", "backslashreplace")
    words = text.split()
    if not words or text.lstrip().startswith("#"):
        return None
    if len(words) != 2:
        return f"has {len(words)} {'word' if len(words) == 1 else 'words'}, not two"
    for word in words:
        if not _NAME.fullmatch(word):
            return f"has {_shown(word)}, which is no name: 1 to {NAME_CHARS_MAX} letters a-z, digits and, inside, . _ -"
    follower, followee = words
    return f"has {follower} follow {follower}" if follower == followee else Edge(follower, followee)


def _shown(word: str) -> str:
    return ascii(word if len(word) <= SHOWN_CHARS_MAX else word[:SHOWN_CHARS_MAX] + "…")


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """Line by line; None for one that is too long."""
    rest, skipping = b"", False
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield None if skipping or len(line) > LINE_BYTES_MAX else line
            skipping = False
        if len(rest) > LINE_BYTES_MAX:
            rest, skipping = b"", True
    if rest or skipping:
        yield None if skipping or len(rest) > LINE_BYTES_MAX else rest
