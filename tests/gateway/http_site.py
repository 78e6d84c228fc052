"""The whole gateway on a real port, over real actors and a store in memory: what the tests of HTTP talk to."""

import asyncio
import io
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, NamedTuple

import aiohttp
import jwt
import msgspec
from aiohttp import web
from argon2 import PasswordHasher
from prometheus_client import CollectorRegistry

from actors.policy import Policy
from actors.runtime.env import Env
from actors.runtime.metrics import Metrics
from actors.runtime.node import Node
from protocol.gateway.app import make_app
from protocol.gateway.passwords import Passwords
from protocol.gateway.runner import Runner
from protocol.gateway.settings import GatewaySettings, Rate
from protocol.requests import SignedIn
from store.bus import Bus
from store.memory import MemoryStore
from store.memory_exchange import MemoryExchange
from store.rows import FanoutRow, OutboxRow

SECRET = b"the secret of the server under test"
HOST_SECRET = "the secret that the host site shares with the server under test"
PASSWORD = "correct horse battery"
UNLIMITED = Rate(1e6, 1_000_000)


class Skewed:
    """The wall clock, moved by a test."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The code of the problem; "" for a good answer."""
        if self.status < 400:
            return ""
        assert self.headers["Content-Type"] == "application/problem+json", self
        problem = self.json
        assert problem["status"] == self.status
        return str(problem["code"])


class Api:
    """One helper knows the interface: a change of it mends one place."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        self._client = client
        self.url = url
        self._numbers = itertools.count(1)

    async def call(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        token: str | None = None,
        op: str | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if op is not None:
            sent["Idempotency-Key"] = op
        if json is not None:
            data = msgspec.json.encode(json)
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self._client.request(
            method,
            self.url + path,
            data=None if data is None else io.BytesIO(data),
            headers=sent,
            allow_redirects=False,
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def member(self, handle: str | None = None) -> SignedIn:
        """A new account, signed in."""
        body = {"handle": handle or f"member{next(self._numbers)}", "password": PASSWORD}
        answer = await self.call("POST", "/v1/accounts", body)
        assert answer.status == 201, answer
        return msgspec.json.decode(answer.body, type=SignedIn)

    async def guest(self, name: str = "Gus") -> SignedIn:
        answer = await self.call("POST", "/v1/guests", {"name": name})
        assert answer.status == 201, answer
        return msgspec.json.decode(answer.body, type=SignedIn)

    async def post(self, token: str, **fields: Any) -> Any:
        """A new post, as it is shown."""
        answer = await self.call("POST", "/v1/posts", {"title": "A post", **fields}, token=token)
        assert answer.status == 201, answer
        return answer.json

    async def comment(self, token: str, post: str, body: str = "A comment", parent: str | None = None) -> Any:
        answer = await self.call("POST", f"/v1/posts/{post}/comments", {"body": body, "parent": parent}, token=token)
        assert answer.status == 201, answer
        return answer.json


class HttpSite(NamedTuple):
    api: Api
    store: MemoryStore
    node: Node
    clock: Skewed
    port: int

    async def fanned_out(self) -> None:
        """Return once every post has come into the timelines that it belongs in, and every message arrived."""
        async with asyncio.timeout(10):
            while [*self.store.rows(FanoutRow), *self.store.rows(OutboxRow)]:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def http_site(
    *,
    store: MemoryStore | None = None,
    bus: Bus | None = None,
    exchange: MemoryExchange | None = None,
    node: str = "test",
    **settings: Any,
) -> AsyncIterator[HttpSite]:
    """The gateway with ``settings``, by default without limits worth the name; with a ``bus`` one of several."""
    store = store or MemoryStore(time.time)
    clock = Skewed()
    env = Env(time.time, time.monotonic, Random(node))
    limits = {"account_rate": UNLIMITED, "address_rate": UNLIMITED, "sign_in_rate": UNLIMITED}
    configured = GatewaySettings(secret=SECRET, **{**limits, **settings})
    registry = CollectorRegistry()
    running = Node.running(store, env, Policy(), Metrics(registry), node=node, bus=bus, exchange=exchange)
    async with running as actors:
        app = make_app(
            actors,
            configured,
            clock=clock,
            timer=time.monotonic,
            token_bytes=secrets.token_bytes,
            registry=registry,
            # Fast, and as weak as it can be.
            passwords=Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)),
        )
        runner = Runner(app, configured)
        await runner.setup()
        listener = web.TCPSite(runner, "127.0.0.1", 0)
        await listener.start()
        port = runner.addresses[0][1]
        try:
            async with aiohttp.ClientSession() as client:
                yield HttpSite(Api(client, f"http://127.0.0.1:{port}"), store, actors, clock, port)
        finally:
            await runner.cleanup()


def host_token(user: Mapping[str, Any], *, secret: str = HOST_SECRET, **claims: Any) -> str:
    """A token of the host site's."""
    now = int(time.time())
    said = {"jti": "1", "iat": now, "exp": now + 600, "user": dict(user), **claims}
    return jwt.encode(said, secret, algorithm="HS256")
