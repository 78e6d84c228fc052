"""What happened on a post since people were told last: kept small, and told by an alarm, not with each event.

Nothing of it is stored but the version up to which people were told (``PostStateRow.told``). An actor that is loaded
with untold news reads again, from the rows that are newer, what happened; that alone is not exact to the last one:
who took a like back and gave it again meanwhile is taken for new.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Self

from msgspec import Struct

from protocol.text import HANDLE_CHARS_MAX
from store.base import WrittenComment
from store.rows import CommentRow, PostRow, ReactionRow

MENTIONS_MAX: Final = 10
"""People that one comment or post can mention."""
ROWS_MAX: Final = 1_000
"""Of each kind, the newest untold rows that are read after a load."""
TOLD_MAX: Final = 500
"""Of those who were told about what is gone, so many are told of it at once."""

_MENTION: Final = re.compile(r"(?<![\w@./-])@([A-Za-z0-9](?:[A-Za-z0-9._-]{0,28}[A-Za-z0-9])?)(?![\w@])")


class Mention(NamedTuple):
    comment: int
    """0: in the post itself."""
    parent: int
    """What the comment answers; 0: the post."""
    by: int
    handles: tuple[str, ...]


class Found(Struct, frozen=True, kw_only=True):
    """What was read for the news: see ``NewsNeeded``."""

    comments: Sequence[WrittenComment] = ()
    handles: Mapping[str, int] = {}
    told: Sequence[tuple[int, int]] = ()
    """(person, comment) of who was told about what is gone."""


NOTHING_FOUND: Final = Found()


class News:
    """The untold news of one post. A *change* is by how much more there are now of something, by account."""

    __slots__ = ("any", "applause", "comments", "gone", "mentions", "post_gone", "reactions", "replies")

    def __init__(self) -> None:
        self.any = False
        """Whether something happened."""
        self.comments: dict[int, int] = {}
        """Comments on the post, by who wrote them."""
        self.replies: dict[int, dict[int, int]] = {}
        """Of each comment that was answered, likewise."""
        self.reactions: dict[int, dict[int, int]] = {}
        """People who react to a comment, or to the post (0)."""
        self.applause: dict[int, int] = {}
        self.mentions: list[Mention] = []
        self.gone: dict[int, None] = {}
        """Comments that were deleted or lost their author."""
        self.post_gone = False

    # -- what happens

    def commented(self, before: CommentRow | None, row: CommentRow) -> None:
        """A comment is as ``row`` now; ``before`` is None for a new one. What was imported is no news."""
        if row.source is not None or row.kind != "comment":
            return
        by = _shown_author(row)
        if before is None:
            if by:
                self._count(row, by, 1)
                self._mention(row, by)
            return
        was_by = _shown_author(before)
        if was_by and not by:
            self._count(row, was_by, -1)
            self.gone[row.id] = None
        elif by and row.body != before.body:
            self._mention(row, by)

    def reacted(self, comment: int, person: int, change: int) -> None:
        """Someone reacts who did not (1), or not any more (-1)."""
        self.any = True
        _add(self.reactions.setdefault(comment, {}), person, change)

    def applauded(self, person: int, change: int) -> None:
        self.any = True
        _add(self.applause, person, change)

    def saved(self, before: PostRow | None, row: PostRow) -> None:
        """The post is as ``row`` now."""
        if row.state == "deleted":
            # Nobody was told anything about what was never published.
            self.any = self.post_gone = row.published_ms is not None
        elif row.state == "published" and row.author_id is not None and row.page_url is None:
            was = None if before is None or before.state != "published" else (before.title, before.body)
            if was != (row.title, row.body):
                self._mentioned(Mention(0, 0, row.author_id, mentioned(f"{row.title}\n{row.body}")))

    # -- what is read after a load

    @classmethod
    def recovered(
        cls, post: PostRow | None, written: Iterable[CommentRow], reacted: Iterable[ReactionRow], *, applause: str
    ) -> Self:
        """From rows that changed since people were told; ``applause`` is the kind that is none of reaction.

        Of what was taken back is not known whether somebody had been told of it: that it is mentioned at all has the
        count checked against the total.
        """
        news = cls()
        news.post_gone = post is not None and post.state == "deleted"
        for row in sorted(written, key=lambda row: row.changed_offset):
            if not _shown_author(row):
                news._count(row, row.author_id or 0, 0)
                news.gone[row.id] = None
            elif row.edited_ms is None:
                news.commented(None, row)
            else:
                news._mention(row, _shown_author(row))
        for reaction in sorted(reacted, key=lambda row: row.version):
            news.any, change = True, 1 if reaction.amount else 0
            if reaction.kind == applause:
                news.applauded(reaction.user_id, change)
            else:
                people = news.reactions.setdefault(reaction.comment_id, {})
                people[reaction.user_id] = max(change, people.pop(reaction.user_id, 0))
        return news

    # -- parts

    def _count(self, row: CommentRow, by: int, change: int) -> None:
        self.any = True
        _add(self.comments, by, change)
        if row.parent_id is not None:
            _add(self.replies.setdefault(row.parent_id, {}), by, change)

    def _mention(self, row: CommentRow, by: int) -> None:
        if "@" in row.body:
            self._mentioned(Mention(row.id, row.parent_id or 0, by, mentioned(row.body)))

    def _mentioned(self, mention: Mention) -> None:
        if mention.handles:
            self.any = True
            self.mentions.append(mention)


def mentioned(text: str) -> tuple[str, ...]:
    """The handles that a text mentions, ``@like.this``, in lower case; each once, at most ``MENTIONS_MAX``."""
    found = (match.group(1).lower() for match in _MENTION.finditer(text))
    handles = dict.fromkeys(handle for handle in found if 2 <= len(handle) <= HANDLE_CHARS_MAX)
    return tuple(handles)[:MENTIONS_MAX]


def _shown_author(row: CommentRow) -> int:
    """The account that can be seen to have written it; 0: none."""
    return (row.author_id or 0) if row.state == "visible" else 0


def _add(people: dict[int, int], person: int, change: int) -> None:
    # The newest stand last.
    people[person] = people.pop(person, 0) + change
