"""The official client of each language behind one small interface, so that the same tests drive them all."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import centrifuge  # type: ignore[import-untyped]
from centrifuge import handlers as events

HERE = Path(__file__).parent
WAIT_S = 20.0

Event = dict[str, Any]


class Refusal(Exception):
    """A call was answered with an error."""

    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")
        self.code = code


class Events:
    """What a client tells, in order: its state, subscriptions, publications, and when it asks for a token."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self.seen: list[Event] = []

    def put(self, event: str, **context: Any) -> None:
        self._queue.put_nowait({"event": event, **context})

    async def until(self, event: str, **expected: Any) -> Event:
        """The next event of a kind (and of these values); those before it are only kept in ``seen``."""
        while True:
            told = await asyncio.wait_for(self._queue.get(), WAIT_S)
            self.seen.append(told)
            if told["event"] == event and all(told.get(name) == value for name, value in expected.items()):
                return told


class Client(Protocol):
    """One client of one server. Calls raise ``Refusal``."""

    events: Events

    async def connect(self) -> None: ...

    async def disconnect(self) -> None: ...

    async def subscribe(self, channel: str) -> None: ...

    async def unsubscribe(self, channel: str) -> None: ...

    async def rpc(self, method: str, data: Any) -> Any: ...

    async def presence(self, channel: str) -> list[dict[str, str]]: ...

    async def presence_stats(self, channel: str) -> tuple[int, int]: ...

    async def history(self, channel: str, limit: int, offset: int, epoch: str) -> tuple[list[int], int]:
        """Offsets of a page after a position, and the position it ends at."""
        ...


# -- JavaScript -------------------------------------------------------------------------------------------------------


