"""Writes ``report.html``, the report of an evaluation: one self-contained HTML file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tltool.data.splits.split import shown_path
from tltool.evaluation.report.advice import (
    describe_cross_validation,
    next_steps,
    summary_sentence,
)
from tltool.evaluation.report.backbone_text import describe_backbone_choice
from tltool.evaluation.report.calibration_text import (
    calibrated_heading,
    calibration_rows,
    describe_calibration,
    describe_selective,
)
from tltool.evaluation.report.charts import (
    reliability_diagram,
    risk_coverage_chart,
    training_curves,
)
from tltool.evaluation.report.content import Report, Training
from tltool.evaluation.report.gallery import (
    gallery_images,
    image_cards,
    large_card,
    thumbnail_uris,
    worst_errors,
)
from tltool.evaluation.report.learning_curve_text import describe_gain, learning_curve_chart
from tltool.evaluation.report.model_card import model_card
from tltool.evaluation.report.refit_text import before_refit, describe_refit
from tltool.evaluation.report.render import page_template
from tltool.evaluation.report.text_tables import (
    describe_probe_comparison,
    describe_sample,
    describe_stop,
    format_number,
    percent,
    worst_classes,
)
from tltool.evaluation.report.thumbnails import data_uri
from tltool.storage.durable import write_durably

_MATRIX_UP_TO = 40  # classes; with more, the most frequent confusions are listed instead
_MOST_CLASSES = 200
_MOST_PAIRS, _MOST_ISSUES, _MOST_LABEL_ERRORS = 15, 60, 24


def write_report(path: Path, report: Report) -> None:
    """Write the page.

    Args:
        path: the HTML file; replaced if it exists.
        report: the content.

    Raises:
        OSError: the file cannot be written.
    """
    page = page_template("report.html.j2", percent=percent, number=format_number)
    write_durably(path, page.render(_content(report)).encode(errors="backslashreplace"))


def _content(report: Report) -> dict[str, Any]:
    metrics, training = report.metrics, report.training
    numbers = gallery_images(report.predictions)
    cards = image_cards(report.predictions, numbers)
    names = report.predictions.images.class_names
    return {
        "title": report.title,
        "test_set": report.test_set,
        "refit_text": describe_refit(metrics),
        "stop_text": describe_stop(metrics),
        "backbone_text": describe_backbone_choice(_manifest(report)),
        "metrics": metrics,
        "names": names,
        "sample": _sample(metrics),
        "estimate": describe_cross_validation(metrics),
        "summary": summary_sentence(metrics),
        "steps": next_steps(metrics),
        "probe_text": describe_probe_comparison(metrics),
        "curves": _curves(training),
        **_learning_curve(metrics),
        "phases_text": _describe_phases(training),
        "best_epoch": _best_epoch(training),
        "matrix": _matrix(metrics) if len(names) <= _MATRIX_UP_TO else None,
        "pairs": _pairs(metrics, names),
        "errors": metrics["n"] - sum(row["correct"] for row in metrics["per_class"]),
        "class_rows": worst_classes(metrics, _MOST_CLASSES),
        "worst": [_worst_error(report, number) for number in worst_errors(report.predictions)],
        "label_errors": _label_errors(report),
        "issues": _issues(report),
        "reliability_diagram": reliability_diagram(metrics),
        "calibrated_heading": calibrated_heading(metrics),
        "calibration_rows": calibration_rows(metrics),
        "calibration_text": describe_calibration(metrics),
        "risk_coverage_chart": risk_coverage_chart(metrics),
        "selective_text": describe_selective(metrics),
        "slices": _grouped(metrics["slices"]),
        "scale_from": _scale_from(metrics["slices"]),
        "training": training,
        "model_card": model_card(report),
        "script_data": _for_script({"names": names, "images": cards}),
    }


def _manifest(report: Report) -> Mapping[str, Any]:
    return (report.training.manifest if report.training else report.manifest) or {}


def _sample(metrics: Mapping[str, Any]) -> str:
    text = describe_sample(metrics)
    return text if "images" in text else f"{text} images"


def _curves(training: Training | None) -> list[Markup]:
    """Return the training curves; none for a single point, such as that of a probe alone."""
    rows = before_refit(training.history) if training else []
    return training_curves(rows, training.best) if training and len(rows) > 1 else []


def _learning_curve(metrics: Mapping[str, Any]) -> dict[str, Any]:
    curve = metrics.get("learning_curve")
    if not curve or len(curve["points"]) < 2:
        return {"learning_curve": None}
    return {"learning_curve": learning_curve_chart(curve), "gain_text": describe_gain(curve)}


def _describe_phases(training: Training | None) -> str:
    rows = before_refit(training.history) if training else []
    phases = list(dict.fromkeys(row["phase"] for row in rows))
    if len(phases) < 2:
        return ""
    probe = "; the first point is the linear probe" if phases[0] == "probe" else ""
    calibrated = ""
    if training and any("val_calibrated_loss" in row for row in training.history):
        calibrated = " Calibrated: the validation loss after temperature scaling."
    return f"Dashed lines separate the phases{probe}.{calibrated}"


def _best_epoch(training: Training | None) -> str:
    if training is None or training.best is None:
        return ""
    row = training.history[training.best]
    if row["phase"] == "probe":
        return "the linear probe"
    return f"the best epoch ({row['phase']}, epoch {row['epoch']})"


def _matrix(metrics: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Return the cells with their row-normalised share."""
    rows = []
    for row in metrics["confusion_matrix"]:
        total = max(1, sum(row))
        rows.append([{"count": count, "share": count / total} for count in row])
    return rows


