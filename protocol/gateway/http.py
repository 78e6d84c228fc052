"""From a request to a call of a handler: who asks, how often, with what; and the answers that handlers give."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from aiohttp import ETag, hdrs, web
from msgspec import Struct

from protocol import text
from protocol.commands import Command, Person
from protocol.decode import Rules, checked, decode_body
from protocol.errors import DomainError, Refused, Unavailable
from protocol.gateway.addresses import Proxies, visitor_of
from protocol.gateway.backend import Answer, Backend
from protocol.gateway.identity import Authenticator, Identity
from protocol.gateway.kept import OF_UNCHANGED, KeptAnswers
from protocol.gateway.limits import Allowance, Limits
from protocol.gateway.origins import Origins
from protocol.requests import RULES, Body, Query
from protocol.routes import Endpoint

ALLOWANCE: Final = web.RequestKey("allowance", Allowance)
"""What the request left of its bucket: becomes the ``RateLimit-*`` headers."""
REQUEST_ID: Final = web.RequestKey("request_id", str)
IDEMPOTENCY_KEY = "Idempotency-Key"
GUEST_PREFIX: Final = "guest-"
"""Begins the handles of guests, and of nobody else; their numbers follow."""
ACCOUNT_DIGITS_MAX: Final = 18
HANDLER_TIMEOUT_S = 15.0
"""Longer than any deadline behind it: the last net."""


class Call(Struct, frozen=True, kw_only=True):
    """One request, taken apart: what a handler sees of it."""

    request: web.Request
    backend: Backend
    identity: Identity
    query: Any
    """Of the type that the endpoint names."""
    body: Any
    """Likewise."""
    op: str | None
    """The client's ``Idempotency-Key``."""

    @property
    def by(self) -> Person:
        return self.identity.person

    @property
    def post(self) -> str:
        """The post in the path. Raises ``Refused("post_not_found")`` for what is no id."""
        return self.path("id", text.decimal_id, "post_not_found")

    @property
    def comment(self) -> str:
        return self.path("comment", text.decimal_id, "comment_not_found")

    @property
    def kind(self) -> str:
        """The kind of reaction in the path."""
        return self.path("kind", text.plain, "unknown_reaction")

    def path(self, name: str, rule: Callable[[str], str], code: str) -> str:
        """A part of the path; one that cannot be the name of anything is refused by ``code``."""
        try:
            return rule(self.request.match_info[name])
        except Refused:
            raise Refused(code) from None

    async def account(self) -> int:
        """The account of the handle in the path, be it deleted. Raises ``Refused("account_not_found")``."""
        number = await self.backend.resolve("handle", self.path("handle", text.handle, "account_not_found"))
        if number is None:
            raise Refused("account_not_found")
        return number

    async def member(self) -> int:
        """The same, of an account that is there for all to see."""
        number = await self.account()
        if not await self.backend.authors([number]):
            raise Refused("account_not_found")
        return number

    async def anyone(self) -> int:
        """The account of the handle in the path, be it a guest, who is known by it only where something was written."""
        handle = self.path("handle", text.handle, "account_not_found")
        number = handle.removeprefix(GUEST_PREFIX)
        if number == handle or not number.isdecimal() or len(number) > ACCOUNT_DIGITS_MAX:
            return await self.account()
        found = await self.backend.authors([int(number)])
        if int(number) not in found or found[int(number)].handle != handle:
            raise Refused("account_not_found")
        return int(number)

    async def ask_post(self, command: Command) -> Answer:
        """Ask the post in the path, in the name of who asks."""
        return await self.backend.ask(f"post:{self.post}", command, self.by, self.op if command.writes else None)


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class Server:
    """Serves endpoints: makes a ``Call`` of each request and hands it to its handler."""

    def __init__(
        self,
        backend: Backend,
        authenticator: Authenticator,
        limits: Limits,
        origins: Origins,
        proxies: Proxies,
        answers: KeptAnswers,
        *,
        body_bytes_max: int,
        body_timeout_s: float,
    ) -> None:
        self._backend = backend
        self._authenticator = authenticator
        self._limits = limits
        self._origins = origins
        self._proxies = proxies
        self._answers = answers
        self._body_bytes_max = body_bytes_max
        self._body_timeout_s = body_timeout_s

    def serve(self, endpoint: Endpoint, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The aiohttp handler of ``endpoint``. What it raises, the middleware answers."""
        if endpoint.shows is not None:
            handler = self._keeping(handler, endpoint.shows.method, endpoint.path)

        async def handle(request: web.Request) -> web.StreamResponse:
            call = await self._call(endpoint, request)
            try:
                async with asyncio.timeout(HANDLER_TIMEOUT_S):
                    return _unless_known(request, await handler(call))
            except TimeoutError:
                raise Unavailable("no answer in time") from None

        return handle

    def _keeping(self, handler: Handler, method: str, route: str) -> Handler:
        """``handler``, with what everyone is answered alike kept."""

        async def keep(call: Call) -> web.StreamResponse:
            request = call.request
            if request.method != hdrs.METH_GET or hdrs.AUTHORIZATION in request.headers:
                return await handler(call)
            ask, actor = partial(handler, call), f"post:{call.post}"
            return await self._answers.answered(request.raw_path, ask, actor=actor, method=method, route=route)

        return keep

    async def _call(self, endpoint: Endpoint, request: web.Request) -> Call:
        visitor = visitor_of(request, self._proxies)
        if endpoint.method != hdrs.METH_GET:
            self._origins.check(request)
        if endpoint.costly:
            request[ALLOWANCE] = self._limits.of_sign_in(visitor.address)
        identity = await self._authenticator.authenticate(bearer_token(request), visitor)
        _check_who(endpoint, identity.person)
        if endpoint.method != hdrs.METH_GET and identity.person.id:
            request[ALLOWANCE] = self._limits.of_account(identity.person.id)
        return Call(
            request=request,
            backend=self._backend,
            identity=identity,
            query=None if endpoint.query is None else _decoded_query(endpoint.query, request),
            body=None if endpoint.body is None else await self._decoded_body(endpoint, endpoint.body, request),
            op=_operation_id(request) if endpoint.takes_operation else None,
        )

    async def _decoded_body(self, endpoint: Endpoint, kind: type[Body], request: web.Request) -> Struct:
        bytes_max = endpoint.body_bytes_max or self._body_bytes_max
        if not request.can_read_body:
            return decode_body(kind, b"{}", _rules(kind))
        if request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
            raise Refused("unsupported_media_type", "application/json in UTF-8 is needed")
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            raise Refused("unsupported_media_type", "a body is sent uncompressed")
        return decode_body(kind, await read_body(request, bytes_max, self._body_timeout_s), _rules(kind))


def bearer_token(request: web.BaseRequest) -> str | None:
    """The token of the ``Authorization`` header. Raises ``Refused("unauthorized")`` for another scheme."""
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused("unauthorized", "Authorization: Bearer and a token are needed")
    return token.strip()


async def read_body(request: web.BaseRequest, bytes_max: int, timeout_s: float) -> bytes:
    """All that the client sends.

    Raises:
        Refused: ``too_large``, as soon as it is known; ``request_timeout`` if it is not complete in time;
            ``bad_request`` if it does not hold to HTTP.
    """
    if (request.content_length or 0) > bytes_max:
        raise Refused("too_large", f"at most {bytes_max} bytes")
    data = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > bytes_max:
                    raise Refused("too_large", f"at most {bytes_max} bytes")
    except TimeoutError:
        raise Refused("request_timeout") from None
    except web.RequestPayloadError:
        raise Refused("bad_request", "the body breaks off or is not encoded as it says") from None
    return bytes(data)


def _check_who(endpoint: Endpoint, person: Person) -> None:
    if endpoint.who == "admin":
        # Not by account: the command line has none.
        if person.role != "admin":
            raise Refused("permission_denied" if person.id else "unauthorized", "for admins")
        return
    if endpoint.who != "anyone" and not person.id:
        raise Refused("unauthorized", "sign in, or name yourself as a guest")
    if endpoint.who == "member" and person.role == "guest":
        raise Refused("permission_denied", "not for guests")


def _operation_id(request: web.BaseRequest) -> str | None:
    op = request.headers.get(IDEMPOTENCY_KEY)
    if op is not None:
        text.in_field(IDEMPOTENCY_KEY, text.operation_id, op)
    return op


def _decoded_query(kind: type[Query], request: web.BaseRequest) -> Struct:
    query = request.query
    given = {name: query.getall(name) if name in kind.repeated else query[name] for name in query}
    try:
        decoded = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refused("invalid", f"query: {error}") from None
    return checked(decoded, _rules(kind))


def _rules(kind: type[Body | Query]) -> Rules:
    return RULES.get(kind, {})


# -- answers ----------------------------------------------------------------------------------------------------------


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``value`` as JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, headers=headers, content_type="application/json"
    )


def no_content() -> web.Response:
    return web.Response(status=204)


def tagged(value: Any, tag: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``value`` as JSON with a weak ``ETag``."""
    response = answer(value, status=status, headers=headers)
    response.etag = ETag(tag, is_weak=True)
    # What one reader is shown is not for the next one at the same proxy, and is asked for again each time.
    response.headers[hdrs.CACHE_CONTROL] = "private, no-cache"
    return response


def _unless_known(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """``response``; instead of one that the client has already, that it is unchanged."""
    tag = response.etag
    if tag is None or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return response
    if not any(known.value in (tag.value, "*") for known in request.if_none_match or ()):
        return response
    headers = {name: response.headers[name] for name in OF_UNCHANGED if name in response.headers}
    return web.Response(status=304, headers=headers)


def next_link(request: web.BaseRequest, **changes: str) -> dict[str, str]:
    """The ``Link`` header to the page after: the same request, with ``changes`` to its query."""
    # Relative: an absolute one would repeat the Host header, which is whatever the client said.
    return {hdrs.LINK: f'<{request.rel_url.update_query(changes)}>; rel="next"'}


def error_headers(error: DomainError, retry_after_s: int) -> dict[str, str]:
    """The headers that HTTP asks for beside an error."""
    headers: dict[str, str] = {}
    if retry_after_s:
        headers[hdrs.RETRY_AFTER] = str(retry_after_s)
    if error.meaning.status == 401:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return headers
