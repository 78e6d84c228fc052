"""The benchmark of restarts: that its watchers notice what is amiss, and what is said of a run."""

import asyncio
from collections.abc import Sequence
from random import Random

import msgspec
import pytest

from protocol.errors import BAD_REQUEST, SHUTDOWN, Overloaded, Refused
from protocol.gateway.frames import close_frame, text_frame, text_frames
from protocol.session import error_reply
from tests.bench import wires
from tests.bench.restarts import ENDS, Restart, measure, report, shortcomings
from tests.bench.returning import Crowd, Watcher

HEAD = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class RecordingTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
async def crowd() -> Crowd:
    return Crowd("post:1", 1, 0, Random(1))


def connect(crowd: Crowd) -> tuple[Watcher, RecordingTransport]:
    """The watcher, when its connection is upgraded; what it said is with the transport."""
    (watcher,), transport = crowd.watchers, RecordingTransport()
    watcher.connection_made(transport)
    watcher.data_received(HEAD)
    return watcher, transport


def subscribed(offset: int, numbers: Sequence[int] = (), *, recovered: bool = False) -> bytes:
    """The answer to its subscription, with comments that were missed."""
    publications = [{"data": msgspec.Raw(wires.publication(each, 0)), "offset": each + 1} for each in numbers]
    result = {"epoch": "e", "offset": offset, "recovered": recovered, "publications": publications}
    return text_frame(msgspec.json.encode({"id": 2, "subscribe": result}))


def pushed(*numbers: int) -> bytes:
    return text_frames([wires.push(number, 0) for number in numbers])


def test_a_watcher_comes_back_with_its_position_and_takes_what_it_missed(crowd: Crowd) -> None:
    watcher, transport = connect(crowd)
    assert b"recover" not in transport.written[-1]
    watcher.data_received(subscribed(0))
    watcher.data_received(pushed(0, 1))
    watcher.data_received(close_frame(*SHUTDOWN))
    assert crowd.troubles == {"close 3001": 1}
    watcher.connection_lost(None)
    assert crowd.here == 0
    watcher, transport = connect(crowd)
    assert b'"recover":true,"epoch":"e","offset":2' in transport.written[-1]
    whole = subscribed(2, [2, 3], recovered=True) + pushed(4)
    for at in range(len(whole)):
        watcher.data_received(whole[at : at + 1])
    assert (crowd.here, watcher.next, crowd.wrong) == (1, 5, {})


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ((0, 2), {"comment missed": 1}),
        ((0, 0), {"offset that does not rise": 1, "comment twice": 1}),
        ((1, 0), {"comment missed": 1, "offset that does not rise": 1, "comment twice": 1}),
    ],
)
def test_what_is_lost_sent_twice_or_out_of_order_is_noticed(
    crowd: Crowd, numbers: Sequence[int], wrong: dict[str, int]
) -> None:
    watcher, _ = connect(crowd)
    watcher.data_received(subscribed(0) + pushed(*numbers))
    assert crowd.wrong == wrong


def test_what_is_lost_while_a_watcher_was_away_is_noticed(crowd: Crowd) -> None:
    watcher, _ = connect(crowd)
    watcher.data_received(subscribed(0) + pushed(0))
    watcher.connection_lost(None)
    watcher, _ = connect(crowd)
    watcher.data_received(subscribed(1, [2]))
    assert crowd.wrong == {"not recovered": 1, "comment missed": 1}


def test_only_what_says_to_try_again_may_be_told(crowd: Crowd) -> None:
    watcher, transport = connect(crowd)
    watcher.data_received(text_frame(error_reply(2, Overloaded())))
    watcher.data_received(close_frame(*SHUTDOWN))
    assert transport.closed
    assert (crowd.troubles, crowd.wrong) == ({"overloaded": 1, "close 3001": 1}, {})
    watcher.data_received(text_frame(error_reply(2, Refused("permission_denied"))))
    watcher.data_received(close_frame(*BAD_REQUEST))
    assert crowd.wrong == {"permission_denied": 1, "close 3501": 1}


def test_a_watcher_answers_pings_and_says_where_it_is_not_let_in(crowd: Crowd) -> None:
    watcher, transport = connect(crowd)
    watcher.data_received(text_frame(b"{}"))
    assert transport.written[-1] == wires.client_frame(b"{}")
    watcher.connection_made(transport)
    watcher.data_received(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    assert crowd.wrong == {"HTTP/1.1 503 Service Unavailable": 1}


# -- the results ------------------------------------------------------------------------------------------------------


async def test_in_a_small_run_everyone_is_back_and_missed_nothing() -> None:
    runs, written = await measure(20, 1, 0.3, 0.3)
    assert {how: len(rounds) for how, rounds in runs.items()} == dict.fromkeys(ENDS, 1)
    assert written > 60
    text = report(runs, 20, written, "a command", 0.0)
    assert all(f"\n| {how} |" in text for how in ENDS)


def restart(stop_s: float, start_s: float, back_s: float, generator: float = 0.5) -> Restart:
    return Restart(
        stop_s=stop_s, start_s=start_s, back_s=back_s, p50_ms=1.0, p99_ms=2.0, max_ms=3.0, server=0.9, postgres=0.1,
        generator=generator, troubles={"overloaded": 1},
    )  # fmt: skip


def test_results_that_stay_behind_are_named() -> None:
    assert not list(shortcomings({"SIGTERM": [restart(4.9, 2.9, 19.9)]}))
    assert len(list(shortcomings({"SIGTERM": [restart(5.1, 3.1, 20.1)], "kill -9": [restart(0, 0, 0, 0.95)]}))) == 4
