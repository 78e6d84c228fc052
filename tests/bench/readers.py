"""Readers over kept connections of HTTP/1.1, with one request in flight each, who compare each answer with its due.

Requests are prebuilt, and of an answer no more is looked at than is needed: what the generator spends, it cannot offer.
"""

import asyncio
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Final, Protocol, cast

OPEN_TIMEOUT_S = 10.0
DRAIN_TIMEOUT_S = 10.0
_OK: Final = b"HTTP/1.1 200 OK\r\n"
_TYPE: Final = b"\r\nContent-Type: application/json"
_LENGTH: Final = b"\r\nContent-Length: "


class Wrong(Exception):
    """An answer is not what it has to be: there is no result."""


class Expectation(Protocol):
    def known(self) -> int:
        """What is known when a request is sent."""
        ...

    def right(self, body: bytes, known: int) -> bool:
        """Whether ``body`` may be the answer to a request that was sent when so much was known."""
        ...


class Same:
    """Always the same bytes."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def known(self) -> int:
        return 0

    def right(self, body: bytes, known: int) -> bool:
        return body == self.body


class AtLeast:
    """Nothing older than what had been acknowledged when it was asked for: the number after ``mark`` tells."""

    def __init__(self, mark: bytes) -> None:
        self.acknowledged = 0
        self._mark = mark

    def known(self) -> int:
        return self.acknowledged

    def right(self, body: bytes, known: int) -> bool:
        return self.number(body) >= known

    def number(self, body: bytes) -> int:
        """The number that ``body`` has; -1 if none."""
        _, mark, after = body.rpartition(self._mark)
        return int(after.partition(b",")[0]) if mark else -1


class Question:
    """Something to read, and what is to be answered each time."""

    def __init__(self, path: str, expected: Expectation, *, token: str | None = None) -> None:
        self.expected = expected
        signed = f"Authorization: Bearer {token}\r\n" if token else ""
        self.request = (
            f"GET {path} HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nAccept: application/json\r\n"
            f"Accept-Encoding: gzip, deflate\r\n{signed}\r\n"
        ).encode()


class Reader(asyncio.Protocol):
    """One connection, which asks again as soon as it is answered, from ``begin`` until ``end``."""

    def __init__(self) -> None:
        self.latencies_s = array("d")
        self.error: str | None = None
        self.idle = asyncio.Event()
        self.idle.set()
        self.closed = asyncio.Event()
        self._question: Question
        self._going = False
        self._buffer = b""
        self._asked_at = 0.0
        self._known = 0
        self._transport: asyncio.Transport

    def begin(self, question: Question) -> None:
        self._question, self._going = question, True
        self.idle.clear()
        self._ask()

    def end(self) -> None:
        """Ask no more; ``idle`` once what was asked is answered."""
        self._going = False

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.idle.is_set():
            self._fail(f"the connection was closed: {error}")
        self.closed.set()

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        head_bytes = data.find(b"\r\n\r\n")
        if head_bytes < 0 or len(data) < (end := head_bytes + 4 + _length(data, head_bytes)):
            self._buffer = data
            return
        self._buffer = b""
        self.latencies_s.append(perf_counter() - self._asked_at)
        if len(data) > end or not self._is_right(data, head_bytes):
            self._fail(f"a wrong answer: {data[:1_000]!r}")
        elif self._going:
            self._ask()
        else:
            self.idle.set()

    def _ask(self) -> None:
        self._known = self._question.expected.known()
        self._asked_at = perf_counter()
        self._transport.write(self._question.request)

    def _is_right(self, data: bytes, head_bytes: int) -> bool:
        return (
            data.startswith(_OK)
            and data.find(_TYPE, 0, head_bytes) > 0
            and self._question.expected.right(data[head_bytes + 4 :], self._known)
        )

    def _fail(self, error: str) -> None:
        self._going = False
        self.error = self.error or error
        self.idle.set()


def _length(data: bytes, head_bytes: int) -> int:
    """The bytes of the body that the head says will come; 0 if it does not say."""
    at = data.find(_LENGTH, 0, head_bytes) + len(_LENGTH)
    return 0 if at < len(_LENGTH) else int(data[at : data.index(b"\r", at)])


class Readers:
    """Connections to one server."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = readers

    async def ask(self, question: Question, seconds: float) -> list[float]:
        """Keep all asking for so long, and wait for what is on its way; seconds until each answer, ascending.

        Raises:
            Wrong: An answer is, or does not come.
        """
        for reader in self._readers:
            reader.latencies_s = array("d")
            reader.begin(question)
        await asyncio.sleep(seconds)
        for reader in self._readers:
            reader.end()
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                for reader in self._readers:
                    await reader.idle.wait()
        except TimeoutError:
            raise Wrong("an answer did not come") from None
        for reader in self._readers:
            if reader.error is not None:
                raise Wrong(reader.error)
        return sorted(latency_s for reader in self._readers for latency_s in reader.latencies_s)


@asynccontextmanager
async def reading(port: int, connections: int) -> AsyncIterator[Readers]:
    """So many connections to the loopback's ``port``."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(OPEN_TIMEOUT_S):
        readers = [(await loop.create_connection(Reader, "127.0.0.1", port))[1] for _ in range(connections)]
    try:
        yield Readers(readers)
    finally:
        for reader in readers:
            reader.close()
        for reader in readers:
            await reader.closed.wait()
