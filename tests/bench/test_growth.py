"""How a cost grows: exponents by value."""

from xml.etree import ElementTree

import pytest

from tests.bench.growth import Growth, fitted, plot


def test_what_grows_by_a_power_is_fitted_by_that_power() -> None:
    for exponent in (0.0, 0.5, 1.0, 2.0):
        growth = fitted([(size, 3.0 * size**exponent) for size in (1, 10, 50, 100)])
        assert growth.exponent == pytest.approx(exponent)
        assert growth.factor == pytest.approx(3.0)
        assert growth.at(20) == pytest.approx(3.0 * 20**exponent)


def test_a_fit_weighs_relative_errors() -> None:
    # Twice too much at one end and at the other: the exponent is as if nothing were.
    assert fitted([(1, 2.0), (10, 10.0), (100, 200.0)]).exponent == pytest.approx(1.0)


@pytest.mark.parametrize("points", [[], [(1, 1.0)], [(2, 1.0), (2, 3.0)], [(0, 1.0), (1, 1.0)], [(1, 0.0), (2, 1.0)]])
def test_what_says_nothing_of_growth_is_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match=r"sizes|math domain|expected a positive"):
        fitted(points)


def test_a_plot_names_the_exponents() -> None:
    svg = plot("Reads", "comments", "µs", {"ours": [(1, 2.0), (4, 4.0)], "theirs": [(1, 3.0), (4, 3.0)]})
    ElementTree.fromstring(svg)
    assert "ours: n^0.50" in svg
    assert "theirs: n^0.00" in svg
    assert Growth(2.0, 0.5).at(4) == 4.0
