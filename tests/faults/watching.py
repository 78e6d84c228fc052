"""People who follow posts over connections that are cut: each writes down what it was told, and resumes from there."""

import asyncio
from abc import ABC, abstractmethod
from random import Random
from typing import Any, Final

from tests.faults.history import Closed, Counted, Kind, Moved, Numbers, Opened, Saw, brief
from tests.faults.load import Backoff, Scribe, Sites
from tests.site import Answered, Lost, Site, Socket, host_token

READER: Final = 99
POLL_S: Final = 0.5


class Watcher(ABC):
    """One reader of one post, for as long as ``run`` runs."""

    kind: Kind

    def __init__(self, name: str, post: str, epoch: str, offset: int, scribe: Scribe, rng: Random) -> None:
        self.name = name
        self.post = post
        self.epoch = epoch
        self.offset = offset
        """Where it stands."""
        self.numbers: Numbers | None = None
        """The last that it was told."""
        self.scribe = scribe
        self._rng = rng

    async def run(self, sites: Sites) -> None:
        backoff = Backoff(self._rng)
        while True:
            code = 0
            try:
                code = await self.follow(sites(self._rng))
                backoff.reset()
                self.scribe.note(Closed(watcher=self.name, at=self.scribe.clock(), code=code))
            except (Lost, Answered):
                self.scribe.note(Closed(watcher=self.name, at=self.scribe.clock(), code=0))
            await backoff.wait()

    @abstractmethod
    async def follow(self, site: Site) -> int:
        """Take what comes until the connection ends; why it did. Raises ``Lost`` and ``Answered``."""

    def opened(self, offset: int, *, recovered: bool = True) -> None:
        self.offset = offset
        self.scribe.note(
            Opened(
                watcher=self.name,
                kind=self.kind,
                post=self.post,
                at=self.scribe.clock(),
                offset=offset,
                recovered=recovered,
            )
        )

    def take(self, offset: int | None, data: Any) -> None:
        """One publication."""
        if data["type"] == "counters":
            told = data["counters"]
            self.numbers = Numbers(told["comments"], told["applause"], told["reactions"])
        if offset is None:
            return
        self.offset = offset
        comment = data["comment"]
        self.scribe.note(
            Saw(
                watcher=self.name,
                at=self.scribe.clock(),
                offset=offset,
                comment=comment["id"],
                body=brief(comment["body"]),
                deleted=comment["state"] == "deleted",
            )
        )

    def counted(self) -> Counted:
        assert self.numbers is not None
        return Counted(watcher=self.name, at=self.scribe.clock(), numbers=self.numbers)


class SocketWatcher(Watcher):
    """Resumes over WebSocket from its cursor."""

    kind: Kind = "resuming"

    async def follow(self, site: Site) -> int:
        async with site.socket(host_token(READER)) as socket:
            channel = f"post:{self.post}"
            result = await socket.ask("subscribe", {"channel": channel, **self.cursor()})
            self.epoch = result["epoch"]
            self.opened(result.get("offset", 0), recovered=result.get("recovered", False))
            self.take(None, result["data"])
            self.subscribed(socket)
            for publication in result.get("publications", ()):
                self.take(publication.get("offset"), publication["data"])
            while push := await socket.pushes.get():
                if "pub" in push:
                    self.take(push["pub"].get("offset"), push["pub"]["data"])
            return socket.close_code

    def cursor(self) -> dict[str, Any]:
        return {"recover": True, "epoch": self.epoch, "offset": self.offset}

    def subscribed(self, socket: Socket) -> None:
        """Before anything more is taken from ``socket``."""


class LiveWatcher(SocketWatcher):
    """Begins at the head each time; so everything that it sees is live."""

    kind: Kind = "live"

    def cursor(self) -> dict[str, Any]:
        return {}


class EventWatcher(Watcher):
    """Resumes over Server-Sent Events, as a browser does."""

    kind: Kind = "events"

    async def follow(self, site: Site) -> int:
        recovered, opened = True, False
        async for id, event, data in site.events(self.post, f"{self.epoch}-{self.offset}"):
            epoch, _, offset = (id or "").rpartition("-")
            if event == "reset":
                recovered = False
            elif not opened:
                self.epoch, opened = epoch, True
                self.opened(int(offset), recovered=recovered)
                self.take(None, data)
            else:
                self.take(int(offset) if offset else None, data)
        return 0


class PollingWatcher(Watcher):
    """Asks by turns what has changed since its cursor."""

    kind: Kind = "polling"

    async def follow(self, site: Site) -> int:
        self.opened(self.offset)
        while True:
            path = f"/v1/posts/{self.post}/changes?cursor={self.epoch}-{self.offset}"
            changes = await site.request("GET", path)
            if not changes["recovered"]:
                self.opened(self.offset, recovered=False)
            for change in changes["publications"]:
                self.take(change.get("offset"), change["data"])
            self.epoch, _, offset = changes["cursor"].rpartition("-")
            self.offset = int(offset)
            self.scribe.note(Moved(watcher=self.name, at=self.scribe.clock(), offset=self.offset))
            if changes["counters"] is not None:
                self.take(None, changes["counters"])
            if not changes["more"]:
                await asyncio.sleep(POLL_S)


KINDS: Final[tuple[type[Watcher], ...]] = (SocketWatcher, LiveWatcher, EventWatcher, PollingWatcher)


async def position_of(site: Site, post: str) -> tuple[str, int]:
    """The epoch and the offset of a post as it is."""
    epoch, _, offset = (await site.request("GET", f"/v1/posts/{post}"))["cursor"].rpartition("-")
    return epoch, int(offset)


async def watchers_of(site: Site, post: str, scribe: Scribe, rng: Random) -> list[Watcher]:
    """One of each kind, from the post's present position on."""
    position = await position_of(site, post)
    return [kind(f"{kind.kind} watcher of {post}", post, *position, scribe, Random(rng.random())) for kind in KINDS]
