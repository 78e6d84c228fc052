"""What people are told of, in Postgres."""

from collections.abc import Sequence
from typing import Any

from store.notifications import (
    GROUPS_ABOUT_MAX,
    GROUPS_OF_TARGET_MAX,
    NEWEST_OFFSET,
    GroupChanges,
    Named,
    Target,
    Title,
    Told,
)
from store.postgres_graph import Fetch
from store.rows import Author, CommentRow, NotificationRow, ReactionRow
from store.statements import AUTHOR_COLUMNS, AUTHOR_SHOWN, COMMENT, NOTIFICATION, REACTION, grown_since


class PostgresNotifications:
    """See ``store.notifications.Notifications``; an attribute of ``PostgresStore``, which lends it its ``fetch``."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def page(self, user: int, *, before: int = NEWEST_OFFSET, limit: int) -> Told:
        found = await self._fetch(_PAGE, user, before, limit)
        return Told(_groups(values[3:] for values in found), *found[0][:3])

    async def changes(self, user: int, after: int, *, limit: int) -> GroupChanges:
        found = await self._fetch(_CHANGES, user, after, limit + 1)
        head, read_offset = found[0][:2]
        groups = _groups(values[2:] for values in found)
        page = groups[:limit]
        return GroupChanges(page, head, read_offset, page[-1].changed_offset if len(groups) > limit else head)

    async def groups(
        self,
        user: int,
        *,
        targets: Sequence[Target] = (),
        about: Sequence[tuple[int, int]] = (),
        naming: Sequence[int] = (),
    ) -> list[NotificationRow]:
        found = []
        if targets:
            found = list(await self._fetch(_OF_TARGETS, user, *map(list, zip(*targets, strict=True))))
        if about:
            found += await self._fetch(_ABOUT, user, *map(list, zip(*about, strict=True)))
        if naming:
            found += await self._fetch(_NAMING, user, list(naming))
        rows = {row.id: row for row in _groups(found)}
        return sorted(rows.values(), key=lambda row: row.id, reverse=True)

    async def named(self, people: Sequence[int], posts: Sequence[int]) -> Named:
        faces = await self._fetch(_FACES, list(people)) if people else ()
        titles = await self._fetch(_TITLES, list(posts)) if posts else ()
        return Named({values[0]: Author(*values) for values in faces}, {values[0]: Title(*values) for values in titles})

    async def told_about(self, post: int, comments: Sequence[int], *, limit: int) -> list[tuple[int, int]]:
        found = await self._fetch(_TOLD_ABOUT, post, list(comments), limit)
        return [(user, comment) for user, comment in found]

    async def told_of(self, account: int, *, limit: int) -> list[int]:
        return [user for (user,) in await self._fetch(_TOLD_OF, account, limit)]

    async def news(self, post: int, after: int, *, limit: int) -> tuple[list[CommentRow], list[ReactionRow]]:
        comments = await self._fetch(_NEW_COMMENTS, post, after, limit)
        reactions = await self._fetch(_NEW_REACTIONS, post, after, limit)
        return [COMMENT.row(values) for values in comments], [REACTION.row(values) for values in reactions]

    async def handles(self, handles: Sequence[str]) -> dict[str, int]:
        found = await self._fetch("SELECT name, id FROM name WHERE kind = 'handle' AND name = ANY ($1)", list(handles))
        return dict(map(tuple, found))

    async def old(self, user: int, *, kept: int, before_ms: int, limit: int) -> tuple[list[int], int | None]:
        found = await self._fetch(_BY_AGE, user, kept, before_ms, limit)
        ((oldest_ms,),) = await self._fetch(_OLDEST_KEPT, user, kept, before_ms)
        return [id for (id,) in found], oldest_ms


def _groups(found: Any) -> list[NotificationRow]:
    """The rows of an outer join: where there is none, the id is NULL."""
    return [NOTIFICATION.row(values) for values in found if values[1] is not None]


# The state is read by the same statement; and always is one row, whether there are groups or not.
_STATE = """\
FROM (SELECT) AS always
LEFT JOIN user_state AS state ON state.user_id = $1"""

_PAGE = f"""\
SELECT coalesce(state.head, 0), coalesce(state.read_offset, 0), (
    SELECT count(*) FROM notification
    WHERE user_id = $1 AND NOT gone AND {grown_since("coalesce(state.read_offset, 0)")}
), {NOTIFICATION.selected}
{_STATE}
LEFT JOIN LATERAL (
    SELECT * FROM notification WHERE user_id = $1 AND changed_offset < $2 AND NOT gone
    ORDER BY changed_offset DESC LIMIT $3
) AS notification ON true
ORDER BY notification.changed_offset DESC"""

_CHANGES = f"""\
SELECT coalesce(state.head, 0), coalesce(state.read_offset, 0), {NOTIFICATION.selected}
{_STATE}
LEFT JOIN LATERAL (
    SELECT * FROM notification WHERE user_id = $1 AND changed_offset > $2 ORDER BY changed_offset LIMIT $3
) AS notification ON true
ORDER BY notification.changed_offset"""

_OF_TARGETS = f"""\
SELECT {NOTIFICATION.selected} FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS target (kind, post_id, comment_id)
CROSS JOIN LATERAL (
    SELECT * FROM notification
    WHERE user_id = $1 AND post_id = target.post_id AND comment_id = target.comment_id AND kind = target.kind
        AND NOT gone
    ORDER BY id DESC LIMIT {GROUPS_OF_TARGET_MAX}
) AS notification"""

_ABOUT = f"""\
SELECT {NOTIFICATION.selected} FROM notification
JOIN unnest($2::bigint[], $3::bigint[]) AS what (post_id, comment_id) ON notification.post_id = what.post_id
    AND (what.comment_id = 0 OR notification.comment_id = what.comment_id)
