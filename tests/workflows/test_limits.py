"""Runs with too little memory, with too little time, and with a loss that is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import merged
from tests.training.test_recovery import Memory, Messages
from tests.workflows.conftest import TINY
from tltool.errors import EnvironmentProblem
from tltool.models.build import BUILDERS
from tltool.recipe.load import load_recipe
from tltool.runs.json_text import from_json
from tltool.runs.manifest import Manifest, read_manifest
from tltool.workflows.finetune import FinetuneResult, finetune
from tltool.workflows.reproduce import reproduce
from tltool.workflows.resume import resume

EXACT = ("model.head.dropout=0", "train.precision=float32")  # masks are those of a part
RATES = ("train.head.learning_rate=0.05", "train.finetune.learning_rate=0.02")


def manifest_of(result: FinetuneResult) -> Manifest:
    return read_manifest(result.run / "manifest.json")


def history(result: FinetuneResult) -> list[dict[str, str]]:
    lines = (result.run / "history.csv").read_text(encoding="utf-8").splitlines()
    return [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> type[Memory]:
    """Let the tiny backbone end with a layer that has room for ``Memory.rows`` rows."""
    build = BUILDERS["tiny_vgg"]
    monkeypatch.setitem(BUILDERS, "tiny_vgg", lambda images: Memory()(build(images)))
    monkeypatch.setattr(Memory, "rows", 99)
    return Memory


class Broken(Messages):
    """Interrupts the run when the first epoch of the fine-tune phase is finished."""

    _phase = ""

    def on_phase(self, name: str, detail: str = "") -> None:
        self._phase = name

    def on_epoch(self, epoch: int, epochs: int, metrics: object) -> None:
        if self._phase == "finetune":
            raise KeyboardInterrupt


@pytest.mark.thorough
@pytest.mark.slow
def test_a_run_fits_itself_to_the_memory_and_can_be_resumed(
    fruit, tmp_path, small_memory, monkeypatch
):
    settings = merged(*TINY, *RATES, "train.batch_size=8", "train.head.epochs=0", *EXACT)
    recipe = load_recipe("vgg16", settings)
    undisturbed = finetune(fruit, recipe=recipe, out=tmp_path / "undisturbed")
    monkeypatch.setattr(small_memory, "rows", 3)
    messages = Messages()
    fitted = finetune(fruit, recipe=recipe, out=tmp_path / "fitted", observer=messages)
    limits = manifest_of(fitted).micro_batches
    assert sorted(limits) == ["features", "finetune", "predictions"]
    assert all(1 < limit <= 3 for limit in limits.values())
    assert any("the fine-tune phase: 2 at once from now on" in text for text in messages.warnings)
    for one, other in zip(history(undisturbed), history(fitted), strict=True):
        assert float(one["val_loss"]) == pytest.approx(float(other["val_loss"]), rel=1e-4)
    half = tmp_path / "half"
    with pytest.raises(Exception, match="interrupted"):
        finetune(fruit, recipe=recipe, out=half, observer=Broken())
    again = Messages()
    assert (
        manifest_of(resume(half, observer=again)).model_digest == manifest_of(fitted).model_digest
    )
    assert not again.warnings  # it began with the sizes that fit


def test_a_run_that_fits_in_no_way_says_what_to_do(finetune_tiny, fruit, small_memory, monkeypatch):
    monkeypatch.setattr(small_memory, "rows", 0)
    with pytest.raises(EnvironmentProblem, match="the memory is full") as caught:
        finetune_tiny(fruit)
    assert "train.batch_size=8" in str(caught.value.hint)
    assert "tltool runs resume" in str(caught.value.hint)
    assert isinstance(caught.value.__cause__, tf.errors.ResourceExhaustedError)


@pytest.mark.slow
def test_a_time_limit_ends_training_with_an_evaluated_model(finetune_tiny, fruit, tmp_path):
    messages = Messages()
    result = finetune_tiny(fruit, *RATES, time_limit=1.0, observer=messages)
    manifest = manifest_of(result)
    limit: dict[str, Any] = dict(manifest.time_limit)
    assert (limit["seconds"], limit["stopped"]) == (1.0, ["head", 0])  # the probe alone
    assert limit["reserve"] > 0
    assert manifest.status == "finished"
    assert manifest.peak_memory["process"] > 100  # MiB: TensorFlow alone takes more
    assert manifest.gpu_utilisation is None
    assert [row["phase"] for row in history(result)].count("finetune") == 0
    assert any("the run may take longer" in text for text in messages.warnings)
    second = reproduce(result.run, out=tmp_path / "second")
    assert second.verdict == "bit-identical"


@pytest.mark.slow
def test_without_a_probe_one_epoch_is_trained_in_any_case(finetune_tiny, fruit):
    live = ("train.cache=off", "train.probe.enabled=false")
    manifest = manifest_of(finetune_tiny(fruit, *live, time_limit=1.0))
    assert manifest.time_limit["stopped"] == ["head", 1]
    assert manifest.time_limit["reserve"] > 0


@pytest.mark.thorough
@pytest.mark.slow
def test_a_limit_that_is_long_enough_changes_nothing(finetune_tiny, fruit):
    limited, unlimited = finetune_tiny(fruit, time_limit=3600.0), finetune_tiny(fruit)
    assert manifest_of(limited).model_digest == manifest_of(unlimited).model_digest
    manifest = manifest_of(limited)
    assert "stopped" not in (manifest.time_limit or {})
    # the seconds spent include those after training
    assert manifest.time_limit["spent"] >= manifest.seconds["total"] - 0.2
    assert manifest_of(unlimited).time_limit is None
    metrics = [from_json((one.run / "metrics.json").read_text()) for one in (limited, unlimited)]
    assert metrics[0] == metrics[1]


@pytest.mark.thorough
@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_recorded(finetune_tiny, fruit, monkeypatch):
    broken = iter([True])  # the first training step

    def overflow(self: Memory, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        def factor(batch: np.ndarray) -> np.float32:
            return np.float32(np.inf if next(broken, False) else 1)

        if not training:
            return inputs
        return inputs * tf.ensure_shape(tf.numpy_function(factor, [inputs], tf.float32), [])

    build = BUILDERS["tiny_vgg"]
    monkeypatch.setitem(BUILDERS, "tiny_vgg", lambda images: Memory()(build(images)))
    monkeypatch.setattr(Memory, "call", overflow)
    messages = Messages()
    settings = ("train.batch_size=5", "train.cache=off", "train.finetune.epochs=0")
    result = finetune_tiny(fruit, *settings, observer=messages)
    assert manifest_of(result).diverged == {"head": [1]}
    assert len(messages.warnings) == 1
