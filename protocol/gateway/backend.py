"""The gateway's whole view of what lies behind it. ``server.py`` fills it with a ``Node``."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, Protocol

from protocol.cluster import ActorLoad, Leases, Worker
from protocol.commands import Command, Person
from protocol.cursor import Cursor
from protocol.delivery import Attached, Changed, Presence, Sink
from protocol.errors import DomainError
from protocol.exchange import Submission, Verdict
from protocol.finding import ListedPosts, Mark, Order, SearchPage, SearchQuestion
from protocol.graph import PeopleList, PeoplePage, Place, SuggestedPerson
from protocol.notifications import NotificationsListed
from protocol.timelines import PostPage
from protocol.views import Author, PostView

Answer = Any
"""What a command answers: a ``View`` or ``Struct`` as its docstring says."""


class Submissions(Protocol):
    """Posts that other systems hand in. Every method raises ``Unavailable`` while the way to them is cut."""

    async def take(self, limit: int) -> Sequence[Submission]:
        """At most ``limit`` to be finished, after waiting some seconds for the first; there may be none.

        What is taken and not finished comes again some seconds later, here or on another worker.
        """
        ...

    async def finish(self, accepted: Sequence[str], rejected: Sequence[Verdict]) -> None:
        """None of these comes again; those that are rejected are kept for people to see why."""
        ...

    async def backlog(self) -> tuple[int, int]:
        """(those that are not finished, those of them that were taken)"""
        ...


class Faces(Protocol):
    """What actors show, without asking them."""

    def face(self, key: str) -> object | None:
        """What an actor answers to reads that are asked now, to be compared by identity: the same, the same answers.

        The answers come once all that they show is durable. None while it cannot be told: the actor is elsewhere or not
        in memory.
        """
        ...

    def shows(self, key: str, face: object, method: str) -> bool:
        """Whether an answer of that ``face`` may be given now, since it is the actor's and all of it is durable.

        If so, this counts as a command ``method`` that the actor has answered.
        """
        ...


class Backend(Faces, Protocol):
    """Actors by key: ``post:<id>`` and ``user:<id>``."""

    def submit(
        self,
        key: str,
        command: Command,
        by: Person,
        op: str | None,
        reply: Callable[[Answer | DomainError], None],
    ) -> None:
        """Ask without waiting; ``reply`` is called once, from the event loop, with the answer or the refusal.

        It may be called before this returns. Within one actor, replies come in the order of the submits, except that of
        reads which had to fetch.
        """
        ...

    async def ask(self, key: str, command: Command, by: Person, op: str | None = None) -> Answer:
        """The answer, once everything it shows is durable. Raises ``DomainError``."""
        ...

    async def attach(self, key: str, sink: Sink, since: Cursor | None) -> Attached:
        """Subscribe ``sink`` to the stream of ``key``, from ``since`` or from now. Raises ``DomainError``.

        ``feed:<id>`` is the live feed of that account, which no actor has, and its own only.
        """
        ...

    async def changes(self, key: str, since: Cursor | None, limit: int) -> Changed:
        """At most ``limit`` publications since a cursor. Raises ``DomainError``."""
        ...

    async def presence(self, key: str) -> Presence:
        """Who is subscribed, over all workers; of those that do not answer within a second, nobody."""
        ...

    # -- the gateways of the other workers

    async def tell(self, subject: str, data: bytes) -> None:
        """Tell the gateways of all other workers; it may be lost. Returns once the live ones have heard, or after 1 s.

        It is on its way before the first wait.
        """
        ...

    def on_told(self, subject: str, hear: Callable[[bytes], None]) -> None:
        """Have ``hear`` called with what another gateway tells; once a subject, before anything is served."""
        ...

    def on_interrupted(self, catch_up: Callable[[], None]) -> None:
        """Have ``catch_up`` called whenever something that was told may have been lost."""
        ...

    async def gather(self, subject: str, data: bytes = b"") -> list[bytes]:
        """The answers of the gateways of all live workers, this one's first; of those that come within a second."""
        ...

    def on_asked(self, subject: str, answer: Callable[[bytes], bytes]) -> None:
        """Have ``answer`` called for what a gateway gathers; once a subject, before anything is served."""
        ...

    # -- names and lists

    def new_id(self, at_ms: int | None = None) -> int:
        """A time-ordered id for a post of now, or of another time (Unix milliseconds)."""
        ...

    async def account_number(self) -> int:
        """A dense id for a new account."""
        ...

    async def claim_names(
        self, kind: Literal["account", "post"], names: Sequence[tuple[str, str]], id: int
    ) -> int | str:
        """Bind names (kind of name, name) to ``id``; see ``Store.claim_names``.

        Kinds of name in use: ``handle``, ``email`` and ``host`` (accounts); ``slug``, ``page`` and ``operation``
        (posts).
        """
        ...

    async def release_name(self, kind: str, name: str, id: int) -> None: ...

    async def resolve(self, kind: str, name: str) -> int | None:
        """The id a name is bound to."""
        ...

    async def posts(
        self, *, before: int | None, tag: str | None, author_id: int | None, reader: int, drafts: bool, limit: int
    ) -> list[PostView]:
        """Published posts, newest first, below id ``before``; with ``drafts`` also the unpublished ones.

        None of those of whom ``reader`` (0: nobody) sees nothing.
        """
        ...

    async def people(self, which: PeopleList, of: int, *, before: Place | None, limit: int) -> PeoplePage:
        """A page of the followers of account ``of``, or of whom it follows, blocks or mutes."""
        ...

    async def hidden_from(self, reader: int, ids: Sequence[int]) -> Collection[int]:
        """Those of ``ids`` of whom ``reader`` sees nothing now: a block stands between the two, or a mute lasts.

        Raises ``Unavailable``.
        """
        ...

    async def suggestions(self, me: int, limit: int) -> Sequence[SuggestedPerson]:
        """Whom ``me`` might follow, the likeliest first."""
        ...

    async def timeline(self, reader: int, *, before: int | None, limit: int) -> PostPage:
        """The newest posts of the reader and of whom the reader follows, below the place ``before``."""
        ...

    async def posts_of(self, author: int, *, reader: int, before: int | None, limit: int) -> PostPage:
        """The newest posts of an author below the place ``before``, as ``reader`` (0: nobody) may see them."""
        ...

    async def listed(
        self, order: Order, *, reader: int, tag: str | None, before: int | None, limit: int
    ) -> ListedPosts:
        """Published posts below the place ``before`` in an order, as ``reader`` (0: nobody) may see them."""
        ...

    async def bookmarks(self, reader: int, *, before: int | None, limit: int) -> ListedPosts:
        """What the reader has bookmarked, the last first, below the place ``before``."""
        ...

    async def bookmarked(self, reader: int, posts: Sequence[int]) -> Collection[int]:
        """Those of ``posts`` that the reader has bookmarked."""
        ...

    async def search(self, question: SearchQuestion, *, reader: int, after: Mark | None, limit: int) -> SearchPage:
        """What matches and ``reader`` (0: nobody) may see, the best first, beyond ``after``."""
        ...

    async def notifications(self, of: int, *, before: int | None, limit: int) -> NotificationsListed:
        """What account ``of`` is told: groups by their last change, newest first, before an offset."""
        ...

    async def authors(self, ids: Sequence[int]) -> dict[int, Author]: ...

    async def revoked_sessions(self, since_ms: int) -> list[tuple[str, int]]:
        """(session id, time) of the sessions that ended since, earliest first."""
        ...

    async def ended_accounts(self, since_ms: int) -> list[tuple[int, int]]:
        """(account, time) of the accounts that were deleted since, earliest first."""
        ...

    @property
    def submissions(self) -> Submissions | None:
        """What other systems hand in to be published; None where they have no way to."""
        ...

    # -- for the operator

    def ready(self) -> dict[str, str]:
        """What cannot serve, and why: part → reason; empty when all can.

        Parts: ``server`` (ends), ``database``, ``bus``, ``slots``.
        """
        ...

    def worker(self) -> Worker:
        """Who this worker is."""
        ...

    async def leases(self) -> Leases:
        """The live workers and what they hold, by the database. Raises ``Unavailable``."""
        ...

    def busiest(self, limit: int) -> list[ActorLoad]:
        """The busiest actors of this worker, at most ``limit``, first the busiest."""
        ...
