"""Writes ``report.html``: one file that needs nothing from elsewhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tltool.data.splits.split import shown_path
from tltool.evaluation.report.advice import answer, confused_pairs, next_steps, percent
from tltool.evaluation.report.card import card
from tltool.evaluation.report.document import Report, Training
from tltool.evaluation.report.figures import calibration_chart, selective_chart, training_curves
from tltool.evaluation.report.gallery import (
    gallery_images,
    image_cards,
    large_card,
    pictures,
    worst_mistakes,
)
from tltool.evaluation.report.render import page_template
from tltool.evaluation.report.thumbnails import as_uri
from tltool.evaluation.report.trust import (
    after_heading,
    calibration_rows,
    describe_calibration,
    describe_selective,
)

_MATRIX_UP_TO = 40  # classes; beyond, only the most confused pairs are listed
_PAIRS, _ISSUES, _SUSPECTS = 15, 60, 24  # shown at most


def write_report(path: Path, report: Report) -> None:
    """Write the page.

    Args:
        path: the HTML file; replaced if it is there.
        report: what it says.

    Raises:
        OSError: the file cannot be written.
    """
    page = page_template("report.html.j2", percent=percent, figure=_figure)
    path.write_text(page.render(_content(report)), "utf-8", errors="backslashreplace")


def _content(report: Report) -> dict[str, Any]:
    metrics, training = report.metrics, report.training
    numbers = gallery_images(report.evaluated)
    cards = image_cards(report.evaluated, numbers)
    names = report.evaluated.photos.class_names
    return {
        "title": report.title,
        "metrics": metrics,
        "names": names,
        "answer": answer(metrics),
        "steps": next_steps(metrics, suspects=len(report.suspects)),
        "curves": _curves(training),
        "phases_told": _describe_phases(training),
        "kept": _kept(report),
        "matrix": _matrix(metrics) if len(names) <= _MATRIX_UP_TO else None,
        "pairs": confused_pairs(metrics)[:_PAIRS],
        "wrong": metrics["n"] - sum(row[n] for n, row in enumerate(metrics["confusion_matrix"])),
        "worst": [_worst(report, number) for number in worst_mistakes(report.evaluated)],
        "suspects": _suspects(report),
        "issues": _issues(report),
        "calibration": calibration_chart(metrics),
        "calibration_after": after_heading(metrics),
        "calibration_rows": calibration_rows(metrics),
        "describe_calibration": describe_calibration(metrics),
        "refusal": selective_chart(metrics),
        "describe_selective": describe_selective(metrics),
        "slices": _grouped(metrics["slices"]),
        "scale_from": _scale_from(metrics["slices"]),
        "training": training,
        "card": card(report),
        "script_data": _for_script({"names": names, "photos": cards}),
    }


def _curves(training: Training | None) -> list[Markup]:
    """Return the curves of a training; a probe alone is a point and has none."""
    if training is None or len(training.history) < 2:
        return []
    return training_curves(training.history, training.best)


def _describe_phases(training: Training | None) -> str:
    phases = list(dict.fromkeys(row["phase"] for row in training.history)) if training else []
    if len(phases) < 2:
        return ""
    probe = "; the first is the linear probe" if phases[0] == "probe" else ""
    return f"Phases are divided by dashed lines{probe}."


def _kept(report: Report) -> str:
    training = report.training
    if training is None or training.best is None:
        return ""
    row = training.history[training.best]
    return f"{row['phase']}, epoch {row['epoch']}"


def _matrix(metrics: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Return the cells with their share of the true class."""
    found = []
    for row in metrics["confusion_matrix"]:
        total = max(1, sum(row))
        found.append([{"count": count, "share": count / total} for count in row])
    return found


def _worst(report: Report, number: int) -> dict[str, Any]:
    evaluated = report.evaluated
    heat = report.heats.get(number)
    position = int(evaluated.photos.labels()[number])
    return {
        **large_card(evaluated, number),
        "truth": float(evaluated.probabilities[number, position]),
        "heat": None if heat is None else as_uri(heat, quality=78),
    }


def _suspects(report: Report) -> dict[str, Any]:
    root = report.evaluated.photos.root
    shown = report.suspects[:_SUSPECTS]
    sources = pictures([each.path for each in shown])
    return {
        "count": len(report.suspects),
        "more": len(report.suspects) - len(shown),
        "rows": [
            {"name": shown_path(each.path, root), "suspect": each, "source": source}
            for each, source in zip(shown, sources, strict=True)
        ],
    }


def _issues(report: Report) -> dict[str, Any]:
    issues, root = report.issues, report.evaluated.photos.root
    kinds: dict[str, int] = {}
    for issue in issues:
        kinds[issue.kind] = kinds.get(issue.kind, 0) + 1
    return {
        "kinds": sorted(kinds.items(), key=lambda pair: -pair[1]),
        "more": max(0, len(issues) - _ISSUES),
        "rows": [{"name": shown_path(each.path, root), "issue": each} for each in issues[:_ISSUES]],
    }


def _grouped(slices: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in slices:
        found.setdefault(row["by"], []).append(row)
    return found


def _scale_from(slices: Sequence[Mapping[str, Any]]) -> float:
    """Return where the bars of the slices begin: the tenth below the least bound."""
    least = min((row["accuracy"]["low"] for row in slices), default=0.0)
    return min(math.floor(10 * least) / 10, 0.9)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _for_script(document: Any) -> Markup:
    """Return JSON that can stand inside a ``<script>``: no name can end it."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
