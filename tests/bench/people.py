"""People who read their timelines and publish, each over a kept connection, and a count of what fails.

A failure is everything but the right answer in time: any status that is not, a connection that ends, more than
``TIMEOUT_S``, a page that is shorter than what there is to see.
"""

import asyncio
import math
from array import array
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from random import Random
from time import perf_counter
from typing import NamedTuple, Self, cast

import msgspec
from msgspec import Struct

from tests.site import host_token

TIMEOUT_S = 20.0
RETRY_S = 1.0
OPEN_AT_ONCE = 64
BODY = "Two sentences and a thought in each are what people write, more often than not."
READS = 0.8
PAGE = 10


class Failed(Exception):
    """Named for how."""


class Post(Struct):
    id: str


class Page(Struct):
    posts: list[Post]


class Session(asyncio.Protocol):
    """A connection of one person; one request at a time."""

    def __init__(self, person: int) -> None:
        self.sign_in(person)
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, person: int, port: int) -> Self:
        _, session = await asyncio.get_running_loop().create_connection(lambda: cls(person), "127.0.0.1", port)
        return session

    def sign_in(self, person: int) -> None:
        """Ask in the name of ``person`` from now on."""
        self._head = f"Host: bench\r\nAuthorization: Bearer {host_token(person, 'author')}\r\n"

    @property
    def connected(self) -> bool:
        return self._transport is not None

    async def page(self, limit: int, expected: int | None = None) -> list[str]:
        """The ids of the newest posts on the timeline; at least ``expected``, by default a full page."""
        status, body = await self._ask(f"GET /v1/timeline?limit={limit} HTTP/1.1\r\n{self._head}\r\n".encode())
        if status != 200:
            raise Failed(f"a read: {_problem(status, body)}")
        posts = msgspec.json.decode(body, type=Page).posts
        if len(posts) < (limit if expected is None else expected):
            raise Failed("empty page" if not posts else "short page")
        return [post.id for post in posts]

    async def publish(self, title: str, *, op: str | None = None) -> str:
        """The id of a new post; with an operation id it is asked for again for as long as the answer is "later"."""
        body = f'{{"title":"{title}","body":"{BODY}"}}'
        key = f"Idempotency-Key: {op}\r\n" if op else ""
        request = (
            f"POST /v1/posts HTTP/1.1\r\n{self._head}{key}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        status, answer = await self._ask(request)
        while status == 503 and op is not None:
            await asyncio.sleep(RETRY_S)
            status, answer = await self._ask(request)
        if status != 201:
            raise Failed(f"a write: {_problem(status, answer)}")
        return msgspec.json.decode(answer, type=Post).id

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        if self._transport is None:
            raise Failed("connection lost")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._answer
        except TimeoutError:
            # What arrives now would be taken for the next answer.
            self._transport.abort()
            self._transport = None
            raise Failed("timeout") from None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Failed("connection lost"))

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        head, end, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if not end or len(body) < length:
            self._buffer = data
            return
        self._buffer = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))


