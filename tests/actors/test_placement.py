"""Which worker should own a slot."""

from collections import Counter

from actors.keys import SLOTS
from actors.placement import by_place, wishes

WORKERS = {f"machine/{number}": number for number in range(1, 9)}
WITHOUT_FIRST = {place: number for place, number in WORKERS.items() if number != 1}


def test_every_slot_has_one_wish_whoever_asks() -> None:
    assert wishes(WORKERS) == wishes(dict(reversed(WORKERS.items())))
    assert set(wishes(WORKERS)) == set(range(SLOTS))


def test_nobody_wishes_where_nobody_is() -> None:
    assert wishes({}) == {}


def test_the_slots_are_shared_about_evenly() -> None:
    shares = Counter(wishes(WORKERS).values())
    assert len(shares) == len(WORKERS)
    assert max(shares.values()) < 2 * SLOTS / len(WORKERS)


def test_a_worker_that_leaves_changes_only_its_own_slots() -> None:
    before, after = wishes(WORKERS), wishes(WITHOUT_FIRST)
    assert all(after[slot] == owner for slot, owner in before.items() if owner != 1)


def test_a_worker_that_joins_takes_slots_and_moves_none_between_others() -> None:
    before, after = wishes(WITHOUT_FIRST), wishes(WORKERS)
    assert all(after[slot] in (before[slot], 1) for slot in range(SLOTS))


def test_a_successor_waits_for_its_place_and_then_gets_all_that_its_predecessor_had() -> None:
    old, new, other = ("machine/1.0001", "old"), ("machine/1.0003", "new"), ("machine/2.0002", "other")
    before, after = wishes(by_place([new, old, other])), wishes(by_place([new, other]))
    assert set(before.values()) == {"old", "other"}
    assert after == {slot: "new" if owner == "old" else owner for slot, owner in before.items()}


def test_a_label_without_a_number_is_a_place_of_its_own() -> None:
    assert by_place([("one", 1), ("other", 2)]) == {"one": 1, "other": 2}
