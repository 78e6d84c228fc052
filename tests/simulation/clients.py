"""Simulated people: each writes, reads and follows through connections to whatever worker is up, and keeps a record.

A person has one write on its way at a time and repeats it, with the same operation id, until it is answered; so what
has to be stored in the end is known exactly.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from actors.runtime.draining import SLOW_AFTER_S
from actors.runtime.streams import resolve
from protocol.commands import Command, Person
from protocol.cursor import parse_cursor
from protocol.errors import ERRORS
from protocol.views import CommentPage
from tests.simulation.accounts import Accounts, NoAnswer
from tests.simulation.edge import Connection, PushForm, Wire, shown_in
from tests.simulation.loop import Host, SimulatedLoop
from tests.simulation.oracles import Journal, Shown

THINKS_S = 0.35
"""The mean time between two things that a person does."""
PATIENCE_S = (1.0, 4.0)
"""How long a person waits for an answer before it asks again, perhaps elsewhere."""
PAGE = 200
RESET = 1006
"""What a browser reports of a connection that ended without a word."""
_CODES = {meaning.number: code for code, meaning in ERRORS.items()}


class Worker(Protocol):
    """A worker as its clients see it."""

    host: Host

    def accept(self, client: "Client", out: Wire, closed: Callable[[int], None]) -> Connection | None:
        """A new connection; None if the worker takes none."""
        ...

    def hang_up(self, connection: Connection) -> None: ...

    def request(
        self, client: "Client", key: str, command: Command, by: Person, op: str | None, answered: Callable[[Any], None]
    ) -> None:
        """One request that has a connection of its own; who is away, or ends meanwhile, answers nothing."""
        ...


class Error(Struct):
    code: int
    message: str
    temporary: bool = False


class Publication(Struct):
    data: Raw
    offset: int | None = None


class Push(Struct):
    channel: str
    pub: Publication


class Subscribed(Struct):
    epoch: str
    offset: int = 0
    was_recovering: bool = False
    recovered: bool = False
    publications: list[Publication] = []
    data: Raw = Raw(b"null")


class Rpc(Struct):
    data: Raw


class Heard(Struct):
    """One line from the server."""

    id: int = 0
    error: Error | None = None
    push: Push | None = None
    subscribe: Subscribed | None = None
    rpc: Rpc | None = None


class Changed(Struct):
    type: str
    comment: Raw = Raw(b"null")
    version: int = 0
    counters: dict[str, Any] = {}


class Acknowledged(Struct):
    id: str | None = None
    offset: int | None = None
    version: int | None = None


class Denied(Exception):
    """The server says no."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.code = _CODES[error.code]
        self.temporary = error.temporary


class Following:
    """What one person has of one post: its position on the stream, and what the stream told so far."""

    def __init__(self, post: int, who: str, journal: Journal) -> None:
        self.post = post
        self.channel = f"post:{post}"
        self.epoch = ""
        self.offset = 0
        self.comments: dict[int, Shown] = {}
        self.counters: dict[str, Any] = {}
        self.counters_version = 0
        self._who = who
        self._journal = journal

    def loaded(self, page: CommentPage) -> None:
        """Begin anew from a page."""
        cursor = parse_cursor(page.cursor)
        assert cursor is not None
        self.epoch, self.offset = cursor.epoch, cursor.offset
        self.comments = {shown.id: shown for node in page.comments if (shown := shown_in(node.comment))}

    def heard(self, publication: Publication) -> None:
        changed = msgspec.json.decode(publication.data, type=Changed)
        if publication.offset is not None:
            self._advance(publication.offset, changed)
        elif changed.type == "counters":
            self.count(changed)

    def count(self, changed: Changed) -> None:
        """Counters carry their version; an older one is dropped."""
        journal = self._journal
        journal.acknowledged(self.post, None, changed.version, f"counters to {self._who}")
        if changed.version >= self.counters_version:
            self.counters_version, self.counters = changed.version, changed.counters

    def _advance(self, offset: int, changed: Changed) -> None:
        journal, post = self._journal, self._journal.posts[self.post]
        where = f"the stream of post {self.post} to {self._who}"
        journal.require(offset > self.offset, f"{where}: offset {offset} after {self.offset}")
        passed_by = post.passed_by(self.offset, offset)
        journal.require(not passed_by, f"{where}: {passed_by} passed by between {self.offset} and {offset}")
        self.offset = offset
        if changed.type == "comment":
            shown = shown_in(changed.comment)
            journal.shown(self.post, [shown], where)
            self.comments[shown.id] = shown


