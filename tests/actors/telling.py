"""The one helper that knows the actors' interface: tells an actor commands, and keeps the rows it writes."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from actors.actor import (
    Actor,
    BookmarkNeeded,
    CommentSaved,
    CommentsNeeded,
    Decision,
    Fetch,
    Gone,
    NewsNeeded,
    NoticesNeeded,
    OldNoticesNeeded,
    PostSaved,
    RelationsNeeded,
    TracesNeeded,
)
from actors.encoding import Encoder
from actors.news import Found, News
from actors.policy import Policy
from actors.post import PostActor
from actors.poststate import APPLAUSE
from actors.user import UserActor
from protocol.commands import Command, Person
from protocol.errors import DomainError
from store.base import LoadedPost, WrittenComment
from store.finding import Bookmarked
from store.graph import Relation, Ties
from store.notifications import Named, Title
from store.rows import (
    Author,
    BlockRow,
    BookmarkRow,
    CommentRow,
    FindingRow,
    FollowRow,
    MuteRow,
    NotificationRow,
    PostRow,
    ReactionRow,
    Row,
    SnapshotRow,
)

NOW = 1_770_000_000.0
POST = 7
ANN = Person(id=1, handle="ann", name="Ann", role="author", viewer=101)
BOB = Person(id=2, handle="bob", name="Bob", viewer=102)
CID = Person(id=3, handle="cid", name="Cid", viewer=103)
MOD = Person(id=9, handle="mod", name="Mod", role="moderator", viewer=109)
AUTHORS = {person.id: Author(person.id, person.handle, person.name, person.url) for person in (ANN, BOB, CID, MOD)}


class Told:
    """An actor, what it was told, and the rows that came of it."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.rows: dict[tuple[type[Row], tuple[Any, ...]], Row] = {}
        self.decisions: list[Decision] = []
        self.theirs: dict[int, Relation] = {}
        """The others' side, where it is not that of somebody who does nothing."""
        self.told: list[tuple[int, int]] = []
        """(person, comment) of who was told about comments of the post."""
        self.told_of: list[int] = []
        """Who was told something that names the user."""
        self.unpublished: set[int] = set()
        """Posts that nobody can read."""

    def ask(self, command: Command, by: Person = BOB, now: float = NOW) -> Any:
        """Decide, apply and answer; a refusal is raised."""
        self.provide(command, now)
        decision = self.actor.decide(command, by, now)
        self.decisions.append(decision)
        for event in decision.events:
            self.actor.apply(event)
            self.write(event.row)
        if decision.viewed is not None:
            self.actor.look(decision.viewed)
        answer = decision.answer()
        if isinstance(answer, Fetch):
            answer = answer.finish({id: self.written()[id] for id in answer.ids})
        return answer

    def write(self, row: Row | Gone | None) -> None:
        """Keep the row of an event."""
        match row:
            case Gone(row_type, identity):
                self.rows.pop((row_type, identity), None)
            case None:
                pass
            case _:
                self.rows[type(row), row.identity()] = row

    def code(self, command: Command, by: Person = BOB, now: float = NOW) -> str:
        """The code of a refusal, which leaves everything as it was."""
        before = (self.actor.version, self.actor.head)
        try:
            answer = self.ask(command, by, now)
        except DomainError as error:
            assert (self.actor.version, self.actor.head) == before
            return error.code
        raise AssertionError(f"not refused: {answer}")

    def provide(self, command: Command, now: float) -> None:
        match self.actor.needs(command):
            case CommentsNeeded(ids):
                written = self.written()
                self.actor.provide_comments([written[id] for id in ids if id in written])
            case RelationsNeeded(ids):
                self.actor.provide_relations([self.relation(id) for id in ids if id in AUTHORS or id in self.theirs])
            case TracesNeeded(limit):
                assert isinstance(self.actor, UserActor)
                me = self.actor.account_id
                writings = [(row.post_id, row.id) for row in self.comments() if row.author_id == me]
                bookmarks = [row.post_id for row in self.of(BookmarkRow)]
                self.actor.provide_traces(writings[:limit], self.ties(me, limit), self.told_of, bookmarks[:limit])
            case BookmarkNeeded(post):
                assert isinstance(self.actor, UserActor)
                on = (BookmarkRow, (self.actor.account_id, post)) in self.rows
                self.actor.provide_bookmark(post, Bookmarked(on, published=post not in self.unpublished))
            case NewsNeeded() as need:
                self.actor.provide_news(self.found(need))
            case NoticesNeeded() as need:
                unwanted = [id for id in need.among if self.relation(id).apart or self.relation(id).muting]
                known = [id for id in (*need.ids, *unwanted) if id in AUTHORS or id in self.theirs]
                self.actor.provide_relations([self.relation(id) for id in known])
                rows = [row for row in self.of(NotificationRow) if not row.gone]
                self.actor.provide_notices(rows, Named(AUTHORS, {POST: Title(POST, "A post", "a-post")}))
            case OldNoticesNeeded(kept, age_ms, limit):
                rows = sorted(self.of(NotificationRow), key=lambda row: -row.changed_offset)
                limit_ms = int(now * 1000) - age_ms
                old = [row.id for place, row in enumerate(rows) if place >= kept or row.updated_ms < limit_ms]
                others = [row.updated_ms for row in rows if row.id not in old]
                self.actor.provide_old_notices(sorted(old)[:limit], min(others, default=None))
            case None:
                pass

    @property
    def decision(self) -> Decision:
        """The last."""
        return self.decisions[-1]

    @property
    def alarms(self) -> Mapping[str, int | None]:
        return self.decision.alarms

    # -- rows

    def of(self, row_type: type[Row]) -> list[Any]:
        return sorted((row for row in self.rows.values() if type(row) is row_type), key=lambda row: row.identity())

    def comments(self) -> list[CommentRow]:
        return self.of(CommentRow)

    def relation(self, id: int) -> Relation:
        """As it is stored, when everything is."""
        assert isinstance(self.actor, UserActor)
        me = self.actor.account_id
        edge, muted = self.rows.get((FollowRow, (me, id))), self.rows.get((MuteRow, (me, id)))
        return msgspec.structs.replace(
            self.theirs.get(id, Relation(id=id, active=True)),
            edge=edge if isinstance(edge, FollowRow) else None,
            blocking=(BlockRow, (me, id)) in self.rows,
            muting=muted is not None,
            muting_until_ms=muted.until_ms if isinstance(muted, MuteRow) else None,
        )

    def found(self, need: NewsNeeded) -> Found:
        """As the store has it, when everything is stored."""
        handles = {author.handle: author.id for author in AUTHORS.values()}
        gone = need.gone
        return Found(
            comments=[self.written()[id] for id in need.comments],
            handles={handle: handles[handle] for handle in need.handles if handle in handles},
            told=[] if gone is None else [(person, id) for person, id in self.told if not gone or id in gone],
        )

    def ties(self, me: int, limit: int) -> Ties:
        follows = self.of(FollowRow)
        return Ties(
            [row.followee for row in follows if row.follower == me][:limit],
            [row.follower for row in follows if row.followee == me][:limit],
            [row.blocked for row in self.of(BlockRow)][:limit],
            [row.muted for row in self.of(MuteRow)][:limit],
        )

    def written(self) -> dict[int, WrittenComment]:
        return {row.id: WrittenComment(row, AUTHORS.get(row.author_id or 0)) for row in self.comments()}


