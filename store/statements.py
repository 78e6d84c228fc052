"""The SQL of the rows, derived from their structs: a commit's statement and arguments, and the lists to read by.

Many rows travel as an array for each column, to be written as well as to be read beside other rows in one statement.
Arrays of numbers are written as one text, as Postgres itself would: the driver takes ten times as long over an array,
for it asks of each element whether that is an array too.

A field is the column of the same name; a time ``created_ms`` is the column ``created_at timestamptz``. Both ways a time
is an ``int`` of Unix milliseconds, and ``jsonb`` a Python value: the connection's codecs see to that.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_origin
from uuid import UUID

import msgspec
from msgspec.structs import fields

from store.base import Batch
from store.rows import (
    AccountRow,
    AlarmRow,
    BlockRow,
    BookmarkRow,
    CommentRow,
    FanoutRow,
    FindingRow,
    FollowRow,
    MarkRow,
    MuteRow,
    NotificationRow,
    OperationRow,
    OutboxRow,
    PostRow,
    PostStateRow,
    PostViewsRow,
    ReactionRow,
    Row,
    SessionRow,
    SnapshotRow,
    UserStateRow,
)

RowT = TypeVar("RowT", bound=Row)


class Writing(Enum):
    """How rows of one type are written."""

    WHOLE = "written"
    USUAL = "written_as_usual"
    """Rows that have the usual values of their type: these stand in the statement, and do not travel."""
    GONE = "deleted"


Shape = tuple[tuple[type[Row], Writing], ...]
"""What a commit touches and how, in the order of ``TABLES``. One shape has one statement."""


class Column(NamedTuple):
    field: str
    name: str
    passed_as: str
    """The SQL type of one element, as it travels in an array."""
    stored: str
    """The SQL of the stored value, from the element of that name in ``r``."""

    @property
    def array(self) -> str:
        """The SQL type of the parameter that has one element for each row."""
        return f"text::{self.passed_as}[]" if self.passed_as in _AS_TEXT else f"{self.passed_as}[]"

    def parameter(self, values: Sequence[Any]) -> Any:
        """The argument for it."""
        return f"{{{msgspec.json.encode(values)[1:-1].decode()}}}" if self.passed_as in _AS_TEXT else values


_AS_TEXT = frozenset({"boolean", "integer", "bigint"})
"""Types of which JSON has the elements as Postgres wants them, NULL among them."""
_FENCED_BY = Column("", "fenced_by", "integer", "")
"""Beside the columns of a row, the slot that it belongs to."""


def _column(field: str, hint: Any) -> Column:
    if field.endswith("_ms"):
        name = "at" if field == "at_ms" else f"{field.removesuffix('_ms')}_at"
        return Column(field, name, "timestamptz", f"r.{name}")
    if hint == list[str]:
        # Arrays of arrays must be rectangular, and unnest flattens them: a list travels as one JSON array.
        return Column(field, field, "jsonb", f"ARRAY(SELECT jsonb_array_elements_text(r.{field}))")
    if hint == list[int]:
        return Column(field, field, "jsonb", f"ARRAY(SELECT jsonb_array_elements_text(r.{field})::bigint)")
    if get_origin(hint) is Literal:
        hint = str
    return Column(field, field, _SQL_TYPES[hint], f"r.{field}")


_SQL_TYPES: Mapping[Any, str] = MappingProxyType(
    {
        bool: "boolean",
        int: "bigint",
        int | None: "bigint",
        str: "text",
        str | None: "text",
        bytes: "bytea",
        dict[str, int]: "jsonb",
    }
)


class Table(Generic[RowT]):
    """How rows of one type are written and read."""

    def __init__(self, row_type: type[RowT]) -> None:
        self.row_type = row_type
        self.columns = tuple(_column(field.name, field.type) for field in fields(row_type))
        self.key = tuple(column for name in row_type.key for column in self.columns if column.field == name)
        self._fields = tuple(column.field for column in self.columns)
        self._values = attrgetter(*self._fields)
        self._lists = tuple(n for n, column in enumerate(self.columns) if column.stored.startswith("ARRAY"))
        self.travelling = tuple(column for column in self.columns if column.field not in row_type.usual)
        """The columns of a row that is otherwise as usual."""
        self._travelling_values = attrgetter(*(column.field for column in self.travelling))
        self._usual_values = attrgetter(*row_type.usual) if len(row_type.usual) > 1 else None
        self._usual = tuple(row_type.usual.values())
        self.selected = self.selected_from(row_type.table)
        """The select list; ``row`` takes its values in this order."""

    def selected_from(self, alias: str) -> str:
        """The same where the table has another name."""
        return ", ".join(f"{alias}.{column.name}" for column in self.columns)

    def row(self, values: Iterable[Any]) -> RowT:
        return self.row_type(**dict(zip(self._fields, values, strict=True)))

    def gathered(self, condition: str, *, blank: str = "") -> str:
        """A subquery of one row, named as the table: an array for each column; ``rows`` takes them in this order.

        Of the text column ``blank`` only the type is read. ``condition`` may end with an order.
        """
        table = self.row_type.table
        selected = ", ".join(
            f"''::text AS {column.name}" if column.name == blank else f"{table}.{column.name}"
            for column in self.columns
        )
        arrays = ", ".join(f"array_agg({column.name}) AS {column.name}" for column in self.columns)
        return f"LATERAL (SELECT {arrays} FROM (SELECT {selected} FROM {table} WHERE {condition}) AS r) AS {table}"

    def rows(self, arrays: Sequence[Sequence[Any] | None]) -> list[RowT]:
        """The rows in what ``gathered`` gives: NULLs, if there are none."""
        columns = [array for array in arrays if array is not None]
        return [self.row(values) for values in zip(*columns, strict=True)]

    def as_usual(self, row: RowT) -> bool:
        """Whether all values that are usual for the type are those of ``row``."""
        return self._usual_values is not None and self._usual_values(row) == self._usual

    def travelling_arguments(self, rows: Sequence[RowT]) -> list[Sequence[Any]]:
        """One array for each column that is not as usual."""
        return list(zip(*map(self._travelling_values, rows), strict=True))

    def arguments(self, rows: Sequence[RowT]) -> list[Sequence[Any]]:
        """One array for each column."""
        arrays: list[Sequence[Any]] = list(zip(*map(self._values, rows), strict=True))
        for n in self._lists:
            # A tuple is one value to the driver; a list would be a dimension of the array.
            arrays[n] = [tuple(value) for value in arrays[n]]
        return arrays

    def upsert(self, parameter: int, columns: Sequence[Column]) -> str:
        """Write images whose ``columns`` arrive as arrays, the slots first, from ``$parameter`` on."""
        table, key = self.row_type.table, ", ".join(column.name for column in self.key)
        names = [column.name for column in self.columns]
        values = [self._value(column, columns) for column in self.columns]
        if self.row_type.stamped:
            names, values = [*names, "tx"], [*values, "pg_current_xact_id()"]
        return (
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)}"
            f" FROM {_unnest(columns, parameter)} WHERE {_FENCED}"
        ) + ("" if self.row_type.insert_only else f" ON CONFLICT ({key}) DO UPDATE SET {self._replacement()}")

    def delete(self, parameter: int) -> str:
        """Delete by keys that arrive as arrays, the slots first, from ``$parameter`` on."""
        table = self.row_type.table
        return (
            f"DELETE FROM {table} USING {_unnest(self.key, parameter)} WHERE {_FENCED}"
            f" AND {' AND '.join(f'{table}.{column.name} = r.{column.name}' for column in self.key)}"
        )

    def _value(self, column: Column, travelling: Sequence[Column]) -> str:
        if column in travelling:
            return column.stored
        value = self.row_type.usual[column.field]
        if value is None:
            return f"NULL::{column.passed_as}"
        return f"'{json.dumps(value) if isinstance(value, dict) else value}'::{column.passed_as}"

    def _replacement(self) -> str:
        others = [column.name for column in self.columns if column not in self.key]
        if self.row_type.stamped:
            others.append("tx")
        return ", ".join(f"{name} = excluded.{name}" for name in others)


def _unnest(columns: Sequence[Column], parameter: int) -> str:
    columns = [_FENCED_BY, *columns]
    arrays = ", ".join(f"${n}::{column.array}" for n, column in enumerate(columns, parameter))
    return f"unnest({arrays}) AS r ({', '.join(column.name for column in columns)})"


def _parameters(columns: Sequence[Column], slots: Sequence[int], values: Iterable[Sequence[Any]]) -> Iterable[Any]:
    """What ``_unnest`` of the columns takes, from their values and the rows' slots."""
    arrays = zip((_FENCED_BY, *columns), (slots, *values), strict=True)
    return [column.parameter(array) for column, array in arrays]


