"""The faults in short: real processes that fail under load, and what clients saw of it. All of them: ``make faults``.

``SEED=… python -m pytest tests/faults/test_faults.py`` repeats a run by its seed, as far as the kernel repeats itself.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

import pytest

from tests.faults.checker import judge, report
from tests.faults.cluster import C, EmbeddedCluster, NetworkedCluster
from tests.faults.history import read_history
from tests.faults.nemeses import EMBEDDED, NETWORKED
from tests.faults.run import Nemesis, run

SEED = int(os.environ.get("SEED") or SystemRandom().randrange(1 << 32))
PATIENCE = 6.0
"""The budgets are those of two cores with nothing else to do, which the machine that runs all tests may not have."""
OPERATIONS_PER_S = 75.0
"""Half of what ``make faults`` does, as another test runs beside this one."""
HASTE_PER_S = 1_000.0
"""More than one worker is asked for by people: commits that are under way when it is killed."""


# What does not get well in its own time is told of by name, if there is time to tell.
pytestmark = pytest.mark.timeout(300)


async def hold_to_the_promises(
    kind: type[C], nemeses: Sequence[Nemesis[C]], directory: Path, *, workers: int, operations_per_s: float
) -> None:
    path = await run(
        kind, nemeses, workers=workers, seconds=0, seed=SEED, directory=directory, operations_per_s=operations_per_s
    )
    verdict = judge(read_history(path))
    print(f"SEED={SEED}\n{report(verdict)}")
    assert not any(verdict.violations.values())
    assert not [each for each in verdict.measured if not each.kept(PATIENCE)]


async def test_workers_their_servers_and_a_machine_fail_and_nothing_is_lost(tmp_path: Path) -> None:
    names = ("kill-worker", "rolling-restart", "redis-restart", "postgres-restart", "postgres-backends", "kill-machine")
    nemeses = [NETWORKED[name] for name in names]
    await hold_to_the_promises(NetworkedCluster, nemeses, tmp_path, workers=2, operations_per_s=OPERATIONS_PER_S)


@pytest.mark.parametrize(("workers", "kills"), [(1, 3), (2, 1)])
async def test_a_command_that_is_killed_and_given_again_has_lost_nothing(
    tmp_path: Path, workers: int, kills: int
) -> None:
    nemeses = [EMBEDDED["kill-parent"]] * kills
    await hold_to_the_promises(
        EmbeddedCluster, nemeses, tmp_path, workers=workers, operations_per_s=HASTE_PER_S / workers
    )
