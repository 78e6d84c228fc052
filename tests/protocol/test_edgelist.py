"""Edge lists, by value: what is an edge, what is junk, and that no way to cut the file changes it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.edgelist import LINE_BYTES_MAX, Edge, Junk, handle_of, read_edges


def read(data: bytes) -> list[Edge | Junk]:
    return list(read_edges([data]))


def test_each_line_is_an_edge_and_comments_and_empty_lines_say_nothing() -> None:
    assert read(b"# people\n0 1\r\n\n \t \n  # more\n1\t0 \nann Bob-2") == [
        Edge("0", "1"),
        Edge("1", "0"),
        Edge("ann", "Bob-2"),
    ]
    assert read(b"") == []


def test_a_file_may_begin_with_a_byte_order_mark() -> None:
    assert read(b"\xef\xbb\xbf0 1\n1 0\n") == [Edge("0", "1"), Edge("1", "0")]
    assert read(b"\xef\xbb\xbf# people\n0 1") == [Edge("0", "1")]
    assert isinstance(read(b"0 1\n\xef\xbb\xbf1 0")[1], Junk)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"17", "has 1 word, not two"),
        (b"1 2 3", "has 3 words, not two"),
        (b"1,2", "has 1 word, not two"),
        (b"7 7", "has 7 follow 7"),
        (b"1 2\x00", r"has '2\x00', which is no name: 1 to 28 letters a-z, digits and, inside, . _ -"),
        (b"\xff\xfe 1", r"has '\\xff\\xfe', which is no name: 1 to 28 letters a-z, digits and, inside, . _ -"),
        ("é 1".encode(), r"has '\xe9', which is no name: 1 to 28 letters a-z, digits and, inside, . _ -"),
        ("١ 1".encode(), r"has '\u0661', which is no name: 1 to 28 letters a-z, digits and, inside, . _ -"),
        (b"-1 1", "has '-1', which is no name: 1 to 28 letters a-z, digits and, inside, . _ -"),
        (
            b"1 " + b"9" * 29,
            f"has '{'9' * 29}', which is no name: 1 to 28 letters a-z, digits and, inside, . _ -",
        ),
        (
            b"1 " + b"x" * 900,
            rf"has '{'x' * 40}\u2026', which is no name: 1 to 28 letters a-z, digits and, inside, . _ -",
        ),
        (b"1 2" + b" " * LINE_BYTES_MAX, "is longer than 1,000 bytes"),
    ],
)
def test_junk_is_told_by_its_line(line: bytes, reason: str) -> None:
    assert read(b"1 2\n" + line + b"\n2 1") == [Edge("1", "2"), Junk(2, reason), Edge("2", "1")]


def test_a_file_that_is_one_endless_line_is_never_held_whole() -> None:
    assert list(read_edges(b"0" * 1_000 for _ in range(10_000))) == [Junk(1, "is longer than 1,000 bytes")]
    assert list(read_edges([b"0" * 5_000, b"0 1", b"\n0 1\n"])) == [
        Junk(1, "is longer than 1,000 bytes"),
        Edge("0", "1"),
    ]


@given(st.binary(max_size=80) | st.lists(st.sampled_from([b"1 2\n", b"#\n", b"x" * 999, b"\n", b"3"])).map(b"".join),
       st.lists(st.integers(0, 80)))  # fmt: skip
def test_it_does_not_matter_how_the_file_is_cut(data: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[start:end] for start, end in pairwise(edges)]
    assert list(read_edges(chunks)) == read(data)


@pytest.mark.parametrize(
    ("name", "handle"),
    [("17", "p17"), ("ann", "ann"), ("Ann.B", "ann.b"), ("x", "px"), ("guest-1", "pguest-1"), ("007", "p007")],
)
def test_a_number_becomes_a_handle_by_a_letter_before_it(name: str, handle: str) -> None:
    assert handle_of(name) == handle