ACCOUNT = Table(AccountRow)
USER_STATE = Table(UserStateRow)
FOLLOW = Table(FollowRow)
BLOCK = Table(BlockRow)
MUTE = Table(MuteRow)
NOTIFICATION = Table(NotificationRow)
BOOKMARK = Table(BookmarkRow)
SESSION = Table(SessionRow)
POST = Table(PostRow)
POST_STATE = Table(PostStateRow)
SNAPSHOT = Table(SnapshotRow)
POST_VIEWS = Table(PostViewsRow)
FANOUT = Table(FanoutRow)
FINDING = Table(FindingRow)
COMMENT = Table(CommentRow)
REACTION = Table(ReactionRow)
OPERATION = Table(OperationRow)
ALARM = Table(AlarmRow)
OUTBOX = Table(OutboxRow)
MARK = Table(MarkRow)

AUTHOR_COLUMNS = "account.id, account.handle, account.name, account.url"
AUTHOR_SHOWN = "account.state = 'active'"
"""Who has deleted the account is shown nowhere, from that moment on."""

TABLES: Mapping[type[Row], Table[Any]] = MappingProxyType(
    {
        table.row_type: table
        for table in (
            ACCOUNT,
            USER_STATE,
            FOLLOW,
            BLOCK,
            MUTE,
            NOTIFICATION,
            BOOKMARK,
            SESSION,
            POST,
            POST_STATE,
            SNAPSHOT,
            POST_VIEWS,
            FANOUT,
            FINDING,
            COMMENT,
            REACTION,
            OPERATION,
            ALARM,
            OUTBOX,
            MARK,
        )
    }
)

