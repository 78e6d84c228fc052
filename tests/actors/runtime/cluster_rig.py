"""Several nodes on one store and one bus in memory, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from actors.keys import SLOTS, post_key, slot_of, user_key
from actors.policy import Policy
from actors.runtime.env import Env
from actors.runtime.metrics import BusFigures, Metrics
from actors.runtime.node import Node
from protocol.accounts import CreateAccount
from protocol.commands import CreatePost, Person, PostCommand
from store.memory import MemoryStore
from store.memory_bus import Broker
from tests.actors.runtime.rig import ANN, BOB, CID, MOD, Clock, Monotonic


class Member:
    """One node of a cluster, with its own clock that can be held, and its own end."""

    def __init__(self, name: str, store: MemoryStore, broker: Broker, clock: Clock, seed: int, replaces: bool) -> None:
        self.name = name
        self.monotonic = Monotonic()
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        env = Env(clock=clock, monotonic=self.monotonic, rng=Random(seed))
        bus = broker.bus(name, BusFigures(metrics), may_be_away=replaces)
        self._running = Node.running(store, env, Policy(), metrics, node=name, bus=bus, replaces=replaces)
        self._stack = AsyncExitStack()
        self.node: Node

    async def start(self) -> None:
        self.node = await self._stack.enter_async_context(self._running)

    async def stop(self) -> None:
        await self.node.hand_over()
        await self._stack.aclose()

    def figure(self, name: str) -> float:
        """A sample of the node's metrics, by its full name."""
        return self.registry.get_sample_value(name) or 0.0


class Cluster:
    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self.broker = Broker()
        self.members: list[Member] = []
        self._started = 0

    async def join(self, *, replaces: bool = False) -> Member:
        """One more node; or one that ``replaces`` another."""
        self._started += 1
        member = Member(f"node {self._started}", self.store, self.broker, self.clock, self._started, replaces)
        await member.start()
        self.members.append(member)
        return member

    async def leave(self, member: Member) -> None:
        self.members.remove(member)
        await member.stop()

    async def balanced(self) -> None:
        """Wait until every slot has an owner, and each member a share."""
        async with asyncio.timeout(30):
            while not all(await self._shares()):
                await asyncio.sleep(0.1)

    async def _shares(self) -> list[bool]:
        owners = await self.store.owners()
        held = [owner for owner, _ in owners.slots.values()]
        least = SLOTS // len(self.members) // 2
        return [len(held) == SLOTS, *(held.count(worker.id) >= least for worker in owners.live)]

    async def owner_of(self, post: int) -> Member:
        owner, _ = (await self.store.owners()).slots[slot_of(post_key(post))]
        return next(member for member in self.members if member.node.worker().id == str(owner))

    async def other_than(self, member: Member) -> Member:
        return next(each for each in self.members if each is not member)

    async def stop(self) -> None:
        for member in list(self.members):
            await self.leave(member)


@asynccontextmanager
async def cluster(nodes: int) -> AsyncIterator[Cluster]:
    """``nodes`` nodes that share the slots, and four people with accounts."""
    running = Cluster()
    try:
        for _ in range(nodes):
            await running.join()
        await running.balanced()
        for person in (ANN, BOB, CID, MOD):
            create = CreateAccount(account=person.id, kind="member", handle=person.handle, name=person.name)
            await running.members[0].node.ask(user_key(person.id), create, person)
        yield running
    finally:
        await running.stop()


async def make_posts(member: Member, posts: Sequence[int]) -> None:
    for post in posts:
        await ask(member, CreatePost(post=str(post), title=f"Post {post}"), ANN)


async def ask(member: Member, command: PostCommand, by: Person = BOB, op: str | None = None) -> Any:
    """Ask through the node of ``member``, whoever owns the post."""
    async with asyncio.timeout(60):
        return await member.node.ask(post_key(command.post), command, by, op)
