"""Lists of people: what is asked of the graph without an actor."""

from collections.abc import Collection, Sequence

from msgspec import UNSET

from actors.runtime.directory import available
from protocol.graph import ListedPerson, PeopleList, PeoplePage, Place, SuggestedPerson
from protocol.times import rfc3339_ms
from store.graph import NEWEST, Graph, Mark, Neighbour


class People:
    """Everything raises ``Unavailable`` while the store is away."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._lists = {
            "followers": graph.followers,
            "following": graph.following,
            "blocks": graph.blocks,
            "mutes": graph.mutes,
        }

    async def page(self, which: PeopleList, of: int, *, before: Place | None, limit: int) -> PeoplePage:
        """See ``Backend.people``."""
        mark = NEWEST if before is None else Mark(*before)
        with available():
            found = await self._lists[which](of, before=mark, limit=limit + 1)
        page = found[:limit]
        shown = [_listed(neighbour, ends=which == "mutes") for neighbour in page]
        return PeoplePage(shown, Place(*page[-1].mark) if len(found) > limit else None)

    async def hidden_from(self, reader: int, ids: Sequence[int]) -> Collection[int]:
        """See ``Backend.hidden_from``."""
        with available():
            return await self._graph.hidden_from(reader, ids)

    async def suggestions(self, me: int, limit: int) -> Sequence[SuggestedPerson]:
        """See ``Backend.suggestions``."""
        with available():
            found = await self._graph.suggestions(me, limit)
        return [
            SuggestedPerson(
                id=str(person.id),
                handle=person.handle,
                name=person.name,
                url=person.url,
                paths=paths,
                followers=followers,
            )
            for person, paths, followers in found
        ]


def _listed(neighbour: Neighbour, *, ends: bool) -> ListedPerson:
    person, until_ms = neighbour.person, neighbour.until_ms
    return ListedPerson(
        id=str(person.id),
        handle=person.handle,
        name=person.name,
        url=person.url,
        since=rfc3339_ms(neighbour.created_ms),
        until=UNSET if not ends else None if until_ms is None else rfc3339_ms(until_ms),
    )
