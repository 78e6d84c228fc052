"""``python -m tests.simulation``: many seeds on every core, or one with its trace.

python -m tests.simulation --seeds 1000 --first 1
python -m tests.simulation --seed 17
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import reduce
from multiprocessing import get_context
from operator import xor

from tests.simulation.ablations import ABLATIONS
from tests.simulation.running import Result, results_of, run_seed, run_seeds

SEEDS = 1_000
AT_ONCE = 25
"""Seeds that a process takes at a time."""
SHOWN_MAX = 10


def main() -> int:
    arguments = _arguments()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of strings have an order of their own in every process, unless this is set before it starts.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    if arguments.seed is not None:
        result = run_seed(arguments.seed, say=print)
        print(f"seed {result.seed}: {result.violation or 'all oracles hold'}; trace {result.digest:08x}")
        return int(result.violation is not None)
    if arguments.without is not None:
        return _ablated(arguments.without, arguments.first)
    return _many(arguments.first, arguments.seeds, arguments.processes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulate the cluster by seeds.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many (%(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (%(default)s)")
    parser.add_argument("--seed", type=int, help="only this one, with its trace")
    parser.add_argument("--without", choices=ABLATIONS, help="remove a safeguard, until an oracle notices")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="at once (%(default)s)")
    return parser.parse_args()


def _many(first: int, count: int, processes: int) -> int:
    began = time.monotonic()
    results: list[Result] = []
    for result in _results(range(first, first + count), processes):
        results.append(result)
        if result.violation is not None:
            print(f"seed {result.seed}: {result.violation}", flush=True)
    took_s = time.monotonic() - began
    broken = sorted(result.seed for result in results if result.violation is not None)
    print(
        f"{len(results)} seeds from {first}: {len(broken)} broken; "
        f"{len(results) / took_s:.1f} seeds a second on {processes} cores; "
        f"{sum(result.steps for result in results):,} steps, {sum(result.commits for result in results):,} commits, "
        f"{sum(result.fenced for result in results):,} fenced, "
        f"{sum(result.acknowledged for result in results):,} writes acknowledged; "
        f"traces {reduce(xor, (result.digest for result in results), 0):08x}"
    )
    for seed in broken[:SHOWN_MAX]:
        print(f"to repeat: make simulate SEED={seed}")
    return int(bool(broken))


def _results(seeds: range, processes: int) -> Iterator[Result]:
    if processes == 1:
        yield from run_seeds(seeds)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        parts = [pool.submit(results_of, seeds[at : at + AT_ONCE]) for at in range(0, len(seeds), AT_ONCE)]
        for part in as_completed(parts):
            yield from part.result()


def _ablated(name: str, first: int) -> int:
    """Remove a safeguard, and say after how many seeds an oracle noticed."""
    seeds_max = ABLATIONS[name].seeds_max
    for result in run_seeds(range(first, first + seeds_max), without=name):
        if result.violation is not None:
            print(f"without: {name}: seed {result.seed}: {result.violation}")
            return 0
    print(f"without: {name}: unnoticed in {seeds_max} seeds")
    return 1


if __name__ == "__main__":
    sys.exit(main())
