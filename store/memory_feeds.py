"""Live feeds in the twin in memory."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from store.feeds import NEWEST_OF_EDGE, Followed, Missed, Saved, Swept
from store.rows import BlockRow, FollowRow, MuteRow, PostRow, UserStateRow
from store.twin import Twin

T = TypeVar("T")


class MemoryFeeds:
    """See ``store.feeds.Feeds``; an attribute of ``MemoryStore``."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin

    async def followed(self, readers: Sequence[int]) -> tuple[int, dict[int, Followed]]:
        def work() -> tuple[int, dict[int, Followed]]:
            return self._twin.horizon(), {reader: self._followed(reader) for reader in readers}

        return await self._twin.call("followed", work)

    async def swept(self, readers: Sequence[int], *, since: int, limit: int) -> Swept:
        def work() -> Swept:
            saved = sorted((tx, Saved(post.id, post.author_id or 0, post.changed_offset)) for tx, post in self._lit())
            page, through, more = self._page(saved, since, limit)
            states = self._twin.table(UserStateRow)
            ties = {reader: states[reader,].ties for reader in readers if (reader,) in states}
            return Swept([each for _, each in page], through, more, ties, self._twin.now_ms())

        return await self._twin.call("swept", work)

    async def missed(self, reader: int, *, since: int, limit: int) -> Missed:
        def work() -> Missed:
            authors = {reader, *self._followed(reader).authors}
            events = {(tx, post.id) for tx, post in self._lit() if post.author_id in authors}
            for author in authors - {reader}:
                made = self._twin.written_by(FollowRow, (reader, author))
                events.update((made, post) for post in self._newest(author))
            return Missed(*self._page(sorted(events), since, limit))

        return await self._twin.call("missed", work)

    # -- parts

    def _lit(self) -> Iterator[tuple[int, PostRow]]:
        """What came to light, with the transaction that saved it last."""
        for identity, post in self._twin.table(PostRow).items():
            if post.published_id and post.page_url is None and post.author_id is not None:
                yield self._twin.written_by(PostRow, identity), post

    def _newest(self, author: int) -> list[int]:
        posts = [post for _, post in self._lit() if post.author_id == author and post.state == "published"]
        return [post.id for post in sorted(posts, key=lambda post: -post.published_id)[:NEWEST_OF_EDGE]]

    def _page(self, events: list[tuple[int, T]], since: int, limit: int) -> tuple[list[tuple[int, T]], int, bool]:
        """Whole transactions of ``events`` from ``since`` on, about ``limit``, below the horizon.

        And the position after them, and whether there are more.
        """
        horizon = self._twin.horizon()
        events = [event for event in events if since <= event[0] < horizon]
        if len(events) < limit:
            return events, max(since, horizon), False
        last = events[limit - 1][0]
        return [event for event in events if event[0] <= last], last + 1, True

    def _followed(self, reader: int) -> Followed:
        state = self._twin.table(UserStateRow).get((reader,))
        followees = sorted(row.followee for row in self._twin.table(FollowRow).values() if row.follower == reader)
        mutes = [mute for id in followees if (mute := self._mute(reader, id)) is not None]
        hidden = {mute.muted for mute in mutes}
        return Followed(
            0 if state is None else state.ties,
            [id for id in followees if id not in hidden and not self._apart(reader, id) and self._twin.face(id)],
            min((mute.until_ms for mute in mutes if mute.until_ms is not None), default=None),
        )

    def _mute(self, reader: int, author: int) -> MuteRow | None:
        """The mute that hides the author now."""
        mute = self._twin.table(MuteRow).get((reader, author))
        over = mute is not None and mute.until_ms is not None and mute.until_ms <= self._twin.now_ms()
        return None if over else mute

    def _apart(self, one: int, other: int) -> bool:
        blocks = self._twin.table(BlockRow)
        return (one, other) in blocks or (other, one) in blocks
