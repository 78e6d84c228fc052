"""Lists of notifications: what is asked of them without an actor."""

from collections.abc import Callable

from actors.keys import user_key
from actors.notices import accounts_view, group_view, posts_view
from actors.runtime.directory import available
from protocol.cursor import Cursor
from protocol.notifications import NotificationPage, NotificationsListed
from store.notifications import NEWEST_OFFSET, Notifications


class Told:
    """Everything raises ``Unavailable`` while the store is away."""

    def __init__(self, notifications: Notifications, *, epoch: Callable[[str], str]) -> None:
        self._notifications = notifications
        self._epoch = epoch

    async def page(self, of: int, *, before: int | None, limit: int) -> NotificationsListed:
        """See ``Backend.notifications``."""
        with available():
            told = await self._notifications.page(of, before=before or NEWEST_OFFSET, limit=limit + 1)
            groups = told.groups[:limit]
            people = sorted({id for row in groups for id in row.sample})
            posts = sorted({row.post_id for row in groups if row.post_id})
            named = await self._notifications.named(people, posts)
        page = NotificationPage(
            groups=[group_view(row, told.read_offset) for row in groups],
            accounts=accounts_view(named, people),
            posts=posts_view(named, posts),
            unread=told.unread,
            cursor=str(Cursor(self._epoch(user_key(of)), told.head)),
        )
        return NotificationsListed(page, groups[-1].changed_offset if len(told.groups) > limit else None)
