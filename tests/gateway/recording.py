"""A backend that records what it is asked, and streams that remember everything: what a gateway test talks to."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw

from protocol.cluster import ActorLoad, Lease, Leases, Worker
from protocol.commands import Command, CreateComment, Person
from protocol.cursor import Cursor
from protocol.delivery import Attached, Changed, Presence, Present, Published, Sink
from protocol.errors import DomainError, Refused, Unavailable
from protocol.finding import ListedPosts, Order, SearchPage, SearchQuestion
from protocol.gateway.backend import Answer
from protocol.gateway.identity import Identity, Visitor
from protocol.graph import PeopleList, PeoplePage, Place, SuggestedPerson
from protocol.notifications import NotificationPage, NotificationsListed
from protocol.timelines import PostPage
from protocol.views import Author, Counters, CountersChanged, PostView

Reply = Callable[[Answer | DomainError], None]
NOTHING_YET = Counters(comments=0, reactions={}, applause=0, views=0, viewers=0, watchers=0)
COUNTERS = msgspec.json.encode(CountersChanged(version=1, counters=NOTHING_YET))

NOTHING_TOLD = NotificationPage(groups=[], accounts={}, posts={}, unread=0, cursor="epoch-0")


class RecordingStream:
    """One stream: all it published, and who listens."""

    def __init__(self, epoch: str, page: int) -> None:
        self.epoch = epoch
        self.page = page
        self.published: list[Published] = []
        self.subscriptions: list[RecordingSubscription] = []
        self.changed = asyncio.Event()

    @property
    def head(self) -> int:
        return len(self.published)

    def publish(self, data: bytes) -> int:
        """An event of the stream; returns its offset."""
        self.published.append(Published(self.head + 1, data))
        for subscription in list(self.subscriptions):
            subscription.deliver()
        return self.head

    def signal(self, data: bytes) -> None:
        """Something volatile."""
        for subscription in list(self.subscriptions):
            sink = subscription.sink
            sink.write(sink.form.encode(subscription.key, self.epoch, [Published(None, data)]))


class RecordingSubscription:
    def __init__(self, stream: RecordingStream, key: str, sink: Sink, after: int) -> None:
        self.stream = stream
        self.key = key
        self.sink = sink
        self.after = after
        self._started = False

    def start(self) -> None:
        self._started = True
        self.deliver()

    def deliver(self) -> None:
        while self._started and self.after < self.stream.head:
            page = self.stream.published[self.after : self.after + self.stream.page]
            self.after += len(page)
            self.sink.write(self.sink.form.encode(self.key, self.stream.epoch, page))

    def close(self) -> None:
        if self in self.stream.subscriptions:
            self.stream.subscriptions.remove(self)
            self.stream.changed.set()


class Neighbours:
    """The workers of a cluster, as their gateways know of each other. What one tells, the others hear at once."""

    def __init__(self) -> None:
        self.backends: list[RecordingBackend] = []
        self.sessions: list[tuple[str, int]] = []
        self.accounts: list[tuple[int, int]] = []
        """What has ended, as the store knows it."""
        self.cut = False
        """Whether what is told is lost, and nobody else answers."""

    def label(self, backend: "RecordingBackend") -> tuple[str, str]:
        """The id and the label of a worker."""
        number = self.backends.index(backend)
        return f"id{number}", f"host:1/{number}"

    def others(self, backend: "RecordingBackend") -> list["RecordingBackend"]:
        return [] if self.cut else [other for other in self.backends if other is not backend]

    def heal(self) -> None:
        """The workers hear each other again, and know that they did not."""
        self.cut = False
        for backend in self.backends:
            for catch_up in backend.catch_up:
                catch_up()


class RecordingBackend:
    """Answers every command with its own method, or with what ``answers`` says of it; post 404 is not there."""

    def __init__(self, *, page: int = 3, neighbours: Neighbours | None = None) -> None:
        self.neighbours = neighbours or Neighbours()
        self.neighbours.backends.append(self)
        self.told: dict[str, Callable[[bytes], None]] = {}
        self.answering: dict[str, Callable[[bytes], bytes]] = {}
        self.catch_up: list[Callable[[], None]] = []
        self.failing: dict[str, str] = {}
        self.loads: list[ActorLoad] = []
        self.asked: list[tuple[str, Command, Person, str | None]] = []
        self.answers: dict[str, Answer | DomainError] = {}
        """By method."""
        self.held: list[Callable[[], None]] | None = None
        """A list keeps the answers back."""
        self.page = page
        self.streams: dict[str, RecordingStream] = {}
        self.presences: list[asyncio.Future[Presence]] | None = None
        """A list has each question about presence wait for an answer of its own."""

    def stream(self, key: str) -> RecordingStream:
        return self.streams.setdefault(key, RecordingStream("e1", self.page))

    def submit(self, key: str, command: Command, by: Person, op: str | None, reply: Reply) -> None:
        self.asked.append((key, command, by, op))
        answer = self.answers.get(command.method, {"method": command.method})
        if isinstance(command, CreateComment) and not isinstance(answer, DomainError):
            self.stream(key).publish(b'{"type":"comment","comment":{"body":"%b"}}' % command.body.encode())
        if self.held is None:
            asyncio.get_running_loop().call_soon(reply, answer)
        else:
            self.held.append(lambda: reply(answer))

    async def ask(self, key: str, command: Command, by: Person, op: str | None = None) -> Answer:
        raise Unavailable

    def face(self, key: str) -> None:
        return None

    def shows(self, key: str, face: object, method: str) -> bool:
        return False

    async def attach(self, key: str, sink: Sink, since: Cursor | None) -> Attached:
        if key == "post:404":
            raise Refused("post_not_found")
        stream = self.stream(key)
        recovered = since is not None and since.epoch == stream.epoch and since.offset <= stream.head
        offset = since.offset if since is not None and recovered else stream.head
        first = stream.published[offset : offset + stream.page]
        subscription = RecordingSubscription(stream, key, sink, offset + len(first))
        stream.subscriptions.append(subscription)
        stream.changed.set()
        return Attached(subscription, stream.epoch, offset, recovered, first, COUNTERS)

    async def changes(self, key: str, since: Cursor | None, limit: int) -> Changed:
        stream = self.stream(key)
        if since is None or since.epoch != stream.epoch or since.offset > stream.head:
            return Changed([], Cursor(stream.epoch, stream.head), False, False, None)
        page = stream.published[since.offset : since.offset + limit]
        after = since.offset + len(page)
        return Changed(page, Cursor(stream.epoch, after), True, after < stream.head, None)

    @property
    def submissions(self) -> None:
        return None

    async def presence(self, key: str) -> Presence:
        if self.presences is not None:
            self.presences.append(asyncio.get_running_loop().create_future())
            return await self.presences[-1]
        listed = [
            Present(each.sink.client, each.sink.by)
            for backend in (self, *self.neighbours.others(self))
            for each in backend.stream(key).subscriptions
        ]
        return Presence(len(listed), len({each.by.id for each in listed} - {0}), listed)

    async def tell(self, subject: str, data: bytes) -> None:
        for other in self.neighbours.others(self):
            other.told[subject](data)

    def on_told(self, subject: str, hear: Callable[[bytes], None]) -> None:
        self.told[subject] = hear

    def on_interrupted(self, catch_up: Callable[[], None]) -> None:
        self.catch_up.append(catch_up)

    async def gather(self, subject: str, data: bytes = b"") -> list[bytes]:
        asked = [self, *self.neighbours.others(self)]
        return [backend.answering[subject](data) for backend in asked]

    def on_asked(self, subject: str, answer: Callable[[bytes], bytes]) -> None:
        self.answering[subject] = answer

    def new_id(self, at_ms: int | None = None) -> int:
        return 1

    async def account_number(self) -> int:
        return 1

    async def claim_names(
        self, kind: Literal["account", "post"], names: Sequence[tuple[str, str]], id: int
    ) -> int | str:
        return id

    async def release_name(self, kind: str, name: str, id: int) -> None:
        raise Unavailable

    async def resolve(self, kind: str, name: str) -> int | None:
        return None

    async def posts(self, **_: Any) -> list[PostView]:
        return []

    async def people(self, which: PeopleList, of: int, *, before: Place | None, limit: int) -> PeoplePage:
        return PeoplePage([], None)

    async def hidden_from(self, reader: int, ids: Sequence[int]) -> Collection[int]:
        return []

    async def suggestions(self, me: int, limit: int) -> Sequence[SuggestedPerson]:
        return []

    async def timeline(self, reader: int, *, before: int | None, limit: int) -> PostPage:
        return PostPage(Raw(b"[]"), None, "e1-1")

    async def posts_of(self, author: int, *, reader: int, before: int | None, limit: int) -> PostPage:
        return PostPage(Raw(b"[]"), None, "e1-1")

    async def listed(self, order: Order, **_: Any) -> ListedPosts:
        return ListedPosts(Raw(b"[]"), None)

    async def bookmarks(self, reader: int, **_: Any) -> ListedPosts:
        return ListedPosts(Raw(b"[]"), None)

    async def bookmarked(self, reader: int, posts: Sequence[int]) -> Collection[int]:
        return []

    async def search(self, question: SearchQuestion, **_: Any) -> SearchPage:
        return SearchPage([], None)

    async def notifications(self, of: int, *, before: int | None, limit: int) -> NotificationsListed:
        return NotificationsListed(NOTHING_TOLD, None)

    async def authors(self, ids: Sequence[int]) -> dict[int, Author]:
        return {}

    async def revoked_sessions(self, since_ms: int) -> list[tuple[str, int]]:
        return [entry for entry in self.neighbours.sessions if entry[1] >= since_ms]

    async def ended_accounts(self, since_ms: int) -> list[tuple[int, int]]:
        return [entry for entry in self.neighbours.accounts if entry[1] >= since_ms]

    def ready(self) -> dict[str, str]:
        return self.failing

    def worker(self) -> Worker:
        return Worker(*self.neighbours.label(self), "up")

    async def leases(self) -> Leases:
        return Leases([Lease(*self.neighbours.label(each), 2.5, 128) for each in self.neighbours.backends], [])

    def busiest(self, limit: int) -> list[ActorLoad]:
        return self.loads[:limit]


class RecordingAuthenticator:
    """Knows the tokens it was given; ``expired`` has expired, anything else is forged."""

    def __init__(self, **identities: Identity) -> None:
        self.identities = identities
        self.visitors: list[Visitor] = []

    async def authenticate(self, token: str | None, visitor: Visitor) -> Identity:
        self.visitors.append(visitor)
        if token is None:
            return Identity(Person(id=0, handle="", name="", role="anonymous"))
        if token == "expired":
            raise Refused("token_expired")
        if token == "overload":
            raise Unavailable
        if token not in self.identities:
            raise Refused("unauthorized")
        return self.identities[token]

    def receipt(self, ticket: str) -> str:
        return f"{ticket}-seen"

    async def resume(self, ticket: str, receipt: str) -> Identity:
        raise Refused("unauthorized")

    async def redeem(self, ticket: str, visitor: Visitor) -> Identity:
        if ticket not in self.identities:
            raise Refused("unauthorized")
        return self.identities.pop(ticket)
