"""What waits to be sent over a bus: in order per inbox, in turns between inboxes, and bounded."""

from collections import deque

from store.bus import PENDING_BYTES_MAX

MESSAGE_OVERHEAD_BYTES = 5
"""What packing adds to a message, at most."""


class Outgoing:
    """Messages between ``send`` and the wire."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[bytes]] = {}
        self._size_bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, inbox: str, message: bytes) -> bool:
        """Whether there was room for ``message``; what finds none is dropped."""
        size_bytes = len(message) + MESSAGE_OVERHEAD_BYTES
        if self._size_bytes + size_bytes > PENDING_BYTES_MAX:
            return False
        self._size_bytes += size_bytes
        self._waiting.setdefault(inbox, deque()).append(message)
        return True

    def next(self, size_bytes_max: int) -> tuple[str, list[bytes]]:
        """Take the first messages of the inbox whose turn it is, one at least; something must wait.

        More of it than ``size_bytes_max``, packed, is taken only if it is one message.
        """
        inbox = next(iter(self._waiting))
        queue = self._waiting.pop(inbox)
        taken = [queue.popleft()]
        size_bytes = len(taken[0]) + MESSAGE_OVERHEAD_BYTES
        while queue and size_bytes + len(queue[0]) + MESSAGE_OVERHEAD_BYTES <= size_bytes_max:
            taken.append(queue.popleft())
            size_bytes += len(taken[-1]) + MESSAGE_OVERHEAD_BYTES
        self._size_bytes -= size_bytes
        if queue:
            self._waiting[inbox] = queue
        return inbox, taken

    def clear(self) -> int:
        """Drop everything; returns how many messages."""
        dropped = len(self)
        self._waiting.clear()
        self._size_bytes = 0
        return dropped