WHERE user_id = $1 AND NOT gone ORDER BY id DESC LIMIT {GROUPS_ABOUT_MAX}"""

_NAMING = f"""\
SELECT {NOTIFICATION.selected} FROM notification
WHERE user_id = $1 AND sample && $2::bigint[] AND NOT gone ORDER BY id DESC LIMIT {GROUPS_ABOUT_MAX}"""

_FACES = f"SELECT {AUTHOR_COLUMNS} FROM account WHERE id = ANY ($1) AND {AUTHOR_SHOWN}"
_TITLES = "SELECT id, title, slug FROM post WHERE id = ANY ($1) AND state = 'published'"

_TOLD_ABOUT = """\
SELECT DISTINCT user_id, CASE WHEN cardinality($2::bigint[]) = 0 THEN 0 ELSE comment_id END FROM notification
WHERE post_id = $1 AND post_id > 0 AND NOT gone AND (cardinality($2) = 0 OR comment_id = ANY ($2))
ORDER BY 1, 2 LIMIT $3"""

_TOLD_OF = """\
SELECT DISTINCT user_id FROM notification WHERE sample && ARRAY[$1::bigint] AND NOT gone ORDER BY 1 LIMIT $2"""

_NEW_COMMENTS = f"""\
SELECT {COMMENT.selected} FROM comment WHERE post_id = $1 AND version > $2
    AND changed_offset > coalesce((
        SELECT changed_offset FROM comment WHERE post_id = $1 AND version <= $2 AND changed_offset > 0
        ORDER BY changed_offset DESC LIMIT 1
    ), 0)
ORDER BY changed_offset DESC LIMIT $3"""
_NEW_REACTIONS = (
    f"SELECT {REACTION.selected} FROM reaction WHERE post_id = $1 AND version > $2 ORDER BY version DESC LIMIT $3"
)

_BY_AGE = """\
SELECT id FROM (
    SELECT id, updated_at, row_number() OVER (ORDER BY changed_offset DESC) AS place FROM notification
    WHERE user_id = $1
) AS placed
WHERE place > $2 OR updated_at < $3 ORDER BY id LIMIT $4"""

_OLDEST_KEPT = """\
SELECT min(updated_at) FROM (
    SELECT updated_at FROM notification WHERE user_id = $1 ORDER BY changed_offset DESC LIMIT $2
) AS kept
WHERE updated_at >= $3"""
