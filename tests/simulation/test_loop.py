"""The simulated loop: hosts that are killed and stopped, time that passes at once, order that the seed chooses."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from tests.simulation.loop import Deadlock, Host, Livelock, SimulatedLoop


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    loop = SimulatedLoop(Random(1))
    yield loop
    loop.dispose()


async def note(notes: list[str], what: str, times: int = 3, pause_s: float = 0.0) -> None:
    for number in range(times):
        notes.append(f"{what}{number}")
        await asyncio.sleep(pause_s)


def test_an_hour_passes_at_once(loop: SimulatedLoop) -> None:
    loop.run_until_complete(asyncio.sleep(3_600.0))
    assert loop.time() == 3_600.0


def test_a_killed_host_does_nothing_more_and_cleans_nothing_up(loop: SimulatedLoop) -> None:
    notes: list[str] = []
    host = Host("a")

    async def work() -> None:
        try:
            await note(notes, "a", times=10, pause_s=1.0)
        finally:
            notes.append("cleaned up")

    task = loop.spawn(host, work(), "work")
    loop.call_later(1.5, loop.kill, host)
    loop.run_until_complete(asyncio.sleep(60.0))
    assert notes == ["a0", "a1"]
    assert not task.done()


def test_a_stopped_host_goes_on_where_it_was(loop: SimulatedLoop) -> None:
    notes: list[str] = []
    host = Host("a")
    loop.spawn(host, note(notes, "a", pause_s=1.0), "work").add_done_callback(lambda _: notes.append("done"))
    loop.call_later(0.5, loop.stop_host, host)
    loop.run_until_complete(asyncio.sleep(60.0))
    assert notes == ["a0"]
    loop.resume_host(host)
    loop.run_until_complete(asyncio.sleep(5.0))
    assert notes == ["a0", "a1", "a2", "done"]


def test_what_is_due_while_a_host_is_stopped_comes_in_the_order_of_its_time(loop: SimulatedLoop) -> None:
    notes: list[str] = []
    host = Host("a")
    for delay_s in (3.0, 1.0, 2.0):
        loop.send(host, delay_s, notes.append, str(delay_s))
    loop.stop_host(host)
    loop.run_until_complete(asyncio.sleep(10.0))
    assert notes == []
    loop.resume_host(host)
    loop.run_until_complete(asyncio.sleep(0.1))
    assert notes == ["1.0", "2.0", "3.0"]


def test_a_host_keeps_its_order_and_the_seed_chooses_between_hosts() -> None:
    orders = set()
    for seed in range(20):
        loop = SimulatedLoop(Random(seed))
        notes: list[str] = []
        for name in "ab":
            loop.spawn(Host(name), note(notes, name), name).add_done_callback(lambda _: None)
        loop.run_until_complete(asyncio.sleep(1.0))
        loop.dispose()
        assert [what for what in notes if what[0] == "a"] == ["a0", "a1", "a2"]
        orders.add(tuple(notes))
    assert len(orders) > 5


def test_a_task_belongs_to_the_host_that_began_it(loop: SimulatedLoop) -> None:
    notes: list[str] = []
    host = Host("a")

    async def begin() -> None:
        await asyncio.gather(note(notes, "a", pause_s=1.0), note(notes, "b", pause_s=1.0))

    loop.spawn(host, begin(), "begin").add_done_callback(lambda _: None)
    loop.call_later(0.5, loop.kill, host)
    loop.run_until_complete(asyncio.sleep(60.0))
    assert notes == ["a0", "b0"]


def test_waiting_for_nothing_is_a_deadlock(loop: SimulatedLoop) -> None:
    with pytest.raises(Deadlock):
        loop.run_until_complete(loop.create_future())


def test_going_round_in_circles_is_a_livelock(loop: SimulatedLoop) -> None:
    async def circle() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        loop.run_until_complete(circle())
