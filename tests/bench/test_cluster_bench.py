"""The benchmark of two workers: that a small run has everything delivered and written, and what is said of it."""

import shutil
from pathlib import Path

import pytest

from tests.bench.cluster import (
    LOCAL,
    ONE,
    REMOTE,
    TWO,
    Delivered,
    Phase,
    Written,
    measure,
    of_one,
    report,
    shortcomings,
    times_local,
    used,
)
from tests.bench.measuring import Spread
from tests.bench.watchers import compiled

QUIET, HOT = Phase(2_000), Phase(2_000, 200)


def delivered(
    acknowledged_ms: float, delivered_ms: float = 1.0, per_cpu_s: float = 1.0, generator: float = 0.1
) -> Delivered:
    cores = {"worker 1": 0.5, "generator": generator}
    return Delivered(acknowledged_ms=acknowledged_ms, delivered_ms=delivered_ms, per_cpu_s=per_cpu_s, cores=cores)


def written(per_cpu_s: float) -> Written:
    return Written(rate=1.0, per_cpu_s=per_cpu_s, cores={"worker 1": 0.5, "generator": 0.1})


def test_what_was_used_is_told_in_cores() -> None:
    assert used({"a": 1.0, "b": 0.5}, {"a": 3.0, "b": 1.5}, 4.0) == {"a": 0.5, "b": 0.25}


def test_ratios_are_those_within_a_round() -> None:
    runs = {LOCAL: [delivered(each) for each in (1.0, 2.0, 4.0)], REMOTE: [delivered(2.0)] * 3}
    assert times_local(runs, lambda run: run.acknowledged_ms) == Spread(1.0, 0.5, 2.0)
    assert of_one({ONE: [written(1.0), written(2.0)], TWO: [written(1.0), written(1.0)]}) == Spread(0.75, 0.5, 1.0)


def test_results_that_stay_behind_are_named() -> None:
    good = {LOCAL: [delivered(1.0)], REMOTE: [delivered(2.9, 2.9, 0.86)]}
    enough, little = {ONE: [written(1.0)], TWO: [written(0.81)]}, {ONE: [written(1.0)], TWO: [written(0.79)]}
    assert not list(shortcomings({QUIET: good, HOT: good}, enough))
    bad = {LOCAL: [delivered(1.0)], REMOTE: [delivered(3.1, 3.1, 0.84, generator=0.95)]}
    # Of a hot stream the time is that for which it gathers, and no promise.
    assert len(list(shortcomings({QUIET: bad}, little))) == 5
    assert len(list(shortcomings({HOT: bad}, little))) == 3


async def test_in_a_small_run_everything_is_delivered_and_written(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("There is no C compiler: on Debian, apt-get install gcc libc6-dev")
    phases = [Phase(3), Phase(20), Phase(20, 50)]
    deliveries, loads = await measure(compiled("watch", tmp_path), phases, 40, 1, 0.2)
    assert list(deliveries) == phases
    assert all(len(runs[where]) == 1 for runs in deliveries.values() for where in (LOCAL, REMOTE))
    text = report(deliveries, loads, "a command", 0.0)
    assert text.count("\n| remote by local |") == 3
    assert f"\n| {TWO} |" in text
