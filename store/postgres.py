"""The store in Postgres 15 or newer: migrations, the fenced commit on its own connection, and reads from a pool."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from store.base import (
    SLOTS,
    Batch,
    Changes,
    Claim,
    LiveWorker,
    LoadedPost,
    LoadedUser,
    Meta,
    Owners,
    PostSummary,
    StoreMismatch,
    StoreRefused,
    StoreUnavailable,
    WrittenComment,
)
from store.edges import Edges
from store.feeds import Feeds
from store.finding import Finding
from store.graph import Graph
from store.notifications import Notifications
from store.postgres_edges import PostgresEdges
from store.postgres_feeds import PostgresFeeds
from store.postgres_finding import PostgresFinding
from store.postgres_graph import PostgresGraph, hidden_from
from store.postgres_notifications import PostgresNotifications
from store.postgres_timelines import PostgresTimelines
from store.rows import AlarmRow, Author, OutboxRow
from store.statements import (
    ACCOUNT,
    ALARM,
    AUTHOR_COLUMNS,
    AUTHOR_SHOWN,
    CHANGES,
    COMMENT,
    FANOUT,
    FINDING,
    LOAD_POST,
    LOAD_USER,
    MARK,
    OPERATION,
    OUTBOX,
    POST,
    POST_STATE,
    POST_VIEWS,
    REACTION,
    SESSION,
    SNAPSHOT,
    USER_STATE,
    USUAL_SHAPES,
    RowT,
    Shape,
    Table,
    commit_arguments,
    commit_statement,
    no_arguments,
)
from store.timelines import Timelines
from store.together import Together

# Generic for the type checker only.
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
OwnConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connection: TypeAlias = "OwnConnection | PoolConnectionProxy[asyncpg.Record]"

POSTGRES_MAJOR_MIN = 15

STATEMENT_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
# The server's answer to its own timeout must have the time to arrive: it tells more than silence does.
ANSWER_TIMEOUT_S = STATEMENT_TIMEOUT_S + 1.0
MIGRATION_TIMEOUT_S = 600.0
IMPORT_TIMEOUT_S = 3_600.0
"""Of one statement of an import: the store has no deadline for it, for nobody waits."""

SUMMARIES_AT_ONCE = 32
SUMMARIES_WAITING_MAX = 5_000
"""Pages that show a post which is not in memory; of one statement, and of those that wait for one."""

PLANNED_ANEW = 6
"""So many times a statement is run before Postgres keeps a plan for it."""

_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "application_name": "plaudit",
        # Whoever stops in the middle of a transaction must not hold up a takeover.
        "idle_in_transaction_session_timeout": "1500",
        "lock_timeout": "2s",
        "statement_timeout": f"{STATEMENT_TIMEOUT_S:.0f}s",
        # The fence relies on seeing the row that it waited for.
        "default_transaction_isolation": "read committed",
        # Compiling a commit's statement would take longer than running it.
        "jit": "off",
    }
)

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x706C617564697400

# asyncpg's tuple form of a timestamptz: microseconds since 2000-01-01.
_POSTGRES_EPOCH_MS = 946_684_800_000

_REFUSED = frozenset({"22", "23", "54"})
"""SQLSTATE classes: bad data, violated constraint, limit exceeded (such as a text too long for an index)."""
_UNAVAILABLE = frozenset({"08", "25", "28", "3D", "40", "53", "55", "57", "58"})
"""SQLSTATE classes: connection, transaction state, login, catalog, rollback, resources, locks, operator, system."""


# -- opening


@asynccontextmanager
async def open_postgres(url: str, *, pool_size: int = 8) -> AsyncIterator["PostgresStore"]:
    """The store at ``url``, migrated before: at most ``pool_size`` connections for reads, one for commits, one for the
    lease, one to push.

    Raises:
        StoreMismatch: The database is not one this program may use, or not at ``url``.
        StoreUnavailable: Nothing answers there.
    """
    async with _first_connection(url) as connection:
        await _check_schema(connection)
    with _translated():
        pool = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=pool_size,
            init=_set_codecs,
            reset=_leave_as_is,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=ANSWER_TIMEOUT_S,
            server_settings=dict(_SETTINGS),
            # What is asked seldom, as when slots move, is asked when somebody waits.
            max_cached_statement_lifetime=0,
        )
    store = PostgresStore(url, pool)
    try:
        yield store
    finally:
        await store.close()


async def migrate(url: str, *, epoch: str, secret: bytes) -> None:
    """Bring the database to the schema of this program; whole or not at all, and once, however many start together.

    ``epoch`` and ``secret`` are those of a new database; one that exists keeps its own.

    Raises:
        StoreMismatch: The database is not one this program may use, or not at ``url``.
        StoreUnavailable: Nothing answers there, or another migration takes more than ten minutes.
    """
    async with (
        _first_connection(url) as connection,
        asyncio.timeout(MIGRATION_TIMEOUT_S),
        connection.transaction(),
    ):
        await _apply_migrations(connection, epoch, secret)


async def _apply_migrations(connection: Connection, epoch: str, secret: bytes) -> None:
    await connection.execute(
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
    )
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK, timeout=MIGRATION_TIMEOUT_S)
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migration (number integer PRIMARY KEY, applied_at timestamptz DEFAULT now())"
    )
    applied = await _applied(connection)
    for number, path in _known_migrations().items():
        if number not in applied:
            await connection.execute(path.read_text(encoding="utf-8"), timeout=MIGRATION_TIMEOUT_S)
            await connection.execute("INSERT INTO migration (number) VALUES ($1)", number)
    if not applied:
        await connection.execute("INSERT INTO meta (slots, epoch, secret) VALUES ($1, $2, $3)", SLOTS, epoch, secret)
        await connection.execute("INSERT INTO slot (slot) SELECT generate_series(0, $1 - 1)", SLOTS)
    await _check_schema(connection)


async def _check_schema(connection: Connection) -> None:
    known = set(_known_migrations())
    if await connection.fetchval("SELECT to_regclass('migration')") is None:
        raise StoreMismatch("The database holds no Plaudit schema yet: migrate it first.")
    applied = await _applied(connection)
    if applied < known:
        raise StoreMismatch(f"The database has schema {max(applied)}, older than {max(known)}: migrate it first.")
    slots = await connection.fetchval("SELECT slots FROM meta")
    if slots != SLOTS:
        raise StoreMismatch(
            f"The database is divided into {slots} slots, this program into {SLOTS}: they cannot work together."
        )


async def _applied(connection: Connection) -> set[int]:
    applied = {number for (number,) in await connection.fetch("SELECT number FROM migration")}
    if newer := applied - set(_known_migrations()):
        raise StoreMismatch(f"The database has schema {max(newer)}, newer than this program: use a newer Plaudit.")
    return applied


def _known_migrations() -> dict[int, Path]:
    return {int(path.name.partition("_")[0]): path for path in sorted(_MIGRATIONS.glob("*.sql"))}


@asynccontextmanager
async def _first_connection(url: str) -> AsyncIterator[OwnConnection]:
    """A connection at start, where what is wrong with ``url`` is the operator's to mend, not worth a retry."""
    try:
        connection = await _connect(url)
    except (ValueError, asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise StoreMismatch(f"The database cannot be opened: {error}") from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(f"The database cannot be reached: {error}") from error
    try:
        with _translated():
            major = connection.get_server_version().major
            if major < POSTGRES_MAJOR_MIN:
                raise StoreMismatch(f"The database is Postgres {major}: {POSTGRES_MAJOR_MIN} or newer is needed.")
            yield connection
            await connection.close(timeout=CONNECT_TIMEOUT_S)
    finally:
        connection.terminate()


async def _connect(url: str) -> OwnConnection:
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=ANSWER_TIMEOUT_S,
        server_settings=dict(_SETTINGS),
        # Every shape of a commit stays prepared, however long its statement and however rare.
        statement_cache_size=1000,
        max_cached_statement_lifetime=0,
        max_cacheable_statement_size=0,
    )
    try:
        await _set_codecs(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _set_codecs(connection: Connection) -> None:
    """Times as Unix milliseconds, exactly; JSON as Python values."""
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", format="tuple", encoder=_encode_time, decoder=_decode_time
    )
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: msgspec.json.encode(value).decode(),
        decoder=msgspec.json.decode,
    )