def _pairs(metrics: Mapping[str, Any], names: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return (true class, predicted class, images) of the most frequent errors."""
    number = {name: position for position, name in enumerate(names)}
    return [
        (number[row["true"]], number[row["predicted"]], row["n"])
        for row in metrics["confusions"][:_MOST_PAIRS]
    ]


def _worst_error(report: Report, number: int) -> dict[str, Any]:
    predictions, heat_map = report.predictions, report.heat_maps.get(number)
    label = int(predictions.images.labels()[number])
    return {
        **large_card(predictions, number),
        "true_probability": float(predictions.probabilities[number, label]),
        "heat_map": None if heat_map is None else data_uri(heat_map, quality=78),
    }


def _label_errors(report: Report) -> dict[str, Any]:
    root = report.predictions.images.root
    shown = report.label_errors[:_MOST_LABEL_ERRORS]
    sources = thumbnail_uris([each.path for each in shown])
    return {
        "count": len(report.label_errors),
        "by_chance": _by_chance(report.metrics),
        "more": len(report.label_errors) - len(shown),
        "rows": [
            {"name": shown_path(each.path, root), "error": each, "source": source}
            for each, source in zip(shown, sources, strict=True)
        ],
    }


def _by_chance(metrics: Mapping[str, Any]) -> str:
    """Return how many label issues chance gives; empty if unknown."""
    found = metrics.get("label_errors")
    if not found or not found.get("by_chance"):
        return ""
    chance = found["by_chance"]
    text = f"{chance['mean']:,.0f} are expected if every label were right"
    if found["above_chance"]:
        return f"{text}."
    return f"{text}, and up to {chance['high']:,.0f} by chance: probably most of them are right."


def _issues(report: Report) -> dict[str, Any]:
    issues, root = report.issues, report.predictions.images.root
    kinds: dict[str, int] = {}
    for issue in issues:
        kinds[issue.kind] = kinds.get(issue.kind, 0) + 1
    return {
        "kinds": sorted(kinds.items(), key=lambda pair: -pair[1]),
        "more": max(0, len(issues) - _MOST_ISSUES),
        "rows": [
            {"name": shown_path(each.path, root), "issue": each} for each in issues[:_MOST_ISSUES]
        ],
    }


def _grouped(slices: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in slices:
        groups.setdefault(row["by"], []).append(row)
    return groups


def _scale_from(slices: Sequence[Mapping[str, Any]]) -> float:
    """Return where the scale of the slices starts: the tenth below the least lower bound."""
    least = min((row["accuracy"]["low"] for row in slices), default=0.0)
    return min(math.floor(10 * least) / 10, 0.9)


def _for_script(document: Any) -> Markup:
    """Return JSON that is safe inside a ``<script>`` element, whatever the class names are."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
