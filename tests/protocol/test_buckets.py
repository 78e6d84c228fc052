"""Token buckets count time that they are told."""

import pytest

from protocol.buckets import Buckets, TokenBucket


def test_a_burst_passes_and_then_as_much_as_flows_in() -> None:
    bucket = TokenBucket(2.0, 3, 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert bucket.take(100.25) == pytest.approx(0.25)
    assert bucket.take(100.5) == 0.0
    assert bucket.take(100.5) == 0.5


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = TokenBucket(2.0, 3, 0.0)
    assert bucket.remaining(1e9) == 3
    bucket.take(1e9)
    assert (bucket.remaining(1e9), bucket.full_in_s(1e9)) == (2, 0.5)


def test_a_clock_that_steps_back_neither_gives_nor_takes() -> None:
    bucket = TokenBucket(1.0, 1, 10.0)
    assert bucket.take(10.0) == 0.0
    assert bucket.take(5.0) == 1.0
    assert bucket.take(6.0) == 0.0


def test_each_key_has_a_bucket_of_its_own() -> None:
    buckets = Buckets(1.0, 1)
    assert buckets.of("a", 0.0).take(0.0) == 0.0
    assert buckets.of("a", 0.0).take(0.0) == 1.0
    assert buckets.of("b", 0.0).take(0.0) == 0.0
    assert (buckets.of("b", 0.0).remaining(0.0), buckets.of("b", 0.0).full_in_s(0.0)) == (0, 1.0)


def test_the_least_recently_used_is_forgotten_first() -> None:
    buckets = Buckets(1.0, 1, keys_max=2)
    for key in ("a", "b", "a", "c"):
        buckets.of(key, 0.0).take(0.0)
    assert len(buckets) == 2
    assert buckets.of("a", 0.0).take(0.0) == 1.0
    assert buckets.of("b", 0.0).take(0.0) == 0.0
