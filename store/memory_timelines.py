"""Timelines in the twin in memory: the same states of edges and the same steps as in Postgres."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from store.rows import (
    AccountRow,
    BlockRow,
    BookmarkRow,
    FanoutRow,
    FollowRow,
    MuteRow,
    PostRow,
    PostStateRow,
    PostViewsRow,
    ReactionRow,
    UserStateRow,
)
from store.timelines import ENTRIES_MAX, PLACE_MAX, Listed, Page, Tended, Wishes
from store.twin import Twin

Posts = dict[int, dict[int, PostRow]]
"""What is published: author → place → post."""


class _Timeline(Struct):
    entries: dict[int, int]
    """Place → author."""
    floor: int = 0


class _Edge(Struct):
    """The state of one edge; of one that was ended and begun again, it says nothing."""

    made: int
    """By which transaction."""
    pushed: bool = False
    """Else it is opening."""


class MemoryTimelines:
    """See ``store.timelines.Timelines``; an attribute of ``MemoryStore``."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._timelines: dict[int, _Timeline] = {}
        self._edges: dict[tuple[int, int], _Edge] = {}
        """The state of those that are not pulled."""

    # -- reading

    async def page(self, reader: int, *, below: int = PLACE_MAX, limit: int, kinds: Sequence[str] = ()) -> Page:
        def work() -> Page:
            posts = self._posts()
            shown = {post.published_id: post for post in self._at_hand(reader, posts) if post.published_id < below}
            newest = sorted(shown, reverse=True)[:limit]
            bottom = newest[-1] if len(newest) == limit else 0
            for post in self._pulled(reader, posts, bottom):
                if bottom < post.published_id < below:
                    shown[post.published_id] = post
            return self._page([shown[place] for place in sorted(shown, reverse=True)[:limit]], reader, kinds)

        return await self._twin.call("timeline", work)

    async def posts_of(
        self, author: int, *, reader: int, below: int = PLACE_MAX, limit: int, kinds: Sequence[str] = ()
    ) -> Page:
        def work() -> Page:
            posts = {} if self._apart(author, reader) else self._posts().get(author, {})
            places = sorted((place for place in posts if place < below), reverse=True)
            return self._page([posts[place] for place in places[:limit]], reader, kinds)

        return await self._twin.call("posts_of", work)

    def _at_hand(self, reader: int, posts: Posts) -> Iterator[PostRow]:
        """What needs no look at the edges: what was pushed, one's own, and what is being pushed."""
        yield from posts.get(reader, {}).values()
        jobs = ((job.published_id, job.author_id) for job in self._twin.table(FanoutRow).values())
        for place, author in (*self._timeline(reader).entries.items(), *jobs):
            if place in posts.get(author, {}) and self._shown(reader, author):
                yield posts[author][place]

    def _pulled(self, reader: int, posts: Posts, bottom: int) -> Iterator[PostRow]:
        floor = self._timeline(reader).floor
        for author in self._followees(reader):
            edge = self._edge(reader, author)
            upto = floor if edge is not None and edge.pushed else PLACE_MAX
            if bottom < upto and self._shown(reader, author):
                yield from (post for place, post in posts.get(author, {}).items() if place < upto)

    def _page(self, posts: Sequence[PostRow], reader: int, kinds: Sequence[str]) -> Page:
        found = [listed(self._twin, post, post.published_id, reader, kinds) for post in posts]
        return Page([each for each in found if each is not None], self._twin.horizon())

    # -- writing

    async def push(self, author: int, place: int, *, after: int, limit: int) -> int | None:
        def work() -> int | None:
            open_ = (follower for follower in self._followers(author) if self._edge(follower, author) is not None)
            chunk = [follower for follower in open_ if follower > after][:limit]
            for follower in chunk:
                self._timeline(follower).entries[place] = author
            return chunk[-1] if len(chunk) == limit else None

        return await self._twin.call("push", work)

    async def close_edges(self, author: int, *, limit: int) -> bool:
        def work() -> bool:
            open_ = [follower for follower in self._followers(author) if self._edge(follower, author) is not None]
            for follower in open_[:limit]:
                del self._edges[follower, author]
            return len(open_) > limit

        return await self._twin.call("close_edges", work)

    async def tend(
        self, reader: int, wishes: Wishes, *, entries_max: int = ENTRIES_MAX, edges_max: int = 100
    ) -> Tended:
        def work() -> Tended:
            timeline = self._timeline(reader)
            self._copy(reader, timeline, entries_max, edges_max)
            for author in self._followees(reader):
                self._arrange(reader, author, wishes)
            self._purge(reader, timeline)
            if timeline.floor > 0 and len(timeline.entries) < entries_max // 2:
                timeline.floor = 0
                for author in self._followees(reader):
                    if (edge := self._edge(reader, author)) is not None:
                        edge.pushed = False
            edges = [self._edge(reader, author) for author in self._followees(reader)]
            open_ = [edge for edge in edges if edge is not None]
            return Tended(unfinished=not all(edge.pushed for edge in open_), open=bool(open_))

        return await self._twin.call("tend", work)

    def _copy(self, reader: int, timeline: _Timeline, entries_max: int, edges_max: int) -> None:
        """Have edges that were opening pushed: copy what they lack, above a floor that it raises."""
        edges = ((author, self._edge(reader, author)) for author in self._followees(reader))
        opening = {author: edge for author, edge in edges if edge is not None and not edge.pushed}
        opened = dict(list(opening.items())[:edges_max])
        posts = self._posts()
        lacking = {place: author for author in opened for place in posts.get(author, {})}
        found = {place: author for place, author in (timeline.entries | lacking).items() if place >= timeline.floor}
        if len(found) >= entries_max:
            timeline.floor = sorted(found)[-entries_max]
        timeline.entries = {place: author for place, author in found.items() if place >= timeline.floor}
        for edge in opened.values():
            edge.pushed = True

    def _arrange(self, reader: int, author: int, wishes: Wishes) -> None:
        edge = self._edge(reader, author)
        if edge is None and self._should_push(author, wishes, wishes.reading):
            self._edges[reader, author] = _Edge(self._made(reader, author))
        if edge is not None and not self._should_push(author, wishes, wishes.reading + wishes.margin):
            del self._edges[reader, author]

    def _should_push(self, author: int, wishes: Wishes, reading: int) -> bool:
        state = self._twin.table(UserStateRow).get((author,))
        celebrity, posting = (False, 0) if state is None else (state.celebrity, state.posting)
        match wishes.strategy:
            case "push":
                return True
            case "pull":
                return False
            case "hybrid":
                return not celebrity
            case "adaptive":
                return wishes.here and not celebrity and posting < reading

    def _purge(self, reader: int, timeline: _Timeline) -> None:
        posts = self._posts()
        for place, author in list(timeline.entries.items()):
            if self._edge(reader, author) is None or place not in posts.get(author, {}):
                del timeline.entries[place]

    # -- parts

    def _timeline(self, reader: int) -> _Timeline:
        return self._timelines.setdefault(reader, _Timeline({}))

    def _edge(self, reader: int, author: int) -> _Edge | None:
        """The state of an edge; None if it is pulled, or none."""
        edge = self._edges.get((reader, author))
        if edge is None or (reader, author) not in self._twin.table(FollowRow):
            return None
        return edge if edge.made == self._made(reader, author) else None

    def _made(self, reader: int, author: int) -> int:
        return self._twin.written_by(FollowRow, (reader, author))

    def _followees(self, reader: int) -> list[int]:
        return sorted(row.followee for row in self._twin.table(FollowRow).values() if row.follower == reader)

    def _followers(self, author: int) -> list[int]:
        return sorted(row.follower for row in self._twin.table(FollowRow).values() if row.followee == author)

    def _posts(self) -> Posts:
        found: Posts = {}
        for post in self._twin.table(PostRow).values():
            if post.author_id is not None and post.state == "published" and post.page_url is None:
                found.setdefault(post.author_id, {})[post.published_id] = post
        return found

    def _apart(self, one: int, other: int) -> bool:
        blocks = self._twin.table(BlockRow)
        return (one, other) in blocks or (other, one) in blocks

    def _shown(self, reader: int, author: int) -> bool:
        """Whether there is an edge, and it counts."""
        if (reader, author) not in self._twin.table(FollowRow) or self._apart(reader, author):
            return False
        mute = self._twin.table(MuteRow).get((reader, author))
        muted = mute is not None and (mute.until_ms is None or mute.until_ms > self._twin.now_ms())
        return not muted and self._twin.face(author) is not None


def listed(twin: Twin, post: PostRow, place: int, reader: int, kinds: Sequence[str]) -> Listed | None:
    """A post as it is on a page, at ``place`` there."""
    state = twin.table(PostStateRow).get((post.id,))
    if state is None:
        return None
    views = twin.table(PostViewsRow).get((post.id,))
    account = twin.table(AccountRow).get((post.author_id,))
    given = (twin.table(ReactionRow).get((post.id, 0, kind, reader)) for kind in kinds)
    return Listed(
        place=place,
        post_id=post.id,
        changed_offset=post.changed_offset,
        author_version=account.version if account is not None and account.state == "active" else 0,
        version=state.version,
        views=views.views if views is not None else 0,
        viewers=views.viewers if views is not None else 0,
        mine={row.kind: row.amount for row in given if row is not None and row.amount},
        bookmarked=(reader, post.id) in twin.table(BookmarkRow),
    )
