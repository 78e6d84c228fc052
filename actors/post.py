"""A post: its text, the comments on it, the reactions to it, and who looked. Pure: no clock, no I/O."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from actors.actor import (
    AccountSaved,
    CommentSaved,
    CommentsNeeded,
    Decision,
    Event,
    Fetch,
    Need,
    Numbers,
    PostSaved,
    Publication,
    ReactionSaved,
    ReadHead,
    RingAlarm,
    SessionSaved,
    ShowPost,
    Viewed,
)
from actors.encoding import Encoder
from actors.keys import post_key
from actors.policy import Policy
from actors.tallies import Applause, Tallies
from actors.tree import CommentTree, Page
from actors.viewers import Sample, Viewers
from protocol.commands import (
    ANONYMOUS,
    APPLAUSE_MAX,
    BODY_CHARS_MAX,
    Applaud,
    ApproveComment,
    Command,
    CreateComment,
    CreatePost,
    DeleteComment,
    DeletePost,
    EditComment,
    EditPost,
    EraseComments,
    ImportComment,
    Person,
    PublishPost,
    React,
    ReadComment,
    ReadComments,
    ReadPost,
    View,
)
from protocol.cursor import Cursor
from protocol.errors import Refused
from protocol.views import Ack, CommentNode, CommentPage, Counters, PostView
from store.base import Author, LoadedPost, WrittenComment
from store.rows import CommentRow, PostRow, PostStateRow, PostViewsRow, ReactionRow

RECENT_MAX = 128
"""Comments kept in memory with their text; those not yet durable are kept beyond it."""
PUBLISH_ALARM = "publish"
APPLAUSE = "applause"


class PostSnapshot(Struct, frozen=True):
    """The bulky part of a post's state."""

    parents: bytes
    flags: bytes
    sources: dict[str, int]
    reactions: list[tuple[int, str, bytes]]
    applause: list[bytes]


