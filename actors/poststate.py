"""What a post is in memory: its text, the tree of its comments, who reacted, who looked; and who may see it.

Public to the decisions of ``post``, ``commenting``, ``reacting`` and ``reading``; only ``apply`` and what the runtime
provides change it.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Never, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from actors.actor import (
    CommentSaved,
    Event,
    FanoutEnded,
    FanoutSaved,
    FindingSaved,
    NewsTold,
    PostSaved,
    ReactionSaved,
    Stirred,
    UserEvent,
    Viewed,
)
from actors.encoding import Encoder
from actors.keys import post_key
from actors.news import NOTHING_FOUND, Found, News
from actors.numbers import PostNumbers
from actors.policy import Policy
from actors.tallies import Applause, Tallies
from actors.tree import CommentTree
from actors.viewers import Sample, Viewers
from protocol.commands import Person
from protocol.cursor import Cursor
from protocol.errors import Refused
from protocol.views import Counters, CountersChanged, PostView
from store.base import LoadedPost, WrittenComment
from store.rows import Author, CommentRow, FanoutRow, FindingRow, PostRow, PostStateRow, PostViewsRow, ReactionRow

RECENT_MAX = 128
"""Comments kept in memory with their text; those not yet durable are kept beyond it."""
APPLAUSE = "applause"
NOBODY: Final[frozenset[tuple[int, int]]] = frozenset()


class PostSnapshot(Struct, frozen=True):
    """The bulky part of a post's state."""

    parents: bytes
    flags: bytes
    sources: dict[str, int]
    reactions: list[tuple[int, str, bytes]]
    applause: list[bytes]


