"""Sockets that take less than they are sent: how much they may hold, and how long they may hold it."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from actors.runtime.env import Env
from actors.runtime.metrics import Metrics
from protocol.delivery import Form, Pipe, Sink
from protocol.errors import SLOW

BEHIND_BYTES = 256 << 10
"""A socket that holds more than this unsent is not written to until it has drained."""
DRAINED_BYTES = 16 << 10
DRAIN_POLL_S = 0.05
SLOW_AFTER_S = 20.0
"""A socket that takes nothing for so long is closed."""


def write(form: Form, pipes: Sequence[Pipe], frame: bytes) -> list[int]:
    """Write ``frame`` to sockets of one form; the places of those that hold too much now."""
    # Beside this frame, of which the kernel may not take all at once.
    held_max = BEHIND_BYTES + len(frame)
    return [place for place, held in form.write(pipes, frame) if held > held_max]


class Subscribed(Protocol):
    sink: Sink
    open: bool


async def drained(subscription: Subscribed, env: Env, metrics: Metrics) -> bool:
    """Wait until the socket may be written to again; False if it never may: it was closed, or too slow, and is now."""
    sink = subscription.sink
    buffered, moved_at = sink.buffered_bytes(), env.monotonic()
    while subscription.open and sink.buffered_bytes() > DRAINED_BYTES:
        now = env.monotonic()
        if sink.buffered_bytes() < buffered:
            moved_at = now
        elif now - moved_at > SLOW_AFTER_S:
            metrics.slow.inc()
            sink.close(*SLOW)
            return False
        buffered = sink.buffered_bytes()
        await asyncio.sleep(DRAIN_POLL_S)
    return subscription.open
