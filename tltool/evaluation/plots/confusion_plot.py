"""Plots a confusion matrix as a PNG file."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confusion_matrix import ConfusionMatrix
from tltool.evaluation.plots.style import GRID, figure_style, wide_fonts
from tltool.storage.durable import replaced_file

ALL_UP_TO = 100
"""Classes; with more, the plot shows those with the most errors, as its area grows with the square
of the classes."""
MOST_ERRORS = 40  # classes that are shown then
COUNTS_UP_TO = 20  # classes; with more, the counts do not fit into the cells
WRAP, WRAP_MANY = 26, 60  # characters of a class name per line; with many classes, one line
# Up to so many classes: minimum cell size in inches, font size of the labels in points.
CELL_SIZES = (
    (3, 0.95, 10.0),
    (8, 0.62, 10.0),
    (COUNTS_UP_TO, 0.42, 9.0),
    (60, 0.17, 6.5),
    (ALL_UP_TO, 0.125, 5.5),
)


def plot_confusion(
    path: Path,
    matrix: ConfusionMatrix | Sequence[Sequence[int]] | NDArray[np.integer[Any]],
    class_names: Sequence[str],
) -> None:
    """Draw a confusion matrix: colours are row-normalised, numbers are images.

    With more than ``ALL_UP_TO`` classes it shows the ``MOST_ERRORS`` classes with the most errors,
    and a last column for predictions of all other classes.

    Args:
        path: the PNG file; replaced if it exists.
        matrix: the counts, or int [C, C], rows are the true classes.
        class_names: the C names. A name that no installed font can draw is prefixed by its number.

    Raises:
        OSError: the file cannot be written.
    """
    every = matrix if isinstance(matrix, ConfusionMatrix) else ConfusionMatrix.from_dense(matrix)
    chosen = np.arange(every.classes) if every.classes <= ALL_UP_TO else _most_errors(every)
    whole = len(chosen) == every.classes
    counts = every.dense() if whole else every.of_classes(chosen)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # rows sum to 1
    with figure_style():
        from matplotlib.figure import Figure

        names = _legible([class_names[number] for number in chosen.tolist()])
        columns = names if whole else [*names, "all other classes"]
        lines = max(name.count("\n") + 1 for name in names)
        cell, font = _cell_size(len(names), lines=lines, digits=len(str(counts.max(initial=0))))
        width, height = len(columns) * cell, len(names) * cell
        figure = Figure(figsize=(width + 1.6, height + 1.2))
        axes = figure.add_axes((0.1, 0.1, width / (width + 1.6), height / (height + 1.2)))
        image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        _name_axes(axes, names, columns, font=font, flat=_fits_flat(columns, cell=cell, font=font))
        if not whole:
            title = f"{len(names)} of {every.classes:,} classes, those with the most errors"
            axes.set_title(title, loc="left")
        if len(names) <= COUNTS_UP_TO:
            _write_counts(axes, counts, share, font=font)
        _add_scale(figure, axes, image)
        dots = 130 if len(names) <= COUNTS_UP_TO else 160
        with replaced_file(path) as part:
            figure.savefig(part, dpi=dots, bbox_inches="tight", pad_inches=0.15)


def _most_errors(matrix: ConfusionMatrix) -> NDArray[np.int64]:
    """Return the numbers of the classes with the most errors, of either kind, in their order."""
    errors = matrix.support + matrix.predicted_as - 2 * matrix.hits
    return np.sort(np.argsort(-errors, kind="stable")[:MOST_ERRORS])


def _legible(class_names: Sequence[str]) -> list[str]:
    """Wrap long names, and prefix names without glyphs, drawn as empty boxes, by their number."""
    known, width = _known_characters(), WRAP if len(class_names) <= COUNTS_UP_TO else WRAP_MANY
    shown = []
    for index, name in enumerate(class_names):
        clean = " ".join(unicodedata.normalize("NFC", name).split())
        label = clean if {ord(c) for c in clean} <= known else f"#{index} {clean}"
        shown.append(_wrap(label, width) or f"#{index}")
    return shown


def _wrap(label: str, width: int) -> str:
    """Break after a space, "_", "-" or ".", and inside a word only if it is longer than a line."""
    lines = [""]
    for piece in re.findall(r"[^\s_.-]*[\s_.-]*", label):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(textwrap.fill(line.strip(), width) for line in lines)


def _known_characters() -> set[int]:
    from matplotlib.font_manager import FontProperties, fontManager, get_font

    families = ["DejaVu Sans", *wide_fonts()]
    files = [fontManager.findfont(FontProperties(family=family)) for family in families]
    return {code for file in files for code in get_font(file).get_charmap()}


def _cell_size(classes: int, *, lines: int, digits: int) -> tuple[float, float]:
    """Return the size of a cell in inches and the font size of its label in points."""
    floor, font = next(size for most, *size in CELL_SIZES if classes <= most)
    label = lines * font * 1.25 / 72  # a wrapped name is as high as its lines
    number = digits * font * 0.72 / 72 + 0.1 if classes <= COUNTS_UP_TO else 0.0
    return max(floor, label, number), font


def _fits_flat(names: Sequence[str], *, cell: float, font: float) -> bool:
    """Return whether every name fits below its column horizontally; a wide letter is 0.62 em."""
    longest = max(len(line) for name in names for line in name.split("\n"))
    return longest * font * 0.62 / 72 <= cell * 0.95


def _name_axes(
    axes: Any, names: Sequence[str], columns: Sequence[str], *, font: float, flat: bool
) -> None:
    axes.set_xticks(range(len(columns)), columns, fontsize=font, rotation=0 if flat else 90)
    axes.set_yticks(range(len(names)), names, fontsize=font)
    axes.set_xlabel("predicted", fontsize=11, labelpad=8)
    axes.set_ylabel("true", fontsize=11, labelpad=8)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
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
    """Add a thin colour bar of constant width beside the matrix."""
    box, width = axes.get_position(), figure.get_figwidth()
    place = (box.x1 + 0.15 / width, box.y0, 0.14 / width, box.height)
    scale = figure.colorbar(image, cax=figure.add_axes(place), ticks=[0, 0.5, 1])
    scale.ax.set_yticklabels(["0 %", "50 %", "100 %"], fontsize=9)
    scale.ax.set_ylabel("share of the true class", fontsize=9)
    scale.outline.set_visible(False)
