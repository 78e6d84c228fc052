"""Load on one socket, as lean as Python allows: what the generator spends, it cannot offer.

A caller keeps a window of requests in flight. Closed loop: it takes the next request from ``source`` whenever one is
answered. Open loop: requests are handed to it with the time they were due, which is where their latency begins.
"""

import asyncio
import base64
import json
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import cast

from tests.bench.wires import client_frame


class Tally:
    """What a phase has seen, over all its callers."""

    def __init__(self) -> None:
        self.asked = 0
        self.acknowledged = 0
        self.refused: Counter[str] = Counter()
        self.latencies_s = array("d")


class Caller(asyncio.Protocol):
    """One connection with its requests in flight."""

    def __init__(self, tally: Tally, window: int) -> None:
        self.tally = tally
        self.window = window
        self.source: Iterator[bytes] = iter(())
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.drained = asyncio.Event()
        self.drained.set()
        self._buffer = b""
        self._transport: asyncio.Transport

    async def open(self, port: int) -> None:
        """Connect to the loopback, and wait until requests can be sent."""
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
        await self.opened

    @property
    def room(self) -> int:
        raise NotImplementedError

    def ask(self, requests: Sequence[bytes], due: float) -> None:
        """Send ``requests``; at most ``room``."""
        raise NotImplementedError

    def refill(self) -> None:
        """Take from ``source`` what the window has room for."""
        requests = list(islice(self.source, self.room))
        if requests:
            self.ask(requests, perf_counter())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"closed while opening: {error}"))
        if not self.drained.is_set():
            self.tally.refused["connection lost"] += 1
            self.drained.set()

    def close(self) -> None:
        self._transport.close()

    def _answered(self, due: float, error: str | None) -> None:
        if error is None:
            self.tally.acknowledged += 1
            self.tally.latencies_s.append(perf_counter() - due)
        else:
            self.tally.refused[error] += 1


class WebSocketCaller(Caller):
    """Speaks the Centrifuge protocol; a request is the ``rpc`` of a command."""

    def __init__(self, tally: Tally, window: int, token: str) -> None:
        super().__init__(tally, window)
        self._token = token
        self._in_flight: dict[int, float] = {}
        self._last_id = 1
        self._upgraded = False

    @property
    def room(self) -> int:
        return self.window - len(self._in_flight)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /connection/websocket HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def ask(self, requests: Sequence[bytes], due: float) -> None:
        self.tally.asked += len(requests)
        self.drained.clear()
        frames: list[bytes] = []
        for request in requests:
            self._last_id += 1
            self._in_flight[self._last_id] = due
            # The SDKs too send each call in a frame of its own.
            frames.append(client_frame(b'{"id":%d,"rpc":%b}' % (self._last_id, request)))
        self._transport.write(b"".join(frames))

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        if not self._upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self.opened.set_exception(ConnectionError(head.decode(errors="replace")))
                return
            self._upgraded = True
            self._transport.write(client_frame(json.dumps({"id": 1, "connect": {"token": self._token}}).encode()))
        at = 0
        while (end_at := frame_end(data, at)) is not None:
            start, at = end_at
            self._handle(data[start:at])
        self._buffer = data[at:]
        self.refill()
        if not self._in_flight:
            self.drained.set()

    def _handle(self, payload: bytes) -> None:
        for line in payload.split(b"\n"):
            if line == b"{}":
                self._transport.write(client_frame(b"{}"))
                continue
            # Only what is not the plain answer to an RPC is worth decoding: it is rare.
            if (
                line.startswith(b'{"id":')
                and (comma := line.find(b",", 6)) > 0
                and line.startswith(b'"rpc"', comma + 1)
            ):
                self._answered(self._in_flight.pop(int(line[6:comma])), None)
                continue
            self._handle_rare(json.loads(line))

    def _handle_rare(self, reply: dict[str, object]) -> None:
        error = reply.get("error")
        if reply.get("id") == 1:
            if error:
                self.opened.set_exception(ConnectionError(str(error)))
            else:
                self.opened.set_result(None)
        elif "id" in reply:
            self._answered(self._in_flight.pop(int(str(reply["id"]))), str(error))


def frame_end(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at ``at`` begins and ends, if all of it is there."""
    if len(data) < at + 2:
        return None
    size, start = data[at + 1] & 0x7F, at + 2
    if size == 126:
        start = at + 4
        size = int.from_bytes(data[at + 2 : start], "big")
    elif size == 127:
        start = at + 10
        size = int.from_bytes(data[at + 2 : start], "big")
    return (start, start + size) if len(data) >= start + size and start <= len(data) else None


class HttpCaller(Caller):
    """One request at a time over a kept connection; a request is the JSON body of a POST to ``/comments``."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(tally, 1)
        self._due: float | None = None

    @property
    def room(self) -> int:
        return 1 if self._due is None else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.opened.set_result(None)

    def ask(self, requests: Sequence[bytes], due: float) -> None:
        (body,) = requests
        self.tally.asked += 1
        self.drained.clear()
        self._due = due
        self._transport.write(
            b"POST /comments HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        head, end, body = data.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not end or len(body) < int(length or 0):
            self._buffer = data
            return
        self._buffer = b""
        due, self._due = self._due, None
        assert due is not None
        status = head[9:12]
        self._answered(due, None if status == b"201" else status.decode())
        self.refill()
        if self._due is None:
            self.drained.set()
