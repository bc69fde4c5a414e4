"""The picture of a learning rate range test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool.evaluation.plots.plots import ACCENT, GRID, MUTED, WARM, figure_style
from tltool.training.lr_range_test import RangeTest

_HEADROOM = 1.6  # of the first loss; above it a diverging loss would flatten everything else


def plot_rates(path: Path, tests: Mapping[str, RangeTest], present: Mapping[str, float]) -> None:
    """Draw the loss of each phase over the learning rate, the suggestion and the recipe's rate.

    Args:
        path: the PNG file; replaced if it is there.
        tests: the range test of each phase, at least one.
        present: the recipe's rate of each phase.

    Raises:
        OSError: the file cannot be written.
    """
    with figure_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.5 * len(tests), 4.2), layout="constrained")
        panels = figure.subplots(1, len(tests), squeeze=False)[0]
        for axes, (name, test) in zip(panels, tests.items(), strict=True):
            _draw(axes, name, test, present[name])
        figure.savefig(path, dpi=130)


def _draw(axes: Any, name: str, test: RangeTest, present: float) -> None:
    axes.plot(test.rates, test.losses, ".", color=MUTED, markersize=3, alpha=0.6, label="each step")
    axes.plot(test.rates, test.smooth, color=ACCENT, linewidth=1.8, label="smoothed")
    axes.axvline(test.suggestion, color=WARM, linewidth=1.4, label=f"suggested: {test.suggestion}")
    axes.axvline(present, color=MUTED, linestyle="--", label=f"in the recipe: {present:g}")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:.0e}")
    axes.xaxis.set_minor_formatter(lambda *_: "")
    axes.set_ylim(0, _HEADROOM * max(test.smooth[0], min(test.smooth)))
    axes.set_title(f"{name} phase", loc="left")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss of a batch")
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower left")
