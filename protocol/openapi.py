"""The OpenAPI 3.1 description of the HTTP interface, made from the table of endpoints and their structs."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from protocol.commands import Id
from protocol.errors import ERRORS
from protocol.problems import MEDIA_TYPE, Problem
from protocol.routes import Endpoint
from protocol.schemas import PUBLICATION, PUBLICATIONS, Json, Schemas

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


def openapi(endpoints: Iterable[Endpoint], version: str, schemas: Schemas) -> Json:
    """The whole document."""
    endpoints = list(endpoints)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Plaudit", "version": version, "description": _DESCRIPTION},
        "tags": [{"name": subject} for subject in dict.fromkeys(endpoint.subject for endpoint in endpoints)],
        "paths": _paths(endpoints, schemas),
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": _components(endpoints, schemas),
        },
    }


def _paths(endpoints: Iterable[Endpoint], schemas: Schemas) -> Json:
    paths: Json = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return paths


def _components(endpoints: Iterable[Endpoint], schemas: Schemas) -> Json:
    types = [kind for each in endpoints for kind in (each.body, each.answer) if kind is not None]
    components = schemas.components([*types, Problem, *PUBLICATIONS])
    return dict(sorted({**components, PUBLICATION: schemas.publication()}.items()))


def _operation(endpoint: Endpoint, schemas: Schemas) -> Json:
    operation: Json = {
        "operationId": endpoint.name,
        "tags": [endpoint.subject],
        "summary": endpoint.summary,
        "security": [{"bearer": []}] if endpoint.who != "anyone" else [{}, {"bearer": []}],
        "x-who": endpoint.who,
        "parameters": list(_parameters(endpoint, schemas)),
        "responses": dict(_responses(endpoint, schemas)),
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(endpoint.body)),
            "content": {"application/json": {"schema": schemas.of(endpoint.body)}},
        }
    return operation


def _parameters(endpoint: Endpoint, schemas: Schemas) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", endpoint.path):
        schema = schemas.of(Id if name in ("id", "comment") else str)
        yield {"name": name, "in": "path", "required": True, "schema": schema, **_PATH_PARAMETERS[name]}
    if endpoint.query is not None:
        query = schemas.described(endpoint.query)
        for name, schema in query["properties"].items():
            words = {"description": schema.pop("description")} if "description" in schema else {}
            yield {"name": name, "in": "query", "required": name in query["required"], "schema": schema, **words}
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


def _responses(endpoint: Endpoint, schemas: Schemas) -> Iterator[tuple[str, Json]]:
    good: Json = {"description": _PHRASES[endpoint.status]}
    if endpoint.headers:
        good["headers"] = {
            name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in endpoint.headers
        }
    if endpoint.answer is not None:
        good["content"] = {endpoint.media_type: {"schema": schemas.of(endpoint.answer)}}
    yield str(endpoint.status), good
    if "ETag" in endpoint.headers and endpoint.method == "GET":
        yield "304", {"description": "Not Modified"}
    by_status: dict[int, list[str]] = {}
    for code in endpoint.error_codes():
        by_status.setdefault(ERRORS[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        schema = {"allOf": [schemas.of(Problem), {"properties": {"code": {"enum": codes}}}]}
        yield (
            str(status),
            {
                "description": "; ".join(f"`{code}`: {ERRORS[code].title}" for code in codes),
                "content": {MEDIA_TYPE: {"schema": schema}},
            },
        )
