"""The one module that writes below aiohttp: ready-made bytes, straight to the transport.

``send_str`` of aiohttp builds a frame per socket and awaits; here a frame is built once and the same bytes object goes
to every transport in a plain loop (100k against 75k deliveries a second of one core). What this needs of aiohttp is
pinned by ``tests/gateway/test_frames.py``.
"""

import asyncio
import socket
import struct
from collections.abc import Iterable
from typing import Final

from aiohttp import web

# Messages are joined up to this; a longer one has a frame of its own. Clients bound what one frame may hold (1 MiB).
FRAME_BYTES: Final = 65_536
# The kernel takes megabytes before the transport's buffer moves; with this it takes 68 KiB, and slowness shows.
NOT_SENT_LOW_WATER_BYTES: Final = 16_384

_FINAL_TEXT: Final = 0x81
_FINAL_CLOSE: Final = 0x88
_FINAL_PONG: Final = 0x8A
_CONTROL_BYTES_MAX: Final = 125


def text_frame(payload: bytes) -> bytes:
    """An unmasked text frame (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        return b"%c%c%b" % (_FINAL_TEXT, length, payload)
    if length < 65_536:
        return struct.pack("!BBH", _FINAL_TEXT, 126, length) + payload
    return struct.pack("!BBQ", _FINAL_TEXT, 127, length) + payload


def text_frames(messages: Iterable[bytes]) -> bytes:
    """Messages in order, joined by newlines into as few frames as there may be, as one write."""
    frames: list[bytes] = []
    joined: list[bytes] = []
    size = 0
    for message in messages:
        if joined and size + len(message) >= FRAME_BYTES:
            frames.append(text_frame(b"\n".join(joined)))
            joined, size = [], 0
        joined.append(message)
        size += len(message) + 1
    frames.append(text_frame(b"\n".join(joined)))
    return frames[0] if len(frames) == 1 else b"".join(frames)


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; a reason too long for it is cut."""
    payload = struct.pack("!H", code) + reason.encode()[: _CONTROL_BYTES_MAX - 2]
    return b"%c%c%b" % (_FINAL_CLOSE, len(payload), payload)


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping of ``payload``."""
    return b"%c%c%b" % (_FINAL_PONG, len(payload), payload)


class Pipe:
    """The way out to one client. Never waits; once the transport closes, writing is a no-op."""

    __slots__ = ("_transport",)

    def __init__(self, request: web.BaseRequest) -> None:
        """Of a request whose response is prepared: what is written from now on follows its headers."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self._transport = transport
        _bound_kernel_buffer(transport)

    def write(self, data: bytes) -> int:
        """Returns what the transport holds then."""
        transport = self._transport
        # uvloop raises on a write after an abort.
        if transport.is_closing():
            return 0
        transport.write(data)
        return transport.get_write_buffer_size()

    def buffered_bytes(self) -> int:
        """What the transport holds that the kernel has not taken."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Close once everything written is sent; a client that reads nothing keeps it open."""
        self._transport.close()

    def abort(self) -> None:
        """Close now; what is not sent is lost."""
        self._transport.abort()


def _bound_kernel_buffer(transport: asyncio.Transport) -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    connection = transport.get_extra_info("socket")
    if option is None or connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.IPPROTO_TCP, option, NOT_SENT_LOW_WATER_BYTES)
