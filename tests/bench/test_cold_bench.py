"""The benchmarks of cold posts and of memory: that copies are whole, a wrong answer no result, and what is said."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from store.embedded import EmbeddedPostgres
from tests.bench import cold, memory
from tests.bench.cold import PROMISED, Kind, Measured, Posts, ask_once, asking, fresh_site, quantile
from tests.bench.copies import Database, complete
from tests.bench.measuring import missing
from tests.bench.readers import Question, Same, Wrong

SMALL = Kind(60, 200, 3)
"""With more comments than a page has."""


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    async with EmbeddedPostgres(tmp_path) as postgres:
        yield postgres


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    database = await asyncpg.connect(postgres.url)
    yield database
    await database.close()


def measured(rate: float = 1_000.0, latency_ms: float = 2.0, generator: float = 0.1) -> Measured:
    return Measured(
        latencies_ms=[1.0, latency_ms], page_latencies_ms=[3.0, 4.0], rate=rate, server_ms=0.5, postgres_ms=0.4,
        generator=generator,
    )  # fmt: skip


# -- cold posts -------------------------------------------------------------------------------------------------------


async def test_copies_have_all_rows_of_their_model_are_answered_as_it_is_and_no_other_answer_counts(
    postgres: EmbeddedPostgres, database: Database
) -> None:
    (posts,) = await cold.make_posts(database, postgres.url, [SMALL])
    assert len(posts.ids) == len({*posts.ids, posts.model}) - 1 == SMALL.copies
    for table, expected in (("comment", SMALL.comments), ("reaction", SMALL.likes), ("post_state", 1)):
        counted = f"SELECT count(*) FROM {table} WHERE post_id = $1"
        assert await database.fetchval(counted, int(posts.ids[-1])) == expected
    async with fresh_site(postgres.url) as site, asking(site.served.port, 2) as readers:
        for id in posts.ids:
            assert await ask_once(readers[0], posts.question(id)) > 0
            assert await ask_once(readers[0], posts.page_question(id)) > 0
        # It is a post like any other: what is written to it is the next thing that is shown.
        await complete(site, posts.ids[0])
        with pytest.raises(Wrong):
            await ask_once(readers[1], posts.question(posts.ids[0]))


async def test_a_trial_of_cold_posts_measures_every_kind_in_every_round() -> None:
    kinds = (SMALL, Kind(0, 0, 4))
    runs = await cold.measure(kinds, 1)
    assert [len(runs[kind]) for kind in kinds] == [1, 1]
    assert all(each.rate > 0 and len(each.latencies_ms) == 1 for rounds in runs.values() for each in rounds)


def test_each_round_reads_other_posts_one_at_a_time() -> None:
    posts = Posts(SMALL, list("abcdefghij"), "m", "s", b"", b"")
    assert [posts.parted(round)[0] for round in range(-1, 3)] == [
        ["h", "i", "j"], ["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"],
    ]  # fmt: skip
    assert all(sorted([*singly, *rest]) == posts.ids for singly, rest in map(posts.parted, range(5)))


def test_what_is_answered_of_a_copy_bears_its_id_and_its_slug() -> None:
    posts = Posts(SMALL, (), "12", "model-0", b'{"id":"12","slug":"model-0","cursor":"e:post:12-3"}', b'{"post":"12"}')
    expected = posts.question("345").expected
    assert isinstance(expected, Same)
    assert expected.body == b'{"id":"345","slug":"model-0-345","cursor":"e:post:345-3"}'
    assert isinstance(posts.page_question("345"), Question)


def test_what_stays_behind_the_goals_of_cold_posts_is_said() -> None:
    assert not list(cold.shortcomings({PROMISED: [measured()], SMALL: [measured(rate=1.0, latency_ms=99.0)]}))
    assert len(list(cold.shortcomings({PROMISED: [measured(rate=400.0, latency_ms=25.0, generator=0.95)]}))) == 3


def test_a_report_of_cold_posts_has_every_kind_and_the_growth() -> None:
    runs = {PROMISED: [measured()], Kind(1_000, 0, 1): [measured()], Kind(50_000, 0, 1): [measured(latency_ms=4.0)]}
    text = cold.report(runs, "command", 0.0)
    assert text.startswith("# Cold posts\n")
    assert all(str(kind) in text for kind in runs)
    assert "a post n^0.18" in text


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.99)] == [1.0, 2.0, 3.0]


# -- memory -----------------------------------------------------------------------------------------------------------


async def test_a_trial_of_memory_holds_all_that_it_says_and_every_series_grows() -> None:
    if lacking := missing(200):
        pytest.skip(lacking)
    # The others differ in what is asked for alone.
    few = [series for series in memory.ALL if series.name in (memory.WEBSOCKETS, memory.IDLE_POSTS, memory.TAKEN)]
    runs = await memory.measure([series._replace(sizes=(20, 40), warm_up=5) for series in few], 1_000, 1)
    assert len(runs) == len(few)
    for rounds in runs.values():
        assert [size for size, _ in rounds[0]] == [5, 25, 45]


def test_the_cost_of_one_is_the_slope_whatever_there_was_before() -> None:
    samples = [(50, 1_000_000), (150, 1_000_000 + 100 * 2_048), (250, 1_000_000 + 200 * 2_048)]
    assert memory.each_kib(samples) == pytest.approx(2.0)
    runs = {memory.IDLE_POSTS: [samples]}
    text = memory.report(runs, "command", 0.0)
    assert "| resident idle post | 2.00 (2.00–2.00) | ≤ 3 | 100, 200 | n^1.00 |" in text
    assert not list(memory.shortcomings(runs))
    assert list(memory.shortcomings({memory.IDLE_POSTS: [[(0, 0), (1, 4_096)]]}))
