"""What only a real Postgres can show of how posts are found: the migration, and what a search has to look at."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from actors.encoding import Encoder
from actors.finding import heat
from actors.policy import Policy
from actors.post import PostActor
from actors.viewers import Sample
from store import postgres
from store.finding import Search
from store.postgres import PostgresStore, migrate, open_postgres
from store.postgres_finding import PostgresFinding
from tests.store.conftest import EPOCH, SECRET, PostgresRig
from tests.store.samples import Writer, account, post, state

PUBLISHED_MS = 1_790_000_000_123
PAGE, DRAFT, POST = (PUBLISHED_MS << 20 | low for low in (77, 78, 79))


async def test_what_was_there_before_is_found_and_as_hot_as_its_actor_would_have_it(
    new_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (Path(postgres.__file__).parent / "migrations").glob("000[1-6]*.sql"):
        shutil.copy(path, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(postgres, "_MIGRATIONS", tmp_path)
        await migrate(new_url, epoch=EPOCH, secret=SECRET)
    connection = await asyncpg.connect(new_url)
    await connection.executemany(
        "INSERT INTO post (id, title, body, tags, state, comments_open, page_url, changed_offset, created_at,"
        " published_at, published_id) VALUES ($1, 'Tea', '', '{}', $2, true, $3, 1, to_timestamp($4::float8 / 1000),"
        " to_timestamp($4::float8 / 1000), $5)",
        [
            (PAGE, "published", "https://example.org/", PUBLISHED_MS, PAGE),
            (DRAFT, "draft", None, PUBLISHED_MS, 0),
            (POST, "published", None, PUBLISHED_MS, POST),
        ],
    )
    await connection.execute(
        """
INSERT INTO post_state SELECT id, 9, 4, 3, 2, '{"like": 4, "love": 1}', 17, 9 FROM post;
INSERT INTO comment (post_id, id, body, state, kind, changed_offset, version, created_at)
SELECT post.id, number, 'More tea', (ARRAY['visible', 'deleted', 'held'])[number], 'comment', number, number, now()
FROM post, generate_series(1, 3) AS number
"""
    )
    nobody = Sample().dump()
    await connection.execute("INSERT INTO post_views SELECT id, 60, 55, now(), $1, $1 FROM post", nobody)
    await migrate(new_url, epoch=EPOCH, secret=SECRET)

    rows = await connection.fetch("SELECT post_id, heat, indexed_offset FROM post_finding ORDER BY post_id")
    async with open_postgres(new_url) as store:
        loaded = await store.load_post(POST)
        actor = PostActor.load(POST, loaded, policy=Policy(), encoder=Encoder(), stream_epoch=lambda _: EPOCH)
        for person in range(1, 5):
            actor.tallies.put(0, "like", person, True)
        actor.tallies.put(0, "love", 1, True)
        actor.applause.put(1, 17)
        assert list(map(tuple, rows)) == [(PAGE, 0, 4), (DRAFT, 0, 4), (POST, heat(actor), 4)]
        assert loaded.finding is not None
        found = await store.finding.search(Search(words="tea"), reader=0, limit=10)
        assert {hit.at[1:] for hit in found} == {(POST, 0), (POST, 1), (PAGE, 1)}
        hot = await store.finding.hot(0, limit=10)
        assert [(listed.place, listed.post_id) for listed in hot] == [(heat(actor), POST)]
    await connection.close()


async def test_a_search_for_a_rare_word_and_a_page_of_hot_posts_look_at_little(postgres_rig: PostgresRig) -> None:
    """In pages of the database: a time would depend on the machine."""
    store, admin = postgres_rig.store, postgres_rig.admin
    writer = await Writer.of(store)
    await writer.write(account(1), post(7, published_id=7, changed_offset=1), state(7))
    await admin.execute(
        """
INSERT INTO post (id, author_id, title, body, tags, state, comments_open, changed_offset, created_at, published_id)
SELECT id, 1, 'A title', 'A body', '{}', 'published', true, 1, now(), id FROM generate_series(100, 16000) AS id;
INSERT INTO post_state SELECT id, 1, 1, 0, 0, '{}', 0 FROM post WHERE id >= 100;
INSERT INTO post_finding SELECT id, id, 1 FROM post WHERE id >= 100;
INSERT INTO searchable SELECT id, 0, 1, words_of('simple', 'word' || id, '{}', 'common') FROM post;
ANALYZE account, post, post_state, post_finding, searchable
"""
    )
    seen: list[tuple[str, tuple[object, ...]]] = []
    assert isinstance(store, PostgresStore)
    fetch = store._fetch

    async def explained(query: str, *arguments: Any) -> Sequence[Any]:
        seen.append((query, arguments))
        return await fetch(query, *arguments)

    finding = PostgresFinding(explained)
    assert len(await finding.search(Search(words="word5000"), reader=1, limit=20)) == 1
    assert len(await finding.hot(1, limit=20)) == 20
    assert len(await finding.recent(1, limit=20)) == 20
    for query, arguments in seen:
        # Twice: the first time its statement is planned, which reads the catalogue.
        for _ in range(2):
            ((plan,),) = await fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *arguments)
        (plan,) = json.loads(plan) if isinstance(plan, str) else plan
        assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 400, query