def _encode_time(time_ms: int) -> tuple[int]:
    return ((time_ms - _POSTGRES_EPOCH_MS) * 1000,)


def _decode_time(value: tuple[int]) -> int:
    return value[0] // 1000 + _POSTGRES_EPOCH_MS


async def _leave_as_is(connection: Connection) -> None:
    """No statement here leaves anything behind in its session: a reset would be a round trip after every read."""


@contextmanager
def _translated() -> Iterator[None]:
    """What goes wrong with Postgres, in the store's words; an error that is our own mistake passes unchanged."""
    try:
        yield
    except asyncpg.PostgresError as error:
        sqlstate_class = (error.sqlstate or "")[:2]
        if sqlstate_class in _REFUSED:
            raise StoreRefused(str(error), error.constraint_name) from error
        if sqlstate_class in _UNAVAILABLE:
            raise StoreUnavailable(str(error)) from error
        raise
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        # OSError has TimeoutError among it.
        raise StoreUnavailable(str(error) or type(error).__name__) from error


# -- the store


class PostgresStore:
    """See ``store.base.Store``; made by ``open_postgres``."""

    def __init__(self, url: str, pool: Pool) -> None:
        self._url = url
        self._pool = pool
        self._commits = _Line(url)
        # However many reads wait for a connection, the lease is renewed.
        self._leases = _Line(url)
        self._pushes = _Line(url)
        self._statements: dict[Shape, str] = {}
        self._summarised: Together[Sequence[int], list[PostSummary]] = Together(
            self._summaries_of, at_once=SUMMARIES_AT_ONCE, running_max=2, waiting_max=SUMMARIES_WAITING_MAX
        )
        self.graph: Graph = PostgresGraph(self._fetch)
        self.timelines: Timelines = PostgresTimelines(self._fetch, self._pushes.fetch)
        self.feeds: Feeds = PostgresFeeds(self._fetch)
        self.notifications: Notifications = PostgresNotifications(self._fetch)
        self.finding: Finding = PostgresFinding(self._fetch)
        self.edges: Edges = PostgresEdges(self._long_transaction)
        """Beyond what ``Store`` promises: nobody who serves has a use for it."""

    async def close(self) -> None:
        """Close every connection once it is idle; by force after the time that one statement may take."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._commits.close()
                await self._leases.close()
                await self._pushes.close()
                await self._pool.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._commits.terminate()
            self._leases.terminate()
            self._pushes.terminate()
            self._pool.terminate()

    async def warm(self) -> None:
        """Open every connection and have the usual statements prepared and planned: 0.3 s that nobody then waits."""
        nobody = UUID(int=0)
        for ask in (
            *PLANNED_ANEW * (partial(self.load_post, 0), partial(self.load_user, 0)),
            partial(self.claim, nobody, ()),
            partial(self.release, nobody, {}),
            self.owners,
        ):
            # As many at once as there are connections: so each has it prepared.
            await asyncio.gather(*(ask() for _ in range(self._pool.get_max_size())))
        for shape in USUAL_SHAPES:
            statement = self._statements[shape] = commit_statement(shape)
            await self._commits.fetch(statement, *no_arguments(shape, nobody))

    # -- ownership

    async def meta(self) -> Meta:
        (row,) = await self._fetch("SELECT slots, epoch, secret FROM meta")
        return Meta(*row)

    async def new_epoch(self) -> str:
        ((epoch,),) = await self._fetch(
            "UPDATE meta SET epoch = replace(gen_random_uuid()::text, '-', '') RETURNING epoch"
        )
        return str(epoch)

    async def agree(self, settings: Mapping[str, str]) -> dict[str, str]:
        ((in_force,),) = await self._fetch(
            """\
