"""What actors show besides their streams, as of one durable version: see ``Numbers``."""

from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from protocol.notifications import UnreadChanged
from protocol.views import Counters, CountersChanged


class PostNumbers(Struct, frozen=True):
    """The counters of a post."""

    version: int
    comments: int
    reactions: dict[str, int]
    applause: int
    of_comments: dict[str, dict[str, int]]
    """Reactions of the comments that changed since the last message."""

    def beyond(self, unsent: Self) -> Self:
        return replace(self, of_comments={**unsent.of_comments, **self.of_comments})

    def sent(self) -> Self:
        return replace(self, of_comments={})

    def message(self, views: tuple[int, int], watchers: int) -> CountersChanged:
        counters = Counters(
            comments=self.comments,
            reactions=self.reactions,
            applause=self.applause,
            views=views[0],
            viewers=views[1],
            watchers=watchers,
        )
        return CountersChanged(version=self.version, counters=counters, comments=self.of_comments)


class UserNumbers(Struct, frozen=True):
    """How many notifications of a person are unread, and up to which offset all are read."""

    version: int
    unread: int
    read: int

    def beyond(self, unsent: Self) -> Self:
        return self

    def sent(self) -> Self:
        return self

    def message(self, views: tuple[int, int], watchers: int) -> UnreadChanged:
        return UnreadChanged(version=self.version, unread=self.unread, read=self.read)
