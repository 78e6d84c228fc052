"""``/metrics``: whichever worker is asked shows the figures of all, each with the label of its worker."""

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from protocol.errors import Unavailable
from protocol.gateway.backend import Backend

SUBJECT: Final = "metrics"
FRESH_S: Final = 1.0
"""Who scrapes sooner gets the same again: however often anyone asks, the workers are asked no oftener than that."""
COUNT_TIMEOUT_S: Final = 1.0


class Figures(msgspec.Struct, frozen=True):
    """What one worker has to show."""

    worker: str
    exposition: str
    """In the text format of Prometheus."""


class Scrape:
    """``timer`` gives seconds of a monotonic clock."""

    def __init__(self, backend: Backend, registry: CollectorRegistry, timer: Callable[[], float]) -> None:
        self._backend = backend
        self._registry = registry
        self._timer = timer
        self._scraping = asyncio.Lock()
        self._scraped_at = -math.inf
        self._text = b""
        backend.on_asked(SUBJECT, self._answer)

    async def text(self) -> bytes:
        """The figures of all workers that answer within a second."""
        async with self._scraping:
            if self._timer() - self._scraped_at >= FRESH_S:
                answers, live = await asyncio.gather(self._backend.gather(SUBJECT), self._live())
                # Reading some thousand lines of each worker takes longer than the loop may stand still.
                self._text = await asyncio.to_thread(merged, answers, live)
                self._scraped_at = self._timer()
            return self._text

    def _answer(self, _: bytes) -> bytes:
        exposition = generate_latest(self._registry).decode()
        return msgspec.msgpack.encode(Figures(self._backend.worker().label, exposition))

    async def _live(self) -> int | None:
        """How many workers there are, if that can be told."""
        try:
            async with asyncio.timeout(COUNT_TIMEOUT_S):
                return len((await self._backend.leases()).workers)
        except (Unavailable, TimeoutError):
            return None


def merged(answers: Iterable[bytes], live: int | None) -> bytes:
    """One exposition of all ``answers``; ``live`` is how many there should be, None if that is not known."""
    families: dict[str, Metric] = {}
    shown = 0
    for answer in answers:
        figures = msgspec.msgpack.decode(answer, type=Figures)
        shown += 1
        for family in text_string_to_metric_families(figures.exposition):
            known = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            known.samples.extend(
                sample._replace(labels={**sample.labels, "worker": figures.worker}) for sample in family.samples
            )
    silent = math.nan if live is None else max(0, live - shown)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([*families.values(), _silent(silent)]))
    return generate_latest(registry)


def _silent(workers: float) -> Metric:
    return GaugeMetricFamily(
        "plaudit_workers_silent", "Live workers whose figures are missing here; NaN: not known.", workers
    )


class _Collected:
    """Families as they are, for the writer of the format."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)
