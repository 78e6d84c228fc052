"""People who follow each other: they write posts, read timelines, and keep a record of what they must see.

Every write is an HTTP request with an operation id, repeated until it is answered.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from actors.keys import post_key, user_key
from actors.runtime.env import Ids
from protocol.accounts import DeleteAccount
from protocol.commands import (
    Applaud,
    Command,
    CreateComment,
    CreatePost,
    DeleteComment,
    DeletePost,
    EditPost,
    Person,
    PostCommand,
    PublishPost,
    React,
)
from protocol.errors import DomainError
from protocol.graph import Block, Follow, GraphCommand, Mute, RemoveFollower, Unblock, Unfollow, Unmute
from protocol.notifications import EditPreferences, MarkRead
from protocol.timelines import PostPage
from store.rows import BlockRow, FollowRow, MuteRow, PostRow, Row
from tests.simulation.clients import Client, NoAnswer, Stream, World
from tests.simulation.loop import Host
from tests.simulation.oracles import JournalledStore
from tests.simulation.social_oracles import SocialJournal, pair, timeline
from tests.simulation.social_streams import FeedStream, NotificationsStream, PostShown

PAGE = 3
"""Posts on a page: a timeline has many."""
LEAVING = 0.005
"""Of what people do, that one of them deletes the account."""
DRAFTS = 0.25
"""Of posts, those that are published later."""
MENTIONS = 0.5
"""Of comments, those that mention somebody."""
POSTS_MINDED = 6
"""People respond to the newest posts."""
MUTES_END_WITHIN_S = 6.0
GROUPS_MAX = 100
LEAVES: Mapping[type[GraphCommand], Mapping[type[Row], bool]] = MappingProxyType(
    {
        Follow: {FollowRow: True},
        Unfollow: {FollowRow: False},
        Block: {BlockRow: True, FollowRow: False},
        Unblock: {BlockRow: False},
        Mute: {MuteRow: True},
        Unmute: {MuteRow: False},
        RemoveFollower: {},
    }
)
"""Which rows of one's own are there, or not, once it is done."""


class Written(Struct):
    """What one post must be in the end, once everything was answered."""

    id: int
    by: int
    title: str
    state: str


class Society(Struct):
    """What all members know of each other."""

    members: Sequence[int]
    journal: SocialJournal
    posts: list[Written] = []
    """That anyone has made; the last are the newest."""
    gone: set[int] = set()
    """Who has deleted the account, or is about to."""
    sent_away: set[tuple[int, int]] = set()
    """(one, other) of whom one was to follow the other no more, by the other's wish."""

    def newest(self) -> Sequence[int]:
        """The posts that were made last, the newest at the end."""
        return [post.id for post in self.posts[-POSTS_MINDED:]]


