"""What tests hear live: pushes of a WebSocket, and the events of a stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.gateway.people import Someone

WAIT_S = 10.0


@asynccontextmanager
async def socket_of(someone: Someone) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{someone.api.url}/connection/websocket") as socket,
    ):
        await socket.send_json({"id": 1, "connect": {"token": someone.token}})
        assert "connect" in await socket.receive_json(timeout=WAIT_S)
        yield socket


async def subscribe(socket: aiohttp.ClientWebSocketResponse, channel: str, cursor: str | None = None) -> Any:
    epoch, _, offset = (cursor or "-0").rpartition("-")
    recover = {"recover": True, "epoch": epoch, "offset": int(offset)} if cursor else {}
    await socket.send_json({"id": 2, "subscribe": {"channel": channel, **recover}})
    return await socket.receive_json(timeout=WAIT_S)


async def rpc(socket: aiohttp.ClientWebSocketResponse, method: str, **data: Any) -> Any:
    """What an RPC answers, whatever is pushed before."""
    await socket.send_json({"id": 7, "rpc": {"method": method, "data": data}})
    while True:
        frame = await socket.receive(timeout=WAIT_S)
        for line in str(frame.data).splitlines():
            reply = json.loads(line)
            if reply.get("id") == 7:
                return reply["rpc"]["data"]


async def push(socket: aiohttp.ClientWebSocketResponse, type: str) -> Any:
    """The next push of a type, with its channel and offset; what comes in one frame with it is passed over."""
    (message,) = await pushes(socket, type)
    return message


async def pushes(socket: aiohttp.ClientWebSocketResponse, *types: str) -> list[Any]:
    """The next push of the first type, then that of the second, and so on; they may come in one frame."""
    found: list[Any] = []
    while len(found) < len(types):
        frame = await socket.receive(timeout=WAIT_S)
        for line in str(frame.data).splitlines():
            message = json.loads(line).get("push", {})
            if message.get("pub", {}).get("data", {}).get("type") in types[len(found) : len(found) + 1]:
                found.append(message)
    return found


async def event(response: aiohttp.ClientResponse, type: str) -> tuple[str, Any]:
    """The next event of a type: its id and data."""
    id = ""
    async with asyncio.timeout(WAIT_S):
        while True:
            line = (await response.content.readline()).decode().rstrip()
            if line.startswith("id:"):
                id = line.removeprefix("id:").strip()
            elif line.startswith("data:") and (data := json.loads(line.removeprefix("data:")))["type"] == type:
                return id, data
            elif not line:
                id = ""
