"""Times on the wire: RFC 3339 in UTC for people and JSON, Unix milliseconds inside."""

from datetime import UTC, datetime


def rfc3339(unix_s: float) -> str:
    """``2026-11-21T10:00:00Z``: whole seconds, rounded down."""
    return datetime.fromtimestamp(int(unix_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_ms(unix_ms: int) -> str:
    """``2026-11-21T10:00:00.000Z``: to the millisecond."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_ms(moment: datetime) -> int:
    """Unix milliseconds of a time that knows its offset."""
    return int(moment.timestamp() * 1000)
