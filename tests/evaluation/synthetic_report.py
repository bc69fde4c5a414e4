"""A synthetic report: random images and invented predictions, for tests of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import picture, write_photos
from tltool.data.audit.audit import Issue
from tltool.data.catalog import Catalog, Item
from tltool.evaluation.metrics.asserts import evaluate_asserts
from tltool.evaluation.metrics.baselines import compute_baselines
from tltool.evaluation.metrics.evaluate_predictions import evaluate_predictions
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions
from tltool.evaluation.report.content import LabelErrorExample, Report, Training


def row(phase: str, epoch: int, *values: float | None) -> dict[str, Any]:
    """Return a row of the history."""
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return {"phase": phase, "epoch": epoch, **dict(zip(names, values, strict=True))}


HISTORY = (
    row("probe", 0, None, None, 0.40, 0.85),
    row("head", 1, 0.50, 0.80, 0.30, 0.90),
    row("head", 2, 0.30, 0.90, 0.35, 0.88),
)


def labelled_predictions(
    root: Path, names: Sequence[str], *, n: int = 8, wrong: int = 3
) -> LabelledPredictions:
    """Return predictions for ``n`` images per class; the first ``wrong`` are misclassified."""
    write_photos(root, classes=names, n=n, size=(64, 48))
    paths = [(name, path) for name in sorted(names) for path in sorted((root / name).iterdir())]
    items = [
        Item(path, name, width=64, height=48, format="jpeg", brightness=float(number))
        for number, (name, path) in enumerate(paths)
    ]
    images = Catalog(root, tuple(items), tuple(sorted(names)))
    labels, classes = images.labels(), len(names)
    predicted = np.where(np.arange(len(labels)) < wrong, (labels + 1) % classes, labels)
    confidence = 0.6 + 0.3 * np.arange(len(labels))[:, np.newaxis] / len(labels)
    rest = (1 - confidence) / (classes - 1)
    probabilities = np.where(np.eye(classes)[predicted] > 0, confidence, rest)
    sharper = probabilities**1.5
    return LabelledPredictions(
        "validation",
        images,
        probabilities,
        sharper / sharper.sum(axis=1, keepdims=True),
        split="validation",
    )


def report_on(
    predictions: LabelledPredictions, *, asserts: Sequence[str] = (), **content: Any
) -> Report:
    """Return a report on ``predictions``; ``content`` are attributes of ``Report``."""
    metrics = {
        **evaluate_predictions(predictions),
        "baselines": compute_baselines(predictions.images),
    }
    metrics["asserts"] = evaluate_asserts(asserts, metrics, strict=False)
    return Report(title="fruit", predictions=predictions, metrics=metrics, **content)


def full_report(root: Path, names: Sequence[str], **options: Any) -> Report:
    """Return a report with every section."""
    predictions = labelled_predictions(root, names, **options)
    manifest = {
        "seed": 0,
        "device": "CPU",
        "data_digest": "ab" * 32,
        "weights": {"source": "random"},
        "augmentation": {"policy": "light", "why": "few images", "changes": "flip horizontal"},
    }
    counts = {"train": dict.fromkeys(predictions.images.class_names, 9)}
    path = predictions.images.items[0].path
    report = report_on(
        predictions,
        asserts=("accuracy>=0.999", "ece<=1"),
        label_errors=[LabelErrorExample(path, "apple", "plum", 0.97)] * 6,
        issues=(Issue(path, "wrong extension", "it is a PNG file", bad=False),),
        training=Training(HISTORY, 1, "name: fruit\n", manifest, counts, "runs/fruit"),
        heat_maps={0: picture(1), 1: picture(2)},
    )
    chance = {"mean": 1.4, "high": 4.0}
    found = {"n": 24, "issues": 6, "by_chance": chance, "above_chance": True}
    return replace(report, metrics={**report.metrics, "label_errors": found})
