"""Keys of actors, and the slot that owns each."""

from functools import lru_cache
from hashlib import blake2b

from protocol.errors import Refused

ID_LOW_BITS = 20
"""Of an id: what stands below its Unix milliseconds."""
SLOTS = 256
"""Fixed for ever: a database remembers the number and refuses another."""
REMEMBERED_MAX = 8_192
"""Keys of which it is remembered what follows from them: that is asked with every command, and takes a microsecond."""


OUTSIDE = "outside"
"""Receives the messages that are for other systems; no actor."""


@lru_cache(REMEMBERED_MAX)
def slot_of(key: str) -> int:
    """The slot of ``key``, the same on every machine and in every process (never ``hash()``)."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") % SLOTS


def post_key(post_id: int | str) -> str:
    return f"post:{post_id}"


def user_key(account_id: int | str) -> str:
    return f"user:{account_id}"


def feed_key(reader: int | str) -> str:
    """Of a live feed, which no actor has."""
    return f"feed:{reader}"


def reader_of(key: str) -> int | None:
    """Whose live feed ``key`` is; None if it is that of an actor."""
    kind, _, reader = key.partition(":")
    return int(reader) if kind == "feed" else None


@lru_cache(REMEMBERED_MAX)
def parse_key(key: str) -> tuple[str, int]:
    """The kind and number in ``key``. Raises ``Refused("not_found")`` if no actor can have it."""
    kind, _, number = key.partition(":")
    if kind not in ("post", "user") or not number.isascii() or not number.isdecimal() or number.startswith("0"):
        raise Refused("not_found")
    if len(number) > 19 or int(number) >= 1 << 63:
        raise Refused("post_not_found" if kind == "post" else "account_not_found")
    # One string for all keys that are remembered.
    return "post" if kind == "post" else "user", int(number)
