"""Other systems: they are told what is published, and hand in what is to be published, over an exchange."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

from actors.encoding import Encoder, author_view
from actors.keys import post_key
from actors.runtime.activation import Delivery, Reply
from actors.runtime.directory import available
from actors.runtime.metrics import Metrics
from actors.runtime.tasks import Tasks
from protocol.cursor import Cursor
from protocol.errors import Unavailable
from protocol.excerpts import excerpt
from protocol.exchange import Announcement, PostAnnounced, Submission, Verdict
from protocol.times import rfc3339_ms
from store.base import PostSummary, Store
from store.exchange import Entry, Exchange, ExchangeUnavailable, Rejection

EXCERPT_CHARS_MAX: Final = 280
AWAY_S: Final = 2.0
"""So long nothing is tried after it has failed."""

log = logging.getLogger("plaudit.outside")


class Outside:
    """One a worker that has an exchange. Everything it is asked raises ``Unavailable`` while that is away."""

    def __init__(
        self,
        exchange: Exchange,
        store: Store,
        encoder: Encoder,
        metrics: Metrics,
        *,
        epoch: Callable[[str], str],
        site_url: str,
    ) -> None:
        self._exchange = exchange
        self._store = store
        self._encoder = encoder
        self._metrics = metrics
        self._epoch = epoch
        self._site_url = site_url
        self._one_delivery = asyncio.Lock()
        self._away_until = 0.0
        """By the loop's clock: until then nobody tries to tell anything."""
        self._tasks = Tasks()

    async def stop(self) -> None:
        await self._tasks.stop()

    # -- what they are told

    def deliver(self, delivery: Delivery, reply: Reply) -> None:
        """Tell what was published. ``reply`` is called once it was told, with ``Unavailable`` if it may not have been.

        Not at all if this worker ends: then whoever comes after it delivers the same.
        """
        self._tasks.spawn(self._deliver(delivery, reply), "announcements")

    async def _deliver(self, delivery: Delivery, reply: Reply) -> None:
        posts = [message.post for _, message in delivery.messages if isinstance(message, PostAnnounced)]
        try:
            # One after the other: of many that wait, one finds out that nobody can be reached.
            async with self._one_delivery:
                await self._try_to_announce(posts)
        except Unavailable as away:
            reply(away)
        except Exception:
            log.exception("publications could not be announced")
            reply(Unavailable())
        else:
            reply(None)

    async def _try_to_announce(self, posts: Sequence[int]) -> None:
        clock = asyncio.get_running_loop().time
        if clock() < self._away_until:
            raise Unavailable
        try:
            await self._announce(posts)
        except Unavailable:
            self._away_until = clock() + AWAY_S
            raise

    async def _announce(self, posts: Sequence[int]) -> None:
        with available():
            found = {summary.post.id: summary for summary in await self._store.summaries(posts)}
        # What was deleted before it was told is not told.
        summaries = [found[post] for post in posts if post in found and found[post].post.state == "published"]
        announcements = []
        for summary in summaries:
            announcements.append(self._encoder.encode(self._announcement(summary)))
            # To render a post is costly, and many may have waited.
            await asyncio.sleep(0)
        with reachable():
            await self._exchange.announce(announcements)
        self._metrics.announced.inc(len(announcements))

    def _announcement(self, summary: PostSummary) -> Announcement:
        row, state = summary.post, summary.state
        return Announcement(
            id=str(row.id),
            version=state.version,
            cursor=str(Cursor(self._epoch(post_key(row.id)), state.head)),
            author=author_view(summary.author),
            title=row.title,
            slug=row.slug,
            url=f"{self._site_url}/p/{quote(row.slug or str(row.id))}",
            tags=row.tags,
            excerpt=excerpt(self._encoder.post_html(row), EXCERPT_CHARS_MAX),
            created_at=rfc3339_ms(row.created_ms),
            published_at=rfc3339_ms(row.published_ms or row.created_ms),
        )

    # -- what they hand in

    async def take(self, limit: int) -> list[Submission]:
        """See ``Submissions.take``."""
        with reachable():
            return [Submission(*entry) for entry in await self._exchange.take(limit)]

    async def finish(self, accepted: Sequence[str], rejected: Sequence[Verdict]) -> None:
        """See ``Submissions.finish``."""
        rejections = [Rejection(Entry(*submission), code, reason) for submission, code, reason in rejected]
        with reachable():
            await self._exchange.finish(accepted, rejections)

    async def backlog(self) -> tuple[int, int]:
        """See ``Submissions.backlog``."""
        with reachable():
            return await self._exchange.backlog()


@contextmanager
def reachable() -> Iterator[None]:
    """The exchange's absence, as those are told of it who ask."""
    try:
        yield
    except ExchangeUnavailable as error:
        raise Unavailable(str(error)) from None
