"""Live feeds: posts of those whom somebody follows, as they are published, edited or deleted.

A feed has no actor and no stream of its own. Every worker knows the authors whose posts its own sockets want. Whichever
commits a post *hints* at it to all workers; each then reads the post, once, and writes it to the feeds of its author's
followers. A hint may be lost: every two seconds a worker *sweeps*, reads what was saved since its *position*, delivers
what no hint did, and moves its position on. So hints are for speed only, and the position is the cursor of all feeds of
the worker: what is resumed from it may be old news, but nothing is missing. Post and version tell one what one has.

Whom a reader follows is read when the feed is opened, when a worker that committed a change of it says so, when a sweep
finds that it has changed (``UserStateRow.ties``), and when a mute ends: two seconds late at most, as long as the store
is there. Before the position moves on, a feed that has changed is read anew; so it lacks nothing from then on.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec import json

from actors.actor import TIES, BlockSaved, Event, PostSaved
from actors.encoding import Encoder
from actors.keys import feed_key, parse_key, reader_of
from actors.runtime.directory import available
from actors.runtime.draining import drained, write
from actors.runtime.env import Env
from actors.runtime.feed import Delivered, Feed, FeedSubscription
from actors.runtime.messages import PostHint, TiesHint
from actors.runtime.metrics import Metrics
from actors.runtime.past import PAGE_BYTES, PAGE_ROWS, Missed
from actors.runtime.peers import Peers
from actors.runtime.tasks import Tasks
from protocol.cursor import Cursor
from protocol.delivery import Attached, Changed, Form, Published, Sink
from protocol.errors import Refused
from protocol.timelines import FeedOpened
from protocol.views import PostView
from store.base import PostSummary, Store, StoreUnavailable
from store.feeds import Followed, Saved

log = logging.getLogger("plaudit.feeds")

SWEEP_S = 2.0
SWEPT_MAX = 1_000
"""Posts that one sweep looks at; if there are more, the next one follows at once."""
KEPT_SWEEPS = 15
"""For so many sweeps it is remembered what was delivered; what an open transaction hides for longer comes twice."""
FOLLOWED_AT_ONCE = 200
"""Feeds that are read anew in one query."""
READ_AT_ONCE = 32
"""Posts that are read and rendered before others get their turn."""
YIELD_EVERY = 256
"""Sockets written to before others get their turn."""
RETRY_S = 0.5


class Feeds:
    """One a worker."""

    def __init__(
        self,
        store: Store,
        env: Env,
        metrics: Metrics,
        encoder: Encoder,
        peers: Peers,
        *,
        epoch: str,
        show: Callable[[PostSummary], PostView],
    ) -> None:
        self._store = store
        self._env = env
        self._metrics = metrics
        self._encoder = encoder
        self._peers = peers
        self._epoch = epoch
        self._show = show
        self._feeds: dict[int, Feed] = {}
        """By reader."""
        self._by_author: dict[int, dict[Feed, None]] = {}
        self._position = 0
        self._swept_at = env.monotonic()
        self._sweep_at = 0.0
        self._sweeps = 0
        self._hints: dict[int, Saved] = {}
        self._outdated: set[int] = set()
        """Readers whose feeds are to be read anew."""
        self._delivered: dict[int, Delivered] = {}
        self._entered: list[FeedSubscription] = []
        """Who came since the last sweep began."""
        self._wake = asyncio.Event()
        self._tasks = Tasks()
        peers.handle(PostHint, lambda _, hint: self._post_hinted(hint.saved))
        peers.handle(TiesHint, lambda _, hint: self._ties_hinted(hint.reader))
        peers.on_interrupted(self._sweep_soon)

    # -- life

    def start(self) -> None:
        self._tasks.spawn(self._run(), "feeds")

    async def stop(self) -> None:
        await self._tasks.stop()

    # -- hints

    def saved(self, key: str, event: Event) -> None:
        """An actor of this worker has made an event durable: tell all workers, if it concerns feeds."""
        if isinstance(event, PostSaved):
            row = event.row
            if row.published_id and row.page_url is None and row.author_id is not None:
                saved = Saved(row.id, row.author_id, row.changed_offset)
                self._post_hinted(saved)
                self._peers.send_all(PostHint(saved))
        elif type(event) in TIES:
            _, reader = parse_key(key)
            # Who is blocked sees no more of the other either, whenever the message comes that ends the edge.
            for each in (reader, event.row.blocked) if isinstance(event, BlockSaved) else (reader,):
                self._ties_hinted(each)
                self._peers.send_all(TiesHint(each))

    def _post_hinted(self, saved: Saved) -> None:
        # Whoever follows its author may be about to be known.
        if self._feeds:
            self._hints[saved.post_id] = saved
            self._wake.set()

    def _ties_hinted(self, reader: int) -> None:
        if reader in self._feeds:
            self._outdated.add(reader)
            self._wake.set()

    def _sweep_soon(self) -> None:
        """Hints may have been lost."""
        self._sweep_at = 0.0
        self._wake.set()

    # -- subscribing

    async def attach(self, key: str, sink: Sink, since: Cursor | None) -> Attached:
        """Subscribe ``sink``, whose person's own feed it must be, with the first page of what it missed.

        Raises:
            Refused: ``permission_denied``.
            Unavailable: The store is away.
        """
        reader = _reader(key)
        if sink.by.id != reader:
            raise Refused("permission_denied", "a feed is its reader's own")
        with available():
            horizon, found = await self._store.feeds.followed([reader])
            known = since is not None and since.epoch == self._epoch and since.offset <= horizon
            from_offset = since.offset if known and since is not None else horizon
            subscription = self._enter(reader, sink, from_offset, horizon, found[reader])
            try:
                items: Sequence[Published] = ()
                if known:
                    items, subscription.position, _ = await self._missed(reader, from_offset)
            except BaseException:
                subscription.close()
                raise
        if since is not None:
            self._metrics.recoveries.labels("recovered" if known else "reload").inc()
        opened = FeedOpened(cursor=str(Cursor(self._epoch, from_offset)))
        return Attached(subscription, self._epoch, from_offset, known, items, json.encode(opened))

    async def changes(self, key: str, since: Cursor | None, limit: int) -> Changed:
        """See ``Backend.changes``; whoever asks has subscribed."""
        reader = _reader(key)
        with available():
            horizon, _ = await self._store.feeds.followed([])
            if since is None or since.epoch != self._epoch or since.offset > horizon:
                return Changed([], Cursor(self._epoch, horizon), False, False, None)
            items, through, more = await self._missed(reader, since.offset, limit)
        return Changed(items, Cursor(self._epoch, through), True, more, None)

    def _enter(self, reader: int, sink: Sink, position: int, horizon: int, followed: Followed) -> FeedSubscription:
        """In one step with the read of whom the reader follows: what changes after it, the next sweep finds."""
        feed = self._feeds.get(reader)
        if feed is None:
            if not self._feeds:
                self._begin(horizon)
            feed = self._feeds[reader] = Feed(feed_key(reader), reader)
            self._metrics.feeds.inc()
        if followed.ties >= feed.ties:
            self._follow(feed, followed)
        subscription = FeedSubscription(self, feed, sink, position)
        feed.subscriptions[subscription] = None
        self._entered.append(subscription)
        return subscription

    def _begin(self, horizon: int) -> None:
        """Nobody listened, so no hint was kept: what was delivered may be old, and all before the horizon is read."""
        self._position = max(self._position, horizon)
        self._swept_at = self._env.monotonic()
        self._hints, self._delivered = {}, {}
        self._outdated.clear()
        self._wake.set()

    def leave(self, subscription: FeedSubscription) -> None:
        if not subscription.open:
            return
        subscription.open = subscription.live = False
        feed = subscription.feed
        del feed.subscriptions[subscription]
        if not feed.subscriptions:
            del self._feeds[feed.reader]
            self._unlist(feed, feed.authors)
            self._metrics.feeds.dec()

    # -- whom they follow

    def _follow(self, feed: Feed, followed: Followed) -> None:
        before = feed.authors
        added = feed.follow(followed)
        self._unlist(feed, before - feed.authors)
        for author in added:
            self._by_author.setdefault(author, {})[feed] = None
        items = self._ahead(added)
        for subscription in list(feed.subscriptions):
            if items and subscription.live:
                self._hand_over(subscription, items)

    def _unlist(self, feed: Feed, authors: Iterable[int]) -> None:
        for author in authors:
            feeds = self._by_author[author]
            del feeds[feed]
            if not feeds:
                del self._by_author[author]

    def _ahead(self, authors: set[int]) -> list[Published]:
        """What was delivered of these authors and no sweep has come by: whoever stands at the position lacks it."""
        return [
            Published(self._position, delivered.data)
            for delivered in self._delivered.values()
            if delivered.data and delivered.author_id in authors
        ]

    async def _read_outdated(self) -> None:
        while self._outdated:
            readers = list(self._outdated)[:FOLLOWED_AT_ONCE]
            self._outdated.difference_update(readers)
            try:
                _, found = await self._store.feeds.followed(readers)
            except StoreUnavailable:
                self._outdated.update(readers)
                raise
            for reader, followed in found.items():
                feed = self._feeds.get(reader)
                if feed is not None and followed.ties >= feed.ties:
                    self._follow(feed, followed)

    # -- delivering: all by one task, so that the position moves between two deliveries

    async def _run(self) -> None:
        while True:
            await self._due()
            if not self._feeds:
                continue
            try:
                await self._read_outdated()
                hints, self._hints = self._hints, {}
                await self._deliver(saved for saved in hints.values() if self._lacks(saved))
                if self._env.monotonic() >= self._sweep_at:
                    await self._sweep()
            except StoreUnavailable as error:
                # What was hinted at is found by the next sweep, which begins where the last one ended.
                log.warning("feeds wait for the store: %s", error)
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("a round of the feeds failed")
                await asyncio.sleep(RETRY_S)

    async def _due(self) -> None:
        """Return when there is a hint, or it is time for a sweep."""
        if not self._feeds:
            await self._wake.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._sweep_at - self._env.monotonic())):
                await self._wake.wait()
        self._wake.clear()

    async def _sweep(self) -> None:
        began = self._env.monotonic()
        self._entered.clear()
        swept = await self._store.feeds.swept(list(self._feeds), since=self._position, limit=SWEPT_MAX)
        self._outdated.update(
            reader for reader, feed in self._feeds.items() if feed.outdated(swept.ties.get(reader, 0), swept.now_ms)
        )
        await self._read_outdated()
        self._metrics.feed_found.inc(await self._deliver(saved for saved in swept.posts if self._lacks(saved)))
        for saved in swept.posts:
            delivered = self._delivered.get(saved.post_id)
            if delivered is not None and delivered.changed_offset <= saved.changed_offset:
                delivered.data = b""
        self._position = max(self._position, swept.through)
        for subscription in self._entered:
            # What this sweep found was, if at all, not delivered for it.
            if subscription.live and subscription.position < self._position:
                self.catch_up(subscription)
        self._sweeps += 1
        for post_id, delivered in list(self._delivered.items()):
            if delivered.sweep + KEPT_SWEEPS < self._sweeps:
                del self._delivered[post_id]
        self._metrics.feed_lag_s.set(began - self._swept_at)
        self._swept_at = began
        self._sweep_at = 0.0 if swept.more else began + SWEEP_S

    def _lacks(self, saved: Saved) -> bool:
        """Whether it concerns a feed here, and was not delivered."""
        delivered = self._delivered.get(saved.post_id)
        known = delivered is not None and delivered.changed_offset >= saved.changed_offset
        return saved.author_id in self._by_author and not known

    async def _deliver(self, posts: Iterable[Saved]) -> int:
        """Write posts, in their present state, to whoever wants to see them. Returns how many there were."""
        lacking = list(posts)
        delivered = self._delivered
        for at in range(0, len(lacking), READ_AT_ONCE):
            chunk = lacking[at : at + READ_AT_ONCE]
            shown = await self._read([saved.post_id for saved in chunk])
            for saved in chunk:
                if delivered is not self._delivered:
                    # All have left since; to those who came after them, what was read may be old.
                    return 0
                data = shown.get(saved.post_id)
                if data is not None:
                    # Before it is written: who comes meanwhile finds it here.
                    delivered[saved.post_id] = Delivered(saved.author_id, saved.changed_offset, data, self._sweeps)
                    await self._broadcast(saved.author_id, Published(self._position, data))
        return len(lacking)

    async def _read(self, posts: Sequence[int]) -> Mapping[int, bytes]:
        """The publications of posts, as they are now."""
        found = await self._store.summaries(posts)
        return {summary.post.id: self._encoder.post_changed(self._show(summary)) for summary in found}

    async def _broadcast(self, author: int, item: Published) -> None:
        """To all in turns, for the others' sake."""
        frames: dict[tuple[Form, str], bytes] = {}
        feeds = list(self._by_author.get(author, ()))
        subscriptions = [subscription for feed in feeds for subscription in feed.subscriptions]
        for at in range(0, len(subscriptions), YIELD_EVERY):
            if at:
                await asyncio.sleep(0)
            self._hand_out(subscriptions[at : at + YIELD_EVERY], item, frames)

    def _hand_out(
        self, subscriptions: Sequence[FeedSubscription], item: Published, frames: dict[tuple[Form, str], bytes]
    ) -> None:
        groups: dict[tuple[Form, str], list[FeedSubscription]] = {}
        for subscription in subscriptions:
            if subscription.live:
                form = subscription.sink.form
                name = form, subscription.feed.key if form.names_stream else ""
                groups.setdefault(name, []).append(subscription)
        for name, group in groups.items():
            form, _ = name
            if name not in frames:
                frames[name] = form.encode(group[0].feed.key, self._epoch, [item])
            self._write(form, group, item, frames[name])

    def _write(self, form: Form, subscriptions: Sequence[FeedSubscription], item: Published, frame: bytes) -> None:
        """Write ``item``, which is ``frame`` in the form of all of them."""
        for place in write(form, [subscription.sink.pipe for subscription in subscriptions], frame):
            self._fall_behind(subscriptions[place])
        self._metrics.deliveries.inc(len(subscriptions))

    def _fall_behind(self, subscription: FeedSubscription) -> None:
        """Its socket takes less than it is sent; what showed that, and is written, comes to it once more."""
        self._metrics.lagging.inc()
        subscription.position = self._position
        self.catch_up(subscription)

    # -- catching up

    def catch_up(self, subscription: FeedSubscription) -> None:
        """Bring a subscriber to where all feeds are: at once if it is there and its socket is free, else by a task."""
        if not subscription.open:
            return
        subscription.live = False
        if subscription.position >= self._position and subscription.sink.buffered_bytes() == 0:
            self._go_live(subscription)
        else:
            self._tasks.spawn(self._catch_up(subscription), f"catch up {subscription.feed.key}")

    async def _catch_up(self, subscription: FeedSubscription) -> None:
        while await drained(subscription, self._env, self._metrics):
            if subscription.position >= self._position:
                self._go_live(subscription)
                return
            try:
                items, through, _ = await self._missed(subscription.feed.reader, subscription.position)
            except StoreUnavailable as error:
                log.warning("a resume waits for the store: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            self._hand_over(subscription, items)
            subscription.position = through

    def _go_live(self, subscription: FeedSubscription) -> None:
        """It stands at the position or beyond: what was delivered ahead of it may be old to it, or new."""
        subscription.live = True
        self._hand_over(subscription, self._ahead(subscription.feed.authors))

    def _hand_over(self, subscription: FeedSubscription, items: Sequence[Published]) -> None:
        if items and subscription.open:
            sink = subscription.sink
            sink.write(sink.form.encode(subscription.feed.key, self._epoch, items))

    async def _missed(self, reader: int, since: int, limit: int = PAGE_ROWS) -> Missed:
        """One page of what came, changed or went, each post in its present state. Raises ``StoreUnavailable``."""
        found, through, more = await self._store.feeds.missed(reader, since=since, limit=limit)
        # Where a post comes first, it comes in its present state: once is enough.
        first: dict[int, int] = {}
        for tx, post_id in found:
            first.setdefault(post_id, tx)
        posts = list(first.items())
        items: list[Published] = []
        size_bytes = 0
        for at in range(0, len(posts), READ_AT_ONCE):
            tx = posts[at][1]
            if size_bytes > PAGE_BYTES and tx != posts[at - 1][1]:
                # A page ends between two transactions, or to go on from its end would leave something out.
                return Missed(items, tx, True)
            chunk = posts[at : at + READ_AT_ONCE]
            shown = await self._read([post_id for post_id, _ in chunk])
            items += [Published(tx, shown[post_id]) for post_id, tx in chunk if post_id in shown]
            size_bytes = sum(len(item.data) for item in items)
        return Missed(items, through, more)


def _reader(key: str) -> int:
    reader = reader_of(key)
    if reader is None:
        raise Refused("not_found")
    return reader
