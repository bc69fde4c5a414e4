"""A report of small pictures with made-up answers, for tests of the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import picture, write_photos
from tltool.data.audit.audit import Issue
from tltool.data.catalog import Catalog, Item
from tltool.evaluation.metrics.asserts import checked
from tltool.evaluation.metrics.baselines import baselines
from tltool.evaluation.metrics.evaluate_predictions import measured
from tltool.evaluation.metrics.predictions import LabelledPredictions
from tltool.evaluation.report.document import Report, SuspectedLabel, Training


def row(phase: str, epoch: int, *values: float | None) -> dict[str, Any]:
    """Return a row of the history."""
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return {"phase": phase, "epoch": epoch, **dict(zip(names, values, strict=True))}


HISTORY = (
    row("probe", 0, None, None, 0.40, 0.85),
    row("head", 1, 0.50, 0.80, 0.30, 0.90),
    row("head", 2, 0.30, 0.90, 0.35, 0.88),
)


def evaluated(
    root: Path, names: Sequence[str], *, n: int = 8, wrong: int = 3
) -> LabelledPredictions:
    """Return answers to ``n`` new images of each class, ``wrong`` in all named the next class."""
    write_photos(root, classes=names, n=n, size=(64, 48))
    paths = [(name, path) for name in sorted(names) for path in sorted((root / name).iterdir())]
    items = [
        Item(path, name, width=64, height=48, format="jpeg", brightness=float(number))
        for number, (name, path) in enumerate(paths)
    ]
    photos = Catalog(root, tuple(items), tuple(sorted(names)))
    labels, classes = photos.labels(), len(names)
    named = np.where(np.arange(len(labels)) < wrong, (labels + 1) % classes, labels)
    sure = 0.6 + 0.3 * np.arange(len(labels))[:, np.newaxis] / len(labels)
    rest = (1 - sure) / (classes - 1)
    probabilities = np.where(np.eye(classes)[named] > 0, sure, rest)
    sharper = probabilities**1.5
    return LabelledPredictions(
        "validation",
        photos,
        probabilities,
        sharper / sharper.sum(axis=1, keepdims=True),
        part="validation",
    )


def made_up(answers: LabelledPredictions, *, asserts: Sequence[str] = (), **parts: Any) -> Report:
    """Return a report on ``answers``; ``parts`` are those of ``Report``."""
    metrics = {**measured(answers), "baselines": baselines(answers.photos)}
    metrics["asserts"] = checked(asserts, metrics, strict=False)
    return Report(title="fruit", evaluated=answers, metrics=metrics, **parts)


def whole(root: Path, names: Sequence[str], **options: Any) -> Report:
    """Return a report in which every part is there."""
    answers = evaluated(root, names, **options)
    facts = {
        "seed": 0,
        "device": "CPU",
        "data_digest": "ab" * 32,
        "weights": {"source": "random"},
        "augmentation": {"policy": "light", "why": "few images", "changes": "flip horizontal"},
    }
    counts = {"train": dict.fromkeys(answers.photos.class_names, 9)}
    path = answers.photos.items[0].path
    return made_up(
        answers,
        asserts=("accuracy>=0.999", "ece<=1"),
        suspects=[SuspectedLabel(path, "apple", "plum", 0.97)] * 6,
        issues=(Issue(path, "wrong extension", "it is a PNG file", bad=False),),
        training=Training(HISTORY, 1, "name: fruit\n", facts, counts, "runs/fruit"),
        heats={0: picture(1), 1: picture(2)},
    )
