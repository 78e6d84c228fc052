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
"""Sends that one call carries; a power of two. Their queues take 25 KiB."""

_SETUP: Final = 425
_ENTER: Final = 426
_SUBMIT_ALL: Final = 1 << 7
"""Go on behind a send that cannot even begin."""
_SINGLE_MMAP: Final = 1 << 0
_QUEUES_AT: Final = 0
_ENTRIES_AT: Final = 0x10000000
_OP_SEND: Final = 26
# Without MSG_WAITALL: of a send that then took less than all, some kernels tell that it took nothing.
_SEND_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL

_PARAMETERS: Final = struct.Struct("10I10I10I")
_ENTRY: Final = struct.Struct("=BBHiQQIIQ24x")
_RESULT: Final = struct.Struct("=QiI")
_WORD: Final = 0xFFFF_FFFF

# Where an entry or a result has a field, in items of its view, and how many items the whole is.
_FD: Final = 1, 16
_ADDRESS: Final = 2, 8
_LENGTH: Final = 6, 16
_OF_ENTRY: Final = 0, 2
_SENT: Final = 2, 4


class Uring:
    """One queue of sends, for one thread."""

    def __init__(self, fd: int, parameters: bytes) -> None:
        """Of a ring that the kernel has set up; it is closed with this."""
        fields = _PARAMETERS.unpack(parameters)
        entries, results = fields[:2]
        head, tail, mask, _, _, _, indices, *_ = fields[10:20]
        done_head, done_tail, done_mask, _, _, done, *_ = fields[20:30]
        self._fd = fd
        size = max(indices + 4 * entries, done + _RESULT.size * results)
        self._queues = mmap.mmap(fd, size, mmap.MAP_SHARED, offset=_QUEUES_AT)
        self._entries = mmap.mmap(fd, _ENTRY.size * entries, mmap.MAP_SHARED, offset=_ENTRIES_AT)
        self._words = memoryview(self._queues).cast("I")
        self._head, self._tail, self._done_head, self._done_tail = head // 4, tail // 4, done_head // 4, done_tail // 4
        self._mask, self._done_mask = self._words[mask // 4], self._words[done_mask // 4]
        of_results = memoryview(self._queues)[done : done + _RESULT.size * results]
        self._of_entry, self._sent = of_results.cast("Q"), of_results.cast("i")
        of_entries = memoryview(self._entries)
        self._fds, self._addresses, self._lengths = of_entries.cast("i"), of_entries.cast("Q"), of_entries.cast("I")
        for at in range(entries):
            self._words[indices // 4 + at] = at
            _ENTRY.pack_into(self._entries, at * _ENTRY.size, _OP_SEND, 0, 0, -1, 0, 0, 0, _SEND_FLAGS, at)

    @classmethod
    def open(cls) -> Self | None:
        """None where there is no io_uring, or none for us."""
        if sys.platform != "linux":
            return None
        parameters = ctypes.create_string_buffer(struct.pack("3I", 0, 0, _SUBMIT_ALL), _PARAMETERS.size)
        fd = _system_call(_SETUP, ENTRIES, parameters)
        if fd < 0:
            return None
        if not _PARAMETERS.unpack(parameters.raw)[5] & _SINGLE_MMAP:
            os.close(fd)
            return None
        try:
            return cls(fd, parameters.raw)
        except OSError:
            # There is none of memory or of descriptors for it, or a policy forbids to map it.
            os.close(fd)
            return None

    def close(self) -> None:
        for view in (self._words, self._of_entry, self._sent, self._fds, self._addresses, self._lengths):
            view.release()
        self._queues.close()
        self._entries.close()
        os.close(self._fd)

    def send(self, fds: "array[int]", data: bytes) -> list[tuple[int, int]]:
        """Send ``data`` to connected stream sockets, as much as each takes without waiting; ``fds`` has C's ints.

        Returns those that did not take all of it, as (place in ``fds``, bytes taken), in no order: their buffers are
        full, or they are no sockets (any more), which the next ordinary write to them will tell.
        """
        address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        short: list[tuple[int, int]] = []
        begun = 0
        while begun < len(fds):
            # Not over the end of the queue; the rest begins at its beginning.
            at = self._words[self._tail] & self._mask
            count = min(len(fds) - begun, self._mask + 1 - at)
            self._fds[_items(_FD, at, count)] = memoryview(fds)[begun : begun + count]
            self._addresses[_items(_ADDRESS, at, count)] = memoryview(array("Q", [address]) * count)
            self._lengths[_items(_LENGTH, at, count)] = memoryview(array("I", [len(data)]) * count)
            taken = self._submit(count)
            short += [(begun + place, 0) for place in range(taken, count)]
            short += [(begun + entry - at, sent) for entry, sent in self._unsent(len(data))]
            begun += count
        return short

    def _submit(self, count: int) -> int:
        """Have the kernel do the ``count`` entries behind the last ones; how many of them it took."""
        begin = self._words[self._tail]
        self._words[self._tail] = (begin + count) & _WORD
        while _system_call(_ENTER, self._fd, count, 0, 0, None, 0) < 0 and ctypes.get_errno() == errno.EINTR:
            pass
        head = self._words[self._head]
        # What it did not take is no more for it to take.
        self._words[self._tail] = head
        return int((head - begin) & _WORD)

    def _unsent(self, size: int) -> list[tuple[int, int]]:
        """(entry, bytes sent) of those that are done with less than ``size``."""
        unsent: list[tuple[int, int]] = []
        begin, end = self._words[self._done_head], self._words[self._done_tail]
        while begin != end:
            at = begin & self._done_mask
            count = min((end - begin) & _WORD, self._done_mask + 1 - at)
            sent = self._sent[_items(_SENT, at, count)].tolist()
            if sent.count(size) < count:
                entries = self._of_entry[_items(_OF_ENTRY, at, count)].tolist()
                unsent += [(entry, max(0, each)) for entry, each in zip(entries, sent, strict=True) if each != size]
            begin = (begin + count) & _WORD
        self._words[self._done_head] = end
        return unsent


def _items(field: tuple[int, int], at: int, count: int) -> slice:
    """Where a view has a field of ``count`` entries or results, from ``at`` on."""
    offset, stride = field
    return slice(at * stride + offset, (at + count) * stride, stride)


_libc = ctypes.CDLL(None, use_errno=True)


def _system_call(number: int, *arguments: Any) -> int:
    """As ``syscall(2)``; its error is in ``ctypes.get_errno``. Other threads run meanwhile."""
    return int(_libc.syscall(number, *arguments))
