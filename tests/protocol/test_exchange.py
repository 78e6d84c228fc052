"""What other systems hand in: as fields, or as JSON; and what is refused of it."""

from datetime import UTC, datetime

import pytest

from protocol.commands import POST_BODY_CHARS_MAX
from protocol.errors import Refused
from protocol.exchange import Submission, Submitted, decode_submission
from protocol.requests import NewPost

ANN = (b"author", b"ann")


def decoded(*fields: tuple[bytes, bytes]) -> Submitted:
    return decode_submission(Submission("1-0", fields))


def test_fields_are_named_as_over_http() -> None:
    assert decoded(
        (b"author", b" Ann "),
        (b"title", "Zwölf".encode()),
        (b"body", b"Some *words*\r\n"),
        (b"slug", b"twelve"),
        (b"tags", b"Tea, coffee ,,tea"),
        (b"state", b"draft"),
        (b"publish_at", b"2030-01-02T03:04:05+01:00"),
    ) == Submitted(
        "ann",
        NewPost(
            title="Zwölf",
            body="Some *words*",
            slug="twelve",
            tags=["tea", "coffee"],
            state="draft",
            publish_at=datetime(2030, 1, 2, 2, 4, 5, tzinfo=UTC),
        ),
    )


def test_author_and_title_are_enough() -> None:
    assert decoded(ANN, (b"title", b"A post")) == Submitted("ann", NewPost(title="A post"))


def test_json_may_stand_for_all_fields_but_the_author() -> None:
    body = b'{"title": "A post", "tags": ["a, b"], "state": "draft"}'
    assert decoded((b"json", body), ANN) == Submitted("ann", NewPost(title="A post", tags=["a, b"], state="draft"))


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ([], "invalid", "author: missing"),
        ([(b"title", b"A post")], "invalid", "author: missing"),
        ([ANN], "invalid", "title"),
        ([(b"author", b"\xff"), (b"title", b"A post")], "invalid", "author: not UTF-8"),
        ([(b"author", b"A n n"), (b"title", b"A post")], "invalid", "author: must be"),
        ([ANN, (b"title", b"")], "invalid", "title"),
        ([ANN, (b"title", b"\xc3\x28")], "invalid", "title: not UTF-8"),
        ([ANN, (b"title", b"N\0L")], "invalid", "title: must not contain NUL"),
        ([ANN, (b"title", b"x" * 1_000)], "invalid", "title"),
        ([ANN, (b"title", b"A post"), (b"body", b"x" * (POST_BODY_CHARS_MAX + 1))], "invalid", "body"),
        ([ANN, (b"title", b"A post"), (b"slug", b"No slug")], "invalid", "slug"),
        ([ANN, (b"title", b"A post"), (b"state", b"secret")], "invalid", "state"),
        ([ANN, (b"title", b"A post"), (b"publish_at", b"tomorrow")], "invalid", "publish_at"),
        ([ANN, (b"title", b"A post"), (b"publish_at", b"2030-01-02T03:04:05")], "invalid", "publish_at"),
        ([ANN, (b"title", b"A post"), (b"tags", b",".join(b"tag%d" % each for each in range(99)))], "invalid", "tags"),
        ([ANN, (b"title", b"A post"), (b"colour", b"red")], "invalid", "colour"),
        ([ANN, (b"title", b"A post"), (b"\xff", b"red")], "invalid", "field: not UTF-8"),
        ([ANN, (b"title", b"A post"), (b"title", b"Another")], "invalid", "title: given twice"),
        ([ANN, ANN, (b"title", b"A post")], "invalid", "author: given twice"),
        ([ANN, (b"json", b"{}"), (b"title", b"A post")], "invalid", "title: not beside json"),
        ([ANN, (b"json", b"{}")], "invalid", "title"),
        ([ANN, (b"json", b"")], "bad_request", "JSON"),
        ([ANN, (b"json", b'{"title": "\xff"}')], "bad_request", "UTF-8"),
        ([ANN, (b"json", b'{"title": ')], "bad_request", "JSON"),
        ([ANN, (b"json", b'{"title": "A post", "author": "bob"}')], "invalid", "author"),
        ([ANN, (b"json", b'{"title": 7}')], "invalid", "title"),
    ],
)
def test_what_cannot_be_published_is_refused_by_its_field(
    fields: list[tuple[bytes, bytes]], code: str, reason: str
) -> None:
    with pytest.raises(Refused) as refusal:
        decoded(*fields)
    assert refusal.value.code == code
    assert reason in refusal.value.detail
