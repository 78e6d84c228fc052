"""Many sockets, the same bytes, one system call: Linux's io_uring, by ctypes.

A call of ``send`` a socket pays the way into the kernel and back for each, and finds what it needs of the socket's
objects in Python cold. Here one call carries a queue of sends, which the kernel does one after the other before it
returns, each as far as it can without waiting: nothing is in flight between two calls, so nobody else has to know.

What this needs: Linux 5.18, and that io_uring is permitted, which containers often do not. ``Uring.open`` says None
where it is missing, and whoever asked writes to each socket instead. Layouts and numbers are those of the kernel's
``include/uapi/linux/io_uring.h``.
"""

import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
from array import array
from typing import Any, Final, Self

ENTRIES: Final = 256
"""Sends that one call carries; a power of two. Their queue takes 25 KiB."""

_SETUP: Final = 425
_ENTER: Final = 426
_SUBMIT_ALL: Final = 1 << 7
"""Go on behind a send that cannot even begin."""
_SINGLE_MMAP: Final = 1 << 0
_CQE_SKIP: Final = 1 << 11
_QUEUES_AT: Final = 0
_ENTRIES_AT: Final = 0x10000000

_PARAMETERS: Final = struct.Struct("10I10I10I")
_ENTRY: Final = struct.Struct("<BBHiQQIIQ24x")
_RESULT: Final = struct.Struct("<QiI")
_OP_SEND: Final = 26
_SKIP_SUCCESS: Final = 1 << 6
"""Tell only of those that failed; with ``MSG_WAITALL`` a send of less than all has failed."""
_SEND_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL | socket.MSG_WAITALL

# Where an entry has what changes, in items of its view, and how many items an entry is.
_FD: Final = 1, 16
_ADDRESS: Final = 2, 8
_LENGTH: Final = 6, 16


class Uring:
    """One queue of sends, for one thread."""

    def __init__(self, fd: int, parameters: bytes) -> None:
        """Of a ring that the kernel has set up; it is closed with this."""
        self._fd = fd
        fields = _PARAMETERS.unpack(parameters)
        head, tail, mask, _, _, _, indices, *_ = fields[10:20]
        done_head, done_tail, done_mask, _, _, done, *_ = fields[20:30]
        size = max(indices + 4 * fields[0], done + _RESULT.size * fields[1])
        self._queues = mmap.mmap(fd, size, mmap.MAP_SHARED, offset=_QUEUES_AT)
        self._entries = mmap.mmap(fd, _ENTRY.size * ENTRIES, mmap.MAP_SHARED, offset=_ENTRIES_AT)
        self._words = memoryview(self._queues).cast("I")
        self._head, self._tail, self._done_head, self._done_tail = head // 4, tail // 4, done_head // 4, done_tail // 4
        self._mask, self._done_mask = self._words[mask // 4], self._words[done_mask // 4]
        self._done = done
        self._fds = memoryview(self._entries).cast("i")
        self._addresses = memoryview(self._entries).cast("Q")
        self._lengths = memoryview(self._entries).cast("I")
        for at in range(ENTRIES):
            self._words[indices // 4 + at] = at
            _ENTRY.pack_into(self._entries, at * _ENTRY.size, _OP_SEND, _SKIP_SUCCESS, 0, -1, 0, 0, 0, _SEND_FLAGS, at)

    @classmethod
    def open(cls) -> Self | None:
        """None where there is no io_uring, or none for us."""
        if sys.platform != "linux":
            return None
        parameters = ctypes.create_string_buffer(struct.pack("3I", 0, 0, _SUBMIT_ALL), _PARAMETERS.size)
        fd = _system_call(_SETUP, ENTRIES, parameters)
        if fd < 0:
            return None
        features = _PARAMETERS.unpack(parameters.raw)[5]
        if not (features & _SINGLE_MMAP and features & _CQE_SKIP):
            os.close(fd)
            return None
        return cls(fd, parameters.raw)

    def close(self) -> None:
        for view in (self._words, self._fds, self._addresses, self._lengths):
            view.release()
        self._queues.close()
        self._entries.close()
        os.close(self._fd)

    def send(self, fds: "array[int]", data: bytes) -> list[tuple[int, int]]:
        """Send ``data`` to connected stream sockets, as much as each takes without waiting; ``fds`` has C's ints.

        Returns those that did not take all of it, as (place in ``fds``, bytes taken), in no order: their buffers are
        full, or they are no sockets (any more), which the next ordinary write to them will tell.
        """
        address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        short: list[tuple[int, int]] = []
        begun = 0
        while begun < len(fds):
            at = self._words[self._tail] & self._mask
            count = min(len(fds) - begun, ENTRIES - at)
            _fill(self._fds, _FD, at, fds[begun : begun + count])
            _fill(self._addresses, _ADDRESS, at, array("Q", [address or 0]) * count)
            _fill(self._lengths, _LENGTH, at, array("I", [len(data)]) * count)
            taken = self._submit(count)
            short += [(begun + place, 0) for place in range(taken, count)]
            short += [(begun + entry - at, sent) for entry, sent in self._results()]
            begun += count
        return short

    def _submit(self, count: int) -> int:
        """Have the kernel do the ``count`` entries behind the last ones; how many of them it took."""
        begin = self._words[self._tail]
        self._words[self._tail] = (begin + count) & 0xFFFF_FFFF
        while _system_call(_ENTER, self._fd, count, 0, 0, None, 0) < 0 and ctypes.get_errno() == errno.EINTR:
            pass
        head = self._words[self._head]
        # What it did not take is no more for it to take.
        self._words[self._tail] = head
        return int((head - begin) & 0xFFFF_FFFF)

    def _results(self) -> list[tuple[int, int]]:
        """(entry, bytes sent) of those that it tells of."""
        begin, end = self._words[self._done_head], self._words[self._done_tail]
        results = []
        for at in range((end - begin) & 0xFFFF_FFFF):
            place = self._done + ((begin + at) & self._done_mask) * _RESULT.size
            entry, result, _ = _RESULT.unpack_from(self._queues, place)
            results.append((entry, max(0, result)))
        self._words[self._done_head] = end
        return results


def _fill(view: memoryview, field: tuple[int, int], at: int, values: "array[int]") -> None:
    """Put ``values`` into one field of the entries from ``at`` on."""
    offset, stride = field
    view[at * stride + offset : (at + len(values)) * stride : stride] = memoryview(values)


_libc = ctypes.CDLL(None, use_errno=True)


def _system_call(number: int, *arguments: Any) -> int:
    """As ``syscall(2)``; its error is in ``ctypes.get_errno``. Other threads run meanwhile."""
    return int(_libc.syscall(number, *arguments))
