"""Takes connections from the listening socket, which workers may share, so that each worker has about as many.

A connection wakes every worker that is idle, and the quickest takes it: nearly always the same one. So a worker that
has more connections than another one waits a moment first. The other takes it meanwhile, unless it is busy or hangs.
"""

import asyncio
import errno
import logging
import mmap
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Final

import aiofastnet
from aiohttp import web

log = logging.getLogger(__name__)

PATIENCE_S: Final = 0.002
"""For so long a connection is left to those who have fewer."""
EXHAUSTED_S: Final = 1.0
"""For so long nothing is accepted once the system has no room for a connection more."""
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
BURST: Final = 1024
"""As many are taken at once at most."""
COUNT_BYTES: Final = 8


class Census:
    """How many connections each of several workers has, in memory that they share. Exact, or a moment old.

    Args:
        file: Descriptor of the ``file`` that they share.
        me: Which of them this is, from 1.
    """

    def __init__(self, file: int, workers: int, *, me: int) -> None:
        self._counts = memoryview(mmap.mmap(file, COUNT_BYTES * workers)).cast("Q")
        self._me = me - 1

    @staticmethod
    @contextmanager
    def file(workers: int) -> Iterator[int]:
        """A new file for their counts, without a name; yields its descriptor."""
        with TemporaryFile() as file:
            file.truncate(COUNT_BYTES * workers)
            yield file.fileno()

    def room(self, mine: int) -> int:
        """How many a worker that has ``mine`` may take before it has too many: below 1 if it has.

        The more the others have, the less one more matters: a sixteenth of them.
        """
        self._counts[self._me] = mine
        fewest = min(self._counts)
        return fewest + _step(fewest) - mine

    def step(self) -> int:
        """How many may be taken at once by one that has too many, if nobody else would have them."""
        return _step(min(self._counts))


def _step(fewest: int) -> int:
    return max(1, fewest // 16)


class Acceptor:
    """Accepts connections for ``server`` between ``start`` and ``stop``, and owns ``listener``.

    Args:
        census: Of the workers that share ``listener``; None if there is one.
    """

    def __init__(self, listener: socket.socket, server: web.Server, census: Census | None = None) -> None:
        self._listener = listener
        self._server = server
        self._census = census
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        """While it waits, and does not look at the socket."""

    def start(self) -> None:
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._readable)

    def stop(self) -> None:
        """Close the socket. What was accepted stays."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _readable(self) -> None:
        if self._census is None:
            self._accept(BURST)
        elif (room := self._census.room(self._count())) > 0:
            self._accept(min(room, BURST))
        else:
            self._pause(PATIENCE_S, self._census.step())

    def _count(self) -> int:
        return len(self._server.connections) + len(self._connecting)

    def _pause(self, seconds: float, then: int) -> None:
        self._loop.remove_reader(self._listener)
        self._timer = self._loop.call_later(seconds, self._go_on, then)

    def _go_on(self, limit: int) -> None:
        self._timer = None
        self._loop.add_reader(self._listener, self._readable)
        self._accept(limit)

    def _accept(self, limit: int) -> None:
        for _ in range(limit):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # It ended while it waited.
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                log.error("no more connections for now: %s", error.strerror)
                self._pause(EXHAUSTED_S, 1)
                return
            self._connect(accepted)

    def _connect(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        task = self._loop.create_task(aiofastnet.connect_accepted_socket(self._loop, self._server, accepted))
        self._connecting.add(task)
        task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[object]) -> None:
        self._connecting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("a connection ended before it was served: %r", error)
