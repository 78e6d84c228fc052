"""One live feed on one worker: whose posts it brings, and who has subscribed."""

from typing import Protocol

from msgspec import Struct

from protocol.delivery import Sink
from store.feeds import Followed


class Feeds(Protocol):
    """What a subscription asks of the feeds that serve it."""

    def catch_up(self, subscription: "FeedSubscription") -> None: ...

    def leave(self, subscription: "FeedSubscription") -> None: ...


class Feed:
    """The feed of one reader, who may have subscribed several times."""

    def __init__(self, key: str, reader: int) -> None:
        self.key = key
        self.reader = reader
        self.authors: set[int] = set()
        """Whose posts it brings: the reader's own, too."""
        self.ties = 0
        self.until_ms: int | None = None
        """See ``Followed``."""
        self.subscriptions: dict[FeedSubscription, None] = {}

    def outdated(self, ties: int, now_ms: int) -> bool:
        """Whether the reader may want to see the posts of others by now; ``now_ms`` is the store's time."""
        return ties > self.ties or (self.until_ms is not None and self.until_ms <= now_ms)

    def follow(self, followed: Followed) -> set[int]:
        """Whom the reader follows now; who is new among them."""
        before, self.authors = self.authors, {self.reader, *followed.authors}
        self.ties, self.until_ms = followed.ties, followed.until_ms
        return self.authors - before


class FeedSubscription:
    """One sink's interest in one feed; see ``protocol.delivery.Subscription``."""

    __slots__ = ("_feeds", "feed", "live", "open", "position", "sink")

    def __init__(self, feeds: Feeds, feed: Feed, sink: Sink, position: int) -> None:
        self._feeds = feeds
        self.feed = feed
        self.sink = sink
        self.position = position
        """While it is not live: all before it was handed to the sink."""
        self.live = False
        self.open = True

    def start(self) -> None:
        self._feeds.catch_up(self)

    def close(self) -> None:
        self._feeds.leave(self)


class Delivered(Struct):
    """A post that was delivered to the feeds of its author's followers."""

    author_id: int
    changed_offset: int
    data: bytes
    """JSON of the publication; empty once a sweep has come by it."""
    sweep: int
    """The number of the sweep that was next."""
