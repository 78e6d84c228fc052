"""The description of the interface: as OpenAPI for programs, and as one readable page for people."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import ETag, hdrs, web

from protocol.commands import Command
from protocol.decode import CALLS
from protocol.errors import ERRORS
from protocol.gateway.assets import STATIC
from protocol.openapi import openapi
from protocol.routes import ENDPOINTS, STREAMS
from protocol.schemas import Schemas, plain_words

PARTS: Final = Path(__file__).parent / "reference_page"
OPENAPI_PATH = "/v1/openapi.json"
REFERENCE_PATH = "/docs"
_WHO: Final = {"anyone": "anyone", "writer": "accounts and guests", "member": "accounts", "admin": "admins"}
_OP: Final = {"type": "string", "minLength": 1, "maxLength": 128}
Json = Mapping[str, Any]


class Description(NamedTuple):
    """What is served, ready to be sent."""

    document: bytes
    page: bytes
    policy: str
    """The page's Content-Security-Policy."""
    tag: str


class Reference:
    """Serves the description. It is made when it is first asked for, off the loop: it takes a tenth of a second."""

    def __init__(self, version: str, site_title: str) -> None:
        self._version = version
        self._site_title = site_title
        self._made: Description | None = None

    async def document(self, request: web.Request) -> web.Response:
        made = await self._description()
        return _answer(request, made.document, "application/json", made.tag)

    async def page(self, request: web.Request) -> web.Response:
        made = await self._description()
        response = _answer(request, made.page, "text/html; charset=utf-8", made.tag)
        response.headers["Content-Security-Policy"] = made.policy
        return response

    async def _description(self) -> Description:
        if self._made is None:
            self._made = await asyncio.to_thread(describe, self._version, self._site_title)
        return self._made


def add_reference(app: web.Application, version: str, site_title: str) -> None:
    reference = Reference(version, site_title)
    app.router.add_get(OPENAPI_PATH, reference.document)
    app.router.add_get(REFERENCE_PATH, reference.page)


def describe(version: str, site_title: str) -> Description:
    """Make both forms of the description; the page leads back to the site of ``site_title``."""
    schemas = Schemas()
    document = openapi((*ENDPOINTS, *STREAMS), version, schemas)
    encoded = msgspec.json.encode(document)
    style = "".join(part.read_text(encoding="utf-8") for part in (STATIC / "palette.css", PARTS / "style.css"))
    start = (PARTS / "start.html").read_text(encoding="utf-8")
    wire = (PARTS / "wire.html").read_text(encoding="utf-8").replace("{{rpcs}}", _rpcs(schemas))
    page = reference_page(document, style, start, wire, site_title).encode()
    return Description(encoded, page, _policy(style), hashlib.blake2b(page + encoded, digest_size=8).hexdigest())


def _answer(request: web.Request, body: bytes, media_type: str, tag: str) -> web.Response:
    known = any(etag.value == tag for etag in request.if_none_match or ())
    headers = {hdrs.CONTENT_TYPE: media_type}
    response = web.Response(status=304) if known else web.Response(body=body, headers=headers)
    response.etag = ETag(tag, is_weak=True)
    response.headers[hdrs.CACHE_CONTROL] = "no-cache"
    return response


