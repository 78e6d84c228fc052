"""Many edges of the graph at once, into Postgres: by COPY into tables of the transaction, by statements from there."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from store.edges import Added, FollowsTooMany, Named, Rules, Served

EDGES_PER_STATEMENT = 20_000


class Transaction(Protocol):
    """An open transaction, whose statements may take their time. What goes wrong is told in the store's words."""

    async def fetch(self, query: str, *arguments: Any) -> Sequence[Any]: ...

    async def execute(self, query: str) -> None:
        """One or more statements."""
        ...

    async def copy(self, table: str, columns: Sequence[str], records: Iterable[Sequence[Any]]) -> None: ...


class PostgresEdges:
    """See ``store.edges.Edges``; an attribute of ``PostgresStore``, which lends it its transactions."""

    def __init__(self, transaction: Callable[[], AbstractAsyncContextManager[Transaction]]) -> None:
        self._transaction = transaction

    @asynccontextmanager
    async def importing(self, rules: Rules) -> AsyncIterator["PostgresEdgeWriter"]:
        async with self._transaction() as transaction:
            await transaction.execute(_LOCK_OUT)
            if await transaction.fetch(_LIVE):
                raise Served
            await transaction.execute(_BEGIN)
            yield PostgresEdgeWriter(transaction, rules)


class PostgresEdgeWriter:
    """See ``store.edges.EdgeWriter``."""

    def __init__(self, transaction: Transaction, rules: Rules) -> None:
        self.added = Added()
        self._transaction = transaction
        self._rules = rules

    async def add(self, edges: Sequence[tuple[Named, Named]]) -> None:
        # In the order of the list: so are the accounts numbered.
        people = dict.fromkeys(person for edge in edges for person in edge)
        await self._transaction.execute("TRUNCATE listed_person, listed_edge")
        await self._transaction.copy("listed_person", ["name", "handle"], people)
        named = [(follower.name, followee.name) for follower, followee in edges]
        await self._transaction.copy("listed_edge", ["follower", "followee"], named)
        await self._transaction.execute(_FIND_PEOPLE)
        ((new,),) = await self._transaction.fetch(_ADD_PEOPLE, self._rules.now_ms)
        ((edges_added, left_out),) = await self._transaction.fetch(_KEEP_EDGES)
        self.added.people += new
        self.added.edges += edges_added
        self.added.left_out += left_out

    async def finish(self, progress: Callable[[int], None]) -> None:
        rules = self._rules
        await self._transaction.execute(_STATES)
        await self._transaction.fetch(_COUNT, rules.celebrity_followers)
        for handle, count in await self._transaction.fetch(_FOLLOWS_TOO_MANY, rules.following_max):
            raise FollowsTooMany(handle, count)
        for first in range(1, self.added.edges + 1, EDGES_PER_STATEMENT):
            last = min(first + EDGES_PER_STATEMENT - 1, self.added.edges)
            await self._transaction.fetch(_WRITE_EDGES, first, last, rules.now_ms, rules.strategy)
            progress(last)
        await self._set_alarms()
        await self._transaction.execute(_ANALYZE)

    async def _set_alarms(self) -> None:
        """Have the timelines tended that posts are pushed into from now on."""
        found = await self._transaction.fetch(_PUSHED_TO)
        alarms = map(self._rules.tending, (reader for (reader,) in found))
        rows = [(alarm.slot, alarm.actor, alarm.name, alarm.due_ms) for alarm in alarms]
        await self._transaction.copy("new_alarm", ["slot", "actor", "name", "due_at"], rows)
        await self._transaction.execute(_SET_ALARMS)


_LOCK_OUT = "LOCK TABLE worker IN SHARE MODE"
"""Nobody registers or renews a lease until the transaction ends; to read who lives is still possible."""

_LIVE = "SELECT FROM worker WHERE state = 'live' AND lease_until >= clock_timestamp() LIMIT 1"

# The slots in their order, as every claim and commit locks them.
_BEGIN = """\
UPDATE worker SET state = 'dead' WHERE state = 'live';
SELECT FROM slot ORDER BY slot FOR UPDATE;
UPDATE slot SET owner = NULL, epoch = epoch + 1 WHERE owner IS NOT NULL;
CREATE TEMPORARY TABLE listed_person (name text, handle text, id integer, made boolean) ON COMMIT DROP;
CREATE TEMPORARY TABLE listed_edge (follower text, followee text) ON COMMIT DROP;
CREATE TEMPORARY TABLE new_edge (
    number integer GENERATED ALWAYS AS IDENTITY, follower integer, followee integer, PRIMARY KEY (follower, followee)
) ON COMMIT DROP;
CREATE TEMPORARY TABLE new_alarm (slot integer, actor text, name text, due_at timestamptz) ON COMMIT DROP"""

