"""How posts are found: bookmarks, lists of posts and search, as they are asked for and shown."""

import re
from typing import Final, Literal, NamedTuple

from msgspec import Raw, Struct

from protocol.commands import Id
from protocol.errors import Refused
from protocol.notifications import OwnCommand
from protocol.views import Author, View

SEARCH_CHARS_MAX: Final = 300
Order = Literal["recent", "hot"]
"""By the time of publication, or by heat: what moves many counts as newer than it is."""


class Bookmark(OwnCommand, frozen=True, kw_only=True):
    """Set a bookmark on a post, or take it away; absolute, hence idempotent."""

    method = "bookmark"
    repeatable = True
    post: Id
    on: bool = True


class ListedPosts(NamedTuple):
    posts: Raw
    """JSON of a list of ``PostView``."""
    next: int | None
    """The place below which the next page begins; None on the last."""


class Mark(NamedTuple):
    """Where something stands in what a search found; written ``<rank>.<post>.<comment>``."""

    rank: int
    post: int
    comment: int

    def __str__(self) -> str:
        return f"{self.rank}.{self.post}.{self.comment}"


_MARK: Final = re.compile(r"([0-9]{1,19})\.([0-9]{1,19})\.([0-9]{1,19})")


def parse_mark(text: str) -> Mark:
    """Raises ``Refused("invalid")`` for what no page has given."""
    match = _MARK.fullmatch(text)
    numbers = [int(group) for group in match.groups()] if match is not None else [-1]
    if match is None or max(numbers) >= 1 << 63:
        raise Refused("invalid", "must be the next of the page before")
    return Mark(*numbers)


class SearchQuestion(Struct, frozen=True, kw_only=True):
    """What is searched for, where."""

    words: str
    kind: Literal["posts", "comments", "all"] = "all"
    tag: str | None = None


class SearchHit(View, frozen=True):
    """A post or a comment that was found."""

    kind: Literal["post", "comment"]
    post: str
    comment: str | None
    title: str
    """Of the post, like slug and page."""
    slug: str | None
    page_url: str | None
    author: Author | None
    """Of what was found; null where nobody is named any more."""
    excerpt: str
    """Safe HTML: text, in which ``<mark>`` stands around the words that were searched for."""
    created_at: str


class SearchPage(NamedTuple):
    """The best first."""

    hits: list[SearchHit]
    next: Mark | None
    """Where the page after begins; None on the last."""
