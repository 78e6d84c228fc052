"""A page of comments as one reader is shown it: without the words of those of whom that reader sees nothing."""

from collections.abc import Collection, Sequence

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from protocol.views import CommentNode, CommentPage, CommentView


class _Named(Struct):
    id: str


class _Written(Struct):
    """What of a ``CommentView`` tells who wrote it."""

    author: _Named | None


def authors_of(page: CommentPage) -> list[int | None]:
    """The account that wrote each comment; None of what has no author, or one from elsewhere."""
    return [_author_of(node) for node in page.comments]


def without_words(page: CommentPage, authors: Sequence[int | None], apart: Collection[int]) -> CommentPage:
    """``page``, whose ``authors`` are as ``authors_of`` says, without the words of those who are ``apart``."""
    comments = [_shown(node, author in apart) for node, author in zip(page.comments, authors, strict=True)]
    return replace(page, comments=comments)


def _author_of(node: CommentNode) -> int | None:
    author = msgspec.json.decode(node.comment, type=_Written).author
    return None if author is None or not author.id else int(author.id)


def _shown(node: CommentNode, apart: bool) -> CommentNode:
    if not apart:
        return replace(node, apart=False)
    comment = msgspec.json.decode(node.comment, type=CommentView)
    return replace(node, apart=True, comment=Raw(msgspec.json.encode(replace(comment, body="", html=""))))
