"""Readers who follow a post's stream over a site that is killed: in order, each change once, no gap."""

import asyncio
from typing import Any

from tests.site import Lost, Site, host_token

READER = 999


class Follower:
    """One reader of one post: where it stands, and what it has made of what it was sent."""

    def __init__(self, post: str, epoch: str, offset: int) -> None:
        self.post = post
        self.epoch = epoch
        self.offset = offset
        self.comments: dict[str, Any] = {}
        self._awaited: int | None = None
        self._reached = asyncio.Event()

    async def follow(self, site: Site) -> None:
        """Take what comes until the connection is lost."""
        raise NotImplementedError

    async def reaches(self, offset: int) -> None:
        """Wait until it stands at ``offset``."""
        self._awaited = offset
        if self.offset < offset:
            await self._reached.wait()

    def take(self, offset: int, data: Any) -> None:
        """One event of the stream; volatile ones have no offset and do not come here."""
        assert offset > self.offset, f"post {self.post}: {offset} came after {self.offset}"
        self.offset = offset
        if data["type"] == "comment":
            assert data["comment"]["offset"] == offset
            self.comments[data["comment"]["id"]] = data["comment"]
        if offset == self._awaited:
            self._reached.set()


class SocketFollower(Follower):
    """Resumes over WebSocket from its cursor."""

    resumes = True

    async def follow(self, site: Site) -> None:
        try:
            async with site.socket(host_token(READER)) as socket:
                channel = f"post:{self.post}"
                cursor = {"recover": True, "epoch": self.epoch, "offset": self.offset} if self.resumes else {}
                result = await socket.ask("subscribe", {"channel": channel, **cursor})
                assert result["epoch"] == self.epoch
                assert result.get("recovered", False) is self.resumes
                # A resume is sparse up to the head that it found, and without a gap from there on.
                if self.resumes:
                    head = (await socket.ask("history", {"channel": channel, "limit": 0}))["offset"]
                else:
                    head = self.offset = result["offset"]
                for publication in result.get("publications", ()):
                    self.take(publication["offset"], publication["data"])
                while push := await socket.pushes.get():
                    if offset := push["pub"].get("offset"):
                        assert offset == self.offset + 1 or self.offset < head, (
                            f"{self.offset} was followed by {offset}"
                        )
                        self.take(offset, push["pub"]["data"])
        except Lost:
            return


class LiveFollower(SocketFollower):
    """Begins at the head each time; so everything that it sees is live."""

    resumes = False


class EventFollower(Follower):
    """Resumes over Server-Sent Events, as a browser does."""

    async def follow(self, site: Site) -> None:
        async for id, event, data in site.events(self.post, f"{self.epoch}-{self.offset}"):
            assert event != "reset", f"post {self.post}: told to reload"
            epoch, _, offset = (id or "").rpartition("-")
            if id is None or (epoch, int(offset)) == (self.epoch, self.offset):
                continue
            assert epoch == self.epoch
            self.take(int(offset), data)