class Member(Client):
    """Follows others and is followed."""

    thinks_s = 0.2

    def __init__(self, world: World, host: Host, by: Person, rng: Random, society: Society, ids: Ids) -> None:
        social = society.journal
        self.feed = FeedStream(by.id, by.handle, social, lambda post: self._look_at(post, "feed"))
        self.notifications = NotificationsStream(by.id, by.handle, social)
        super().__init__(world, host, by, rng, [self.feed, self.notifications])
        self._society = society
        self._others = [id for id in society.members if id != by.id]
        self._ids = ids
        self.silenced: set[str] = set()
        """Kinds of which this person did not always want to be told."""
        self._ties: dict[tuple[type[Row], int], bool] = {}
        """Whether there is to be a row of a kind about somebody."""
        self._comments: list[tuple[Written, str]] = []
        self._said = 0
        self._ops = 0

    async def load(self, stream: Stream) -> None:
        if stream is self.feed:
            self.feed.loaded((await self._page(None)).cursor)
        else:
            listed = await self.read(lambda node: node.notifications(self.by.id, before=None, limit=GROUPS_MAX))
            self.notifications.loaded(listed.page)

    async def act(self) -> None:
        chance = self.rng.random()
        if self.by.id in self._society.gone:
            return
        if chance < LEAVING and not self._society.gone:
            await self._leave()
        elif chance < 0.25:
            await self._relate()
        elif chance < 0.50:
            await self._write()
        elif chance < 0.70:
            await self._walk()
        elif chance < 0.90:
            await self._respond()
        else:
            await self._read_notifications()

    # -- asking

    async def _do(self, key: str, command: Command, refused: Callable[[str], bool] = lambda code: False) -> Any:
        """Have it done, whatever it takes; the answer, None if it is ``refused`` as it may be."""
        self._ops += 1
        done = await self.insist(key, command, self.by, f"op {self._ops}", refused=lambda code, _: refused(code))
        return done.answer

    async def _leave(self) -> None:
        self._society.gone.add(self.by.id)
        self._society.sent_away |= {(other, self.by.id) for other in self._others}
        self._society.journal.hid |= {*self._society.members}
        self.streams.clear()
        self._ties.clear()
        delete = DeleteAccount(account=self.by.id)
        await self._do(user_key(self.by.id), delete, lambda code: code == "account_not_found")

    # -- the graph

    async def _relate(self) -> None:
        other = self.rng.choice(self._others)
        kinds: list[type[GraphCommand]] = [Unfollow, Block, Unblock, Unblock, Mute, Unmute, RemoveFollower]
        kind = Follow if self.rng.random() < 0.6 else self.rng.choice(kinds)
        command: GraphCommand = kind(account=str(other))
        if isinstance(command, Mute) and self.rng.random() < 0.5:
            ends_ms = self._society.journal.store.now_ms() + int(self.rng.random() * MUTES_END_WITHIN_S * 1000)
            command = Mute(account=str(other), until=ends_ms)
        if isinstance(command, Block | RemoveFollower):
            self._society.sent_away.add((other, self.by.id))
        asked_at = self.loop.time()

        def refused(code: str) -> bool:
            if other in self._society.gone and code == "account_not_found":
                return True
            match command:
                case Follow():
                    both = pair(self.by.id, other)
                    return code in ("blocked", "blocking") and self._society.journal.apart.ever(both, asked_at)
                case Mute(until=int()):
                    # By a clock that is ahead that time has come.
                    return code == "invalid"
                case _:
                    return False

        if await self._do(user_key(self.by.id), command, refused) is not None:
            self._ties.update(((row_type, other), there) for row_type, there in LEAVES[kind].items())

    # -- posts

    async def _write(self) -> None:
        mine = [post for post in self._society.posts if post.by == self.by.id and post.state != "deleted"]
        chance = self.rng.random()
        if not mine or chance < 0.6:
            await self._create()
            return
        post = self.rng.choice(mine)
        key, id = post_key(post.id), str(post.id)
        if post.state == "draft":
            await self._do(key, PublishPost(post=id))
            post.state = "published"
        elif chance < 0.8:
            title = self._title()
            await self._do(key, EditPost(post=id, title=title))
            post.title = title
        else:
            post.state = "deleting"
            await self._do(key, DeletePost(post=id))
            post.state, post.title = "deleted", ""

    async def _create(self) -> None:
        post = Written(self._ids.next(), self.by.id, self._title(), "draft")
        draft = self.rng.random() < DRAFTS
        command = CreatePost(post=str(post.id), title=post.title, state="draft" if draft else "published")
        await self._do(post_key(post.id), command)
        post.state = command.state
        self._society.posts.append(post)

    def _title(self) -> str:
        self._said += 1
        return f"{self.by.handle} says {self._said}"

    # -- what others wrote

    async def _respond(self) -> None:
        published = [post for post in self._society.posts if post.by != self.by.id and post.state == "published"]
        if not published:
            return
        post = self.rng.choice(published[-POSTS_MINDED:])
        id, chance = str(post.id), self.rng.random()
        command: PostCommand = React(post=id, kind="like", on=self.rng.random() < 0.7)
        if chance < 0.3:
            command = Applaud(post=id, total=self.rng.choice((0, 1, 50)))
        elif chance < 0.5:
            mention = f" @member{self.rng.choice(self._others)}" if self.rng.random() < MENTIONS else ""
            command = CreateComment(post=id, body=self._title() + mention)
        elif chance < 0.6 and self._comments:
            post, comment = self._comments.pop(self.rng.randrange(len(self._comments)))
            command = DeleteComment(post=str(post.id), comment=comment)
        answer = await self._do(
            post_key(post.id), command, lambda code: code == "post_not_found" and post.state != "published"
        )
        if isinstance(command, CreateComment) and answer is not None:
            self._comments.append((post, answer.id))

    # -- notifications

    async def _read_notifications(self) -> None:
        me = user_key(self.by.id)
        if self.notifications.epoch and self.rng.random() < 0.7:
            await self._do(me, MarkRead(cursor=self.notifications.cursor))
        else:
            self.silenced |= {"reaction"}
            await self._do(me, EditPreferences(reaction=self.rng.random() < 0.5))

    # -- timelines

    async def _walk(self) -> list[int] | None:
        """Read the timeline from the newest post to the oldest, page by page; None if no answer comes."""
        mine = (post for post in self._society.posts if post.by == self.by.id)
        own = {post.id: post.title for post in mine if post.state == "published"}
        walked: list[PostShown] = []
        before: int | None = None
        while True:
            asked_at = self.loop.time()
            try:
                page = await self._page(before)
            except (NoAnswer, DomainError):
                return None
            posts = msgspec.json.decode(page.posts, type=list[PostShown])
            for post in posts:
                self._look_at(post, "timeline")
                apart = self._society.journal.apart.throughout(pair(self.by.id, post.by), asked_at)
                self.journal.require(not apart, f"{self.by.handle} is shown {post}, though there is a block")
            walked += posts
            before = page.next
            if before is None:
                break
        ids = [int(post.id) for post in walked]
        where = f"the timeline of {self.by.handle}"
        self.journal.require(len(set(ids)) == len(ids), f"{where} shows a post twice: {ids}")
        shown = {int(post.id): post.title for post in walked if post.by == self.by.id}
        self.journal.require(shown == own, f"{where} shows of their own posts {shown}, not {own}")
        return ids

    async def _page(self, before: int | None) -> PostPage:
        page: PostPage = await self.read(lambda node: node.timeline(self.by.id, before=before, limit=PAGE))
        return page

    def _look_at(self, post: PostShown, where: str) -> None:
        """Nothing is shown that was never committed."""
        id, where = int(post.id), f"the {where} of {self.by.handle} shows {post}"
        self.journal.require(
            (post.state, post.title) in self._society.journal.shown[id], f"{where}, which it never was"
        )
        self.journal.require(post.version <= self.journal.posts[id].version, f"{where}, which is not committed")

    # -- in the end

    async def conclude(self) -> None:
        if self.by.id in self._society.gone:
            return
        store = self._society.journal.store
        while True:
            expected = timeline(store, self.by.id)
            walked = await self._walk()
            # A mute may end meanwhile.
            if walked is not None and expected == timeline(store, self.by.id):
                break
            await asyncio.sleep(0.2)
        ids = [post.id for post in expected]
        where = f"in the end the timeline of {self.by.handle}"
        self.journal.require(walked == ids, f"{where} is {walked}, by the rows {ids}")

    def lacking(self, store: JournalledStore) -> Iterator[str]:
        yield from super().lacking(store)
        misgrouped = self._society.journal.misgrouped(self.by.id, self.silenced)
        if misgrouped is not None:
            yield f"{self.by.handle} {misgrouped}"

    def differing(self, store: JournalledStore) -> Iterator[str]:
        for post in self._society.posts:
            row = store.row(PostRow, post.id)
            if post.by == self.by.id and (row.title, row.state) != (post.title, post.state):
                yield f"{self.by.handle} was told of {post}; stored: {row}"
        for (row_type, other), there in self._ties.items():
            edge = self.by.id, other
            sent_away = row_type is FollowRow and edge in self._society.sent_away
            if (edge in store.table(row_type)) != there and not (there and sent_away):
                yield f"{row_type.__name__} {edge} is {'not ' if there else ''}there"
