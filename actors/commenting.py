"""Decisions about the comments of a post."""

from typing import Any

from msgspec.structs import replace

from actors.actor import CommentSaved, CommentsNeeded, Decision, Event, Need
from actors.poststate import PostState
from protocol.commands import (
    BODY_CHARS_MAX,
    ApproveComment,
    Command,
    CreateComment,
    DeleteComment,
    EditComment,
    EraseComments,
    ImportComment,
    Person,
)
from protocol.errors import Refused
from protocol.views import Ack
from store.base import WrittenComment
from store.rows import Author, CommentRow


def needed(state: PostState, command: Command) -> Need | None:
    """The comments that must be in memory to decide about ``command``."""
    match command:
        case EditComment() | DeleteComment() | ApproveComment():
            ids = [int(command.comment)]
        case EraseComments():
            ids = command.comments
        case _:
            return None
    missing = tuple(id for id in ids if id not in state.recent and state.tree.has(id))
    return CommentsNeeded(missing) if missing else None


def create(state: PostState, command: CreateComment, by: Person, now_ms: int) -> Decision:
    post = state.published(by)
    state.signed_in(by)
    if not post.comments_open:
        raise Refused("comments_closed")
    _check_body(command.body)
    parent = None if command.parent is None else int(command.parent)
    if parent is not None and not state.tree.visible(parent):
        raise Refused("parent_not_found")
    row = CommentRow(
        post_id=state.post_id,
        id=state.tree.last_id + 1,
        parent_id=parent,
        author_id=by.id,
        body=command.body,
        state="visible",
        kind="comment",
        changed_offset=state.head + 1,
        version=state.version + 1,
        source=None,
        author_name=None,
        author_url=None,
        created_ms=now_ms,
        edited_ms=None,
        deleted_ms=None,
    )
    return _saved(row, Author(by.id, by.handle, by.name, by.url))


def import_(state: PostState, command: ImportComment, by: Person, now_ms: int) -> Decision:
    if state.post is None or state.post.state == "deleted":
        raise Refused("post_not_found")
    if not by.moderates:
        raise Refused("permission_denied")
    known = state.sources.get(command.source)
    if known is not None:
        return Decision(answer=lambda: Ack(id=str(known)))
    _check_body(command.body)
    parent = None if command.parent_source is None else state.sources.get(command.parent_source)
    if command.parent_source is not None and parent is None:
        raise Refused("parent_not_found")
    row = CommentRow(
        post_id=state.post_id,
        id=state.tree.last_id + 1,
        parent_id=parent,
        author_id=command.author.id or None,
        body=command.body,
        state="held" if command.held else "visible",
        kind=command.kind,
        changed_offset=0 if command.held else state.head + 1,
        version=state.version + 1,
        source=command.source,
        author_name=command.author.name,
        author_url=command.author.url,
        created_ms=command.created_at,
        edited_ms=None,
        deleted_ms=None,
    )
    author = command.author
    return _saved(row, Author(author.id, author.handle, author.name, author.url) if author.id else None)


def edit(state: PostState, command: EditComment, by: Person, now_ms: int) -> Decision:
    row, author = _existing(state, int(command.comment), by)
    if not by.id or row.author_id != by.id:
        raise Refused("not_author")
    if now_ms - row.created_ms > state.policy.edit_window_s * 1000:
        raise Refused("edit_window_over")
    _check_body(command.body)
    if command.body == row.body:
        return _unchanged(row)
    return _resave(state, row, author, body=command.body, edited_ms=now_ms)


def delete(state: PostState, command: DeleteComment, by: Person, now_ms: int) -> Decision:
    state.published(by)
    written = state.recent.get(int(command.comment))
    if written is None:
        raise Refused("comment_not_found")
    row, author = written
    if not by.id or (row.author_id != by.id and not state.owns(by)):
        raise Refused("not_author")
    if row.state == "deleted":
        return _unchanged(row)
    return _resave(state, row, author, state="deleted", body="", deleted_ms=now_ms)


def approve(state: PostState, command: ApproveComment, by: Person) -> Decision:
    state.readable(by)
    if not state.owns(by):
        raise Refused("permission_denied")
    row, author = _existing(state, int(command.comment), by)
    if row.state == "visible":
        return _unchanged(row)
    return _resave(state, row, author, state="visible", changed_offset=state.head + 1)


def erase(state: PostState, command: EraseComments, now_ms: int) -> Decision:
    """Take an author's name, or also the words, out of comments; those already without it are passed over."""
    events: list[Event] = []
    head, version = state.head, state.version
    for id in command.comments:
        written = state.recent.get(id)
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


def _resave(state: PostState, row: CommentRow, author: Author | None, /, **changes: Any) -> Decision:
    if row.changed_offset:
        changes["changed_offset"] = state.head + 1
    return _saved(replace(row, **changes, version=state.version + 1), author)


def _existing(state: PostState, id: int, by: Person) -> WrittenComment:
    """A comment that is there for ``by`` to act on; not a tombstone."""
    state.published(by)
    written = state.recent.get(id)
    if written is None or written.comment.state == "deleted":
        raise Refused("comment_not_found")
    return written


def _saved(row: CommentRow, author: Author | None) -> Decision:
    ack = Ack(id=str(row.id), offset=row.changed_offset or None, version=row.version)
    return Decision(answer=lambda: ack, events=(CommentSaved(row, author),))


def _unchanged(row: CommentRow) -> Decision:
    return Decision(answer=lambda: Ack(id=str(row.id), offset=row.changed_offset or None))


def _check_body(body: str) -> None:
    """The last guard: the gateway has normalised and checked it in detail."""
    if not body.strip():
        raise Refused("comment_empty")
    if len(body) > BODY_CHARS_MAX:
        raise Refused("comment_too_long", f"a comment has at most {BODY_CHARS_MAX} characters")
