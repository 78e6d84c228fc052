"""A run of the importer of edge lists, against a target that remembers."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from protocol.edgelist import Edge
from protocol.gateway.importing_edges import (
    EDGES_AT_ONCE,
    JUNK_SHOWN_MAX,
    EdgeReport,
    JunkFound,
    count_edges,
    edge_table,
    import_edges,
)


class RecordingTarget:
    def __init__(self) -> None:
        self.chunks: list[Sequence[Edge]] = []
        self.finished = False

    async def add(self, edges: Sequence[Edge]) -> None:
        self.chunks.append(edges)

    async def finish(self, progress: Callable[[int], None]) -> None:
        self.finished = True
        progress(1)


def written(tmp_path: Path, data: bytes) -> Path:
    file = tmp_path / "edges.txt"
    file.write_bytes(data)
    return file


async def test_edges_are_handed_over_in_chunks_with_progress_to_the_end(tmp_path: Path) -> None:
    file = written(tmp_path, b"# people\n" + b"".join(b"%d 0\n" % number for number in range(1, EDGES_AT_ONCE + 2)))
    target, seen = RecordingTarget(), list[tuple[int, int]]()
    total = count_edges(file, undirected=False)
    await import_edges(file, target, total, undirected=False, progress=lambda *state: seen.append(state))
    assert [len(chunk) for chunk in target.chunks] == [EDGES_AT_ONCE, 1]
    assert target.finished
    assert [done for done, _ in seen] == [0, EDGES_AT_ONCE, total, total + 1, 2 * total]
    assert {steps for _, steps in seen} == {2 * total}


async def test_an_undirected_edge_goes_both_ways(tmp_path: Path) -> None:
    file, target = written(tmp_path, b"1 2"), RecordingTarget()
    assert count_edges(file, undirected=True) == 2
    await import_edges(file, target, 2, undirected=True, progress=lambda done, total: None)
    assert target.chunks == [[Edge("1", "2"), Edge("2", "1")]]


def test_all_junk_is_counted_and_the_first_of_it_told(tmp_path: Path) -> None:
    file = written(tmp_path, b"1 2\n" + b"junk\n" * 1_000)
    with pytest.raises(JunkFound, match="1,000 of its lines are no edges") as found:
        count_edges(file, undirected=False)
    assert [junk.line for junk in found.value.first] == list(range(2, 2 + JUNK_SHOWN_MAX))


def test_what_can_be_read_only_once_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Open for both, so that nobody waits for the other end.
    end = os.open(pipe, os.O_RDWR)
    try:
        with pytest.raises(OSError, match="has to be a file, not a pipe"):
            count_edges(pipe, undirected=False)
    finally:
        os.close(end)


async def test_junk_that_came_after_the_file_was_counted_ends_the_run(tmp_path: Path) -> None:
    file, target = written(tmp_path, b"1 2\n3\n"), RecordingTarget()
    with pytest.raises(JunkFound, match="1 of its lines is no edge"):
        await import_edges(file, target, 1, undirected=False, progress=lambda done, total: None)
    assert not target.finished


def test_the_report_says_what_came_in_what_was_there_and_what_was_left_out() -> None:
    console = Console(width=100, record=True, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(edge_table(EdgeReport(edges=2_000, people=30, added=1_500, left_out=100)))
    said = " ".join(captured.get().replace("│", " ").split())
    assert "people 30" in said
    assert "edges 1,500 400" in said
    assert "blocked, or of a deleted account 100" in said
