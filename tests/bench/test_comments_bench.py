"""The benchmark of comments by how many there are: that each is written, and what is said of the cost."""

from tests.bench.comments import growth, measure, report, shortcomings
from tests.bench.load import Measured


def measured(servers: float) -> Measured:
    return Measured(rate=1_000.0, p50_ms=1.0, p99_ms=2.0, generator=0.1, server=servers, database=0.0)


def test_a_cost_that_grows_is_named() -> None:
    level = {10: [measured(0.1), measured(0.2), measured(0.1)], 1_000: [measured(0.1)]}
    assert growth(level) == [(10.0, 100.0), (1_000.0, 100.0)]
    assert list(shortcomings(level)) == []
    assert "n^0.00" in report(level, "a command", 0.0)
    (shortcoming,) = shortcomings({10: [measured(0.1)], 1_000: [measured(1.0)]})
    assert "n^0.50" in shortcoming


async def test_in_a_small_run_every_comment_is_written() -> None:
    runs = await measure([3, 30], 1, 0.2, 50.0)
    assert [len(rounds) for rounds in runs.values()] == [1, 1]
    assert all(each.rate > 0 for rounds in runs.values() for each in rounds)
