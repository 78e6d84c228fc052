"""One read for many who ask the same at once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Sharing:
    """Never gives anyone a result that was begun before they asked: what they saw earlier is in it."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Any]] = {}
        self._next: dict[Hashable, asyncio.Task[Any]] = {}

    async def read(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result of ``work``, begun now; or as soon as that of others who ask for ``key`` has ended, for all."""
        running = self._running.get(key)
        if running is None:
            running = self._begin(self._running, key, work)
            return await self._result(running)
        following = self._next.get(key)
        if following is None:
            following = self._begin(self._next, key, lambda: self._after(running, key, work))
        return await self._result(following)

    async def stop(self) -> None:
        """End; who still waits is cancelled."""
        tasks = [*self._running.values(), *self._next.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(
        self, among: dict[Hashable, asyncio.Task[Any]], key: Hashable, work: Callable[[], Awaitable[T]]
    ) -> "asyncio.Task[T]":
        async def run() -> T:
            return await work()

        task = among[key] = asyncio.create_task(run(), name=f"read {key}")
        task.add_done_callback(lambda _: self._ended(key, task))
        return task

    async def _after(self, running: "asyncio.Task[Any]", key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        await asyncio.wait([running])
        # From now on it runs, and who comes waits for the one behind it.
        following = self._next.pop(key)
        self._running[key] = following
        return await work()

    def _ended(self, key: Hashable, task: "asyncio.Task[Any]") -> None:
        for tasks in (self._running, self._next):
            if tasks.get(key) is task:
                del tasks[key]
        if not task.cancelled():
            # Those who waited for it may all have gone.
            task.exception()

    async def _result(self, task: "asyncio.Task[T]") -> T:
        return await asyncio.shield(task)
