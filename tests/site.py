"""A whole site in a process of its own, for tests that load it or kill it: no limits of rate, users of a host site."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import aiohttp
import jwt
from prometheus_client.parser import text_string_to_metric_families

from protocol.errors import ERRORS
from tests.processes import Served, serving

HOST_SECRET = "the secret that the host site of the tests shares"
TOKEN_TTL_S = 3_600
ANSWER_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 1.0
"""For so long a server may take to close its side of a WebSocket."""
CODES = {meaning.number: code for code, meaning in ERRORS.items()}
UNLIMITED = "1000000:1000000"
SETTINGS = {
    "PLAUDIT_HOST_JWT_SECRET": HOST_SECRET,
    "PLAUDIT_ACCOUNT_RATE": UNLIMITED,
    "PLAUDIT_ADDRESS_RATE": UNLIMITED,
    "PLAUDIT_SOCKET_RATE": UNLIMITED,
    "PLAUDIT_SIGN_IN_RATE": UNLIMITED,
    "PLAUDIT_CONNECTIONS_PER_ADDRESS_MAX": "100000",
}


class Lost(Exception):
    """The connection went away: the outcome is unknown."""


class Answered(Exception):
    """An error was answered; ``temporary``: the same request may be repeated, over HTTP after ``retry_after_s``."""

    def __init__(self, message: str, *, code: str, temporary: bool, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.temporary = temporary
        self.retry_after_s = retry_after_s


def answered(response: aiohttp.ClientResponse, problem: str) -> Answered:
    """The error that a response is."""
    return Answered(
        problem,
        code=json.loads(problem)["code"],
        temporary=response.status in (429, 503),
        retry_after_s=float(response.headers.get("Retry-After", 0)),
    )


def host_token(user: int, role: str = "member") -> str:
    """The token of the host site's user number ``user``."""
    now = int(time.time())
    claims = {
        "jti": f"token-{user}",
        "iat": now,
        "exp": now + TOKEN_TTL_S,
        "user": {"id": str(user), "username": f"person{user}", "role": role},
    }
    return jwt.encode(claims, HOST_SECRET, algorithm="HS256")


class Site:
    """The server and its API: the one place of these tests that knows paths, bodies and codes."""

    def __init__(
        self, served: Served, client: aiohttp.ClientSession, *, answer_timeout_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        self.served = served
        self._client = client
        self._answer_timeout_s = answer_timeout_s

    async def request(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, op: str | None = None
    ) -> Any:
        """The JSON that is answered, None if nothing is. Raises ``Lost`` and ``Answered``."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if op is not None:
            headers["Idempotency-Key"] = op
        timeout = aiohttp.ClientTimeout(total=self._answer_timeout_s)
        try:
            async with self._client.request(
                method, self.served.url + path, json=body, headers=headers, timeout=timeout
            ) as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Lost(str(error)) from error
        if response.status >= 400:
            raise answered(response, text)
        return json.loads(text) if text else None

    async def figures(self) -> dict[tuple[str, str], float]:
        """What ``/metrics`` says, by worker and name, summed over the other labels. Raises ``Lost``."""
        timeout = aiohttp.ClientTimeout(total=self._answer_timeout_s)
        try:
            async with self._client.get(self.served.url + "/metrics", timeout=timeout) as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Lost(str(error)) from error
        figures: dict[tuple[str, str], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = sample.labels.get("worker", ""), sample.name
                figures[key] = figures.get(key, 0.0) + sample.value
        return figures

    async def create_post(self, title: str) -> str:
        """A published post; its id."""
        post = await self.request("POST", "/v1/posts", {"title": title}, token=host_token(1, "author"))
        return str(post["id"])

    @asynccontextmanager
    async def socket(self, token: str) -> AsyncIterator["Socket"]:
        """A connected WebSocket. Raises ``Lost``."""
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                websocket = await self._client.ws_connect(
                    self.served.url + "/connection/websocket",
                    autoping=False,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Lost(str(error)) from error
        socket = Socket(websocket, self._answer_timeout_s)
        reading = asyncio.create_task(socket.read(), name="reader of a socket")
        try:
            await socket.ask("connect", {"token": token})
            yield socket
        finally:
            await websocket.close()
            await reading

    async def events(self, post: str, since: str | None) -> AsyncIterator[tuple[str | None, str, Any]]:
        """(id, event, data) of the event stream from ``since`` on, until the connection ends. Raises ``Answered``."""
        headers = {"Last-Event-ID": since} if since else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._answer_timeout_s)
        try:
            async with self._client.get(
                f"{self.served.url}/v1/posts/{post}/events", headers=headers, timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise answered(response, await response.text())
                fields: dict[str, str] = {}
                async for line in response.content:
                    name, _, value = line.decode().rstrip("\n").partition(": ")
                    if name:
                        fields[name] = value
                    elif "data" in fields:
                        yield fields.get("id"), fields.get("event", "message"), json.loads(fields["data"])
                        fields = {}
        except (aiohttp.ClientError, OSError, TimeoutError):
            return


class Socket:
    """One conversation in the Centrifuge protocol."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, answer_timeout_s: float) -> None:
        self._websocket = websocket
        self._answer_timeout_s = answer_timeout_s
        self._ids = count(1)
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self.pushes: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        """What arrives without being asked for; None at the end."""
        self.ended = asyncio.Event()
        self.listens = asyncio.Event()
        """While it is not set nothing is read, and the server's writes pile up."""
        self.listens.set()

    async def ask(self, method: str, body: Any) -> Any:
        """The result of a command. Raises ``Lost`` and ``Answered``."""
        id = next(self._ids)
        reply = self._replies[id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                await self._websocket.send_str(json.dumps({"id": id, method: body}))
                return await reply
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Lost(str(error)) from error
        finally:
            self._replies.pop(id, None)

    @property
    def close_code(self) -> int:
        """Why the server ended the connection; 0 if it did not say."""
        return self._websocket.close_code or 0

    async def call(self, method: str, data: Any) -> Any:
        """The answer to an RPC. Raises ``Lost`` and ``Answered``."""
        return (await self.ask("rpc", {"method": method, "data": data}))["data"]

    async def read(self) -> None:
        """Hand out what arrives until the connection ends; then tell everyone who waits."""
        async for message in self._websocket:
            await self.listens.wait()
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            for line in message.data.split("\n"):
                await self._take(json.loads(line))
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(Lost("the connection ended"))
        self._replies.clear()
        self.pushes.put_nowait(None)
        self.ended.set()

    def abandon(self) -> None:
        """Have done with a server that does not answer."""
        self.ended.set()

    async def _take(self, received: dict[str, Any]) -> None:
        if not received:
            await self._websocket.send_str("{}")
        elif "push" in received:
            self.pushes.put_nowait(received["push"])
        elif (reply := self._replies.pop(received["id"], None)) and not reply.done():
            error = received.get("error")
            if error:
                temporary = bool(error.get("temporary"))
                reply.set_exception(Answered(error["message"], code=CODES[error["code"]], temporary=temporary))
            else:
                (result,) = (value for name, value in received.items() if name != "id")
                reply.set_result(result)


@asynccontextmanager
async def running_site(*flags: str) -> AsyncIterator[Site]:
    """A server on a free port, with ``flags``, until the context is left."""
    async with (
        serving("server.py", "--port", "0", *flags, environment=SETTINGS) as served,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client,
    ):
        yield Site(served, client)
