"""Line charts as SVG inside of the page: they follow its colours, in light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 430, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 24, 48, 42  # room for 97.25 % and 0.0125 at the left
_OVER = 16  # from the plot up to the name of a phase; the ring of a point on the edge is 8 high


@dataclass(frozen=True)
class Line:
    """One line of a chart: its colour is a class of the page's style, ``s1`` to ``s3``.

    Attributes:
        name: in the legend; "" leaves it out there.
        style: ``s1``, ``s2``, ``s3`` or ``reference``.
        points: (x, y), each with what a pointer over it shows.
        dots: whether the points are marked.
    """

    name: str
    style: str
    points: Sequence[tuple[float, float, str]]
    dots: bool = True


@dataclass(frozen=True)
class Chart:
    """A chart of lines over one another.

    Attributes:
        title: what it shows; read aloud by screen readers.
        told: the same with what it says, for those who cannot see it.
        x: name of the horizontal axis, and its ticks as (value, text).
        y: name of the vertical axis.
        lines: what is drawn.
        low: least y, None to take that of the points.
        high: greatest y.
        rings: points that are ringed, as (x, y, text).
        dividers: places on x with a vertical line, and the name of what is right of it.
        percent: whether y is a share.
    """

    title: str
    told: str
    x: tuple[str, Sequence[tuple[float, str]]]
    y: str
    lines: Sequence[Line]
    low: float | None = None
    high: float | None = None
    rings: Sequence[tuple[float, float, str]] = ()
    dividers: Sequence[tuple[float, str]] = ()
    percent: bool = False


def drawn(chart: Chart) -> Markup:
    """Return the chart as an ``<svg>`` element."""
    points = [point for line in chart.lines for point in line.points]
    xs = [point[0] for point in points] + [value for value, _ in chart.x[1]]
    ys = [point[1] for point in points] or [0.0, 1.0]
    ticks = nice_ticks(
        min(ys) if chart.low is None else chart.low, max(ys) if chart.high is None else chart.high
    )
    frame = _Frame(min(xs), max(xs), ticks[0], ticks[-1])
    parts = [
        _axes(chart, frame, ticks),
        *(_divider(place, name, frame) for place, name in chart.dividers),
        *(_line(line, frame) for line in chart.lines),
        *(_ring(ring, frame) for ring in chart.rings),
        _legend(chart.lines),
    ]
    head = Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" '
        'preserveAspectRatio="xMidYMid meet">'
    ).format(_WIDTH, _HEIGHT, chart.told)
    return head + Markup("").join(parts) + Markup("</svg>")


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers that hold ``low`` to ``high`` between them."""
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    raw = (high - low) / (count - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * number, 10) for number in range(first, last + 1)]


@dataclass(frozen=True)
class _Frame:
    """Where the axes lie."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        span = (self.x1 - self.x0) or 1.0
        return round(_LEFT + (value - self.x0) / span * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        span = (self.y1 - self.y0) or 1.0
        return round(_HEIGHT - _BOTTOM - (value - self.y0) / span * (_HEIGHT - _TOP - _BOTTOM), 1)


def _axes(chart: Chart, frame: _Frame, ticks: Sequence[float]) -> Markup:
    name, places = chart.x
    parts = []
    for tick in ticks:
        told = f"{tick * 100:g} %" if chart.percent else f"{tick:g}"
        parts.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<text x="{}" y="{}" text-anchor="end">{}</text>'
            ).format(
                _LEFT,
                _WIDTH - _RIGHT,
                frame.y(tick),
                frame.y(tick),
                _LEFT - 6,
                frame.y(tick) + 4,
                told,
            )
        )
    parts += [
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            frame.x(value), _HEIGHT - _BOTTOM + 16, text
        )
        for value, text in places
    ]
    parts.append(
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, name
        )
    )
    parts.append(Markup('<text class="what" x="0" y="14">{}</text>').format(chart.title))
    return Markup("").join(parts)


def _divider(place: float, name: str, frame: _Frame) -> Markup:
    x, top = frame.x(place), _TOP - _OVER
    return Markup(
        '<line class="divider" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
        '<text class="phase" x="{3}" y="{4}">{5}</text>'
    ).format(x, top, _HEIGHT - _BOTTOM, x + 3, top + 3, name)


def _line(line: Line, frame: _Frame) -> Markup:
    places = [(frame.x(x), frame.y(y), told) for x, y, told in line.points]
    path = " ".join(f"{x},{y}" for x, y, _ in places)
    found = Markup('<polyline class="{}" points="{}"/>').format(line.style, path)
    if line.dots:
        dot = Markup('<circle class="{}" cx="{}" cy="{}" r="3"><title>{}</title></circle>')
        found += Markup("").join(dot.format(line.style, x, y, told) for x, y, told in places)
    return found


def _ring(ring: tuple[float, float, str], frame: _Frame) -> Markup:
    x, y, told = ring
    return Markup('<circle class="ring" cx="{}" cy="{}" r="8"><title>{}</title></circle>').format(
        frame.x(x), frame.y(y), told
    )


def _legend(lines: Sequence[Line]) -> Markup:
    """Return names with their colours, right-aligned beside the title."""
    named = [line for line in lines if line.name]
    place, parts = float(_WIDTH - _RIGHT), []
    for line in reversed(named):
        place -= 6.8 * len(line.name) + 24
        parts.append(
            Markup(
                '<line class="{0}" x1="{1}" x2="{2}" y1="10" y2="10"/>'
                '<text x="{3}" y="14">{4}</text>'
            ).format(
                line.style,
                round(place, 1),
                round(place + 14, 1),
                round(place + 18, 1),
                escape(line.name),
            )
        )
    return Markup("").join(parts)