WITH put AS (
    UPDATE meta SET settings = $1
    WHERE NOT EXISTS (SELECT FROM worker WHERE state = 'live' AND lease_until >= clock_timestamp())
    RETURNING settings
)
SELECT coalesce((SELECT settings FROM put), settings) FROM meta""",
            dict(settings),
        )
        return dict(in_force)

    async def register(self, worker: UUID, node: str, ttl_s: float) -> None:
        # Asked again after a lost reply, it finds its own row.
        await self._leases.fetch(
            "INSERT INTO worker (id, node, state, lease_until)"
            " VALUES ($1, $2, 'live', clock_timestamp() + $3 * interval '1 second')"
            " ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until WHERE worker.state = 'live'",
            worker,
            node,
            ttl_s,
        )

    async def renew(self, worker: UUID, ttl_s: float) -> bool:
        # Never now(): that is the time at which the transaction began, before it may have waited.
        renewed = await self._leases.fetch(
            "UPDATE worker SET lease_until = clock_timestamp() + $2 * interval '1 second'"
            " WHERE id = $1 AND state = 'live' RETURNING id",
            worker,
            ttl_s,
        )
        return bool(renewed)

    async def expire(self, *, node: str | None = None) -> int:
        expired = await self._fetch(
            "UPDATE worker SET state = 'dead' WHERE state = 'live'"
            " AND CASE WHEN $1::text IS NULL THEN lease_until < clock_timestamp() ELSE starts_with(node, $1) END"
            " RETURNING id",
            node,
        )
        return len(expired)

    async def retire(self, worker: UUID) -> None:
        await self._leases.fetch("UPDATE worker SET state = 'dead' WHERE id = $1", worker)

    async def claim(self, worker: UUID, slots: Iterable[int] | None = None) -> dict[int, Claim]:
        # The locks are taken in the order of the slots, as commits do. A row that had to be waited for is judged again
        # as it is then, and its head is the one that the statement before has left.
        claimed = await self._fetch(
            """\
