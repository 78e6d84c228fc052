"""Members who ask over HTTP, for tests of how they stand to each other and what they see."""

import asyncio
from typing import Any, NamedTuple
from uuid import uuid4

from tests.gateway.http_site import Answer, Api

NOTHING = {
    "following": False,
    "followed_by": False,
    "blocking": False,
    "blocked_by": False,
    "muting": False,
    "muting_until": None,
}


class Someone(NamedTuple):
    """A member who asks."""

    api: Api
    handle: str
    id: str
    token: str

    async def call(self, method: str, path: str, json: Any = None) -> Answer:
        return await self.api.call(method, path, json, token=self.token)

    async def does(self, method: str, what: str, other: "Someone", json: Any = None) -> Any:
        """The relationship afterwards: all of it that is true."""
        answer = await self.call(method, f"/v1/users/{other.handle}/{what}", json)
        assert answer.status == 200, answer
        assert answer.json.keys() == {"id", *NOTHING}
        assert answer.json["id"] == other.id
        return {name: value for name, value in answer.json.items() if name != "id" and value}

    async def counts(self, followers: int, following: int) -> None:
        """Return once the profile shows these: a message is on its way."""
        async with asyncio.timeout(5):
            while True:
                profile = (await self.call("GET", f"/v1/users/{self.handle}")).json
                if (profile["followers"], profile["following"]) == (followers, following):
                    return
                await asyncio.sleep(0.005)


class People:
    """Makes members, whose handles nobody else has."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._mark = uuid4().hex[:12]

    async def some(self, *names: str) -> list[Someone]:
        return [await self.one(name) for name in names]

    async def one(self, name: str) -> Someone:
        signed_in = await self.api.member(f"{name}-{self._mark}")
        account = signed_in.account
        return Someone(self.api, account.handle, account.id, signed_in.access_token)
