"""Server-Sent Events as bytes: the blocks of an event stream, and the chunks of HTTP/1.1 that carry them.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

import re
from typing import Final

CONTENT_TYPE: Final = "text/event-stream"
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


def block(
    data: bytes | None = None, *, id: str | None = None, event: str | None = None, retry_ms: int | None = None
) -> bytes:
    """One event. Without ``id`` the client's last id stays as it is; without ``data`` nothing is dispatched."""
    lines = []
    if id is not None:
        lines.append(b"id: " + _field(id))
    if event is not None:
        lines.append(b"event: " + _field(event))
    if retry_ms is not None:
        lines.append(b"retry: %d" % retry_ms)
    if data is not None:
        lines.extend(b"data: " + line for line in _LINE_END.split(data))
    return b"\n".join(lines) + b"\n\n"


def _field(value: str) -> bytes:
    encoded = value.encode()
    assert b"\0" not in encoded, "an id with NUL is ignored by clients"
    assert not _LINE_END.search(encoded), "a line end would start another field"
    return encoded


def comment(text: str = "") -> bytes:
    """A line that clients skip; it keeps the connection alive."""
    # No blank line after it: some clients take that for the end of an event without data.
    return b": " + _field(text) + b"\n"


LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends a chunked body."""


def chunk(data: bytes) -> bytes:
    """``data`` as one chunk of a chunked HTTP/1.1 body; not empty, because an empty chunk ends the body."""
    assert data, "an empty chunk ends the body"
    return b"%x\r\n%b\r\n" % (len(data), data)
