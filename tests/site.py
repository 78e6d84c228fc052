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

from tests.processes import Served, serving

HOST_SECRET = "the secret that the host site of the tests shares"
TOKEN_TTL_S = 3_600
ANSWER_TIMEOUT = aiohttp.ClientTimeout(total=20)
UNLIMITED = "1000000:1000000"
SETTINGS = {
    "PLAUDIT_HOST_JWT_SECRET": HOST_SECRET,
    "PLAUDIT_ACCOUNT_RATE": UNLIMITED,
    "PLAUDIT_ADDRESS_RATE": UNLIMITED,
    "PLAUDIT_SOCKET_RATE": UNLIMITED,
    "PLAUDIT_SIGN_IN_RATE": UNLIMITED,
    "PLAUDIT_CONNECTIONS_PER_ADDRESS_MAX": "10000",
}


class Lost(Exception):
    """The connection went away: the outcome is unknown."""


class Answered(Exception):
    """An error was answered; ``temporary``: the same request may be repeated."""

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


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

    def __init__(self, served: Served, client: aiohttp.ClientSession) -> None:
        self.served = served
        self._client = client

    async def request(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, op: str | None = None
    ) -> Any:
        """The JSON that is answered, None if nothing is. Raises ``Lost`` and ``Answered``."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if op is not None:
            headers["Idempotency-Key"] = op
        try:
            async with self._client.request(
                method, self.served.url + path, json=body, headers=headers, timeout=ANSWER_TIMEOUT
            ) as response:
                status, text = response.status, await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Lost(str(error)) from error
        if status >= 400:
            raise Answered(text, temporary=status in (429, 503))
        return json.loads(text) if text else None

    async def create_post(self, title: str) -> str:
        """A published post; its id."""
        post = await self.request("POST", "/v1/posts", {"title": title}, token=host_token(1, "author"))
        return str(post["id"])

    @asynccontextmanager
    async def socket(self, token: str) -> AsyncIterator["Socket"]:
        """A connected WebSocket. Raises ``Lost``."""
        try:
            websocket = await self._client.ws_connect(self.served.url + "/connection/websocket", autoping=False)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Lost(str(error)) from error
        socket = Socket(websocket)
        reading = asyncio.create_task(socket.read(), name="reader of a socket")
        try:
            await socket.ask("connect", {"token": token})
            yield socket
        finally:
            await websocket.close()
            await reading

    async def events(self, post: str, since: str | None) -> AsyncIterator[tuple[str | None, str, Any]]:
        """(id, event, data) of the event stream from ``since`` on, until the connection ends."""
        headers = {"Last-Event-ID": since} if since else {}
        try:
            async with self._client.get(
                f"{self.served.url}/v1/posts/{post}/events", headers=headers, timeout=aiohttp.ClientTimeout(total=None)
            ) as response:
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

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._websocket = websocket
        self._ids = count(1)
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self.pushes: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        """What arrives without being asked for; None at the end."""

    async def ask(self, method: str, body: Any) -> Any:
        """The result of a command. Raises ``Lost`` and ``Answered``."""
        id = next(self._ids)
        reply = self._replies[id] = asyncio.get_running_loop().create_future()
        try:
            await self._websocket.send_str(json.dumps({"id": id, method: body}))
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(str(error)) from error
        return await reply

    async def call(self, method: str, data: Any) -> Any:
        """The answer to an RPC. Raises ``Lost`` and ``Answered``."""
        return (await self.ask("rpc", {"method": method, "data": data}))["data"]

    async def read(self) -> None:
        """Hand out what arrives until the connection ends; then tell everyone who waits."""
        async for message in self._websocket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            for line in message.data.split("\n"):
                await self._take(json.loads(line))
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(Lost("the connection ended"))
        self._replies.clear()
        self.pushes.put_nowait(None)

    async def _take(self, received: dict[str, Any]) -> None:
        if not received:
            await self._websocket.send_str("{}")
        elif "push" in received:
            self.pushes.put_nowait(received["push"])
        elif (reply := self._replies.pop(received["id"], None)) and not reply.done():
            error = received.get("error")
            if error:
                reply.set_exception(Answered(error["message"], temporary=bool(error.get("temporary"))))
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