class Feed(asyncio.Protocol):
    """A live feed over Server-Sent Events, of which it is noted when a post arrives."""

    def __init__(self, person: int) -> None:
        authorization = f"Authorization: Bearer {host_token(person, 'author')}"
        self._request = f"GET /v1/feed/events HTTP/1.1\r\nHost: bench\r\n{authorization}\r\n\r\n".encode()
        self._received = b""
        self._expected = b""
        self._arrived: asyncio.Future[float] | None = None
        self._at = 0.0
        self._transport: asyncio.Transport
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, person: int, port: int) -> Self:
        """Raises ``Failed``."""
        _, feed = await asyncio.get_running_loop().create_connection(lambda: cls(person), "127.0.0.1", port)
        async with asyncio.timeout(TIMEOUT_S):
            await feed.opened
        return feed

    def forget(self) -> None:
        """What has arrived so far is not looked at any more."""
        self._received = b""

    async def arrival(self, post: str) -> float:
        """When the post came, by ``perf_counter``; infinite if it does not."""
        self._expected = f'"id":"{post}"'.encode()
        self._arrived = asyncio.get_running_loop().create_future()
        self._look()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._arrived
        except TimeoutError:
            return math.inf

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(Failed("a feed: connection lost"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._at = perf_counter()
        if not self.opened.done() and b"\r\n\r\n" in self._received:
            status = self._received[9:12]
            if status == b"200":
                self.opened.set_result(None)
            else:
                self.opened.set_exception(Failed(f"a feed: {status.decode()}"))
        self._look()

    def _look(self) -> None:
        if self._arrived is not None and not self._arrived.done() and self._expected in self._received:
            self._arrived.set_result(self._at)


def _problem(status: int, body: bytes) -> str:
    """What a problem document (RFC 9457) says, or whatever else came."""
    try:
        return f"{status} {msgspec.json.decode(body)['code']}"
    except (msgspec.DecodeError, KeyError, TypeError):
        return str(status)


async def sessions(people: Sequence[int], port: int) -> list[Session]:
    """One for each of ``people``, in their order; a few are opened at once, as the backlog wants."""
    opened: list[Session] = []
    for start in range(0, len(people), OPEN_AT_ONCE):
        some = people[start : start + OPEN_AT_ONCE]
        opened += await asyncio.gather(*(Session.open(person, port) for person in some))
    return opened


class Spread(NamedTuple):
    """How long something took, in milliseconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        ordered = sorted(seconds)
        if not ordered:
            return cls(0.0, 0.0, 0.0)
        return cls(*(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 0.99)))


class Mix(NamedTuple):
    """What became of reads and writes."""

    rate: float
    """Right answers a second."""
    reads: Spread
    writes: Spread
    failures: dict[str, int]


class Crowd:
    """People who read and write, each what chance says: reads of a page and posts, 8 to 2."""

    def __init__(self, people: Sequence[Session], random: Random, titles: Iterator[str]) -> None:
        """``titles`` that nobody else has: who comes second has to look for another slug."""
        self.asked = 0
        """Reads and writes so far, those to warm up among them."""
        self._people = people
        self._random = random
        self._titles = titles
        self._began = perf_counter()
        self._reads = array("d")
        self._writes = array("d")
        self._failures: Counter[str] = Counter()

    async def saturate(self, seconds: float, warm_up_s: float) -> Mix:
        """Closed loop: each asks again as soon as there is an answer."""
        ends = perf_counter() + warm_up_s + seconds

        async def go_on(person: Session) -> None:
            while person.connected and (now := perf_counter()) < ends:
                await self._act(person, now)

        acting = [asyncio.create_task(go_on(person)) for person in self._people]
        await asyncio.sleep(warm_up_s)
        self._forget()
        await asyncio.gather(*acting)
        return self._mix()

    async def pace(self, rate: float, seconds: float, warm_up_s: float) -> Mix:
        """``rate`` requests a second by whoever is free, whatever comes back; each takes from when it was due."""
        free = deque(self._people)
        began = perf_counter()
        acting: set[asyncio.Task[None]] = set()
        warm = False

        async def act(person: Session, due: float) -> None:
            await self._act(person, due)
            free.append(person)

        for number in range(int(rate * (warm_up_s + seconds))):
            due = began + number / rate
            if not warm and due >= began + warm_up_s:
                warm = True
                self._forget()
            while (early_s := due - perf_counter()) > 0 or not free:
                await asyncio.sleep(max(0.001, early_s))
            task = asyncio.create_task(act(free.popleft(), due))
            acting.add(task)
            task.add_done_callback(acting.discard)
        await asyncio.gather(*acting)
        return self._mix()

    async def _act(self, person: Session, due: float) -> None:
        reads = self._random.random() < READS
        self.asked += 1
        try:
            if reads:
                await person.page(PAGE)
            else:
                await person.publish(next(self._titles))
        except Failed as failure:
            self._failures[str(failure)] += 1
        else:
            (self._reads if reads else self._writes).append(perf_counter() - due)

    def _forget(self) -> None:
        """What was before was to warm up; but failures stay."""
        self._began = perf_counter()
        self._reads, self._writes = array("d"), array("d")

    def _mix(self) -> Mix:
        rate = (len(self._reads) + len(self._writes)) / (perf_counter() - self._began)
        failures = {name: number for name, number in self._failures.items() if number}
        return Mix(rate, Spread.of(self._reads), Spread.of(self._writes), failures)
