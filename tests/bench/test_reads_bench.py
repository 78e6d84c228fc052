"""The benchmark of reads: that a wrong answer is no result, and what is said of the right ones."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest

from tests.bench.measuring import Spread
from tests.bench.readers import AtLeast, Expectation, Question, Readers, Same, Wrong, reading
from tests.bench.reads import (
    COMMENTS_PAGE,
    OURS,
    PEER,
    POST,
    Measured,
    Phase,
    growth,
    measure,
    ratio,
    report,
    shortcomings,
)

BODY = b'{"version":7,"total":3}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n"


def measured(per_cpu_s: float, generator: float = 0.5) -> Measured:
    return Measured(
        per_cpu_s=per_cpu_s, rate=1.0, p50_ms=1.0, p99_ms=2.0, server=1.0, generator=generator, ceiling=1e5
    )  # fmt: skip


class Scripted(asyncio.Protocol):
    """Answers every request with ``pieces``, one by one."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._transport: asyncio.Transport
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._send(self._pieces)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()

    def _send(self, pieces: Sequence[bytes]) -> None:
        """The next piece is another segment, if the reader is quick; if it is not, it was one read."""
        if pieces:
            self._transport.write(pieces[0])
            asyncio.get_running_loop().call_soon(self._send, pieces[1:])


@asynccontextmanager
async def answered(*pieces: bytes) -> AsyncIterator[Readers]:
    """Two readers of a server that answers everything with ``pieces``."""
    connections: list[Scripted] = []

    def connected() -> Scripted:
        connections.append(Scripted(pieces))
        return connections[-1]

    server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0)
    async with server, reading(server.sockets[0].getsockname()[1], 2) as readers:
        yield readers
    for connection in connections:
        await connection.closed.wait()


async def asked(expected: Expectation, *pieces: bytes) -> Sequence[float]:
    async with answered(*pieces) as readers:
        return await readers.ask(Question("/", expected), 0.05)


# -- the readers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 5, 40, len(HEAD), len(HEAD) + 10])
async def test_readers_count_right_answers_however_they_arrive(cut: int) -> None:
    whole = HEAD % len(BODY) + BODY
    latencies_s = await asked(Same(BODY), whole[:cut], whole[cut:])
    assert len(latencies_s) >= 2
    assert list(latencies_s) == sorted(latencies_s)


@pytest.mark.parametrize(
    "answer",
    [
        HEAD % len(BODY) + BODY.replace(b"7", b"8"),
        HEAD % len(BODY) + BODY + b"more",
        HEAD.replace(b"200 OK", b"404 Not Found") % len(BODY) + BODY,
        HEAD.replace(b"application/json", b"text/plain") % len(BODY) + BODY,
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_an_answer_that_is_another_is_no_result(answer: bytes) -> None:
    with pytest.raises(Wrong):
        await asked(Same(BODY), answer)


async def test_an_answer_that_lacks_what_was_acknowledged_is_no_result() -> None:
    version = AtLeast(b'"version":')
    version.acknowledged = 7
    assert await asked(version, HEAD % len(BODY) + BODY)
    version.acknowledged = 8
    with pytest.raises(Wrong):
        await asked(version, HEAD % len(BODY) + BODY)
    assert AtLeast(b'"none":').number(BODY) == -1


# -- the results ------------------------------------------------------------------------------------------------------


def test_a_ratio_is_taken_within_a_round() -> None:
    runs = {
        POST: {OURS: [measured(9.0), measured(18.0)], PEER: [measured(10.0), measured(10.0)]},
        "alone": {OURS: [measured(1.0)]},
    }
    assert ratio(runs, POST) == Spread(1.35, 0.9, 1.8)
    assert ratio(runs, "alone") is None


def test_results_that_stay_behind_are_named() -> None:
    runs = {
        POST: {OURS: [measured(7.9)], PEER: [measured(10.0)]},
        COMMENTS_PAGE: {OURS: [measured(6.1)], PEER: [measured(10.0, generator=0.95)]},
    }
    assert len(list(shortcomings(runs))) == 2


def test_a_growth_has_a_point_for_each_size() -> None:
    pages = [Phase(f"a page of {size}", {}, size=size) for size in (1, 10)]
    runs = {phase.name: {OURS: [measured(1e6)], PEER: [measured(5e5)]} for phase in pages}
    assert growth([Phase(POST, {}), *pages], runs) == {OURS: [(1, 1.0), (10, 1.0)], PEER: [(1, 2.0), (10, 2.0)]}


async def test_both_answer_everything_right_in_a_short_run() -> None:
    phases, runs = await measure([1, 10], 120, 2, 1, 0.1)
    assert [phase.name for phase in phases] == list(runs)
    assert {name: list(by_name) for name, by_name in runs.items()} == {
        phase.name: list(phase.questions) for phase in phases
    }
    text = report(phases, runs, "a command", 0.0)
    assert text.count(f"| {PEER} |") == 4
