"""Decisions about the bookmarks that a person sets on posts."""

from collections.abc import Iterable

from actors.actor import BookmarkEnded, BookmarkNeeded, BookmarkSaved, Decision, Event, Need
from actors.userstate import UserState
from protocol.commands import Command, Person
from protocol.errors import Refused
from protocol.finding import Bookmark
from protocol.views import Ack
from store.rows import BookmarkRow


def needed(command: Command) -> Need | None:
    """Always anew: the post may have come or gone."""
    return BookmarkNeeded(int(command.post)) if isinstance(command, Bookmark) else None


def bookmark(state: UserState, command: Bookmark, by: Person, now_ms: int) -> Decision:
    if by.id != state.account_id:
        raise Refused("permission_denied")
    state.active_account()
    post = int(command.post)
    if command.on and not state.bookmarks.published(post):
        raise Refused("post_not_found")
    if command.on == state.bookmarks.on(post):
        return Decision(answer=Ack)
    if not command.on:
        return Decision(answer=Ack, events=(BookmarkEnded(state.account_id, post),))
    row = BookmarkRow(user_id=state.account_id, post_id=post, place=state.version + 1, created_ms=now_ms)
    return Decision(answer=Ack, events=(BookmarkSaved(row),))


def ended(state: UserState, posts: Iterable[int]) -> tuple[Event, ...]:
    """Takes the bookmarks on ``posts`` away, of an account that is gone."""
    return tuple(BookmarkEnded(state.account_id, post) for post in posts)
