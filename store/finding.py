"""How posts are found, as the store is asked: bookmarks, the recent and the hot ones, and search.

Bookmarks and heat are rows that commits write, like all others. What can be searched is derived from what commits have
written, and only ``index`` writes it: at any time, and any number of times.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from store.rows import Author
from store.timelines import PLACE_MAX, Listed

MARK_BEGIN: Final = "\x02"
MARK_END: Final = "\x03"
"""Around each word of an excerpt that was searched for; nowhere else."""
CANDIDATES_MAX: Final = 10_000
"""Of what matches a search, so many of the newest are ranked."""
EXCERPT_CHARS_READ: Final = 20_000
"""Of a text, the beginning that an excerpt is taken from."""


class Bookmarked(NamedTuple):
    on: bool
    published: bool
    """Whether the post is there for all to see."""


class Rank(NamedTuple):
    """Where something stands among what was found; the higher, the earlier."""

    rank: int
    """How well it matches, in millionths."""
    post_id: int
    comment_id: int
    """0: the post itself."""


BEST: Final = Rank((1 << 63) - 1, 0, 0)
"""Before everything."""


class Search(Struct, frozen=True, kw_only=True):
    words: str
    """As people write to a search engine: "quoted phrases", or, -without."""
    posts: bool = True
    comments: bool = True
    tag: str | None = None
    """Of the post."""


class Hit(NamedTuple):
    """A post or a comment that matches."""

    at: Rank
    title: str
    """Of the post, like slug and page."""
    slug: str | None
    page_url: str | None
    author: Author | None
    author_name: str | None
    """Of an imported comment whose author has no account; so is ``author_url``."""
    author_url: str | None
    created_ms: int
    """Of a post, when it was published."""
    excerpt: str
    """Plain text with marks, not safe to show as it is; what looks like an HTML tag may be left out."""


class Finding(Protocol):
    """Every method raises ``StoreUnavailable``, as those of ``Store`` do.

    In lists are posts that are published and embed no page, by place, descending, below one; none by someone whom the
    reader (0: nobody) mutes, or from whom a block parts the reader. ``Listed.mine`` is of the given ``kinds`` of
    reaction.
    """

    async def bookmarked(self, user: int, post: int) -> Bookmarked:
        """Whether the user has set a bookmark on the post."""
        ...

    async def bookmarks_among(self, user: int, posts: Sequence[int]) -> list[int]:
        """Those of ``posts`` on which the user has set a bookmark."""
        ...

    async def bookmarks_of(self, user: int, limit: int) -> list[int]:
        """Posts on which the user has bookmarks, whatever became of them."""
        ...

    async def bookmarks(
        self, user: int, *, below: int = PLACE_MAX, limit: int, kinds: tuple[str, ...] = ()
    ) -> list[Listed]:
        """What the user has bookmarked, the last first; pages too, and whoever wrote it. A place is the bookmark's."""
        ...

    async def recent(
        self, reader: int, *, tag: str | None = None, below: int = PLACE_MAX, limit: int, kinds: tuple[str, ...] = ()
    ) -> list[Listed]:
        """By the time of their publication."""
        ...

    async def hot(
        self, reader: int, *, tag: str | None = None, below: int = PLACE_MAX, limit: int, kinds: tuple[str, ...] = ()
    ) -> list[Listed]:
        """By heat, which is the place of each."""
        ...

    async def index(self, post: int, after: int, *, limit: int) -> int:
        """Let be found what changed on the post's stream beyond offset ``after``, at most ``limit`` of it.

        Returns the offset up to which all has been done.
        """
        ...

    async def search(self, search: Search, *, reader: int, after: Rank = BEST, limit: int) -> list[Hit]:
        """What matches and can be seen, the best first: published and neither deleted nor held; none across a block,
        nor by someone whom the reader mutes.

        Nothing matches words that all are too common to be kept, nor a search that only says what is not wanted.
        """
        ...

    async def use_language(self, language: str) -> None:
        """Have everything found by the rules of a text search configuration; of another than before, that takes time.

        Raises:
            StoreRefused: The database has no such configuration.
        """
        ...
