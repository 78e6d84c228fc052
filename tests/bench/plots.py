"""Plots as SVG, without a library: bars in groups and lines, with axes, a legend and labels that can be read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Final

WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 150, 50, 60
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which colour-blind people can tell apart."""
TICKS = 5
LETTER_WIDTH = 7
"""Of a legend, about."""
_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


def bars(title: str, unit: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """One group of bars for each of ``groups``, one bar in it for each of its series."""
    series = list(dict.fromkeys(name for values in groups.values() for name in values))
    top, steps = _scale(max((value for values in groups.values() for value in values.values()), default=0.0))
    drawn = _frame(title, unit, top, steps) + _legend(series)
    group_width = _PLOT_WIDTH / max(1, len(groups))
    bar_width = 0.8 * group_width / max(1, len(series))
    for at, (group, values) in enumerate(groups.items()):
        left = LEFT + (at + 0.1) * group_width
        drawn.append(_text(LEFT + (at + 0.5) * group_width, HEIGHT - BOTTOM + 20, group))
        for number, name in enumerate(series):
            if name in values:
                height = _PLOT_HEIGHT * values[name] / top
                x, y = left + number * bar_width, HEIGHT - BOTTOM - height
                drawn.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{0.92 * bar_width:.1f}" height="{height:.1f}"'
                    f' fill="{COLOURS[number % len(COLOURS)]}"/>'
                )
                drawn.append(_text(x + 0.46 * bar_width, y - 4, number_of(values[name]), size=10))
    return _document(title, drawn, series)


def lines(title: str, x_title: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """One line for each of ``series``; its points by x, above 0, on a logarithmic axis."""
    xs = sorted({x for points in series.values() for x, _ in points})
    top, steps = _scale(max((y for points in series.values() for _, y in points), default=0.0))
    drawn = _frame(title, unit, top, steps) + _legend(list(series))
    place = _logarithmic(xs)
    for x in xs:
        drawn.append(_line(place(x), HEIGHT - BOTTOM, place(x), HEIGHT - BOTTOM + 5, "#333"))
        drawn.append(_text(place(x), HEIGHT - BOTTOM + 20, number_of(x)))
    drawn.append(_text(LEFT + _PLOT_WIDTH / 2, HEIGHT - 15, x_title))
    for number, points in enumerate(series.values()):
        colour = COLOURS[number % len(COLOURS)]
        dots = [(place(x), HEIGHT - BOTTOM - _PLOT_HEIGHT * y / top) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in dots]
    return _document(title, drawn, series)


def number_of(value: float) -> str:
    """As many digits as say something."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _scale(highest: float) -> tuple[float, float]:
    """Where an axis ends that has to hold ``highest``; the distance of its ticks, 1, 2 or 5 times a power of ten."""
    if highest <= 0:
        return 1.0, 1.0 / TICKS
    power: float = 10.0 ** floor(log10(highest / TICKS))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step * TICKS >= highest)
    return step * ceil(highest / step), step


def _logarithmic(xs: Sequence[float]) -> Callable[[float], float]:
    low, high = (log10(xs[0]), log10(xs[-1])) if xs else (0.0, 1.0)
    margin, width = 0.05 * _PLOT_WIDTH, 0.9 * _PLOT_WIDTH
    return lambda x: LEFT + margin + width * (0.5 if high == low else (log10(x) - low) / (high - low))


def _frame(title: str, unit: str, top: float, step: float) -> list[str]:
    middle = TOP + _PLOT_HEIGHT / 2
    drawn = [
        _text(LEFT, 26, title, size=16, anchor="start"),
        f'<text x="20" y="{middle}" font-size="12" text-anchor="middle" transform="rotate(-90 20 {middle})">'
        f"{escape(unit)}</text>",
    ]
    for number in range(round(top / step) + 1):
        y = HEIGHT - BOTTOM - _PLOT_HEIGHT * number * step / top
        drawn.append(_line(LEFT, y, WIDTH - RIGHT, y, "#333" if number == 0 else "#ddd"))
        drawn.append(_text(LEFT - 8, y + 4, number_of(number * step), anchor="end"))
    drawn.append(_line(LEFT, TOP, LEFT, HEIGHT - BOTTOM, "#333"))
    return drawn


def _legend(series: Sequence[str]) -> list[str]:
    drawn = []
    for number, name in enumerate(series):
        x, y = WIDTH - RIGHT + 20, TOP + 20 * number
        drawn.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[number % len(COLOURS)]}"/>')
        drawn.append(_text(x + 18, y + 10, name, anchor="start"))
    return drawn


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _document(title: str, drawn: Sequence[str], series: Iterable[str]) -> str:
    body = "\n".join(drawn)
    # Beside the plot there is room for short names; longer ones widen it.
    width = WIDTH - RIGHT + max([RIGHT, *(40 + LETTER_WIDTH * len(name) for name in series)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" role="img"'
        f' aria-label="{escape(title)}">\n<rect width="{width}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )
