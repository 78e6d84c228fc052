"""The past of the streams of each kind of actor; see ``History``."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from actors.actor import ReadCounters, ReadUnread, ShowPost
from actors.encoding import Encoder
from actors.keys import post_key, user_key
from actors.notices import notification_changed
from actors.runtime.past import PAGE_BYTES, Missed, render_ahead
from protocol.commands import Command
from protocol.delivery import Published
from protocol.notifications import UnreadChanged
from protocol.views import CountersChanged
from store.base import Store
from store.notifications import Notifications

REACTED_MAX = 1_000
"""Comments whose reactions are told to someone who was away: those that changed last."""

Ask = Callable[[str, Command], Awaitable[Any]]


class PostHistory:
    """Comments and the post itself; besides, the counters."""

    def __init__(self, store: Store, encoder: Encoder, *, ask: Ask) -> None:
        self._store = store
        self._encoder = encoder
        self._ask = ask

    async def missed(self, number: int, after: int, rows_max: int) -> Missed:
        changes = await self._store.changes(number, after, rows_max=rows_max, bytes_max=PAGE_BYTES)
        await render_ahead(self._encoder, changes.comments)
        items = [
            Published(written.comment.changed_offset, self._encoder.comment_changed(*written))
            for written in changes.comments
        ]
        if changes.post is not None:
            view = await self._ask(post_key(number), ShowPost())
            items.append(Published(changes.post.changed_offset, self._encoder.post_changed(view)))
            items.sort(key=lambda item: item.offset or 0)
        return Missed(items, changes.through, changes.through < changes.head)

    async def latest(self, number: int, after: int) -> CountersChanged:
        """With the reactions of every comment that was reacted to since."""
        reacted = await self._store.reacted(number, after, REACTED_MAX)
        counters: CountersChanged = await self._ask(post_key(number), ReadCounters(comments=tuple(reacted)))
        return counters


class UserHistory:
    """Notifications; besides, how many are unread."""

    def __init__(self, notifications: Notifications, *, ask: Ask) -> None:
        self._notifications = notifications
        self._ask = ask

    async def missed(self, number: int, after: int, rows_max: int) -> Missed:
        changes = await self._notifications.changes(number, after, limit=rows_max)
        people = {id for row in changes.groups for id in row.sample}
        posts = {row.post_id for row in changes.groups if row.post_id}
        named = await self._notifications.named(sorted(people), sorted(posts))
        items = [
            Published(row.changed_offset, msgspec.json.encode(notification_changed(row, named, changes.read_offset)))
            for row in changes.groups
        ]
        return Missed(items, changes.through, changes.through < changes.head)

    async def latest(self, number: int, after: int) -> UnreadChanged:
        unread: UnreadChanged = await self._ask(user_key(number), ReadUnread())
        return unread
