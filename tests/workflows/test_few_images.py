"""What a run says of few images and of their labels: only what the features can support."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ONLY_PROBE
from tests.workflows.conftest import write_fruit
from tltool.cli.terminal.results import show_metrics
from tltool.evaluation.report.text_tables import describe_accuracy
from tltool.workflows.finetune import FinetuneResult

Finetune = Callable[..., FinetuneResult]
PROBE_ALONE = (*ONLY_PROBE, "evaluate.label_errors=true")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fruit(tmp_path_factory.mktemp("few") / "photos", n=14, seed=4)


@pytest.fixture
def finetune_pretrained(finetune_tiny: Finetune, weights_file: Path) -> Finetune:
    """Train with a file of weights, so that the features do not count as random."""

    def run(photos: Path, *settings: str) -> FinetuneResult:
        return finetune_tiny(photos, f"model.weights={weights_file}", *PROBE_ALONE, *settings)

    return run


def log_of(result: FinetuneResult) -> str:
    return (result.run / "log.txt").read_text("utf-8")


def test_few_validation_images_are_cross_validated_with_all_and_labels_are_searched(
    finetune_pretrained: Finetune, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = finetune_pretrained(photos, "evaluate.report=true")
    metrics = json.loads((result.run / "metrics.json").read_text("utf-8"))
    estimate = metrics["cross_validation"]
    assert metrics["n"] == 9 and estimate["n"] == 42
    assert estimate["what"] == "linear probe on frozen features"
    assert estimate["folds"] == 5 and estimate["n_effective"] == 42
    rate = estimate["accuracy"]
    assert rate["low"] < rate["value"] < rate["high"]
    assert (42 * rate["value"]) % 1 == pytest.approx(0, abs=1e-9)
    assert rate["high"] - rate["low"] < metrics["accuracy"]["high"] - metrics["accuracy"]["low"]
    show_metrics(metrics)
    screen = " ".join(capsys.readouterr().out.split())
    headline = screen.index("Cross-validated accuracy of a linear probe on frozen features")
    model = screen.index(describe_accuracy(metrics))
    assert headline < screen.index("The model below is such a probe") < model
    assert "Cross-validated accuracy" in (result.run / "report.html").read_text("utf-8")
    found = metrics["label_errors"]
    with (result.run / "label_errors.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert found["n"] == 42 and found["issues"] == len(rows)
    curve = metrics["learning_curve"]
    assert curve["n"] == 42 and [point["images"] for point in curve["points"]] == [6, 9, 18, 34]
    assert curve["points"][-1]["accuracy"]["value"] == estimate["accuracy"]["value"]
    assert curve["gain_with_twice_the_images"] is None  # of fewer than 100 images
    assert "cannot be predicted" in (result.run / "report.html").read_text("utf-8")
    assert 0 <= found["by_chance"]["mean"] <= found["by_chance"]["high"]
    assert found["above_chance"] == (found["issues"] > found["by_chance"]["high"])
    assert found["skipped_classes"] == []
    for row in rows:
        assert (photos / row["file"]).is_file()
        assert Path(row["file"]).parent.name == row["label"] != row["suggested"]
    assert not rows or "are expected if every label were right" in log_of(result)


def test_nothing_is_estimated_and_no_label_is_judged_by_random_features(
    finetune_tiny: Finetune, photos: Path
) -> None:
    result = finetune_tiny(photos, *PROBE_ALONE)
    assert result.metrics["cross_validation"] is None and result.metrics["label_errors"] is None
    assert result.metrics["learning_curve"] is None
    assert "no search for label errors: the weights are random" in log_of(result)
    assert not (result.run / "label_errors.csv").exists()


def test_with_a_test_set_or_without_a_search_there_is_no_estimate_and_no_search(
    finetune_pretrained: Finetune, photos: Path
) -> None:
    result = finetune_pretrained(
        photos,
        "data.test_fraction=0.2",
        "evaluate.label_errors=false",
        "evaluate.learning_curve=false",
    )
    assert result.metrics["cross_validation"] is None and result.metrics["label_errors"] is None
    assert result.metrics["learning_curve"] is None
    assert not (result.run / "label_errors.csv").exists()


def test_a_class_of_one_image_is_not_checked_for_label_errors(
    finetune_pretrained: Finetune, tmp_path: Path
) -> None:
    photos = write_fruit(tmp_path / "photos" / "train", n=8, seed=1).parent
    write_fruit(photos / "val", n=3, seed=2)
    lemon = write_fruit(tmp_path / "more", n=1, seed=9) / "plum"
    shutil.move(lemon, photos / "train" / "lemon")
    result = finetune_pretrained(photos, "train.probe.enabled=false")
    found = result.metrics["label_errors"]
    assert (found["n"], found["skipped_classes"]) == (33, ["lemon"])
    assert "labels of lemon are not checked" in log_of(result)
    assert result.metrics["cross_validation"] is None  # the source defines the validation images


def test_no_label_is_judged_by_features_that_separate_nothing(
    finetune_pretrained: Finetune, tmp_path: Path
) -> None:
    photos = write_fruit(tmp_path / "photos", n=12, seed=3)
    for path in sorted(photos.iterdir())[1:]:
        shutil.rmtree(path)
    (only,) = photos.iterdir()
    shutil.copytree(only, photos / "other")  # each image has both labels
    result = finetune_pretrained(photos)
    assert result.metrics["label_errors"] is None
    assert "separate the classes no better than chance" in log_of(result)
