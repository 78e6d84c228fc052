"""Who follows, blocks and mutes whom, in Postgres."""

from collections.abc import Sequence
from typing import Any, Protocol

from store.graph import (
    CANDIDATES_MAX,
    NEWEST,
    PATHS_FROM_MAX,
    PATHS_THROUGH_MAX,
    Mark,
    Neighbour,
    Relation,
    Suggestion,
    Ties,
)
from store.rows import Author
from store.statements import AUTHOR_COLUMNS, AUTHOR_SHOWN, FOLLOW


class Fetch(Protocol):
    """Runs one query; gives the rows as sequences of values."""

    async def __call__(self, query: str, *arguments: Any) -> Sequence[Any]: ...


class PostgresGraph:
    """See ``store.graph.Graph``; an attribute of ``PostgresStore``, which lends it its ``fetch``."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def relations(self, me: int, ids: Sequence[int]) -> list[Relation]:
        found = await self._fetch(_RELATIONS, me, ids)
        return [_relation(*values) for values in found]

    async def unwanted(self, me: int, ids: Sequence[int]) -> list[int]:
        found = await self._fetch(_UNWANTED, me, ids)
        return [id for (id,) in found]

    async def hidden_from(self, reader: int, ids: Sequence[int]) -> list[int]:
        found = await self._fetch(_HIDDEN_AMONG, reader, ids)
        return [id for (id,) in found]

    async def followers(self, id: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        return await self._neighbours(_FOLLOWERS, id, before, limit)

    async def following(self, id: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        return await self._neighbours(_FOLLOWING, id, before, limit)

    async def blocks(self, me: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        return await self._neighbours(_BLOCKS, me, before, limit)

    async def mutes(self, me: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        return await self._neighbours(_MUTES, me, before, limit)

    async def suggestions(self, me: int, limit: int) -> list[Suggestion]:
        found = await self._fetch(_SUGGESTIONS, me, limit, PATHS_FROM_MAX, PATHS_THROUGH_MAX, CANDIDATES_MAX)
        return [Suggestion(Author(*values[2:]), *values[:2]) for values in found]

    async def ties(self, id: int, limit: int) -> Ties:
        ((following, followers, blocking, muting),) = await self._fetch(_TIES, id, limit)
        return Ties(following, followers, blocking, muting)

    async def _neighbours(self, query: str, of: int, before: Mark, limit: int) -> list[Neighbour]:
        found = await self._fetch(query, of, *before, limit)
        return [Neighbour(Author(*values[2:]), *values[:2]) for values in found]


_EDGE = len(FOLLOW.columns)


def _relation(
    id: int, active: bool, blocking: bool, blocked_by: bool, muting: bool, until_ms: int | None, *edges: Any
) -> Relation:
    mine, theirs = edges[:_EDGE], edges[_EDGE:]
    return Relation(
        id=id,
        active=active,
        edge=None if mine[0] is None else FOLLOW.row(mine),
        back=None if theirs[0] is None else FOLLOW.row(theirs),
        blocking=blocking,
        blocked_by=blocked_by,
        muting=muting,
        muting_until_ms=until_ms,
    )


_RELATIONS = f"""\
SELECT account.id, account.state = 'active', by_me.blocker IS NOT NULL, by_them.blocker IS NOT NULL,
    mute.muter IS NOT NULL, mute.until_at, {FOLLOW.selected_from("mine")}, {FOLLOW.selected_from("theirs")}
FROM account
LEFT JOIN follow AS mine ON mine.follower = $1 AND mine.followee = account.id
LEFT JOIN follow AS theirs ON theirs.follower = account.id AND theirs.followee = $1
LEFT JOIN block AS by_me ON by_me.blocker = $1 AND by_me.blocked = account.id
LEFT JOIN block AS by_them ON by_them.blocker = account.id AND by_them.blocked = $1
LEFT JOIN mute ON mute.muter = $1 AND mute.muted = account.id
WHERE account.id = ANY ($2) ORDER BY account.id"""


# The few are looked for among the many.
_UNWANTED = """\
SELECT id FROM (
    SELECT blocked AS id FROM block WHERE blocker = $1
    UNION SELECT blocker FROM block WHERE blocked = $1
    UNION SELECT muted FROM mute WHERE muter = $1
) AS parted WHERE id = ANY ($2) ORDER BY id"""


def hidden_from(reader: str, author: str) -> str:
    """The condition that ``reader`` sees nothing of ``author``: a block stands between the two, or a mute lasts."""
    return f"""\
