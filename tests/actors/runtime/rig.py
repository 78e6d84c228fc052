"""The one helper of the runtime's tests that knows its interface: a node on a store in memory, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from actors.keys import post_key, slot_of, user_key
from actors.policy import Policy
from actors.runtime.env import Env
from actors.runtime.metrics import Metrics
from actors.runtime.node import Node
from protocol.accounts import CreateAccount
from protocol.commands import (
    Command,
    CreateComment,
    CreatePost,
    DeleteComment,
    EditComment,
    Person,
    React,
    ReadComment,
    ReadComments,
    ReadPost,
)
from protocol.errors import DomainError
from protocol.graph import GraphCommand, ReadRelationships
from protocol.views import CommentPage, PostView
from store.memory import CallFault, Held, MemoryStore
from store.memory_exchange import MemoryExchange
from store.rows import CommentRow, FanoutRow, OutboxRow

STARTED_AT_S = 1_770_000_000.0
POST = 7
ANN = Person(id=1, handle="ann", name="Ann", role="author", viewer=101)
BOB = Person(id=2, handle="bob", name="Bob", viewer=102)
CID = Person(id=3, handle="cid", name="Cid", viewer=103)
MOD = Person(id=9, handle="mod", name="Mod", role="moderator", viewer=109)


class Clock:
    """Seconds since 1970: virtual time, and the jumps that a test makes."""

    def __init__(self) -> None:
        self._jumped_s = 0.0

    def __call__(self) -> float:
        return STARTED_AT_S + self._jumped_s + asyncio.get_running_loop().time()

    def jump(self, seconds: float) -> None:
        self._jumped_s += seconds


class Monotonic:
    """Seconds that never go back; ``pause`` is a suspension of the process."""

    def __init__(self) -> None:
        self._paused_s = 0.0

    def __call__(self) -> float:
        return self._paused_s + asyncio.get_running_loop().time()

    def pause(self, seconds: float) -> None:
        self._paused_s += seconds


class Asked:
    """A command on its way: the answers that came, in ``answers``; more than one is a defect."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self._came = asyncio.Event()

    def reply(self, answer: Any) -> None:
        self.answers.append(answer)
        self._came.set()

    @property
    def pending(self) -> bool:
        return not self.answers

    async def answer(self) -> Any:
        """The answer; a ``DomainError`` is returned, not raised."""
        async with asyncio.timeout(60):
            await self._came.wait()
        assert len(self.answers) == 1
        answer = self.answers[0]
        return msgspec.json.decode(answer) if isinstance(answer, msgspec.Raw) else answer

    async def code(self) -> str:
        answer = await self.answer()
        assert isinstance(answer, DomainError), answer
        return answer.code


class Rig:
    """``node`` on ``store``. Words for what a client does; ``ask`` waits for an answer, ``send`` does not."""

    def __init__(self, store: MemoryStore, clock: Clock, policy: Policy, exchange: MemoryExchange | None) -> None:
        self.store = store
        self.exchange = exchange
        self.clock = clock
        self.monotonic = Monotonic()
        self.policy = policy
        self.registry = CollectorRegistry()
        self.node: Node
        self._stack = AsyncExitStack()

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        *,
        store: MemoryStore | None = None,
        clock: Clock | None = None,
        seed: int = 1,
        policy: Policy | None = None,
        exchange: MemoryExchange | None = None,
    ) -> AsyncIterator["Rig"]:
        """A started node; on a new store, with one published post."""
        clock = clock or Clock()
        rig = cls(store or MemoryStore(clock), clock, policy or Policy(), exchange)
        env = Env(clock=clock, monotonic=rig.monotonic, rng=Random(seed))
        running = Node.running(
            *(rig.store, env, rig.policy, Metrics(rig.registry)),
            node=f"node {seed}",
            exchange=exchange,
            site_url="https://example.org/",
        )
        rig.node = await rig._stack.enter_async_context(running)
        try:
            if store is None:
                await rig.account(ANN, BOB, CID, MOD)
                await rig.ask(CreatePost(post=str(POST), title="A post", body="Words"), ANN)
                await rig.fanned_out()
            yield rig
        finally:
            await rig.stop()

    async def stop(self) -> None:
        await self._stack.aclose()

    async def account(self, *people: Person) -> None:
        for person in people:
            create = CreateAccount(account=person.id, kind="member", handle=person.handle, name=person.name)
            await self.node.ask(user_key(person.id), create, person)

    # -- commands

    async def ask(self, command: Command, by: Person = BOB, op: str | None = None) -> Any:
        async with asyncio.timeout(60):
            return await self.node.ask(self._key(command, by), command, by, op)

    def send(self, command: Command, by: Person = BOB, op: str | None = None) -> Asked:
        asked = Asked()
        self.node.submit(self._key(command, by), command, by, op, asked.reply)
        return asked

    def _key(self, command: Command, by: Person) -> str:
        if isinstance(command, GraphCommand | ReadRelationships):
            return user_key(by.id)
        post, account = getattr(command, "post", None), getattr(command, "account", 0)
        return post_key(post) if post is not None else user_key(account)

    async def page(self, by: Person = BOB, post: int = POST) -> CommentPage:
        page = await self.ask(ReadComments(post=str(post), order="oldest", limit=200), by)
        assert isinstance(page, CommentPage)
        return page

    async def comments(self, by: Person = BOB, post: int = POST) -> list[dict[str, Any]]:
        return [msgspec.json.decode(node.comment) for node in (await self.page(by, post)).comments]

    async def bodies(self, by: Person = BOB, post: int = POST) -> list[str]:
        return [comment["body"] for comment in await self.comments(by, post)]

    async def read_post(self, by: Person = BOB, post: int = POST) -> PostView:
        view = await self.ask(ReadPost(post=str(post)), by)
        assert isinstance(view, PostView)
        return view

    # -- the store

    def stored(self, post: int = POST) -> list[str]:
        return [row.body for row in self.store.rows(CommentRow) if row.post_id == post]

    def fault(self, fault: CallFault) -> None:
        self.store.faults.append(fault)

    def hold(self, method: str = "commit") -> asyncio.Event:
        """The next call of ``method`` waits for the event."""
        until = asyncio.Event()
        self.fault(Held(method, until))
        return until

    async def fanned_out(self) -> None:
        """Let every post come into the timelines that it belongs in, and every message arrive."""
        while [*self.store.rows(FanoutRow), *self.store.rows(OutboxRow)]:
            await asyncio.sleep(0.01)

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(50):
            await asyncio.sleep(0)


def say(body: str, *, post: int = POST, parent: str | None = None) -> CreateComment:
    return CreateComment(post=str(post), body=body, parent=parent)


def edit(comment: str, body: str, *, post: int = POST) -> EditComment:
    return EditComment(post=str(post), comment=comment, body=body)


def delete(comment: str, *, post: int = POST) -> DeleteComment:
    return DeleteComment(post=str(post), comment=comment)


def read(comment: str, *, post: int = POST) -> ReadComment:
    return ReadComment(post=str(post), comment=comment)


def react(on: bool = True, *, comment: str | None = None, post: int = POST) -> React:
    return React(post=str(post), kind="like", on=on, comment=comment)


def other_post_of_slot(slot: int, *, beside: Sequence[int] = ()) -> int:
    """A post's id that falls into ``slot``."""
    return next(id for id in range(1_000, 1_000_000) if slot_of(post_key(id)) == slot and id not in beside)
