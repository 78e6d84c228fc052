"""One run: a cluster under load, faults one after the other, then what is stored; all of it as a history."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, Final, Generic

from tests.faults.cluster import C, running
from tests.faults.history import Fault, Figures, Moved, Opened, Record, Recorder, Saw, Wrote
from tests.faults.load import Crowd, Scribe, crowd
from tests.faults.stored import stored_posts
from tests.faults.watching import Watcher, watchers_of
from tests.site import Lost, Site

POSTS: Final = 24
"""On as many slots, most likely."""
WATCHED: Final = 6
"""Of these, with a watcher of each kind."""
PEOPLE: Final = 8
OPERATIONS_PER_S: Final = 150.0
HEAL_TIMEOUT_S: Final = 30.0
REST_TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.02
SAMPLE_S: Final = 1.5
"""Between two looks at the workers' own figures."""


class Progress:
    """How far writers and watchers are."""

    def __init__(self) -> None:
        self.written: dict[str, float] = {}
        """Post → when the last write began that was acknowledged."""
        self.heads: dict[str, int] = {}
        self.stands: dict[str, int] = {}
        """Watcher → its offset."""
        self.acknowledged = 0
        self._changed = asyncio.Event()

    def hear(self, record: Record) -> None:
        match record:
            case Wrote(outcome="acknowledged"):
                self.acknowledged += 1
                self.written[record.post] = max(self.written.get(record.post, 0.0), record.began)
                self.heads[record.post] = max(self.heads.get(record.post, 0), record.offset)
            case Opened() | Saw() | Moved():
                self.stands[record.watcher] = record.offset
            case _:
                return
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


class Sums:
    """What workers have counted, summed also over those that were replaced, as far as they were asked in time."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}
        self._sums: dict[str, float] = {}

    async def sample(self, site: Site) -> None:
        with suppress(Lost):
            for (worker, name), value in (await site.figures()).items():
                last = self._last.get((worker, name), 0.0)
                # A new process in the old one's place begins at 0.
                self._sums[name] = self._sums.get(name, 0.0) + (value - last if value >= last else value)
                self._last[worker, name] = value

    def figures(self) -> Figures:
        def total(name: str) -> int:
            return int(self._sums.get(f"plaudit_{name}_total", 0.0))

        loads, loading_s = (self._sums.get(f"plaudit_activation_seconds_{each}", 0.0) for each in ("count", "sum"))
        return Figures(
            fenced=total("fenced"),
            resyncs=total("resyncs"),
            handoffs=total("handoffs"),
            retries=total("retries"),
            gaps=total("gaps"),
            loads=int(loads),
            load_s=loading_s / max(loads, 1.0),
        )


class Returned:
    """When what a fault took away was there again, what was done and what of it was told; a nemesis fills it in."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.at = began
        self.done = ""
        self.told: list[str] = []


