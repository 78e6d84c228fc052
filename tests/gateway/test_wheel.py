"""One wheel wakes everyone in time."""

import asyncio
import logging

import pytest

from protocol.gateway.wheel import SLOTS, WAKES_AT_ONCE, Wheel


class RecordingSleeper:
    """Notes when it was woken, and sleeps again as it was told."""

    def __init__(self, wheel: Wheel, *again_s: float) -> None:
        self.woken = 0
        self._wheel = wheel
        self._again_s = list(again_s)

    def wake(self, now: float) -> float | None:
        self.woken += 1
        return self._again_s.pop(0) if self._again_s else None


class FailingSleeper(RecordingSleeper):
    def wake(self, now: float) -> float | None:
        super().wake(now)
        raise OSError("broken pipe")


async def turned(wheel: Wheel, ticks: int) -> None:
    for _ in range(ticks):
        await wheel.advance()


def wheel() -> Wheel:
    return Wheel(lambda: 0.0, tick_s=1.0)


async def test_a_sleeper_is_woken_not_before_its_time_and_at_most_a_tick_after() -> None:
    wheel_ = wheel()
    sleeper = RecordingSleeper(wheel_, 2.0)
    wheel_.schedule(sleeper, 2.5)
    await turned(wheel_, 2)
    assert sleeper.woken == 0
    await turned(wheel_, 1)
    assert sleeper.woken == 1
    await turned(wheel_, 3)
    assert sleeper.woken == 2
    assert len(wheel_) == 0


async def test_a_delay_longer_than_the_wheel_is_cut_to_it() -> None:
    wheel_ = wheel()
    sleeper = RecordingSleeper(wheel_)
    wheel_.schedule(sleeper, float("inf"))
    await turned(wheel_, SLOTS - 1)
    assert sleeper.woken == 1


async def test_a_sleeper_has_one_time_only_and_may_be_cancelled() -> None:
    wheel_ = wheel()
    moved, cancelled = RecordingSleeper(wheel_), RecordingSleeper(wheel_)
    wheel_.schedule(moved, 1.0)
    wheel_.schedule(moved, 3.0)
    wheel_.schedule(cancelled, 1.0)
    wheel_.cancel(cancelled)
    wheel_.cancel(cancelled)
    await turned(wheel_, 2)
    assert (moved.woken, cancelled.woken) == (0, 0)
    await turned(wheel_, 3)
    assert (moved.woken, cancelled.woken) == (1, 0)


async def test_one_that_fails_does_not_keep_the_others_asleep(caplog: pytest.LogCaptureFixture) -> None:
    wheel_ = wheel()
    sleepers = [FailingSleeper(wheel_), RecordingSleeper(wheel_)]
    for sleeper in sleepers:
        wheel_.schedule(sleeper, 0.0)
    with caplog.at_level(logging.ERROR):
        await turned(wheel_, 1)
    assert [sleeper.woken for sleeper in sleepers] == [1, 1]
    assert "broken pipe" in caplog.text


async def test_a_herd_is_woken_in_parts_between_which_others_run() -> None:
    wheel_ = wheel()
    herd = [RecordingSleeper(wheel_) for _ in range(WAKES_AT_ONCE + 1)]
    for sleeper in herd:
        wheel_.schedule(sleeper, 0.0)
    seen: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: seen.append(sum(sleeper.woken for sleeper in herd)))
    await turned(wheel_, 1)
    assert seen == [WAKES_AT_ONCE]
    assert all(sleeper.woken == 1 for sleeper in herd)


async def test_a_wheel_turns_by_itself_while_it_is_entered() -> None:
    loop = asyncio.get_running_loop()
    async with Wheel(loop.time, tick_s=0.001) as turning:
        woken = asyncio.Event()

        class Setter:
            def wake(self, now: float) -> float | None:
                woken.set()
                return None

        turning.schedule(Setter(), 0.01)
        await asyncio.wait_for(woken.wait(), 5)
