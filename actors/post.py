"""A post: a state machine over ``PostState``. Pure: no clock, no I/O.

The decisions about comments, reactions and reads stand in modules of their own; those about the post itself are here.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from actors import commenting, fanout, finding, reacting, reading, telling
from actors.actor import (
    CommentSaved,
    Decision,
    Event,
    Need,
    PostSaved,
    Publication,
    ReactionSaved,
    ReadCounters,
    ReadHead,
    RingAlarm,
    ShowPost,
)
from actors.jobs import ChunkPushed, PostIndexed
from actors.poststate import PostState
from protocol.commands import (
    ANONYMOUS,
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
from protocol.errors import Refused
from protocol.views import Ack
from store.finding import Bookmarked
from store.graph import Relation, Ties
from store.notifications import Named
from store.rows import Author, NotificationRow, PostRow

PUBLISH_ALARM = "publish"
GATHERING: Final = (telling.NEWS_ALARM, finding.FINDING_ALARM)
"""Alarms that have as much to do at once as has come since they were set: they may wait."""


class PostActor(PostState):
    """See ``Actor``. A post that was never made exists only to refuse."""

    __slots__ = ()

    def needs(self, command: Command) -> Need | None:
        match command:
            case React() | CreateComment() | Applaud():
                return None
            case RingAlarm(name=telling.NEWS_ALARM):
                return telling.needed(self)
            case _:
                return commenting.needed(self, command)

    def provide_relations(self, relations: Sequence[Relation]) -> None:
        raise AssertionError("a post asks for no relations")

    def provide_bookmark(self, post: int, stored: Bookmarked) -> None:
        raise AssertionError("a post asks for no bookmark")

    def provide_traces(
        self, writings: Sequence[tuple[int, int]], ties: Ties, told: Sequence[int], bookmarks: Sequence[int]
    ) -> None:
        raise AssertionError("a post asks for no traces")

    def provide_notices(self, groups: Sequence[NotificationRow], named: Named) -> None:
        raise AssertionError("a post asks for no notices")

    def provide_old_notices(self, ids: Sequence[int], oldest_ms: int | None) -> None:
        raise AssertionError("a post asks for no notices")

    # -- decide

    def decide(self, command: Command, by: Person, now: float) -> Decision:
        now_ms = int(now * 1000)
        decision = self._decide(command, by, now_ms)
        if not decision.events:
            return decision
        if not self.news.any and telling.heard(self, decision.events):
            decision = _also_rings(decision, telling.NEWS_ALARM, now_ms + telling.NEWS_AFTER_MS)
        if finding.stirred(self, decision.events):
            decision = _also_rings(decision, finding.FINDING_ALARM, now_ms + finding.FINDING_AFTER_MS)
        return decision

    def _decide(self, command: Command, by: Person, now_ms: int) -> Decision:
        match command:
            case CreateComment():
                return commenting.create(self, command, by, now_ms)
            case React():
                return reacting.react(self, command, by)
            case Applaud():
                return reacting.applaud(self, command, by)
            case View():
                return reacting.view(self, by, now_ms)
            case ReadHead():
                self.readable(by)
                return Decision(answer=lambda: self.head)
            case ShowPost() if self.post is not None:
                return Decision(answer=lambda: self.post_view(ANONYMOUS))
            case ShowPost():
                raise Refused("post_not_found")
            case ReadCounters():
                return Decision(answer=lambda: self.counters_changed(command.comments))
            case ReadPost():
                return reading.post(self, by)
            case ReadComments():
                return reading.comments(self, command, by)
            case ReadComment():
                return reading.comment(self, command, by)
            case EditComment():
                return commenting.edit(self, command, by, now_ms)
            case DeleteComment():
                return commenting.delete(self, command, by, now_ms)
            case ApproveComment():
                return commenting.approve(self, command, by)
            case ImportComment():
                return commenting.import_(self, command, by, now_ms)
            case EraseComments():
                return commenting.erase(self, command, now_ms)
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
            case RingAlarm(name=telling.NEWS_ALARM):
                return telling.due(self, now_ms)
            case RingAlarm(name="fanout"):
                return fanout.due(self)
            case ChunkPushed():
                return fanout.pushed(self, command, now_ms)
            case RingAlarm(name=finding.FINDING_ALARM):
                return finding.due(self, now_ms)
            case PostIndexed():
                return finding.indexed(self, command, now_ms)
            case RingAlarm():
                return Decision(answer=Ack, alarms={command.name: None})
            case _:
                raise Refused("method_not_found")

    # -- the post itself

    def _create_post(self, command: CreatePost, by: Person, now_ms: int) -> Decision:
        if self.post is not None:
            if self.post.author_id == (by.id or None) and self.post.state != "deleted":
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
            published_id=fanout.place_of(self.post_id, created_ms, at_once=True) if published else 0,
            edited_ms=None,
        )
        author = Author(by.id, by.handle, by.name, by.url) if by.id else None
        saved = Decision(
            answer=self._ack_post,
            events=(PostSaved(row, author),),
            alarms={PUBLISH_ALARM: due_ms} if scheduled else {},
        )
        return _with(saved, fanout.published(self, row, now_ms)) if published else saved

    def _edit_post(self, command: EditPost, by: Person, now_ms: int) -> Decision:
        post = self.own_post(by)
        changes = {
            name: value
            for name in ("title", "body", "slug", "tags", "comments_open")
            if (value := getattr(command, name)) is not None and value != getattr(post, name)
        }
        if not changes:
            return Decision(answer=self._ack_post)
        return self._save_post(post, **changes, edited_ms=now_ms)

    def _publish_post(self, command: PublishPost, by: Person, now_ms: int) -> Decision:
        post = self.own_post(by)
        if post.state == "published":
            return Decision(answer=self._ack_post)
        if command.at is not None and command.at > now_ms:
            saved = self._save_post(post, state="scheduled", publish_ms=command.at)
            return replace(saved, alarms={PUBLISH_ALARM: command.at})
        return self._publish(post, now_ms)

    def _publish_due(self, now_ms: int) -> Decision:
        post = self.post
        if post is None or post.state != "scheduled":
            return Decision(answer=Ack, alarms={PUBLISH_ALARM: None})
        if post.publish_ms is not None and post.publish_ms > now_ms:
            return Decision(answer=Ack, alarms={PUBLISH_ALARM: post.publish_ms})
        return self._publish(post, now_ms)

    def _publish(self, post: PostRow, now_ms: int) -> Decision:
        row = replace(
            post,
            state="published",
            publish_ms=None,
            published_ms=now_ms,
            published_id=fanout.place_of(self.post_id, now_ms, at_once=False),
            changed_offset=self.head + 1,
        )
        saved = Decision(answer=self._ack_post, events=(PostSaved(row, self.author),), alarms={PUBLISH_ALARM: None})
        return _with(saved, fanout.published(self, row, now_ms))

    def _delete_post(self, by: Person, now_ms: int) -> Decision:
        if self.post is not None and self.post.state == "deleted" and self.owns(by):
            return Decision(answer=self._ack_post)
        post = self.own_post(by)
        saved = self._save_post(
            post, state="deleted", title="", body="", tags=[], slug=None, publish_ms=None, edited_ms=now_ms
        )
        return _with(replace(saved, alarms={PUBLISH_ALARM: None}), fanout.withdrawn(self, post))

    def _save_post(self, post: PostRow, **changes: Any) -> Decision:
        row = replace(post, **changes, changed_offset=self.head + 1)
        return Decision(answer=self._ack_post, events=(PostSaved(row, self.author),))

    def _ack_post(self) -> Ack:
        return Ack(id=str(self.post_id), offset=self.head, version=self.version)

    def publication(self, event: Event) -> Publication | None:
        """How the stream shows an event that was just applied; None if it does not."""
        match event:
            case ReactionSaved():
                return None
            case CommentSaved() if event.row.changed_offset:
                comment, author = event.row, event.author
                return Publication(comment.changed_offset, lambda: self.encoder.comment_changed(comment, author))
            case PostSaved(row):
                # Now, not when it is sent: by then the counters may have moved on to what is not durable.
                view = self.post_view(ANONYMOUS)
                return Publication(row.changed_offset, lambda: self.encoder.post_changed(view))
            case _:
                return None


def _also_rings(decision: Decision, alarm: str, due_ms: int) -> Decision:
    return replace(decision, alarms={**decision.alarms, alarm: due_ms})


def _with(saved: Decision, consequences: fanout.Consequences) -> Decision:
    return replace(
        saved,
        events=(*saved.events, *consequences.events),
        alarms={**saved.alarms, **consequences.alarms},
        messages=(*saved.messages, *consequences.messages),
    )
