"""Runs seeds, one after the other."""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import MappingProxyType, ModuleType
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from actors import keys, placement
from actors.runtime import jobs, ownership, timelines
from actors.runtime.metrics import Metrics
from store import memory
from tests.simulation.ablations import ABLATIONS, Ablation
from tests.simulation.oracles import JournalledStore
from tests.simulation.patching import replaced
from tests.simulation.world import World

SLOTS = 16
"""Nothing depends on there being 256, which would take half of the time of a seed."""
SMALLER: Mapping[ModuleType, Mapping[str, int]] = MappingProxyType(
    {
        ownership: {"MOVED_MAX": SLOTS // 8},
        jobs: {"CHUNK": 1, "ENTRIES_MAX": 4},
        timelines: {"NOTED_EVERY_S": 1},
    }
)
"""Of what there is little here: so few followers make many chunks, so few posts a full timeline."""


class Result(NamedTuple):
    """What came of one seed."""

    seed: int
    violation: str | None
    digest: int
    """Of the trace: the same in every process."""
    steps: int
    commits: int
    fenced: int
    acknowledged: int


def run_seed(
    seed: int,
    metrics: Metrics | None = None,
    *,
    store: type[JournalledStore] = JournalledStore,
    say: Callable[[str], None] = lambda line: None,
) -> Result:
    """Run one seed to its end, or to the first oracle that breaks. ``metrics`` may be shared by many runs."""
    with ExitStack() as stack:
        for module in (keys, placement, ownership, memory):
            stack.enter_context(replaced(module, SLOTS=SLOTS))
        for module, smaller in SMALLER.items():
            stack.enter_context(replaced(module, **smaller))
        stack.enter_context(_quiet_end())
        world = World(seed, metrics or Metrics(CollectorRegistry()), store=store, say=say)
        world.run()
        journal = world.journal
        acknowledged = sum(client.acknowledged for client in world.clients)
        steps = world.loop.steps
        del world
    return Result(seed, journal.violation, journal.digest, steps, journal.commits, journal.fenced, acknowledged)


def run_seeds(seeds: Iterable[int], *, without: str | None = None) -> Iterator[Result]:
    """The results of ``seeds``, in turn; ``without`` names a safeguard to remove."""
    metrics = Metrics(CollectorRegistry())
    ablation = ABLATIONS[without] if without else Ablation(0)
    # What a run leaves behind is collected between runs only.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with ablation.removed():
            for seed in seeds:
                yield run_seed(seed, metrics, store=ablation.store)
    finally:
        gc.enable()
        gc.unfreeze()


def results_of(seeds: Sequence[int]) -> list[Result]:
    """What one of many processes does."""
    return list(run_seeds(seeds))


@contextmanager
def _quiet_end() -> Iterator[None]:
    """A world that ends leaves generators that wait in their ``finally``; that they refuse to end is no news."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
        gc.collect()
    finally:
        sys.unraisablehook = hook
