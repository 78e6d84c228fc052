"""The endpoints of people: whom one follows, blocks and mutes, and the lists of them."""

from collections.abc import Mapping

from aiohttp import web

from protocol import requests
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
        return await self._ask(call, Follow(account=str(await call.account())))

    async def unfollow(self, call: Call) -> web.Response:
        return await self._ask(call, Unfollow(account=str(await call.account())))

    async def block(self, call: Call) -> web.Response:
        return await self._ask(call, Block(account=str(await call.anyone())))

    async def unblock(self, call: Call) -> web.Response:
        return await self._ask(call, Unblock(account=str(await call.anyone())))

    async def mute(self, call: Call) -> web.Response:
        body: requests.NewMute = call.body
        until_ms = None if body.until is None else unix_ms(body.until)
        return await self._ask(call, Mute(account=str(await call.anyone()), until=until_ms))

    async def unmute(self, call: Call) -> web.Response:
        return await self._ask(call, Unmute(account=str(await call.anyone())))

    async def remove_follower(self, call: Call) -> web.Response:
        return await self._ask(call, RemoveFollower(account=str(await call.account())))

    # -- who there is

    async def followers(self, call: Call) -> web.Response:
        return await self._page(call, "followers", await call.member())

    async def following(self, call: Call) -> web.Response:
        return await self._page(call, "following", await call.member())

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

    async def _page(self, call: Call, which: PeopleList, of: int) -> web.Response:
        query: requests.ListPeople = call.query
        before = None if query.before is None else parse_place(query.before)
        page = await self._backend.people(which, of, before=before, limit=query.limit)
        return answer(page.people, headers=next_link(call.request, before=str(page.next)) if page.next else None)
