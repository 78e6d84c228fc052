"""What people are told of, in the twin in memory."""

from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter

from msgspec.structs import replace

from store.notifications import (
    GROUPS_ABOUT_MAX,
    GROUPS_OF_TARGET_MAX,
    NEWEST_OFFSET,
    GroupChanges,
    Named,
    Target,
    Title,
    Told,
    target_of,
)
from store.rows import CommentRow, NotificationRow, PostRow, ReactionRow, UserStateRow
from store.twin import Twin


class MemoryNotifications:
    """See ``store.notifications.Notifications``; an attribute of ``MemoryStore``."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin

    async def page(self, user: int, *, before: int = NEWEST_OFFSET, limit: int) -> Told:
        def work() -> Told:
            head, read_offset = self._state(user)
            shown = sorted(self._shown(user), key=attrgetter("changed_offset"), reverse=True)
            unread = sum(row.grown_offset > read_offset for row in shown)
            page = [row for row in shown if row.changed_offset < before][:limit]
            return Told(page, head, read_offset, unread)

        return await self._twin.call("notifications", work)

    async def changes(self, user: int, after: int, *, limit: int) -> GroupChanges:
        def work() -> GroupChanges:
            head, read_offset = self._state(user)
            changed = sorted(self._all(user), key=attrgetter("changed_offset"))
            groups = [row for row in changed if row.changed_offset > after]
            page = groups[:limit]
            return GroupChanges(page, head, read_offset, page[-1].changed_offset if len(groups) > limit else head)

        return await self._twin.call("notification_changes", work)

    async def groups(
        self,
        user: int,
        *,
        targets: Sequence[Target] = (),
        about: Sequence[tuple[int, int]] = (),
        naming: Sequence[int] = (),
    ) -> list[NotificationRow]:
        def of(row: NotificationRow) -> bool:
            return (row.post_id, row.comment_id) in about or (row.post_id, 0) in about

        def work() -> list[NotificationRow]:
            shown = sorted(self._shown(user), key=attrgetter("id"), reverse=True)
            by_target: dict[Target, list[NotificationRow]] = defaultdict(list)
            for row in shown:
                by_target[target_of(row)].append(row)
            found = [row for target in targets for row in by_target[target][:GROUPS_OF_TARGET_MAX]]
            found += [row for row in shown if of(row)][:GROUPS_ABOUT_MAX]
            found += [row for row in shown if not set(row.sample).isdisjoint(naming)][:GROUPS_ABOUT_MAX]
            return sorted({row.id: row for row in found}.values(), key=attrgetter("id"), reverse=True)

        return await self._twin.call("notification_groups", work)

    async def named(self, people: Sequence[int], posts: Sequence[int]) -> Named:
        def work() -> Named:
            faces = ((id, self._twin.face(id)) for id in people)
            rows = (self._twin.table(PostRow).get((id,)) for id in posts)
            return Named(
                {id: face for id, face in faces if face is not None},
                {row.id: Title(row.id, row.title, row.slug) for row in rows if row and row.state == "published"},
            )

        return await self._twin.call("named", work)

    async def told_about(self, post: int, comments: Sequence[int], *, limit: int) -> list[tuple[int, int]]:
        def work() -> list[tuple[int, int]]:
            rows = (row for row in self._twin.table(NotificationRow).values() if row.post_id == post and not row.gone)
            told = {
                (row.user_id, row.comment_id if comments else 0)
                for row in rows
                if not comments or row.comment_id in comments
            }
            return sorted(told)[:limit]

        return await self._twin.call("told_about", work)

    async def told_of(self, account: int, *, limit: int) -> list[int]:
        def work() -> list[int]:
            rows = self._twin.table(NotificationRow).values()
            return sorted({row.user_id for row in rows if account in row.sample and not row.gone})[:limit]

        return await self._twin.call("told_of", work)

    async def news(self, post: int, after: int, *, limit: int) -> tuple[list[CommentRow], list[ReactionRow]]:
        def work() -> tuple[list[CommentRow], list[ReactionRow]]:
            comments = [row for row in self._twin.table(CommentRow).values() if row.post_id == post]
            reactions = [row for row in self._twin.table(ReactionRow).values() if row.post_id == post]
            new_comments = [row for row in comments if row.version > after and row.changed_offset]
            return (
                sorted(new_comments, key=attrgetter("changed_offset"), reverse=True)[:limit],
                sorted((row for row in reactions if row.version > after), key=attrgetter("version"), reverse=True)[
                    :limit
                ],
            )

        return await self._twin.call("news", work)

    async def handles(self, handles: Sequence[str]) -> dict[str, int]:
        def work() -> dict[str, int]:
            bound = ((handle, self._twin.bound("handle", handle)) for handle in handles)
            return {handle: id for handle, id in bound if id is not None}

        return await self._twin.call("handles", work)

    async def old(self, user: int, *, kept: int, before_ms: int, limit: int) -> tuple[list[int], int | None]:
        def work() -> tuple[list[int], int | None]:
            rows = sorted(self._all(user), key=attrgetter("changed_offset"), reverse=True)
            old = [row.id for place, row in enumerate(rows) if place >= kept or row.updated_ms < before_ms]
            others = [row.updated_ms for row in rows[:kept] if row.updated_ms >= before_ms]
            return sorted(old)[:limit], min(others, default=None)

        return await self._twin.call("old_notifications", work)

    # -- parts

    def _state(self, user: int) -> tuple[int, int]:
        state = self._twin.table(UserStateRow).get((user,))
        return (0, 0) if state is None else (state.head, state.read_offset)

    def _all(self, user: int) -> list[NotificationRow]:
        rows = (row for row in self._twin.table(NotificationRow).values() if row.user_id == user)
        return [replace(row, sample=list(row.sample)) for row in rows]

    def _shown(self, user: int) -> list[NotificationRow]:
        return [row for row in self._all(user) if not row.gone]