class Wanted(Struct):
    """What one comment must be in the end, once everything was answered."""

    post: int
    id: int
    body: str
    deleted: bool = False
    certain: bool = True
    """False after an answer that never came and could not be asked for again."""


class Client:
    """One person with one connection. Once ``finishing`` it asks for nothing new, and only follows."""

    def __init__(
        self, loop: SimulatedLoop, host: Host, by: Person, rng: Random, journal: Journal, posts: list[int],
        pick: Callable[[Random], Worker | None], form: PushForm, trace: Callable[..., None],
    ) -> None:  # fmt: skip
        self.by = by
        self.host = host
        self.finishing = False
        self.finished = False
        self.following = {f"post:{post}": Following(post, by.handle, journal) for post in posts}
        self.comments: list[Wanted] = []
        self.reactions: dict[tuple[int, str], int | None] = {}
        """What this person gave to a post, by kind; None: it is not known."""
        self.said = 0
        self.acknowledged = 0
        self._loop = loop
        self._rng = rng
        self._journal = journal
        self._posts = posts
        self._pick = pick
        self._form = form
        self._trace = trace
        self._ops = 0
        self._line = 0
        self._connections = 0
        self._connection: Connection | None = None
        self._up: Wire | None = None
        self._down: Wire | None = None
        self._worker: Worker | None = None
        self._waiting: dict[int, asyncio.Future[Heard]] = {}
        self._subscribed: set[str] = set()
        self.accounts = Accounts(by.id, rng, journal, posts, self._request)

    # -- its life

    async def run(self) -> None:
        while not self.finishing:
            await asyncio.sleep(self._rng.expovariate(1 / THINKS_S))
            await self._act()
        while True:
            await self._follow_all()
            self.finished = True
            await asyncio.sleep(THINKS_S)

    async def _act(self) -> None:
        rng = self._rng
        chance = rng.random()
        if self._connection is None or chance < 0.03:
            self._disconnect()
            await self._follow_all()
        elif chance < 0.06 and self._down is not None:
            self._stall()
        elif chance < 0.08 and self._subscribed:
            await self._look_around()
        elif chance < 0.28:
            await self.accounts.act()
        elif chance < 0.44 or not self._mine():
            await self._comment()
        elif chance < 0.54:
            await self._edit()
        elif chance < 0.60:
            await self._delete()
        elif chance < 0.80:
            await self._react()
        else:
            await self._read()
        if self._connection is not None and len(self._subscribed) < len(self.following):
            await self._follow_all()

    def _stall(self) -> None:
        """Take nothing for a while, now and then for so long that the server hangs up."""
        assert self._down is not None
        self._down.hold()
        seconds = self._rng.random() * (3.0 if self._rng.random() < 0.97 else 2 * SLOW_AFTER_S)
        self._loop.call_later(seconds, self._down.release)

    # -- what it does

    def _mine(self) -> list[Wanted]:
        return [comment for comment in self.comments if comment.certain and not comment.deleted]

    async def _comment(self) -> None:
        self.said += 1
        post, body = self._rng.choice(self._posts), f"{self.by.handle} says {self.said}"
        once = self._rng.random() < 0.15
        answer = await self._write("comment.create", {"post": str(post), "body": body}, once=once)
        if answer is not None:
            assert answer.id is not None
            self.comments.append(Wanted(post, int(answer.id), body))

    async def _edit(self) -> None:
        comment = self._rng.choice(self._mine())
        self.said += 1
        body = f"{self.by.handle} corrects {self.said}"
        edit = {"post": str(comment.post), "comment": str(comment.id), "body": body}
        if await self._write("comment.edit", edit) is not None:
            comment.body = body

    async def _delete(self) -> None:
        comment = self._rng.choice(self._mine())
        if await self._write("comment.delete", {"post": str(comment.post), "comment": str(comment.id)}) is not None:
            comment.deleted, comment.body = True, ""

    async def _react(self) -> None:
        post = self._rng.choice(self._posts)
        if self._rng.random() < 0.6:
            on = not self.reactions.get((post, "like"))
            await self._set((post, "like"), int(on), "react", {"post": str(post), "kind": "like", "on": on})
        else:
            total = self._rng.randrange(51)
            await self._set((post, "applause"), total, "applaud", {"post": str(post), "total": total})

    async def _set(self, target: tuple[int, str], amount: int, method: str, data: dict[str, Any]) -> None:
        once = self._rng.random() < 0.3
        done = await self._write(method, data, once=once) is not None
        # What was asked without an operation id and not answered may still be done at any later time.
        if not done or self.reactions.get(target, 0) is None:
            self.reactions[target] = None
        else:
            self.reactions[target] = amount

    async def _read(self) -> None:
        post = self._rng.choice(self._posts)
        journal = self._journal.posts[post]
        floor = journal.acknowledged
        method, data = self._rng.choice(
            (("comment.list", {"post": str(post), "order": "oldest", "limit": PAGE}), ("post.get", {"post": str(post)}))
        )
        try:
            answer = await self._rpc(method, data)
        except (NoAnswer, Denied):
            return
        offset = parse_cursor(msgspec.json.decode(answer, type=dict[str, Any])["cursor"])
        self._journal.require(
            offset is not None and offset.offset >= floor,
            f"{self.by.handle} reads post {post} at {offset}, behind {floor}, which was shown before",
        )

    async def _look_around(self) -> None:
        channel = self._rng.choice(sorted(self._subscribed))
        with suppress(NoAnswer, Denied):
            await self._ask({"presence": {"channel": channel}})

    # -- asking

    async def _request(self, key: str, command: Command, by: Person, op: str | None) -> Any:
        worker = self._pick(self._rng)
        if worker is None:
            raise NoAnswer
        answer: asyncio.Future[Any] = self._loop.create_future()
        worker.request(self, key, command, by, op, partial(resolve, answer))
        try:
            async with asyncio.timeout(self._rng.uniform(*PATIENCE_S)):
                return await answer
        except TimeoutError:
            raise NoAnswer from None

    async def _write(self, method: str, data: dict[str, Any], *, once: bool = False) -> Acknowledged | None:
        """Ask until answered, with an operation id; or, without one, ``once``: None then says that nobody knows."""
        if not once:
            self._ops += 1
            data = {**data, "op": f"op {self._ops}"}
        while True:
            try:
                answer = await self._rpc(method, data, twice=not once and self._rng.random() < 0.05)
                self.acknowledged += 1
                return msgspec.json.decode(answer, type=Acknowledged)
            except NoAnswer:
                if once:
                    return None
            except Denied as error:
                allowed = error.temporary
                self._journal.require(allowed, f"{self.by.handle}: {method} {data} is denied: {error.code}")
                if once:
                    return None
            await asyncio.sleep(self._rng.random() * 0.5)

    async def _rpc(self, method: str, data: dict[str, Any], *, twice: bool = False) -> Raw:
        if self._connection is None:
            await self._connect()
        if twice:
            self._send(self._next_line(), {"rpc": {"method": method, "data": data}})
        heard = await self._ask({"rpc": {"method": method, "data": data}})
        assert heard.rpc is not None
        return heard.rpc.data

    async def _ask(self, command: dict[str, Any]) -> Heard:
        line = self._next_line()
        answer: asyncio.Future[Heard] = self._loop.create_future()
        self._waiting[line] = answer
        self._send(line, command)
        try:
            async with asyncio.timeout(self._rng.uniform(*PATIENCE_S)):
                heard = await answer
        except TimeoutError:
            # Who waits so long tries another worker.
            self._disconnect()
            raise NoAnswer from None
        finally:
            self._waiting.pop(line, None)
        if heard.error is not None:
            raise Denied(heard.error)
        return heard

    def _next_line(self) -> int:
        self._line += 1
        return self._line

    def _send(self, line: int, command: dict[str, Any]) -> None:
        if self._up is None:
            raise NoAnswer
        self._up.write(msgspec.json.encode({"id": line, **command}))

    # -- following

    async def _follow_all(self) -> None:
        """Subscribe to everything; until that is had, if this is the end."""
        while True:
            try:
                if self._connection is None:
                    await self._connect()
                for following in self.following.values():
                    if following.channel not in self._subscribed:
                        await self._follow(following)
                return
            except (NoAnswer, Denied):
                self._disconnect()
                if not self.finishing:
                    return
                await asyncio.sleep(0.2)

    async def _follow(self, following: Following) -> None:
        if not following.epoch:
            page = await self._rpc("comment.list", {"post": str(following.post), "order": "oldest", "limit": PAGE})
            following.loaded(msgspec.json.decode(page, type=CommentPage))
        position = {"epoch": following.epoch, "offset": following.offset}
        # Taken in the very step in which it is heard: what follows it is heard right after.
        await self._ask({"subscribe": {"channel": following.channel, "recover": True, **position}})
        self._subscribed.add(following.channel)

    def _take(self, subscribed: Subscribed, following: Following) -> None:
        self._journal.require(
            subscribed.recovered and subscribed.offset == following.offset,
            f"{self.by.handle} resumes {following.channel} from {following.offset}: {subscribed}",
        )
        for publication in subscribed.publications:
            following.heard(publication)
        following.count(msgspec.json.decode(subscribed.data, type=Changed))

    # -- its connection

    async def _connect(self) -> None:
        worker = self._pick(self._rng)
        if worker is None:
            await asyncio.sleep(0.2)
            raise NoAnswer
        self._connections += 1
        number = self._connections
        self._down = down = Wire(self._loop, self.host, lambda data: self._hear(number, data), self._rng, 0.001)
        connection = worker.accept(self, down, lambda code: self._closed(number, code))
        if connection is None:
            await asyncio.sleep(0.05)
            raise NoAnswer
        self._trace(f"{self.by.handle} connects to {worker.host}")
        self._worker, self._connection = worker, connection
        self._up = Wire(self._loop, worker.host, connection.receive, self._rng, 0.001)
        self._subscribed.clear()
        await self._ask({"connect": {"token": self.by.handle}})

    def _disconnect(self) -> None:
        if self._connection is not None and self._worker is not None:
            self._worker.hang_up(self._connection)
        self._ended()

    def _closed(self, number: int, code: int) -> None:
        """The server, or the network, has ended the connection."""
        if number == self._connections and self._connection is not None:
            self._trace(f"{self.by.handle} is disconnected: {code}")
            self._ended()

    def _ended(self) -> None:
        self._connections += 1
        self._connection = self._up = self._down = self._worker = None
        self._subscribed.clear()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(NoAnswer())

    def connection_lost(self, connection: Connection) -> None:
        """The worker is dead, or the connection is reset."""
        if connection is self._connection:
            self._closed(self._connections, RESET)

    def name(self) -> str | None:
        """How its present connection is called."""
        return None if self._connection is None else self._connection.client

    def caught_up(self) -> bool:
        """Whether it is subscribed to everything, and has heard everything."""
        return all(
            channel in self._subscribed and not self._journal.posts[following.post].passed_by(following.offset)
            for channel, following in self.following.items()
        )

    def _hear(self, number: int, data: bytes) -> None:
        if number != self._connections:
            return
        for line in data.split(b"\n"):
            heard = msgspec.json.decode(line, type=Heard)
            if heard.push is not None:
                self.following[heard.push.channel].heard(heard.push.pub)
            elif heard.id:
                self._answered(heard)

    def _answered(self, heard: Heard) -> None:
        answer = self._waiting.get(heard.id)
        if heard.subscribe is not None:
            channel = heard.subscribe.epoch.partition(":")[2]
            self._take(heard.subscribe, self.following[channel])
        if answer is not None and not answer.done():
            answer.set_result(heard)