# The rows are locked before any is compared, in the order of the slots, which claims keep to as well. The comparison
# is left to the UPDATE: it alone sees a row as the statement that was waited for has left it.
#
# "(… IN (SELECT …)) IS TRUE" is looked up in a hash table. A join would be left to the planner, who takes a fence for
# one row and puts one loop into the other: with 45 slots in a commit that was three quarters of Postgres's time.
_FENCE = """\
WITH locked AS MATERIALIZED (
    SELECT slot FROM slot WHERE slot = ANY ($2::integer[]) ORDER BY slot FOR UPDATE
), fence AS (
    UPDATE slot SET head = head + ($5::bigint[])[array_position($2, slot)]
    WHERE slot = ANY ($2) AND owner = $1 AND (slot IN (SELECT slot FROM locked)) IS TRUE
        AND ((slot, epoch, head) IN (SELECT * FROM unnest($2, $3::bigint[], $4::bigint[]))) IS TRUE
    RETURNING slot, head
)"""
_FENCED = "(r.fenced_by IN (SELECT slot FROM fence)) IS TRUE"
_FIRST_ARRAY = 6


def commit_statement(shape: Shape) -> str:
    """Fence, write the rows of the slots that pass, and return these with their new heads, all in one statement."""
    parts, parameter = [_FENCE], _FIRST_ARRAY
    for row_type, writing in shape:
        table = TABLES[row_type]
        if writing is Writing.GONE:
            columns, write = table.key, table.delete(parameter)
        else:
            columns = table.columns if writing is Writing.WHOLE else table.travelling
            write = table.upsert(parameter, columns)
        parts.append(f"{row_type.table}_{writing.value} AS (\n    {write}\n)")
        parameter += 1 + len(columns)
    return ", ".join(parts) + "\nSELECT slot, head FROM fence"


