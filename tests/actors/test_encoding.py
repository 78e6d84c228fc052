"""JSON of comments and posts, made once and kept as long as there is room."""

from typing import Any

import msgspec
from msgspec.structs import replace

from actors.encoding import Encoder, author_view, comment_view
from protocol.views import Counters
from store.rows import Author, CommentRow, PostRow

ANN = Author(1, "ann", "Ann", "https://ann.example")
NO_COUNTERS = Counters(comments=0, reactions={}, applause=0, views=0, viewers=0, watchers=0)
COMMENT = CommentRow(
    post_id=7,
    id=3,
    parent_id=2,
    author_id=1,
    body="*hello*",
    state="visible",
    kind="comment",
    changed_offset=9,
    version=11,
    source=None,
    author_name=None,
    author_url=None,
    created_ms=1_770_000_000_123,
    edited_ms=None,
    deleted_ms=None,
)
POST = PostRow(
    id=7,
    author_id=1,
    slug="a-post",
    title="A post",
    body="**words**",
    tags=["a"],
    state="published",
    comments_open=True,
    page_url=None,
    changed_offset=1,
    created_ms=1_770_000_000_000,
    publish_ms=None,
    published_ms=1_770_000_000_000,
    edited_ms=None,
)


def shown(row: CommentRow, author: Author | None = ANN, encoder: Encoder | None = None) -> dict[str, Any]:
    view: dict[str, Any] = msgspec.json.decode((encoder or Encoder()).comment(row, author))
    return view


def test_a_comment_has_its_text_its_html_and_its_author() -> None:
    assert shown(COMMENT) == {
        "id": "3",
        "post": "7",
        "parent": "2",
        "author": {"id": "1", "handle": "ann", "name": "Ann", "url": "https://ann.example"},
        "body": "*hello*",
        "html": "<p><em>hello</em></p>\n",
        "created_at": "2026-02-02T02:40:00.123Z",
        "edited_at": None,
        "state": "visible",
        "kind": "comment",
        "offset": 9,
    }


def test_of_a_tombstone_nothing_is_left_but_its_place() -> None:
    tombstone = shown(replace(COMMENT, state="deleted", author_name="Ann"))

    assert (tombstone["author"], tombstone["body"], tombstone["html"]) == (None, "", "")
    assert (tombstone["id"], tombstone["parent"], tombstone["state"]) == ("3", "2", "deleted")


def test_an_imported_author_without_an_account_is_shown_by_name() -> None:
    view = comment_view(replace(COMMENT, author_id=None, author_name="Eve", author_url="https://eve.example"), None)

    assert view.author is not None
    assert (view.author.id, view.author.handle, view.author.name, view.author.url) == (
        "",
        "",
        "Eve",
        "https://eve.example",
    )


def test_an_anonymised_comment_has_no_author() -> None:
    assert shown(replace(COMMENT, author_id=None), None)["author"] is None
    assert author_view(None) is None


def test_a_comment_is_encoded_once() -> None:
    encoder = Encoder()

    assert encoder.comment(COMMENT, ANN) is encoder.comment(replace(COMMENT), Author(*ANN))


def test_another_text_of_the_same_version_is_another_comment() -> None:
    encoder = Encoder()
    encoder.comment(COMMENT, ANN)

    assert shown(replace(COMMENT, body="other"), ANN, encoder)["body"] == "other"


def test_another_name_of_the_author_is_shown_at_once() -> None:
    encoder = Encoder()
    encoder.comment(COMMENT, ANN)

    assert shown(COMMENT, ANN._replace(name="Anna"), encoder)["author"]["name"] == "Anna"


def test_another_text_of_the_same_post_is_rendered_anew() -> None:
    encoder = Encoder()

    assert encoder.post_html(POST) == "<p><strong>words</strong></p>\n"
    assert encoder.post_html(replace(POST, body="others")) == "<p>others</p>\n"


def test_what_is_kept_stays_within_its_bound() -> None:
    encoder = Encoder(bytes_max=10_000)
    first = encoder.comment(COMMENT, ANN)
    for id in range(100, 200):
        encoder.comment(replace(COMMENT, id=id), ANN)

    assert encoder.kept_bytes <= 10_000
    assert encoder.comment(COMMENT, ANN) is not first
    assert encoder.comment(COMMENT, ANN) == first


def test_a_result_larger_than_the_bound_is_given_and_not_kept() -> None:
    encoder = Encoder(bytes_max=10)

    assert shown(COMMENT, ANN, encoder)["id"] == "3"
    assert encoder.kept_bytes == 0


def test_a_deleted_post_shows_no_html() -> None:
    view = Encoder().post(replace(POST, state="deleted", body=""), ANN, version=2, counters=NO_COUNTERS, cursor="e-2")

    assert (view.html, view.state, view.id) == ("", "deleted", "7")


def test_times_of_a_post_are_rfc_3339() -> None:
    view = Encoder().post(POST, ANN, version=1, counters=NO_COUNTERS, cursor="e-1")

    assert (view.created_at, view.published_at, view.publish_at) == (
        "2026-02-02T02:40:00.000Z",
        "2026-02-02T02:40:00.000Z",
        None,
    )
