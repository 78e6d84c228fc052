"""What may be asked about who follows, blocks and mutes whom, and what actors tell each other of it.

A command goes to the actor of who asks, and names the other. All are absolute: doing one again changes nothing, and
answers the same.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from msgspec import UNSET, Meta, UnsetType

from protocol.commands import Command, Id
from protocol.errors import Refused
from protocol.text import decimal_id, unix_ms
from protocol.views import View

FOLLOWING_MAX = 10_000
"""People that one person may follow."""
RELATIONSHIPS_MAX = 100


class Place(NamedTuple):
    """Where somebody stands in a list of people; written ``<since_ms>.<account>``."""

    since_ms: int
    account: int

    def __str__(self) -> str:
        return f"{self.since_ms}.{self.account}"


def parse_place(text: str) -> Place:
    """Raises ``Refused("invalid")`` for what no page has given."""
    since, _, account = text.partition(".")
    if not since.isascii() or not since.isdecimal() or len(since) > 15:
        raise Refused("invalid", "must be the next of the page before")
    return Place(unix_ms(int(since)), int(decimal_id(account)))


class Relationship(View, frozen=True):
    """How one stands to another; of a block either way, no one follows the other."""

    id: str
    """The other's account."""
    following: bool
    followed_by: bool
    blocking: bool
    blocked_by: bool
    muting: bool
    muting_until: str | None
    """When the mute ends by itself."""


class ListedPerson(View, frozen=True):
    """Somebody in a list of followers, followed, blocked or muted people."""

    id: str
    handle: str
    name: str
    url: str | None
    since: str
    until: str | UnsetType | None = UNSET
    """When a mute ends by itself; in other lists absent."""


class SuggestedPerson(View, frozen=True):
    id: str
    handle: str
    name: str
    url: str | None
    paths: int
    """How many of those whom one follows follow this person; of many, a sample is asked."""
    followers: int


PeopleList = Literal["followers", "following", "blocks", "mutes"]


class PeoplePage(NamedTuple):
    """A page of a list of people, newest first."""

    people: Sequence[ListedPerson]
    next: Place | None
    """Where the page after begins; None on the last."""


class GraphCommand(Command, frozen=True, kw_only=True):
    """A command to the actor of who asks, about another account."""

    repeatable = True
    answers = Relationship
    account: Id
    """The other's."""


class Follow(GraphCommand, frozen=True, kw_only=True):
    """Follow someone; refused for oneself, across a block, and beyond 10,000."""

    method = "follow"


class Unfollow(GraphCommand, frozen=True, kw_only=True):
    """Follow someone no more."""

    method = "unfollow"


class Block(GraphCommand, frozen=True, kw_only=True):
    """Block someone: neither follows the other any more."""

    method = "block"


class Unblock(GraphCommand, frozen=True, kw_only=True):
    """Take a block back; who followed before does not again."""

    method = "unblock"


class Mute(GraphCommand, frozen=True, kw_only=True):
    """See nothing of someone, who is not told; again, to set another end."""

    method = "mute"
    until: int | None = None
    """Unix milliseconds, later than now; by default without end."""


class Unmute(GraphCommand, frozen=True, kw_only=True):
    """Mute someone no more."""

    method = "unmute"


class RemoveFollower(GraphCommand, frozen=True, kw_only=True):
    """Have someone not follow one any more, who may follow again."""

    method = "follower.remove"


class ReadRelationships(Command, frozen=True, kw_only=True):
    """How one stands to others, in the order asked; who has no account is left out."""

    method = "relationships"
    writes = False
    answers = list[Relationship]
    accounts: Annotated[list[Id], Meta(max_length=RELATIONSHIPS_MAX)]


# -- between actors ---------------------------------------------------------------------------------------------------


class GraphMessage(Command, frozen=True, kw_only=True):
    """What the actor of ``account`` tells another's."""

    account: int


class FollowerGained(GraphMessage, frozen=True, kw_only=True):
    """``account`` follows you now."""

    method = "follower.gained"


class FollowerLost(GraphMessage, frozen=True, kw_only=True):
    """``account`` does not follow you any more."""

    method = "follower.lost"


class DropFollow(GraphMessage, frozen=True, kw_only=True):
    """``account`` has blocked you, removed you from its followers, or is deleted: follow it no more.

    Unless you have asked to after that, and may: messages are late, and a new edge is not what was meant.
    """

    method = "follow.drop"
    version: int = 0
    """Of the edge that ``account`` saw."""
