"""Everything a client can be told went wrong, in one table: HTTP status, protocol code, whether to retry.

A code is stable: clients may branch on it. An error says who must act: ``Refused`` is the user's to mend,
``Overloaded`` and ``Unavailable`` are to be retried (a write: with the same operation id).
"""

from typing import NamedTuple


class Meaning(NamedTuple):
    """How one error code leaves the server on each transport."""

    status: int
    """HTTP status."""
    number: int
    """Centrifuge error code: 100 to 113 are the protocol's own, Plaudit's begin at 400."""
    title: str
    temporary: bool = False
    """Whether the same request may succeed later without being changed."""


ERRORS: dict[str, Meaning] = {
    # The protocol's own.
    "internal": Meaning(500, 100, "internal error", temporary=True),
    "unauthorized": Meaning(401, 101, "a valid token is needed"),
    "unknown_channel": Meaning(404, 102, "unknown channel"),
    "permission_denied": Meaning(403, 103, "not allowed"),
    "method_not_found": Meaning(404, 104, "unknown method"),
    "already_subscribed": Meaning(409, 105, "already subscribed"),
    "limit_exceeded": Meaning(400, 106, "a limit of the connection is exceeded"),
    "bad_request": Meaning(400, 107, "malformed request"),
    "not_available": Meaning(404, 108, "not available here"),
    "token_expired": Meaning(401, 109, "the token has expired"),
    "expired": Meaning(401, 110, "the connection has expired"),
    "too_many_requests": Meaning(429, 111, "too many requests", temporary=True),
    "unrecoverable_position": Meaning(410, 112, "unrecoverable position"),
    # Plaudit's own.
    "invalid": Meaning(422, 400, "a field is not valid"),
    "not_found": Meaning(404, 404, "no such resource"),
    "method_not_allowed": Meaning(405, 405, "method not allowed"),
    "not_acceptable": Meaning(406, 406, "not acceptable"),
    "request_timeout": Meaning(408, 408, "the request took too long to arrive"),
    "too_large": Meaning(413, 413, "too large"),
    "unsupported_media_type": Meaning(415, 415, "unsupported content type"),
    "post_not_found": Meaning(404, 420, "no such post"),
    "comment_not_found": Meaning(404, 421, "no such comment"),
    "parent_not_found": Meaning(422, 422, "the parent comment does not exist or is deleted"),
    "account_not_found": Meaning(404, 423, "no such account"),
    "comment_empty": Meaning(422, 430, "the comment is empty"),
    "comment_too_long": Meaning(422, 431, "the comment is too long"),
    "edit_window_over": Meaning(403, 432, "the time to edit is over"),
    "not_author": Meaning(403, 433, "only its author may do this"),
    "comments_closed": Meaning(403, 434, "comments are closed"),
    "unknown_reaction": Meaning(422, 435, "unknown kind of reaction"),
    "applause_out_of_range": Meaning(422, 436, "applause is 0 to 50"),
    "operation_reused": Meaning(409, 440, "the operation id was used with different content"),
    "handle_taken": Meaning(409, 441, "the handle is taken"),
    "email_taken": Meaning(409, 442, "the e-mail address is taken"),
    "slug_taken": Meaning(409, 443, "the slug is taken"),
    "already_exists": Meaning(409, 444, "it exists already"),
    "wrong_credentials": Meaning(401, 445, "wrong name or password"),
    "session_ended": Meaning(401, 446, "the session has ended"),
    "origin_not_allowed": Meaning(403, 447, "the origin is not allowed"),
    "guests_not_allowed": Meaning(403, 448, "guests are not allowed"),
    "sign_up_closed": Meaning(403, 449, "sign-up is closed"),
    "refused": Meaning(422, 450, "the store refused the data"),
    "oneself": Meaning(422, 451, "one cannot do this to oneself"),
    "blocked": Meaning(403, 452, "this person blocks you"),
    "blocking": Meaning(409, 453, "you block this person: unblock first"),
    "following_too_many": Meaning(409, 454, "one can follow 10,000 people at most"),
    "overloaded": Meaning(503, 503, "overloaded", temporary=True),
    "unavailable": Meaning(503, 504, "temporarily unavailable; retry with the same operation id", temporary=True),
}

assert len({meaning.number for meaning in ERRORS.values()}) == len(ERRORS), "two errors share a number"


class DomainError(Exception):
    """Anything that is answered to a client; ``code`` is a key of ``ERRORS``."""

    def __init__(self, code: str, detail: str = "", *, retry_after_s: float | None = None) -> None:
        assert code in ERRORS, code
        super().__init__(detail or ERRORS[code].title)
        self.code = code
        self.detail = detail or ERRORS[code].title
        self.retry_after_s = retry_after_s

    @property
    def meaning(self) -> Meaning:
        return ERRORS[self.code]


class Refused(DomainError):
    """The user's to mend: repeating the same request gives the same answer."""


class Overloaded(DomainError):
    """A bound is reached; nothing was done. Come back after ``retry_after_s`` seconds."""

    def __init__(self, detail: str = "", *, retry_after_s: float = 1.0) -> None:
        super().__init__("overloaded", detail, retry_after_s=retry_after_s)


class Unavailable(DomainError):
    """The outcome is unknown or nobody can serve now. Retry with the same operation id."""

    def __init__(self, detail: str = "", *, retry_after_s: float = 1.0) -> None:
        super().__init__("unavailable", detail, retry_after_s=retry_after_s)


class Disconnect(Exception):
    """Ends a WebSocket with a close code.

    3000–3499 and 4000–4499 tell the client to reconnect, 3500–3999 and 4500–4999 not to.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason

    @property
    def reconnect(self) -> bool:
        return 3000 <= self.code < 3500 or 4000 <= self.code < 4500


# The close codes in use; names and numbers are those of the Centrifuge protocol.
SHUTDOWN = (3001, "shutdown")
EXPIRED = (3005, "connection expired")
SLOW = (3008, "slow")
INSUFFICIENT_STATE = (3010, "insufficient state")
NO_PONG = (3012, "no pong")
TOO_MANY_REQUESTS = (3013, "too many requests")
INVALID_TOKEN = (3500, "invalid token")
BAD_REQUEST = (3501, "bad request")
STALE = (3502, "stale")
FORCED = (3503, "disconnected")
CONNECTION_LIMIT = (3504, "connection limit")
