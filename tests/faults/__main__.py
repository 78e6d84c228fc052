"""``python -m tests.faults [NEMESIS…]``: faults done to a real cluster under load, and what they cost.

Every nemesis is done once, or again for as long as there is time. The histories are kept where ``--keep`` says; a run
that breaks a budget or finds anything that must not be ends with status 1.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from tests.faults.checker import judge, report
from tests.faults.cluster import EmbeddedCluster, NetworkedCluster
from tests.faults.history import read_history
from tests.faults.nemeses import EMBEDDED, NETWORKED
from tests.faults.run import run


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Faults, and what they cost.")
    parser.add_argument("nemeses", nargs="*", metavar="NEMESIS", help=f"of {', '.join([*NETWORKED, *EMBEDDED])}")
    parser.add_argument("--seconds", type=float, default=0.0, help="go on for so long; by default each is done once")
    parser.add_argument("--seed", type=int, default=None, help="choose times and victims as an earlier run did")
    parser.add_argument("--workers", type=int, default=2, help="of each machine")
    parser.add_argument("--keep", type=Path, default=None, help="a directory for the histories")
    parser.add_argument("--patience", type=float, default=1.0, help="times each budget, on a busy machine")
    found = parser.parse_args()
    if unknown := set(found.nemeses) - {*NETWORKED, *EMBEDDED}:
        parser.error(f"there is no nemesis {', '.join(sorted(unknown))}")
    return found


def main() -> int:
    asked = arguments()
    seed = SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    names = asked.nemeses or [*NETWORKED, *EMBEDDED]
    rng, passed = Random(seed), True
    print(f"seed {seed}, {asked.workers} workers a machine, load average {os.getloadavg()[0]:.1f} before it")
    groups: tuple[tuple[type[Any], Any], ...] = ((NetworkedCluster, NETWORKED), (EmbeddedCluster, EMBEDDED))
    for kind, nemeses in groups:
        chosen = [nemeses[name] for name in names if name in nemeses]
        if not chosen:
            continue
        with tempfile.TemporaryDirectory(prefix="plaudit-faults-") as directory:
            work = run(
                kind,
                chosen,
                workers=asked.workers,
                seconds=asked.seconds * len(chosen) / len(names),
                seed=rng.randrange(1 << 32),
                directory=Path(directory),
            )
            path = asyncio.run(work)
            verdict = judge(read_history(path))
            if asked.keep is not None:
                asked.keep.mkdir(parents=True, exist_ok=True)
                path.replace(asked.keep / f"{kind.__name__}-{seed}.jsonl")
        print(report(verdict), end="\n\n")
        passed &= verdict.passed(asked.patience)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
