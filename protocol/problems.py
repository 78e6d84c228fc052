"""RFC 9457 problem documents: how an error leaves over HTTP."""

from math import ceil

from msgspec import UNSET, UnsetType, json

from protocol.errors import DomainError
from protocol.views import View

MEDIA_TYPE = "application/problem+json"


class Problem(View, frozen=True):
    """An error. Branch on ``code``, which is stable; ``title`` and ``detail`` are for people."""

    type: str
    """Where the code is described."""
    title: str
    status: int
    code: str
    detail: str
    request: str | UnsetType = UNSET
    """The id of the request, as in the header ``X-Request-Id``: quote it when asking for help."""
    retry_after: int | UnsetType = UNSET
    """Seconds after which the same request may succeed."""


def problem(error: DomainError, request_id: str | None = None) -> Problem:
    return Problem(
        type=f"/docs#error-{error.code}",
        title=error.meaning.title,
        status=error.meaning.status,
        code=error.code,
        detail=error.detail,
        request=request_id or UNSET,
        retry_after=retry_after_s(error) or UNSET,
    )


def retry_after_s(error: DomainError) -> int:
    """Whole seconds for ``Retry-After``, rounded up, at least 1 where waiting helps; 0 where it does not."""
    if error.retry_after_s is not None:
        return max(1, ceil(error.retry_after_s))
    return 1 if error.meaning.status in (429, 503) else 0


def encode_problem(error: DomainError, request_id: str | None = None) -> bytes:
    return json.encode(problem(error, request_id))