def _policy(style: str) -> str:
    """Nothing but the page itself, its own style, and what sets the theme that was chosen on the site."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        f"script-src 'self'; img-src 'self'; style-src 'sha256-{digest}'"
    )


# -- the page ---------------------------------------------------------------------------------------------------------


def reference_page(document: Json, style: str, start: str, wire: str, site_title: str) -> str:
    """The page that shows an OpenAPI ``document``, after the first steps and before the wire, which are HTML."""
    operations = list(_operations(document))
    subjects = [tag["name"] for tag in document["tags"]]
    sections = "".join(_subject(subject, operations) for subject in subjects)
    wire = wire.replace("{{publications}}", _publications(document))
    intro = "".join(f"<p>{_text(part)}</p>" for part in document["info"]["description"].split("\n\n"))
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(document['info']['title'])} interface</title>"
        '<link rel="icon" href="/static/mark.svg" type="image/svg+xml">'
        f'<style>{style}</style><script src="/static/theme.js"></script></head><body>'
        '<a class="skip" href="#main">Skip to the content</a>'
        '<header class="masthead"><a class="wordmark" href="/">'
        f'<img src="/static/mark.svg" alt="" width="22" height="22">{escape(site_title)}</a></header>'
        f"{_navigation(subjects, operations)}"
        f'<main id="main"><header><h1>{escape(document["info"]["title"])} interface</h1>{intro}'
        f'<p>The same as <a href="{OPENAPI_PATH}">OpenAPI 3.1</a>.</p></header>'
        f"{start}{sections}{wire}{_schemas(document)}{_errors()}</main></body></html>\n"
    )


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _navigation(subjects: Iterable[str], operations: Iterable[tuple[str, str, Json]]) -> str:
    groups = []
    for subject in subjects:
        links = "".join(
            f'<li><a href="#{operation["operationId"]}"><b class="{method}">{method}</b> {_path(path)}</a></li>'
            for method, path, operation in operations
            if subject in operation["tags"]
        )
        groups.append(f"<h2>{escape(subject)}</h2><ul>{links}</ul>")
    more = "".join(
        f'<li><a href="#{anchor}">{title}</a></li>'
        for anchor, title in (
            ("websocket", "WebSocket"),
            ("sse", "Server-Sent Events"),
            ("schemas", "Schemas"),
            ("errors", "Errors"),
        )
    )
    contents = f'<a href="#start">First steps</a>{"".join(groups)}<h2>More</h2><ul>{more}</ul>'
    # Twice, for there is no script: beside the text where there is room, else folded above it.
    return (
        f'<nav class="beside" aria-label="Contents">{contents}</nav>'
        f'<nav class="above" aria-label="Contents"><details><summary>Contents</summary>{contents}</details></nav>'
    )


def _subject(subject: str, operations: Iterable[tuple[str, str, Json]]) -> str:
    articles = "".join(_operation(*each) for each in operations if subject in each[2]["tags"])
    return f"<section><h2>{escape(subject)}</h2>{articles}</section>"


def _operation(method: str, path: str, operation: Json) -> str:
    parts = [
        f'<article id="{operation["operationId"]}"><h3><b class="{method}">{method}</b> {_path(path)}</h3>',
        f"<p>{_text(operation['summary'])}</p><p class=who>For {_WHO[operation['x-who']]}.</p>",
    ]
    if operation["parameters"]:
        rows = (
            _row(each["name"], each["schema"], each["required"], each.get("description"), place=each["in"])
            for each in operation["parameters"]
        )
        parts.append(_table("Parameters", rows))
    if "requestBody" in operation:
        parts.append(f"<p>Body: {_type(operation['requestBody']['content']['application/json']['schema'])}</p>")
    parts.append(f"{_answers(operation['responses'])}</article>")
    return "".join(parts)


def _answers(responses: Json) -> str:
    rows = []
    for status, response in responses.items():
        if int(status) >= 400:
            codes = re.findall(r"`(\w+)`", response["description"])
            what = " ".join(f'<a href="#error-{code}"><code>{code}</code></a>' for code in codes)
        else:
            shapes = [_type(content["schema"]) for content in response.get("content", {}).values()]
            headers = [f"<code>{name}</code>" for name in response.get("headers", {})]
            what = ", ".join([*shapes, *headers]) or escape(response["description"])
        rows.append(f"<tr><th scope=row>{status}</th><td>{what}</td></tr>")
    return f"<table><caption>Answers</caption><tbody>{''.join(rows)}</tbody></table>"


def _schemas(document: Json) -> str:
    articles = (_named(name, schema) for name, schema in document["components"]["schemas"].items())
    return f'<section id="schemas"><h2>Schemas</h2>{"".join(articles)}</section>'


def _named(name: str, schema: Json) -> str:
    words = f"<p>{_text(schema['description'])}</p>" if "description" in schema else ""
    shape = _fields("Fields", schema) if "properties" in schema else f"<p>{_type(schema)}</p>"
    return f'<article id="schema-{name}"><h3>{escape(name)}</h3>{words}{shape}</article>'


def _errors() -> str:
    rows = "".join(
        f'<tr id="error-{code}"><th scope=row><code>{code}</code></th>'
        f"<td>{meaning.status}</td><td>{meaning.number}</td>"
        f"<td>{escape(meaning.title)}{' (retry)' if meaning.temporary else ''}</td></tr>"
        for code, meaning in ERRORS.items()
    )
    return (
        '<section id="errors"><h2>Errors</h2><p>Over HTTP a problem document with the <code>code</code>; '
        "over WebSocket an error with the number. Where it says retry, the same request may succeed later; "
        "a write with the same operation id.</p><table><thead><tr><th scope=col>code</th><th scope=col>HTTP</th>"
        "<th scope=col>WebSocket</th><th scope=col>meaning</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></section>"
    )


def _rpcs(schemas: Schemas) -> str:
    return "".join(_rpc(method, call.command, schemas) for method, call in CALLS.items())


def _rpc(method: str, command: type[Command], schemas: Schemas) -> str:
    schema = schemas.described(command)
    op = [_row("op", _OP, False, "A retry with the same id is done once.")] if command.writes else []
    data = _fields("Data", schema, op)
    return f'<article id="rpc-{method}"><h3>{escape(method)}</h3><p>{_text(_first_words(command))}</p>{data}</article>'


def _first_words(command: type[Command]) -> str:
    """What a command's docstring says; nothing where it only inherits one."""
    return plain_words(command.__dict__.get("__doc__") or "")


