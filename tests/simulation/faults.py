"""What goes wrong, and when: chosen by the seed."""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from store.base import StoreUnavailable
from store.timelines import Strategy
from tests.simulation.network import Link
from tests.simulation.stories import Following

if TYPE_CHECKING:
    from tests.simulation.world import Worker, World

KINDS_MAX = 4
"""Kinds of fault that one seed has at most: many different seeds find more than many alike."""
SWITCHING = 0.5
"""Of the seeds that tell of people who follow each other, those in which timelines come to be kept in another way."""
WORKERS_MAX = 5
STRATEGIES: tuple[Strategy, ...] = ("push", "pull", "hybrid", "adaptive")


class Faults:
    """The faults of one seed: its weather, and what happens in it."""

    def __init__(self, world: "World", rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._tasks: list[asyncio.Task[None]] = []
        kinds: list[Callable[[], object]] = [
            self._kill,
            self._kill_and_replace,
            self._kill_all,
            self._stop,
            self._cut_store,
            self._cut_bus,
            self._bus_lost,
            self._store_away,
            self._store_full,
            self._reset_connections,
            self._set_clock,
            self._deploy,
            self._deploy_all,
            self._add,
        ]
        self._kinds = rng.sample(kinds, rng.randint(1, KINDS_MAX))
        if isinstance(world.story, Following) and rng.random() < SWITCHING:
            self._kinds.append(self._set_strategy)
        self._every_s = rng.choice((0.5, 1.0, 2.0, 4.0))
        weather = world.weather
        weather.delay_s = rng.choice((0.0005, 0.002, 0.01))
        weather.slow = rng.choice((0.0, 0.0, 0.01, 0.05))
        weather.slow_s = rng.choice((0.1, 0.5, 2.4))
        weather.lost = rng.choice((0.0, 0.0, 0.005, 0.02))
        weather.late = rng.choice((0.0, 0.02, 0.1))
        weather.doubled = rng.choice((0.0, 0.1))

    async def play(self, seconds: float) -> None:
        """Let things go wrong for so long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (wait_s := self._rng.expovariate(1 / self._every_s)) < until - loop.time():
            await asyncio.sleep(wait_s)
            self._rng.choice(self._kinds)()
        await asyncio.sleep(max(0.0, until - loop.time()))

    def heal(self) -> None:
        """Nothing goes wrong any more, and whoever is not there is started."""
        world = self._world
        for task in self._tasks:
            task.cancel()
        weather = world.weather
        weather.delay_s, weather.slow, weather.lost, weather.late, weather.doubled = 0.001, 0.0, 0.0, 0.0, 0.0
        world.server.away = world.server.full = False
        for worker in world.workers:
            worker.store_link.heal()
            worker.bus_link.heal()
            if worker.bus_name is not None:
                world.broker.heal(worker.bus_name)
            if worker.host.stopped:
                world.loop.resume_host(worker.host)
        staying = [worker for worker in world.workers if not worker.told_to_end]
        for _ in range(2 - len(staying)):
            world.start_worker()

    # -- of workers

    def _victim(self) -> "Worker | None":
        workers = self._world.workers
        return self._rng.choice(workers) if len(workers) > 1 else None

    def _kill(self) -> None:
        """A machine is lost: nobody expires its lease."""
        worker = self._victim()
        if worker is not None:
            self._world.trace(f"kill {worker.host}")
            worker.kill()
            self._later(self._rng.uniform(0.5, 6.0), self._add)

    def _kill_and_replace(self) -> None:
        """A parent reaps its worker, expires its lease, says so to the others, and starts the next."""
        worker = self._victim()
        if worker is not None:
            self._world.trace(f"kill {worker.host}, under its parent")
            worker.kill()
            self._start(self._replace(worker.label))

    def _kill_all(self) -> None:
        """The power goes; or a parent dies, and its workers with it."""
        world = self._world
        world.trace("kill everyone")
        for worker in list(world.workers):
            worker.kill()
        self._start(self._begin_again())

    async def _begin_again(self) -> None:
        """A start that holds the data directory's lock expires all leases of its own node."""
        world = self._world
        await asyncio.sleep(self._rng.expovariate(2.0))
        if not world.workers and self._rng.random() < 0.5:
            await world.memory.expire(node="machine")
        for _ in range(self._rng.randint(1, 3)):
            world.start_worker()

    async def _replace(self, label: str) -> None:
        world = self._world
        try:
            await world.memory.expire(node=label)
        except StoreUnavailable:
            return
        world.look()
        await asyncio.sleep(self._rng.expovariate(2.0))
        world.start_worker(label)

    def _stop(self) -> None:
        """SIGSTOP, SIGCONT."""
        worker = self._victim()
        if worker is None or worker.host.stopped:
            return
        seconds = self._rng.choice((0.1, 1.0, 2.5, 3.2, 3.8, 5.0, 8.0)) * self._rng.uniform(0.8, 1.2)
        self._world.trace(f"stop {worker.host} for {seconds:.2f} s")
        loop = self._world.loop
        loop.stop_host(worker.host)

        def resume() -> None:
            if worker.host.stopped and worker.host.alive:
                self._world.trace(f"resume {worker.host}")
                loop.resume_host(worker.host)

        self._later(seconds, resume)

    def _deploy(self) -> None:
        """A worker ends in order, and a new one starts."""
        worker = self._victim()
        if worker is not None:
            self._renew(worker)

    def _deploy_all(self) -> None:
        """Each worker in turn."""
        for at, worker in enumerate(self._world.workers):
            self._later(at * self._rng.uniform(0.2, 1.5), partial(self._renew, worker))

    def _renew(self, worker: "Worker") -> None:
        if worker.host.alive and not worker.told_to_end:
            self._world.trace(f"{worker.host} is told to end")
            worker.leave()
            self._later(self._rng.expovariate(2.0), self._add)

    def _add(self) -> None:
        """One more worker, if there are few."""
        if len(self._world.workers) < WORKERS_MAX:
            self._world.start_worker()

    def _set_clock(self) -> None:
        worker = self._victim()
        if worker is not None:
            worker.skew_s = self._world.skew()
            self._world.trace(f"the clock of {worker.host} is {worker.skew_s:.1f} s off")

    def _set_strategy(self) -> None:
        """Timelines are kept in another way from now on: by each worker from when it is replaced."""
        world = self._world
        world.set_strategy(self._rng.choice(STRATEGIES))
        self._deploy_all()

    # -- of what lies between

    def _cut_store(self) -> None:
        worker = self._victim()
        if worker is not None:
            self._cut(worker, worker.store_link, "store")

    def _cut_bus(self) -> None:
        """What is lost so nobody notices."""
        worker = self._victim()
        if worker is not None:
            self._cut(worker, worker.bus_link, "bus")

    def _cut(self, worker: "Worker", link: Link, what: str) -> None:
        seconds = self._rng.choice((0.3, 2.0, 6.0)) * self._rng.random()
        link.cut_out, link.cut_in = self._rng.choice(((True, True), (True, False), (False, True)))
        which = "both ways" if link.cut_out and link.cut_in else "outwards" if link.cut_out else "inwards"
        self._world.trace(f"cut {worker.host} from the {what} {which} for {seconds:.2f} s")
        self._later(seconds, link.heal)

    def _bus_lost(self) -> None:
        """One worker, or all of them, lose their connection to the bus, and notice."""
        world, victim = self._world, self._victim()
        workers = world.workers if victim is None or self._rng.random() < 0.3 else [victim]
        names = [worker.bus_name for worker in workers if worker.bus_name is not None]
        seconds = self._rng.choice((0.1, 1.0, 4.0)) * self._rng.random()
        world.trace(f"the bus is lost to {', '.join(names)} for {seconds:.2f} s")
        for name in names:
            world.broker.cut(name)
            self._later(seconds, partial(world.broker.heal, name))

    def _store_away(self) -> None:
        self._for_a_while("away")

    def _store_full(self) -> None:
        self._for_a_while("full")

    def _for_a_while(self, what: str) -> None:
        seconds = self._rng.choice((0.2, 1.0, 4.0)) * self._rng.random()
        server = self._world.server
        self._world.trace(f"the store is {what} for {seconds:.2f} s")
        setattr(server, what, True)
        self._later(seconds, lambda: setattr(server, what, False))

    def _reset_connections(self) -> None:
        worker = self._victim()
        if worker is not None:
            self._world.trace(f"reset the connections of {worker.host}")
            worker.reset_connections()

    # -- time

    def _later(self, seconds: float, act: Callable[[], object]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            act()

        self._start(wait())

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        self._tasks.append(asyncio.create_task(work, name="fault"))
