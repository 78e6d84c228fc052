"""Pages without the words of some, by value."""

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from protocol.apart import authors_of, without_words
from protocol.views import Author, CommentNode, CommentPage, CommentView

ADA = Author(id="7", handle="ada", name="Ada")
BOB = Author(id="8", handle="bob", name="Bob")
ELSEWHERE = Author(id="", handle="", name="A page elsewhere", url="https://example.org/")


def view(id: int, author: Author | None) -> CommentView:
    return CommentView(
        id=str(id),
        post="1",
        parent=None,
        author=author,
        body=f"*{id}*",
        html=f"<p><em>{id}</em></p>",
        created_at="2026-11-21T10:00:00.000Z",
        edited_at=None,
        state="visible",
        kind="comment",
        offset=id,
    )


def node(view: CommentView) -> CommentNode:
    return CommentNode(
        comment=Raw(msgspec.json.encode(view)), depth=2, replies=1, hidden=3, reactions={"like": 4}, mine=["like"]
    )


PAGE = CommentPage(
    comments=[node(view(id, author)) for id, author in enumerate((ADA, None, BOB, ELSEWHERE, ADA), start=1)],
    next="n",
    total=9,
    cursor="e-5",
)


def test_who_wrote_a_comment_is_read_from_it_as_it_is_encoded() -> None:
    assert authors_of(PAGE) == [7, None, 8, None, 7]


def test_only_the_words_of_those_who_are_apart_are_left_out() -> None:
    shown = without_words(PAGE, authors_of(PAGE), [7, 99])

    for before, after, author in zip(PAGE.comments, shown.comments, (7, None, 8, None, 7), strict=True):
        whole = msgspec.json.decode(before.comment, type=CommentView)
        kept = replace(whole, body="", html="") if author == 7 else whole
        assert msgspec.json.decode(after.comment, type=CommentView) == kept
        assert replace(after, comment=before.comment) == replace(before, apart=author == 7)
    assert replace(shown, comments=PAGE.comments) == PAGE


def test_a_page_without_comments_stays_as_it_is() -> None:
    empty = replace(PAGE, comments=[])
    assert without_words(empty, authors_of(empty), []) == empty
