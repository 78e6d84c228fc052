"""People who comment, react and read, and keep a record of it.

A person has one write on its way at a time and repeats it, with the same operation id, until it is answered; so what
has to be stored in the end is known exactly.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import msgspec
from msgspec import Raw, Struct

from actors.policy import Policy
from protocol.commands import Person
from protocol.cursor import parse_cursor
from protocol.views import CommentPage
from store.rows import CommentRow, PostStateRow, ReactionRow
from tests.simulation.accounts import Accounts
from tests.simulation.clients import Client, Denied, NoAnswer, Publication, Stream, World
from tests.simulation.edge import shown_in
from tests.simulation.loop import Host
from tests.simulation.oracles import Journal, JournalledStore, Shown

PAGE = 200


class Changed(Struct):
    type: str
    comment: Raw = Raw(b"null")
    version: int = 0
    counters: dict[str, Any] = {}


class Acknowledged(Struct):
    id: str | None = None
    offset: int | None = None
    version: int | None = None


class PostStream(Stream):
    """What one person has of one post."""

    def __init__(self, post: int, who: str, journal: Journal) -> None:
        super().__init__(f"post:{post}", who, journal)
        self.post = post
        self._comments: dict[int, Shown] = {}
        self._counters: dict[str, Any] = {}
        self._counters_version = 0

    def loaded(self, page: CommentPage) -> None:
        """Begin anew from a page."""
        cursor = parse_cursor(page.cursor)
        assert cursor is not None
        self.epoch, self.offset = cursor.epoch, cursor.offset
        self._comments = {shown.id: shown for node in page.comments if (shown := shown_in(node.comment))}

    def heard(self, publication: Publication) -> None:
        changed = msgspec.json.decode(publication.data, type=Changed)
        if publication.offset is not None:
            self._advance(publication.offset, changed)
        elif changed.type == "counters":
            self._count(changed)

    def took(self, data: Raw) -> None:
        self._count(msgspec.json.decode(data, type=Changed))

    def _count(self, changed: Changed) -> None:
        """Counters carry their version; an older one is dropped."""
        self.journal.acknowledged(self.post, None, changed.version, f"counters to {self.who}")
        if changed.version >= self._counters_version:
            self._counters_version, self._counters = changed.version, changed.counters

    def _advance(self, offset: int, changed: Changed) -> None:
        journal, post = self.journal, self.journal.posts[self.post]
        where = f"the stream of post {self.post} to {self.who}"
        journal.require(offset > self.offset, f"{where}: offset {offset} after {self.offset}")
        passed_by = post.passed_by(self.offset, offset)
        journal.require(not passed_by, f"{where}: {passed_by} passed by between {self.offset} and {offset}")
        self.offset = offset
        if changed.type == "comment":
            shown = shown_in(changed.comment)
            journal.shown(self.post, [shown], where)
            self._comments[shown.id] = shown

    def lacking(self, store: JournalledStore) -> str | None:
        if self.journal.posts[self.post].passed_by(self.offset):
            return f"stands at {self.offset} of post {self.post}"
        # Counters are volatile: the last are told again with the next interest.
        state, counters = store.row(PostStateRow, self.post), self._counters
        told = (counters.get("comments"), counters.get("reactions"), counters.get("applause"))
        if told == (state.comments, state.reactions, state.applause):
            return None
        return f"has counters {told} of post {self.post} at version {self._counters_version}: {state}"

    def differing(self, store: JournalledStore) -> Iterator[str]:
        """The folded state equals the rows."""
        stored = {row.id: (row.state, row.body) for row in store.of(CommentRow, self.post)}
        seen = {id: (shown.state, shown.body) for id, shown in self._comments.items()}
        # A page leaves out a tombstone that nothing hangs on.
        missing = {id for id in stored.keys() - seen.keys() if stored[id][0] == "deleted"}
        if {**seen, **{id: stored[id] for id in missing}} != stored:
            yield f"{self.who} has of post {self.post}: {seen}; stored: {stored}"


class Wanted(Struct):
    """What one comment must be in the end, once everything was answered."""

    post: int
    id: int
    body: str
    deleted: bool = False
    certain: bool = True
    """False after an answer that never came and could not be asked for again."""


class Commenter(Client):
    """Writes and reads comments, and accounts of its own beside."""

    def __init__(self, world: World, host: Host, by: Person, rng: Random, posts: Sequence[int], policy: Policy) -> None:
        self.posts = [PostStream(post, by.handle, world.journal) for post in posts]
        super().__init__(world, host, by, rng, self.posts)
        self.comments: list[Wanted] = []
        self.reactions: dict[tuple[int, str], int | None] = {}
        """What this person gave to a post, by kind; None: it is not known."""
        self.accounts = Accounts(self, posts)
        self._policy = policy
        self._posts = list(posts)
        self._said = 0
        self._ops = 0

    async def load(self, stream: Stream) -> None:
        assert isinstance(stream, PostStream)
        page = await self.rpc("comment.list", {"post": str(stream.post), "order": "oldest", "limit": PAGE})
        stream.loaded(msgspec.json.decode(page, type=CommentPage))

    async def act(self) -> None:
        chance = self.rng.random()
        if chance < 0.02 and self.subscribed:
            await self._look_around()
        elif chance < 0.23:
            await self.accounts.act()
        elif chance < 0.40 or not self._mine():
            await self._comment()
        elif chance < 0.51:
            await self._edit()
        elif chance < 0.57:
            await self._delete()
        elif chance < 0.79:
            await self._react()
        else:
            await self._read()

    async def conclude(self) -> None:
        """What it has heard is held against the rows in any case."""

    # -- what it does

    def _mine(self) -> list[Wanted]:
        return [comment for comment in self.comments if comment.certain and not comment.deleted]

    async def _comment(self) -> None:
        self._said += 1
        post, body = self.rng.choice(self._posts), f"{self.by.handle} says {self._said}"
        once = self.rng.random() < 0.15
        answer = await self._write("comment.create", {"post": str(post), "body": body}, once=once)
        if answer is not None:
            assert answer.id is not None
            self.comments.append(Wanted(post, int(answer.id), body))

    async def _edit(self) -> None:
        comment = self.rng.choice(self._mine())
        self._said += 1
        body = f"{self.by.handle} corrects {self._said}"
        edit = {"post": str(comment.post), "comment": str(comment.id), "body": body}
        if await self._write("comment.edit", edit) is not None:
            comment.body = body

    async def _delete(self) -> None:
        comment = self.rng.choice(self._mine())
        if await self._write("comment.delete", {"post": str(comment.post), "comment": str(comment.id)}) is not None:
            comment.deleted, comment.body = True, ""

    async def _react(self) -> None:
        post = self.rng.choice(self._posts)
        if self.rng.random() < 0.6:
            on = not self.reactions.get((post, "like"))
            await self._set((post, "like"), int(on), "react", {"post": str(post), "kind": "like", "on": on})
        else:
            total = self.rng.randrange(51)
            await self._set((post, "applause"), total, "applaud", {"post": str(post), "total": total})

    async def _set(self, target: tuple[int, str], amount: int, method: str, data: dict[str, Any]) -> None:
        once = self.rng.random() < 0.3
        done = await self._write(method, data, once=once) is not None
        # What was asked without an operation id and not answered may still be done at any later time.
        if not done or self.reactions.get(target, 0) is None:
            self.reactions[target] = None
        else:
            self.reactions[target] = amount

    async def _read(self) -> None:
        post = self.rng.choice(self._posts)
        floor = self.journal.posts[post].acknowledged
        method, data = self.rng.choice(
            (("comment.list", {"post": str(post), "order": "oldest", "limit": PAGE}), ("post.get", {"post": str(post)}))
        )
        try:
            answer = await self.rpc(method, data)
        except (NoAnswer, Denied):
            return
        self.journal.read(post, msgspec.json.decode(answer, type=dict[str, Any])["cursor"], floor, self.by.handle)

    async def _look_around(self) -> None:
        channel = self.rng.choice(self.subscribed)
        with suppress(NoAnswer, Denied):
            await self.ask({"presence": {"channel": channel}})

    async def _write(self, method: str, data: dict[str, Any], *, once: bool = False) -> Acknowledged | None:
        """Ask until answered, with an operation id; or, without one, ``once``: None then says that nobody knows."""
        if not once:
            self._ops += 1
            data = {**data, "op": f"op {self._ops}"}
        while True:
            try:
                answer = await self.rpc(method, data, twice=not once and self.rng.random() < 0.05)
                self.acknowledged += 1
                return msgspec.json.decode(answer, type=Acknowledged)
            except NoAnswer:
                if once:
                    return None
            except Denied as error:
                allowed = error.temporary
                self.journal.require(allowed, f"{self.by.handle}: {method} {data} is denied: {error.code}")
                if once:
                    return None
            await asyncio.sleep(self.rng.random() * 0.5)

    # -- in the end

    def differing(self, store: JournalledStore) -> Iterator[str]:
        who = self.by.handle
        rows, given = store.table(CommentRow), store.table(ReactionRow)
        for wanted in self.comments:
            row = rows.get((wanted.post, wanted.id))
            stored = None if row is None else (row.body, row.state == "deleted", row.author_id)
            if stored != (wanted.body, wanted.deleted, self.by.id):
                yield f"{who} was told of {wanted}; stored: {row}"
        for (post, kind), amount in self.reactions.items():
            reaction = given.get((post, 0, kind, self.by.id))
            stored_amount = 0 if reaction is None else reaction.amount
            if amount not in (None, stored_amount):
                yield f"{who}: {kind} of post {post} is {stored_amount}, not {amount}"
        for stream in self.posts:
            yield from stream.differing(store)
        yield from self.accounts.differing(store, self._policy)
