"""The benchmark of clients that stop reading: that none of them misses anything, and what is said of them."""

from tests.bench.conftest import Programs
from tests.bench.slow import Ended, Phase, Round, crowd, report, shortcomings

MIB = 1 << 20


def phase(p99_ms: float, rss_mib: float) -> Phase:
    return Phase(p50_ms=1.0, p99_ms=p99_ms, rss_bytes=int(rss_mib * MIB))


def test_results_that_stay_behind_are_named() -> None:
    good = [Round(phase(50.0, 100.0), phase(52.0, 105.0))]
    assert list(shortcomings(good, Ended(10, 100 * MIB), 10)) == []
    assert len(list(shortcomings(good, Ended(9, 116 * MIB), 10))) == 2
    assert len(list(shortcomings([Round(phase(50.0, 100.0), phase(90.0, 111.0))], Ended(10, 0), 10))) == 2
    assert "| p99 ms of the others | 50.0 (50.0–50.0) | 52.0 (52.0–52.0) |" in report(good, Ended(10, 0), "x", 0.0)


async def test_who_stops_and_goes_on_has_missed_nothing(programs: Programs) -> None:
    async with crowd(programs.watch, 10, 3, 100) as present:
        await present.phase(0.3, stop=False)
        stopped = await present.phase(0.5, stop=True)
        assert stopped.rss_bytes > 0
        assert stopped.caught_up_s > 0
        await present.phase(0.3, stop=False)
