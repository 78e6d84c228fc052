"""``python -m tests.bench [NAME] [OPTIONS]``: one benchmark, or without a name those that ``make bench`` runs."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from tests.bench import cluster, cold, comments, fanout, memory, reads, restarts, slow, timelines, writes

BENCHMARKS: Mapping[str, Callable[[Sequence[str]], int]] = MappingProxyType(
    {
        "writes": writes.main,
        "comments": comments.main,
        "fanout": fanout.main,
        "slow": slow.main,
        "reads": reads.main,
        "cold": cold.main,
        "memory": memory.main,
        "cluster": cluster.main,
        "restarts": restarts.main,
        "timelines": timelines.main,
    }
)
"""Each takes its options, writes its section of the results, and returns a status for the shell."""
USUAL = ("writes", "comments", "fanout", "slow", "reads", "cold", "memory", "cluster", "restarts")
"""Those that take minutes; their options are the same."""


def run(name: str, options: Sequence[str]) -> int:
    # What was written and deleted before can keep a disk busy for seconds: that is no part of what comes now.
    os.sync()
    return BENCHMARKS[name](options)


def main(argv: Sequence[str]) -> int:
    if argv and argv[0] in ("-h", "--help"):
        print(f"{__doc__}\n\nNAME is one of {', '.join(BENCHMARKS)}, and each has its --help.")
        return 0
    if not argv or argv[0].startswith("--"):
        return max(run(name, argv) for name in USUAL)
    if argv[0] in BENCHMARKS:
        return run(argv[0], argv[1:])
    print(f"there is no benchmark {argv[0]}, but {', '.join(BENCHMARKS)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
