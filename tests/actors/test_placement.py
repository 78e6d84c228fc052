"""Which worker should own a slot."""

from collections import Counter
from uuid import UUID

from actors.keys import SLOTS
from actors.placement import wishes

WORKERS = [UUID(int=number << 64 | 7) for number in range(1, 9)]


def test_every_slot_has_one_wish_whoever_asks() -> None:
    assert wishes(WORKERS) == wishes(list(reversed(WORKERS)))
    assert set(wishes(WORKERS)) == set(range(SLOTS))


def test_nobody_wishes_where_nobody_is() -> None:
    assert wishes([]) == {}


def test_the_slots_are_shared_about_evenly() -> None:
    shares = Counter(wishes(WORKERS).values())
    assert len(shares) == len(WORKERS)
    assert max(shares.values()) < 2 * SLOTS / len(WORKERS)


def test_a_worker_that_leaves_changes_only_its_own_slots() -> None:
    before, after = wishes(WORKERS), wishes(WORKERS[1:])
    assert all(after[slot] == owner for slot, owner in before.items() if owner != WORKERS[0])


def test_a_worker_that_joins_takes_slots_and_moves_none_between_others() -> None:
    before, after = wishes(WORKERS[1:]), wishes(WORKERS)
    assert all(after[slot] in (before[slot], WORKERS[0]) for slot in range(SLOTS))
