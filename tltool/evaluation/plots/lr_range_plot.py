"""Plots a learning rate range test as a PNG file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool.evaluation.plots.style import ACCENT, GRID, MUTED, WARM, figure_style
from tltool.storage.durable import replaced_file
from tltool.training.lr_range_test import RangeTest

_HEADROOM = 1.6  # times the first loss; a diverging loss would flatten the rest of the curve


def plot_range_tests(
    path: Path, tests: Mapping[str, RangeTest], recipe_rates: Mapping[str, float]
) -> None:
    """Draw the loss of each phase against the learning rate, with the suggested learning rate.

    Args:
        path: the PNG file; replaced if it exists.
        tests: the range test of each phase, at least one.
        recipe_rates: the learning rate of each phase in the recipe, also drawn.

    Raises:
        OSError: the file cannot be written.
    """
    with figure_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.5 * len(tests), 4.2), layout="constrained")
        panels = figure.subplots(1, len(tests), squeeze=False)[0]
        for axes, (name, test) in zip(panels, tests.items(), strict=True):
            _draw(axes, name, test, recipe_rates[name])
        with replaced_file(path) as part:
            figure.savefig(part, dpi=130)


def _draw(axes: Any, name: str, test: RangeTest, recipe_rate: float) -> None:
    axes.plot(test.rates, test.losses, ".", color=MUTED, markersize=3, alpha=0.6, label="each step")
    axes.plot(test.rates, test.smooth, color=ACCENT, linewidth=1.8, label="smoothed")
    axes.axvline(test.suggestion, color=WARM, linewidth=1.4, label=f"suggested: {test.suggestion}")
    axes.axvline(recipe_rate, color=MUTED, linestyle="--", label=f"in the recipe: {recipe_rate:g}")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:.0e}")
    axes.xaxis.set_minor_formatter(lambda *_: "")
    axes.set_ylim(0, _HEADROOM * max(test.smooth[0], min(test.smooth)))
    axes.set_title(f"{name} phase", loc="left")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("batch loss")
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower left")
