"""Reads what decisions need from the store."""

from collections.abc import Callable
from typing import assert_never

from actors.actor import (
    Actor,
    BookmarkNeeded,
    CommentsNeeded,
    Need,
    NewsNeeded,
    NoticesNeeded,
    OldNoticesNeeded,
    RelationsNeeded,
    TracesNeeded,
)
from actors.news import TOLD_MAX, Found
from store.base import Store


class Reading:
    """One a worker. ``clock`` gives seconds since 1970."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def provide(self, actor: Actor, number: int, need: Need) -> None:
        """Give to the actor of that number what it needs. Raises ``StoreUnavailable``."""
        match need:
            case CommentsNeeded(ids):
                actor.provide_comments(await self._store.comments(number, ids))
            case RelationsNeeded(ids):
                actor.provide_relations(await self._store.graph.relations(number, ids))
            case TracesNeeded(limit):
                writings = await self._store.comments_of(number, after=(0, 0), limit=limit)
                ties = await self._store.graph.ties(number, limit)
                told_of = await self._store.notifications.told_of(number, limit=limit)
                bookmarks = await self._store.finding.bookmarks_of(number, limit)
                actor.provide_traces(writings, ties, told_of, bookmarks)
            case BookmarkNeeded(post):
                actor.provide_bookmark(post, await self._store.finding.bookmarked(number, post))
            case NewsNeeded():
                actor.provide_news(await self._news(number, need))
            case NoticesNeeded():
                await self._notices(actor, number, need)
            case OldNoticesNeeded(kept, age_ms, limit):
                before_ms = int(self._clock() * 1000) - age_ms
                old = await self._store.notifications.old(number, kept=kept, before_ms=before_ms, limit=limit)
                actor.provide_old_notices(*old)
            case _:
                assert_never(need)

    async def _news(self, post: int, need: NewsNeeded) -> Found:
        notifications = self._store.notifications
        return Found(
            comments=await self._store.comments(post, need.comments) if need.comments else (),
            handles=await notifications.handles(need.handles) if need.handles else {},
            told=() if need.gone is None else await notifications.told_about(post, need.gone, limit=TOLD_MAX),
        )

    async def _notices(self, actor: Actor, user: int, need: NoticesNeeded) -> None:
        store = self._store
        groups = await store.notifications.groups(user, targets=need.targets, about=need.about, naming=need.naming)
        people = {*need.ids, *(id for row in groups for id in row.sample)}
        posts = {*(target.post_id for target in need.targets), *(row.post_id for row in groups)} - {0}
        named = await store.notifications.named(sorted(people), sorted(posts))
        if need.ids:
            actor.provide_relations(await store.graph.relations(user, need.ids))
        actor.provide_notices(groups, named)
