"""The OpenAPI 3.1 description of the HTTP interface, made from the table of endpoints and their structs."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from protocol import views
from protocol.commands import Id
from protocol.errors import ERRORS
from protocol.problems import MEDIA_TYPE, Problem
from protocol.requests import Change
from protocol.routes import Endpoint

REFERENCE = "#/components/schemas/{name}"
Json = dict[str, Any]

PUBLICATION = "Publication"
"""The schema of what a stream publishes."""
PUBLICATIONS: Final = (views.CommentChanged, views.PostChanged, views.CountersChanged, views.TypingChanged)
_RAW: Final[dict[tuple[type[Struct], str], str]] = {
    (views.CommentNode, "comment"): "CommentView",
    (views.CommentChanged, "comment"): "CommentView",
    (views.PostChanged, "post"): "PostView",
    (Change, "data"): PUBLICATION,
}
"""Fields that hold JSON which is encoded already: what it is."""
_PHRASES: Final = {200: "OK", 201: "Created", 204: "No Content"}
_HEADERS: Final = {
    "ETag": "Send it as If-None-Match to get 304 while nothing changed.",
    "Link": 'The next page, as rel="next"; absent on the last.',
    "Location": "The address of what was made.",
}
_PATH_PARAMETERS: Final[dict[str, Json]] = {
    "id": {"description": "The post's id."},
    "comment": {"description": "The comment's id within its post."},
    "kind": {"description": "The kind of reaction: like, laugh, love, or what the site is configured for."},
    "slug": {"description": "The post's slug."},
    "handle": {"description": "The member's handle."},
}
_DESCRIPTION = """\
Live comments and reactions. The same commands and views travel over WebSocket, Server-Sent Events and HTTP.

Ids are strings. Times are RFC 3339 in UTC. Errors are RFC 9457 problem documents: branch on `code`. A write that
carries an `Idempotency-Key` may be repeated with the same key and content, and is done once.\
"""


def openapi(endpoints: Iterable[Endpoint], version: str) -> Json:
    """The whole document."""
    endpoints = list(endpoints)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Plaudit", "version": version, "description": _DESCRIPTION},
        "tags": [{"name": subject} for subject in dict.fromkeys(endpoint.subject for endpoint in endpoints)],
        "paths": _paths(endpoints),
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": _schemas(endpoints),
        },
    }


def _paths(endpoints: Iterable[Endpoint]) -> Json:
    paths: Json = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return paths


def _operation(endpoint: Endpoint) -> Json:
    operation: Json = {
        "operationId": endpoint.name,
        "tags": [endpoint.subject],
        "summary": endpoint.summary,
        "security": [{"bearer": []}] if endpoint.who != "anyone" else [{}, {"bearer": []}],
        "x-who": endpoint.who,
        "parameters": list(_parameters(endpoint)),
        "responses": dict(_responses(endpoint)),
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(endpoint.body)),
            "content": {"application/json": {"schema": _schema(endpoint.body)}},
        }
    return operation


def _parameters(endpoint: Endpoint) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", endpoint.path):
        schema = _schema(Id if name in ("id", "comment") else str)
        yield {"name": name, "in": "path", "required": True, "schema": schema, **_PATH_PARAMETERS[name]}
    if endpoint.query is not None:
        schema_of_query = described(endpoint.query)
        for name, schema in schema_of_query["properties"].items():
            yield {"name": name, "in": "query", "required": name in schema_of_query["required"], "schema": schema}
    if endpoint.takes_operation:
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "Chosen by the client; a retry with the same key is done once.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        }
    if "ETag" in endpoint.headers and endpoint.method == "GET":
        yield {"name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"}}


def _responses(endpoint: Endpoint) -> Iterator[tuple[str, Json]]:
    good: Json = {"description": _PHRASES[endpoint.status]}
    if endpoint.headers:
        good["headers"] = {
            name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in endpoint.headers
        }
    if endpoint.answer is not None:
        good["content"] = {endpoint.media_type: {"schema": _schema(endpoint.answer)}}
    yield str(endpoint.status), good
    if "ETag" in endpoint.headers and endpoint.method == "GET":
        yield "304", {"description": "Not Modified"}
    by_status: dict[int, list[str]] = {}
    for code in endpoint.error_codes():
        by_status.setdefault(ERRORS[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        schema = {"allOf": [_schema(Problem), {"properties": {"code": {"enum": codes}}}]}
        yield (
            str(status),
            {
                "description": "; ".join(f"`{code}`: {ERRORS[code].title}" for code in codes),
                "content": {MEDIA_TYPE: {"schema": schema}},
            },
        )


# -- schemas ----------------------------------------------------------------------------------------------------------


def _schemas(endpoints: Iterable[Endpoint]) -> Json:
    types = [kind for each in endpoints for kind in (each.body, each.answer) if kind is not None]
    (_, schemas) = msgspec.json.schema_components([*types, Problem, *PUBLICATIONS], ref_template=REFERENCE)
    structs = {struct.__name__: struct for struct in _structs_of([*types, Problem, *PUBLICATIONS])}
    for name, schema in schemas.items():
        _describe(structs[name], schema)
    schemas[PUBLICATION] = {
        "title": PUBLICATION,
        "description": "What a post's stream publishes; `type` says which.",
        "oneOf": [_schema(kind) for kind in PUBLICATIONS],
    }
    return dict(sorted(schemas.items()))


def _structs_of(types: Iterable[Any]) -> Iterator[type[Struct]]:
    """Every struct in ``types``, and in their fields, however deep."""
    seen: set[Any] = set()
    waiting = [msgspec.inspect.type_info(kind) for kind in types]
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info.cls
            waiting += [field.type for field in info.fields]
        for part in ("item_type", "key_type", "value_type"):
            if (inner := getattr(info, part, None)) is not None:
                waiting.append(inner)
        waiting += getattr(info, "types", ())


def described(struct: type[Struct]) -> Json:
    """The schema of ``struct`` itself, with its words."""
    (_, schemas) = msgspec.json.schema_components([struct], ref_template=REFERENCE)
    schema: Json = schemas[struct.__name__]
    _describe(struct, schema)
    return schema


def _describe(struct: type[Struct], schema: Json) -> None:
    """Put into ``schema`` what msgspec does not: the words of the source, and what encoded JSON is."""
    if "description" in schema:
        schema["description"] = _words(schema["description"])
    properties = schema.get("properties", {})
    for name, words in _field_words(struct).items():
        properties[name].setdefault("description", words)
    for name in properties:
        if (what := _RAW.get((struct, name))) is not None:
            properties[name].update({"$ref": REFERENCE.format(name=what)})


def _field_words(struct: type[Struct]) -> dict[str, str]:
    """What the source says below each field: the words stand once, where the field does."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if not issubclass(base, Struct) or base is Struct:
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in zip(definition.body, definition.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found[name] = _words(words)
                case _:
                    pass
    return {name: words for name, words in found.items() if name in struct.__struct_fields__}


def _words(docstring: str) -> str:
    return " ".join(docstring.replace("``", "`").split())


def _schema(kind: Any) -> Json:
    ((schema,), _) = msgspec.json.schema_components([kind], ref_template=REFERENCE)
    return schema