EXISTS (SELECT FROM block WHERE blocker = {reader} AND blocked = {author})
        OR EXISTS (SELECT FROM block WHERE blocker = {author} AND blocked = {reader})
        OR EXISTS (
            SELECT FROM mute WHERE muter = {reader} AND muted = {author}
                AND (until_at IS NULL OR until_at > clock_timestamp())
        )"""


_HIDDEN_AMONG = f"""\
SELECT DISTINCT person.id FROM unnest($2::bigint[]) AS person (id)
WHERE {hidden_from("$1", "person.id")} ORDER BY person.id"""


def no_block(one: str, other: str) -> str:
    """The condition that an edge between two columns counts."""
    # Two subqueries: with one that has an OR, Postgres would look at the table once for each edge.
    return (
        f"NOT EXISTS (SELECT FROM block WHERE blocker = {one} AND blocked = {other})"
        f" AND NOT EXISTS (SELECT FROM block WHERE blocker = {other} AND blocked = {one})"
    )


def _newest(table: str, of: str, person: str, *, until: str = "NULL::timestamptz", condition: str) -> str:
    """Neighbours of account $1 beyond the mark ($2, $3), at most $4."""
    return f"""\
SELECT {table}.created_at, {until}, {AUTHOR_COLUMNS}
FROM {table} JOIN account ON account.id = {table}.{person} AND {AUTHOR_SHOWN}
WHERE {table}.{of} = $1 AND ({table}.created_at, {table}.{person}) < ($2, $3) AND {condition}
ORDER BY {table}.created_at DESC, {table}.{person} DESC LIMIT $4"""


_FOLLOWERS = _newest("follow", "followee", "follower", condition=no_block("follow.follower", "follow.followee"))
_FOLLOWING = _newest("follow", "follower", "followee", condition=no_block("follow.follower", "follow.followee"))
_BLOCKS = _newest("block", "blocker", "blocked", condition="true")
_MUTES = _newest(
    "mute",
    "muter",
    "muted",
    until="mute.until_at",
    condition="(mute.until_at IS NULL OR mute.until_at > clock_timestamp())",
)

_SUGGESTIONS = f"""\
WITH mine AS (
    SELECT followee FROM follow WHERE follower = $1 ORDER BY created_at DESC, followee DESC LIMIT $3
), path AS MATERIALIZED (
    SELECT through.follower, through.followee FROM mine, LATERAL (
        SELECT follower, followee FROM follow WHERE follower = mine.followee
        ORDER BY created_at DESC, followee DESC LIMIT $4
    ) AS through
    WHERE {no_block("$1", "mine.followee")}
), candidate AS MATERIALIZED (
    SELECT path.followee AS id, array_agg(path.follower) AS through FROM path
    WHERE path.followee <> $1 AND NOT EXISTS (SELECT FROM follow WHERE follower = $1 AND followee = path.followee)
    GROUP BY path.followee ORDER BY count(*) DESC, path.followee DESC LIMIT $5
)
SELECT counted.paths, coalesce(user_state.followers, 0), {AUTHOR_COLUMNS}
FROM candidate
CROSS JOIN LATERAL (
    SELECT count(*) AS paths FROM unnest(candidate.through) AS edge (follower)
    WHERE {no_block("edge.follower", "candidate.id")}
) AS counted
JOIN account ON account.id = candidate.id AND {AUTHOR_SHOWN}
LEFT JOIN user_state ON user_state.user_id = candidate.id
WHERE counted.paths > 0
    AND NOT EXISTS (
        SELECT FROM mute WHERE muter = $1 AND muted = candidate.id
            AND (until_at IS NULL OR until_at > clock_timestamp())
    )
    AND {no_block("$1", "candidate.id")}
ORDER BY counted.paths DESC, coalesce(user_state.followers, 0) DESC, candidate.id DESC LIMIT $2"""
"""Of person $1, at most $2, over the newest $4 edges of the $3 whom $1 followed last; $5 are looked at closely."""


def _some(table: str, of: str, other: str) -> str:
    return f"ARRAY(SELECT {other} FROM {table} WHERE {of} = $1 ORDER BY {other} LIMIT $2)"


_TIES = (
    f"SELECT {_some('follow', 'follower', 'followee')}, {_some('follow', 'followee', 'follower')},"
    f" {_some('block', 'blocker', 'blocked')}, {_some('mute', 'muter', 'muted')}"
)
