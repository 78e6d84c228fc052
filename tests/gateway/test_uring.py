"""One system call for many sockets: who gets what, and who is told of."""

import os
import socket
from array import array
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from protocol.gateway.uring import ENTRIES, Uring

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def uring() -> Iterator[Uring]:
    opened = Uring.open()
    if opened is None:
        pytest.skip("no io_uring here")
    with closing(opened):
        yield opened


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """More than one call carries, by an odd number, so that each call begins elsewhere in the queue."""
    made = [socket.socketpair() for _ in range(ENTRIES + 43)]
    for ours, theirs in made:
        ours.setblocking(False)
        theirs.setblocking(False)
    yield made
    for pair in made:
        for end in pair:
            end.close()


def descriptors(pairs: list[Pair]) -> "array[int]":
    return array("i", [ours.fileno() for ours, _ in pairs])


def test_everyone_gets_the_same_bytes_in_the_order_of_the_calls(uring: Uring, pairs: list[Pair]) -> None:
    frames = [b"%d." % at for at in range(20)]
    for frame in frames:
        assert uring.send(descriptors(pairs), frame) == []
    assert {theirs.recv(1_000) for _, theirs in pairs} == {b"".join(frames)}


def test_who_takes_less_than_all_is_told_of_with_what_it_took(uring: Uring, pairs: list[Pair]) -> None:
    frame = os.urandom(1 << 20)
    slow = pairs[3::100]
    quick = [pair for pair in pairs if pair not in slow]
    short = sorted(uring.send(descriptors(slow), frame))
    assert [place for place, _ in short] == list(range(len(slow)))
    assert all(0 < taken < len(frame) for _, taken in short)

    told = dict(uring.send(descriptors(pairs), b"next"))
    assert told == {pairs.index(pair): 0 for pair in slow}
    assert {theirs.recv(100) for _, theirs in quick} == {b"next"}
    for (_, theirs), (_, taken) in zip(slow, short, strict=True):
        received = b""
        while len(received) < taken:
            received += theirs.recv(1 << 20)
        assert received == frame[:taken]


def test_what_is_no_socket_or_has_lost_its_other_end_harms_no_one(uring: Uring, pairs: list[Pair]) -> None:
    fds = descriptors(pairs)
    pairs[5][1].close()
    fds[7] = -1
    with Path(os.devnull).open("wb") as file:
        fds[ENTRIES] = file.fileno()
        assert sorted(uring.send(fds, b"here")) == [(5, 0), (7, 0), (ENTRIES, 0)]
    others = [pair for at, pair in enumerate(pairs) if at not in (5, 7, ENTRIES)]
    assert {theirs.recv(100) for _, theirs in others} == {b"here"}


def test_no_one_and_nothing_are_fine(uring: Uring, pairs: list[Pair]) -> None:
    assert uring.send(array("i"), b"to nobody") == []
    assert uring.send(descriptors(pairs), b"") == []


def test_where_the_kernel_refuses_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.gateway.uring._system_call", lambda *_: -1)
    assert Uring.open() is None


@pytest.mark.usefixtures("uring")
def test_where_it_cannot_be_mapped_there_is_none_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("protocol.gateway.uring.mmap.mmap", refuse)
    before = psutil.Process().num_fds()
    assert Uring.open() is None
    assert psutil.Process().num_fds() == before
