"""The simulated cluster: workers on hosts, one shared store, and the clients; run by one seed."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random
from types import MappingProxyType
from typing import Any, cast

from msgspec import Raw
from msgspec.structs import replace

from actors.policy import Policy
from actors.runtime.activation import Activation, Envelope, Phase, Taken
from actors.runtime.env import Env
from actors.runtime.messages import decode_answer
from actors.runtime.metrics import BusFigures, Metrics
from actors.runtime.node import Node
from protocol.commands import Command, Person, PostCommand
from protocol.errors import DomainError
from store.base import Store, StoreUnavailable
from store.bus import Bus, BusUnavailable
from store.memory_bus import Broker
from store.rows import AlarmRow, OutboxRow
from store.timelines import Strategy
from tests.simulation.clients import Client
from tests.simulation.edge import Connection, PushForm, Wire
from tests.simulation.faults import STRATEGIES, Faults
from tests.simulation.loop import Host, SimulatedLoop
from tests.simulation.network import Link, StoreServer, TravellingStore, Weather
from tests.simulation.oracles import Journal, JournalledStore, differences, shown_by
from tests.simulation.readers import KeptReads, ObservedFaces
from tests.simulation.stories import Commenting, Following, Story

STARTED_AT_S = 1_770_000_000.0
WORKERS = 3
OF_FOLLOWING = 1 / 3
"""Of the seeds, those that tell of people who follow each other; the others, of people who comment."""
CELEBRITY_FOLLOWERS = (2, 3)
FINISH_WITHIN_S = 40.0
"""Of the healing, until every client has its answers and every stream is caught up."""
ALARM_SOON_S = 2.0
"""What is due by then is waited for. What was set by a clock that is ahead may be due much later."""
PRESENCE_WITHIN_S = 3.0
LOOK_EVERY_S = 0.25
"""How often what is in memory is compared with what is stored, besides after each commit."""
DRIFT_MAX = 0.01
"""A clock is hardly ever a ten-thousandth too fast or slow; here up to a hundredth."""
EDIT_WINDOW_S = 10_000_000
"""Clocks here may be an hour apart."""
LEVELS = MappingProxyType({logging.WARNING: "warns", logging.ERROR: "ERROR"})


class Worker:
    """One worker process, from its start to its end."""

    def __init__(self, world: "World", label: str, number: int, skew_s: float) -> None:
        self.host = Host(f"worker {number}")
        self.label = label
        self.skew_s = skew_s
        self.store_link = Link()
        self.node: Node | None = None
        self.connections: list[tuple[Client, Connection]] = []
        self.told_to_end = False
        self.leaving = asyncio.Event()
        self._reads: list[asyncio.Task[None]] = []
        self._kept: KeptReads | None = None
        """Of its node."""
        self._world = world
        self._policy = world.policy
        self._rng = Random(world.rng.getrandbits(64))
        loop = world.loop
        self._monotonic_from = world.rng.uniform(0, 1_000_000)
        self._drift = world.rng.uniform(1 - DRIFT_MAX, 1 + DRIFT_MAX)
        self.env = Env(clock=self._clock, monotonic=self._monotonic, rng=self._rng)
        self.bus_link = Link()
        self.bus_name: str | None = None
        """Of the bus that it listens to now."""
        travelling = TravellingStore(loop, self.host, world.server, self.store_link, self._rng)
        self.store = cast(Store, travelling)
        loop.spawn(self.host, self._run(), "main").add_done_callback(self._ended)

    def _clock(self) -> float:
        return STARTED_AT_S + self.skew_s + self._world.loop.time()

    def _monotonic(self) -> float:
        return self._monotonic_from + self._drift * self._world.loop.time()

    async def _run(self) -> None:
        world = self._world
        while not self.leaving.is_set():
            bus = self._new_bus()
            try:
                running = Node.running(self.store, self.env, self._policy, world.metrics, node=self.label, bus=bus)
                async with running as node:
                    world.observe(self, node)
                    shown = partial(world.reads, self)
                    self.node, self._kept = node, KeptReads(node, ObservedFaces(node, shown), world.memory)
                    world.trace(f"{self.host} serves")
                    await self.leaving.wait()
                    await node.hand_over()
                    self.node = None
                    for _, connection in list(self.connections):
                        connection.shut_down()
            except (StoreUnavailable, BusUnavailable) as error:
                world.trace(f"{self.host} does not start: {error!r}")
                await asyncio.sleep(0.2)

    def _ended(self, run: asyncio.Task[None]) -> None:
        self._world.loop.kill(self.host)
        if not run.cancelled() and run.exception() is not None:
            self._world.journal.violated(f"{self.host} ended with {run.exception()!r}")
        self._world.gone(self)

    def _new_bus(self) -> Bus:
        world = self._world
        self.bus_name = f"{self.host.name}.{len(world.bus_links)}"
        world.bus_links[self.bus_name] = self.bus_link
        return world.broker.bus(self.bus_name, BusFigures(world.metrics), may_be_away=True)

    # -- for clients

    def accept(self, client: Client, out: Wire, closed: Callable[[int], None]) -> Connection | None:
        """See ``clients.Worker.accept``; a stopped host takes connections, and says nothing."""
        world = self._world
        if self.node is None or not self.host.alive:
            return None

        def say_closed(code: int) -> None:
            world.loop.send(client.host, 0.001, closed, code)
            self._forget(connection)

        name = f"{client.by.handle}/{world.connections}"
        world.connections += 1
        connection = Connection(world.loop, self.node, name, client.by, world.journal, world.form, out, say_closed)
        self.connections.append((client, connection))
        return connection

    def hang_up(self, connection: Connection) -> None:
        self._forget(connection)
        self._world.loop.send(self.host, 0.001, connection.end)

    def request(
        self, client: Client, key: str, command: Command, by: Person, op: str | None, answered: Callable[[Any], None]
    ) -> None:
        """See ``clients.Worker.request``."""
        loop = self._world.loop

        def reply(answer: Any) -> None:
            if isinstance(answer, bytes | Raw):
                # What came from another worker is JSON already.
                answer = decode_answer(command, answer)
            loop.send(client.host, 0.001, answered, answer)

        def serve() -> None:
            if self.node is not None:
                self.node.submit(key, command, by, op, reply)

        loop.send(self.host, 0.001, serve)

    def read(
        self, client: Client, read: Callable[[Node], Coroutine[Any, Any, Any]], answered: Callable[[Any], None]
    ) -> None:
        """See ``clients.Worker.read``."""

        def begin() -> None:
            if self.node is not None:
                self._serve(client, partial(read, self.node), answered)

        self._world.loop.send(self.host, 0.001, begin)

    def show(self, client: Client, command: PostCommand, answered: Callable[[Any], None]) -> None:
        """See ``clients.Worker.show``."""
        loop = self._world.loop

        def begin() -> None:
            if self.node is None or self._kept is None:
                return
            if (kept := self._kept.at_once(command)) is not None:
                loop.send(client.host, 0.001, answered, kept)
            else:
                self._serve(client, partial(self._kept.read, command), answered)

        loop.send(self.host, 0.001, begin)

    def _serve(
        self, client: Client, read: Callable[[], Coroutine[Any, Any, Any]], answered: Callable[[Any], None]
    ) -> None:
        async def serve() -> None:
            try:
                answer = await read()
            except DomainError as error:
                answer = error
            self._world.loop.send(client.host, 0.001, answered, answer)

        self._reads = [task for task in self._reads if not task.done()]
        self._reads.append(asyncio.create_task(serve(), name="read"))

    def _forget(self, connection: Connection) -> None:
        self.connections = [held for held in self.connections if held[1] is not connection]

    # -- for faults

    def kill(self) -> None:
        """Nothing of it runs any more; its connections are reset."""
        loop = self._world.loop
        loop.kill(self.host)
        self.node = None
        for client, connection in self.connections:
            loop.send(client.host, 0.001, client.connection_lost, connection)
        self.connections.clear()
        self._world.gone(self)

    def leave(self) -> None:
        """SIGTERM; a stopped worker hears it when it goes on."""
        self.told_to_end = True
        self._world.loop.send(self.host, 0.0, self.leaving.set)

    def look(self) -> None:
        """The parent says that membership has changed."""
        if self.node is not None:
            self._world.loop.send(self.host, 0.001, self.node.look)

    def reset_connections(self) -> None:
        loop = self._world.loop
        for client, connection in self.connections:
            loop.send(client.host, 0.001, client.connection_lost, connection)
            loop.send(self.host, 0.001, connection.end)
        self.connections.clear()


class World:
    """Everything of one seed; ``run`` it once."""

    def __init__(
        self, seed: int, metrics: Metrics, *, store: type[JournalledStore], say: Callable[[str], None]
    ) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.metrics = metrics
        self.policy = Policy(
            edit_window_s=EDIT_WINDOW_S,
            erased_comments=self.rng.choice(("tombstone", "anonymous")),
            celebrity_followers=self.rng.choice(CELEBRITY_FOLLOWERS),
            timelines=self.rng.choice(STRATEGIES),
        )
        self.loop = SimulatedLoop(Random(self.rng.getrandbits(64)))
        self.connections = 0
        self.form = PushForm()
        self.journal = Journal(self.loop.time, self._stop, say)
        self.memory = store(self._store_clock)
        self.memory.journal = self.journal
        self.weather = Weather()
        self.broker = Broker(self._route)
        self.bus_links: dict[str, Link] = {}
        self.server = StoreServer(self.loop, self.memory, Random(self.rng.getrandbits(64)), self.weather)
        self.workers: list[Worker] = []
        self.clients: list[Client] = []
        self._weather_rng = Random(self.rng.getrandbits(64))
        self._started = 0
        self.story: Story = (Following if self.rng.random() < OF_FOLLOWING else Commenting)(self)
        self._over = self.loop.create_future()
        self._faces: dict[tuple[str, str], tuple[object, dict[str, object]]] = {}
        """Of the actors of each worker, when they were looked at last: the face, and what it showed."""

    # -- the run

    def run(self) -> None:
        """Raises what the simulation itself does wrong; what the product does wrong is in the journal."""
        with self._logged() as log, self.story.watching():
            try:
                task = self.loop.spawn(self.loop.outside, self._play(), "play")
                self.loop.run_until_complete(asyncio.wait([task, self._over], return_when=asyncio.FIRST_COMPLETED))
                if self.journal.violation is None:
                    task.result()
            finally:
                log.over = True
                self.loop.dispose()

    async def _play(self) -> None:
        for _ in range(WORKERS):
            self.start_worker()
        self.story.begin()
        looking = asyncio.create_task(self._keep_looking())
        faults = Faults(self, Random(self.rng.getrandbits(64)))
        await faults.play(self.story.trouble_s)
        faults.heal()
        self.trace("healed")
        for client in self.clients:
            client.finishing = True
        await self._finish()
        for client in self.clients:
            if self.journal.violation is None:
                await client.conclude()
        looking.cancel()
        self._look()
        self._compare()

    async def _finish(self) -> None:
        """After healing, everything finishes within a bound."""
        deadline = self.loop.time() + FINISH_WITHIN_S
        while next(self._unfinished(), None) is not None:
            if self.loop.time() > deadline:
                self.journal.violated(f"not finished: {'; '.join(self._unfinished())}")
                return
            await asyncio.sleep(0.2)
        while missing := await self._misjudged():
            if self.loop.time() > deadline:
                self.journal.violated(f"wrong about who is present: {'; '.join(missing)}")
                return
            await asyncio.sleep(0.2)

    async def _misjudged(self) -> list[str]:
        """Which workers are wrong about who is subscribed to what."""
        found = []
        for worker in self.workers:
            for key, names in self.story.listeners().items():
                if worker.node is None:
                    continue
                asking = self.loop.spawn(worker.host, worker.node.presence(key), "presence")
                done, _ = await asyncio.wait([asking], timeout=PRESENCE_WITHIN_S)
                seen = {present.client for each in done for present in each.result().listed}
                if seen != names:
                    found.append(f"{worker.host} sees {seen} at {key}, not {names}")
        return found

    def _undelivered(self) -> Iterator[str]:
        """Alarms that are due, by their owners' clocks, and messages between actors."""
        yield from (f"{row} is under way" for row in self.memory.rows(OutboxRow))
        clocks = {worker.node._ownership.worker: worker.env.clock for worker in self.workers if worker.node}
        for alarm in self.memory.rows(AlarmRow):
            owner, _ = self.memory.owner(alarm.slot)
            clock = None if owner is None else clocks.get(owner)
            if clock is None or alarm.due_ms < (clock() + ALARM_SOON_S) * 1000:
                yield f"{alarm} has not rung"

    def _unfinished(self) -> Iterator[str]:
        """Who still waits, and for what."""
        yield from self._undelivered()
        for client in self.clients:
            if not client.finished:
                yield f"{client.by.handle} waits for an answer"
            yield from client.lacking(self.memory)
        yield from self.story.unfinished()

    # -- its parts

    def _route(self, sender: str, receiver: str, inbox: str, messages: Sequence[bytes]) -> Sequence[float]:
        """After how long each copy of what is sent over the bus arrives."""
        weather, rng = self.weather, self._weather_rng
        if self.bus_links[sender].cut_out or self.bus_links[receiver].cut_in or rng.random() < weather.lost:
            return ()
        copies = 2 if rng.random() < weather.doubled else 1
        return [weather.delay(rng) for _ in range(copies)]

    def _store_clock(self) -> float:
        return STARTED_AT_S + self.loop.time()

    def start_worker(self, label: str | None = None) -> Worker:
        self._started += 1
        label = label or f"machine:{self._started}/0"
        worker = Worker(self, label, self._started, self.skew())
        self.workers.append(worker)
        self.trace(f"{worker.host} starts as {label}")
        return worker

    def look(self) -> None:
        """Every worker is told by its parent that membership has changed."""
        for worker in self.workers:
            worker.look()

    def set_strategy(self, timelines: Strategy) -> None:
        self.policy = replace(self.policy, timelines=timelines)
        self.trace(f"timelines are kept by {timelines} from now on")

    def skew(self) -> float:
        """How far a machine's clock is off: mostly little, sometimes an hour."""
        return self.rng.choice((0.0, self.rng.uniform(-2, 2), self.rng.choice((-3_600.0, 3_600.0))))

    def gone(self, worker: Worker) -> None:
        if worker in self.workers:
            self.workers.remove(worker)
            self.trace(f"{worker.host} is gone")

    def start_client(self, kind: Callable[..., Client], number: int, *settings: Any) -> None:
        handle = f"{kind.__name__.lower()}{number}"
        by = Person(id=number, handle=handle, name=f"Person {number}", viewer=number)
        client = kind(self, Host(handle), by, Random(self.rng.getrandbits(64)), *settings)
        self.clients.append(client)
        self.loop.spawn(client.host, client.run(), "client").add_done_callback(self._client_ended)

    def _client_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not self._over.done():
            self._over.set_exception(cast(BaseException, task.exception()))

    def pick(self, rng: Random) -> Worker | None:
        serving = [worker for worker in self.workers if worker.node is not None]
        return rng.choice(serving) if serving else None

    # -- what is seen

    def trace(self, what: str) -> None:
        self.journal.trace(what)

    def _stop(self) -> None:
        """An oracle broke; there is no more to see."""
        if not self._over.done():
            self._over.set_result(None)

    @contextmanager
    def _logged(self) -> Iterator["_Traced"]:
        """What the product logs is part of the trace; an error that it logs is a defect."""
        handler = _Traced(self)
        log = logging.getLogger("plaudit")
        level, propagate = log.level, log.propagate
        log.addHandler(handler)
        log.setLevel(logging.WARNING)
        log.propagate = False
        try:
            yield handler
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
            log.propagate = propagate

    def observe(self, worker: Worker, node: Node) -> None:
        """Be told of every read that ``node`` decides or has decided, and look at what it has after each commit."""
        registry = node._registry
        decide, durable = registry.decide, registry.durable

        def decide_observed(activation: Activation, envelope: Envelope) -> None:
            if not envelope.command.writes:
                self.reads(worker, activation)
            decide(activation, envelope)

        def durable_observed(activation: Activation, taken: Taken, outbox: Sequence[OutboxRow]) -> None:
            durable(activation, taken, outbox)
            self._look_at(worker, node, activation)

        # Seen from outside: the product has no hook for it, and of each world's nodes only these are replaced.
        registry.decide = decide_observed  # type: ignore[method-assign]
        registry.durable = durable_observed  # type: ignore[method-assign]

    def reads(self, worker: Worker, activation: Activation | None) -> None:
        """Somebody is shown what ``worker`` has of an actor."""
        assert activation is not None, "what is not in memory has nothing to show"
        self.journal.serves(activation.slot, activation.epoch, worker.host.name, "reads")

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._look()

    def _look(self) -> None:
        for worker in self.workers:
            for key in self.story.keys:
                activation = worker.node and worker.node._registry.find(key)
                if worker.node and activation:
                    self._look_at(worker, worker.node, activation)
        for failure in self.loop.failures:
            self.journal.violated(f"nobody took {failure.get('exception')!r}: {failure['message']}")

    def _look_at(self, worker: Worker, node: Node, activation: Activation) -> None:
        """Heads equal memory: whoever owns a slot by its present epoch, with nothing undurable, has what is stored."""
        if activation.phase is not Phase.READY or activation.gated or activation.actor is None:
            return
        if self.memory.owner(activation.slot) == (node._ownership.worker, activation.epoch):
            found = differences(self.memory, activation.actor)
            self.journal.require(found is None, f"{worker.host}: {found}")
        self._look_at_face(worker, activation.key, activation.face, shown_by(activation.actor))

    def _look_at_face(self, worker: Worker, key: str, face: object, shown: dict[str, object]) -> None:
        """While an actor has the same face, it shows the same: answers are kept as long."""
        before = self._faces.get((worker.host.name, key))
        if before is not None and before[0] is face:
            for what in before[1].keys() & shown.keys():
                same = before[1][what] == shown[what]
                self.journal.require(same, f"{worker.host}: {key} shows another {what} with the same face")
        self._faces[worker.host.name, key] = face, shown

    def _compare(self) -> None:
        """What the clients were told is what is stored, once, and what their streams told them is what is stored."""
        for client in self.clients:
            for differing in client.differing(self.memory):
                self.journal.violated(differing)


class _Traced(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self.over = False
        """What is said while the world is taken down means nothing."""
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if self.over:
            return
        said = record.getMessage()
        if record.exc_info is not None:
            said += f": {record.exc_info[1]!r}"
        self._world.trace(f"{record.name} {LEVELS.get(record.levelno, record.levelname)}: {said}")
        if record.levelno >= logging.ERROR:
            self._world.journal.violated(f"{record.name} logs an error: {said}")
