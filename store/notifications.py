"""What people are told of, as the store is asked; such rows are written by commits, like all others.

A *group* is what a person is told of one kind about one target: ``NotificationRow``. Its owner is the actor of the
person, on whose stream it has the offset of its last change; one that is gone is a tombstone there, and nowhere else.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from store.rows import Author, CommentRow, NotificationRow, ReactionRow

NEWEST_OFFSET: Final = (1 << 63) - 1
"""Beyond every offset."""
GROUPS_OF_TARGET_MAX: Final = 8
"""Of one target, so many of the newest groups are counted up and down."""
GROUPS_ABOUT_MAX: Final = 500


class Target(NamedTuple):
    """What groups are about: the same kind, post and comment. 0 stands for no comment, or for no post."""

    kind: str
    post_id: int
    comment_id: int


def target_of(row: NotificationRow) -> Target:
    return Target(row.kind, row.post_id, row.comment_id)


class Title(NamedTuple):
    """What a post is called that a group is about."""

    id: int
    title: str
    slug: str | None


class Told(NamedTuple):
    """A page of groups, and where the stream of the person stands; read in one statement."""

    groups: list[NotificationRow]
    """Those that are not gone, by the offset of their last change, newest first."""
    head: int
    read_offset: int
    unread: int


class GroupChanges(NamedTuple):
    """What changed on the stream of a person after an offset, and the head, read in one statement."""

    groups: list[NotificationRow]
    """By ``changed_offset``, ascending; also those that are gone."""
    head: int
    read_offset: int
    through: int
    """Everything up to this offset is included: the head, or the last row's offset of a full page."""


class Named(NamedTuple):
    """What groups name."""

    people: dict[int, Author]
    posts: dict[int, Title]


class Notifications(Protocol):
    """Every method raises ``StoreUnavailable``, as those of ``Store`` do."""

    async def page(self, user: int, *, before: int = NEWEST_OFFSET, limit: int) -> Told:
        """The groups of a person that changed last, before an offset."""
        ...

    async def changes(self, user: int, after: int, *, limit: int) -> GroupChanges:
        """What changed on the person's stream beyond offset ``after``: at most ``limit`` groups."""
        ...

    async def groups(
        self,
        user: int,
        *,
        targets: Sequence[Target] = (),
        about: Sequence[tuple[int, int]] = (),
        naming: Sequence[int] = (),
    ) -> list[NotificationRow]:
        """The person's groups that are not gone, newest first: of ``targets``, of each the newest
        ``GROUPS_OF_TARGET_MAX``; and at most ``GROUPS_ABOUT_MAX`` of those about (post, comment; 0: any of the post) or
        naming an account.
        """
        ...

    async def named(self, people: Sequence[int], posts: Sequence[int]) -> Named:
        """The faces of ``people``, and the titles of ``posts``; of those that can be seen."""
        ...

    async def told_about(self, post: int, comments: Sequence[int], *, limit: int) -> list[tuple[int, int]]:
        """(person, comment) of who has groups, that are not gone, about these comments of the post, each once.

        Without ``comments``, about anything of the post; the comment is then 0.
        """
        ...

    async def told_of(self, account: int, *, limit: int) -> list[int]:
        """Who has groups, that are not gone, which name ``account``."""
        ...

    async def news(self, post: int, after: int, *, limit: int) -> tuple[list[CommentRow], list[ReactionRow]]:
        """What was written on a post, and reacted, beyond its version ``after``; of each the newest ``limit``."""
        ...

    async def handles(self, handles: Sequence[str]) -> dict[str, int]:
        """The accounts that these handles are bound to."""
        ...

    async def old(self, user: int, *, kept: int, before_ms: int, limit: int) -> tuple[list[int], int | None]:
        """The ids of at most ``limit`` groups of the person beyond the newest ``kept``, or last updated before a time.

        And when the oldest of the others was last updated, or None if there is none.
        """
        ...
