"""What other systems are told of publications, and how they hand in what is to be published: forms of an interface."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from protocol import text
from protocol.commands import Command
from protocol.decode import checked, decode_body, located
from protocol.errors import Refused
from protocol.requests import RULES, NewPost
from protocol.views import Author, View

AUTHOR: Final = "author"
JSON: Final = "json"


class PostAnnounced(Command, frozen=True, kw_only=True):
    """From a post to other systems: it is published."""

    method = "post.announced"
    post: int


class Announcement(View, frozen=True, tag="published", tag_field="type"):
    """That a post is published, as other systems are told: the post as it was then, or is by now.

    Fields may be added; none is taken away or gets another meaning.
    """

    id: str
    version: int
    cursor: str
    """Of the post's stream: what happens after this announcement can be read from here."""
    author: Author | None
    title: str
    slug: str | None
    url: str
    """Where it is read; without the site's address, if the server does not know it."""
    tags: list[str]
    excerpt: str
    """The first words, as plain text."""
    created_at: str
    published_at: str


class Submission(NamedTuple):
    """What another system has handed in."""

    id: str
    """The same whenever it comes."""
    fields: tuple[tuple[bytes, bytes], ...]


class Verdict(NamedTuple):
    """Why a submission is not published."""

    submission: Submission
    code: str
    reason: str


class Submitted(NamedTuple):
    author: str
    """A handle."""
    post: NewPost


def decode_submission(submission: Submission) -> Submitted:
    """What is to be published: fields as those of a new post over HTTP, or the whole of it in the one field ``json``.

    Raises:
        Refused: ``invalid``, with the field's name; ``bad_request`` for ``json`` that is none; or a text's own code.
    """
    given: dict[str, bytes] = {}
    for name, value in submission.fields:
        field = text.in_field("field", _utf8, name)
        if field in given:
            raise Refused("invalid", f"{field}: given twice")
        given[field] = value
    if AUTHOR not in given:
        raise Refused("invalid", f"{AUTHOR}: missing, the handle of an account")
    author = text.in_field(AUTHOR, text.handle, text.in_field(AUTHOR, _utf8, given.pop(AUTHOR)))
    return Submitted(author, _post(given))


def _post(given: Mapping[str, bytes]) -> NewPost:
    rules = RULES[NewPost]
    if JSON in given:
        for other in given.keys() - {JSON}:
            raise Refused("invalid", f"{other}: not beside {JSON}")
        return decode_body(NewPost, given[JSON], rules)
    values = {name: text.in_field(name, _FORMS.get(name, _utf8), value) for name, value in given.items()}
    try:
        return checked(msgspec.convert(values, NewPost), rules)
    except msgspec.ValidationError as error:
        raise Refused("invalid", located(str(error))) from None


def _utf8(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Refused("invalid", "not UTF-8") from None


def _listed(value: bytes) -> Sequence[str]:
    """``a, b``; nothing is an empty list."""
    items = (item.strip() for item in _utf8(value).split(","))
    return [item for item in items if item]


_FORMS: Final[Mapping[str, Callable[[bytes], Any]]] = MappingProxyType({"tags": _listed})
"""How fields are written that are more than text."""
