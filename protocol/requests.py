"""What HTTP alone says: the bodies and queries of requests, and the answers that are not views of an actor.

A body is a command without what the path says. Times are RFC 3339 with an offset; the commands behind them count Unix
milliseconds.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from protocol import text
from protocol.accounts import AccountView
from protocol.commands import POST_BODY_CHARS_MAX, TAGS_MAX, TITLE_CHARS_MAX, Id
from protocol.decode import Rules
from protocol.errors import Refused
from protocol.finding import SEARCH_CHARS_MAX, Order, parse_mark
from protocol.graph import RELATIONSHIPS_MAX, parse_place
from protocol.times import unix_ms
from protocol.views import View

Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339, with an offset.")]
Title = Annotated[str, Meta(min_length=1, max_length=TITLE_CHARS_MAX)]
PostBody = Annotated[str, Meta(max_length=POST_BODY_CHARS_MAX, description="Markdown.")]
Slug = Annotated[str, Meta(min_length=1, max_length=text.SLUG_CHARS_MAX, description="Words of a-z, 0-9 joined by -.")]
Tag = Annotated[str, Meta(min_length=1, max_length=text.TAG_CHARS_MAX)]
Tags = Annotated[list[Tag], Meta(max_length=TAGS_MAX)]
Handle = Annotated[
    str,
    Meta(min_length=2, max_length=text.HANDLE_CHARS_MAX, description="a-z, 0-9 and, inside, . _ -; case is lost."),
]
Name = Annotated[str, Meta(min_length=1, max_length=text.NAME_CHARS_MAX)]
Email = Annotated[str, Meta(max_length=text.EMAIL_CHARS_MAX)]
Password = Annotated[str, Meta(min_length=8, max_length=256)]
Url = Annotated[str, Meta(max_length=text.URL_CHARS_MAX)]
COUNTS_MAX = 100


class Body(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The JSON object of a request; a field that it does not know is refused."""


class Query(Struct, frozen=True, kw_only=True):
    """The query of a request; parameters that it does not know are ignored."""

    repeated: ClassVar[frozenset[str]] = frozenset()
    """Parameters that may be given more than once, which makes a list; of the others the first counts."""


# -- accounts ---------------------------------------------------------------------------------------------------------


class SignUp(Body, frozen=True, kw_only=True):
    handle: Handle
    password: Password
    email: Email | None = None
    name: Name | None = None
    """Shown beside comments; by default the handle."""


class SignIn(Body, frozen=True, kw_only=True):
    login: Annotated[str, Meta(min_length=1, max_length=254, description="Handle or e-mail address.")]
    password: Annotated[str, Meta(min_length=1, max_length=256)]


class RefreshSession(Body, frozen=True, kw_only=True):
    refresh_token: Annotated[str, Meta(max_length=256)]


class EditProfile(Body, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    """http or https; empty for none."""
    password: Password | UnsetType = UNSET
    """The new one; needs ``current_password``."""
    current_password: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET


class NewGuest(Body, frozen=True, kw_only=True):
    name: Name


class SignedIn(View, frozen=True):
    """Who one is now, and the tokens that prove it."""

    account: AccountView
    access_token: str
    """For ``Authorization: Bearer`` and the WebSocket's connect."""
    expires_at: str
    """When the access token ends."""
    refresh_token: str | UnsetType = UNSET
    """To be exchanged, once, for the next pair; absent where the one before stays good."""


class Ticket(View, frozen=True):
    """Stands for the access token in a query, once, for a minute."""

    ticket: str
    expires_at: str


class PublicProfile(View, frozen=True):
    id: str
    handle: str
    name: str
    url: str | None
    role: Literal["guest", "member", "author", "moderator", "admin"]
    created_at: str
    posts: int
    """Published ones."""
    followers: int
    following: int


# -- posts ------------------------------------------------------------------------------------------------------------


class ListPosts(Query, frozen=True, kw_only=True):
    tag: Tag | None = None
    author: Annotated[str, Meta(max_length=64, description="A handle.")] | None = None
    order: Order | None = None
    """By the time of publication, or by heat; by default as they were made, newest first."""
    before: Id | None = None
    """Posts older than this one; with an order, the place in the ``Link`` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    drafts: bool = False
    """Unpublished ones too; for their author and moderators."""


class ReadTimeline(Query, frozen=True, kw_only=True):
    before: Id | None = None
    """The ``next`` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class ListBookmarks(Query, frozen=True, kw_only=True):
    before: Id | None = None
    """The place in the ``Link`` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class SearchQuery(Query, frozen=True, kw_only=True):
    q: Annotated[str, Meta(min_length=1, max_length=SEARCH_CHARS_MAX)]
    """Words that all are to be there; "in quotes" one after the other; or between alternatives; -without."""
    kind: Literal["posts", "comments", "all"] = "all"
    tag: Tag | None = None
    """Of the post."""
    after: Annotated[str, Meta(max_length=64)] | None = None
    """The mark in the ``Link`` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=50)] = 20


