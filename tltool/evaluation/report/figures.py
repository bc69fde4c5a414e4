"""The charts of a report: training curves, calibration, what refusing to answer gains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tltool.evaluation.report.charts import Chart, Line, drawn

Row = Mapping[str, Any]

_EPOCH_TICKS = 10
_DOTS_UP_TO = 60  # epochs; more dots run into one another
_QUARTERS = (0.0, 0.25, 0.5, 0.75)


def training_curves(history: Sequence[Row], best: int | None) -> list[Markup]:
    """Return the charts of loss and accuracy over all epochs of all phases."""
    return [
        drawn(_curve(history, best, key))
        for key in ("loss", "accuracy")
        if any(_value(row, f"val_{key}") is not None for row in history)
    ]


def calibration_chart(metrics: Mapping[str, Any]) -> Markup:
    """Return accuracy against confidence, before and after the temperature."""
    after, before = metrics["reliability"], metrics["reliability_uncalibrated"]
    least = min(min(row["confidence"], row["accuracy"]) for row in (*after, *before))
    start = max(share for share in _QUARTERS if share <= least)
    lines = [Line("", "reference", [(start, start, ""), (1.0, 1.0, "")], dots=False)]
    if before != after:
        lines.append(Line("before", "s2", _bins(before)))
    lines.append(Line("calibrated" if before != after else "model", "s1", _bins(after)))
    return drawn(
        Chart(
            title="Accuracy by confidence",
            told=(
                f"Accuracy against confidence. Calibration error {metrics['ece']:.3f}, "
                f"before calibration {metrics['ece_uncalibrated']:.3f}. On the dashed line both "
                "are equal."
            ),
            x=("confidence", [(x / 4, f"{25 * x} %") for x in range(int(4 * start), 5)]),
            y="accuracy",
            lines=lines,
            low=start,
            high=1.0,
            percent=True,
        )
    )


def selective_chart(metrics: Mapping[str, Any]) -> Markup:
    """Return the share of wrong answers when only some images are answered."""
    curves = metrics["refusal"]["risk_coverage"]
    names = {"confidence": ("surest first", "s1"), "ood_score": ("most usual first", "s2")}
    lines = [
        Line(names[way][0], names[way][1], list(_risk(curve)), dots=False)
        for way, curve in curves.items()
    ]
    sure = curves["confidence"]
    half = next(
        risk
        for coverage, risk in zip(sure["coverage"], sure["risk"], strict=True)
        if coverage >= 0.5
    )
    return drawn(
        Chart(
            title="Wrong answers",
            told=(
                f"Share of wrong answers by share of images answered. Of the surest half "
                f"{100 * half:.1f} % are wrong, of all {100 * sure['risk'][-1]:.1f} %."
            ),
            x=("share of images answered", [(x / 4, f"{25 * x} %") for x in range(5)]),
            y="wrong",
            lines=lines,
            low=0.0,
            percent=True,
        )
    )


def _risk(curve: Mapping[str, Sequence[float]]) -> Iterator[tuple[float, float, str]]:
    for coverage, risk in zip(curve["coverage"], curve["risk"], strict=True):
        yield coverage, risk, ""


def _curve(history: Sequence[Row], best: int | None, key: str) -> Chart:
    dots = len(history) <= _DOTS_UP_TO
    lines = [
        Line(name, style, list(_points(history, column, name)), dots)
        for name, style, column in (("training", "s2", key), ("validation", "s1", f"val_{key}"))
    ]
    kept = None if best is None else _value(history[best], f"val_{key}")
    rings = [] if best is None or kept is None else [(float(best), kept, f"kept: {kept:.4f}")]
    told = f"{key} of training and validation over {len(history)} epochs"
    if best is not None and kept is not None:
        row = history[best]
        told += f"; the model kept, of {row['phase']} {row['epoch']}, has {kept:.4f}"
    return Chart(
        title=key,
        told=told,
        x=("epoch of each phase", _epoch_ticks(history)),
        y=key,
        lines=[line for line in lines if line.points],
        rings=rings,
        dividers=_phases(history),
        percent=key == "accuracy",
    )


def _points(history: Sequence[Row], column: str, name: str) -> Iterator[tuple[float, float, str]]:
    for number, row in enumerate(history):
        value = _value(row, column)
        if value is not None:
            yield float(number), value, f"{name}, {row['phase']} {row['epoch']}: {value:.4f}"


def _epoch_ticks(history: Sequence[Row]) -> list[tuple[float, str]]:
    every = max(1, -(-len(history) // _EPOCH_TICKS))
    return [(float(n), str(history[n]["epoch"])) for n in range(0, len(history), every)]


def _phases(history: Sequence[Row]) -> list[tuple[float, str]]:
    """Return where a phase begins, a little before its first epoch, and its name."""
    names = [str(row["phase"]) for row in history]
    starts = [n for n, name in enumerate(names) if n and name != names[n - 1]]
    return [(n - 0.5, names[n]) for n in starts]


def _value(row: Row, key: str) -> float | None:
    value = row.get(key)
    return None if value in (None, "") else float(value)


def _bins(bins: Sequence[Row]) -> list[tuple[float, float, str]]:
    return [
        (
            row["confidence"],
            row["accuracy"],
            f"{row['n']} images: confidence {row['confidence']:.3f}, "
            f"accuracy {row['accuracy']:.3f}",
        )
        for row in bins
    ]
