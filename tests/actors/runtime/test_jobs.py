"""Jobs: few at a time, each once, and those of posts never behind those of readers."""

import asyncio

import pytest

from actors.jobs import ChunkPushed, IndexPost, Job, PostIndexed, PushChunk, TendTimeline, TimelineTended
from actors.runtime.jobs import INDEXING_REST, INDEXING_REST_MAX_S, PUSHING_MAX, TENDING_MAX, Jobs
from protocol.commands import Command
from store.memory import MemoryStore
from store.timelines import Page, Tended, Wishes

PUSH = PushChunk(author=1, place=7, after=0)
TEND = TendTimeline(reader=1, wishes=Wishes(strategy="push", here=True, reading=0, margin=0))
DONE = Tended(unfinished=False, open=True)


class SlowTimelines:
    """Answers once it is told to."""

    def __init__(self) -> None:
        self.going_on = 0
        self.at_most = 0
        self.go = asyncio.Event()

    async def _work(self) -> None:
        self.going_on += 1
        self.at_most = max(self.at_most, self.going_on)
        await self.go.wait()
        self.going_on -= 1

    async def push(self, author: int, place: int, *, after: int, limit: int) -> int | None:
        await self._work()
        return None

    async def tend(self, reader: int, wishes: Wishes, **_: int) -> Tended:
        await self._work()
        return DONE

    async def close_edges(self, author: int, *, limit: int) -> bool:
        raise AssertionError("not asked for")

    async def page(self, reader: int, **_: object) -> Page:
        raise AssertionError("not asked for")

    async def posts_of(self, author: int, **_: object) -> Page:
        raise AssertionError("not asked for")


async def begin(jobs: Jobs, *of: tuple[str, Job]) -> list[asyncio.Task[Command | None]]:
    tasks = [asyncio.create_task(jobs.do(key, job)) for key, job in of]
    await asyncio.sleep(1)
    return tasks


async def test_few_jobs_are_done_at_once_and_all_in_the_end() -> None:
    slow = SlowTimelines()
    jobs = Jobs(slow, MemoryStore(lambda: 0.0).finding)
    many = range(PUSHING_MAX + 10)
    tasks = await begin(jobs, *((f"user:{n}", TEND) for n in many), *((f"post:{n}", PUSH) for n in many))
    slow.go.set()
    told = await asyncio.gather(*tasks)
    assert slow.at_most == PUSHING_MAX + TENDING_MAX
    assert told.count(TimelineTended(wishes=TEND.wishes, tended=DONE)) == len(many)
    assert told.count(ChunkPushed(began=0, ended=None)) == len(many)


async def test_an_alarm_that_rings_again_begins_no_second_job_of_its_kind() -> None:
    slow = SlowTimelines()
    jobs = Jobs(slow, MemoryStore(lambda: 0.0).finding)
    first, again, other = await begin(jobs, ("user:1", TEND), ("user:1", TEND), ("user:2", TEND))
    slow.go.set()
    assert await first is not None
    assert await again is None
    assert await other is not None
    assert await jobs.do("user:1", TEND) is not None


async def test_a_job_that_was_given_up_may_be_begun_again() -> None:
    slow = SlowTimelines()
    jobs = Jobs(slow, MemoryStore(lambda: 0.0).finding)
    (given_up,) = await begin(jobs, ("post:1", PUSH))
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    slow.go.set()
    assert await jobs.do("post:1", PUSH) == ChunkPushed(began=0, ended=None)


@pytest.mark.parametrize(("took_s", "rest_s"), [(0.1, 0.1 * INDEXING_REST), (10.0, INDEXING_REST_MAX_S)])
async def test_indexing_rests_after_each_job_for_a_while(
    took_s: float, rest_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding, time = MemoryStore(lambda: 0.0).finding, asyncio.get_running_loop().time
    began: list[float] = []

    async def index(post: int, after: int, *, limit: int) -> int:
        began.append(time())
        await asyncio.sleep(took_s)
        return 7

    monkeypatch.setattr(finding, "index", index)
    jobs = Jobs(SlowTimelines(), finding)
    tasks = await begin(jobs, *((f"post:{n}", IndexPost(n, 0)) for n in range(3)))
    assert await asyncio.gather(*tasks) == [PostIndexed(began=0, through=7)] * 3
    assert [at - began[0] for at in began] == pytest.approx([n * (took_s + rest_s) for n in range(3)])