class NewPost(Body, frozen=True, kw_only=True):
    title: Title
    body: PostBody = ""
    slug: Slug | None = None
    """By default made from the title."""
    tags: Tags = []
    state: Literal["draft", "published"] = "published"
    publish_at: Moment | None = None
    """A later time schedules the publication."""


class PostEdit(Body, frozen=True, kw_only=True):
    """What is given is changed, the rest stays."""

    title: Title | None = None
    body: PostBody | None = None
    slug: Slug | None = None
    tags: Tags | None = None
    comments_open: bool | None = None


class Publication(Body, frozen=True, kw_only=True):
    at: Moment | None = None
    """By default now."""


class PageKey(Body, frozen=True, kw_only=True):
    """Which page embeds the comments: its own id, else its address, else its path on the asking site."""

    id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    url: Annotated[str, Meta(max_length=2_048)] | None = None
    path: Annotated[str, Meta(max_length=2_048)] | None = None
    title: Title | None = None


class CountsQuery(Body, frozen=True, kw_only=True):
    posts: Annotated[list[Id], Meta(max_length=COUNTS_MAX)]


class ReadChanges(Query, frozen=True, kw_only=True):
    cursor: Annotated[str, Meta(max_length=96)] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class StreamEvents(Query, frozen=True, kw_only=True):
    last_event_id: Annotated[str, Meta(max_length=96)] | None = None
    """The cursor, where the header of this name cannot be set."""
    ticket: str | None = None
    """In place of the Authorization header, which EventSource cannot send."""


class Change(View, frozen=True):
    """One publication of a post's stream. ``offset`` is its place; without one it is volatile."""

    data: Raw
    """A publication, as the WebSocket and the SSE stream carry it."""
    offset: int | UnsetType = UNSET


class Changes(View, frozen=True):
    publications: list[Change]
    cursor: str
    """Where to go on."""
    recovered: bool
    """False: the cursor was none of this stream; reload, then go on from the new one."""
    more: bool
    counters: Raw | None
    """On the last page a ``CountersChanged``: the numbers of now, and of every comment reacted to since the cursor."""


# -- comments, reactions, signals -------------------------------------------------------------------------------------


class ListComments(Query, frozen=True, kw_only=True):
    order: Literal["newest", "oldest", "best"] = "newest"
    view: Literal["threads", "level"] = "threads"
    """Whole threads, or one level with the count of what it hides."""
    only: Literal["comments", "pingbacks", "held"] = "comments"
    parent: Id | None = None
    """Only what hangs on this comment."""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    after: Annotated[str, Meta(max_length=64)] | None = None
    """The ``next`` of the page before."""


class NewComment(Body, frozen=True, kw_only=True):
    body: str
    """Markdown, at most 10,000 characters."""
    parent: Id | None = None


class CommentEdit(Body, frozen=True, kw_only=True):
    body: str


class Applause(Body, frozen=True, kw_only=True):
    total: int
    """0 to 50: the person's own total, not a difference."""


class TypingSignal(Body, frozen=True, kw_only=True):
    on: bool = True


# -- people -----------------------------------------------------------------------------------------------------------


