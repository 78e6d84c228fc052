"""Which worker should own a slot: rendezvous hashing. The table of slots is the truth, this only the wish."""

from collections.abc import Collection
from hashlib import blake2b
from uuid import UUID

from actors.keys import SLOTS

MOVED_MAX = SLOTS // 10
"""Slots that one worker gives away of its own will in one round."""


def wishes(workers: Collection[UUID]) -> dict[int, UUID]:
    """The worker that should own each slot; the same whoever asks. Empty if there are no workers.

    When a worker comes or goes, only slots that it gets or had change hands.
    """
    if not workers:
        return {}
    return {slot: max(workers, key=lambda worker: (_weight(worker, slot), worker)) for slot in range(SLOTS)}


def _weight(worker: UUID, slot: int) -> bytes:
    return blake2b(slot.to_bytes(2, "big"), key=worker.bytes, digest_size=8).digest()