class PostState:
    """The state of one post; of one that was never made, ``post`` is None."""

    __slots__ = (
        "_news", "_recent", "_sources", "_stream_epoch", "announces", "applause", "author", "comments", "encoder",
        "fanout", "finding", "found", "head", "policy", "post", "post_id", "stirred", "tallies", "telling", "told",
        "tree", "version", "viewers", "viewers_told", "watchers",
    )  # fmt: skip

    def __init__(
        self,
        post_id: int,
        *,
        policy: Policy,
        encoder: Encoder,
        stream_epoch: Callable[[str], str],
        announces: bool = False,
    ) -> None:
        """``stream_epoch`` gives the epoch of the stream of a key."""
        self.post_id = post_id
        self.announces = announces
        """Whether other systems are to be told of its publication."""
        self._stream_epoch = stream_epoch
        self.version = 0
        self.head = 0
        self.watchers = 0
        self.policy = policy
        self.encoder = encoder
        self.post: PostRow | None = None
        self.author: Author | None = None
        self.fanout: FanoutRow | None = None
        self.comments = 0
        self.tallies = Tallies()
        self.tree = CommentTree(self.tallies.score)
        self.applause = Applause()
        self.viewers = Viewers()
        self._sources: dict[str, int] | None = None
        self._recent: OrderedDict[int, WrittenComment] | None = None
        self._news: News | None = None
        self.told = 0
        """The version up to which people were told."""
        self.telling = NOBODY
        """Who was told about what, as of ``NewsTold``, since all was durable: nobody else may know of it yet."""
        self.found = NOTHING_FOUND
        self.finding = FindingRow(post_id=post_id, heat=0, indexed_offset=0)
        self.stirred = False
        """Whether something has happened that changes how the post is found."""
        self.viewers_told = 0
        """So many had looked when the heat was taken."""

    # -- activation

    @classmethod
    def load(
        cls,
        post_id: int,
        loaded: LoadedPost,
        *,
        policy: Policy,
        encoder: Encoder,
        stream_epoch: Callable[[str], str],
        announces: bool = False,
        news: News | None = None,
    ) -> Self:
        """From the snapshot, and the rows that are newer; ``news`` is what people were not told of."""
        actor = cls(post_id, policy=policy, encoder=encoder, stream_epoch=stream_epoch, announces=announces)
        actor.post, actor.author, actor.fanout = loaded.post, loaded.author, loaded.fanout
        if loaded.snapshot is not None:
            actor._load_snapshot(msgspec.msgpack.decode(loaded.snapshot.data, type=PostSnapshot))
        for row in loaded.comments:
            actor._place(row)
        for reaction in loaded.reactions:
            actor._tally(reaction)
        if loaded.state is not None:
            actor.version, actor.head = loaded.state.version, loaded.state.head
            actor.comments = loaded.state.comments
            actor.told = loaded.state.told
        if loaded.views is not None:
            actor._load_views(loaded.views)
        actor._news = news
        actor.finding = loaded.finding or actor.finding
        actor.viewers_told = actor.viewers.viewers
        return actor

    def _load_snapshot(self, snapshot: PostSnapshot) -> None:
        self.tree.load(snapshot.parents, snapshot.flags)
        self._sources = snapshot.sources or None
        self.tallies.load(snapshot.reactions)
        self.applause.load(snapshot.applause)

    def _load_views(self, row: PostViewsRow) -> None:
        self.viewers.views, self.viewers.viewers = row.views, row.viewers
        self.viewers.window_ms = row.window_ms
        self.viewers.window = Sample.load(row.window_viewers)
        self.viewers.all = Sample.load(row.all_viewers)

    @property
    def key(self) -> str:
        return post_key(self.post_id)

    @property
    def exists(self) -> bool:
        return self.post is not None

    # Most posts that are in memory have none of these; they are made when they are asked for.

    @property
    def recent(self) -> OrderedDict[int, WrittenComment]:
        """Comments with their texts, those that are dropped first in front."""
        if self._recent is None:
            self._recent = OrderedDict()
        return self._recent

    @property
    def sources(self) -> dict[str, int]:
        """The comments that were imported, by where they came from."""
        if self._sources is None:
            self._sources = {}
        return self._sources

    @property
    def news(self) -> News:
        """What people were not told of yet."""
        if self._news is None:
            self._news = News()
        return self._news

    # -- who may

    def readable(self, by: Person) -> PostRow:
        post = self.post
        if post is None or post.state == "deleted" or (post.state != "published" and not self.owns(by)):
            raise Refused("post_not_found")
        return post

    def published(self, by: Person) -> PostRow:
        """A draft takes no comments or reactions, of its author either; who may not read it is not told of it."""
        post = self.readable(by)
        if post.state != "published":
            raise Refused("comments_closed", "the post is not published")
        return post

    def signed_in(self, by: Person) -> None:
        if not by.id:
            raise Refused("unauthorized", "sign in, or name yourself as a guest")

    def own_post(self, by: Person) -> PostRow:
        post = self.readable(by)
        if not self.owns(by):
            raise Refused("not_author")
        return post

    def owns(self, by: Person) -> bool:
        """The post's author, or a moderator."""
        return by.moderates or (by.id != 0 and self.post is not None and self.post.author_id == by.id)

    # -- what it shows

    def post_view(self, by: Person) -> PostView:
        assert self.post is not None
        view = self.encoder.post(
            self.post, self.author, version=self.version, counters=self.counters(), cursor=self.cursor()
        )
        if not by.id:
            return view
        return replace(view, mine=self.tallies.of(0, by.id), applause_mine=self.applause.of(by.id))

    def counters(self) -> Counters:
        return Counters(
            comments=self.comments,
            reactions=self.tallies.counts(0),
            applause=self.applause.total,
            views=self.viewers.views,
            viewers=self.viewers.viewers,
            watchers=self.watchers,
        )

    def cursor(self) -> str:
        return str(Cursor(self._stream_epoch(self.key), self.head))

    # -- apply

    def apply(self, event: Event) -> None:
        self.stirred = self.stirred or self.stirs(event)
        match event:
            case ReactionSaved(row):
                self.version += 1
                self._hear_of_reaction(row)
                self._tally(row)
            case CommentSaved(row, author):
                self.version += 1
                before = self.recent.get(row.id)
                self.news.commented(None if before is None else before.comment, row)
                self.head = max(self.head, row.changed_offset)
                self._place(row, counted=True)
                self.recent[row.id] = WrittenComment(row, author)
                self.recent.move_to_end(row.id)
            case PostSaved(row, author):
                self.version += 1
                self.news.saved(self.post, row)
                self.head = row.changed_offset
                self.post, self.author = row, author
            # None of what follows is shown: the version is the same.
            case FanoutSaved(row):
                self.fanout = row
            case FanoutEnded():
                self.fanout = None
            case NewsTold(about):
                self.told, self._news, self.found = self.version, None, NOTHING_FOUND
                self.telling = self.telling.union(about)
            case FindingSaved(row):
                self.finding, self.viewers_told = row, self.viewers.viewers
                self.stirred = self.head > row.indexed_offset
            case Stirred():
                pass
            case _:
                _not_of_a_post(event)

    def stirs(self, event: Event) -> bool:
        """Whether an event changes how the post is found."""
        match event:
            case ReactionSaved(row):
                return row.comment_id == 0
            case CommentSaved(row):
                return row.changed_offset > 0
            case PostSaved(row):
                return row.published_ms is not None
            case Stirred():
                return True
            case _:
                return False

    def _place(self, row: CommentRow, *, counted: bool = False) -> None:
        """Put a comment into the tree; ``counted`` also into the counters, which a loaded state has already."""
        if counted:
            before = self.tree.visible(row.id)
            self.comments += (row.state == "visible") - before if row.kind == "comment" else 0
        self.tree.put(row.id, row.parent_id or 0, row.state, row.kind)
        if row.source is not None:
            self.sources[row.source] = row.id

    def _tally(self, row: ReactionRow) -> None:
        if row.kind == APPLAUSE:
            self.applause.put(row.user_id, row.amount)
            return
        before = self.tallies.score(row.comment_id)
        self.tallies.put(row.comment_id, row.kind, row.user_id, row.amount > 0)
        if row.comment_id:
            self.tree.rescored(row.comment_id, before)

    def _hear_of_reaction(self, row: ReactionRow) -> None:
        """It is news if the person did not react to this at all before, or does not any more."""
        if row.kind == APPLAUSE:
            change = (row.amount > 0) - (self.applause.of(row.user_id) > 0)
            if change:
                self.news.applauded(row.user_id, change)
        elif not self.tallies.has_other(row.comment_id, row.kind, row.user_id):
            self.news.reacted(row.comment_id, row.user_id, 1 if row.amount else -1)

    def look(self, viewed: Viewed) -> bool:
        return self.viewers.look(viewed.viewer, viewed.at_ms)

    # -- what the runtime provides

    def provide_comments(self, comments: Sequence[WrittenComment]) -> None:
        for written in comments:
            id = written.comment.id
            if id not in self.recent:
                self.recent[id] = written
                # The first to be dropped: what was written last is read most.
                self.recent.move_to_end(id, last=False)

    def provide_news(self, found: Found) -> None:
        self.found = found
        self.provide_comments(found.comments)

    def authors(self) -> set[int]:
        written_by = (author for _, author in (self._recent or {}).values())
        return {author.id for author in (self.author, *written_by) if author is not None}

    def author_changed(self, id: int, author: Author | None) -> None:
        """Someone has another name or address now, or none any more: show it in what is in memory."""
        if self.author is not None and self.author.id == id:
            self.author = author
        for comment_id, (row, written_by) in (self._recent or {}).items():
            if written_by is not None and written_by.id == id:
                self.recent[comment_id] = WrittenComment(row, author)

    # -- what the runtime writes and shows

    def state_row(self) -> PostStateRow:
        return PostStateRow(
            post_id=self.post_id,
            version=self.version,
            head=self.head,
            last_comment_id=self.tree.last_id,
            comments=self.comments,
            reactions=self.tallies.counts(0),
            applause=self.applause.total,
            told=self.told,
        )

    def views_row(self) -> PostViewsRow:
        viewers = self.viewers
        return PostViewsRow(
            post_id=self.post_id,
            views=viewers.views,
            viewers=viewers.viewers,
            window_ms=viewers.window_ms,
            window_viewers=(Sample() if viewers.window is None else viewers.window).dump(),
            all_viewers=(Sample() if viewers.all is None else viewers.all).dump(),
        )

    def numbers(self, touched: Sequence[int]) -> PostNumbers:
        return PostNumbers(
            version=self.version,
            comments=self.comments,
            reactions=self.tallies.counts(0),
            applause=self.applause.total,
            of_comments={str(id): self.tallies.counts(id) for id in touched},
        )

    def counters_changed(self, touched: Sequence[int]) -> CountersChanged:
        """The message that shows the counters as of now, with the reactions of the comments ``touched``."""
        of_comments = {str(id): self.tallies.counts(id) for id in touched}
        return CountersChanged(version=self.version, counters=self.counters(), comments=of_comments)

    def views(self) -> tuple[int, int]:
        """(views, distinct viewers), volatile."""
        return self.viewers.views, self.viewers.viewers

    def snapshot(self) -> bytes | None:
        if self.post is None:
            return None
        parents, flags = self.tree.dump()
        return msgspec.msgpack.encode(
            PostSnapshot(parents, flags, self.sources, self.tallies.dump(), self.applause.dump())
        )

    def trim(self) -> None:
        while self._recent is not None and len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)
        self.telling = NOBODY


def _not_of_a_post(event: UserEvent) -> Never:
    """Takes what is left once the events of a post are handled; so mypy tells of one that is forgotten."""
    raise AssertionError(f"not an event of a post: {event}")
