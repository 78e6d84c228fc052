"""Views and distinct viewers: exact while they are few, within a stated error in bounded memory when they are many."""

from random import Random
from statistics import fmean

from hypothesis import given
from hypothesis import strategies as st

from actors.viewers import SAMPLE_SIZE, WINDOW_MS, Sample, Viewers

HASHES = st.integers(0, (1 << 32) - 1)


@given(st.lists(HASHES, max_size=100))
def test_a_small_set_is_exact(items: list[int]) -> None:
    sample = Sample(size=100)
    new = [sample.add(item) for item in items]

    assert len(sample) == sum(new) == len(set(items))


def test_a_full_set_is_exact_up_to_its_size() -> None:
    rng = Random(1)
    items = {rng.getrandbits(32) for _ in range(SAMPLE_SIZE)}
    sample = Sample()
    for item in [*items, *items]:
        sample.add(item)

    assert len(sample) == len(items)


def test_a_large_set_is_estimated_within_its_error() -> None:
    """The standard error is about 2 %: the mean of 20 estimates lies within 2 %, each single one within 10 %."""
    ratios = []
    for seed in range(20):
        rng = Random(seed)
        sample = Sample(size=1_024)
        distinct = 20_000
        for _ in range(distinct):
            sample.add(rng.getrandbits(32))
        ratios.append(len(sample) / distinct)

    assert abs(fmean(ratios) - 1) < 0.02
    assert all(abs(ratio - 1) < 0.15 for ratio in ratios)


def test_weights_of_new_items_add_up_to_the_truth_on_average() -> None:
    """What ``add`` returns is what views are counted by: unbiased, though the level rises on the way."""
    ratios = []
    for seed in range(20):
        rng = Random(1_000 + seed)
        sample = Sample(size=512)
        ratios.append(sum(sample.add(rng.getrandbits(32)) for _ in range(10_000)) / 10_000)

    assert abs(fmean(ratios) - 1) < 0.02


def test_a_known_item_weighs_nothing_however_often_it_comes() -> None:
    rng = Random(4)
    items = [rng.getrandbits(32) for _ in range(5_000)]
    sample = Sample(size=256)
    for item in items:
        sample.add(item)
    before = len(sample)

    assert sum(sample.add(item) for item in items) == 0
    assert len(sample) == before


def test_memory_is_bounded() -> None:
    rng = Random(5)
    sample = Sample()
    for _ in range(50_000):
        sample.add(rng.getrandbits(32))

    assert len(sample.dump()) < 12 * SAMPLE_SIZE


@given(st.lists(HASHES, max_size=60), st.lists(HASHES, max_size=60))
def test_a_set_goes_on_where_it_was_written(before: list[int], after: list[int]) -> None:
    sample = Sample(size=16)
    for item in before:
        sample.add(item)
    loaded = Sample.load(sample.dump(), size=16)
    assert len(loaded) == len(sample)

    assert [loaded.add(item) for item in after] == [sample.add(item) for item in after]
    assert len(loaded) == len(sample)
    assert loaded.dump() == sample.dump()


def test_items_that_all_end_in_zero_bits_do_not_loop_for_ever() -> None:
    sample = Sample(size=4)
    for item in range(8):
        sample.add(item << 29)

    assert len(sample) >= 1


# -- windows


def test_a_viewer_counts_once_in_half_an_hour() -> None:
    viewers = Viewers()

    assert viewers.look(1, 10 * WINDOW_MS)
    assert not viewers.look(1, 10 * WINDOW_MS + WINDOW_MS - 1)
    assert viewers.look(2, 10 * WINDOW_MS + 5)
    assert viewers.look(1, 11 * WINDOW_MS)
    assert (viewers.views, viewers.viewers) == (3, 2)


def test_a_clock_that_goes_back_does_not_reopen_a_window() -> None:
    viewers = Viewers()
    viewers.look(1, 11 * WINDOW_MS)

    assert not viewers.look(1, 10 * WINDOW_MS)
    assert viewers.look(2, 10 * WINDOW_MS)
    assert not viewers.look(2, 11 * WINDOW_MS + 1)


def test_the_number_of_viewers_never_goes_down() -> None:
    rng = Random(6)
    viewers = Viewers()
    viewers.all = Sample(size=64)
    shown = []
    for _ in range(2_000):
        viewers.look(rng.getrandbits(32), 0)
        shown.append(viewers.viewers)

    assert shown == sorted(shown)
