"""Line charts as inline SVG, which follow the colours of the page: light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 430, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 24, 48, 42  # room for 97.25 % and 0.0125 on the left
_LEAST_RANGE = 1e-9  # of an axis
_AROUND = 0.05  # a constant
_OVER = 16  # from the plot up to the name of a phase, clear of a ring of radius 8 at the edge


@dataclass(frozen=True)
class Line:
    """One line of a chart; its colour is a CSS class of the page.

    Attributes:
        name: in the legend; "" for no entry.
        style: CSS class: ``s1``, ``s2``, ``s3`` or ``reference``.
        points: (x, y, tooltip).
        dots: whether the points are marked.
    """

    name: str
    style: str
    points: Sequence[tuple[float, float, str]]
    dots: bool = True


@dataclass(frozen=True)
class Chart:
    """A line chart.

    Attributes:
        title: of the chart.
        description: text alternative for screen readers: what the chart shows.
        x: name of the horizontal axis, and its ticks as (value, text).
        y: name of the vertical axis.
        lines: what is drawn.
        low: least y, None for the minimum of the points.
        high: greatest y, None for the maximum of the points.
        rings: highlighted points, as (x, y, tooltip).
        dividers: positions on x of vertical lines, each with the name of the part to its right.
        percent: whether y is a share, shown in percent.
    """

    title: str
    description: str
    x: tuple[str, Sequence[tuple[float, str]]]
    y: str
    lines: Sequence[Line]
    low: float | None = None
    high: float | None = None
    rings: Sequence[tuple[float, float, str]] = ()
    dividers: Sequence[tuple[float, str]] = ()
    percent: bool = False


def render_chart(chart: Chart) -> Markup:
    """Return the chart as an ``<svg>`` element."""
    points = [point for line in chart.lines for point in line.points]
    xs = [point[0] for point in points] + [value for value, _ in chart.x[1]]
    ys = [point[1] for point in points] or [0.0, 1.0]
    ticks = nice_ticks(*_range(chart, ys))
    frame = _Frame(min(xs), max(xs), ticks[0], ticks[-1])
    parts = [
        _axes(chart, frame, ticks),
        *(_divider(position, name, frame) for position, name in chart.dividers),
        *(_line(line, frame) for line in chart.lines),
        *(_ring(ring, frame) for ring in chart.rings),
        _legend(chart.lines),
    ]
    head = Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" '
        'preserveAspectRatio="xMidYMid meet">'
    ).format(_WIDTH, _HEIGHT, chart.description)
    return head + Markup("").join(parts) + Markup("</svg>")


def _range(chart: Chart, ys: Sequence[float]) -> tuple[float, float]:
    """Return the least and the greatest y of the axis, which differ; a share is in 0 to 1."""
    low = min(ys) if chart.low is None else chart.low
    high = max(ys) if chart.high is None else chart.high
    if high - low < _LEAST_RANGE:
        low, high = low - _AROUND if chart.low is None else low, high + _AROUND
        if chart.percent:
            low, high = max(low, 0.0), min(high, 1.0)
    return low, high


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers whose range contains ``low`` to ``high`` above it."""
    raw = (high - low) / (count - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * number, 10) for number in range(first, last + 1)]


@dataclass(frozen=True)
class _Frame:
    """Ranges of the axes; converts values to SVG coordinates."""

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
    name, x_ticks = chart.x
    parts = []
    for tick in ticks:
        text = f"{tick * 100:g} %" if chart.percent else f"{tick:g}"
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
                text,
            )
        )
    parts += [
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            frame.x(value), _HEIGHT - _BOTTOM + 16, text
        )
        for value, text in x_ticks
    ]
    parts.append(
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, name
        )
    )
    parts.append(Markup('<text class="what" x="0" y="14">{}</text>').format(chart.title))
    return Markup("").join(parts)


def _divider(position: float, name: str, frame: _Frame) -> Markup:
    x, top = frame.x(position), _TOP - _OVER
    return Markup(
        '<line class="divider" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
        '<text class="phase" x="{3}" y="{4}">{5}</text>'
    ).format(x, top, _HEIGHT - _BOTTOM, x + 3, top + 3, name)


def _line(line: Line, frame: _Frame) -> Markup:
    points = [(frame.x(x), frame.y(y), tooltip) for x, y, tooltip in line.points]
    path = " ".join(f"{x},{y}" for x, y, _ in points)
    drawn = Markup('<polyline class="{}" points="{}"/>').format(line.style, path)
    if line.dots:
        dot = Markup('<circle class="{}" cx="{}" cy="{}" r="3"><title>{}</title></circle>')
        drawn += Markup("").join(dot.format(line.style, *point) for point in points)
    return drawn


def _ring(ring: tuple[float, float, str], frame: _Frame) -> Markup:
    x, y, tooltip = ring
    return Markup('<circle class="ring" cx="{}" cy="{}" r="8"><title>{}</title></circle>').format(
        frame.x(x), frame.y(y), tooltip
    )


def _legend(lines: Sequence[Line]) -> Markup:
    """Return the legend, right-aligned beside the title."""
    named = [line for line in lines if line.name]
    x, parts = float(_WIDTH - _RIGHT), []
    for line in reversed(named):
        x -= 7.4 * len(line.name) + 24
        parts.append(
            Markup(
                '<line class="{0}" x1="{1}" x2="{2}" y1="10" y2="10"/>'
                '<text x="{3}" y="14">{4}</text>'
            ).format(
                line.style,
                round(x, 1),
                round(x + 14, 1),
                round(x + 18, 1),
                escape(line.name),
            )
        )
    return Markup("").join(parts)
