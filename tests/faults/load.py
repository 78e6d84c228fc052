"""People who write and read while the cluster fails under them, and come back as the documentation tells them to.

A lane does one thing after another. What was not answered, or answered "later", it asks again under the same operation
id, until it is; only some creations have none, and of these an outcome can stay unknown.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any, Final, NamedTuple, Protocol

from msgspec import Struct

from tests.faults.history import Method, Read, Record, Wrote, brief
from tests.site import Answered, Lost, Site, Socket, host_token

KINDS: Final = ("like", "laugh", "love")
"""Of reactions; each lane of a person has one."""
BACKOFF_S: Final = 0.05
BACKOFF_MAX_S: Final = 1.0
GIVE_UP_S: Final = 40.0
REPEATED: Final = 5
"""Of a lane's last creations, those that it may ask for again."""

Sites = Callable[[Random], Site]
"""Some machine of the cluster, dead ones among them for as long as nobody has noticed."""


class Operation(Struct, frozen=True):
    """One write, so that it can be asked again."""

    method: Method
    post: str
    op: str | None = None
    comment: str = ""
    body: str = ""
    kind: str = ""
    amount: int = 0


class Backoff:
    """How long to wait before one tries again: at first hardly, then longer, never the same as the others."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._next_s = BACKOFF_S

    def reset(self) -> None:
        self._next_s = BACKOFF_S

    async def wait(self, at_least_s: float = 0.0) -> None:
        await asyncio.sleep(max(at_least_s, self._rng.uniform(0.0, self._next_s)))
        self._next_s = min(self._next_s * 2, BACKOFF_MAX_S)


# -- ways to ask ------------------------------------------------------------------------------------------------------


class Way(Protocol):
    """How things are asked. All raise ``Lost`` and ``Answered``."""

    async def write(self, operation: Operation) -> Any: ...

    async def read_post(self, post: str) -> Any: ...

    async def read_comment(self, post: str, comment: str) -> Any: ...


class OverWebSocket:
    """A WebSocket that comes back, at another machine perhaps, for as long as ``run`` runs."""

    def __init__(self, sites: Sites, token: str, rng: Random) -> None:
        self._sites = sites
        self._token = token
        self._rng = rng
        self._socket: Socket | None = None
        self._up = asyncio.Event()

    async def run(self) -> None:
        backoff = Backoff(self._rng)
        while True:
            with suppress(Lost, Answered):
                async with self._sites(self._rng).socket(self._token) as self._socket:
                    backoff.reset()
                    self._up.set()
                    await self._socket.ended.wait()
            self._up.clear()
            await backoff.wait()

    async def write(self, operation: Operation) -> Any:
        asked: dict[str, Any] = {"post": operation.post}
        for name in ("op", "comment", "body", "kind"):
            if value := getattr(operation, name):
                asked[name] = value
        match operation.method:
            case "react":
                return await self._call("react", asked | {"on": bool(operation.amount)})
            case "applaud":
                return await self._call("applaud", asked | {"total": operation.amount})
            case "create" | "edit" | "delete":
                return await self._call(f"comment.{operation.method}", asked)

    async def read_post(self, post: str) -> Any:
        return await self._call("post.get", {"post": post})

    async def read_comment(self, post: str, comment: str) -> Any:
        return await self._call("comment.get", {"post": post, "comment": comment})

    async def _call(self, method: str, data: Any) -> Any:
        await self._up.wait()
        assert self._socket is not None
        socket = self._socket
        try:
            return await socket.call(method, data)
        except Lost:
            # Also for want of an answer: who would wait for the ping to fail waits for half a minute.
            socket.abandon()
            raise


class OverHttp:
    """A request each; after one that failed, the next goes to any machine, as a load balancer has it."""

    def __init__(self, sites: Sites, token: str, rng: Random) -> None:
        self._sites = sites
        self._token = token
        self._rng = rng
        self._site: Site | None = None

    async def write(self, operation: Operation) -> Any:
        post = f"/v1/posts/{operation.post}"
        comment = f"{post}/comments/{operation.comment}"
        match operation.method:
            case "create":
                return await self._request("POST", f"{post}/comments", {"body": operation.body}, operation.op)
            case "edit":
                return await self._request("PATCH", comment, {"body": operation.body}, operation.op)
            case "delete":
                return await self._request("DELETE", comment, None, operation.op)
            case "react":
                target = comment if operation.comment else post
                return await self._request(
                    "PUT" if operation.amount else "DELETE", f"{target}/reactions/{operation.kind}"
                )
            case "applaud":
                return await self._request("PUT", f"{post}/applause", {"total": operation.amount})

    async def read_post(self, post: str) -> Any:
        return await self._request("GET", f"/v1/posts/{post}")

    async def read_comment(self, post: str, comment: str) -> Any:
        return await self._request("GET", f"/v1/posts/{post}/comments/{comment}")

    async def _request(self, method: str, path: str, body: Any = None, op: str | None = None) -> Any:
        site = self._site = self._site or self._sites(self._rng)
        try:
            return await site.request(method, path, body, token=self._token, op=op)
        except (Lost, Answered):
            self._site = None
            raise


# -- lanes ------------------------------------------------------------------------------------------------------------


class Scribe(NamedTuple):
    """Where a lane writes down what it sees, and by which clock."""

    note: Callable[[Record], None]
    clock: Callable[[], float]


class Lane:
    """One thing after another, by one person."""

    def __init__(
        self,
        name: str,
        person: str,
        kind: str,
        posts: Sequence[str],
        way: Way,
        scribe: Scribe,
        rng: Random,
        *,
        applauds: bool,
    ) -> None:
        self._name = name
        self._person = person
        self._kind = kind
        self._posts = posts
        self._way = way
        self._scribe = scribe
        self._rng = rng
        self._applauds = applauds
        self._numbers = count(1)
        self._created: list[tuple[Operation, str]] = []
        """With the id of the comment; not those that were deleted."""

    async def run(self, stopping: asyncio.Event, pause_s: float) -> None:
        """Do things, with ``pause_s`` between two of them on average, until ``stopping``; finish the last."""
        while not stopping.is_set():
            await asyncio.sleep(self._rng.expovariate(1 / pause_s))
            await self._step()

    async def _step(self) -> None:
        choice = self._rng.random()
        if choice < 0.08:
            await self._read_post(self._rng.choice(self._posts))
        elif choice < 0.16 and self._created:
            await self._read_comment(*self._rng.choice(self._created))
        elif choice < 0.20 and self._created:
            operation, _ = self._rng.choice(self._created[-REPEATED:])
            if operation.op is not None:
                await self.write(operation, again=True)
        else:
            await self.write(self._next())

    def _next(self) -> Operation:
        number = next(self._numbers)
        op, choice = f"{self._name}-{number}", self._rng.random()
        post = self._rng.choice(self._posts)
        if choice < 0.15:
            return Operation("react", post, op, kind=self._kind, amount=int(self._rng.random() < 0.7))
        if choice < 0.20 and self._applauds:
            return Operation("applaud", post, op, amount=self._rng.randint(0, 50))
        if choice < 0.60 or not self._created:
            keyed = self._rng.random() < 0.85
            return Operation("create", post, op if keyed else None, body=f"written by {op}")
        index = self._rng.randrange(len(self._created))
        written, comment = self._created[index]
        if choice < 0.80:
            return Operation("edit", written.post, op, comment, body=f"{written.body}, edited by {op}")
        if choice < 0.85:
            # Nobody asks about it after that.
            self._created.pop(index)
            return Operation("delete", written.post, op, comment)
        amount, kind = int(self._rng.random() < 0.7), self._rng.choice(KINDS)
        return Operation("react", written.post, op, comment, kind=kind, amount=amount)

    async def write(self, operation: Operation, *, again: bool = False) -> None:
        """Ask until it is answered, and write down how that went."""
        began, unanswered, backoff = self._scribe.clock(), 0, Backoff(self._rng)
        answer: Any = None
        outcome, code = "acknowledged", ""
        while True:
            try:
                answer = await self._way.write(operation)
                break
            except Lost:
                unanswered += 1
                wait_s = 0.0
            except Answered as error:
                if not error.temporary:
                    outcome, code = "refused", error.code
                    break
                # "Overloaded" promises that nothing was done.
                unanswered += error.code == "unavailable"
                wait_s = error.retry_after_s
            if unanswered and operation.op is None:
                outcome = "unknown"
                break
            if self._scribe.clock() - began > GIVE_UP_S:
                outcome, code = "refused", "it never was answered"
                break
            await backoff.wait(wait_s)
        self._record(operation, began, outcome, code, unanswered, answer or {}, again)

    def _record(
        self,
        operation: Operation,
        began: float,
        outcome: Any,
        code: str,
        unanswered: int,
        answer: dict[str, Any],
        again: bool,
    ) -> None:
        comments = operation.method in ("create", "edit", "delete")
        comment = str(answer.get("id", "")) if operation.method == "create" else operation.comment
        wrote = Wrote(
            lane=self._name,
            person=self._person,
            post=operation.post,
            method=operation.method,
            began=began,
            ended=self._scribe.clock(),
            outcome=outcome,
            comment=comment,
            body=brief(operation.body),
            kind=operation.kind,
            amount=operation.amount,
            offset=answer.get("offset", 0) if comments and not again else 0,
            again=again,
            unanswered=unanswered,
            code=code,
        )
        self._scribe.note(wrote)
        if operation.method == "create" and outcome == "acknowledged" and not again:
            self._created.append((operation, comment))

    async def _read_post(self, post: str) -> None:
        began = self._scribe.clock()
        with suppress(Lost, Answered):
            shown = await self._way.read_post(post)
            self._scribe.note(
                Read(
                    post=post,
                    began=began,
                    ended=self._scribe.clock(),
                    comments=shown["counters"]["comments"],
                    offset=int(shown["cursor"].rpartition("-")[2]),
                )
            )

    async def _read_comment(self, written: Operation, comment: str) -> None:
        began = self._scribe.clock()
        with suppress(Lost, Answered):
            shown = await self._way.read_comment(written.post, comment)
            self._scribe.note(
                Read(
                    post=written.post,
                    began=began,
                    ended=self._scribe.clock(),
                    comment=comment,
                    body=brief(shown["body"]),
                    deleted=shown["state"] == "deleted",
                )
            )


class Crowd(Struct, frozen=True):
    """Lanes, and the connections that they speak over."""

    lanes: list[Lane]
    sockets: list[OverWebSocket]


async def crowd(site: Site, sites: Sites, posts: Sequence[str], people: int, scribe: Scribe, rng: Random) -> Crowd:
    """``people`` with a lane for each kind of reaction, every other of them over HTTP."""
    lanes: list[Lane] = []
    sockets: list[OverWebSocket] = []
    for number in range(people):
        user = 100 + number
        token, own = host_token(user), Random(rng.random())
        person = str((await site.request("GET", "/v1/me", token=token))["id"])
        way: Way = OverHttp(sites, token, own)
        if number % 2 == 0:
            way = OverWebSocket(sites, token, own)
            sockets.append(way)
        for kind in KINDS:
            name = f"{user}-{kind}"
            lanes.append(Lane(name, person, kind, posts, way, scribe, own, applauds=kind == KINDS[0]))
    return Crowd(lanes, sockets)