def _publications(document: Json) -> str:
    return ", ".join(_type(kind) for kind in document["components"]["schemas"]["Publication"]["oneOf"])


# -- parts ------------------------------------------------------------------------------------------------------------


def _table(caption: str, rows: Iterable[str]) -> str:
    return f"<table><caption>{caption}</caption><tbody>{''.join(rows)}</tbody></table>"


def _fields(caption: str, schema: Json, more: Sequence[str] = ()) -> str:
    required = schema.get("required", ())
    rows = [_row(name, of, name in required, of.get("description")) for name, of in schema["properties"].items()]
    return _table(caption, [*rows, *more])


def _row(name: str, schema: Json, required: bool, words: str | None, *, place: str = "") -> str:
    marks = [f"<small>{escape(place)}</small>"] if place else []
    marks += ["<small>required</small>"] if required else []
    note = words or _inner_description(schema)
    return (
        f"<tr><th scope=row><code>{escape(name)}</code> {' '.join(marks)}</th>"
        f"<td>{_type(schema)}{_default(schema)}{f'<br>{_text(note)}' if note else ''}</td></tr>"
    )


def _inner_description(schema: Json) -> str:
    return next((each["description"] for each in schema.get("anyOf", ()) if "description" in each), "")


def _default(schema: Json) -> str:
    if schema.get("default") is None:
        return ""
    return f", by default <code>{escape(json.dumps(schema['default']))}</code>"


def _type(schema: Json) -> str:
    """A schema in a few words, with links."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(_type(each) for each in schema.get("anyOf") or schema["oneOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(each))}</code>" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return f"{schema.get('format') or schema.get('type', 'any')}{_bounds(schema)}"


def _bounds(schema: Json) -> str:
    low = schema.get("minimum", schema.get("minLength"))
    high = schema.get("maximum", schema.get("maxLength"))
    unit = " characters" if schema.get("type") == "string" else ""
    if low is not None and high is not None:
        return f", {low} to {high}{unit}"
    if high is not None:
        return f", at most {high}{unit}"
    return f", at least {low}{unit}" if low is not None else ""


def _path(path: str) -> str:
    # A long one may break before a slash.
    return re.sub(r"{(\w+)}", r"<i>\1</i>", escape(path).replace("/", "<wbr>/"))


def _text(words: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(words))
