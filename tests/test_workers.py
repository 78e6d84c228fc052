"""``server.py --workers``: processes that serve together, die, are replaced, restarted and ended, and leave nothing."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import psutil
import pytest

import server
from store.embedded import EmbeddedPostgres
from store.embedded_redis import EmbeddedRedis
from tests.faults.proxy import Proxy
from tests.processes import Served, lives, serving
from tests.test_server import complaint

WAIT_S = 30.0
SECRET = "a secret that nobody may read in a list of processes"


@pytest.fixture
def data_dir(database_dir: Path) -> Path:
    return database_dir


@asynccontextmanager
async def serving_by_two(data_dir: Path, *arguments: str, port: int = 0) -> AsyncIterator[Served]:
    environment = {"PLAUDIT_SECRET": SECRET, "PLAUDIT_HOST_JWT_SECRET": SECRET, "PLAUDIT_ADDRESS_RATE": "1000:1000"}
    own = ("--workers", "2", "--port", str(port), "--data-dir", str(data_dir))
    async with serving("server.py", *own, *arguments, environment=environment) as served:
        yield served


def workers(served: Served) -> dict[int, psutil.Process]:
    """By number; of two processes of one number the newer one."""
    found = {}
    # By process id, which in such a short time only rises.
    for child in sorted(psutil.Process(served.pid).children(), key=lambda process: process.pid):
        with suppress(psutil.Error):
            line = child.cmdline()
            if server.WORKER in line:
                found[int(line[-1])] = child
    return found


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not happened():
            await asyncio.sleep(0.02)


async def until_ready(served: Served) -> None:
    """Slots on their way from one worker to another are nobody's for a moment."""
    async with asyncio.timeout(WAIT_S), aiohttp.ClientSession() as client:
        while True:
            async with client.get(f"{served.url}/readyz") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.02)


async def test_two_workers_share_one_port_and_its_connections(data_dir: Path) -> None:
    async with serving_by_two(data_dir) as served, AsyncExitStack() as open_connections:
        assert sorted(workers(served)) == [1, 2]
        await until(lambda: any(line.split() == ["the", "workers", "2"] for line in served.output))
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            open_connections.callback(writer.close)
        await until(lambda: sum(map(connections, workers(served).values())) == 20)
        # More than half only where one of them was busy when the other had its part.
        assert all(connections(worker) >= 5 for worker in workers(served).values())


def connections(worker: psutil.Process) -> int:
    return sum(each.status == psutil.CONN_ESTABLISHED for each in worker.net_connections("tcp"))


async def test_a_killed_worker_is_replaced(data_dir: Path) -> None:
    async with serving_by_two(data_dir) as served:
        old = workers(served)
        old[1].kill()
        await until(lambda: workers(served).get(1, old[1]) != old[1])
        assert workers(served)[2] == old[2]
        await until_ready(served)


async def test_workers_that_are_killed_while_redis_is_away_are_replaced_and_ready_when_it_returns(
    data_dir: Path, tmp_path: Path
) -> None:
    async with (
        EmbeddedRedis(tmp_path / "redis") as redis,
        Proxy(redis.url) as network,
        serving_by_two(data_dir, "--redis-url", network.url) as served,
        aiohttp.ClientSession() as client,
    ):
        network.refuse()
        old = workers(served)
        for worker in old.values():
            worker.kill()
        # Asked before somebody is there to answer, who is new then.
        async with asyncio.timeout(WAIT_S), client.get(f"{served.url}/healthz") as response:
            assert response.status == 200
        async with client.get(f"{served.url}/readyz") as response:
            assert response.status == 503
            assert "cannot be reached" in (await response.json())["failing"]["bus"]
        await until(lambda: len(workers(served)) == 2 and not set(old.values()) & set(workers(served).values()))
        network.accept()
        await until_ready(served)


