"""What is told in one seed: who is in the world, and what must come of it beside what each of them knows."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import permutations
from random import Random
from typing import TYPE_CHECKING, cast

from actors.fanout import FANOUT_ALARM
from actors.keys import post_key, user_key
from actors.runtime import node
from actors.runtime.env import Env, Ids
from store.feeds import Feeds
from store.rows import AlarmRow, FanoutRow
from store.timelines import Timelines
from tests.simulation.commenters import Commenter
from tests.simulation.patching import replaced
from tests.simulation.readers import Reader
from tests.simulation.social import Member, Society
from tests.simulation.social_oracles import SocialJournal
from tests.simulation.watching import WatchedFeeds, WatchedLiveFeeds, WatchedTimelines

if TYPE_CHECKING:
    from tests.simulation.world import World

POSTS = (7, 8, 9)
QUIET = 10
"""A post that is only read."""
COMMENTERS = 4
READERS = 3
"""Who are not signed in."""
MEMBERS = (101, 102, 103, 104)
FOLLOWING = 0.5
"""Of all edges that there could be, those in the beginning."""
HELD_UP_MAX_S = 6.0


class Story(ABC):
    """What a world asks of its story."""

    keys: Sequence[str]
    """Actors that are looked at all the time."""
    trouble_s: float
    """Virtual seconds of faults; then everything heals."""

    def __init__(self, world: "World") -> None:
        self.world = world

    @abstractmethod
    def begin(self) -> None:
        """Have everything that was before, and the people."""

    @abstractmethod
    def watching(self) -> AbstractContextManager[None]:
        """While it is told, the product's own parts are watched."""

    @abstractmethod
    def unfinished(self) -> Iterator[str]:
        """What is not yet as it must be in the end, once all messages are delivered."""

    @abstractmethod
    def listeners(self) -> Mapping[str, set[str | None]]:
        """Of each stream, the names of the connections that are subscribed to it in the end."""


class Commenting(Story):
    """Everyone comments on all posts."""

    trouble_s = 12.0

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self.keys = [post_key(post) for post in (*POSTS, QUIET)]

    def begin(self) -> None:
        world = self.world
        world.memory.seed_posts((*POSTS, QUIET))
        for number in range(1, COMMENTERS + 1):
            world.start_client(Commenter, number, POSTS, world.policy)
        for number in range(1, READERS + 1):
            world.start_client(Reader, number, lambda: (*POSTS, QUIET))

    def watching(self) -> AbstractContextManager[None]:
        return nullcontext()

    def unfinished(self) -> Iterator[str]:
        yield from ()

    def listeners(self) -> Mapping[str, set[str | None]]:
        names = {client.name() for client in self.world.clients if client.streams}
        return dict.fromkeys(map(post_key, POSTS), names)


class Following(Story):
    """People follow, block and mute each other, write posts, and read what the others wrote."""

    trouble_s = 7.0

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self.keys = [user_key(member) for member in MEMBERS]
        self._edges = [edge for edge in permutations(MEMBERS, 2) if world.rng.random() < FOLLOWING]
        self._rng = Random(world.rng.getrandbits(64))
        self._journal = SocialJournal(world.memory, world.journal, MEMBERS)

    def begin(self) -> None:
        world, memory = self.world, self.world.memory
        memory.seed_people(MEMBERS, self._edges)
        self._journal.begin()
        memory.timelines = cast(Timelines, WatchedTimelines(memory.timelines, memory, self._held_up))
        memory.feeds = cast(Feeds, WatchedFeeds(memory.feeds, memory))
        society = Society(MEMBERS, self._journal)
        for number in MEMBERS:
            env = Env(memory.clock, world.loop.time, Random(world.rng.getrandbits(64)))
            world.start_client(Member, number, society, Ids(env))
        for number in range(1, READERS + 1):
            world.start_client(Reader, number, society.newest)

    def watching(self) -> AbstractContextManager[None]:
        return replaced(node, Feeds=partial(WatchedLiveFeeds, social=self._journal))

    async def _held_up(self) -> None:
        if self._rng.random() < self.world.weather.late:
            await asyncio.sleep(self._rng.random() * HELD_UP_MAX_S)

    def unfinished(self) -> Iterator[str]:
        yield from self._journal.miscounted()
        alarms = self.world.memory.identities(AlarmRow)
        jobs = self.world.memory.rows(FanoutRow)
        yield from (f"nobody goes on with {job}" for job in jobs if (post_key(job.post_id), FANOUT_ALARM) not in alarms)

    def listeners(self) -> Mapping[str, set[str | None]]:
        return {user_key(client.by.id): {client.name()} for client in self.world.clients if client.streams}
