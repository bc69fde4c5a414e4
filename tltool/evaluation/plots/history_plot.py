"""Plots the training curves of a run, ``history.png``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.plots.style import ACCENT, GRID, MUTED, THIRD, WARM, figure_style
from tltool.storage.durable import replaced_file


def plot_history(path: Path, rows: Sequence[Mapping[str, Any]], *, best: int | None = None) -> None:
    """Draw training and validation loss and accuracy over all epochs of all phases.

    Args:
        path: the PNG file; replaced if it exists.
        rows: the rows of ``history.csv`` in order (phase, epoch, loss, accuracy, val_loss,
            val_calibrated_loss, val_accuracy); a value may be missing or ``None``.
        best: index of the best epoch's row; by default the one of lowest ``val_loss``.

    Raises:
        OSError: the file cannot be written.
    """
    mark = _lowest(rows, "val_loss") if best is None else best
    with figure_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 4.2), layout="constrained")
        for axes, key in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            _draw_curves(axes, rows, key)
            _mark_best(axes, rows, mark, key, name="lowest loss" if best is None else "best epoch")
            _mark_phases(axes, rows)
        with replaced_file(path) as part:
            figure.savefig(part, dpi=130)


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    """Return column ``key`` as float64 [rows], NaN where a value is missing."""
    values = [row.get(key) for row in rows]
    return np.array([np.nan if value in (None, "") else float(value) for value in values])


def _lowest(rows: Sequence[Mapping[str, Any]], key: str) -> int | None:
    values = _series(rows, key)
    return int(np.nanargmin(values)) if np.isfinite(values).any() else None


def _draw_curves(axes: Any, rows: Sequence[Mapping[str, Any]], key: str) -> None:
    steps = np.arange(len(rows))
    small = {"marker": "o", "markersize": 3.5 if len(rows) <= 40 else 0, "linewidth": 1.6}
    for name, column, colour in (
        ("training", key, WARM),
        ("validation", f"val_{key}", ACCENT),
        ("validation, calibrated", f"val_calibrated_{key}", THIRD),
    ):
        values = _series(rows, column)
        known = np.isfinite(values)
        if known.any():
            axes.plot(steps[known], values[known], color=colour, label=name, **small)
    axes.set_title(key, loc="left", pad=20)
    axes.set_xlabel("epoch")
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _mark_best(
    axes: Any, rows: Sequence[Mapping[str, Any]], mark: int | None, key: str, *, name: str
) -> None:
    columns = (f"val_calibrated_{key}", f"val_{key}")
    known = [_series(rows, column)[mark] for column in columns if mark is not None]
    value = next((each for each in known if np.isfinite(each)), np.nan)
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
    """Separate the phases by dashed lines with their names above, and number the epochs."""
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
