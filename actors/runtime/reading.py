"""Reads what decisions need from the store."""

from collections.abc import Callable, Iterable, Sequence
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
from actors.keys import parse_key, post_key, slot_of
from actors.news import TOLD_MAX, Found
from actors.runtime.outbox import decode_message
from protocol.notifications import Notify, TakeBack
from store.base import Store
from store.rows import OutboxRow


def _on_its_way(post: str, sent: Iterable[OutboxRow], gone: Sequence[int]) -> set[tuple[int, int]]:
    """Of what ``post`` has sent, as of ``Found.told``, what is not taken back by what it has sent after that."""
    waiting: set[tuple[int, int]] = set()
    for row in sent:
        command = decode_message(row.payload) if row.sender == post else None
        match command:
            case Notify():
                _, person = parse_key(row.receiver)
                about = {notice.comment for notice in command.notices}
                waiting |= {(person, comment) for comment in (about & set(gone) if gone else (0,))}
            case TakeBack():
                _, person = parse_key(row.receiver)
                waiting -= {(person, comment) for comment in command.comments or (0, *gone)}
            case _:
                pass
    return waiting


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
            told=() if need.gone is None else await self._told(post, need.gone),
        )

    async def _told(self, post: int, gone: Sequence[int]) -> Sequence[tuple[int, int]]:
        """Who was told about what is gone, and to whom it is on its way: (person, comment)."""
        # In this order: what arrives in between is found twice.
        sent = await self._store.outbox([slot_of(post_key(post))])
        told = await self._store.notifications.told_about(post, gone, limit=TOLD_MAX)
        return list(dict.fromkeys([*told, *_on_its_way(post_key(post), sent, gone)]))

    async def _notices(self, actor: Actor, user: int, need: NoticesNeeded) -> None:
        store = self._store
        groups = await store.notifications.groups(user, targets=need.targets, about=need.about, naming=need.naming)
        people = {*need.ids, *(id for row in groups for id in row.sample)}
        posts = {*(target.post_id for target in need.targets), *(row.post_id for row in groups)} - {0}
        named = await store.notifications.named(sorted(people), sorted(posts))
        unwanted = await store.graph.unwanted(user, need.among) if need.among else ()
        if need.ids or unwanted:
            actor.provide_relations(await store.graph.relations(user, (*need.ids, *unwanted)))
        actor.provide_notices(groups, named)
