"""A network that fails on request: it stands between a store and Postgres, and cuts or holds what passes."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit


class Proxy:
    """``async with Proxy(url) as proxy:`` passes TCP connections at ``proxy.url`` on to the Unix socket of ``url``."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._clients: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._stuck = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"postgresql://{self._target.username}@127.0.0.1:{port}{self._target.path}?sslmode=disable"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def hold(self) -> None:
        """Keep what clients send; ``stuck`` returns once there is something."""
        self._flows.clear()
        self._stuck.clear()

    async def stuck(self) -> None:
        await self._stuck.wait()

    def release(self) -> None:
        """Deliver what was kept, and hold nothing more."""
        self._flows.set()

    def cut(self) -> None:
        """Every client finds its connection reset. Postgres finds out once it has done what it was sent."""
        for client in self._clients:
            client.transport.abort()

    async def done(self) -> None:
        """Wait until Postgres has closed the connections that were cut."""
        while self._connections:
            await asyncio.wait(self._connections)

    async def _accept(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._clients.add(client)
        socket = f"{parse_qs(self._target.query)['host'][0]}/.s.PGSQL.5432"
        try:
            reader, server = await asyncio.open_unix_connection(socket)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._to_server(client_reader, server))
                    both.create_task(self._to_client(reader, client))
            finally:
                server.close()
        finally:
            self._clients.discard(client)
            self._connections.discard(task)
            client.close()

    async def _to_server(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                self._stuck.set()
                await self._flows.wait()
                server.write(data)
        server.write_eof()

    async def _to_client(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                client.write(data)
        client.close()
