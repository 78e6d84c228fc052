"""What the benchmarks are made of: graphs that are the same each time, sections of the results, plots that are SVG."""

from collections import Counter
from pathlib import Path
from random import Random
from xml.etree import ElementTree

from tests.bench import plots
from tests.bench.graphs import FOLLOWED, READER, STAR, attached, made
from tests.bench.people import Spread
from tests.bench.results import put_section


def test_a_made_graph_has_the_edges_it_should_have_and_is_the_same_each_time() -> None:
    edges = attached(500, 10_000, Random(1))
    assert len(set(edges)) == len(edges) == 10_000
    assert all(follower != followee for follower, followee in edges)
    assert edges == attached(500, 10_000, Random(1))
    followers = Counter(followee for _, followee in edges)
    # Chance alone would give nobody more than some 40 of 20 on average.
    assert max(followers.values()) > 60


def test_a_graph_has_readers_of_every_kind_and_enough_posts_for_them() -> None:
    graph = made(2_000, 20_000, 3_000)
    for count in FOLLOWED:
        assert sum(follower == READER + count for follower, _ in graph.edges) == count
        assert graph.shown[READER + count] >= 50
    assert sum(followee == STAR for _, followee in graph.edges) == 1_000
    assert len(graph.visits) == 1_000
    readers = graph.readers(1_200, 10)
    assert all(graph.shown[reader] >= 10 for reader in readers)
    here = [reader in graph.visits for reader in readers]
    assert here == sorted(here, reverse=True)


def test_a_section_is_put_in_its_own_place_and_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    put_section("# One\n\n1\n", file)
    put_section("# Two\n\n## Part\n\n2\n", file)
    put_section("# One\n\nnew\n", file)
    assert file.read_text() == "# One\n\nnew\n\n# Two\n\n## Part\n\n2\n"


def test_plots_are_svg_with_every_bar_and_point() -> None:
    bars = plots.bars("A & B", "MB", {"one": {"push": 3.0, "pull": 0.0}, "two": {"push": 12.5}})
    lines = plots.lines("Pages", "followed", "ms", {"push": [(10.0, 2.0), (1_600.0, 3.5)], "pull": [(10.0, 4.0)]})
    for plot, shape, shapes in ((bars, "rect", 1 + 2 + 3), (lines, "circle", 3)):
        root = ElementTree.fromstring(plot)
        assert len(root.findall(f"{{http://www.w3.org/2000/svg}}{shape}")) == shapes
    assert "A &amp; B" in bars
    assert "1,600" in lines


def test_a_plot_of_nothing_is_still_one() -> None:
    ElementTree.fromstring(plots.bars("Nothing", "MB", {"one": {"pull": 0.0}}))
    ElementTree.fromstring(plots.lines("Nothing", "x", "ms", {}))


def test_a_spread_is_of_the_slowest_that_so_many_did_not_reach() -> None:
    assert Spread.of([number / 1000 for number in range(1, 101)]) == Spread(51.0, 96.0, 100.0)
    assert Spread.of([]) == Spread(0.0, 0.0, 0.0)
