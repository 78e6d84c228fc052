"""What only a real Postgres can show: broken connections, locks, migrations, and times to the millisecond."""

import asyncio
import random
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import postgres
from store.base import SLOTS, Store, StoreMismatch, StoreUnavailable
from store.postgres import PLANNED_ANEW, migrate, open_postgres
from store.statements import LOAD_POST, LOAD_USER
from tests.store.conftest import EPOCH, SECRET, PostgresRig, named
from tests.store.samples import NOW_MS, Writer, batch, comment, message, operation, state

# -- connections


async def test_a_commit_whose_backend_is_killed_has_an_unknown_outcome_and_the_next_works(
    postgres_rig: PostgresRig,
) -> None:
    writer = await Writer.of(postgres_rig.store)
    holding = postgres_rig.admin.transaction()
    await holding.start()
    await postgres_rig.admin.execute("SELECT FROM slot WHERE slot = 7 FOR UPDATE")
    committing = asyncio.create_task(writer.write(comment(1)))
    await postgres_rig.waiting(1)

    await postgres_rig.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
    with pytest.raises(StoreUnavailable):
        await committing
    await holding.rollback()

    await writer.claim(7)
    await writer.write(comment(2))
    assert [row.id for row in (await postgres_rig.store.load_post(7)).comments] == [2]


async def test_a_cancelled_commit_leaves_nothing_in_the_way_of_the_next(postgres_rig: PostgresRig) -> None:
    writer = await Writer.of(postgres_rig.store)
    holding = postgres_rig.admin.transaction()
    await holding.start()
    await postgres_rig.admin.execute("SELECT FROM slot WHERE slot = 7 FOR UPDATE")
    committing = asyncio.create_task(writer.write(comment(1)))
    await postgres_rig.waiting(1)

    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    await holding.rollback()
    await writer.claim(7)

    # Whether it was written is unknown; that the head agrees with the rows is not.
    written = [row.id for row in (await postgres_rig.store.load_post(7)).comments]
    assert len(written) == writer.heads[7]
    await writer.write(comment(2))


