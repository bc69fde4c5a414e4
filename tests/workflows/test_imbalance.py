"""Classes of unequal size: what a run says of them, and what it does."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from pytest import approx

from tests.conftest import merged, write_photos
from tltool.events import SilentObserver
from tltool.recipe.load import load_recipe
from tltool.runs.manifest import read_manifest
from tltool.workflows.finetune import finetune


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
    short = ("train.head.epochs=1", "train.finetune.epochs=1", *settings)
    recipe = load_recipe("vgg16", merged(*tiny, *short))
    return finetune(photos, recipe=recipe, out=out, observer=listener).run, listener.output


def train_counts(run: Path) -> Counter[str]:
    with (run / "split.csv").open(newline="") as file:
        return Counter(row["label"] for row in csv.DictReader(file) if row["split"] == "train")


@pytest.mark.parametrize("cache", ["on", "off"])
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


def test_without_a_choice_there_is_a_hint_where_classes_differ_much(
    uneven, fruit, tmp_path, tiny_settings
):
    _, output = trained(uneven, tmp_path / "uneven", tiny_settings)
    assert [text for text in output if "as many training images as 'dog'" in text]
    _, output = trained(fruit, tmp_path / "even", tiny_settings)
    assert not [text for text in output if "as many training images" in text]


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
