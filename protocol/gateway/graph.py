"""The endpoints of people: whom one follows, blocks and mutes, and the lists of them."""

from collections.abc import Mapping

from aiohttp import web

from protocol import requests, text
from protocol.errors import Refused
from protocol.gateway.backend import Backend
from protocol.gateway.http import Call, Handler, answer, next_link
from protocol.graph import (
    Block,
    Follow,
    GraphCommand,
    Mute,
    PeopleList,
    ReadRelationships,
    RemoveFollower,
    Unblock,
    Unfollow,
    Unmute,
    parse_place,
)
from protocol.times import unix_ms


class Graph:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "follow": self.follow,
            "unfollow": self.unfollow,
            "block": self.block,
            "unblock": self.unblock,
            "mute": self.mute,
            "unmute": self.unmute,
            "remove_follower": self.remove_follower,
            "list_followers": self.followers,
            "list_following": self.following,
            "list_blocks": self.blocks,
            "list_mutes": self.mutes,
            "read_relationships": self.relationships,
            "list_suggestions": self.suggestions,
        }

    # -- what one does

    async def follow(self, call: Call) -> web.Response:
        return await self._ask(call, Follow(account=await self._other(call)))

    async def unfollow(self, call: Call) -> web.Response:
        return await self._ask(call, Unfollow(account=await self._other(call)))

    async def block(self, call: Call) -> web.Response:
        return await self._ask(call, Block(account=await self._other(call)))

    async def unblock(self, call: Call) -> web.Response:
        return await self._ask(call, Unblock(account=await self._other(call)))

    async def mute(self, call: Call) -> web.Response:
        body: requests.NewMute = call.body
        until_ms = None if body.until is None else unix_ms(body.until)
        return await self._ask(call, Mute(account=await self._other(call), until=until_ms))

    async def unmute(self, call: Call) -> web.Response:
        return await self._ask(call, Unmute(account=await self._other(call)))

    async def remove_follower(self, call: Call) -> web.Response:
        return await self._ask(call, RemoveFollower(account=await self._other(call)))

    # -- who there is

    async def followers(self, call: Call) -> web.Response:
        return await self._page(call, "followers", await self._shown(call))

    async def following(self, call: Call) -> web.Response:
        return await self._page(call, "following", await self._shown(call))

    async def blocks(self, call: Call) -> web.Response:
        return await self._page(call, "blocks", call.by.id)

    async def mutes(self, call: Call) -> web.Response:
        return await self._page(call, "mutes", call.by.id)

    async def relationships(self, call: Call) -> web.Response:
        query: requests.RelationshipsQuery = call.query
        return await self._ask(call, ReadRelationships(accounts=query.id))

    async def suggestions(self, call: Call) -> web.Response:
        query: requests.ListSuggestions = call.query
        return answer(await self._backend.suggestions(call.by.id, query.limit))

    # -- parts

    async def _ask(self, call: Call, command: GraphCommand | ReadRelationships) -> web.Response:
        """Ask the actor of who asks."""
        return answer(await self._backend.ask(f"user:{call.by.id}", command, call.by))

    async def _other(self, call: Call) -> str:
        """The account of the handle in the path, be it deleted. Raises ``Refused("account_not_found")``."""
        number = await self._backend.resolve("handle", call.path("handle", text.handle, "account_not_found"))
        if number is None:
            raise Refused("account_not_found")
        return str(number)

    async def _shown(self, call: Call) -> int:
        """The same, of an account that is there for all to see."""
        number = int(await self._other(call))
        if not await self._backend.authors([number]):
            raise Refused("account_not_found")
        return number

    async def _page(self, call: Call, which: PeopleList, of: int) -> web.Response:
        query: requests.ListPeople = call.query
        before = None if query.before is None else parse_place(query.before)
        page = await self._backend.people(which, of, before=before, limit=query.limit)
        return answer(page.people, headers=next_link(call.request, before=str(page.next)) if page.next else None)
