"""The charts of a report: training curves, reliability diagram, risk-coverage curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tltool.evaluation.report.line_chart import Chart, Line, render_chart

Row = Mapping[str, Any]

_EPOCH_TICKS = 10
_DOTS_UP_TO = 60  # epochs; more dots would overlap
_QUARTERS = (0.0, 0.25, 0.5, 0.75)


def training_curves(history: Sequence[Row], best: int | None) -> list[Markup]:
    """Return charts of loss and accuracy over all epochs of all phases."""
    return [
        render_chart(_curve(history, best, key))
        for key in ("loss", "accuracy")
        if any(_value(row, f"val_{key}") is not None for row in history)
    ]


def reliability_diagram(metrics: Mapping[str, Any]) -> Markup:
    """Return accuracy against confidence, before and after temperature scaling."""
    after, before = metrics["reliability"], metrics["reliability_uncalibrated"]
    least = min(min(row["confidence"], row["accuracy"]) for row in (*after, *before))
    start = max(share for share in _QUARTERS if share <= least)
    lines = [Line("", "reference", [(start, start, ""), (1.0, 1.0, "")], dots=False)]
    if before != after:
        lines.append(Line("uncalibrated", "s2", _bins(before)))
    lines.append(Line("calibrated" if before != after else "model", "s1", _bins(after)))
    return render_chart(
        Chart(
            title="Reliability diagram",
            description=(
                "Reliability diagram: accuracy against confidence. Calibration error beyond chance "
                f"{metrics['ece']:.3f}, uncalibrated {metrics['ece_uncalibrated']:.3f}. The dashed "
                "line is perfect calibration."
            ),
            x=("confidence", [(x / 4, f"{25 * x} %") for x in range(int(4 * start), 5)]),
            y="accuracy",
            lines=lines,
            low=start,
            high=1.0,
            percent=True,
        )
    )


def risk_coverage_chart(metrics: Mapping[str, Any]) -> Markup:
    """Return the risk-coverage curves of selective prediction."""
    curves = metrics["selective"]["risk_coverage"]
    names = {"confidence": ("by confidence", "s1"), "ood_score": ("by OOD score", "s2")}
    lines = [
        Line(names[ranking][0], names[ranking][1], list(_risk(curve)), dots=False)
        for ranking, curve in curves.items()
    ]
    by_confidence = curves["confidence"]
    half = next(
        risk
        for coverage, risk in zip(by_confidence["coverage"], by_confidence["risk"], strict=True)
        if coverage >= 0.5
    )
    return render_chart(
        Chart(
            title="Error rate",
            description=(
                "Risk-coverage curve: error rate against coverage. The error rate is "
                f"{100 * half:.1f} % on the half of highest confidence and "
                f"{100 * by_confidence['risk'][-1]:.1f} % on all images."
            ),
            x=("coverage", [(x / 4, f"{25 * x} %") for x in range(5)]),
            y="error rate",
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
        for name, style, column in (
            ("training", "s2", key),
            ("validation", "s1", f"val_{key}"),
            ("calibrated", "s3", f"val_calibrated_{key}"),
        )
    ]
    rings = []
    description = f"training and validation {key} over {len(history)} epochs"
    value = None if best is None else _best_value(history[best], key)
    if best is not None and value is not None:
        row = history[best]
        rings = [(float(best), value, f"best epoch: {value:.4f}")]
        description += f"; best epoch: {row['phase']} {row['epoch']}, {value:.4f}"
    return Chart(
        title=key,
        description=description,
        x=("epoch of each phase", _epoch_ticks(history)),
        y=key,
        lines=[line for line in lines if line.points],
        rings=rings,
        dividers=_phases(history),
        percent=key == "accuracy",
    )


def _best_value(row: Row, key: str) -> float | None:
    calibrated = _value(row, f"val_calibrated_{key}")
    return _value(row, f"val_{key}") if calibrated is None else calibrated


def _points(history: Sequence[Row], column: str, name: str) -> Iterator[tuple[float, float, str]]:
    for number, row in enumerate(history):
        value = _value(row, column)
        if value is not None:
            yield float(number), value, f"{name}, {row['phase']} {row['epoch']}: {value:.4f}"


def _epoch_ticks(history: Sequence[Row]) -> list[tuple[float, str]]:
    every = max(1, -(-len(history) // _EPOCH_TICKS))
    return [(float(n), str(history[n]["epoch"])) for n in range(0, len(history), every)]


def _phases(history: Sequence[Row]) -> list[tuple[float, str]]:
    """Return the start of each phase but the first, half an epoch early, and its name."""
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
