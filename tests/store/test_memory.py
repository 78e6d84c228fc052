"""The faults that the twin in memory shows on request."""

import asyncio

import pytest

from store.base import StoreRefused, StoreUnavailable
from store.memory import LOCK_TIMEOUT_S, Fault, Held, LateCommit, MemoryStore, ReplyLost, RequestLost, RowRefused
from store.rows import CommentRow
from tests.store.samples import Writer, alarm, comment


def memory(*faults: Fault) -> MemoryStore:
    return MemoryStore(lambda: 1.79e9, faults=faults)


async def test_a_request_that_is_lost_has_no_effect() -> None:
    store = memory(RequestLost("commit"))
    writer = await Writer.of(store)

    with pytest.raises(StoreUnavailable):
        await writer.write(comment(1))

    assert store.rows(CommentRow) == []
    await writer.write(comment(1))


async def test_a_reply_that_is_lost_leaves_its_effect() -> None:
    store = memory(ReplyLost("commit"))
    writer = await Writer.of(store)

    with pytest.raises(StoreUnavailable):
        await writer.write(comment(1))

    assert store.rows(CommentRow) == [comment(1)]
    assert store.heads()[7] == 1


async def test_a_fault_strikes_the_call_that_it_names_and_only_once() -> None:
    store = memory(RequestLost("renew", at=2))
    writer = await Writer.of(store)

    assert await store.renew(writer.worker, 1.0)
    with pytest.raises(StoreUnavailable):
        await store.renew(writer.worker, 1.0)
    assert await store.renew(writer.worker, 1.0)
    assert store.calls["renew"] == 3


async def test_a_call_that_is_held_happens_when_it_is_let_go() -> None:
    until = asyncio.Event()
    store = memory(Held("commit", until))
    writer = await Writer.of(store)
    writing = asyncio.create_task(writer.write(comment(1)))

    assert await store.comments(7, [1]) == []
    assert not writing.done()
    until.set()
    await writing

    assert store.rows(CommentRow) == [comment(1)]


async def test_a_held_call_that_is_cancelled_never_happens() -> None:
    until = asyncio.Event()
    store = memory(Held("commit", until))
    writer = await Writer.of(store)
    writing = asyncio.create_task(writer.write(comment(1)))
    await store.meta()

    writing.cancel()
    until.set()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert store.rows(CommentRow) == []


async def test_a_late_commit_that_is_refused_ends_in_silence() -> None:
    until = asyncio.Event()
    store = memory(LateCommit(until), RowRefused(lambda row: isinstance(row, CommentRow)))
    writer = await Writer.of(store)

    with pytest.raises(StoreUnavailable):
        await writer.write(comment(1))
    until.set()
    await store.settled()

    assert store.rows(CommentRow) == []


async def test_a_claim_behind_a_late_commit_that_does_not_end_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.memory.LOCK_TIMEOUT_S", LOCK_TIMEOUT_S / 100)
    until = asyncio.Event()
    store = memory(LateCommit(until))
    writer = await Writer.of(store)
    with pytest.raises(StoreUnavailable):
        await writer.write(comment(1))

    with pytest.raises(StoreUnavailable):
        await store.claim(writer.worker)
    assert list(await store.claim(writer.worker, [8])) == [8]
    until.set()
    await store.settled()


async def test_a_row_that_is_to_be_refused_is_refused_each_time_and_no_other_is() -> None:
    store = memory(RowRefused(lambda row: isinstance(row, CommentRow) and row.id == 2, constraint="named"))
    writer = await Writer.of(store)

    for _ in range(2):
        with pytest.raises(StoreRefused) as refused:
            await writer.write(comment(1), comment(2), alarm("a"))
        assert refused.value.constraint == "named"
    await writer.write(comment(1))

    assert store.rows(CommentRow) == [comment(1)]


async def test_others_run_before_and_after_each_call() -> None:
    store = memory()
    seen: list[str] = []

    async def look() -> None:
        await asyncio.sleep(0)
        seen.append("between")

    task = asyncio.create_task(look())
    await store.meta()
    seen.append("answered")
    await task

    assert seen == ["between", "answered"]