def new_post() -> PostActor:
    return PostActor(POST, policy=Policy(), encoder=Encoder(), stream_epoch=lambda _: "epoch")


def reloaded(told: Told, snapshot: SnapshotRow | None) -> Told:
    """The post as it is loaded from a snapshot and the rows, as the store gives them."""
    actor = told.actor
    assert isinstance(actor, PostActor)
    version, head = (snapshot.version, snapshot.head) if snapshot is not None else (0, 0)
    posts: Sequence[PostRow] = told.of(PostRow)
    loaded = LoadedPost(
        snapshot=snapshot,
        post=posts[0] if posts else None,
        author=AUTHORS.get(posts[0].author_id or 0) if posts else None,
        state=actor.state_row() if posts else None,
        finding=next(iter(told.of(FindingRow)), None),
        views=actor.views_row() if posts else None,
        comments=[
            msgspec.structs.replace(row, body="")
            for row in told.comments()
            if row.version > version and (row.changed_offset > head or row.changed_offset == 0)
        ],
        reactions=[row for row in told.of(ReactionRow) if row.version > version],
    )
    news = News.recovered(
        loaded.post,
        [row for row in told.comments() if row.version > actor.told],
        [row for row in told.of(ReactionRow) if row.version > actor.told],
        applause=APPLAUSE,
    )
    again = Told(
        PostActor.load(POST, loaded, policy=Policy(), encoder=Encoder(), stream_epoch=lambda _: "epoch", news=news)
    )
    again.rows = dict(told.rows)
    return again


def snapshot_of(actor: PostActor) -> SnapshotRow:
    data = actor.snapshot()
    assert data is not None
    return SnapshotRow(actor=actor.key, version=actor.version, head=actor.head, data=data)


def events_of(told: Told) -> list[CommentSaved | PostSaved]:
    return [
        event for decision in told.decisions for event in decision.events if isinstance(event, CommentSaved | PostSaved)
    ]