class JavaScriptClient:
    """``centrifuge`` from npm, in a process of Node."""

    def __init__(self, process: Process) -> None:
        self.events = Events()
        self._process = process
        self._ids = count(1)
        self._replies: dict[int, asyncio.Future[Any]] = {}

    async def connect(self) -> None:
        await self.call("connect")

    async def disconnect(self) -> None:
        await self.call("disconnect")

    async def subscribe(self, channel: str) -> None:
        await self.call("subscribe", channel)

    async def unsubscribe(self, channel: str) -> None:
        await self.call("unsubscribe", channel)

    async def rpc(self, method: str, data: Any) -> Any:
        return await self.call("rpc", method, data)

    async def presence(self, channel: str) -> list[dict[str, str]]:
        listed: list[dict[str, str]] = await self.call("presence", channel)
        return listed

    async def presence_stats(self, channel: str) -> tuple[int, int]:
        clients, users = await self.call("presence_stats", channel)
        return clients, users

    async def history(self, channel: str, limit: int, offset: int, epoch: str) -> tuple[list[int], int]:
        offsets, after = await self.call("history", channel, limit, {"offset": offset, "epoch": epoch})
        return offsets, after

    async def call(self, name: str, *given: Any) -> Any:
        id = next(self._ids)
        reply = self._replies[id] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": id, "call": name, "with": given}).encode() + b"\n")
        return await asyncio.wait_for(reply, WAIT_S)

    async def listen(self) -> None:
        """Hand out what the process prints, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "event" in told:
                self.events.put(told.pop("event"), **told)
            elif "error" in told:
                self._replies.pop(told["id"]).set_exception(Refusal(told["error"]["code"]))
            else:
                self._replies.pop(told["id"]).set_result(told["result"])


@asynccontextmanager
async def javascript(url: str, tokens: list[str]) -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(
        "node", "client.mjs", cwd=HERE, stdin=PIPE, stdout=PIPE, limit=1 << 24
    )
    client = JavaScriptClient(process)
    listening = asyncio.create_task(client.listen(), name="output of node")
    try:
        await client.call("create", url, tokens)
        yield client
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
        await listening


# -- Python -----------------------------------------------------------------------------------------------------------


class ConnectionEvents(events.ClientEventHandler):  # type: ignore[misc]
    def __init__(self, told: Events) -> None:
        self._told = told

    async def on_connecting(self, ctx: centrifuge.ConnectingContext) -> None:
        self._told.put("connecting", code=ctx.code, reason=ctx.reason)

    async def on_connected(self, ctx: centrifuge.ConnectedContext) -> None:
        self._told.put("connected", client=ctx.client)

    async def on_disconnected(self, ctx: centrifuge.DisconnectedContext) -> None:
        self._told.put("disconnected", code=ctx.code, reason=ctx.reason)

    async def on_error(self, ctx: centrifuge.ErrorContext) -> None:
        self._told.put("error", code=getattr(ctx.error, "code", ctx.code))


class StreamEvents(events.SubscriptionEventHandler):  # type: ignore[misc]
    def __init__(self, told: Events) -> None:
        self._told = told

    async def on_subscribed(self, ctx: centrifuge.SubscribedContext) -> None:
        position = ctx.stream_position
        self._told.put(
            "subscribed",
            was_recovering=ctx.was_recovering,
            recovered=ctx.recovered,
            offset=None if position is None else position.offset,
            epoch=None if position is None else position.epoch,
            data=ctx.data,
        )

    async def on_publication(self, ctx: centrifuge.PublicationContext) -> None:
        self._told.put("publication", offset=ctx.pub.offset, data=ctx.pub.data)

    async def on_unsubscribed(self, ctx: centrifuge.UnsubscribedContext) -> None:
        self._told.put("unsubscribed", code=ctx.code)

    async def on_error(self, ctx: centrifuge.SubscriptionErrorContext) -> None:
        self._told.put("refused", code=ctx.code)


class PythonClient:
    """``centrifuge-python`` from PyPI."""

    def __init__(self, url: str, tokens: list[str]) -> None:
        self.events = Events()
        tokens = list(tokens)

        async def get_token() -> str:
            self.events.put("token")
            return tokens.pop(0) if len(tokens) > 1 else tokens[0]

        self._client = centrifuge.Client(
            url,
            events=ConnectionEvents(self.events),
            token=tokens.pop(0) if len(tokens) > 1 else tokens[0],
            get_token=get_token,
            min_reconnect_delay=0.02,
            max_reconnect_delay=0.2,
            proxy=None,
        )

    async def connect(self) -> None:
        await self._client.connect()

    async def disconnect(self) -> None:
        connection = self._client._conn
        await self._client.disconnect()
        if connection is not None:
            # The client closes it behind its own back, and this loop may end before.
            await connection.wait_closed()

    async def subscribe(self, channel: str) -> None:
        await self._client.new_subscription(channel, StreamEvents(self.events)).subscribe()

    async def unsubscribe(self, channel: str) -> None:
        await self._of(channel).unsubscribe()

    async def rpc(self, method: str, data: Any) -> Any:
        try:
            return (await self._client.rpc(method, data)).data
        except centrifuge.ReplyError as error:
            raise Refusal(error.code) from error

    async def presence(self, channel: str) -> list[dict[str, str]]:
        clients = (await self._of(channel).presence()).clients.values()
        return [
            {"client": each.client, "user": each.user, "name": (each.conn_info or {}).get("name", "")}
            for each in clients
        ]

    async def presence_stats(self, channel: str) -> tuple[int, int]:
        stats = await self._of(channel).presence_stats()
        return stats.num_clients, stats.num_users

    async def history(self, channel: str, limit: int, offset: int, epoch: str) -> tuple[list[int], int]:
        page = await self._of(channel).history(limit=limit, since=centrifuge.StreamPosition(offset, epoch))
        return [publication.offset for publication in page.publications], page.offset

    def _of(self, channel: str) -> centrifuge.Subscription:
        subscription = self._client.get_subscription(channel)
        assert subscription is not None
        return subscription


@asynccontextmanager
async def python(url: str, tokens: list[str]) -> AsyncIterator[Client]:
    client = PythonClient(url, tokens)
    try:
        yield client
    finally:
        await client.disconnect()
