"""Posts with many comments and likes, made quickly: the server itself leaves one of them, whose rows are then copied.

The rows of the one are written as its comments and likes would have been; then the server loads it, takes one more
comment, and writes what it keeps beside them: the snapshot, the state, what is searched.
"""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import asyncpg

from tests.site import Site, host_token

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

WORDS = "Two sentences and a thought in each are what people write under an article, more often than not. " * 2
REPLIES = 3
"""Of so many comments each but the first answers the one before."""
SETTLE_TIMEOUT_S = 60.0
SETTLE_POLL_S = 0.1
_STEADY_S = 60.0
"""Nothing that the server does beside is due within so long."""

_COMMENTS = """\
INSERT INTO comment (post_id, id, parent_id, author_id, body, state, kind, changed_offset, version, created_at)
SELECT $1, n, CASE WHEN n % $3 <> 1 THEN n - 1 END, author_id, n || '. ' || $4, 'visible', 'comment', n + 1, n + 1,
    created_at + n * interval '1 millisecond'
FROM post, generate_series(1, $2::bigint) AS n WHERE post.id = $1"""
_LIKES = """\
INSERT INTO reaction (post_id, comment_id, kind, user_id, amount, version)
SELECT $1, 0, 'like', n * $4, 1, $2 + 1 + n FROM generate_series(1, $3::bigint) AS n"""
_STATE = """\
UPDATE post_state SET version = 1 + $2 + $3, head = 1 + $2, last_comment_id = $2, comments = $2, told = 1 + $2 + $3,
    reactions = CASE WHEN $3::bigint > 0 THEN jsonb_build_object('like', $3::bigint) ELSE '{}' END
WHERE post_id = $1"""


async def fill(database: Database, post: str, *, comments: int, likes: int, one_in: int = 1) -> None:
    """Write the rows of so many comments and likes; the server must not have the post in memory.

    Of ``one_in`` accounts one likes it. The state is as if each had been a command, and people had been told of all.
    """
    id, earlier = int(post), max(0, comments - 1)
    async with database.transaction():
        await database.execute(_COMMENTS, id, earlier, REPLIES, WORDS)
        await database.execute(_LIKES, id, earlier, likes, one_in)
        await database.execute(_STATE, id, earlier, likes)


async def complete(site: Site, post: str) -> None:
    """Have the server write the last comment, and with it what it keeps besides the rows."""
    await site.request("POST", f"/v1/posts/{post}/comments", {"body": WORDS}, token=host_token(1, "author"))


async def settled(database: Database) -> None:
    """Wait until the server has nothing left to do for what was written."""
    due = f"SELECT count(*) FROM alarm WHERE due_at < clock_timestamp() + interval '{_STEADY_S} seconds'"
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        while await database.fetchval(due):
            await asyncio.sleep(SETTLE_POLL_S)


async def copied(database: Database, post: str, count: int) -> list[str]:
    """So many posts more with the rows of ``post``, in every table; their ids follow on its own."""
    ids = [int(post) + number for number in range(1, count + 1)]
    tables = await database.fetch(
        "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables"
        " USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        " AND (column_name = 'post_id' OR (table_name, column_name) IN (('post', 'id'), ('snapshot', 'actor')))"
    )
    async with database.transaction():
        for table, key in tables:
            await _copy(database, table, key, post, ids)
        await database.execute(
            "INSERT INTO name (kind, name, id) SELECT 'slug', slug, id FROM post WHERE id = ANY ($1)", ids
        )
    await database.execute("VACUUM ANALYZE")
    return [str(id) for id in ids]


async def _copy(database: Database, table: str, key: str, post: str, ids: Sequence[int]) -> None:
    named = await database.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1"
        " AND is_generated = 'NEVER'",
        table,
    )
    columns = [name for (name,) in named]
    of_actor = key == "actor"
    new = "'post:' || copy.id" if of_actor else "copy.id"
    others = {key: new, "slug": "original.slug || '-' || copy.id"}
    values = ", ".join(others.get(name, f"original.{name}") for name in columns)
    await database.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}"
        f" FROM {table} AS original, unnest($2::bigint[]) AS copy (id) WHERE original.{key} = $1",
        f"post:{post}" if of_actor else int(post),
        list(ids),
    )
