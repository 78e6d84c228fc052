"""What only a real Postgres can show of timelines: statements that overlap, and how much a page has to look at."""

import asyncio
import json
import shutil
from pathlib import Path

import asyncpg
import pytest

from store import postgres
from store.base import StoreUnavailable
from store.postgres import migrate
from tests.store.conftest import EPOCH, SECRET, PostgresRig
from tests.store.samples import Deleted, Writer, account, follow
from tests.store.test_timelines_contract import ANN, ME, job, people, posted, shown, wishes


async def test_a_post_that_is_pushed_while_an_edge_is_being_copied_is_not_lost(postgres_rig: PostgresRig) -> None:
    store, admin = postgres_rig.store, postgres_rig.admin
    writer = await people(store, *posted(11), follow(ME, ANN))
    assert (await store.timelines.tend(ME, wishes())).unfinished
    # Prepared before, so that nothing below takes long.
    await store.timelines.push(ANN, 10, after=ME, limit=10)
    holding = admin.transaction()
    await holding.start()
    await admin.execute("INSERT INTO timeline (published_id, user_id, author_id) VALUES (11, $1, $2)", ME, ANN)
    tending = asyncio.create_task(store.timelines.tend(ME, wishes()))
    await postgres_rig.waiting(1)
    # It has seen the posts already; the edge is not pushed yet.
    await writer.write(*posted(12), job(12))
    assert await store.timelines.push(ANN, 12, after=0, limit=10) is None
    await writer.write(Deleted(job(12)))
    await holding.rollback()
    assert not (await tending).unfinished
    assert await shown(store) == [12, 11]


async def test_every_write_of_a_post_is_below_the_horizon_once_it_is_done(postgres_rig: PostgresRig) -> None:
    store, admin = postgres_rig.store, postgres_rig.admin
    writer = await people(store, follow(ME, ANN))
    for title in ("First", "Second"):
        before = (await store.timelines.page(ME, limit=1)).horizon
        await writer.write(*posted(11, title=title))
        after = (await store.timelines.page(ME, limit=1)).horizon
        assert before <= int(await admin.fetchval("SELECT tx::text FROM post")) < after


async def test_a_timeline_is_tended_by_one_at_a_time(postgres_rig: PostgresRig) -> None:
    store, admin = postgres_rig.store, postgres_rig.admin
    await people(store, *posted(11), follow(ME, ANN))
    holding = admin.transaction()
    await holding.start()
    await admin.execute("SELECT pg_advisory_xact_lock(1886155380, $1)", ME)
    with pytest.raises(StoreUnavailable):
        await store.timelines.tend(ME, wishes())
    await holding.rollback()
    assert (await store.timelines.tend(ME, wishes())).open


async def test_an_edge_that_a_commit_holds_is_left_for_the_next_time(postgres_rig: PostgresRig) -> None:
    store, admin = postgres_rig.store, postgres_rig.admin
    await people(store, *posted(11), follow(ME, ANN))
    holding = admin.transaction()
    await holding.start()
    await admin.execute("SELECT FROM follow FOR UPDATE")
    assert not (await store.timelines.tend(ME, wishes())).open
    assert not await store.timelines.close_edges(ANN, limit=10)
    await holding.rollback()
    assert (await store.timelines.tend(ME, wishes())).open
    assert await shown(store) == [11]


async def test_a_page_looks_at_no_more_for_who_follows_many(postgres_rig: PostgresRig) -> None:
    """In pages of the database: a time would depend on the machine."""
    store, admin = postgres_rig.store, postgres_rig.admin
    many, few = 1, 2
    writer = await Writer.of(store)
    await writer.write(*(account(id) for id in range(1, 1_603)))
    await admin.execute(
        """
INSERT INTO follow (follower, followee, created_at) SELECT 1, id, now() FROM generate_series(3, 1602) AS id;
INSERT INTO follow (follower, followee, created_at) SELECT 2, id, now() FROM generate_series(3, 12) AS id;
INSERT INTO post (id, author_id, title, body, tags, state, comments_open, changed_offset, created_at, published_id)
SELECT id, 3 + id * 7 % 1600, 'A title', 'A body', '{}', 'published', true, 1, now(), id
FROM generate_series(1, 16000) AS id;
INSERT INTO post_state SELECT id, 1, 1, 0, 0, '{}', 0 FROM post;
ANALYZE account, follow, post, post_state
"""
    )
    for reader in (many, few):
        while (await store.timelines.tend(reader, wishes())).unfinished:
            pass

    async def looked_at(reader: int, strategy: str) -> int:
        assert len(await shown(store, reader, limit=50)) == 50, strategy
        return await blocks(admin, reader)

    assert await looked_at(many, "push") < 1.5 * await looked_at(few, "push")
    # A hybrid: twenty celebrities are looked for each time.
    await admin.execute("UPDATE follow SET push = 'pulled' WHERE followee IN (SELECT generate_series(10, 29))")
    assert await looked_at(many, "hybrid") < 2 * await looked_at(few, "hybrid")


async def test_what_was_published_before_there_were_timelines_has_its_place(
    new_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (Path(postgres.__file__).parent / "migrations").glob("000[1-4]*.sql"):
        shutil.copy(path, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(postgres, "_MIGRATIONS", tmp_path)
        await migrate(new_url, epoch=EPOCH, secret=SECRET)
    begun_ms, published_ms = 1_790_000_000_123, 1_790_000_777_456
    at_once, later, draft = (begun_ms << 20 | low for low in (77, 78, 79))
    connection = await asyncpg.connect(new_url)
    await connection.execute(
        "INSERT INTO account (id, kind, handle, name, role, state, version, created_at)"
        " VALUES (2, 'member', 'ann', 'Ann', 'member', 'active', 5, now())"
    )
    await connection.executemany(
        "INSERT INTO post (id, author_id, title, body, tags, state, comments_open, changed_offset, created_at,"
        " published_at) VALUES ($1, 2, '', '', '{}', $2, true, 1, to_timestamp($3::float8 / 1000),"
        " to_timestamp($4::float8 / 1000))",
        [
            (at_once, "published", begun_ms, begun_ms),
            (later, "published", begun_ms, published_ms),
            (draft, "draft", begun_ms, None),
        ],
    )
    await migrate(new_url, epoch=EPOCH, secret=SECRET)

    places = dict(map(tuple, await connection.fetch("SELECT id, published_id FROM post")))
    assert places == {at_once: at_once, later: published_ms << 20 | 78, draft: 0}
    ((version, posts),) = await connection.fetch("SELECT version, posts FROM user_state WHERE user_id = 2")
    assert (version, posts) == (5, 2)
    await connection.close()


async def blocks(admin: "asyncpg.Connection[asyncpg.Record]", reader: int) -> int:
    """Blocks of the database that a page of 50 posts reads."""
    page = f"timeline_pages(ARRAY[{reader}], ARRAY[{(1 << 63) - 1}], ARRAY[50])"
    query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM {page}"
    # The first time its statements are planned, which reads the catalogue.
    await admin.fetchval(query)
    (explained,) = json.loads(await admin.fetchval(query))
    return int(explained["Plan"]["Shared Hit Blocks"] + explained["Plan"]["Shared Read Blocks"])
