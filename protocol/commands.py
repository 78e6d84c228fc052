"""What may be asked of an actor: the same structs are the RPCs of the WebSocket and the bodies of HTTP.

A command carries only what its sender may say; who is asking stands beside it, as a ``Person`` that the gateway
vouches for. Ids are decimal strings on the wire. Texts are normalised and checked by ``protocol.text`` before a command
is asked.
"""

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Raw, Struct

from protocol.views import Ack, CommentPage, PostView

Id = Annotated[str, Meta(pattern="^[1-9][0-9]{0,18}$", description="A decimal id, as a string.")]
OperationId = Annotated[
    str,
    Meta(min_length=1, max_length=128, description="Chosen by the client; a retry with the same id is done once."),
]
BODY_CHARS_MAX = 10_000
TITLE_CHARS_MAX = 300
POST_BODY_CHARS_MAX = 100_000
TAGS_MAX = 20
APPLAUSE_MAX = 50


class Person(Struct, frozen=True):
    """Who is asking, as the gateway established it; ``id`` 0 is an anonymous reader."""

    id: int
    handle: str
    name: str
    role: Literal["anonymous", "guest", "member", "author", "moderator", "admin"] = "member"
    url: str | None = None
    viewer: int = 0
    """A 32-bit hash that stands for this viewer in counts of views: of the account, or of address and browser."""

    @property
    def moderates(self) -> bool:
        return self.role in ("moderator", "admin")


ANONYMOUS = Person(id=0, handle="", name="", role="anonymous")


class Command(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A request to one actor that may be refused. ``method`` is its name on the wire."""

    method: ClassVar[str] = ""
    writes: ClassVar[bool] = True
    """Whether it can change what is stored; only such a command takes an operation id."""
    repeatable: ClassVar[bool] = False
    """Whether a write may be done twice, since the second time changes nothing and answers the same."""
    answers: ClassVar[Any] = Ack
    """The type of the answer."""


class PostCommand(Command, frozen=True, kw_only=True):
    """A command to the post that it names."""

    post: Id


# -- posts ------------------------------------------------------------------------------------------------------------


class CreatePost(PostCommand, frozen=True, kw_only=True):
    """Make the post of an id that was claimed for it. The same author's second creation is a no-op."""

    method = "post.create"
    title: Annotated[str, Meta(min_length=1, max_length=TITLE_CHARS_MAX)]
    body: Annotated[str, Meta(max_length=POST_BODY_CHARS_MAX)] = ""
    slug: str = ""
    tags: Annotated[list[str], Meta(max_length=TAGS_MAX)] = []
    state: Literal["draft", "published"] = "published"
    publish_at: int | None = None
    """Unix milliseconds; a later time than now schedules the publication."""
    page_url: str | None = None
    """Set by the gateway for a page: the canonical address of the page that embeds the post."""
    created_at: int | None = None
    """Set by an importer: Unix milliseconds of the original."""
    comments_open: bool = True
    """Set by an importer."""


class EditPost(PostCommand, frozen=True, kw_only=True):
    """Change what is given, leave the rest."""

    method = "post.edit"
    title: Annotated[str, Meta(min_length=1, max_length=TITLE_CHARS_MAX)] | None = None
    body: Annotated[str, Meta(max_length=POST_BODY_CHARS_MAX)] | None = None
    slug: str | None = None
    tags: Annotated[list[str], Meta(max_length=TAGS_MAX)] | None = None
    comments_open: bool | None = None


class PublishPost(PostCommand, frozen=True, kw_only=True):
    """Publish now, or at ``at`` (Unix milliseconds) by a durable alarm."""

    method = "post.publish"
    at: int | None = None


class DeletePost(PostCommand, frozen=True, kw_only=True):
    method = "post.delete"


# -- comments ---------------------------------------------------------------------------------------------------------


class CreateComment(PostCommand, frozen=True, kw_only=True):
    method = "comment.create"
    body: str
    parent: Id | None = None


class ImportComment(PostCommand, frozen=True, kw_only=True):
    """A comment from elsewhere, with its own time and author; not reachable from the wire. Idempotent by ``source``."""

    method = "comment.import"
    repeatable = True
    source: str
    body: str
    created_at: int
    author: Person
    parent_source: str | None = None
    kind: Literal["comment", "pingback"] = "comment"
    held: bool = False


class EditComment(PostCommand, frozen=True, kw_only=True):
    method = "comment.edit"
    repeatable = True
    comment: Id
    body: str


class DeleteComment(PostCommand, frozen=True, kw_only=True):
    """Leave a tombstone; the replies stay. Deleting one's deleted comment again is a no-op."""

    method = "comment.delete"
    repeatable = True
    comment: Id


class ApproveComment(PostCommand, frozen=True, kw_only=True):
    """Show a held comment. For moderators and the post's author."""

    method = "comment.approve"
    repeatable = True
    comment: Id


class EraseComments(PostCommand, frozen=True, kw_only=True):
    """Between actors: an account is gone. Take its name, and with ``words`` the text too, out of these comments."""

    method = "comment.erase"
    repeatable = True
    account: int
    comments: list[int]
    words: bool


# -- reactions and signals --------------------------------------------------------------------------------------------


class React(PostCommand, frozen=True, kw_only=True):
    """Give or take back one reaction of a kind; absolute, hence idempotent."""

    method = "react"
    repeatable = True
    kind: str
    on: bool = True
    comment: Id | None = None


class Applaud(PostCommand, frozen=True, kw_only=True):
    """Set one's applause to ``total``, 0 to 50; absolute, hence idempotent."""

    method = "applaud"
    repeatable = True
    total: int


class View(PostCommand, frozen=True, kw_only=True):
    """One look at the post; counts once per viewer and half hour. Volatile."""

    method = "view"
    writes = False


class Typing(PostCommand, frozen=True, kw_only=True):
    """Someone is writing; shown to the others for some seconds. Volatile."""

    method = "typing"
    writes = False
    on: bool = True


# -- reads ------------------------------------------------------------------------------------------------------------


class ReadPost(PostCommand, frozen=True, kw_only=True):
    method = "post.get"
    writes = False
    answers = PostView


class ReadComment(PostCommand, frozen=True, kw_only=True):
    """Answers the JSON of a ``CommentView``: whole, whoever wrote it, also where a page leaves its words out."""

    method = "comment.get"
    writes = False
    answers = Raw
    comment: Id


class ReadComments(PostCommand, frozen=True, kw_only=True):
    """One page of comments.

    ``view`` "level" gives the children of ``parent`` (or the top level), each with the count of what it hides;
    "threads" gives whole threads, parents before their replies. ``order`` sorts siblings at the top of what is read;
    replies within a thread stand oldest first. A comment of somebody of whom the reader sees nothing keeps its place,
    without the words: see ``CommentNode.apart``.
    """

    method = "comment.list"
    writes = False
    answers = CommentPage
    order: Literal["newest", "oldest", "best"] = "newest"
    view: Literal["threads", "level"] = "threads"
    only: Literal["comments", "pingbacks", "held"] = "comments"
    """Pingbacks stand apart; what is held is for moderators and the post's author."""
    parent: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    after: Annotated[str, Meta(max_length=64)] | None = None
    """The ``next`` of the page before."""
