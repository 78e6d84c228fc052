"""One read for many who ask the same at once."""

import asyncio

import pytest

from actors.runtime.sharing import Sharing


class Reads:
    """Reads a number that rises with each read; each takes a second."""

    def __init__(self) -> None:
        self.begun = 0

    async def __call__(self) -> int:
        self.begun += 1
        mine = self.begun
        await asyncio.sleep(1)
        return mine


async def test_who_asks_during_a_read_shares_the_next_one() -> None:
    sharing, reads = Sharing(), Reads()
    first = asyncio.create_task(sharing.read("key", reads))
    await asyncio.sleep(0.5)
    others = [asyncio.create_task(sharing.read("key", reads)) for _ in range(100)]
    assert await first == 1
    await asyncio.sleep(0.5)
    later = [asyncio.create_task(sharing.read("key", reads)) for _ in range(100)]
    assert {await other for other in others} == {2}
    assert {await other for other in later} == {3}
    assert await sharing.read("key", reads) == 4


async def test_other_keys_do_not_wait_for_each_other() -> None:
    sharing, reads = Sharing(), Reads()
    await asyncio.gather(*(sharing.read(number, reads) for number in range(10)))
    assert asyncio.get_running_loop().time() < 1.5


async def test_a_failure_is_everyones_who_waited_for_it_and_nobody_elses() -> None:
    sharing, reads = Sharing(), Reads()

    async def fail() -> int:
        await asyncio.sleep(1)
        raise ZeroDivisionError

    failing = asyncio.create_task(sharing.read("key", fail))
    await asyncio.sleep(0.5)
    following = asyncio.create_task(sharing.read("key", reads))
    with pytest.raises(ZeroDivisionError):
        await failing
    assert await following == 1


async def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    sharing, reads = Sharing(), Reads()
    one, other = (asyncio.create_task(sharing.read("key", reads)) for _ in range(2))
    await asyncio.sleep(0.5)
    one.cancel()
    assert await other == 2
    await sharing.stop()
