"""The pictures of an evaluation as PNG files. Matplotlib costs 1 s, so functions import it."""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ACCENT, MUTED, GRID, WARM = "#1f5fa8", "#6b7280", "#e5e7eb", "#c2570c"
COUNTS_UP_TO = 20  # classes; with more, the numbers no longer fit their cells
WRAP, WRAP_MANY = 26, 60  # characters of a class name per line; cells too small for two lines
# Classes at most, inches of a cell's side at least, points of its label.
CELL_SIZES = (
    (3, 0.95, 10.0),
    (8, 0.62, 10.0),
    (COUNTS_UP_TO, 0.42, 9.0),
    (60, 0.17, 6.5),
    (math.inf, 0.125, 5.5),
)
# Matplotlib ships DejaVu only; the first of these that the machine has draws what DejaVu cannot.
WIDE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
    "Arial Unicode MS",
    "Unifont",
)


def plot_confusion(
    path: Path,
    matrix: Sequence[Sequence[int]] | NDArray[np.integer[Any]],
    class_names: Sequence[str],
) -> None:
    """Draw a confusion matrix: colour is the share of the true class, numbers are images.

    Args:
        path: the PNG file; replaced if it is there.
        matrix: int [C, C], rows are the true classes.
        class_names: the C names. A name that no font can draw is preceded by its number.

    Raises:
        OSError: the file cannot be written.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # [C, C], rows sum to 1
    classes = len(class_names)
    with figure_style():
        from matplotlib.figure import Figure

        names = _legible(class_names)
        lines = max(name.count("\n") + 1 for name in names)
        cell, font = _cell_size(classes, lines=lines, digits=len(str(counts.max(initial=0))))
        figure = Figure(figsize=(classes * cell + 1.6, classes * cell + 1.2))
        side = (classes * cell / (classes * cell + 1.6), classes * cell / (classes * cell + 1.2))
        axes = figure.add_axes((0.1, 0.1, *side))
        image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        _name_axes(axes, names, font=font, flat=_fits_flat(names, cell=cell, font=font))
        if classes <= COUNTS_UP_TO:
            _write_counts(axes, counts, share, font=font)
        _add_scale(figure, axes, image)
        dots = 130 if classes <= COUNTS_UP_TO else 160
        figure.savefig(path, dpi=dots, bbox_inches="tight", pad_inches=0.15)


def plot_history(path: Path, rows: Sequence[Mapping[str, Any]], *, best: int | None = None) -> None:
    """Draw loss and accuracy of training and validation over all epochs of all phases.

    Args:
        path: the PNG file; replaced if it is there.
        rows: the rows of ``history.csv`` in order (phase, epoch, loss, accuracy, val_loss,
            val_accuracy); a value may be absent or ``None``.
        best: the row whose model was kept; without it, the one of lowest ``val_loss``.

    Raises:
        OSError: the file cannot be written.
    """
    mark = _lowest(rows, "val_loss") if best is None else best
    with figure_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 4.2), layout="constrained")
        for axes, key in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            _draw_curves(axes, rows, key)
            _mark_best(axes, rows, mark, key, name="best epoch" if best is None else "kept")
            _mark_phases(axes, rows)
        figure.savefig(path, dpi=130)


@contextmanager
def figure_style() -> Iterator[None]:
    """Set fonts and colours, and keep Matplotlib's remarks on missing glyphs off the terminal."""
    import matplotlib

    style: Any = {
        "font.family": ["DejaVu Sans", *_wide_fonts()],
        "text.parse_math": False,  # a class may be called "$5"
        "axes.edgecolor": MUTED,
        "axes.labelcolor": "#111827",
        "xtick.color": "#111827",
        "ytick.color": "#111827",
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(Glyph|Matplotlib currently)", append=False)
        yield


def _wide_fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {entry.name for entry in fontManager.ttflist}
    return [name for name in WIDE_FONTS if name in installed][:1]


def _legible(class_names: Sequence[str]) -> list[str]:
    """Wrap long names, and give those that would be drawn as empty boxes their number."""
    known, width = _known_characters(), WRAP if len(class_names) <= COUNTS_UP_TO else WRAP_MANY
    shown = []
    for index, name in enumerate(class_names):
        clean = " ".join(unicodedata.normalize("NFC", name).split())
        label = clean if {ord(c) for c in clean} <= known else f"#{index} {clean}"
        shown.append(_wrap(label, width) or f"#{index}")
    return shown


def _wrap(label: str, width: int) -> str:
    """Break after a blank, "_", "-" or ".", and inside a word only where it fills a line."""
    lines = [""]
    for piece in re.findall(r"[^\s_.-]*[\s_.-]*", label):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(textwrap.fill(line.strip(), width) for line in lines)


def _known_characters() -> set[int]:
    from matplotlib.font_manager import FontProperties, fontManager, get_font

    families = ["DejaVu Sans", *_wide_fonts()]
    files = [fontManager.findfont(FontProperties(family=family)) for family in families]
    return {code for file in files for code in get_font(file).get_charmap()}


def _cell_size(classes: int, *, lines: int, digits: int) -> tuple[float, float]:
    """Return the side of a cell in inches and the font size in points of its label."""
    floor, font = next(size for most, *size in CELL_SIZES if classes <= most)
    label = lines * font * 1.25 / 72  # a wrapped name stands as high as its lines
    number = digits * font * 0.72 / 72 + 0.1 if classes <= COUNTS_UP_TO else 0.0
    return max(floor, label, number), font


def _fits_flat(names: Sequence[str], *, cell: float, font: float) -> bool:
    """Say whether every name fits under its column unturned; 0.62 em is a wide DejaVu letter."""
    longest = max(len(line) for name in names for line in name.split("\n"))
    return longest * font * 0.62 / 72 <= cell * 0.95


def _name_axes(axes: Any, names: Sequence[str], *, font: float, flat: bool) -> None:
    places = range(len(names))
    axes.set_xticks(places, names, fontsize=font, rotation=0 if flat else 90)
    axes.set_yticks(places, names, fontsize=font)
    axes.set_xlabel("predicted", fontsize=11, labelpad=8)
    axes.set_ylabel("true", fontsize=11, labelpad=8)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.8 if len(names) <= COUNTS_UP_TO else 0.3)
    axes.tick_params(which="minor", length=0)