async def test_a_claim_gives_up_on_a_row_that_is_held_for_long(postgres_rig: PostgresRig) -> None:
    writer = await Writer.of(postgres_rig.store)

    async with postgres_rig.admin.transaction():
        await postgres_rig.admin.execute("SELECT FROM slot WHERE slot = 7 FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await writer.claim(7)


async def test_reads_go_on_after_every_connection_was_cut(postgres_rig: PostgresRig) -> None:
    store = postgres_rig.store
    await asyncio.gather(*(store.meta() for _ in range(8)))

    postgres_rig.proxy.cut()
    await postgres_rig.proxy.done()

    assert (await store.meta()).epoch == EPOCH


async def test_a_read_that_is_cut_is_unavailable(postgres_rig: PostgresRig) -> None:
    await postgres_rig.store.meta()
    postgres_rig.proxy.hold()
    reading = asyncio.create_task(postgres_rig.store.meta())
    await postgres_rig.proxy.stuck()

    postgres_rig.proxy.cut()
    with pytest.raises(StoreUnavailable):
        await reading
    postgres_rig.proxy.release()


async def test_a_lease_is_renewed_while_every_connection_for_reads_is_busy(
    database_url: str, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with open_postgres(database_url, pool_size=2) as store:
        worker = uuid4()
        await store.register(worker, "node", 3.0)
        # Whoever reads these tables waits until they are let go.
        async with admin.transaction():
            await admin.execute("LOCK TABLE meta")
            reads = [asyncio.create_task(store.meta()) for _ in range(3)]
            while await admin.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < 2:
                await asyncio.sleep(0.005)

            async with asyncio.timeout(1.0):
                assert await store.renew(worker, 3.0)
            assert not any(read.done() for read in reads)
        await asyncio.gather(*reads)


async def test_a_store_that_is_left_has_closed_every_connection(
    database_url: str, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with open_postgres(database_url) as store:
        writer = await Writer.of(store)
        await writer.write(comment(1))

    # A backend is gone a moment after its client was told.
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while await admin.fetchval(others):
        await asyncio.sleep(0.005)


# -- many at once


@pytest.mark.parametrize("seed", [1, 2])
async def test_owners_that_take_slots_from_each_other_write_everything_acknowledged_once(
    postgres_rig: PostgresRig, seed: int
) -> None:
    random_number = random.Random(seed)
    acknowledged: dict[int, list[str]] = {slot: [] for slot in range(4)}
    fenced: list[int] = []

    async def own(name: str, store: Store) -> None:
        writer = await Writer.of(store, *acknowledged, ttl_s=-1.0)
        for n in range(60):
            slots = random_number.sample(sorted(acknowledged), random_number.randint(1, 4))
            held = [slot for slot in slots if slot in writer.heads]
            fences = {slot: fence for slot in held for fence in writer.fence(slot).values()}
            rows = [(slot, message(writer.heads[slot] + 1, slot=slot, payload=f"{name}-{n}".encode())) for slot in held]
            heads = await store.commit(batch(writer.worker, fences, *rows))
            for slot, head in heads.items():
                if head is None:
                    del writer.heads[slot]
                    fenced.append(slot)
                else:
                    writer.heads[slot] = head
                    acknowledged[slot].append(f"{name}-{n}")
            if not writer.heads or random_number.random() < 0.1:
                # The lease of the other is over all the time, so this takes what it owns, and it will do the same.
                await store.expire()
                writer = await Writer.of(store, *acknowledged, ttl_s=-1.0)

    await asyncio.gather(own("one", postgres_rig.store), own("two", postgres_rig.other))

    assert fenced, "nothing was contended: this shows nothing"
    stored: dict[int, list[str]] = {slot: [] for slot in acknowledged}
    for row in await postgres_rig.store.outbox(list(acknowledged)):
        stored[row.slot].append(row.payload.decode())
    assert stored == acknowledged
    heads = await postgres_rig.admin.fetch("SELECT slot, head FROM slot WHERE slot < 4 ORDER BY slot")
    assert [head for _, head in heads] == [len(acknowledged[slot]) for slot in sorted(acknowledged)]


async def test_a_batch_of_thousands_is_one_commit(postgres_rig: PostgresRig) -> None:
    writer = await Writer.of(postgres_rig.store)
    comments = [comment(n, body="ü" * (n % 200), created_ms=NOW_MS + n) for n in range(1, 3001)]

    await writer.write(state(head=3000), *comments, *(operation(f"op{n}") for n in range(3000)), count=3000)

    assert [row.comment for row in await postgres_rig.store.comments(7, range(3001))] == comments


# -- times


@given(st.integers(min_value=-(1 << 45), max_value=1 << 46))
def test_a_time_is_the_same_millisecond_after_both_codecs(time_ms: int) -> None:
    assert postgres._decode_time(postgres._encode_time(time_ms)) == time_ms


@pytest.mark.parametrize("statement", [LOAD_POST, LOAD_USER])
async def test_a_load_has_one_plan_though_the_first_were_of_nothing_and_some_posts_have_most_of_the_rows(
    database_url: str, admin: "asyncpg.Connection[asyncpg.Record]", statement: str
) -> None:
    await admin.execute(
        "INSERT INTO reaction (post_id, comment_id, kind, user_id, amount, version)"
        " SELECT 1, 0, 'like', n, 1, n FROM generate_series(1, 20000) AS n"
    )
    await admin.execute("ANALYZE")
    connection = await asyncpg.connect(database_url)
    load = await connection.prepare(statement)
    for id in [0] * PLANNED_ANEW + [1] * 10:
        await load.fetch(id, f"post:{id}")
    planned = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1"
    generic, custom = await connection.fetchrow(planned, statement) or (0, 0)
    await connection.close()
    assert (generic, custom) == (11, 5)


async def test_times_are_stored_as_what_a_person_reads(postgres_rig: PostgresRig) -> None:
    writer = await Writer.of(postgres_rig.store)
    await writer.write(comment(1, created_ms=1_790_000_000_123, edited_ms=0))

    read = "SELECT (created_at AT TIME ZONE 'UTC')::text, (edited_at AT TIME ZONE 'UTC')::text FROM comment"
    assert tuple(await postgres_rig.admin.fetchrow(read) or ()) == ("2026-09-21 14:13:20.123", "1970-01-01 00:00:00")


# -- migrations


def test_every_migration_has_a_number_of_its_own() -> None:
    names = [path.name for path in (Path(postgres.__file__).parent / "migrations").glob("*.sql")]
    assert sorted(int(name.partition("_")[0]) for name in names) == list(range(1, len(names) + 1))


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_servers_that_start_together_migrate_once_and_agree(new_url: str) -> None:
    await asyncio.gather(*(migrate(new_url, epoch=f"epoch{n}", secret=bytes([n])) for n in range(3)))

    async with open_postgres(new_url) as store:
        epoch, secret = (await store.meta())[1:]
    assert epoch == f"epoch{secret[0]}"


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    await migrate(database_url, epoch="another", secret=b"another")

    async with open_postgres(database_url) as store:
        assert await store.meta() == (SLOTS, EPOCH, SECRET)


async def test_a_migration_that_fails_leaves_the_database_as_it_was(
    new_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE good ();")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE good ();")
    with monkeypatch.context() as patched:
        patched.setattr(postgres, "_MIGRATIONS", tmp_path)
        with pytest.raises(asyncpg.DuplicateTableError):
            await migrate(new_url, epoch=EPOCH, secret=SECRET)

    await migrate(new_url, epoch=EPOCH, secret=SECRET)
    await execute(new_url, "CREATE TABLE good ()")


async def test_a_database_that_was_not_migrated_is_not_opened(new_url: str) -> None:
    with pytest.raises(StoreMismatch, match="migrate"):
        async with open_postgres(new_url):
            pass


async def test_a_schema_newer_than_the_program_is_refused(new_url: str) -> None:
    await migrate(new_url, epoch=EPOCH, secret=SECRET)
    await execute(new_url, "INSERT INTO migration (number) VALUES (9999)")

    with pytest.raises(StoreMismatch, match="newer"):
        await migrate(new_url, epoch=EPOCH, secret=SECRET)
    with pytest.raises(StoreMismatch, match="newer"):
        async with open_postgres(new_url):
            pass


async def test_another_number_of_slots_is_refused(new_url: str) -> None:
    await migrate(new_url, epoch=EPOCH, secret=SECRET)
    await execute(new_url, "UPDATE meta SET slots = 128")

    with pytest.raises(StoreMismatch, match="128 slots"):
        await migrate(new_url, epoch=EPOCH, secret=SECRET)


async def test_a_server_that_is_too_old_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "POSTGRES_MAJOR_MIN", 99)

    with pytest.raises(StoreMismatch, match="99 or newer"):
        await migrate(database_url, epoch=EPOCH, secret=SECRET)


@pytest.mark.parametrize("url", ["postgresql://u@127.0.0.1:1/db", "postgresql://u@/db?host=/nowhere"])
async def test_where_nothing_answers_the_store_is_unavailable(url: str) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await migrate(url, epoch=EPOCH, secret=SECRET)


async def test_a_database_or_role_that_does_not_exist_is_one_clear_line(database_url: str) -> None:
    for url in (named(database_url, "nowhere"), database_url.replace("//plaudit@", "//nobody@"), "nonsense"):
        with pytest.raises(StoreMismatch, match="cannot be opened") as mismatch:
            await migrate(url, epoch=EPOCH, secret=SECRET)
        assert "\n" not in str(mismatch.value)
