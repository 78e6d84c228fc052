"""Answers questions together: what is asked while the store is at work on others is put to it in one statement.

As a commit takes all that has gathered meanwhile, without a timer: who asks alone does not wait, and the more ask, the
less each costs.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from store.base import StoreUnavailable

AskedT = TypeVar("AskedT")
AnswerT = TypeVar("AnswerT")


class Together(Generic[AskedT, AnswerT]):
    """``answer`` is given at most ``at_once`` questions, and returns as many answers, in their order.

    It runs at most ``running_max`` times at once, and at most ``waiting_max`` wait for it.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[AskedT]], Awaitable[Sequence[AnswerT]]],
        *,
        at_once: int,
        running_max: int,
        waiting_max: int,
    ) -> None:
        self._answer = answer
        self._at_once = at_once
        self._running_max = running_max
        self._waiting_max = waiting_max
        self._waiting: deque[tuple[AskedT, asyncio.Future[AnswerT]]] = deque()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, asked: AskedT) -> AnswerT:
        """Raises what ``answer`` raises, to all whom it failed; and ``StoreUnavailable`` if too many wait."""
        if len(self._waiting) >= self._waiting_max:
            raise StoreUnavailable(f"{self._waiting_max} wait already")
        answered: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answered))
        if self._running < self._running_max:
            self._running += 1
            task = asyncio.create_task(self._run(), name="questions to the store")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answered

    async def _run(self) -> None:
        """Until nobody waits."""
        while batch := self._next():
            try:
                answers = await self._answer([asked for asked, _ in batch])
            except Exception as error:
                for _, answered in batch:
                    if not answered.done():
                        answered.set_exception(error)
            except BaseException:
                # The loop ends all its tasks: nobody is to wait for what does not come.
                for _, answered in batch:
                    answered.cancel()
                raise
            else:
                for (_, answered), answer in zip(batch, answers, strict=True):
                    if not answered.done():
                        answered.set_result(answer)
        # At once: whoever asks before the task is seen to be done would wait for it in vain.
        self._running -= 1

    def _next(self) -> list[tuple[AskedT, asyncio.Future[AnswerT]]]:
        """Without those who have given up: when most have, the store is to get to those who still wait."""
        batch: list[tuple[AskedT, asyncio.Future[AnswerT]]] = []
        while self._waiting and len(batch) < self._at_once:
            asked, answered = self._waiting.popleft()
            if not answered.done():
                batch.append((asked, answered))
        return batch
