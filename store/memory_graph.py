"""Who follows, blocks and mutes whom, in the twin in memory."""

from collections.abc import Iterable, Sequence
from operator import attrgetter

from store.graph import (
    CANDIDATES_MAX,
    NEWEST,
    PATHS_FROM_MAX,
    PATHS_THROUGH_MAX,
    Mark,
    Neighbour,
    Relation,
    Suggestion,
    Ties,
)
from store.rows import AccountRow, BlockRow, FollowRow, MuteRow, UserStateRow
from store.twin import Twin


class MemoryGraph:
    """See ``store.graph.Graph``; an attribute of ``MemoryStore``."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin

    async def relations(self, me: int, ids: Sequence[int]) -> list[Relation]:
        def work() -> list[Relation]:
            known = sorted(id for id in set(ids) if (id,) in self._twin.table(AccountRow))
            return [self._relation(me, id) for id in known]

        return await self._twin.call("relations", work)

    async def unwanted(self, me: int, ids: Sequence[int]) -> list[int]:
        def work() -> list[int]:
            return [id for id in sorted(set(ids)) if self._apart(me, id) or (me, id) in self._twin.table(MuteRow)]

        return await self._twin.call("unwanted", work)

    async def hidden_from(self, reader: int, ids: Sequence[int]) -> list[int]:
        def work() -> list[int]:
            return [id for id in sorted(set(ids)) if hidden_from(self._twin, reader, id)]

        return await self._twin.call("hidden_from", work)

    async def followers(self, id: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        def work() -> list[Neighbour]:
            edges = (row for row in self._counting() if row.followee == id)
            return self._newest(((row.follower, row.created_ms, None) for row in edges), before, limit)

        return await self._twin.call("followers", work)

    async def following(self, id: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        def work() -> list[Neighbour]:
            edges = (row for row in self._counting() if row.follower == id)
            return self._newest(((row.followee, row.created_ms, None) for row in edges), before, limit)

        return await self._twin.call("following", work)

    async def blocks(self, me: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        def work() -> list[Neighbour]:
            blocks = (row for row in self._twin.table(BlockRow).values() if row.blocker == me)
            return self._newest(((row.blocked, row.created_ms, None) for row in blocks), before, limit)

        return await self._twin.call("blocks", work)

    async def mutes(self, me: int, *, before: Mark = NEWEST, limit: int) -> list[Neighbour]:
        def work() -> list[Neighbour]:
            mutes = (row for row in self._twin.table(MuteRow).values() if row.muter == me and self._lasts(row))
            return self._newest(((row.muted, row.created_ms, row.until_ms) for row in mutes), before, limit)

        return await self._twin.call("mutes", work)

    async def suggestions(self, me: int, limit: int) -> list[Suggestion]:
        def work() -> list[Suggestion]:
            found = [
                Suggestion(face, paths, self._followers(id))
                for id, through in self._candidates(me)
                if (face := self._twin.face(id)) is not None
                and self._may_suggest(me, id)
                and (paths := sum(not self._apart(one, id) for one in through))
            ]
            return sorted(found, key=lambda each: (each.paths, each.followers, each.person.id), reverse=True)[:limit]

        return await self._twin.call("suggestions", work)

    async def ties(self, id: int, limit: int) -> Ties:
        def work() -> Ties:
            follows, blocks, mutes = (self._twin.table(row_type) for row_type in (FollowRow, BlockRow, MuteRow))
            return Ties(
                sorted(other for one, other in follows if one == id)[:limit],
                sorted(one for one, other in follows if other == id)[:limit],
                sorted(other for one, other in blocks if one == id)[:limit],
                sorted(other for one, other in mutes if one == id)[:limit],
            )

        return await self._twin.call("ties", work)

    # -- parts

    def _relation(self, me: int, id: int) -> Relation:
        follows, blocks = self._twin.table(FollowRow), self._twin.table(BlockRow)
        mute = self._twin.table(MuteRow).get((me, id))
        return Relation(
            id=id,
            active=self._twin.face(id) is not None,
            edge=follows.get((me, id)),
            back=follows.get((id, me)),
            blocking=(me, id) in blocks,
            blocked_by=(id, me) in blocks,
            muting=mute is not None,
            muting_until_ms=None if mute is None else mute.until_ms,
        )

    def _apart(self, one: int, other: int) -> bool:
        blocks = self._twin.table(BlockRow)
        return (one, other) in blocks or (other, one) in blocks

    def _lasts(self, mute: MuteRow | None) -> bool:
        return mute is not None and (mute.until_ms is None or mute.until_ms > self._twin.now_ms())

    def _counting(self) -> list[FollowRow]:
        return [row for row in self._twin.table(FollowRow).values() if not self._apart(row.follower, row.followee)]

    def _newest(self, entries: Iterable[tuple[int, int, int | None]], before: Mark, limit: int) -> list[Neighbour]:
        """The neighbours in entries of (account, created, until)."""
        faces = ((self._twin.face(id), created_ms, until_ms) for id, created_ms, until_ms in entries)
        found = [Neighbour(face, created_ms, until_ms) for face, created_ms, until_ms in faces if face is not None]
        return sorted((each for each in found if each.mark < before), key=attrgetter("mark"), reverse=True)[:limit]

    def _candidates(self, me: int) -> list[tuple[int, list[int]]]:
        """To whom the most paths lead, and through whom."""
        follows = self._twin.table(FollowRow)
        through: dict[int, list[int]] = {}
        for mine in self._followed_last(me, PATHS_FROM_MAX):
            if not self._apart(me, mine.followee):
                for edge in self._followed_last(mine.followee, PATHS_THROUGH_MAX):
                    if edge.followee != me and (me, edge.followee) not in follows:
                        through.setdefault(edge.followee, []).append(edge.follower)
        return sorted(through.items(), key=lambda item: (len(item[1]), item[0]), reverse=True)[:CANDIDATES_MAX]

    def _followed_last(self, id: int, limit: int) -> list[FollowRow]:
        edges = (row for row in self._twin.table(FollowRow).values() if row.follower == id)
        return sorted(edges, key=attrgetter("created_ms", "followee"), reverse=True)[:limit]

    def _may_suggest(self, me: int, id: int) -> bool:
        return not self._apart(me, id) and not self._lasts(self._twin.table(MuteRow).get((me, id)))

    def _followers(self, id: int) -> int:
        state = self._twin.table(UserStateRow).get((id,))
        return 0 if state is None else state.followers


def hidden_from(twin: Twin, reader: int, author: int | None) -> bool:
    """Whether a block stands between the two, or the reader mutes the author now."""
    blocks, mute = twin.table(BlockRow), twin.table(MuteRow).get((reader, author))
    muted = mute is not None and (mute.until_ms is None or mute.until_ms > twin.now_ms())
    return muted or (reader, author) in blocks or (author, reader) in blocks
