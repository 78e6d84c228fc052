"""What people are told of: what may be asked of it, what is shown, and what actors tell each other.

A *group* stands for what happened of one kind to one target: "two names and 41 others". It is added to for 12 hours
from the hour in which it began, counts down when things are taken back, and is gone at 0.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Self

from msgspec import UNSET, Struct, UnsetType

from protocol.commands import Command
from protocol.views import Author, CountersChanged, View

Kind = Literal["comment", "reply", "mention", "follow", "reaction", "applause"]
KINDS: Final[tuple[Kind, ...]] = ("comment", "reply", "mention", "follow", "reaction", "applause")
"""On one's own post everything is a comment, also an answer to one's own; a reply is an answer elsewhere."""


class NotificationGroup(View, frozen=True):
    id: str
    kind: Kind
    post: str | None
    """The post it is about; null for a follow."""
    comment: str | None
    """The comment it is about: what was answered or reacted to, or what mentions one; null: the post itself."""
    count: int
    """Comments, replies, or people; 0: taken back, show it no more."""
    sample: list[str]
    """Accounts that were the last to join, newest first, at most three."""
    created_at: str
    updated_at: str
    read: bool
    """Whether nothing was added since one read up to it."""
    offset: int
    """The stream offset of the last change."""


class NamedPost(View, frozen=True):
    """A post that a group is about."""

    id: str
    title: str
    slug: str | None


class NotificationPage(View, frozen=True):
    groups: list[NotificationGroup]
    """By their last change, newest first."""
    accounts: dict[str, Author]
    """Whom the groups name, by id; who has deleted the account is left out."""
    posts: dict[str, NamedPost]
    unread: int
    """Groups that began or were added to since one read last."""
    cursor: str
    """The stream's position: subscribe from here and nothing is lost; mark this read, and all of it is."""


class NotificationChanged(View, frozen=True, tag="notification", tag_field="type"):
    """On ``notifications:<id>``: a group began, changed, or is gone (its count is 0). Has an offset."""

    group: NotificationGroup
    accounts: dict[str, Author]
    posts: dict[str, NamedPost]


class UnreadChanged(View, frozen=True, tag="unread", tag_field="type"):
    """On ``notifications:<id>``: how many groups are unread; no offset. Drop one with a lower version than seen."""

    version: int
    unread: int
    read: int
    """The offset up to which one has read."""

    def lasting(self) -> Self:
        """See ``CountersChanged.lasting``."""
        return self


Latest = CountersChanged | UnreadChanged
"""What streams show besides what they publish: the latest value only."""


class Preferences(View, frozen=True):
    """Of which kinds one wants to be told."""

    comment: bool
    reply: bool
    mention: bool
    follow: bool
    reaction: bool
    applause: bool


class NotificationsListed(NamedTuple):
    """A page, and where the page after begins; None on the last."""

    page: NotificationPage
    next: int | None


# -- commands to one's own actor --------------------------------------------------------------------------------------


class OwnCommand(Command, frozen=True, kw_only=True):
    """A command to the actor of who asks, about nobody else."""


class MarkRead(OwnCommand, frozen=True, kw_only=True):
    """All up to a cursor is read. What was read stays so."""

    method = "notifications.read"
    repeatable = True
    answers = UnreadChanged
    cursor: str


class ReadPreferences(OwnCommand, frozen=True, kw_only=True):
    method = "notifications.preferences"
    writes = False
    answers = Preferences


class EditPreferences(OwnCommand, frozen=True, kw_only=True):
    """Change what is given, leave the rest."""

    method = "notifications.prefer"
    repeatable = True
    answers = Preferences
    comment: bool | UnsetType = UNSET
    reply: bool | UnsetType = UNSET
    mention: bool | UnsetType = UNSET
    follow: bool | UnsetType = UNSET
    reaction: bool | UnsetType = UNSET
    applause: bool | UnsetType = UNSET


# -- between actors ---------------------------------------------------------------------------------------------------


class Notice(Struct, frozen=True, array_like=True):
    """What happened of one kind to one target of yours since you were told last."""

    kind: Kind
    post: int
    comment: int
    change: int
    """By how much more there are now, of others than yourself."""
    total: int
    """So many there are by now at most."""
    people: Sequence[tuple[int, int]]
    """Who changed it and by how much, newest last; of many, the newest."""
    others: Sequence[tuple[int, int]] = ()
    """The same of those before them, whom no group names: some of them one may want to hear nothing of."""


class Notify(Command, frozen=True, kw_only=True):
    """Between actors: this is news for you."""

    method = "notify"
    notices: list[Notice]


class TakeBack(Command, frozen=True, kw_only=True):
    """Between actors: these comments, or if none are named the whole post, are gone, and what you were told of them."""

    method = "notify.take_back"
    post: int
    comments: list[int]


class ForgetPerson(Command, frozen=True, kw_only=True):
    """Between actors: the account is gone: name it no more."""

    method = "notify.forget"
    account: int