# A name may be bound to an id that no account was made of: then it is made of that.
_FIND_PEOPLE = """\
ANALYZE listed_person;
UPDATE listed_person SET id = name.id, made = EXISTS (SELECT FROM account WHERE account.id = name.id)
FROM name WHERE name.kind = 'host' AND name.name = listed_person.name;
UPDATE listed_person SET id = nextval('account_number') WHERE id IS NULL;
INSERT INTO name (kind, name, id) SELECT 'host', name, id FROM listed_person WHERE made IS NULL;
INSERT INTO name (kind, name, id) SELECT 'handle', handle, id FROM listed_person WHERE made IS NOT TRUE
ON CONFLICT DO NOTHING;
UPDATE listed_person SET handle = left(handle, 29 - length(id::text)) || '-' || id
WHERE made IS NOT TRUE AND NOT EXISTS (
    SELECT FROM name WHERE kind = 'handle' AND name = listed_person.handle AND id = listed_person.id
);
INSERT INTO name (kind, name, id) SELECT 'handle', handle, id FROM listed_person WHERE made IS NOT TRUE
ON CONFLICT DO NOTHING"""

_ADD_PEOPLE = """\
WITH made AS (
    INSERT INTO account (id, kind, handle, name, role, state, version, created_at)
    SELECT id, 'host', handle, handle, 'member', 'active', 1, $1 FROM listed_person WHERE made IS NOT TRUE
    RETURNING id
), counted AS (
    INSERT INTO user_state (user_id, version, head, followers, following) SELECT id, 1, 0, 0, 0 FROM made
)
SELECT count(*) FROM made"""

_KEEP_EDGES = """\
WITH given AS (
    SELECT follower.id AS follower, followee.id AS followee FROM listed_edge
    JOIN listed_person AS follower ON follower.name = listed_edge.follower
    JOIN listed_person AS followee ON followee.name = listed_edge.followee
), judged AS MATERIALIZED (
    SELECT follower, followee,
        EXISTS (SELECT FROM account WHERE id = follower AND state = 'active')
        AND EXISTS (SELECT FROM account WHERE id = followee AND state = 'active')
        AND NOT EXISTS (SELECT FROM block WHERE blocker = follower AND blocked = followee)
        AND NOT EXISTS (SELECT FROM block WHERE blocker = followee AND blocked = follower) AS possible
    FROM given
), kept AS (
    INSERT INTO new_edge (follower, followee) SELECT DISTINCT follower, followee FROM judged
    WHERE possible AND NOT EXISTS (
        SELECT FROM follow WHERE follow.follower = judged.follower AND follow.followee = judged.followee
    ) AND NOT EXISTS (
        SELECT FROM new_edge WHERE new_edge.follower = judged.follower AND new_edge.followee = judged.followee
    )
    RETURNING number
)
SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM judged WHERE NOT possible)"""

_STATES = """\
ANALYZE new_edge;
INSERT INTO user_state (user_id, version, head, followers, following)
SELECT id, version, 0, 0, 0 FROM account
WHERE id IN (SELECT follower FROM new_edge UNION SELECT followee FROM new_edge)
ON CONFLICT DO NOTHING"""

# Whose edges were arranged has them arranged anew at the next visit: what is pulled for now may be to be pushed.
_COUNT = """\
UPDATE user_state SET
    version = version + 1,
    followers = user_state.followers + changed.followers,
    following = user_state.following + changed.following,
    celebrity = celebrity OR user_state.followers + changed.followers >= $1,
    arranged = CASE WHEN changed.following > 0 THEN '' ELSE arranged END
FROM (
    SELECT user_id, sum(followers) AS followers, sum(following) AS following FROM (
        SELECT follower AS user_id, 0 AS followers, count(*) AS following FROM new_edge GROUP BY follower
        UNION ALL
        SELECT followee, count(*), 0 FROM new_edge GROUP BY followee
    ) AS side GROUP BY user_id
) AS changed WHERE user_state.user_id = changed.user_id"""

_FOLLOWS_TOO_MANY = """\
SELECT account.handle, user_state.following FROM user_state JOIN account ON account.id = user_state.user_id
WHERE user_state.following > $1 AND user_state.user_id IN (SELECT follower FROM new_edge)
ORDER BY user_state.following DESC, account.id LIMIT 1"""

# For adaptive nobody is here: it pushes to who comes.
_WRITE_EDGES = """\
INSERT INTO follow (follower, followee, created_at, push)
SELECT new_edge.follower, new_edge.followee, $3, CASE
    WHEN should_push($4, false, 0, author.celebrity, author.posting) AND NOT EXISTS (
        SELECT FROM post WHERE author_id = new_edge.followee AND state = 'published' AND page_url IS NULL
    ) THEN 'pushed' ELSE 'pulled'
END
FROM new_edge JOIN user_state AS author ON author.user_id = new_edge.followee
WHERE new_edge.number BETWEEN $1 AND $2"""

_PUSHED_TO = """\
SELECT DISTINCT new_edge.follower FROM new_edge
JOIN follow ON follow.follower = new_edge.follower AND follow.followee = new_edge.followee AND follow.push = 'pushed'"""

_SET_ALARMS = """\
INSERT INTO alarm (slot, actor, name, due_at)
SELECT slot, actor, name, due_at FROM new_alarm ON CONFLICT DO NOTHING"""

_ANALYZE = "ANALYZE account; ANALYZE name; ANALYZE user_state; ANALYZE follow"