USUAL_SHAPES: tuple[Shape, ...] = (
    ((PostStateRow, Writing.USUAL), (CommentRow, Writing.USUAL)),
    ((PostStateRow, Writing.USUAL), (CommentRow, Writing.USUAL), (OperationRow, Writing.WHOLE)),
    ((PostStateRow, Writing.WHOLE), (CommentRow, Writing.USUAL)),
    ((PostStateRow, Writing.WHOLE), (CommentRow, Writing.USUAL), (OperationRow, Writing.WHOLE)),
    ((PostStateRow, Writing.WHOLE), (ReactionRow, Writing.WHOLE)),
    ((PostStateRow, Writing.USUAL), (CommentRow, Writing.WHOLE), (OperationRow, Writing.WHOLE)),
)
"""What most commits touch: comments, with an operation id or without, edits, reactions."""


def no_arguments(shape: Shape, worker: UUID) -> list[Any]:
    """The arguments of a commit that fences nothing and writes nothing."""
    arguments: list[Any] = [worker, [], [], [], []]
    for row_type, writing in shape:
        table = TABLES[row_type]
        columns = {Writing.WHOLE: table.columns, Writing.USUAL: table.travelling, Writing.GONE: table.key}[writing]
        arguments.extend(_parameters(columns, (), [() for _ in columns]))
    return arguments


def commit_arguments(batch: Batch) -> tuple[Shape, list[Any]]:
    """What ``batch`` touches, and the arguments for the statement of that shape."""
    shape: list[tuple[type[Row], Writing]] = []
    fences = batch.fences
    arguments: list[Any] = [
        batch.worker,
        list(fences),
        [fence.epoch for fence in fences.values()],
        [fence.head for fence in fences.values()],
        [fence.count for fence in fences.values()],
    ]
    for row_type, table in TABLES.items():
        images = batch.writes.get(row_type)
        if not images:
            continue
        assert all(slot in fences for slot, _ in images), "a row whose slot is not fenced would be dropped in silence"
        usual = [(slot, row) for (slot, _), row in images.items() if row is not None and table.as_usual(row)]
        if usual:
            shape.append((row_type, Writing.USUAL))
            values = table.travelling_arguments([row for _, row in usual])
            arguments.extend(_parameters(table.travelling, [slot for slot, _ in usual], values))
        whole = [(slot, row) for (slot, _), row in images.items() if row is not None and not table.as_usual(row)]
        if whole:
            shape.append((row_type, Writing.WHOLE))
            values = table.arguments([row for _, row in whole])
            arguments.extend(_parameters(table.columns, [slot for slot, _ in whole], values))
        if len(usual) + len(whole) < len(images):
            gone = [key for key, row in images.items() if row is None]
            shape.append((row_type, Writing.GONE))
            keys = zip(*(identity for _, identity in gone), strict=True)
            arguments.extend(_parameters(table.key, [slot for slot, _ in gone], keys))
    return tuple(shape), arguments


CHANGES = f"""\
WITH changed AS (
    (SELECT changed_offset, id, octet_length(body) AS bytes FROM comment
     WHERE post_id = $1 AND changed_offset > $2 ORDER BY changed_offset LIMIT $3 + 1)
    UNION ALL
    SELECT changed_offset, 0, octet_length(body) FROM post WHERE id = $1 AND changed_offset > $2
), measured AS (
    SELECT changed_offset, id, row_number() OVER through AS place, sum(bytes) OVER through AS bytes
    FROM changed WINDOW through AS (ORDER BY changed_offset ROWS UNBOUNDED PRECEDING)
), page AS (
    SELECT changed_offset, id FROM measured WHERE place = 1 OR (place <= $3 AND bytes <= $4)
)
SELECT stream.head, stream.whole, page.changed_offset, {COMMENT.selected}, {POST.selected}, {AUTHOR_COLUMNS}
FROM (
    SELECT coalesce((SELECT head FROM post_state WHERE post_id = $1), 0) AS head,
           (SELECT count(*) FROM page) = (SELECT count(*) FROM changed) AS whole
) AS stream
LEFT JOIN page ON true
LEFT JOIN comment ON comment.post_id = $1 AND comment.id = page.id
LEFT JOIN post ON post.id = $1 AND page.id = 0
LEFT JOIN account ON account.id = coalesce(comment.author_id, post.author_id) AND {AUTHOR_SHOWN}
ORDER BY page.changed_offset"""
"""What changed on the stream of post $1 beyond offset $2, at most $3 rows and $4 bytes, with the head.

Always at least one row: the head, whether the page holds all that changed, and of one change its offset, the columns of
the comment or of the post, and of the author. Where nothing changed, these are NULL.
"""

