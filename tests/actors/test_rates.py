"""Rates: what happened more often of late has the later time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from actors.rates import HALF_LIFE_MS, raised

NOW_MS = 1_770_000_000_000
MOMENTS = st.lists(st.integers(0, 60 * 86_400_000), min_size=1, max_size=30)


def rate_of(moments: list[int]) -> int:
    rate = 0
    for at_ms in moments:
        rate = raised(rate, NOW_MS + at_ms)
    return rate


def test_one_event_gives_its_time_and_twice_as_many_a_half_life_more() -> None:
    assert raised(0, NOW_MS) == NOW_MS
    assert raised(NOW_MS, NOW_MS) == NOW_MS + HALF_LIFE_MS
    assert raised(0, NOW_MS, by=8) == NOW_MS + 3 * HALF_LIFE_MS


def test_two_events_of_a_half_life_ago_weigh_as_much_as_one_now() -> None:
    assert rate_of([0, 0]) == rate_of([HALF_LIFE_MS])


@given(MOMENTS)
def test_a_rate_is_the_sum_of_weights_that_halve_in_a_half_life(moments: list[int]) -> None:
    weight = sum(2 ** ((at_ms - moments[0]) / HALF_LIFE_MS) for at_ms in moments)
    expected = NOW_MS + moments[0] + HALF_LIFE_MS * math.log2(weight)
    assert abs(rate_of(moments) - expected) <= len(moments) + 1


@given(MOMENTS)
def test_the_order_of_events_makes_no_difference(moments: list[int]) -> None:
    assert abs(rate_of(moments) - rate_of(moments[::-1])) <= 2 * len(moments)
