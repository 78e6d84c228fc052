"""The one way in for what clients send: JSON to checked structs, the same for RPCs and for bodies of HTTP."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from protocol import text
from protocol.commands import (
    Applaud,
    ApproveComment,
    Command,
    CreateComment,
    CreatePost,
    DeleteComment,
    DeletePost,
    EditComment,
    EditPost,
    OperationId,
    Person,
    PostCommand,
    PublishPost,
    React,
    ReadComment,
    ReadComments,
    ReadPost,
    Typing,
    View,
)
from protocol.errors import Refused
from protocol.finding import Bookmark
from protocol.graph import Block, Follow, GraphCommand, Mute, RemoveFollower, Unblock, Unfollow, Unmute
from protocol.notifications import EditPreferences, MarkRead, OwnCommand, ReadPreferences

S = TypeVar("S", bound=Struct)
Rules = Mapping[str, Callable[[Any], Any]]
"""For fields of a struct, by name: what makes a value of the right type a value that may be kept, or refuses it."""

_POST: Final[Rules] = MappingProxyType({"post": text.decimal_id})
_COMMENT: Final[Rules] = MappingProxyType({**_POST, "comment": text.decimal_id})
_ACCOUNT: Final[Rules] = MappingProxyType({"account": text.decimal_id})

RULES: Final[Mapping[type[Command], Rules]] = MappingProxyType(
    {
        CreateComment: {**_POST, "body": text.comment_body, "parent": text.decimal_id},
        EditComment: {**_COMMENT, "body": text.comment_body},
        DeleteComment: _COMMENT,
        ApproveComment: _COMMENT,
        React: {**_COMMENT, "kind": text.one_line},
        Applaud: _POST,
        View: _POST,
        Typing: _POST,
        ReadPost: _POST,
        ReadComment: _COMMENT,
        ReadComments: {**_POST, "parent": text.decimal_id, "after": text.plain},
        CreatePost: {
            **_POST,
            "title": text.title,
            "body": text.post_body,
            "slug": text.slug,
            "tags": text.tags,
            "publish_at": text.unix_ms,
            "page_url": text.web_address,
            "created_at": text.unix_ms,
        },
        EditPost: {**_POST, "title": text.title, "body": text.post_body, "slug": text.slug, "tags": text.tags},
        PublishPost: {**_POST, "at": text.unix_ms},
        DeletePost: _POST,
        Follow: _ACCOUNT,
        Unfollow: _ACCOUNT,
        Block: _ACCOUNT,
        Unblock: _ACCOUNT,
        Mute: {**_ACCOUNT, "until": text.unix_ms},
        Unmute: _ACCOUNT,
        RemoveFollower: _ACCOUNT,
        Bookmark: _POST,
        MarkRead: {"cursor": text.plain},
        ReadPreferences: {},
        EditPreferences: {},
    }
)
"""Of every command that carries what a client says."""


Rpc = PostCommand | GraphCommand | OwnCommand


_Fields = Sequence[tuple[str, Callable[[Any], Any] | None]]


def _fields(kind: type[Struct], rules: Rules) -> _Fields:
    return [(name, rules.get(name)) for name in kind.__struct_fields__]


class _Call(NamedTuple):
    """How an RPC is decoded: the command's fields, each with its rule, and, if it writes, the operation id."""

    command: type[Rpc]
    wire: type[Struct]
    fields: _Fields


def _call(command: type[Rpc]) -> _Call:
    fields = _fields(command, RULES[command])
    if not command.writes:
        return _Call(command, command, fields)
    wire = msgspec.defstruct(
        f"{command.__name__}Call",
        [("op", OperationId | None, None)],
        bases=(command,),
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return _Call(command, wire, fields)


CALLS: Final[Mapping[str, _Call]] = MappingProxyType({
    command.method: _call(command)
    for command in (
        CreateComment, EditComment, DeleteComment, ApproveComment, React, Applaud, View, Typing,
        ReadPost, ReadComment, ReadComments, EditPost, PublishPost, DeletePost,
        Follow, Unfollow, Block, Unblock, Mute, Unmute, RemoveFollower,
        MarkRead, ReadPreferences, EditPreferences, Bookmark,
    )
})  # fmt: skip
"""The RPCs, by method."""


class Request(NamedTuple):
    """A command, the key of the actor that it is for, and the client's operation id."""

    key: str
    command: Rpc
    op: str | None


def decode_command(method: str, data: bytes | msgspec.Raw, by: Person) -> Request:
    """The command that an RPC of ``by`` carries.

    Raises:
        Refused: ``method_not_found``; ``bad_request`` for what is no JSON; ``invalid`` with the field's path, or a
            text's own code; ``unauthorized`` for what an anonymous reader cannot ask.
    """
    call = CALLS.get(method)
    if call is None:
        raise Refused("method_not_found")
    decoded: Any = decode_json(call.wire, data or b"{}")
    op: str | None = decoded.op if call.command.writes else None
    if op is not None:
        text.in_field("op", text.operation_id, op)
    command = call.command(**_kept(decoded, call.fields))
    return Request(_key(command, by), command, op)


def _key(command: Rpc, by: Person) -> str:
    """The actor that is asked: the post, or who asks."""
    if isinstance(command, PostCommand):
        return f"post:{command.post}"
    if not by.id:
        raise Refused("unauthorized", "sign in")
    return f"user:{by.id}"


def decode_body(kind: type[S], data: bytes, rules: Rules = MappingProxyType({})) -> S:
    """The struct that a request's body carries, with ``rules`` applied to its fields.

    Raises:
        Refused: ``bad_request`` for what is no JSON; ``invalid`` with the field's path, or a text's own code.
    """
    return checked(decode_json(kind, data), rules)


def checked(value: S, rules: Rules) -> S:
    """``value`` with each field that has a rule as the rule returns it; None stays. Raises ``Refused``."""
    return type(value)(**_kept(value, _fields(type(value), rules))) if rules else value


def _kept(value: Struct, fields: _Fields) -> dict[str, Any]:
    kept = {}
    for name, rule in fields:
        given = getattr(value, name)
        if rule is None or given is None or given is msgspec.UNSET:
            kept[name] = given
        else:
            kept[name] = text.in_field(name, rule, given)
    return kept


def decode_json(kind: type[S], data: bytes | msgspec.Raw) -> S:
    """``data`` as ``kind``; raises ``Refused``: ``bad_request`` or ``invalid``."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise Refused("invalid", located(str(error))) from None
    except (ValueError, RecursionError):
        # Malformed JSON, invalid UTF-8, a lone surrogate, or nesting without end.
        raise Refused("bad_request", "not well-formed JSON in UTF-8") from None


def located(message: str) -> str:
    """msgspec's message with the path in front: ``body: expected `str`, got `int```."""
    what, separator, path = message.rpartition(" - at `$")
    if not separator:
        return message
    path = path.removesuffix("`").removeprefix(".")
    return f"{path or 'body'}: {what[0].lower()}{what[1:]}"
