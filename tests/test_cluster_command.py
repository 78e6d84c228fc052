"""``server.py cluster``: what it says of a server that runs, and of one that does not."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import aiohttp
import msgspec

from protocol.cluster import ClusterView
from tests.processes import ROOT, serving

PATIENCE_S = 30.0
SECRET = "a secret of thirty-two characters"


async def cluster(*arguments: str) -> tuple[int | None, str, str]:
    """The status of the command, what it said, what it complained of."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "server.py", "cluster", *arguments, cwd=ROOT, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    said, complained = await process.communicate()
    return process.returncode, said.decode(), complained.decode()


async def unread(*arguments: str) -> tuple[int | None, str]:
    """The status of the command, and what it complained of, when nobody reads what it says."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "server.py", "cluster", *arguments, cwd=ROOT, stdout=writer, stderr=PIPE,
        )  # fmt: skip
    finally:
        os.close(writer)
    _, complained = await process.communicate()
    return process.returncode, complained.decode()


async def complaint(*arguments: str) -> str:
    status, said, complained = await cluster(*arguments)
    assert (status, said, complained.count("\n")) == (2, "", 1), complained
    return complained


async def test_the_command_shows_a_running_server_on_its_embedded_database(database_dir: Path) -> None:
    data = str(database_dir)
    async with serving("server.py", "--port", "0", "--data-dir", data) as served, aiohttp.ClientSession() as client:
        account = {"handle": "ada", "password": "correct horse"}
        async with client.post(f"{served.url}/v1/accounts", json=account) as response:
            assert response.status == 201
        where = ("--data-dir", data, "--port", str(served.port))

        status, said, complained = await cluster("--json", *where)
        assert (status, complained) == (0, "")
        view = msgspec.json.decode(said, type=ClusterView)
        [worker] = view.workers
        assert (worker.state, worker.slots, worker.failing) == ("ready", 256, {})
        assert worker.lease_s is not None
        assert 0 < worker.lease_s <= 3
        assert view.slots_without_owner == []

        status, said, _ = await cluster("--data-dir", data, "--url", served.url)
        assert status == 0
        assert "ready" in said
        assert "Every slot has an owner." in said

        assert "another secret" in await complaint("--secret", SECRET, *where)
        assert "no server answers at http://127.0.0.1:1 " in await complaint("--data-dir", data, "--port", "1")
    nothing_runs = await complaint(*where)
    assert f"no server runs on data directory {data}; give the server's own options" in nothing_runs
    assert "or its --secret" in nothing_runs
    assert sorted(path.name for path in database_dir.parent.iterdir()) == ["data"]


async def test_the_command_shows_every_worker_and_the_bus_between_them(database_dir: Path) -> None:
    options = ("--data-dir", str(database_dir), "--workers", "2")
    async with serving("server.py", "--port", "0", *options) as served, asyncio.timeout(PATIENCE_S):
        while True:
            status, said, complained = await cluster("--json", "--url", served.url, *options)
            assert (status, complained) == (0, "")
            view = msgspec.json.decode(said, type=ClusterView)
            if [worker.state for worker in view.workers] == ["ready", "ready"]:
                break
        assert [worker.bus and worker.bus.state for worker in view.workers] == ["up", "up"]
        assert view.slots_without_owner == []
        async with aiohttp.ClientSession() as client, client.get(f"{served.url}/metrics") as response:
            figures = await response.text()
        assert all(f'plaudit_slots{{worker="{worker.label}"}}' in figures for worker in view.workers)


async def test_the_command_ends_quietly_when_nobody_reads_it_any_more(database_dir: Path) -> None:
    options = ("--data-dir", str(database_dir), "--secret", SECRET)
    async with serving("server.py", "--port", "0", *options) as served:
        for form in ((), ("--json",)):
            assert await unread("--url", served.url, *options, *form) == (128 + signal.SIGPIPE, "")


async def test_with_a_secret_of_its_own_the_command_needs_no_database(database_dir: Path) -> None:
    options = ("--secret", SECRET, "--data-dir", str(database_dir))
    async with serving("server.py", "--port", "0", *options) as served:
        status, said, _ = await cluster(
            "--secret", SECRET, "--data-dir", str(database_dir.with_name("other")), "--url", f"{served.url}/"
        )
        assert (status, "ready" in said) == (0, True)
    assert not database_dir.with_name("other").exists()
