"""The words and the chart of a learning curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from tltool.evaluation.report.line_chart import Chart, Line, render_chart


def describe_gain(curve: Mapping[str, Any]) -> str:
    """Return what more labelled images would bring, a sentence.

    Args:
        curve: the document of ``LearningCurve.to_json``.
    """
    gain = curve["gain_with_twice_the_images"]
    if gain is None:
        last = curve["points"][-1]["accuracy"]
        return (
            "What more images would bring cannot be predicted: that needs two points, 100 images "
            "(or groups of images) and 5 errors. The error rate is at most "
            f"{100 * (1 - last['low']):.0f} % (95 % interval)."
        )
    value, low, high = (100 * gain[key] for key in ("value", "low", "high"))
    twice = f"{2 * curve['n']:,} instead of {curve['n']:,} images"
    if high < 0.5:
        return (
            f"More images like these would hardly help: {twice} would bring at most {high:.1f} "
            "points of accuracy (95 % interval), as extrapolated by a power law."
        )
    return (
        f"Twice the images ({twice}) would bring about {value:.1f} points of accuracy (95 % "
        f"interval {low:.1f} to {high:.1f}), as extrapolated by a power law."
    )


def learning_curve_chart(curve: Mapping[str, Any]) -> Markup:
    """Return accuracy against training images, with the bounds of the 95 % intervals.

    Args:
        curve: the document of ``LearningCurve.to_json``, with at least two points.
    """
    points = [(point["images"], point["accuracy"]) for point in curve["points"]]
    measured = [
        (
            float(images),
            accuracy["value"],
            f"{images:,} images: {accuracy['value']:.3f} "
            f"({accuracy['low']:.3f} to {accuracy['high']:.3f})",
        )
        for images, accuracy in points
    ]
    bounds = [
        Line("", "reference", [(float(images), row[end], "") for images, row in points], dots=False)
        for end in ("low", "high")
    ]
    first, last = points[0], points[-1]
    return render_chart(
        Chart(
            title="Accuracy",
            description=(
                f"Learning curve of the linear probe: accuracy {first[1]['value']:.3f} after "
                f"training on {first[0]:,} images, {last[1]['value']:.3f} on {last[0]:,}. Dashed "
                "lines are the bounds of the 95 % intervals."
            ),
            x=("training images", [(float(images), f"{images:,}") for images, _ in points]),
            y="accuracy",
            lines=[*bounds, Line("linear probe", "s1", measured)],
            percent=True,
        )
    )
