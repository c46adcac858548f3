"""Line charts as SVG, for the figures that stand beside the benchmarks' tables."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]
"""x and y."""

WIDTH, HEIGHT, MARGIN = 640, 400, 60
LEGEND_WIDTH, LEGEND_LINE = 150, 16
FEW = 3
"""Up to so many lines are named where they end; more have a legend."""


class Axis(NamedTuple):
    """The values that an axis spans, low to high, and where it has marks."""

    title: str
    low: float
    high: float
    marks: Sequence[float]
    is_logarithmic: bool = False

    @classmethod
    def powers(cls, title: str, values: Sequence[float]) -> "Axis":
        """Logarithmic, of the powers of ten around the values, which are above 0."""
        first = math.floor(math.log10(min(values)))
        last = max(math.ceil(math.log10(max(values))), 1)
        return cls(title, 10.0**first, 10.0**last, [10.0**power for power in range(first, last + 1)], True)

    def share(self, value: float) -> float:
        """Where on the axis: 0 at its low end, 1 at its high one."""
        if self.is_logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


PERCENT = [0, 20, 40, 60, 80, 100]


def chart(series: Mapping[str, Points], across: Axis, down: Axis) -> str:
    """An SVG with one line and one colour for each series."""
    colors = _colors(len(series))
    legend = 0 if len(series) <= FEW else LEGEND_WIDTH
    width, height = WIDTH + legend, max(HEIGHT, MARGIN + len(series) * LEGEND_LINE if legend else 0)

    def place(x: float, y: float) -> tuple[float, float]:
        up = down.share(y) * (HEIGHT - 2 * MARGIN)
        return MARGIN + across.share(x) * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - up

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(WIDTH / 2, HEIGHT - 12, across.title, "middle"),
        _text(MARGIN, 24, down.title, "start"),
    ]
    for mark in across.marks:
        x, _ = place(mark, down.low)
        parts.append(f'<path d="M{x:.1f} {MARGIN}V{HEIGHT - MARGIN}" stroke="#ddd"/>')
        parts.append(_text(x, HEIGHT - MARGIN + 18, f"{mark:,.10g}", "middle"))
    for mark in down.marks:
        _, y = place(across.high, mark)
        parts.append(f'<path d="M{MARGIN} {y:.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>')
        parts.append(_text(MARGIN - 6, y + 4, f"{mark:g}", "end"))
    for number, ((name, points), color) in enumerate(zip(series.items(), colors, strict=True)):
        places = [place(*point) for point in sorted(points)]
        parts += _line(places, color)
        x, y = (WIDTH - MARGIN + 16, MARGIN + number * LEGEND_LINE) if legend else (places[-1][0], places[-1][1] - 10)
        parts.append(_text(x, y, name, "start" if legend else "end", color))
    return "\n".join([*parts, "</svg>", ""])


def _colors(count: int) -> list[str]:
    if count <= FEW:
        return ["#1f77b4", "#d62728", "#2ca02c"][:count]
    return [f"hsl({360 * number // count}, 70%, {35 + 15 * (number % 2)}%)" for number in range(count)]


def _line(places: Sequence[tuple[float, float]], color: str) -> Iterator[str]:
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{corners}" fill="none" stroke="{color}" stroke-width="2"/>'
    yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places)


def _text(x: float, y: float, text: str, anchor: str, color: str = "black") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'
