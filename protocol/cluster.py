"""The state of a cluster as its operator sees it: the workers, who holds which slots, which actors are busy."""

from typing import Literal, NamedTuple

from msgspec import Struct

from protocol.views import View

# -- what lies behind the gateway knows


class Worker(NamedTuple):
    """Who this worker is."""

    id: str
    label: str
    """Where it runs: host, process, number."""
    bus: Literal["none", "up", "down"]
    """``none``: it is the only one."""


class Lease(NamedTuple):
    """A live worker, by the database."""

    id: str
    label: str
    lease_s: float
    """What is left of its lease; below 0 it is over."""
    slots: int


class Leases(NamedTuple):
    """Who holds what, at one moment."""

    workers: list[Lease]
    unowned: list[int]
    """Slots that no live worker holds, whose lease runs."""


class ActorLoad(Struct, frozen=True):
    """How busy one actor is."""

    key: str
    commands_per_s: float
    """Over the last two seconds."""
    watchers: int
    waiting: int
    """Commands in its mailbox."""


# -- what is shown


class BusyActor(View, frozen=True):
    key: str
    worker: str
    commands_per_s: float
    watchers: int
    waiting: int


class BusView(View, frozen=True):
    """How one worker finds the bus."""

    state: Literal["none", "up", "down"]
    lag_s: float
    """The time the last probe took."""
    dropped: int
    """Messages that could not be sent."""


class WorkerView(View, frozen=True):
    label: str
    id: str
    state: Literal["ready", "failing", "silent"]
    """``silent``: it holds a lease and does not answer."""
    failing: dict[str, str]
    """What it cannot do now: part → reason."""
    lease_s: float | None
    """What is left of its lease. None: the database does not know it, or cannot be read."""
    slots: int | None
    actors: int | None
    """In memory. None, like the rest: it is silent."""
    connections: int | None
    bus: BusView | None


class ClusterView(View, frozen=True):
    workers: list[WorkerView]
    slots_without_owner: list[int] | None
    """None: the database cannot be read."""
    busiest: list[BusyActor]
    """The actors with the most commands, then watchers; first the busiest."""
