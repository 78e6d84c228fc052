"""Which worker should own a slot: rendezvous hashing. The table of slots is the truth, this only the wish.

Hashed is not the worker but its *place*, which a worker that is put in the stead of another has of it: a restart moves
each slot once, from the old worker to the new one.
"""

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import TypeVar

from actors.keys import SLOTS

T = TypeVar("T")

MOVED_MAX = SLOTS // 10
"""Slots that one worker gives away of its own will in one round."""


def place_of(label: str) -> str:
    """The place of a worker whose label is ``<place>.<number>``; one without a number is a place of its own."""
    return label.rpartition(".")[0] or label


def by_place(labels: Iterable[tuple[str, T]]) -> dict[str, T]:
    """The worker in each place: of two that have the same, the first by label, until it is not counted any more."""
    return {place_of(label): worker for label, worker in sorted(labels, key=lambda each: each[0], reverse=True)}


def wishes(workers: Mapping[str, T]) -> dict[int, T]:
    """The worker that should own each slot, of ``workers`` by place; the same whoever asks.

    When a place comes or goes, only slots that it gets or had change hands. Empty if there are no workers.
    """
    if not workers:
        return {}
    return {slot: workers[_best(slot, workers)] for slot in range(SLOTS)}


def _best(slot: int, places: Collection[str]) -> str:
    return max(places, key=lambda place: (_weight(place, slot), place))


def _weight(place: str, slot: int) -> bytes:
    return blake2b(f"{slot}:{place}".encode(), digest_size=8).digest()