# A value that the planner cannot see. It would plan anew for each: what it expects of one actor is less than what it
# expects of them on average, wherever a few have most of the rows; and to plan a load takes longer than to run it.
_ID, _KEY = "(SELECT $1::bigint)", "(SELECT $2::text)"

# Without the bodies: an actor keeps none. A change that is published raises the offset; what is held has none. Both are
# found by one index, a version is not.
_NEWER_COMMENT = f"""\
post_id = {_ID} AND comment.version > coalesce(snapshot.version, 0)
    AND (changed_offset > coalesce(snapshot.head, 0) OR changed_offset = 0) ORDER BY comment.id"""


def grown_since(offset: str) -> str:
    """Of a notification. What grew has changed, and an index has what changed."""
    return f"changed_offset > {offset} AND grown_offset > {offset}"


_LIVE_SESSION = f"""\
account_id = {_ID} AND revoked_at IS NULL AND expires_at > clock_timestamp() ORDER BY session.created_at, session.id"""

_ACTOR = f"""\
CROSS JOIN {OPERATION.gathered(f"actor = {_KEY} ORDER BY at, account_id, op")}
CROSS JOIN {MARK.gathered(f"receiver = {_KEY} ORDER BY slot")}
CROSS JOIN {ALARM.gathered(f"actor = {_KEY} ORDER BY name")}"""

LOAD_POST = f"""\
SELECT {POST.selected}, {AUTHOR_COLUMNS}, {POST_STATE.selected}, {FANOUT.selected}, {FINDING.selected},
    {POST_VIEWS.selected}, {SNAPSHOT.selected}, operation.*, mark.*, alarm.*, comment.*, reaction.*
FROM (SELECT) AS always
LEFT JOIN post ON post.id = {_ID}
LEFT JOIN account ON account.id = post.author_id AND {AUTHOR_SHOWN}
LEFT JOIN post_state ON post_state.post_id = {_ID}
LEFT JOIN fanout ON fanout.post_id = {_ID}
LEFT JOIN post_finding ON post_finding.post_id = {_ID}
LEFT JOIN post_views ON post_views.post_id = {_ID}
LEFT JOIN snapshot ON snapshot.actor = {_KEY}
{_ACTOR}
CROSS JOIN {COMMENT.gathered(_NEWER_COMMENT, blank="body")}
CROSS JOIN {REACTION.gathered(f"post_id = {_ID} AND reaction.version > coalesce(snapshot.version, 0)")}"""
"""Post $1, whose key is $2, at one moment: what there is at most one of, then each table's rows as arrays.

One statement is one round trip, and needs no transaction: while an actor loads, somebody waits.
"""

LOAD_USER = f"""\
SELECT {ACCOUNT.selected}, {USER_STATE.selected}, {SNAPSHOT.selected}, operation.*, mark.*, alarm.*, session.*, unread.*
FROM (SELECT) AS always
LEFT JOIN account ON account.id = {_ID}
LEFT JOIN user_state ON user_state.user_id = {_ID}
LEFT JOIN snapshot ON snapshot.actor = {_KEY}
{_ACTOR}
CROSS JOIN {SESSION.gathered(_LIVE_SESSION)}
CROSS JOIN LATERAL (
    SELECT array_agg(id ORDER BY id) AS ids, array_agg(grown_offset ORDER BY id) AS offsets FROM notification
    WHERE user_id = {_ID} AND NOT gone AND {grown_since("coalesce(user_state.read_offset, 0)")}
) AS unread"""
"""The same for user $1."""
