"""Problem documents."""

import msgspec
import pytest

from protocol.errors import ERRORS, DomainError, Overloaded, Refused
from protocol.problems import encode_problem, retry_after_s


def test_a_problem_names_its_code_its_status_and_the_request() -> None:
    encoded = msgspec.json.decode(encode_problem(Refused("comment_empty"), "abc"))
    assert encoded == {
        "type": "/docs#error-comment_empty",
        "title": "the comment is empty",
        "status": 422,
        "code": "comment_empty",
        "detail": "the comment is empty",
        "request": "abc",
    }


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Overloaded(retry_after_s=1.2), 2),
        (Overloaded(retry_after_s=0.01), 1),
        (Refused("too_many_requests", retry_after_s=30.0), 30),
        (DomainError("unavailable"), 1),
        (Refused("comment_empty"), 0),
        (DomainError("internal"), 0),
    ],
)
def test_the_time_to_come_back_is_in_whole_seconds_rounded_up(error: DomainError, seconds: int) -> None:
    assert retry_after_s(error) == seconds


@pytest.mark.parametrize("code", ERRORS)
def test_every_code_makes_a_problem(code: str) -> None:
    assert msgspec.json.decode(encode_problem(DomainError(code)))["status"] == ERRORS[code].status
