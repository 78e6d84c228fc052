"""Readers who are not signed in, and what answers them: as at the gateway, what is kept, or else the actor.

Whatever is kept is held against the rows whenever it is given.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random

import msgspec
from aiohttp import web
from msgspec import Raw

from actors.keys import post_key
from actors.runtime.activation import Activation
from actors.runtime.messages import decode_answer
from actors.runtime.node import Node
from protocol.commands import ANONYMOUS, Person, PostCommand, ReadComments, ReadPost
from protocol.cursor import parse_cursor
from protocol.errors import DomainError
from protocol.gateway.backend import Faces
from protocol.gateway.http import tagged
from protocol.gateway.kept import KeptAnswers
from protocol.views import CommentPage, PostView
from store.rows import CommentRow, PostRow, PostStateRow
from tests.simulation.clients import Client, NoAnswer, Stream, Worker, World
from tests.simulation.edge import shown_in
from tests.simulation.loop import Host
from tests.simulation.oracles import JournalledStore, Shown

PAGE = 200
"""More comments than anybody writes on a post."""
STAYS = 0.97
"""Of reads, those of the same post at the same worker as before."""
AT_ONCE = 0.3
"""Of reads, those by two at once."""

Read = PostView | CommentPage


class ObservedFaces:
    """What the actors of a node show; ``shown`` is told of whose it is, whenever somebody is."""

    def __init__(self, node: Node, shown: Callable[[Activation | None], None]) -> None:
        self._node = node
        self._shown = shown

    def face(self, key: str) -> object | None:
        found = self._node.face(key)
        if found is not None:
            # Who is answered together with others who asked before asks for nothing else.
            self._shown(self._node._registry.find(key))
        return found

    def shows(self, key: str, face: object, method: str) -> bool:
        shows = self._node.shows(key, face, method)
        if shows:
            self._shown(self._node._registry.find(key))
        return shows


class KeptReads:
    """The reads of those who are not signed in, at one worker."""

    def __init__(self, node: Node, faces: Faces, store: JournalledStore) -> None:
        self._node = node
        self._store = store
        self._journal = store.journal
        self._answers = KeptAnswers(faces)

    def at_once(self, command: PostCommand) -> Read | None:
        """What was kept, if that is the answer still."""
        path = str(command)
        found = self._answers.find(path)
        if found is None or not self._answers.take(path, found):
            return None
        kept: Read = msgspec.json.decode(found.body, type=command.answers)
        self._hold_against_the_rows(int(command.post), kept)
        return self._given(command, kept, "a kept answer")

    async def read(self, command: PostCommand) -> Read:
        """What the actor answers. Raises ``DomainError``."""
        actor, method = post_key(int(command.post)), command.method
        ask = partial(self._ask, command)
        response = await self._answers.answered(str(command), ask, actor=actor, method=method, route=method)
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        return self._given(command, msgspec.json.decode(response.body, type=command.answers), "an answer")

    async def _ask(self, command: PostCommand) -> web.Response:
        answer = await self._node.ask(post_key(int(command.post)), command, ANONYMOUS)
        if isinstance(answer, bytes | Raw):
            # What came from another worker is JSON already.
            answer = decode_answer(command, answer)
        return tagged(answer, answer.cursor)

    def _given(self, command: PostCommand, answer: Read, what: str) -> Read:
        post_id, where = int(command.post), f"{what} to {command.method}"
        version = answer.version if isinstance(answer, PostView) else None
        self._journal.acknowledged(post_id, _offset(answer), version, where)
        if isinstance(answer, CommentPage):
            self._journal.shown(post_id, _comments(answer), where)
        return answer

    def _hold_against_the_rows(self, post_id: int, kept: Read) -> None:
        """What is given without asking the actor is what is stored at this very moment."""
        shown, stored = _shown(kept), _stored(self._store, post_id, type(kept))
        self._journal.require(shown == stored, f"kept of post {post_id}: {shown}; stored: {stored}")


def _shown(kept: Read) -> tuple[object, ...]:
    if isinstance(kept, CommentPage):
        return _offset(kept), kept.total, _comments(kept)
    counted = kept.counters
    return _offset(kept), kept.version, kept.title, counted.comments, counted.reactions, counted.applause


def _stored(store: JournalledStore, post_id: int, kind: type[Read]) -> tuple[object, ...]:
    """The same by the rows."""
    state = store.row(PostStateRow, post_id)
    if kind is PostView:
        title = store.row(PostRow, post_id).title
        return state.head, state.version, title, state.comments, state.reactions, state.applause
    rows = sorted(store.of(CommentRow, post_id), key=lambda row: row.id)
    return state.head, state.comments, [Shown(row.id, row.changed_offset, row.state, row.body) for row in rows]


def _comments(page: CommentPage) -> list[Shown]:
    return [shown_in(node.comment) for node in page.comments]


def _offset(answer: Read) -> int:
    cursor = parse_cursor(answer.cursor)
    assert cursor is not None
    return cursor.offset


class Reader(Client):
    """Reads a post again and again at one worker, then another somewhere else: each time by a request of its own."""

    thinks_s = 0.1

    def __init__(self, world: World, host: Host, by: Person, rng: Random, posts: Callable[[], Sequence[int]]) -> None:
        super().__init__(world, host, by, rng, ())
        self._posts = posts
        self._post: int | None = None
        self._reads_at: Worker | None = None

    async def run(self) -> None:
        while not self.finishing:
            await asyncio.sleep(self.rng.expovariate(1 / self.thinks_s))
            await self.act()
        self.finished = True

    async def act(self) -> None:
        if self._post is None or self._reads_at is None or self.rng.random() > STAYS:
            posts = self._posts()
            self._post = self.rng.choice(posts) if posts else None
            self._reads_at = self._world.pick(self.rng)
        if self._post is not None:
            post = str(self._post)
            page = ReadComments(post=post, order="oldest", limit=PAGE)
            command = self.rng.choice((ReadPost(post=post), page))
            times = 2 if self.rng.random() < AT_ONCE else 1
            await asyncio.gather(*(self._read(self._post, command) for _ in range(times)))

    async def _read(self, post: int, command: PostCommand) -> None:
        floor = self.journal.posts[post].acknowledged
        try:
            answer: Read = await self.show(self._reads_at, command)
        except NoAnswer:
            self._reads_at = None
        except DomainError:
            # It may be gone by now, or its owner away.
            self._post = None
        else:
            self.journal.read(post, answer.cursor, floor, self.by.handle)

    async def load(self, stream: Stream) -> None:
        raise AssertionError("follows nothing")

    async def conclude(self) -> None:
        """What is kept is held against the rows in any case."""

    def differing(self, store: JournalledStore) -> Iterator[str]:
        """Nothing was asked for."""
        yield from ()
