"""The endpoint that shows the whole cluster: what the database says of the workers, and what each says of itself."""

import asyncio
import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct
from prometheus_client import CollectorRegistry

from protocol.cluster import ActorLoad, BusView, BusyActor, ClusterView, Lease, Leases, WorkerView
from protocol.errors import Unavailable
from protocol.gateway.backend import Backend
from protocol.gateway.http import Call, Handler, answer

SUBJECT: Final = "status"
BUSIEST_MAX: Final = 10
LEASES_TIMEOUT_S: Final = 1.0
"""A database that hangs does not hold up what the workers have to say."""
ACTORS: Final = "plaudit_actors_resident"
LAG: Final = "plaudit_bus_lag_seconds"
DROPPED: Final = "plaudit_bus_dropped_total"


class Status(Struct, frozen=True, kw_only=True):
    """What one worker says of itself."""

    id: str
    label: str
    failing: dict[str, str]
    actors: int
    connections: int
    bus: BusView
    busiest: list[ActorLoad]


class Cluster:
    """``connections`` counts those open on this worker."""

    def __init__(self, backend: Backend, registry: CollectorRegistry, connections: Callable[[], int]) -> None:
        self._backend = backend
        self._registry = registry
        self._connections = connections
        backend.on_asked(SUBJECT, lambda _: msgspec.msgpack.encode(self._status()))

    def handlers(self) -> Mapping[str, Handler]:
        return {"read_cluster": self.read}

    async def read(self, _: Call) -> web.Response:
        answers, leases = await asyncio.gather(self._backend.gather(SUBJECT), self._leases())
        statuses = [msgspec.msgpack.decode(each, type=Status) for each in answers]
        return answer(cluster_view(statuses, leases))

    async def _leases(self) -> Leases | None:
        try:
            async with asyncio.timeout(LEASES_TIMEOUT_S):
                return await self._backend.leases()
        except (Unavailable, TimeoutError):
            return None

    def _status(self) -> Status:
        worker = self._backend.worker()
        samples = [
            sample
            for family in self._registry.restricted_registry([ACTORS, LAG, DROPPED]).collect()
            for sample in family.samples
        ]
        figures = {sample.name: sample.value for sample in samples}
        return Status(
            id=worker.id,
            label=worker.label,
            failing=self._backend.ready(),
            actors=int(figures[ACTORS]),
            connections=self._connections(),
            bus=BusView(state=worker.bus, lag_s=figures[LAG], dropped=int(figures[DROPPED])),
            busiest=self._backend.busiest(BUSIEST_MAX),
        )


def cluster_view(statuses: Sequence[Status], leases: Leases | None) -> ClusterView:
    """The two accounts joined by the workers' ids; a worker may be in only one of them."""
    by_id = {status.id: status for status in statuses}
    by_lease = {lease.id: lease for lease in (leases.workers if leases is not None else ())}
    workers = [_worker(by_id.get(id), by_lease.get(id)) for id in by_id.keys() | by_lease.keys()]
    busy = [
        BusyActor(
            key=load.key,
            worker=status.label,
            commands_per_s=round(load.commands_per_s, 1),
            watchers=load.watchers,
            waiting=load.waiting,
        )
        for status in statuses
        for load in status.busiest
    ]
    return ClusterView(
        workers=sorted(workers, key=lambda worker: worker.label),
        slots_without_owner=None if leases is None else leases.unowned,
        busiest=heapq.nlargest(BUSIEST_MAX, busy, key=lambda actor: (actor.commands_per_s, actor.watchers)),
    )


def _worker(status: Status | None, lease: Lease | None) -> WorkerView:
    known = status or lease
    assert known is not None
    return WorkerView(
        label=known.label,
        id=known.id,
        state="silent" if status is None else "failing" if status.failing else "ready",
        failing={} if status is None else status.failing,
        lease_s=None if lease is None else round(lease.lease_s, 3),
        slots=None if lease is None else lease.slots,
        actors=None if status is None else status.actors,
        connections=None if status is None else status.connections,
        bus=None if status is None else status.bus,
    )