class Run(Generic[C]):
    """What a nemesis has to do with."""

    def __init__(self, cluster: C, recorder: Recorder, progress: Progress, clock: Callable[[], float], rng: Random):
        self.cluster = cluster
        self.rng = rng
        self.scribe = Scribe(recorder.note, clock)
        self.progress = progress
        self.posts: list[str] = []
        self.watchers: list[Watcher] = []
        self._sums = Sums()
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def fault(self, name: str) -> AsyncIterator[Returned]:
        """A fault, from here to the end of the block; then all is given time to be well, and it is noted."""
        returned = Returned(self.scribe.clock())
        yield returned
        ill = await self.ill()
        self.scribe.note(
            Fault(
                name=name,
                began=returned.began,
                returned=returned.at,
                ended=self.scribe.clock(),
                done=returned.done,
                ill=ill,
                told=returned.told,
            )
        )

    async def ill(self) -> list[str]:
        """Wait until every post was written to and every watcher has what was acknowledged by now.

        Returns:
            For which of them it is not so within ``HEAL_TIMEOUT_S``.
        """
        now, heads = self.scribe.clock(), dict(self.progress.heads)

        def ill() -> list[str]:
            written, stands = self.progress.written, self.progress.stands
            unwritten = [f"post {post} is not written to" for post in self.posts if written.get(post, 0.0) < now]
            return unwritten + [
                f"{watcher.name} is at {stands.get(watcher.name)} of {heads.get(watcher.post)}"
                for watcher in self.watchers
                if stands.get(watcher.name, 0) < heads.get(watcher.post, 0)
            ]

        with suppress(TimeoutError):
            async with asyncio.timeout(HEAL_TIMEOUT_S):
                await self.progress.until(lambda: not ill())
        return ill()

    # -- the load

    async def _prepare(self) -> Crowd:
        """Posts, people and watchers."""
        site = self.cluster.site(self.rng)
        self.posts = [await site.create_post(f"Post {number}") for number in range(POSTS)]
        for post in self.posts[:WATCHED]:
            for watcher in await watchers_of(site, post, self.scribe, self.rng):
                self.watch(watcher)
        return await crowd(site, self.cluster.site, self.posts, PEOPLE, self.scribe, self.rng)

    @asynccontextmanager
    async def under_load(self, operations_per_s: float) -> AsyncIterator[None]:
        """Everyone writes and watches; on leaving, the writers finish and the watchers catch up."""
        people = await self._prepare()
        stopping = asyncio.Event()
        pause_s = len(people.lanes) / operations_per_s
        for socket in people.sockets:
            self._start(socket.run(), "a writer's socket")
        self._start(self._keep_sampling(), "sampler of metrics")
        try:
            async with asyncio.TaskGroup() as lanes:
                for lane in people.lanes:
                    lanes.create_task(lane.run(stopping, pause_s))
                assert not await self.ill(), "the load does not even begin"
                yield
                stopping.set()
            await self._record_the_end()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def watch(self, watcher: Watcher) -> None:
        """From now on to the end of the run."""
        self.watchers.append(watcher)
        self._start(watcher.run(self.cluster.site), watcher.name)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _keep_sampling(self) -> None:
        while True:
            await self._sums.sample(self.cluster.site(self.rng))
            await asyncio.sleep(SAMPLE_S)

    async def _record_the_end(self) -> None:
        posts = await stored_posts(self.cluster.database_url, self.cluster.site(self.rng), self.posts)
        by_id = {post.post: post for post in posts}

        def at_rest() -> bool:
            return all(
                watcher.offset >= by_id[watcher.post].head and watcher.numbers == by_id[watcher.post].kept
                for watcher in self.watchers
            )

        # Whoever does not get there is for the checker to tell of.
        with suppress(TimeoutError):
            async with asyncio.timeout(REST_TIMEOUT_S):
                while not at_rest():
                    await asyncio.sleep(POLL_S)
        for post in posts:
            self.scribe.note(post)
        for watcher in self.watchers:
            self.scribe.note(watcher.counted())
        await self._sums.sample(self.cluster.site(self.rng))
        self.scribe.note(self._sums.figures())


Nemesis = Callable[[Run[C]], Awaitable[None]]


async def run(
    kind: type[C],
    nemeses: Sequence[Nemesis[C]],
    *,
    workers: int,
    seconds: float,
    seed: int,
    directory: Path,
    operations_per_s: float = OPERATIONS_PER_S,
) -> Path:
    """Each of ``nemeses`` once, and again for as long as ``seconds`` are not over; returns the history's file."""
    path, rng, start = directory / "history.jsonl", Random(seed), monotonic()
    with path.open("wb") as file:
        progress = Progress()
        async with running(kind, directory, workers=workers, rng=rng) as cluster:
            this = Run(cluster, Recorder(file, progress.hear), progress, lambda: monotonic() - start, rng)
            async with this.under_load(operations_per_s):
                for number, nemesis in enumerate(cycle(nemeses)):
                    if number >= len(nemeses) and monotonic() - start >= seconds:
                        break
                    await nemesis(this)
    return path
