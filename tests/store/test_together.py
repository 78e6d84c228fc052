"""Questions that are put to the store together."""

import asyncio
from collections.abc import Sequence

import pytest

from store.base import StoreUnavailable
from store.together import Together


class Answering:
    """Answers with the square, once it may; remembers what was asked together."""

    def __init__(self) -> None:
        self.batches: list[Sequence[int]] = []
        self.error: Exception | None = None
        self.may = asyncio.Event()

    async def __call__(self, asked: Sequence[int]) -> list[int]:
        self.batches.append(asked)
        await self.may.wait()
        if self.error is not None:
            raise self.error
        return [number * number for number in asked]


def together(answering: Answering, *, at_once: int = 3, waiting_max: int = 10) -> Together[int, int]:
    return Together(answering, at_once=at_once, running_max=1, waiting_max=waiting_max)


async def asking(questions: Together[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    """Questions that wait for their answers."""
    tasks = [asyncio.create_task(questions.ask(number)) for number in numbers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_what_is_asked_while_others_are_answered_is_answered_together_in_its_order() -> None:
    answering = Answering()
    questions = together(answering)
    first = await asking(questions, 1)
    others = await asking(questions, 2, 3, 4, 5)
    answering.may.set()
    assert await asyncio.gather(*first, *others) == [1, 4, 9, 16, 25]
    assert answering.batches == [[1], [2, 3, 4], [5]]


async def test_who_asks_again_as_soon_as_there_is_an_answer_is_answered() -> None:
    answering = Answering()
    answering.may.set()
    questions = together(answering)
    assert [await questions.ask(number) for number in range(4)] == [0, 1, 4, 9]


async def test_an_error_is_told_to_all_who_were_asked_for_and_to_nobody_else() -> None:
    answering = Answering()
    questions = together(answering, at_once=2)
    tasks = await asking(questions, 1, 2, 3)
    answering.error = StoreUnavailable("away")
    answering.may.set()
    assert [str(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == ["away"] * 3
    answering.error = None
    assert await questions.ask(4) == 16


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    answering = Answering()
    questions = together(answering)
    one, other = await asking(questions, 1, 2)
    one.cancel()
    answering.may.set()
    assert await other == 4


async def test_what_nobody_waits_for_any_more_is_not_asked() -> None:
    answering = Answering()
    questions = together(answering)
    first = await asking(questions, 1)
    tasks = await asking(questions, 2, 3, 4, 5)
    for task in tasks[:3]:
        task.cancel()
    answering.may.set()
    assert await asyncio.gather(*first, tasks[3]) == [1, 25]
    assert answering.batches == [[1], [5]]


async def test_no_more_wait_than_may() -> None:
    answering = Answering()
    questions = together(answering, waiting_max=2)
    tasks = [*await asking(questions, 1), *await asking(questions, 2, 3)]
    with pytest.raises(StoreUnavailable):
        await questions.ask(4)
    answering.may.set()
    assert await asyncio.gather(*tasks) == [1, 4, 9]
