"""Who gave which reaction and how much applause."""

from hypothesis import given
from hypothesis import strategies as st

from actors.tallies import Applause, Tallies
from protocol.commands import APPLAUSE_MAX

KINDS = ("like", "laugh", "love")
PUTS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(KINDS), st.integers(1, 5), st.booleans()), max_size=60)


@given(PUTS)
def test_counts_are_those_of_a_set_of_people(puts: list[tuple[int, str, int, bool]]) -> None:
    tallies = Tallies()
    model: set[tuple[int, str, int]] = set()
    for comment, kind, person, on in puts:
        tallies.put(comment, kind, person, on)
        (model.add if on else model.discard)((comment, kind, person))

    assert_equal(tallies, model)
    loaded = Tallies()
    loaded.load(tallies.dump())
    assert_equal(loaded, model)


def assert_equal(tallies: Tallies, model: set[tuple[int, str, int]]) -> None:
    for comment in range(4):
        counts = {kind: sum(entry[:2] == (comment, kind) for entry in model) for kind in KINDS}
        assert tallies.counts(comment) == {kind: count for kind, count in counts.items() if count}
        assert tallies.score(comment) == sum(counts.values())
        for person in range(1, 6):
            given_kinds = {kind for kind in KINDS if (comment, kind, person) in model}
            assert set(tallies.of(comment, person)) == given_kinds
            assert {kind for kind in KINDS if tallies.has(comment, kind, person)} == given_kinds


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, APPLAUSE_MAX)), max_size=60))
def test_applause_is_the_last_amount_of_each_person(puts: list[tuple[int, int]]) -> None:
    applause, model = Applause(), dict[int, int]()
    for person, amount in puts:
        applause.put(person, amount)
        model[person] = amount
    loaded = Applause()
    loaded.load(applause.dump())

    for one in (applause, loaded):
        assert one.total == sum(model.values())
        assert [one.of(person) for person in range(1, 6)] == [model.get(person, 0) for person in range(1, 6)]


def test_ten_thousand_likes_take_a_few_kilobytes() -> None:
    tallies = Tallies()
    for person in range(1, 10_001):
        tallies.put(0, "like", person, True)
    ((_, _, data),) = tallies.dump()

    assert len(data) < 10_000


def test_who_took_everything_back_leaves_nothing_in_a_snapshot() -> None:
    tallies = Tallies()
    tallies.put(0, "like", 1, True)
    tallies.put(0, "like", 1, False)

    assert tallies.dump() == []
    assert tallies.counts(0) == {}