def _write_counts(axes: Any, counts: Any, share: Any, *, font: float) -> None:
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if share[row, column] > 0.55 else "#111827" if count else "#b6bcc6"
        axes.text(
            column, row, str(count), ha="center", va="center", color=colour, fontsize=font + 1
        )


def _add_scale(figure: Any, axes: Any, image: Any) -> None:
    """Add a thin colour scale of constant width beside the matrix."""
    box, width = axes.get_position(), figure.get_figwidth()
    place = (box.x1 + 0.15 / width, box.y0, 0.14 / width, box.height)
    scale = figure.colorbar(image, cax=figure.add_axes(place), ticks=[0, 0.5, 1])
    scale.ax.set_yticklabels(["0 %", "50 %", "100 %"], fontsize=9)
    scale.ax.set_ylabel("share of the true class", fontsize=9)
    scale.outline.set_visible(False)


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    """Return column ``key`` as float64 [rows], NaN where there is no value."""
    values = [row.get(key) for row in rows]
    return np.array([np.nan if value in (None, "") else float(value) for value in values])


def _lowest(rows: Sequence[Mapping[str, Any]], key: str) -> int | None:
    values = _series(rows, key)
    return int(np.nanargmin(values)) if np.isfinite(values).any() else None


def _draw_curves(axes: Any, rows: Sequence[Mapping[str, Any]], key: str) -> None:
    steps = np.arange(len(rows))
    small = {"marker": "o", "markersize": 3.5 if len(rows) <= 40 else 0, "linewidth": 1.6}
    for name, column, colour in (("training", key, WARM), ("validation", f"val_{key}", ACCENT)):
        values = _series(rows, column)
        there = np.isfinite(values)
        if there.any():
            axes.plot(steps[there], values[there], color=colour, label=name, **small)
    axes.set_title(key, loc="left", pad=20)
    axes.set_xlabel("epoch")
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _mark_best(
    axes: Any, rows: Sequence[Mapping[str, Any]], mark: int | None, key: str, *, name: str
) -> None:
    value = np.nan if mark is None else _series(rows, f"val_{key}")[mark]
    if np.isfinite(value):
        ring = {
            "marker": "o",
            "markersize": 11,
            "fillstyle": "none",
            "linestyle": "none",
            "clip_on": False,
        }
        text = f"{name}: {value:.3f}"
        axes.plot([mark], [value], color=ACCENT, markeredgewidth=1.8, label=text, **ring)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, loc="best")


def _mark_phases(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Separate the phases by lines, name each above its part, number epochs within it."""
    phases = [str(row.get("phase", "")) for row in rows]
    starts = [i for i, phase in enumerate(phases) if i == 0 or phase != phases[i - 1]]
    ends = [*starts[1:], len(rows)][: len(starts)]
    for start, end in zip(starts, ends, strict=True):
        if start:
            axes.axvline(start - 0.5, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
        axes.text((start + end - 1) / 2, 1.02, phases[start], color=MUTED, fontsize=9, **place)
    every = max(1, -(-len(rows) // 16))
    places = range(0, len(rows), every)
    axes.set_xticks(places, [str(rows[i].get("epoch", i)) for i in places])
    axes.set_xlim(-0.5, max(len(rows), 2) - 0.5)
