"""What is done to a cluster. Each function does one thing once, under load, and returns when all is well again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import asyncpg

from tests.faults.cluster import C, Cluster, EmbeddedCluster, Machine, NetworkedCluster, runs, until
from tests.faults.load import KINDS, Lane, Operation, OverHttp
from tests.faults.proxy import BOTH, Proxy, Way
from tests.faults.run import Nemesis, Run
from tests.faults.watching import SocketWatcher, position_of
from tests.site import Socket, host_token

PROCESS_TIMEOUT_S: Final = 30.0
BALANCE_TIMEOUT_S: Final = 30.0
SHARES: Final = (
    "SELECT count(slot) AS slots FROM worker LEFT JOIN slot ON owner = id WHERE state = 'live' GROUP BY id, node"
    " ORDER BY node"
)
HANDED_OVER: Final = "slots to others"
"""In the line that tells how long each step of a handover took."""
PAUSES_S: Final = (0.1, 0.5, 2.0, 4.0, 10.0)
"""For which a worker is stopped: a hiccup, a swap storm, about a lease, more than one."""
AWAY_S: Final = (0.5, 3.0)
STALL_S: Final = (0.3, 3.0)
CUT_S: Final = (4.0, 7.0)
"""A lease lasts for 3 s."""
ORPHANS_TIMEOUT_S: Final = 2.0
"""Workers end at once without their parent."""
DELAY_S: Final = 0.05
DELAYED_FOR_S: Final = 2.0
RESETS: Final = 5
TERMINATIONS: Final = 3
SHOUTED: Final = 200
SHOUTED_AT_ONCE: Final = 10
SHOUTER: Final = 90
LONG: Final = "x" * 9_000


# -- processes --------------------------------------------------------------------------------------------------------


async def kill_worker(run: Run[NetworkedCluster]) -> None:
    """kill -9 of one worker; its parent lives and replaces it."""
    (machine, *_) = run.cluster.machines
    slots = await _balanced(run)
    async with run.fault("kill-worker") as fault:
        number = run.rng.randrange(run.cluster.workers)
        fault.done = f"worker {number + 1}, slots {slots}"
        victim = machine.workers()[number]
        machine.kill(victim)
        await until(lambda: _whole(machine, run.cluster, without={victim}), PROCESS_TIMEOUT_S)


async def pause_worker(run: Run[NetworkedCluster]) -> None:
    """SIGSTOP; others take what it owned if it lasts, and it must find that out before it says anything."""
    (machine, *_) = run.cluster.machines
    await _balanced(run)
    async with run.fault("pause-worker") as fault:
        victim, seconds = run.rng.choice(machine.workers()), run.rng.choice(PAUSES_S)
        fault.done = f"for {seconds} s"
        machine.pause(victim)
        try:
            await asyncio.sleep(seconds)
        finally:
            machine.resume(victim)


async def rolling_restart(run: Run[NetworkedCluster]) -> None:
    """SIGHUP: every worker hands over to a new one."""
    (machine, *_) = run.cluster.machines
    await _balanced(run)
    old, said_before = set(machine.workers()), machine.said(HANDED_OVER)
    async with run.fault("rolling-restart") as fault:
        fault.done = f"{len(old)} workers"
        machine.restart_in_turn()
        await until(lambda: _whole(machine, run.cluster, without=old), PROCESS_TIMEOUT_S)
        fault.at = run.scribe.clock()
        fault.told = [line for line in machine.said(HANDED_OVER) if line not in said_before]


async def kill_machine(run: Run[NetworkedCluster]) -> None:
    """A second machine takes its share, and is then gone, parent and workers at once."""
    second = await run.cluster.new_machine(f"second {run.scribe.clock():.0f}")
    run.cluster.machines.append(second)
    slots = await _balanced(run)
    async with run.fault("kill-machine") as fault:
        fault.done = f"the slots were {slots}"
        await second.lose()
    run.cluster.machines.remove(second)


async def kill_parent(run: Run[EmbeddedCluster]) -> None:
    """kill -9 of what holds everything, at times of its Postgres just before it; then the same command again."""
    (machine,) = run.cluster.machines
    workers, with_postgres = machine.workers(), run.rng.random() < 0.5
    if with_postgres:
        machine.kill(run.cluster.postgres_pid)
        await asyncio.sleep(run.rng.random() * 0.02)
    await machine.kill_parent()
    await until(lambda: not any(map(runs, workers)), ORPHANS_TIMEOUT_S)
    async with run.fault("kill-parent") as fault:
        fault.done = "with its Postgres" if with_postgres else "alone"
        await machine.start()
        fault.at = run.scribe.clock()


async def cut_machine(run: Run[NetworkedCluster]) -> None:
    """A second machine loses its way to Postgres for longer than a lease, and finds all that it owned taken."""
    second = await run.cluster.new_machine(f"second {run.scribe.clock():.0f}")
    run.cluster.machines.append(second)
    await _balanced(run)
    network = run.cluster.networks[second.name].postgres
    async with run.fault("cut-machine") as fault:
        seconds, way = run.rng.uniform(*CUT_S), run.rng.choice((BOTH, *((way,) for way in BOTH)))
        fault.done = f"{' and '.join(way)} for {seconds:.1f} s"
        network.hold(way)
        try:
            await asyncio.sleep(seconds)
        finally:
            network.release()
    run.cluster.machines.remove(second)
    await second.stop()


def _whole(machine: Machine, cluster: Cluster, without: set[int]) -> bool:
    """Whether it has all its workers, and none of those in ``without``."""
    workers = machine.workers()
    return len(workers) == cluster.workers and not without & set(workers)


async def _balanced(run: Run[Any]) -> str:
    """Wait until every worker of every machine owns at least half of its fair share; tells how many slots each has."""
    workers = run.cluster.workers * len(run.cluster.machines)
    connection = await asyncpg.connect(run.cluster.database_url)
    try:
        async with asyncio.timeout(BALANCE_TIMEOUT_S):
            while True:
                shares = [row["slots"] for row in await connection.fetch(SHARES)]
                if len(shares) == workers and 2 * workers * min(shares) >= sum(shares):
                    return ", ".join(map(str, shares))
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


# -- Redis ------------------------------------------------------------------------------------------------------------


async def redis_restart(run: Run[NetworkedCluster]) -> None:
    await _restart(run, "redis-restart", run.cluster.kill_redis, run.cluster.start_redis)


async def redis_stall(run: Run[NetworkedCluster]) -> None:
    await _stall(run, "redis", BOTH)


async def redis_one_way(run: Run[NetworkedCluster]) -> None:
    way: Way = run.rng.choice(BOTH)
    await _stall(run, "redis", (way,))


async def redis_reset(run: Run[NetworkedCluster]) -> None:
    await _reset(run, "redis")


# -- Postgres ---------------------------------------------------------------------------------------------------------


async def postgres_restart(run: Run[NetworkedCluster]) -> None:
    """Immediate, with recovery."""
    await _restart(run, "postgres-restart", run.cluster.kill_postgres, run.cluster.start_postgres)


async def postgres_backends(run: Run[NetworkedCluster]) -> None:
    """Backends are terminated in the middle of a commit: while they wait for the lock of a slot."""
    connection = await asyncpg.connect(run.cluster.database_url)
    try:
        async with run.fault("postgres-backends") as fault:
            ended = 0
            for _ in range(TERMINATIONS):
                async with connection.transaction():
                    await connection.execute("SELECT FROM slot ORDER BY slot FOR UPDATE")
                    while not (waiting := await connection.fetch("SELECT pid FROM pg_locks WHERE NOT granted")):
                        await asyncio.sleep(0.005)
                    for pid in {row["pid"] for row in waiting}:
                        ended += await connection.fetchval("SELECT pg_terminate_backend($1)", pid)
                await asyncio.sleep(0.2)
            fault.done = f"{ended} terminated"
    finally:
        await connection.close()


async def postgres_stall(run: Run[NetworkedCluster]) -> None:
    await _stall(run, "postgres", BOTH)


async def postgres_one_way(run: Run[NetworkedCluster]) -> None:
    way: Way = run.rng.choice(BOTH)
    await _stall(run, "postgres", (way,))


async def postgres_reset(run: Run[NetworkedCluster]) -> None:
    await _reset(run, "postgres")


# -- networks ---------------------------------------------------------------------------------------------------------


async def slow_networks(run: Run[NetworkedCluster]) -> None:
    """Everything to and from Postgres and Redis takes longer."""
    networks = [network for pair in run.cluster.networks.values() for network in pair]
    async with run.fault("slow-networks") as fault:
        fault.done = f"{DELAY_S * 1000:.0f} ms each way"
        for network in networks:
            network.delay(DELAY_S)
        await asyncio.sleep(DELAYED_FOR_S)
        for network in networks:
            network.delay(0.0)


async def storm(run: Run[NetworkedCluster]) -> None:
    """Several at once: a worker is killed and another stopped while both networks fail."""
    (machine, *_) = run.cluster.machines
    networks = run.cluster.networks[machine.name]
    victims = run.rng.sample(machine.workers(), 2)

    async def kill() -> None:
        machine.kill(victims[0])

    async def pause() -> None:
        machine.pause(victims[1])
        await asyncio.sleep(run.rng.uniform(*STALL_S))
        machine.resume(victims[1])

    works: list[Callable[[], Awaitable[object]]] = [kill, pause]
    works += [partial(_hold, run, network, BOTH) for network in networks]
    async with run.fault("storm") as fault:
        fault.done = "a worker killed, one stopped, both networks held"

        async def start(work: Callable[[], Awaitable[object]]) -> None:
            await asyncio.sleep(run.rng.uniform(*STALL_S))
            await work()

        await asyncio.gather(*map(start, works))
        await until(lambda: _whole(machine, run.cluster, without={victims[0]}), PROCESS_TIMEOUT_S)
        fault.at = run.scribe.clock()


async def _restart(
    run: Run[NetworkedCluster],
    name: str,
    kill: Callable[[], Awaitable[None]],
    start: Callable[[], Awaitable[None]],
) -> None:
    async with run.fault(name) as fault:
        away_s = run.rng.uniform(*AWAY_S)
        fault.done = f"killed, away for {away_s:.1f} s"
        await kill()
        await asyncio.sleep(away_s)
        await start()
        fault.at = run.scribe.clock()


async def _stall(run: Run[NetworkedCluster], to: str, ways: tuple[Way, ...]) -> None:
    name = f"{to}-stall" if ways == BOTH else f"{to}-one-way"
    network = getattr(run.cluster.networks[run.cluster.machines[0].name], to)
    async with run.fault(name) as fault:
        fault.done = await _hold(run, network, ways)
        fault.at = run.scribe.clock()


async def _hold(run: Run[NetworkedCluster], network: Proxy, ways: tuple[Way, ...]) -> str:
    """What is sent arrives later; and in half of the cases its sender finds itself cut off before that. Tells which."""
    seconds, cut = run.rng.uniform(*STALL_S), run.rng.random() < 0.5
    network.hold(ways)
    try:
        await asyncio.sleep(seconds)
        if cut:
            network.cut()
    finally:
        network.release()
    return f"{' and '.join(ways)} for {seconds:.1f} s{', then cut' if cut else ''}"


async def _reset(run: Run[NetworkedCluster], to: str) -> None:
    network = getattr(run.cluster.networks[run.cluster.machines[0].name], to)
    async with run.fault(f"{to}-reset") as fault:
        fault.done = f"{RESETS} times"
        for _ in range(RESETS):
            network.cut()
            await asyncio.sleep(run.rng.uniform(0.02, 0.4))


# -- subscribers ------------------------------------------------------------------------------------------------------


class DeafWatcher(SocketWatcher):
    """Takes nothing from when it has subscribed until ``hear``."""

    _deaf = True
    _socket: Socket | None = None

    def subscribed(self, socket: Socket) -> None:
        self._socket = socket
        if self._deaf:
            socket.listens.clear()

    def hear(self) -> None:
        self._deaf = False
        if self._socket is not None:
            self._socket.listens.set()


async def deaf_subscriber(run: Run[C]) -> None:
    """One that stops reading while much is written; the others do not notice, and it resumes without a gap."""
    post, number = run.posts[0], len(run.watchers)
    site, token = run.cluster.site(run.rng), host_token(SHOUTER)
    person = str((await site.request("GET", "/v1/me", token=token))["id"])
    way = OverHttp(run.cluster.site, token, run.rng)
    shouter = Lane(f"shouter {number}", person, KINDS[0], [post], way, run.scribe, run.rng, applauds=False)
    position = await position_of(site, post)
    deaf = DeafWatcher(f"deaf watcher {number} of {post}", post, *position, run.scribe, run.rng)
    run.watch(deaf)
    async with run.fault("deaf-subscriber") as fault:
        fault.done = f"missed {SHOUTED} long comments"
        for first in range(0, SHOUTED, SHOUTED_AT_ONCE):
            shouts = [f"shouted at {deaf.name}, {count} " for count in range(first, first + SHOUTED_AT_ONCE)]
            await asyncio.gather(
                *(shouter.write(Operation("create", post, shout, body=shout + LONG)) for shout in shouts)
            )
        deaf.hear()


# -- all of them ------------------------------------------------------------------------------------------------------

NETWORKED: Final[Mapping[str, Nemesis[NetworkedCluster]]] = MappingProxyType(
    {
        "kill-worker": kill_worker,
        "pause-worker": pause_worker,
        "rolling-restart": rolling_restart,
        "redis-restart": redis_restart,
        "redis-stall": redis_stall,
        "redis-one-way": redis_one_way,
        "redis-reset": redis_reset,
        "postgres-restart": postgres_restart,
        "postgres-backends": postgres_backends,
        "postgres-stall": postgres_stall,
        "postgres-one-way": postgres_one_way,
        "postgres-reset": postgres_reset,
        "slow-networks": slow_networks,
        "storm": storm,
        "deaf-subscriber": deaf_subscriber,
        "kill-machine": kill_machine,
        "cut-machine": cut_machine,
    }
)
"""On a cluster whose Postgres and Redis are elsewhere."""
EMBEDDED: Final[Mapping[str, Nemesis[EmbeddedCluster]]] = MappingProxyType({"kill-parent": kill_parent})
"""On a single command with everything in it."""
