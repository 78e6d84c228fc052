"""Channels: what clients call streams. A stream itself goes by the key of its actor."""

from types import MappingProxyType
from typing import Final

from protocol.errors import Refused
from protocol.text import decimal_id

_KINDS: Final = MappingProxyType({"post": "post", "notifications": "user", "feed": "feed"})
"""The kind of channel → the kind of actor that owns its stream; a feed has none."""
_CHANNELS: Final = MappingProxyType({actor: channel for channel, actor in _KINDS.items()})


def key_of(channel: str) -> str:
    """The actor whose stream ``channel`` is. Raises ``Refused("unknown_channel")`` for what is none."""
    kind, _, number = channel.partition(":")
    if kind not in _KINDS:
        raise Refused("unknown_channel")
    try:
        return f"{_KINDS[kind]}:{decimal_id(number)}"
    except Refused:
        raise Refused("unknown_channel") from None


def channel_of(key: str) -> str:
    """The channel that shows the stream of the actor ``key``."""
    kind, _, number = key.partition(":")
    return f"{_CHANNELS[kind]}:{number}"