class ListPeople(Query, frozen=True, kw_only=True):
    before: Annotated[str, Meta(max_length=64)] | None = None
    """The place in the ``Link`` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class ListSuggestions(Query, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class RelationshipsQuery(Query, frozen=True, kw_only=True):
    repeated = frozenset({"id"})
    id: Annotated[list[Id], Meta(max_length=RELATIONSHIPS_MAX, description="Accounts, each in a parameter.")] = []


class NewMute(Body, frozen=True, kw_only=True):
    until: Moment | None = None
    """A later time than now; by default without end."""


# -- notifications ----------------------------------------------------------------------------------------------------


class ListNotifications(Query, frozen=True, kw_only=True):
    before: Id | None = None
    """The offset in the ``Link`` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class ReadUpTo(Body, frozen=True, kw_only=True):
    cursor: Annotated[str, Meta(max_length=96)]
    """Of a page, or of the last event seen: all up to it is read."""


class PreferencesEdit(Body, frozen=True, kw_only=True):
    """What is given is changed, the rest stays."""

    comment: bool | UnsetType = UNSET
    reply: bool | UnsetType = UNSET
    mention: bool | UnsetType = UNSET
    follow: bool | UnsetType = UNSET
    reaction: bool | UnsetType = UNSET
    applause: bool | UnsetType = UNSET


# -- rules ------------------------------------------------------------------------------------------------------------


def _address_or_none(value: str) -> str:
    return text.web_address(value) if value else value


def _words(value: str) -> str:
    line = text.one_line(value)
    if not text.visible(line):
        raise Refused("invalid", "must not be empty")
    return line


def _mark(value: str) -> str:
    return str(parse_mark(value))


def _place(value: str) -> str:
    return str(parse_place(value))


def _moment(value: datetime) -> datetime:
    # The last hours of 9999 elsewhere are in a year that has no RFC 3339 in UTC, in which they are shown.
    if not 0 <= unix_ms(value) <= text.TIME_MS_MAX:
        raise Refused("invalid", "must be a time from 1970 to 9999")
    return value


def _ids(values: list[str]) -> list[str]:
    return [text.decimal_id(value) for value in values]


_MARK: Final = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,10}){0,2}")


def _page_mark(value: str) -> str:
    # One that was made up would be read as the beginning, and who follows it would never come to an end.
    if not _MARK.fullmatch(value):
        raise Refused("invalid", "must be the next of the page before")
    return value


RULES: Final[Mapping[type[Body | Query], Rules]] = MappingProxyType(
    {
        SignUp: {
            "handle": text.handle,
            "email": text.email_address,
            "name": text.display_name,
            "password": text.plain,
        },
        SignIn: {"login": text.plain, "password": text.plain},
        EditProfile: {
            "name": text.display_name,
            "url": _address_or_none,
            "password": text.plain,
            "current_password": text.plain,
        },
        NewGuest: {"name": text.display_name},
        NewPost: {
            "title": text.title,
            "body": text.post_body,
            "slug": text.slug,
            "tags": text.tags,
            "publish_at": _moment,
        },
        PostEdit: {"title": text.title, "body": text.post_body, "slug": text.slug, "tags": text.tags},
        Publication: {"at": _moment},
        PageKey: {"id": text.one_line, "url": text.one_line, "path": text.one_line, "title": text.title},
        CountsQuery: {"posts": _ids},
        NewComment: {"body": text.comment_body, "parent": text.decimal_id},
        CommentEdit: {"body": text.comment_body},
        NewMute: {"until": _moment},
        ListPeople: {"before": _place},
        RelationshipsQuery: {"id": _ids},
        ListNotifications: {"before": text.decimal_id},
        ReadUpTo: {"cursor": text.plain},
        ListPosts: {"tag": text.plain, "author": text.plain, "before": text.decimal_id},
        ListBookmarks: {"before": text.decimal_id},
        ReadTimeline: {"before": text.decimal_id},
        SearchQuery: {"q": _words, "tag": text.plain, "after": _mark},
        ListComments: {"parent": text.decimal_id, "after": _page_mark},
    }
)
"""What the texts and times of bodies and queries must be, beyond their types."""