class PostActor:
    """See ``Actor``. A post that was never made exists only to refuse."""

    def __init__(self, post_id: int, *, policy: Policy, encoder: Encoder, epoch: str) -> None:
        self.post_id = post_id
        self.epoch = epoch
        self.version = 0
        self.head = 0
        self.watchers = 0
        self._policy = policy
        self._encoder = encoder
        self._post: PostRow | None = None
        self._author: Author | None = None
        self._comments = 0
        self._tallies = Tallies()
        self._tree = CommentTree(self._tallies.score)
        self._applause = Applause()
        self._viewers = Viewers()
        self._sources: dict[str, int] = {}
        self._recent: OrderedDict[int, WrittenComment] = OrderedDict()

    # -- activation

    @classmethod
    def load(cls, post_id: int, loaded: LoadedPost, *, policy: Policy, encoder: Encoder, epoch: str) -> "PostActor":
        """From the snapshot, and the rows that are newer."""
        actor = cls(post_id, policy=policy, encoder=encoder, epoch=epoch)
        actor._post, actor._author = loaded.post, loaded.author
        if loaded.snapshot is not None:
            actor._load_snapshot(msgspec.msgpack.decode(loaded.snapshot.data, type=PostSnapshot))
        for row in loaded.comments:
            actor._place(row)
        for reaction in loaded.reactions:
            actor._tally(reaction)
        if loaded.state is not None:
            actor.version, actor.head = loaded.state.version, loaded.state.head
            actor._comments = loaded.state.comments
        if loaded.views is not None:
            actor._load_views(loaded.views)
        return actor

    def _load_snapshot(self, snapshot: PostSnapshot) -> None:
        self._tree.load(snapshot.parents, snapshot.flags)
        self._sources = snapshot.sources
        self._tallies.load(snapshot.reactions)
        self._applause.load(snapshot.applause)

    def _load_views(self, row: PostViewsRow) -> None:
        self._viewers.views, self._viewers.viewers = row.views, row.viewers
        self._viewers.window_ms = row.window_ms
        self._viewers.window = Sample.load(row.window_viewers)
        self._viewers.all = Sample.load(row.all_viewers)

    @property
    def key(self) -> str:
        return post_key(self.post_id)

    @property
    def exists(self) -> bool:
        return self._post is not None

    # -- what decide must have in memory

    def needs(self, command: Command) -> Need | None:
        match command:
            case EditComment() | DeleteComment() | ApproveComment():
                return self._unread((int(command.comment),))
            case EraseComments():
                return self._unread(tuple(command.comments))
            case _:
                return None

    def _unread(self, ids: Sequence[int]) -> Need | None:
        missing = tuple(id for id in ids if id not in self._recent and self._tree.has(id))
        return CommentsNeeded(missing) if missing else None

    def provide_comments(self, comments: Sequence[WrittenComment]) -> None:
        for written in comments:
            self._recent.setdefault(written.comment.id, written)

    def provide_writings(self, writings: Sequence[tuple[int, int]]) -> None:
        raise AssertionError("a post asks for no writings")

    # -- decide

    def decide(self, command: Command, by: Person, now: float) -> Decision:
        now_ms = int(now * 1000)
        match command:
            case CreateComment():
                return self._create_comment(command, by, now_ms)
            case React():
                return self._react(command, by)
            case Applaud():
                return self._applaud(command, by)
            case View():
                return self._view(by, now_ms)
            case ReadHead():
                self._readable(by)
                return Decision(answer=lambda: self.head)
            case ShowPost() if self._post is not None:
                return Decision(answer=lambda: self._post_view(ANONYMOUS))
            case ShowPost():
                raise Refused("post_not_found")
            case ReadPost():
                return self._read_post(by)
            case ReadComments():
                return self._read_comments(command, by)
            case ReadComment():
                return self._read_comment(command, by)
            case EditComment():
                return self._edit_comment(command, by, now_ms)
            case DeleteComment():
                return self._delete_comment(command, by, now_ms)
            case ApproveComment():
                return self._approve_comment(command, by)
            case ImportComment():
                return self._import_comment(command, by, now_ms)
            case EraseComments():
                return self._erase_comments(command, now_ms)
            case CreatePost():
                return self._create_post(command, by, now_ms)
            case EditPost():
                return self._edit_post(command, by, now_ms)
            case PublishPost():
                return self._publish_post(command, by, now_ms)
            case DeletePost():
                return self._delete_post(by, now_ms)
            case RingAlarm(name="publish"):
                return self._publish_due(now_ms)
            case RingAlarm():
                return Decision(answer=Ack, alarms={command.name: None})
            case _:
                raise Refused("method_not_found")

    # -- the post itself

    def _create_post(self, command: CreatePost, by: Person, now_ms: int) -> Decision:
        if self._post is not None:
            if self._post.author_id == (by.id or None) and self._post.state != "deleted":
                return Decision(answer=self._ack_post)
            raise Refused("already_exists")
        due_ms = command.publish_at
        scheduled = due_ms is not None and due_ms > now_ms and command.state == "published"
        published = command.state == "published" and not scheduled
        created_ms = command.created_at or now_ms
        row = PostRow(
            id=self.post_id,
            author_id=by.id or None,
            slug=command.slug or None,
            title=command.title,
            body=command.body,
            tags=list(command.tags),
            state="scheduled" if scheduled else command.state,
            comments_open=command.comments_open,
            page_url=command.page_url,
            changed_offset=self.head + 1,
            created_ms=created_ms,
            publish_ms=due_ms if scheduled else None,
            published_ms=created_ms if published else None,
            edited_ms=None,
        )
        author = Author(by.id, by.handle, by.name, by.url) if by.id else None
        alarms = {PUBLISH_ALARM: due_ms} if scheduled else {}
        return Decision(answer=self._ack_post, events=(PostSaved(row, author),), alarms=alarms)

    def _edit_post(self, command: EditPost, by: Person, now_ms: int) -> Decision:
        post = self._own_post(by)
        changes = {
            name: value
            for name in ("title", "body", "slug", "tags", "comments_open")
            if (value := getattr(command, name)) is not None and value != getattr(post, name)
        }
        if not changes:
            return Decision(answer=self._ack_post)
        return self._save_post(post, **changes, edited_ms=now_ms)

    def _publish_post(self, command: PublishPost, by: Person, now_ms: int) -> Decision:
        post = self._own_post(by)
        if post.state == "published":
            return Decision(answer=self._ack_post)
        if command.at is not None and command.at > now_ms:
            saved = self._save_post(post, state="scheduled", publish_ms=command.at)
            return replace(saved, alarms={PUBLISH_ALARM: command.at})
        saved = self._save_post(post, state="published", publish_ms=None, published_ms=now_ms)
        return replace(saved, alarms={PUBLISH_ALARM: None})

    def _publish_due(self, now_ms: int) -> Decision:
        post = self._post
        if post is None or post.state != "scheduled":
            return Decision(answer=Ack, alarms={PUBLISH_ALARM: None})
        if post.publish_ms is not None and post.publish_ms > now_ms:
            return Decision(answer=Ack, alarms={PUBLISH_ALARM: post.publish_ms})
        saved = self._save_post(post, state="published", publish_ms=None, published_ms=now_ms)
        return replace(saved, alarms={PUBLISH_ALARM: None})

    def _delete_post(self, by: Person, now_ms: int) -> Decision:
        if self._post is not None and self._post.state == "deleted" and self._owns(by):
            return Decision(answer=self._ack_post)
        post = self._own_post(by)
        saved = self._save_post(
            post, state="deleted", title="", body="", tags=[], slug=None, publish_ms=None, edited_ms=now_ms
        )
        return replace(saved, alarms={PUBLISH_ALARM: None})

    def _save_post(self, post: PostRow, **changes: Any) -> Decision:
        row = replace(post, **changes, changed_offset=self.head + 1)
        return Decision(answer=self._ack_post, events=(PostSaved(row, self._author),))

    def _ack_post(self) -> Ack:
        return Ack(id=str(self.post_id), offset=self.head, version=self.version)

    # -- comments

    def _create_comment(self, command: CreateComment, by: Person, now_ms: int) -> Decision:
        post = self._published(by)
        _signed_in(by)
        if not post.comments_open:
            raise Refused("comments_closed")
        _check_body(command.body)
        parent = None if command.parent is None else int(command.parent)
        if parent is not None and not self._tree.visible(parent):
            raise Refused("parent_not_found")
        row = CommentRow(
            post_id=self.post_id,
            id=self._tree.last_id + 1,
            parent_id=parent,
            author_id=by.id,
            body=command.body,
            state="visible",
            kind="comment",
            changed_offset=self.head + 1,
            version=self.version + 1,
            source=None,
            author_name=None,
            author_url=None,
            created_ms=now_ms,
            edited_ms=None,
            deleted_ms=None,
        )
        return _saved(row, Author(by.id, by.handle, by.name, by.url))

    def _import_comment(self, command: ImportComment, by: Person, now_ms: int) -> Decision:
        if self._post is None or self._post.state == "deleted":
            raise Refused("post_not_found")
        if not by.moderates:
            raise Refused("permission_denied")
        known = self._sources.get(command.source)
        if known is not None:
            return Decision(answer=lambda: Ack(id=str(known)))
        _check_body(command.body)
        parent = None if command.parent_source is None else self._sources.get(command.parent_source)
        if command.parent_source is not None and parent is None:
            raise Refused("parent_not_found")
        row = CommentRow(
            post_id=self.post_id,
            id=self._tree.last_id + 1,
            parent_id=parent,
            author_id=command.author.id or None,
            body=command.body,
            state="held" if command.held else "visible",
            kind=command.kind,
            changed_offset=0 if command.held else self.head + 1,
            version=self.version + 1,
            source=command.source,
            author_name=command.author.name,
            author_url=command.author.url,
            created_ms=command.created_at,
            edited_ms=None,
            deleted_ms=None,
        )
        author = command.author
        return _saved(row, Author(author.id, author.handle, author.name, author.url) if author.id else None)

    def _edit_comment(self, command: EditComment, by: Person, now_ms: int) -> Decision:
        row, author = self._existing(int(command.comment), by)
        if not by.id or row.author_id != by.id:
            raise Refused("not_author")
        if now_ms - row.created_ms > self._policy.edit_window_s * 1000:
            raise Refused("edit_window_over")
        _check_body(command.body)
        if command.body == row.body:
            return _unchanged(row)
        return self._resave(row, author, body=command.body, edited_ms=now_ms)

    def _delete_comment(self, command: DeleteComment, by: Person, now_ms: int) -> Decision:
        self._published(by)
        written = self._recent.get(int(command.comment))
        if written is None:
            raise Refused("comment_not_found")
        row, author = written
        if not by.id or (row.author_id != by.id and not self._owns(by)):
            raise Refused("not_author")
        if row.state == "deleted":
            return _unchanged(row)
        return self._resave(row, author, state="deleted", body="", deleted_ms=now_ms)

    def _approve_comment(self, command: ApproveComment, by: Person) -> Decision:
        self._readable(by)
        if not self._owns(by):
            raise Refused("permission_denied")
        row, author = self._existing(int(command.comment), by)
        if row.state == "visible":
            return _unchanged(row)
        return self._resave(row, author, state="visible", changed_offset=self.head + 1)

    def _erase_comments(self, command: EraseComments, now_ms: int) -> Decision:
        """Take an author's name, or also the words, out of comments; those already without it are passed over."""
        events: list[Event] = []
        head, version = self.head, self.version
        for id in command.comments:
            written = self._recent.get(id)
            if written is None or written.comment.author_id != command.account:
                continue
            row = replace(written.comment, author_id=None, author_name=None, author_url=None)
            if command.words and row.state != "deleted":
                row = replace(row, state="deleted", body="", deleted_ms=now_ms)
            version += 1
            head += 1 if row.changed_offset else 0
            row = replace(row, version=version, changed_offset=head if row.changed_offset else 0)
            events.append(CommentSaved(row, None))
        return Decision(answer=Ack, events=tuple(events))

    def _resave(self, row: CommentRow, author: Author | None, **changes: Any) -> Decision:
        if row.changed_offset:
            changes["changed_offset"] = self.head + 1
        return _saved(replace(row, **changes, version=self.version + 1), author)

    def _existing(self, id: int, by: Person) -> WrittenComment:
        """A comment that is there for ``by`` to act on; not a tombstone."""
        self._published(by)
        written = self._recent.get(id)
        if written is None or written.comment.state == "deleted":
            raise Refused("comment_not_found")
        return written

    # -- reactions and views

    def _react(self, command: React, by: Person) -> Decision:
        self._published(by)
        _signed_in(by)
        if command.kind not in self._policy.reaction_kinds:
            raise Refused("unknown_reaction", f"kinds of reaction here: {', '.join(self._policy.reaction_kinds)}")
        comment = 0 if command.comment is None else int(command.comment)
        if comment and not self._tree.visible(comment):
            raise Refused("comment_not_found")
        if self._tallies.has(comment, command.kind, by.id) is command.on:
            return Decision(answer=self._ack_reaction)
        row = self._reaction(comment, command.kind, by.id, int(command.on))
        return Decision(answer=self._ack_reaction, events=(ReactionSaved(row),))

    def _applaud(self, command: Applaud, by: Person) -> Decision:
        self._published(by)
        _signed_in(by)
        if not 0 <= command.total <= APPLAUSE_MAX:
            raise Refused("applause_out_of_range")

        def ack() -> Ack:
            return Ack(version=self.version, total=command.total)

        if self._applause.of(by.id) == command.total:
            return Decision(answer=ack)
        row = self._reaction(0, APPLAUSE, by.id, command.total)
        return Decision(answer=ack, events=(ReactionSaved(row),))

    def _reaction(self, comment: int, kind: str, person: int, amount: int) -> ReactionRow:
        return ReactionRow(
            post_id=self.post_id,
            comment_id=comment,
            kind=kind,
            user_id=person,
            amount=amount,
            version=self.version + 1,
        )

    def _ack_reaction(self) -> Ack:
        return Ack(version=self.version)

    def _view(self, by: Person, now_ms: int) -> Decision:
        self._published(by)
        return Decision(answer=Ack, viewed=Viewed(by.viewer, now_ms))

    # -- reads

    def _read_post(self, by: Person) -> Decision:
        self._readable(by)
        return Decision(answer=lambda: self._post_view(by))

    def _read_comment(self, command: ReadComment, by: Person) -> Decision:
        self._readable(by)
        id = int(command.comment)
        if not self._tree.has(id):
            raise Refused("comment_not_found")

        def finish(bodies: Mapping[int, WrittenComment]) -> Raw:
            written = bodies.get(id)
            if written is None or not self._may_see(written.comment, by):
                raise Refused("comment_not_found")
            return Raw(self._encoder.comment(*written))

        return Decision(answer=lambda: self._fetch((id,), finish))

    def _may_see(self, row: CommentRow, by: Person) -> bool:
        return row.state != "held" or self._owns(by) or (by.id != 0 and row.author_id == by.id)

    def _read_comments(self, command: ReadComments, by: Person) -> Decision:
        self._readable(by)
        if command.only == "held" and not self._owns(by):
            raise Refused("permission_denied")
        parent = 0 if command.parent is None else int(command.parent)
        if parent and not self._tree.has(parent):
            raise Refused("comment_not_found")
        return Decision(answer=lambda: self._page(command, parent, by))

    def _page(self, command: ReadComments, parent: int, by: Person) -> Any:
        page = self._plan(command, parent)
        reactions = [self._tallies.counts(placed.id) for placed in page.placed]
        mine: list[list[str] | UnsetType] = [
            self._tallies.of(placed.id, by.id) if by.id else UNSET for placed in page.placed
        ]
        total, cursor = self._comments, self._cursor()

        def finish(bodies: Mapping[int, WrittenComment]) -> CommentPage:
            nodes = [
                CommentNode(
                    comment=Raw(self._encoder.comment(*bodies[placed.id])),
                    depth=placed.depth,
                    replies=placed.replies,
                    hidden=placed.hidden,
                    reactions=counts,
                    mine=own,
                )
                for placed, counts, own in zip(page.placed, reactions, mine, strict=True)
                if placed.id in bodies
            ]
            return CommentPage(comments=nodes, next=page.next, total=total, cursor=cursor)

        return self._fetch([placed.id for placed in page.placed], finish)

    def _plan(self, command: ReadComments, parent: int) -> Page:
        match command.only:
            case "held":
                return self._tree.held(command.limit, command.after)
            case "pingbacks":
                return self._tree.pingbacks(command.limit, command.after)
            case "comments" if command.view == "level":
                return self._tree.level(parent, command.order, command.limit, command.after)
            case "comments":
                return self._tree.threads(parent, command.order, command.limit, command.after)
            case _:
                assert_never(command.only)

    def _fetch(self, ids: Sequence[int], finish: Callable[[Mapping[int, WrittenComment]], Any]) -> Any:
        """The finished answer if all texts are in memory, else what is to be fetched for it."""
        known = {id: self._recent[id] for id in ids if id in self._recent}
        missing = [id for id in ids if id not in known]
        if not missing:
            return finish(known)
        return Fetch(missing, lambda read: finish({**known, **read}))

    def _post_view(self, by: Person) -> PostView:
        assert self._post is not None
        view = self._encoder.post(
            self._post, self._author, version=self.version, counters=self._counters(), cursor=self._cursor()
        )
        if not by.id:
            return view
        return replace(view, mine=self._tallies.of(0, by.id), applause_mine=self._applause.of(by.id))

    def _counters(self) -> Counters:
        return Counters(
            comments=self._comments,
            reactions=self._tallies.counts(0),
            applause=self._applause.total,
            views=self._viewers.views,
            viewers=self._viewers.viewers,
            watchers=self.watchers,
        )

    def _cursor(self) -> str:
        return str(Cursor(self.epoch, self.head))

    # -- who may

    def _readable(self, by: Person) -> PostRow:
        post = self._post
        if post is None or post.state == "deleted" or (post.state != "published" and not self._owns(by)):
            raise Refused("post_not_found")
        return post

    def _published(self, by: Person) -> PostRow:
        """A draft takes no comments or reactions, of its author either; who may not read it is not told of it."""
        post = self._readable(by)
        if post.state != "published":
            raise Refused("comments_closed", "the post is not published")
        return post

    def _own_post(self, by: Person) -> PostRow:
        post = self._readable(by)
        if not self._owns(by):
            raise Refused("not_author")
        return post

    def _owns(self, by: Person) -> bool:
        """The post's author, or a moderator."""
        return by.moderates or (by.id != 0 and self._post is not None and self._post.author_id == by.id)

    # -- apply

    def apply(self, event: Event) -> None:
        self.version += 1
        match event:
            case CommentSaved(row, author):
                self.head = max(self.head, row.changed_offset)
                self._place(row, counted=True)
                self._recent[row.id] = WrittenComment(row, author)
                self._recent.move_to_end(row.id)
            case ReactionSaved(row):
                self._tally(row)
            case PostSaved(row, author):
                self.head = row.changed_offset
                self._post, self._author = row, author
            case AccountSaved() | SessionSaved():
                raise AssertionError("not an event of a post")
            case _:
                assert_never(event)

    def _place(self, row: CommentRow, *, counted: bool = False) -> None:
        """Put a comment into the tree; ``counted`` also into the counters, which a loaded state has already."""
        if counted:
            before = self._tree.visible(row.id)
            self._comments += (row.state == "visible") - before if row.kind == "comment" else 0
        self._tree.put(row.id, row.parent_id or 0, row.state, row.kind)
        if row.source is not None:
            self._sources[row.source] = row.id

    def _tally(self, row: ReactionRow) -> None:
        if row.kind == APPLAUSE:
            self._applause.put(row.user_id, row.amount)
            return
        before = self._tallies.score(row.comment_id)
        self._tallies.put(row.comment_id, row.kind, row.user_id, row.amount > 0)
        if row.comment_id:
            self._tree.rescored(row.comment_id, before)

    def look(self, viewed: Viewed) -> bool:
        return self._viewers.look(viewed.viewer, viewed.at_ms)

    # -- what the runtime writes and shows

    def state_row(self) -> PostStateRow:
        return PostStateRow(
            post_id=self.post_id,
            version=self.version,
            head=self.head,
            last_comment_id=self._tree.last_id,
            comments=self._comments,
            reactions=self._tallies.counts(0),
            applause=self._applause.total,
        )

    def views_row(self) -> PostViewsRow:
        viewers = self._viewers
        return PostViewsRow(
            post_id=self.post_id,
            views=viewers.views,
            viewers=viewers.viewers,
            window_ms=viewers.window_ms,
            window_viewers=viewers.window.dump(),
            all_viewers=viewers.all.dump(),
        )

    def numbers(self, touched: Sequence[int]) -> Numbers:
        return Numbers(
            version=self.version,
            comments=self._comments,
            reactions=self._tallies.counts(0),
            applause=self._applause.total,
            of_comments={str(id): self._tallies.counts(id) for id in touched},
        )

    def views(self) -> tuple[int, int]:
        """(views, distinct viewers), volatile."""
        return self._viewers.views, self._viewers.viewers

    def snapshot(self) -> bytes | None:
        if self._post is None:
            return None
        parents, flags = self._tree.dump()
        return msgspec.msgpack.encode(
            PostSnapshot(parents, flags, self._sources, self._tallies.dump(), self._applause.dump())
        )

    def trim(self) -> None:
        while len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)

    def publication(self, event: Event) -> Publication | None:
        """How the stream shows an event that was just applied; None if it does not."""
        match event:
            case CommentSaved() if event.row.changed_offset:
                comment, author = event.row, event.author
                return Publication(comment.changed_offset, lambda: self._encoder.comment_changed(comment, author))
            case PostSaved(row):
                # Now, not when it is sent: by then the counters may have moved on to what is not durable.
                view = self._post_view(ANONYMOUS)
                return Publication(row.changed_offset, lambda: self._encoder.post_changed(view))
            case _:
                return None

    def author_changed(self, author: Author) -> None:
        """Someone has another name or address now: show it in what is in memory."""
        if self._author is not None and self._author.id == author.id:
            self._author = author
        for id, (row, written_by) in self._recent.items():
            if written_by is not None and written_by.id == author.id:
                self._recent[id] = WrittenComment(row, author)


def _saved(row: CommentRow, author: Author | None) -> Decision:
    ack = Ack(id=str(row.id), offset=row.changed_offset or None, version=row.version)
    return Decision(answer=lambda: ack, events=(CommentSaved(row, author),))


def _unchanged(row: CommentRow) -> Decision:
    return Decision(answer=lambda: Ack(id=str(row.id), offset=row.changed_offset or None))


def _signed_in(by: Person) -> None:
    if not by.id:
        raise Refused("unauthorized", "sign in, or name yourself as a guest")


def _check_body(body: str) -> None:
    """The last guard: the gateway has normalised and checked it in detail."""
    if not body.strip():
        raise Refused("comment_empty")
    if len(body) > BODY_CHARS_MAX:
        raise Refused("comment_too_long", f"a comment has at most {BODY_CHARS_MAX} characters")
