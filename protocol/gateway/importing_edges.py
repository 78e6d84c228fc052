"""A run of the importer of edge lists: the file is read twice, first to the end without touching anything, then in.

One line of junk, and nothing is imported. Who is in the list is a user of the host site under that very name, and need
not have come yet; who is there already is not asked for again, so that a repeated run adds only what is new.
"""

from collections.abc import Callable, Iterator, Sequence
from errno import ESPIPE
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct
from rich.table import Table

from protocol.edgelist import Edge, Junk, read_edges
from protocol.gateway.importing import CHUNK_BYTES, Progress

EDGES_AT_ONCE: Final = 20_000
JUNK_SHOWN_MAX: Final = 20


class JunkFound(Exception):
    """The file has lines that are no edges: ``count`` of them, of which ``first`` are the first."""

    def __init__(self, first: Sequence[Junk], count: int) -> None:
        super().__init__(f"{count:,} of its lines {'is no edge' if count == 1 else 'are no edges'}")
        self.first = first
        self.count = count


class EdgeTarget(Protocol):
    """Where edges are written to; see ``store.edges.EdgeWriter``."""

    async def add(self, edges: Sequence[Edge]) -> None: ...

    async def finish(self, progress: Callable[[int], None]) -> None: ...


class EdgeReport(Struct, kw_only=True):
    """What a run did."""

    edges: int
    """That the file gives, duplicates and all."""
    people: int
    """Who had no account before."""
    added: int
    left_out: int
    """Between two whom a block keeps apart, or of a deleted account."""


def count_edges(file: Path, *, undirected: bool) -> int:
    """How many edges ``file`` gives: all that can be said without a database.

    Raises:
        JunkFound: As it says.
        OSError: The file cannot be read, or only once.
    """
    edges, junk, first = 0, 0, list[Junk]()
    for found in _read(file):
        if isinstance(found, Edge):
            edges += 2 if undirected else 1
        else:
            junk += 1
            if junk <= JUNK_SHOWN_MAX:
                first.append(found)
    if junk:
        raise JunkFound(first, junk)
    return edges


async def import_edges(file: Path, target: EdgeTarget, total: int, *, undirected: bool, progress: Progress) -> None:
    """Hand over the ``total`` edges that were counted in ``file``.

    Raises:
        JunkFound: The file has changed since.
        OSError: The file cannot be read.
    """
    # Each edge goes twice: to the store, and there to its place.
    steps, done = 2 * total, 0
    progress(done, steps)
    edges = _edges(file, undirected)
    while chunk := list(islice(edges, EDGES_AT_ONCE)):
        await target.add(chunk)
        done += len(chunk)
        progress(done, steps)
    await target.finish(lambda written: progress(total + written, steps))
    # What was there already needed no place.
    progress(steps, steps)


def edge_table(report: EdgeReport) -> Table:
    """The report for people."""
    table = Table("", "imported", "already there", title="Graph import")
    table.columns[1].justify = table.columns[2].justify = "right"
    table.add_row("people", f"{report.people:,}", "")
    known = report.edges - report.added - report.left_out
    table.add_row("edges", f"{report.added:,}", f"{known:,}")
    if report.left_out:
        table.add_section()
        table.add_row("left out", "", "")
        table.add_row("  blocked, or of a deleted account", f"{report.left_out:,}", "")
    return table


def _edges(file: Path, undirected: bool) -> Iterator[Edge]:
    for found in _read(file):
        if isinstance(found, Junk):
            raise JunkFound([found], 1)
        yield found
        if undirected:
            yield Edge(found.followee, found.follower)


def _read(file: Path) -> Iterator[Edge | Junk]:
    with file.open("rb") as opened:
        if not opened.seekable():
            raise OSError(ESPIPE, "it is read twice, so it has to be a file, not a pipe")
        yield from read_edges(iter(lambda: opened.read(CHUNK_BYTES), b""))
