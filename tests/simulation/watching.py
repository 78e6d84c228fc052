"""Timelines and feeds that are held against the rows in the very step in which the store is asked.

And live feeds that are held against what their worker must know.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from actors.runtime.feed import Feed, FeedSubscription
from actors.runtime.feeds import Feeds as LiveFeeds
from protocol.delivery import Form, Published, Sink
from store.feeds import Feeds, Followed, Missed
from store.rows import AccountRow, PostRow
from store.timelines import PLACE_MAX, Page, Tended, Timelines, Wishes
from tests.simulation.oracles import JournalledStore
from tests.simulation.social_oracles import SocialJournal, sees, timeline
from tests.simulation.social_streams import PostPushed


class WatchedTimelines:
    """Timelines whose every page is what the rows say, in order, however posts came to be there."""

    def __init__(self, timelines: Timelines, store: JournalledStore, held_up: Callable[[], Awaitable[None]]) -> None:
        self._timelines = timelines
        self._store = store
        self._held_up = held_up
        """Statements that write may take so long that who asked is dead, or has lost its slots, when they are done."""

    async def page(self, reader: int, *, below: int = PLACE_MAX, limit: int, kinds: Sequence[str] = ()) -> Page:
        # The store does in one step, without waiting, what it does here.
        expected = [post.published_id for post in timeline(self._store, reader) if post.published_id < below][:limit]
        page = await self._timelines.page(reader, below=below, limit=limit, kinds=kinds)
        places = [listed.place for listed in page.listed]
        self._store.journal.require(
            places == expected, f"a page of {limit} below {below} shows {reader} {places}; by the rows: {expected}"
        )
        return page

    async def push(self, author: int, place: int, *, after: int, limit: int) -> int | None:
        await self._held_up()
        return await self._timelines.push(author, place, after=after, limit=limit)

    async def close_edges(self, author: int, *, limit: int) -> bool:
        await self._held_up()
        return await self._timelines.close_edges(author, limit=limit)

    async def tend(self, reader: int, wishes: Wishes, **bounds: int) -> Tended:
        await self._held_up()
        return await self._timelines.tend(reader, wishes, **bounds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._timelines, name)


class WatchedFeeds:
    """Feeds whose readers are those who see the author, by the rows, whenever the store is asked."""

    def __init__(self, feeds: Feeds, store: JournalledStore) -> None:
        self._feeds = feeds
        self._store = store

    async def followed(self, readers: Sequence[int]) -> tuple[int, dict[int, Followed]]:
        expected = {reader: self._seen_by(reader) for reader in readers}
        horizon, found = await self._feeds.followed(readers)
        authors = {reader: sorted(followed.authors) for reader, followed in found.items()}
        self._store.journal.require(authors == expected, f"feeds bring posts of {authors}; by the rows: {expected}")
        return horizon, found

    async def missed(self, reader: int, *, since: int, limit: int) -> Missed:
        missed = await self._feeds.missed(reader, since=since, limit=limit)
        authors = {self._store.row(PostRow, id).author_id or 0 for _, id in missed.posts} - {reader}
        unseen = [author for author in authors if not sees(self._store, reader, author)]
        self._store.journal.require(not unseen, f"a resumed feed brings {reader} posts of {unseen}")
        return missed

    def _seen_by(self, reader: int) -> list[int]:
        return sorted(id for (id,) in self._store.identities(AccountRow) if sees(self._store, reader, id))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feeds, name)


class WatchedLiveFeeds(LiveFeeds):
    """Pushes nothing to whom it was hidden from when the last sweep but one began, and ever since.

    Not the last: whoever has opened a feed may have been read before it.
    """

    def __init__(self, *parts: Any, social: SocialJournal, **settings: Any) -> None:
        super().__init__(*parts, **settings)
        self._social = social
        self._sweeps_began: deque[float] = deque([0.0, 0.0], maxlen=2)
        self._opened: dict[Feed, float] = {}

    async def _sweep(self) -> None:
        began = self._social.now()
        await super()._sweep()
        self._sweeps_began.append(began)

    def _enter(self, reader: int, sink: Sink, position: int, horizon: int, followed: Followed) -> FeedSubscription:
        subscription = super()._enter(reader, sink, position, horizon, followed)
        self._opened.setdefault(subscription.feed, self._social.now())
        return subscription

    def _write(self, form: Form, subscriptions: Sequence[FeedSubscription], item: Published, frame: bytes) -> None:
        author = msgspec.json.decode(item.data, type=PostPushed).post.by
        since = self._sweeps_began[0]
        for feed in [subscription.feed for subscription in subscriptions]:
            if self._opened[feed] < since and author != feed.reader:
                hidden = self._social.hidden.throughout((feed.reader, author), since)
                self._social.journal.require(
                    not hidden, f"the feed of {feed.reader} is sent {item}, hidden since {since}"
                )
        super()._write(form, subscriptions, item, frame)
