"""A whole run on two devices ends as on one, within rounding, where no dropout acts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from pathlib import Path
import keras
import tensorflow as tf
from tests.conftest import merged
from tests.training.mirrored import logical_devices
from tests.workflows.conftest import TINY, write_fruit
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune
from tltool.workflows.training_run import context

folder, common, more = Path(sys.argv[1]), *map(json.loads, sys.argv[2:4])
photos = write_fruit(folder / "photos", n=9)
several = logical_devices(2)
for name, strategy, settings in (
    ("one", tf.distribute.get_strategy(), common), ("two", several, [*common, *more])
):
    context.choose_devices = lambda requested: (strategy, False)
    recipe = load_recipe("vgg16", merged(*TINY, *settings))
    objects = dict(
        optimizer=keras.optimizers.Nadam(),
        loss=lambda labels, answers: 0.5 * keras.losses.categorical_crossentropy(labels, answers),
        augment=keras.layers.RandomTranslation(0.2, 0.2),
    ) if "objects" in sys.argv else {}
    exports = folder / "exports" / name
    finetune(photos, recipe=recipe, out=folder / name, saved_models=exports, **objects)
"""
COMMON = ["train.precision=float32", "model.head.dropout=0", "train.batch_size=8"]
CACHED = [
    "train.imbalance=weights", "train.label_smoothing=0.1", "augment.feature_mixup.alpha=0.4",
]  # fmt: skip
LIVE = [
    "train.cache=off", "model.backbone=tiny_resnet", "train.finetune.unfreeze=last",
    "model.batch_norm=train", "model.regularization.norm=sync_batch", "augment.mixup.alpha=0.4",
    "augment.cutmix.alpha=1",
]  # fmt: skip
NUMBERS = ("loss", "accuracy", "val_loss", "val_calibrated_loss", "val_accuracy")


def numbers(table: Path, columns: tuple[str, ...]) -> list[float]:
    """Return the values of some columns; NaN where there is none."""
    with table.open(newline="", encoding="utf-8") as file:
        return [float(row[name] or "nan") for row in csv.DictReader(file) for name in columns]


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize(
    ("common", "more", "objects"),
    [
        (CACHED, ["train.accumulate=3", "export.enabled=true"], ""),
        pytest.param(LIVE, [], "", marks=pytest.mark.thorough),
        pytest.param(["train.cache=off"], [], "objects", marks=pytest.mark.thorough),
    ],
    ids=["cached, accumulated", "live, synchronised norms", "objects of the caller"],
)
def test_two_devices_give_the_run_of_one(forked_tltool, tmp_path, common, more, objects):
    arguments = json.dumps([*COMMON, *common]), json.dumps(more), objects
    done = forked_tltool.run(PROGRAM, str(tmp_path), *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (numbers(tmp_path / name / "history.csv", NUMBERS) for name in ("one", "two"))
    assert len(one) == 5 * len(NUMBERS)  # the probe, and two epochs of two phases
    assert two == pytest.approx(one, rel=2e-4, nan_ok=True)
    confidence = ("confidence",)
    one, two = (numbers(tmp_path / name / "predictions.csv", confidence) for name in ("one", "two"))
    assert two == pytest.approx(one, abs=1e-4)
    assert ("export.enabled=true" in more) == (tmp_path / "exports" / "two").is_dir()
