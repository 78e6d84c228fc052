"""How a cost grows with the size of the work: the power of the size that fits what was measured, and a plot of it."""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import NamedTuple

from tests.bench import plots


class Growth(NamedTuple):
    """cost = factor × size ^ exponent: 0 is a constant cost, 1 one that doubles with the size."""

    factor: float
    exponent: float

    def at(self, size: float) -> float:
        return self.factor * float(size**self.exponent)


def fitted(points: Sequence[tuple[float, float]]) -> Growth:
    """By least squares on the logarithms of (size, cost), so that each point's *relative* error counts the same.

    Raises:
        ValueError: There are not two sizes, or one or its cost is not above 0.
    """
    xs, ys = [log(size) for size, _ in points], [log(cost) for _, cost in points]
    if len(set(xs)) < 2:
        raise ValueError("a growth is one over two sizes at least")
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle_x) ** 2 for x in xs)
    exponent = sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread
    return Growth(exp(middle_y - exponent * middle_x), exponent)


def exponents(series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """The exponent of each of ``series`` that has two points at least, for people."""
    return ", ".join(f"{name} n^{fitted(points).exponent:.2f}" for name, points in series.items() if len(points) > 1)


def plot(title: str, x_title: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """SVG of the (size, cost) of each of ``series``, with the exponent beside its name."""
    named = {f"{name}: n^{fitted(points).exponent:.2f}": points for name, points in series.items()}
    return plots.lines(title, x_title, unit, named)