async def test_a_killed_parent_leaves_nothing_and_the_same_command_serves_again(data_dir: Path) -> None:
    async with serving_by_two(data_dir) as served:
        family = psutil.Process(served.pid).children(recursive=True)
        stopped = workers(served)[1]
        stopped.suspend()
        await served.kill()
        async with serving_by_two(data_dir, port=served.port) as again:
            await until_ready(again)
            assert not [process for process in family if lives(process)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all_of_them_in_time(data_dir: Path, number: signal.Signals) -> None:
    async with serving_by_two(data_dir) as served, aiohttp.ClientSession() as client:
        family = psutil.Process(served.pid).children(recursive=True)
        async with client.ws_connect(f"{served.url}/connection/websocket") as listening:
            await listening.send_json({"id": 1, "connect": {}})
            await listening.receive_json()
            served.process.send_signal(number)
            assert (await listening.receive()).data == 3001
            # It would be 1 if not all had ended in time.
            assert await served.process.wait() == 0
            assert not [process for process in family if lives(process)]


async def test_a_worker_that_hangs_does_not_hold_up_the_end(data_dir: Path) -> None:
    async with serving_by_two(data_dir) as served:
        family = psutil.Process(served.pid).children(recursive=True)
        workers(served)[2].suspend()
        served.process.send_signal(signal.SIGTERM)
        # It would be 1 if not all had ended in time.
        assert await served.process.wait() == 0
        assert not [process for process in family if lives(process)]


async def test_a_worker_is_started_by_nobody_but_the_server() -> None:
    assert "for the server's own use" in await complaint(server.WORKER, "1")


async def test_a_restart_replaces_every_worker_while_requests_go_on(data_dir: Path) -> None:
    async with serving_by_two(data_dir) as served, aiohttp.ClientSession() as client:
        old = workers(served)
        os.kill(served.pid, signal.SIGHUP)
        answered = 0
        async with asyncio.timeout(WAIT_S):
            while any(lives(process) for process in old.values()):
                # A connection of its own: one that a worker has closed while idle may fail without anyone's fault.
                async with client.get(f"{served.url}/healthz", headers={"Connection": "close"}) as response:
                    assert response.status == 200
                    answered += 1
        assert answered
        assert sorted(workers(served)) == [1, 2]
        assert not set(workers(served).values()) & set(old.values())
        await until_ready(served)


async def test_who_keeps_a_connection_is_not_cut_off_by_a_restart(data_dir: Path) -> None:
    ends = 0

    async def ask(served: Served, old: list[psutil.Process]) -> None:
        """One request after the other, on a connection that is kept until an answer says that it is the last."""
        nonlocal ends
        while any(lives(process) for process in old):
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            kept = True
            while kept and any(lives(process) for process in old):
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                assert b"http/1.1 200" in head
                await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
                kept = b"connection: close" not in head
            ends += not kept
            writer.close()

    async with serving_by_two(data_dir) as served:
        old = list(workers(served).values())
        async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as clients:
            for _ in range(8):
                clients.create_task(ask(served, old))
            await asyncio.sleep(0.2)
            os.kill(served.pid, signal.SIGHUP)
        assert ends


async def test_no_command_line_holds_a_secret(data_dir: Path) -> None:
    async with serving_by_two(data_dir) as served:
        for process in psutil.Process(served.pid).children(recursive=True):
            line = process.cmdline()
            assert not [word for word in line if SECRET in word or "postgresql://" in word], line


async def test_what_is_in_use_is_refused_in_one_line_with_workers_too(data_dir: Path) -> None:
    async with serving_by_two(data_dir) as served:
        again = await complaint("--workers", "2", "--port", "0", "--data-dir", str(data_dir))
        assert f"in use by process {served.pid}" in again


async def test_workers_that_cannot_start_are_refused_in_one_line(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
    at = ("--port", "0", "--data-dir", str(data_dir), "--redis-url", url)
    for count in ("1", "2"):
        assert "Redis" in await complaint("--workers", count, *at)


async def test_servers_share_a_database_by_one_redis_and_the_same_rules_or_not_at_all(tmp_path: Path) -> None:
    async with (
        EmbeddedPostgres(tmp_path / "first") as postgres,
        EmbeddedRedis(tmp_path / "first") as redis,
        EmbeddedRedis(tmp_path / "other") as other_redis,
    ):
        database = ("--port", "0", "--database-url", postgres.url)
        both = (*database, "--redis-url", redis.url)
        async with serving("server.py", *both, "--log-level", "debug") as one:
            own_redis = ("--workers", "2", "--data-dir", str(tmp_path / "second"))
            # None of them may join the one that serves, not even for a moment.
            refused = await asyncio.gather(
                complaint(*both, "--edit-window", "60", "--secret", SECRET),
                complaint(*database, *own_redis),
                complaint(*database),
                complaint("role", "ada", "admin", *database),
                complaint("new-epoch", *database),
                complaint(*database, "--redis-url", other_redis.url),
            )
            assert "another --edit-window, --secret: all must agree" in refused[0]
            assert "give all one --redis-url" in refused[1]
            assert "give all one --redis-url" in refused[2]
            assert "another Plaudit serves this database" in refused[3]
            assert "another Plaudit serves this database" in refused[4]
            assert "this Redis does not lead to 1 workers that serve the same database" in refused[5]
            assert not [line for line in one.output if "gave" in line]
            async with serving("server.py", *both, "--workers", "2") as two:
                await until_ready(two)
                await until_ready(one)
