"""Plots a learning curve as a PNG file."""

from __future__ import annotations

from pathlib import Path

from tltool.evaluation.learning_curve import LearningCurve
from tltool.evaluation.plots.style import ACCENT, GRID, MUTED, figure_style
from tltool.storage.durable import replaced_file


def plot_learning_curve(path: Path, curve: LearningCurve) -> None:
    """Draw accuracy against training images, with 95 % intervals and the power law.

    Args:
        path: the PNG file; replaced if it exists.
        curve: the learning curve.

    Raises:
        OSError: the file cannot be written.
    """
    points = curve.points
    images = [point.images for point in points]
    accuracy = [point.accuracy for point in points]
    below = [point.accuracy - point.low for point in points]
    above = [point.high - point.accuracy for point in points]
    with figure_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.0, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.errorbar(
            images, accuracy, (below, above), fmt="o-", color=ACCENT, capsize=3, label="measured"
        )
        if curve.power_law is not None:
            floor, scale, exponent = curve.power_law
            images = [*images, 2 * curve.n]
            fitted = [1 - floor - scale * count**-exponent for count in images]
            axes.plot(images, fitted, "--", color=MUTED, label="power law, up to twice the images")
        axes.set_xscale("log")
        axes.set_xticks(images, [f"{count:,}" for count in images])
        axes.xaxis.set_minor_formatter(lambda *_: "")
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        axes.set_title("Learning curve of the linear probe", loc="left")
        axes.set_xlabel("training images")
        axes.set_ylabel("accuracy")
        axes.grid(axis="y", color=GRID)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9, loc="lower right")
        with replaced_file(path) as part:
            figure.savefig(part, dpi=130)
