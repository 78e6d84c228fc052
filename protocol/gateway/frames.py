"""The one module that writes below aiohttp: ready-made bytes, to the transport or past it.

``send_str`` of aiohttp builds a frame per socket and awaits; here a frame is built once, and the same bytes object goes
to every socket. What this needs of aiohttp is pinned by ``tests/gateway/test_frames.py``.
"""

import asyncio
import logging
import socket
import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import Final, cast

from aiohttp import web

from protocol import delivery
from protocol.delivery import write_each
from protocol.gateway.uring import Uring

logger = logging.getLogger(__name__)

# Messages are joined up to this; a longer one has a frame of its own. Clients bound what one frame may hold (1 MiB).
FRAME_BYTES: Final = 65_536
# The kernel takes megabytes before the transport's buffer moves; with this it takes 68 KiB, and slowness shows.
NOT_SENT_LOW_WATER_BYTES: Final = 16_384

# From so many pipes on, one system call for all costs less than one each.
TOGETHER_MIN: Final = 16

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

    __slots__ = ("_descriptor", "_transport", "fd")

    def __init__(self, request: web.BaseRequest) -> None:
        """Of a request whose response is prepared: what is written from now on follows its headers."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self._transport = transport
        self._descriptor = _descriptor(transport)
        self.fd = -1
        """The socket's descriptor while what goes past the transport follows all that was written here; else -1.

        That of a transport that closes is known for a moment longer: what goes there is in vain, and harms nobody.
        """
        _bound_kernel_buffer(transport)

    def write(self, data: bytes) -> int:
        """Returns what the transport holds then."""
        transport = self._transport
        # uvloop raises on a write after an abort.
        if transport.is_closing():
            return 0
        transport.write(data)
        held = transport.get_write_buffer_size()
        self.fd = -1 if held else self._descriptor
        return held

    def buffered_bytes(self) -> int:
        """What the transport holds that the kernel has not taken."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Close once everything written is sent; a client that reads nothing keeps it open."""
        self.forget_socket()
        self._transport.close()

    def abort(self) -> None:
        """Close now; what is not sent is lost."""
        self.forget_socket()
        self._transport.abort()

    def forget_socket(self) -> None:
        """It is about to be closed: its descriptor may soon be another's."""
        self.fd = self._descriptor = -1


class Writer:
    """Writes the same bytes to many pipes: past their transports with one system call where the kernel has such."""

    def __init__(self) -> None:
        """It writes to each by itself until it is opened."""
        self._uring: Uring | None = None

    def open(self) -> None:
        self._uring = Uring.open()
        if self._uring is None:
            logger.info("there is no io_uring here, or none for us: each socket is written to by itself")

    def close(self) -> None:
        if self._uring is not None:
            self._uring.close()
            self._uring = None

    def write(self, pipes: Sequence[delivery.Pipe], data: bytes) -> list[tuple[int, int]]:
        """See ``Form.write``; each of ``pipes`` is a ``Pipe`` of this module."""
        if self._uring is None or len(pipes) < TOGETHER_MIN:
            return write_each(pipes, data)
        fds = array("i", [pipe.fd for pipe in cast(Sequence[Pipe], pipes)])
        held = []
        for place, taken in self._uring.send(fds, data):
            # Its transport keeps the rest, and finds out what is wrong with its socket.
            if left := pipes[place].write(data[taken:]):
                held.append((place, left))
        return held


def _bound_kernel_buffer(transport: asyncio.Transport) -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    connection = transport.get_extra_info("socket")
    if option is None or connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.IPPROTO_TCP, option, NOT_SENT_LOW_WATER_BYTES)


def _descriptor(transport: asyncio.Transport) -> int:
    """Of a socket whose bytes are the transport's bytes; else -1."""
    connection = transport.get_extra_info("socket")
    encrypted = transport.get_extra_info("sslcontext") is not None
    return -1 if connection is None or encrypted else int(connection.fileno())
