"""What clients saw of a run, as JSON lines: everything that the checker knows.

Times are seconds since the run began, by one clock. Ids are as on the wire. ``comment`` "" stands for the post itself.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Literal

import msgspec
from msgspec import Struct

Method = Literal["create", "edit", "delete", "react", "applaud"]
Kind = Literal["resuming", "live", "events", "polling"]
"""How a watcher follows: a WebSocket from its cursor, or from the head each time; an event stream; HTTP by turns."""


BODY_CHARS_MAX = 80


def brief(body: str) -> str:
    """What of a text is written down: those of a run differ at their beginning."""
    return body if len(body) <= BODY_CHARS_MAX else f"{body[:BODY_CHARS_MAX]}… {len(body)} characters"


class Line(Struct, frozen=True, kw_only=True):
    """Something that happened."""


class Wrote(Line, frozen=True, tag="wrote"):
    """One write, from the first request to the answer that counts."""

    lane: str
    """Does one thing after another; nobody else touches its comments or its kinds of reaction."""
    person: str
    post: str
    method: Method
    began: float
    ended: float
    outcome: Literal["acknowledged", "unknown", "refused"]
    comment: str = ""
    """Of a creation: the id that was answered."""
    body: str = ""
    """That of a creation is like no other."""
    kind: str = ""
    amount: int = 0
    offset: int = 0
    """Where it stands on the stream, if the answer said so."""
    again: bool = False
    """A creation that had been acknowledged, asked once more with the same operation id."""
    unanswered: int = 0
    """Requests without an answer before this one."""
    code: str = ""
    """Of a refusal."""


class Read(Line, frozen=True, tag="read"):
    """A post's counter and position, or one comment, as an answer showed it."""

    post: str
    began: float
    ended: float
    comment: str = ""
    body: str = ""
    deleted: bool = False
    comments: int = 0
    offset: int = 0


class Opened(Line, frozen=True, tag="opened"):
    """A watcher has subscribed, from ``offset``."""

    watcher: str
    kind: Kind
    post: str
    at: float
    offset: int
    recovered: bool


class Saw(Line, frozen=True, tag="saw"):
    """A watcher was told of a comment."""

    watcher: str
    at: float
    offset: int
    comment: str
    body: str
    deleted: bool


class Moved(Line, frozen=True, tag="moved"):
    """A watcher that asks by turns has been answered with everything up to ``offset``."""

    watcher: str
    at: float
    offset: int


class Closed(Line, frozen=True, tag="closed"):
    """A watcher has lost its connection; 0: it was just gone."""

    watcher: str
    at: float
    code: int


class Numbers(Struct, frozen=True):
    """The counters of a post."""

    comments: int
    applause: int
    reactions: dict[str, int]


class Counted(Line, frozen=True, tag="counted"):
    """The last numbers that a watcher was told, when everything had come to rest."""

    watcher: str
    at: float
    numbers: Numbers


class Fault(Line, frozen=True, tag="fault"):
    """Something that was done to the cluster, and its being well again."""

    name: str
    began: float
    returned: float
    """When what was taken away was there again; ``began``, if nothing was."""
    ended: float
    """When every post had been written to, and every watcher had caught up."""
    done: str = ""
    """What exactly, for people."""
    ill: list[str] = []
    """What had not come to that when it was given up."""
    told: list[str] = []
    """What workers said of it."""


class StoredComment(Struct, frozen=True):
    body: str
    deleted: bool
    offset: int
    reactions: dict[str, list[str]]
    """By kind, who gave it."""


class StoredPost(Line, frozen=True, tag="stored"):
    """The rows of one post at the end, and what the API showed of it."""

    post: str
    head: int
    comments: dict[str, StoredComment]
    reactions: dict[str, list[str]]
    applause: dict[str, int]
    kept: Numbers
    """The counters' row."""
    shown: Numbers
    shown_bodies: dict[str, str]
    shown_reactions: dict[str, dict[str, int]]


class Figures(Line, frozen=True, tag="figures"):
    """Sums over all workers, as far as they lived to tell."""

    fenced: int
    resyncs: int
    handoffs: int
    retries: int
    gaps: int
    loads: int = 0
    """Of actors."""
    load_s: float = 0.0
    """One, on average."""


Record = Wrote | Read | Opened | Saw | Moved | Closed | Counted | Fault | StoredPost | Figures


class Recorder:
    """Writes a history, and tells each line to who follows the run."""

    def __init__(self, file: IO[bytes], listener: Callable[[Record], None]) -> None:
        self._file = file
        self._listener = listener
        self._encoder = msgspec.json.Encoder()

    def note(self, record: Record) -> None:
        self._file.write(self._encoder.encode(record) + b"\n")
        self._listener(record)


def read_history(path: Path) -> Iterator[Record]:
    decoder = msgspec.json.Decoder(Record)
    with path.open("rb") as lines:
        for line in lines:
            yield decoder.decode(line)
