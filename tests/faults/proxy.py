"""A network that fails on request: it stands before a server, and holds, delays, cuts or refuses what passes.

What is held or delayed stays in order, and arrives even if its sender is cut off meanwhile: so a statement may run
after its caller has given up.
"""

import asyncio
import math
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

Way = Literal["requests", "replies"]
BOTH: Final[tuple[Way, ...]] = ("requests", "replies")
CHUNK_BYTES: Final = 1 << 16
IN_FLIGHT_CHUNKS_MAX: Final = 64
"""On their way at once in one direction of one connection; then its sender has to wait."""


class Proxy:
    """``async with Proxy(target) as proxy:`` passes TCP connections at ``proxy.url`` on to where ``target`` listens.

    That is a ``postgresql://user@/database?host=directory``, a ``unix:///path``, which is a Redis, or an
    ``http://host:port``. It may be changed, for the connections to come.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self._directions: dict[Way, Direction] = {"requests": Direction(), "replies": Direction()}
        self._refuses = False
        self._clients: set[StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def url(self) -> str:
        """What clients are given in place of the target's own."""
        target, here = urlsplit(self.target), f"127.0.0.1:{self.port}"
        match target.scheme:
            case "unix":
                return f"redis://{here}/0"
            case "postgresql":
                return f"postgresql://{target.username}@{here}{target.path}?sslmode=disable"
            case _:
                return f"{target.scheme}://{here}{target.path}"

    def hold(self, ways: Iterable[Way] = ("requests",)) -> None:
        """Keep what is sent; ``stuck`` returns once there is a request."""
        for way in ways:
            self._directions[way].hold()

    async def stuck(self) -> None:
        await self._directions["requests"].stuck.wait()

    def release(self) -> None:
        """Deliver what was kept, and hold nothing more."""
        for direction in self._directions.values():
            direction.flows.set()

    def delay(self, seconds: float) -> None:
        """Let everything from now on take so much longer, in each direction."""
        for direction in self._directions.values():
            direction.delay_s = seconds

    def narrow(self, bytes_per_s: int) -> None:
        """Take no more than that from now on, in each direction of each connection."""
        for direction in self._directions.values():
            direction.bytes_per_s = bytes_per_s

    def cut(self) -> None:
        """Every client finds its connection reset. The server finds out once it has done what it was sent."""
        for client in self._clients:
            client.transport.abort()

    def refuse(self) -> None:
        """Reset every connection, and each new one until ``accept``."""
        self._refuses = True
        self.cut()

    def accept(self) -> None:
        self._refuses = False

    async def done(self) -> None:
        """Wait until the server has closed the connections that were cut."""
        while self._connections:
            await asyncio.wait(self._connections)

    async def _accept(self, client_reader: StreamReader, client: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._clients.add(client)
        try:
            if self._refuses:
                raise ConnectionRefusedError
            reader, server = await self._connect()
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._directions["requests"].carry(client_reader, server))
                    await self._directions["replies"].carry(reader, client)
                    # A server that has gone takes nothing more.
                    client.close()
            finally:
                server.close()
        except OSError:
            client.transport.abort()
        finally:
            self._clients.discard(client)
            self._connections.discard(task)
            client.close()

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        target = urlsplit(self.target)
        match target.scheme:
            case "unix":
                return await asyncio.open_unix_connection(unquote(target.path))
            case "postgresql":
                return await asyncio.open_unix_connection(f"{parse_qs(target.query)['host'][0]}/.s.PGSQL.5432")
            case _:
                return await asyncio.open_connection(target.hostname, target.port)


class Direction:
    """The weather for what travels one way, over all connections."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.bytes_per_s = math.inf
        self.flows = asyncio.Event()
        self.flows.set()
        self.stuck = asyncio.Event()

    def hold(self) -> None:
        self.flows.clear()
        self.stuck.clear()

    async def carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Pass on what arrives until the sender ends; then, when all of it has been, so does this."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT_CHUNKS_MAX)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._depart(reader, chunks))
            both.create_task(self._arrive(chunks, writer))

    async def _depart(self, reader: StreamReader, chunks: asyncio.Queue[tuple[float, bytes]]) -> None:
        now = asyncio.get_running_loop().time
        data = b"something"
        while data:
            try:
                data = await reader.read(CHUNK_BYTES)
            except ConnectionError:
                data = b""
            await chunks.put((now() + self.delay_s, data))
            await asyncio.sleep(len(data) / self.bytes_per_s)

    async def _arrive(self, chunks: asyncio.Queue[tuple[float, bytes]], writer: StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        while True:
            due, data = await chunks.get()
            if (wait_s := due - now()) > 0:
                await asyncio.sleep(wait_s)
            if not data:
                break
            self.stuck.set()
            await self.flows.wait()
            with suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
        with suppress(OSError, RuntimeError):
            writer.write_eof()
