"""With 10,000 classes an evaluation needs memory, files and lines for its images, not for C x C."""

import csv
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import picture
from tltool.data.catalog import Catalog, Item
from tltool.evaluation.calibration.prediction_sets import conformity_scores
from tltool.evaluation.calibration.temperature import choose_temperature
from tltool.evaluation.csv_tables import write_predictions
from tltool.evaluation.metrics.baselines import compute_baselines
from tltool.evaluation.metrics.confusion_matrix import ConfusionMatrix
from tltool.evaluation.metrics.evaluate_predictions import evaluate_predictions
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions
from tltool.evaluation.plots.confusion_plot import MOST_ERRORS, plot_confusion
from tltool.evaluation.report.content import Report
from tltool.evaluation.report.evaluation_report import write_report
from tltool.evaluation.report.text_tables import per_class_rows
from tltool.runs.json_text import to_json
from tltool.workflows.dataset.counts_table import counts_table

CLASSES, IMAGES = 10_000, 300
NAMES = tuple(f"species {number:05d}" for number in range(CLASSES))
PROBABILITIES = CLASSES * IMAGES * 4  # bytes
_CONSTANT = 60e6  # bytes that do not depend on the images


@contextmanager
def peak_below(limit: float) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak / 1e6:.0f} MB"


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> LabelledPredictions:
    """Predictions for images of 300 of 10,000 classes; a third of them are wrong."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    picture(0, (16, 16)).save(root / "one.png")
    labels = np.sort(rng.choice(CLASSES, IMAGES, replace=False))
    logits = rng.normal(size=(IMAGES, CLASSES)).astype(np.float32)
    logits[np.arange(IMAGES), labels] += np.where(np.arange(IMAGES) % 3, 12, 1)
    exponents = np.exp(logits)
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    items = tuple(
        Item(root / "one.png", NAMES[label], width=16, height=16, format="png") for label in labels
    )
    images = Catalog(root, items, NAMES)
    return LabelledPredictions("validation", images, probabilities, probabilities, split="test")


@pytest.fixture(scope="module")
def metrics(predictions: LabelledPredictions) -> dict[str, Any]:
    with peak_below(4 * PROBABILITIES + _CONSTANT):
        figures = evaluate_predictions(predictions)
    return {**figures, "baselines": compute_baselines(predictions.images), "asserts": []}


@pytest.mark.slow
def test_metrics_are_of_bounded_size(metrics: dict[str, Any]) -> None:
    assert metrics["confusion_matrix"] is None
    wrong = metrics["n"] - sum(row["correct"] for row in metrics["per_class"])
    assert sum(row["n"] for row in metrics["confusions"]) == wrong > 90
    assert len(to_json(metrics)) < 12e6


@pytest.mark.thorough
@pytest.mark.slow
def test_groups_of_images_need_no_dense_matrix_either(predictions: LabelledPredictions) -> None:
    grouped = replace(predictions, groups=[f"group {n // 2}" for n in range(IMAGES)])
    with peak_below(4 * PROBABILITIES + _CONSTANT):
        figures = evaluate_predictions(grouped)
    assert figures["groups"]["n"] == IMAGES // 2


def test_calibration_needs_little_more_than_its_logits(predictions: LabelledPredictions) -> None:
    logits, labels = np.log(predictions.probabilities), predictions.images.labels()
    with peak_below(3 * PROBABILITIES + 2 * _CONSTANT):
        choose_temperature(logits[::3], labels[::3])
    with peak_below(2 * _CONSTANT + 2 * 8 * 4e6):
        scores = conformity_scores(predictions.probabilities, labels, np.zeros(IMAGES))
    assert ((scores == 0) == (logits.argmax(axis=1) == labels)).all()


@pytest.mark.slow
def test_the_report_shows_the_worst_classes_and_says_so(
    tmp_path: Path, predictions: LabelledPredictions, metrics: dict[str, Any]
) -> None:
    write_report(tmp_path / "report.html", Report("species", predictions, metrics))
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Shown: the 200 of 10,000 classes with the lowest F1 score" in page
    assert len(page) < 3e6
    rows = per_class_rows(metrics, most=50)
    assert len(rows) == 50
    assert {row[5] for row in rows} == {"0.000"}


@pytest.mark.thorough
def test_the_plot_shows_the_classes_with_the_most_errors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(CLASSES)
    predicted = labels.copy()
    predicted[500:540] = rng.permutation(predicted[500:540])
    matrix = ConfusionMatrix.count(labels, predicted, classes=CLASSES)
    with peak_below(300e6):
        plot_confusion(tmp_path / "plot.png", matrix, NAMES)
    with Image.open(tmp_path / "plot.png") as image:
        assert max(image.size) < 4000
    counts = matrix.of_classes(np.arange(500, 540))
    assert counts.shape == (MOST_ERRORS, MOST_ERRORS + 1)
    assert counts[:, :-1].sum() == 40
    assert not counts[:, -1].any()


def test_predictions_have_the_most_probable_classes_only(
    tmp_path: Path, predictions: LabelledPredictions
) -> None:
    path, labels = tmp_path / "predictions.csv", predictions.images.labels()
    write_predictions(path, ["a.png"] * IMAGES, labels, predictions.probabilities, NAMES)
    assert path.stat().st_size < 100_000
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, label, probabilities in zip(rows, labels, predictions.probabilities, strict=True):
        ranked = np.argsort(-probabilities, kind="stable")
        assert row["predicted"] == NAMES[ranked[0]]
        assert np.float32(row["p_label"]) == probabilities[label]
        assert [row[f"class_{rank}"] for rank in range(2, 6)] == [NAMES[n] for n in ranked[1:5]]
        assert np.float32(row["p_5"]) == probabilities[ranked[4]]


def test_the_table_of_images_shows_the_smallest_classes() -> None:
    counts = {name: {"train": 5 + (name > NAMES[9]), "all": 9} for name in NAMES[:100]}
    columns, rows = counts_table(counts)
    assert columns == ["class", "train", "all"]
    assert len(rows) == 52
    assert rows[0] == [NAMES[0], "5", "9"]
    assert rows[-2:] == [["50 larger classes", "300", "450"], ["all", "590", "900"]]


def test_a_confusion_matrix_is_the_same_dense_and_as_pairs() -> None:
    matrix = ConfusionMatrix.count(np.array([0, 1, 1]), np.array([0, 0, 1]), classes=3)
    assert matrix.dense().tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    again = ConfusionMatrix.from_dense(json.loads(json.dumps(matrix.dense().tolist())))
    assert again.confusions() == matrix.confusions() == [(1, 0, 1)]
    assert matrix.of_classes(np.array([1])).tolist() == [[1, 1]]
