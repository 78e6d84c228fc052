"""Some dozens of seeds in every run of the tests; ``make simulate`` runs thousands."""

import re

from tests.simulation.calling import simulate

SEEDS = 40


def test_all_oracles_hold_whatever_happens() -> None:
    said = simulate("--seeds", str(SEEDS))
    assert f"{SEEDS} seeds from 1: 0 broken" in said
    acknowledged = re.search(r"([\d,]+) writes acknowledged", said)
    assert acknowledged is not None
    assert int(acknowledged[1].replace(",", "")) > 10 * SEEDS, "nearly nothing was tried"


def test_a_seed_gives_the_same_trace_in_every_process() -> None:
    alone, beside = (simulate("--seeds", "20", "--first", "200", "--processes", count) for count in ("1", "2"))
    assert traces(alone) == traces(beside)


def traces(said: str) -> str:
    found = re.search(r"traces ([0-9a-f]{8})$", said.strip())
    assert found is not None
    return found[1]
