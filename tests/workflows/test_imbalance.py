"""Classes of unequal size: what a run says of them, and what it does."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pytest import approx

from tests.conftest import ONLY_PROBE, merged, unless_thorough, write_photos
from tltool.events import SilentObserver
from tltool.recipe.load import load_recipe
from tltool.runs.manifest import read_manifest
from tltool.workflows.finetune import finetune
from tltool.workflows.prediction.model import load_model


class Listener(SilentObserver):
    """Keeps every sentence."""

    def __init__(self) -> None:
        self.output: list[str] = []

    def on_message(self, text: str, *, level: str = "info") -> None:
        self.output.append(text)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 24 cats and 5 dogs."""
    folder = tmp_path_factory.mktemp("uneven")
    write_photos(folder, classes=["cat"], n=24, size=32)
    return write_photos(folder, classes=["dog"], n=5, size=32, seed=1)


def trained(
    photos: Path, out: Path, tiny: tuple[str, ...], *settings: str
) -> tuple[Path, list[str]]:
    listener = Listener()
    short = ("train.head.epochs=1", "train.finetune.epochs=0", *settings)
    recipe = load_recipe("vgg16", merged(*tiny, *short))
    return finetune(photos, recipe=recipe, out=out, observer=listener).run, listener.output


def train_counts(run: Path) -> Counter[str]:
    with (run / "split.csv").open(newline="") as file:
        return Counter(row["label"] for row in csv.DictReader(file) if row["split"] == "train")


@pytest.mark.slow
@pytest.mark.parametrize("cache", unless_thorough(["on", "off"], "on"))
def test_weights_are_told_and_noted(uneven, tmp_path, tiny_settings, cache):
    settings = ("train.imbalance=weights", f"train.cache={cache}")
    run, output = trained(uneven, tmp_path / "run", tiny_settings, *settings)
    counts = train_counts(run)
    weights = dict(read_manifest(run / "manifest.json").class_weights or {})
    n = sum(counts.values())
    assert weights == {name: approx(n / (2 * counts[name])) for name in ("cat", "dog")}
    assert f"weights in the loss: cat {weights['cat']:.3f}, dog {weights['dog']:.3f}" in output


def test_balanced_sampling_says_how_often_photos_come(uneven, tmp_path, tiny_settings):
    settings = ("train.imbalance=balanced_sampling",)
    run, output = trained(uneven, tmp_path / "run", tiny_settings, *settings)
    counts = train_counts(run)
    each = sum(counts.values()) / 2
    (sentence,) = (text for text in output if text.startswith("every epoch draws"))
    assert f"one of 'dog' {each / counts['dog']:.1f} times" in sentence
    assert read_manifest(run / "manifest.json").class_weights is None


@pytest.mark.slow
def test_without_a_choice_there_is_a_hint_where_classes_differ_much(
    uneven, fruit, tmp_path, tiny_settings
):
    _, output = trained(uneven, tmp_path / "uneven", tiny_settings, *ONLY_PROBE)
    assert [text for text in output if "as many training images as 'dog'" in text]
    _, output = trained(fruit, tmp_path / "even", tiny_settings, *ONLY_PROBE)
    assert not [text for text in output if "as many training images" in text]


@pytest.mark.slow
def test_weights_of_photos_count_in_the_loss_and_for_the_probe(uneven, tmp_path, tiny_settings):
    photos = sorted(uneven.rglob("*.jpg"))
    measured = {}
    for weight in (1, 4):
        lines = [f"{p},{p.parent.name},{weight if p.parent.name == 'dog' else 1}" for p in photos]
        table = tmp_path / f"{weight}.csv"
        table.write_text("\n".join(["path,label,weight", *lines]) + "\n")
        run, _ = trained(table, tmp_path / f"run{weight}", tiny_settings)
        measured[weight] = json.loads((run / "metrics.json").read_text())["validation"]
    counts = train_counts(run)
    mean = (counts["cat"] + 4 * counts["dog"]) / sum(counts.values())
    weights = dict(read_manifest(run / "manifest.json").class_weights or {})
    assert weights == {name: approx(1 / mean) for name in ("cat", "dog")}
    assert measured[1] != measured[4]


@pytest.mark.slow
@pytest.mark.parametrize("imbalance", unless_thorough(["weights", "balanced_sampling"], "weights"))
def test_prior_correction_subtracts_the_logarithm_of_the_class_weights(
    uneven, tmp_path, tiny_settings, imbalance
):
    plain, corrected = (
        trained(
            uneven,
            tmp_path / value,
            tiny_settings,
            f"train.imbalance={imbalance}",
            f"evaluate.prior_correction={value}",
        )[0]
        for value in ("false", "true")
    )
    before, after = (probabilities(run) for run in (plain, corrected))
    counts = train_counts(plain)
    odds = counts["cat"] / counts["dog"]
    np.testing.assert_allclose(
        (after[:, 0] / after[:, 1]) / (before[:, 0] / before[:, 1]), odds, rtol=1e-3
    )
    model = load_model(corrected)
    files = [path for path in sorted(uneven.rglob("*.*")) if path.is_file()]
    again = model.predict([path.read_bytes() for path in files[:3]]).probabilities
    first = load_model(plain).predict([path.read_bytes() for path in files[:3]]).probabilities
    np.testing.assert_allclose(
        (again[:, 0] / again[:, 1]) / (first[:, 0] / first[:, 1]), odds, rtol=1e-2
    )


def probabilities(run: Path) -> np.ndarray:
    """Return the probabilities in predictions.csv, [N, 2]."""
    with (run / "predictions.csv").open(newline="") as file:
        return np.array(
            [[float(row["p_cat"]), float(row["p_dog"])] for row in csv.DictReader(file)]
        )
