"""Who is present: counted exactly over all workers, listed if they are few, and told in few bytes."""

from collections.abc import Iterable

import pytest

from actors.runtime.presence import encode_here, together
from protocol.commands import ANONYMOUS, Person
from protocol.delivery import PRESENT_LISTED_MAX, Sink
from tests.actors.runtime.sinks import RecordingSink

CROWD = 10_000
TOLD_BYTES_MAX = 64 << 10


def sinks(people: Iterable[Person], worker: str = "a") -> list[Sink]:
    return [RecordingSink(by=by, client=f"{worker}{number}") for number, by in enumerate(people)]


def people(ids: Iterable[int]) -> list[Person]:
    return [Person(id=id, handle=f"person{id}", name=100 * "n", url=f"https://example.com/{id}") for id in ids]


def test_few_are_listed_and_counted_over_all_workers() -> None:
    here, there = sinks(people([1, 2, 2])), sinks([*people([2, 3]), ANONYMOUS], "b")
    presence = together([encode_here(here), encode_here(there)])
    assert (presence.clients, presence.users) == (6, 3)
    assert presence.listed == [(sink.client, sink.by) for sink in [*here, *there]]


def test_nobody_is_there() -> None:
    assert together([]) == together([encode_here([])]) == (0, 0, [])


@pytest.mark.parametrize("step", [1, 10, 1_000])
def test_of_a_crowd_little_is_told_and_the_counts_are_exact(step: int) -> None:
    told = [
        encode_here(sinks(people(range(1, step * CROWD + 1, step)))),
        encode_here(sinks([*people(range(1, step * 2 * CROWD + 1, step)), ANONYMOUS], "b")),
    ]
    assert all(len(each) < TOLD_BYTES_MAX for each in told)
    presence = together(told)
    assert presence == (3 * CROWD + 1, 2 * CROWD, [])


def test_no_part_of_a_crowd_is_taken_for_all_of_it() -> None:
    """Each worker has few enough to name them; together they are too many."""
    half = PRESENT_LISTED_MAX // 2
    told = [encode_here(sinks(people(range(1, half + 1)), worker)) for worker in "abc"]
    assert len(together(told[:2]).listed) == PRESENT_LISTED_MAX
    assert together(told) == (3 * half, half, [])
