"""The parent of worker processes, with real processes that do nothing but what a test tells them."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from actors.runtime import parent as module
from actors.runtime.parent import REFUSED, UNAVAILABLE, Parent, Place, WorkersFailed

WAIT_S = 10.0

STAND_IN = """
import os, signal, socket, sys
channel = socket.socket(fileno=0)
lines = channel.makefile("r")
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
exec(lines.readline())
for line in lines:
    print(os.getpid(), line.strip(), flush=True)
"""
"""Does what its assignment says; then prints what it hears, until its parent is gone."""
SERVE = "channel.send(b'ready\\n')"


class Nursery:
    """Starts stand-ins, and keeps record of them."""

    def __init__(self, *assignments: str) -> None:
        self._assignments = assignments
        """Of each process in turn, the last one again and again."""
        self.started: list[Place] = []
        self.replacing: list[bool] = []
        self.pids: list[int] = []
        self.times: list[float] = []
        self.reaped_places: list[Place] = []
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.changed = asyncio.Condition()
        self._readers: list[asyncio.Task[None]] = []

    async def spawn(self, place: Place, channel: int) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-c", STAND_IN, stdin=channel, stdout=asyncio.subprocess.PIPE
        )
        self._readers.append(asyncio.create_task(self._read(process)))
        self.started.append(place)
        self.pids.append(process.pid)
        self.times.append(asyncio.get_running_loop().time())
        async with self.changed:
            self.changed.notify_all()
        return process

    def assignment(self, place: Place, *, replaces: bool) -> bytes:
        self.replacing.append(replaces)
        return self._assignments[min(place.serial, len(self._assignments)) - 1].encode()

    async def reaped(self, place: Place) -> None:
        async with self.changed:
            self.reaped_places.append(place)
            self.changed.notify_all()

    async def until_started(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S), self.changed:
            await self.changed.wait_for(lambda: len(self.started) >= count)

    async def until_reaped(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S), self.changed:
            await self.changed.wait_for(lambda: len(self.reaped_places) >= count)

    async def ended(self) -> None:
        await asyncio.gather(*self._readers)

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.heard.put_nowait(line.decode().strip())
        await process.wait()


@asynccontextmanager
async def keeping(count: int, nursery: Nursery) -> AsyncIterator[Parent]:
    parent = Parent(count, nursery)
    try:
        async with asyncio.timeout(WAIT_S * 2), parent.running():
            yield parent
    finally:
        await asyncio.wait_for(nursery.ended(), WAIT_S)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_all_workers_are_ready_when_the_parent_runs_and_gone_when_it_has_ended() -> None:
    nursery = Nursery(SERVE)
    async with keeping(3, nursery):
        assert nursery.started == [Place(1, 1), Place(2, 2), Place(3, 3)]
        assert all(map(alive, nursery.pids))
    assert not any(map(alive, nursery.pids))


async def test_a_killed_worker_is_replaced_and_declared_dead_and_the_others_look() -> None:
    nursery = Nursery(SERVE)
    async with keeping(2, nursery):
        os.kill(nursery.pids[0], signal.SIGKILL)
        await nursery.until_started(3)
        await nursery.until_reaped(1)
        assert nursery.started[2] == Place(1, 3)
        assert nursery.reaped_places == [Place(1, 1)]
        assert await asyncio.wait_for(nursery.heard.get(), WAIT_S) == f"{nursery.pids[1]} look"


async def test_who_comes_in_the_place_of_another_is_told_so() -> None:
    nursery = Nursery(SERVE)
    async with keeping(2, nursery) as parent:
        assert nursery.replacing == [False, False]
        parent.restart()
        await nursery.until_reaped(2)
    assert nursery.replacing == [False, False, True, True]


async def test_a_worker_that_dies_again_and_again_is_replaced_ever_more_slowly() -> None:
    nursery = Nursery(SERVE, SERVE + "; os._exit(1)")
    async with keeping(1, nursery):
        os.kill(nursery.pids[0], signal.SIGKILL)
        await nursery.until_started(6)
    pauses_s = [after - before for before, after in zip(nursery.times[2:], nursery.times[3:], strict=False)]
    assert all(pause_s >= least_s for pause_s, least_s in zip(pauses_s, (0.1, 0.2, 0.4), strict=False))


@pytest.mark.parametrize("status", [REFUSED, UNAVAILABLE])
async def test_a_worker_that_cannot_start_ends_the_start_with_its_reason(status: int) -> None:
    nursery = Nursery(SERVE, f"channel.send(b'the moon is full\\n'); os._exit({status})")
    with pytest.raises(WorkersFailed, match=r"^the moon is full$"):
        async with keeping(2, nursery):
            pass


async def test_a_worker_that_crashes_during_the_start_is_tried_again() -> None:
    nursery = Nursery("os.kill(os.getpid(), 9)", "os._exit(1)", SERVE)
    async with keeping(2, nursery):
        assert len(nursery.started) >= 4


async def test_a_replacement_that_is_refused_ends_nothing_while_another_serves() -> None:
    nursery = Nursery(SERVE, SERVE, f"os._exit({REFUSED})", SERVE)
    async with keeping(2, nursery) as parent:
        os.kill(nursery.pids[0], signal.SIGKILL)
        await nursery.until_started(4)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(parent.failed(), 0.01)


async def test_when_nobody_serves_and_a_replacement_is_refused_that_is_the_end() -> None:
    nursery = Nursery(SERVE, f"channel.send(b'a newer schema\\n'); os._exit({REFUSED})")
    async with keeping(1, nursery) as parent:
        os.kill(nursery.pids[0], signal.SIGKILL)
        assert await parent.failed() == "a newer schema"


async def test_a_restart_puts_a_new_process_in_each_place_before_the_old_one_ends() -> None:
    nursery = Nursery(SERVE)
    async with keeping(2, nursery) as parent:
        parent.restart()
        await nursery.until_reaped(2)
        assert nursery.started == [Place(1, 1), Place(2, 2), Place(1, 3), Place(2, 4)]
        assert nursery.reaped_places == [Place(1, 1), Place(2, 2)]
        assert [alive(pid) for pid in nursery.pids] == [False, False, True, True]


async def test_a_restart_that_fails_leaves_the_old_workers(caplog: pytest.LogCaptureFixture) -> None:
    nursery = Nursery(SERVE, SERVE, f"channel.send(b'a newer schema\\n'); os._exit({REFUSED})")
    async with keeping(2, nursery) as parent:
        parent.restart()
        await nursery.until_reaped(1)
        assert [alive(pid) for pid in nursery.pids] == [True, True, False]
    assert "a newer schema" in caplog.text
    assert "the restart is given up" in caplog.text


async def test_a_worker_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT_S", 0.2)
    nursery = Nursery("signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SERVE)
    async with keeping(1, nursery):
        pass
    assert nursery.reaped_places == [Place(1, 1)]


async def test_a_worker_that_never_gets_ready_is_killed_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY_TIMEOUT_S", 0.3)
    nursery = Nursery("pass", SERVE)
    async with keeping(1, nursery):
        assert nursery.reaped_places == [Place(1, 1)]


def test_workers_that_end_badly_together_are_all_waited_for() -> None:
    async def run() -> list[Place]:
        nursery = Nursery("signal.signal(signal.SIGTERM, lambda *_: os._exit(1)); " + SERVE)
        async with keeping(4, nursery):
            pass
        return nursery.reaped_places

    # The server's own loop, which raises where asyncio's does not.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(5):
            assert sorted(runner.run(run())) == [Place(number, number) for number in (1, 2, 3, 4)]
