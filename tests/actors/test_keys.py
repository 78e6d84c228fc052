"""Keys of actors, and the slot that owns each."""

import pytest

from actors.keys import SLOTS, parse_key, post_key, slot_of, user_key
from protocol.errors import Refused
from store.base import SLOTS as STORED_SLOTS


def test_a_key_has_the_same_slot_on_every_machine() -> None:
    # Written down once: a database remembers what lies where.
    assert [slot_of(key) for key in ("post:1", "post:2", "user:1", "")] == [14, 7, 18, 180]


def test_the_slots_are_those_of_the_store() -> None:
    assert SLOTS == STORED_SLOTS == 256


def test_keys_spread_evenly_over_the_slots() -> None:
    counts = [0] * SLOTS
    for id in range(SLOTS * 100):
        counts[slot_of(post_key(id))] += 1

    assert min(counts) > 50
    assert max(counts) < 150


def test_a_key_is_read_as_it_was_written() -> None:
    assert parse_key(post_key(7)) == ("post", 7)
    assert parse_key(user_key("12")) == ("user", 12)
    assert parse_key(post_key((1 << 63) - 1)) == ("post", (1 << 63) - 1)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", "not_found"),
        ("post", "not_found"),
        ("post:", "not_found"),
        ("post:0", "not_found"),
        ("post:01", "not_found"),
        ("post:-1", "not_found"),
        ("post:+1", "not_found"),
        ("post:1_0", "not_found"),
        ("post: 1", "not_found"),
        ("post:1\n", "not_found"),
        ("post:٣", "not_found"),
        ("post:²", "not_found"),
        ("page:1", "not_found"),
        ("Post:1", "not_found"),
        (f"post:{1 << 63}", "post_not_found"),
        (f"user:{1 << 63}", "account_not_found"),
        ("post:" + "9" * 10_000, "post_not_found"),
    ],
)
def test_a_key_that_no_actor_can_have_is_not_found(key: str, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_key(key)

    assert refusal.value.code == code
