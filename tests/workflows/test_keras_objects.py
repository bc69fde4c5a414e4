"""A run with optimizer, loss, metrics, callbacks and augmentation of a Python program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tltool
from tests.workflows.conftest import TINY
from tltool.errors import Interrupted, UsageError
from tltool.events import SilentObserver
from tltool.recipe.load import load_recipe
from tltool.runs.manifest import read_manifest
from tltool.training.keras_objects import KerasObjects
from tltool.workflows.finetune import FinetuneResult

CALLS: list[Any] = []


class Recorder(keras.callbacks.Callback):
    """Records its hooks, and ends each phase after its second epoch."""

    def on_train_begin(self, logs=None):
        CALLS.append("begin")

    def on_train_end(self, logs=None):
        CALLS.append("end")

    def on_epoch_end(self, epoch, logs=None):
        CALLS.append((epoch, logs["val_f1"]))
        self.model.stop_training = epoch == 1

    def on_train_batch_end(self, batch, logs=None):
        CALLS.append(f"batch {batch}, loss {logs['loss']:.0f}, {len(self.model.layers) > 9}")


def half(labels, probabilities):
    return 0.5 * keras.losses.categorical_crossentropy(labels, probabilities)


def objects() -> KerasObjects:
    return KerasObjects(
        optimizer=keras.optimizers.Nadam(),
        loss=half,
        metrics=[keras.metrics.F1Score(average="macro", name="f1")],
        callbacks=[Recorder()],
        augment=keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomRotation(0.1)]),
    )


def train(photos: Path, out: Path, **options: Any) -> FinetuneResult:
    settings = ("train.head.epochs=4", "train.finetune.epochs=4", "train.batch_size=8")
    recipe = load_recipe("vgg16", [*(one for one in TINY if "epochs" not in one), *settings])
    given = {name: getattr(objects(), name) for name in KerasObjects.__dataclass_fields__}
    return tltool.finetune(
        photos, recipe=recipe, set={"train.cache": "off"}, out=out, **given, **options
    )


@pytest.fixture(scope="module")
def run(fruit: Path, tmp_path_factory: pytest.TempPathFactory) -> FinetuneResult:
    """A run on images in every epoch, of which each phase could have four epochs."""
    CALLS.clear()
    return train(fruit, tmp_path_factory.mktemp("objects") / "run")


def test_hooks_are_called_and_a_callback_ends_a_phase(run):
    phases = [row["phase"] for row in tltool.load(run.run).history]
    assert phases == ["probe", "head", "head", "finetune", "finetune"]
    assert [CALLS.count(one) for one in ("begin", "end")] == [2, 2]
    assert [one[0] for one in CALLS if isinstance(one, tuple)] == [0, 1, 0, 1]
    batches = [one for one in CALLS if "batch" in one]
    assert len(batches) == 4 * 3 and all(one.endswith("True") for one in batches)


def test_metrics_are_in_the_history_and_in_a_section_of_their_own(run):
    rows = tltool.load(run.run).history[1:]
    seen = [one[1] for one in CALLS if isinstance(one, tuple)]
    np.testing.assert_allclose([float(row["val_f1"]) for row in rows], seen, rtol=1e-6)
    assert set(run.metrics["keras_metrics"]) == {"f1"}


def test_the_manifest_names_the_objects(run):
    manifest = read_manifest(run.run / "manifest.json")
    assert manifest.keras_objects == objects().description
    assert manifest.keras_objects["loss"] == "half"
    assert manifest.not_reproducible is None
    assert manifest.augmentation["policy"] == "augment="


class Interrupting(SilentObserver):
    """Presses Ctrl-C after the second epoch of the fine-tune phase, before its state is saved."""

    phase = ""

    def on_phase(self, name: str, detail: str = "") -> None:
        self.phase = name

    def on_epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        if (self.phase, epoch) == ("finetune", 2):
            raise KeyboardInterrupt


@pytest.mark.thorough
@pytest.mark.slow
def test_the_run_goes_on_with_the_same_objects_alone(run, fruit, tmp_path):
    folder = tmp_path / "interrupted"
    with pytest.raises(Interrupted):
        train(fruit, folder, observer=Interrupting())
    for given, message in (
        (KerasObjects(), "trained with optimizer and loss and augment and metrics and callbacks"),
        (KerasObjects(loss="categorical_crossentropy"), "give the same to resume it"),
    ):
        with pytest.raises(UsageError, match=message):
            tltool.resume(folder, objects=given)
    tltool.resume(folder, objects=objects())
    one, other = (read_manifest(path / "manifest.json") for path in (run.run, folder))
    assert one.model_digest == other.model_digest


def test_a_run_with_objects_is_not_reproduced_without_them(run):
    with pytest.raises(UsageError, match=r"give the same to reproduce it") as refused:
        tltool.reproduce(run.run)
    assert "tltool.KerasObjects(optimizer=..., loss=..., augment=..., metrics=..." in str(
        refused.value.hint
    )


def test_objects_without_effect_are_refused_before_anything_is_read(fruit):
    quick = {"base": "quick", "model": {"backbone": "tiny_vgg", "weights": "random"}}
    with pytest.raises(UsageError, match="loss= has no effect"):
        tltool.finetune(fruit, recipe=quick, loss=half)
    with pytest.raises(UsageError, match="replaces the focal loss"):
        tltool.finetune(
            fruit, recipe="vgg16", loss=half, set={"train.imbalance": "focal"}, offline=True
        )
    with pytest.raises(UsageError, match="returns pixels from 0"):
        settings = {"data.image_size": 32, "model.backbone": "tiny_vgg", "model.weights": "random"}
        tltool.finetune(fruit, augment=lambda image: image / 255, set=settings)


def test_what_is_not_the_network_of_the_run_is_not_adopted(run):
    network = tltool.load(run.run).keras_model
    for model, message in (
        (3, "is of type int"),
        (keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), "it has other layers"),
        (keras.Sequential([network, keras.layers.Softmax()]), "gives other outputs"),
    ):
        with pytest.raises(UsageError, match=message):
            tltool.adopt(model, run=run.run)
    network.layers[-1].bias.assign([np.nan] * 3)
    with pytest.raises(UsageError, match="weights that are not finite"):
        tltool.adopt(network, run=run.run)