WITH free AS MATERIALIZED (
    SELECT slot FROM slot
    WHERE (owner IS NULL OR owner = $1 OR owner IN (SELECT id FROM worker WHERE state = 'dead'))
      AND ($2::integer[] IS NULL OR slot = ANY ($2))
      AND EXISTS (SELECT FROM worker WHERE id = $1 AND state = 'live')
    ORDER BY slot FOR UPDATE
)
UPDATE slot SET owner = $1, epoch = slot.epoch + 1 FROM free WHERE slot.slot = free.slot
RETURNING slot.slot, slot.epoch, slot.head""",
            worker,
            None if slots is None else list(slots),
        )
        return {slot: Claim(epoch, head) for slot, epoch, head in sorted(map(tuple, claimed))}

    async def release(self, worker: UUID, epochs: Mapping[int, int]) -> None:
        await self._fetch(
            """\
WITH held AS MATERIALIZED (
    SELECT slot FROM slot JOIN unnest($2::integer[], $3::bigint[]) AS r (slot, epoch) USING (slot)
    WHERE slot.owner = $1 AND slot.epoch = r.epoch ORDER BY slot FOR UPDATE OF slot
)
UPDATE slot SET owner = NULL FROM held WHERE slot.slot = held.slot AND slot.owner = $1""",
            worker,
            list(epochs),
            list(epochs.values()),
        )

    async def owners(self) -> Owners:
        rows = await self._fetch(
            "SELECT worker.id, worker.node, extract(epoch FROM worker.lease_until - clock_timestamp())::float8,"
            " slot.slot, slot.epoch FROM worker LEFT JOIN slot ON slot.owner = worker.id"
            " WHERE worker.state = 'live' ORDER BY worker.id"
        )
        live = {id: LiveWorker(id, node, lease_s) for id, node, lease_s, _, _ in rows}
        return Owners(list(live.values()), {slot: (id, epoch) for id, _, _, slot, epoch in rows if slot is not None})

    # -- writing

    async def commit(self, batch: Batch) -> dict[int, int | None]:
        shape, arguments = commit_arguments(batch)
        if (statement := self._statements.get(shape)) is None:
            statement = self._statements[shape] = commit_statement(shape)
        heads: dict[int, int] = dict(map(tuple, await self._commits.fetch(statement, *arguments)))
        return {slot: heads.get(slot) for slot in batch.fences}

    async def claim_names(
        self, kind: Literal["account", "post"], names: Sequence[tuple[str, str]], id: int
    ) -> int | str:
        kinds, texts = [kind for kind, _ in names], [text for _, text in names]
        ((bound, taken),) = await self._fetch(
            "SELECT bound, taken FROM claim_names($1, $2, $3, $4)", kind, kinds, texts, id
        )
        return str(taken) if bound is None else int(bound)

    async def release_name(self, kind: str, name: str, id: int) -> None:
        await self._fetch("DELETE FROM name WHERE kind = $1 AND name = $2 AND id = $3", kind, name, id)

    async def resolve(self, kind: str, name: str) -> int | None:
        bound = await self._fetch("SELECT id FROM name WHERE kind = $1 AND name = $2", kind, name)
        return bound[0][0] if bound else None

    async def account_number(self) -> int:
        ((number,),) = await self._fetch("SELECT nextval('account_number')")
        return int(number)

    # -- reading

    async def load_post(self, post_id: int) -> LoadedPost:
        (values,) = await self._fetch(LOAD_POST, post_id, f"post:{post_id}")
        read = Reader(values)
        return LoadedPost(
            post=read.one(POST),
            author=_face(read.next(AUTHOR_WIDTH)),
            state=read.one(POST_STATE),
            fanout=read.one(FANOUT),
            finding=read.one(FINDING),
            views=read.one(POST_VIEWS),
            snapshot=read.one(SNAPSHOT),
            operations=read.all(OPERATION),
            marks=read.all(MARK),
            alarms=read.all(ALARM),
            comments=read.all(COMMENT),
            reactions=read.all(REACTION),
        )

    async def load_user(self, account_id: int) -> LoadedUser:
        (values,) = await self._fetch(LOAD_USER, account_id, f"user:{account_id}")
        read = Reader(values)
        return LoadedUser(
            account=read.one(ACCOUNT),
            state=read.one(USER_STATE),
            snapshot=read.one(SNAPSHOT),
            operations=read.all(OPERATION),
            marks=read.all(MARK),
            alarms=read.all(ALARM),
            sessions=read.all(SESSION),
            unread=read.pairs(),
        )

    async def comments(self, post_id: int, ids: Sequence[int]) -> list[WrittenComment]:
        found = await self._fetch(
            f"SELECT {COMMENT.selected}, {AUTHOR_COLUMNS} FROM comment"
            f" LEFT JOIN account ON account.id = comment.author_id AND {AUTHOR_SHOWN}"
            " WHERE comment.post_id = $1 AND comment.id = ANY ($2) ORDER BY comment.id",
            post_id,
            ids,
        )
        width = len(COMMENT.columns)
        return [WrittenComment(COMMENT.row(values[:width]), _face(values[width:])) for values in found]

    async def changes(self, post_id: int, after: int, *, rows_max: int, bytes_max: int) -> Changes:
        found = await self._fetch(CHANGES, post_id, max(after, 0), max(rows_max, 1), bytes_max)
        head, whole = found[0][:2]
        through = head if whole else found[-1][2]
        comments: list[WrittenComment] = []
        post = post_author = None
        post_at = 3 + len(COMMENT.columns)
        author_at = post_at + len(POST.columns)
        for values in found:
            if values[3] is not None:
                comments.append(WrittenComment(COMMENT.row(values[3:post_at]), _face(values[author_at:])))
            elif values[post_at] is not None:
                post, post_author = POST.row(values[post_at:author_at]), _face(values[author_at:])
        return Changes(comments, post, post_author, head, through)

    async def reacted(self, post_id: int, after: int, limit: int) -> list[int]:
        # Offsets and versions rise together: what is newer than the last comment before ``after`` may be news.
        found = await self._fetch(
            "SELECT comment_id FROM reaction WHERE post_id = $1 AND comment_id > 0 AND version > coalesce(("
            "SELECT version FROM comment WHERE post_id = $1 AND changed_offset BETWEEN 1 AND $2"
            " ORDER BY changed_offset DESC LIMIT 1), 0) GROUP BY comment_id ORDER BY max(version) DESC LIMIT $3",
            post_id,
            after,
            limit,
        )
        return [comment_id for (comment_id,) in found]

    async def posts(
        self,
        *,
        before: int | None = None,
        tag: str | None = None,
        author_id: int | None = None,
        reader: int = 0,
        states: Sequence[str] = ("published",),
        limit: int = 20,
    ) -> list[PostSummary]:
        # One state as an equality: only then does the index yield the posts in their order.
        wanted: list[tuple[str, Any]] = [
            ("post.state = ${}", states[0]) if len(states) == 1 else ("post.state = ANY (${})", states)
        ]
        if before is not None:
            wanted.append(("post.id < ${}", before))
        if tag is not None:
            wanted.append(("post.tags @> ARRAY[${}]", tag))
        if author_id is not None:
            wanted.append(("post.author_id = ${}", author_id))
        if reader:
            wanted.append((f"NOT ({hidden_from('${0}::bigint', 'post.author_id')})", reader))
        conditions = "".join(f" AND {condition.format(n)}" for n, (condition, _) in enumerate(wanted, 2))
        return await self._summaries(
            f"post.page_url IS NULL{conditions} ORDER BY post.id DESC LIMIT $1", limit, *(value for _, value in wanted)
        )

    async def summaries(self, ids: Sequence[int]) -> list[PostSummary]:
        return await self._summarised.ask(ids)

    async def _summaries_of(self, lists: Sequence[Sequence[int]]) -> list[list[PostSummary]]:
        """For each of ``lists`` its posts: what is new is asked for by many at once."""
        asked = set[int]().union(*lists)
        found = {summary.post.id: summary for summary in await self._summaries("post.id = ANY ($1)", list(asked))}
        return [[found[id] for id in ids if id in found] for ids in lists]

    async def _summaries(self, condition: str, *arguments: Any) -> list[PostSummary]:
        # A post and its state are made by the same commit.
        found = await self._fetch(
            f"SELECT {POST.selected}, {POST_STATE.selected}, {AUTHOR_COLUMNS},"
            " coalesce(post_views.views, 0), coalesce(post_views.viewers, 0)"
            " FROM post JOIN post_state ON post_state.post_id = post.id"
            " LEFT JOIN post_views ON post_views.post_id = post.id"
            f" LEFT JOIN account ON account.id = post.author_id AND {AUTHOR_SHOWN} WHERE {condition}",
            *arguments,
        )
        state_at = len(POST.columns)
        author_at = state_at + len(POST_STATE.columns)
        return [
            PostSummary(
                POST.row(values[:state_at]),
                _face(values[author_at:-2]),
                POST_STATE.row(values[state_at:author_at]),
                *values[-2:],
            )
            for values in found
        ]

    async def comments_of(self, account_id: int, *, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
        found = await self._fetch(
            "SELECT post_id, id FROM comment WHERE author_id = $1 AND (post_id, id) > ($2, $3)"
            " ORDER BY post_id, id LIMIT $4",
            account_id,
            *after,
            limit,
        )
        return [(post_id, comment_id) for post_id, comment_id in found]

    async def authors(self, ids: Sequence[int]) -> dict[int, Author]:
        found = await self._fetch(f"SELECT {AUTHOR_COLUMNS} FROM account WHERE id = ANY ($1) AND {AUTHOR_SHOWN}", ids)
        return {values[0]: Author(*values) for values in found}

    async def revoked_sessions(self, since_ms: int) -> list[tuple[str, int]]:
        found = await self._fetch(
            "SELECT id, revoked_at FROM session WHERE revoked_at >= $1 ORDER BY revoked_at, id", since_ms
        )
        return [(session, revoked_ms) for session, revoked_ms in found]

    async def ended_accounts(self, since_ms: int) -> list[tuple[int, int]]:
        found = await self._fetch(
            "SELECT id, deleted_at FROM account WHERE deleted_at >= $1 ORDER BY deleted_at, id", since_ms
        )
        return [(account, deleted_ms) for account, deleted_ms in found]

    async def alarms(self, slots: Sequence[int], *, before_ms: int, limit: int) -> list[AlarmRow]:
        return await self._rows(
            ALARM, "slot = ANY ($1) AND due_at < $2 ORDER BY due_at, actor, name LIMIT $3", slots, before_ms, limit
        )

    async def outbox(self, slots: Sequence[int]) -> list[OutboxRow]:
        return await self._rows(OUTBOX, "slot = ANY ($1) ORDER BY slot, id", slots)

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        with _translated():
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                return await connection.fetch(query, *arguments)

    async def _rows(self, table: Table[RowT], condition: str, *arguments: Any) -> list[RowT]:
        return [table.row(values) for values in await self._fetch(_select(table, condition), *arguments)]

    @asynccontextmanager
    async def _long_transaction(self) -> AsyncIterator["_LongTransaction"]:
        """A transaction on a connection of its own; committed on leaving, but for an error."""
        with _translated():
            connection = await _connect(self._url)
        try:
            transaction = _LongTransaction(connection)
            await transaction.execute(
                "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
            )
            yield transaction
            await transaction.execute("COMMIT")
        finally:
            connection.terminate()


class _Line:
    """A connection for one purpose, opened at need, that runs one statement at a time, in the order of the calls."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: OwnConnection | None = None
        self._in_use = asyncio.Lock()

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        with _translated():
            async with self._in_use:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await _connect(self._url)
                try:
                    return await self._connection.fetch(query, *arguments)
                except asyncpg.PostgresError:
                    raise
                except BaseException:
                    # Cancelled or out of time, the statement may still be running: nothing must wait behind it.
                    self._connection.terminate()
                    raise

    async def close(self) -> None:
        """Close it once it is idle."""
        async with self._in_use:
            if self._connection is not None:
                await self._connection.close()

    def terminate(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


class _LongTransaction:
    """See ``store.postgres_edges.Transaction``."""

    def __init__(self, connection: OwnConnection) -> None:
        self._connection = connection

    async def fetch(self, query: str, *arguments: Any) -> Sequence[Any]:
        with _translated():
            return await self._connection.fetch(query, *arguments, timeout=IMPORT_TIMEOUT_S)

    async def execute(self, query: str) -> None:
        with _translated():
            await self._connection.execute(query, timeout=IMPORT_TIMEOUT_S)

    async def copy(self, table: str, columns: Sequence[str], records: Iterable[Sequence[Any]]) -> None:
        with _translated():
            await self._connection.copy_records_to_table(
                table, columns=columns, records=records, timeout=IMPORT_TIMEOUT_S
            )


# -- reading rows


AUTHOR_WIDTH = AUTHOR_COLUMNS.count(",") + 1


def _select(table: Table[Any], condition: str) -> str:
    return f"SELECT {table.selected} FROM {table.row_type.table} WHERE {condition}"


def _face(values: Sequence[Any]) -> Author | None:
    """The author in ``AUTHOR_COLUMNS`` of an outer join."""
    return None if values[0] is None else Author(*values)


class Reader:
    """Takes what one statement gives of several tables, in the order of its columns."""

    def __init__(self, values: Iterable[Any]) -> None:
        self._rest = iter(values)

    def next(self, width: int) -> tuple[Any, ...]:
        return tuple(islice(self._rest, width))

    def one(self, table: Table[RowT]) -> RowT | None:
        """The row of an outer join, if there is one."""
        values = self.next(len(table.columns))
        return None if values[0] is None else table.row(values)

    def all(self, table: Table[RowT]) -> list[RowT]:
        """The rows that are gathered as arrays."""
        return table.rows(self.next(len(table.columns)))

    def pairs(self) -> list[tuple[int, int]]:
        """Of two columns that are gathered as arrays."""
        ones, others = self.next(2)
        return list(zip(ones or (), others or (), strict=True))
