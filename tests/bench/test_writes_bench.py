"""The benchmark of durable writes: what is asked, and what is said of it."""

from itertools import islice

from msgspec import json

from protocol.commands import ANONYMOUS
from protocol.decode import decode_command
from tests.bench.load import Measured
from tests.bench.writes import (
    APPLAUSE,
    COMMENTS,
    FLOOR,
    LIKES,
    ONE_POST,
    Line,
    applause,
    comments,
    likes,
    report,
    shortcomings,
)


def measured(rate: float, p99_ms: float = 10.0) -> Measured:
    return Measured(rate=rate, p50_ms=1.0, p99_ms=p99_ms, generator=0.1, server=0.5, database=0.2)


def lines(ours: float, reactions: float, p99_ms: float) -> list[Line]:
    floor = [measured(1_000.0), measured(1_500.0), measured(1_000.0)]
    rising = [measured(ours), measured(3 * ours), measured(2 * ours)]
    return [
        Line(COMMENTS, rising, rising, [measured(ours, p99_ms)]),
        Line(ONE_POST, [measured(9_000.0)] * 3, rising),
        Line(LIKES, rising, [measured(reactions)] * 3),
        Line(APPLAUSE, rising, [measured(30_000.0)] * 3),
        Line(FLOOR, floor, floor),
    ]


def test_a_ratio_is_that_of_a_round_and_the_median_counts() -> None:
    good = lines(6_000.0, 30_000.0, 50.0)
    assert list(shortcomings(good)) == []
    assert report(good, "a command", 0.0).count("| comments | 12,000 (6,000–18,000) | 12.0 (6.0–12.0) |") == 2


def test_results_that_stay_behind_are_named() -> None:
    assert len(list(shortcomings(lines(2_000.0, 29_999.0, 50.1)))) == 3


def test_what_is_asked_are_commands_that_never_repeat() -> None:
    posts = ["1", "2", "3"]
    for requests in (likes(posts, 1), applause(posts, 1), comments(posts, 1, "op")):
        asked = [json.decode(request) for request in islice(requests, 9)]
        assert len({str(each) for each in asked}) == 9
        for each in asked:
            decode_command(each["method"], json.encode(each["data"]), ANONYMOUS)
