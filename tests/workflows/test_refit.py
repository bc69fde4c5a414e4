"""The refit: the model that is shipped was trained on the validation images too."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ONLY_PROBE, merged
from tests.workflows.conftest import write_fruit
from tltool.artifact import load_artifact, read_calibration
from tltool.errors import Interrupted
from tltool.evaluation.report.refit_text import BEFORE_REFIT, REFITTED
from tltool.events import SilentObserver
from tltool.recipe.load import load_recipe
from tltool.runs.layout import CALIBRATION_FILE, RunLayout
from tltool.runs.manifest import read_manifest
from tltool.workflows.evaluate import evaluate
from tltool.workflows.finetune import FinetuneResult, finetune
from tltool.workflows.reproduce import reproduce
from tltool.workflows.resume import resume

Finetune = Callable[..., FinetuneResult]
REFIT = ("train.refit=auto", "train.warmup_epochs=0", "train.head.learning_rate=0.01")
LIVE = "train.cache=off"


class Stopper(SilentObserver):
    """Interrupts the run in an epoch of the refit."""

    def __init__(self, phase: str, epoch: int) -> None:
        self.phase, self.epoch, self.now = phase, epoch, ""

    def on_phase(self, name: str, detail: str = "") -> None:
        self.now = name

    def on_epoch(self, epoch: int, epochs: int, metrics: object) -> None:
        if (self.now, epoch) == (self.phase, self.epoch):
            raise KeyboardInterrupt


class Messages(SilentObserver):
    """Keeps messages and phases."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.phases: list[str] = []

    def on_message(self, text: str, *, level: str = "info") -> None:
        self.texts.append(text)

    def on_phase(self, name: str, detail: str = "") -> None:
        self.phases.append(f"{name}: {detail}")


def history(result: FinetuneResult) -> list[dict[str, str]]:
    with RunLayout(result.run).history.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fruit(tmp_path_factory.mktemp("refit") / "photos", n=9, seed=3)


@pytest.fixture(scope="module")
def refitted(
    photos: Path, tiny_settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> FinetuneResult:
    """Return a run with a refit that trained on cached features and live."""
    recipe = load_recipe("vgg16", merged(*tiny_settings, *REFIT))
    return finetune(photos, recipe=recipe, out=tmp_path_factory.mktemp("refitted") / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        (),
        pytest.param((LIVE,), marks=pytest.mark.thorough),
        pytest.param((LIVE, "train.cache_decoded=on"), marks=pytest.mark.thorough),
    ],
    ids=["cached", "live", "decoded once"],
)
def test_a_refit_changes_the_model_and_no_figure_of_the_validation_images(
    finetune_tiny: Finetune, photos: Path, refitted: FinetuneResult, settings: tuple[str, ...]
) -> None:
    plain = finetune_tiny(photos, *REFIT, "train.refit=off", *settings)
    again = finetune_tiny(photos, *REFIT, *settings) if settings else refitted
    assert {**plain.metrics, "refit": None} == {**again.metrics, "refit": None}
    assert plain.metrics["refit"] is None
    facts = again.metrics["refit"]
    assert facts["images"] == 27
    assert facts["evaluated"] == BEFORE_REFIT
    digests = [read_manifest(RunLayout(one.run).manifest).model_digest for one in (plain, again)]
    assert digests[0] != digests[1]
    rows = [row for row in history(again) if row["phase"].startswith("refit_")]
    assert len(rows) == facts["head_epochs"] + facts["finetune_epochs"] > 0
    assert not any(row["val_loss"] for row in rows)
    assert len(history(again)) == len(history(plain)) + len(rows)
    kept = [read_calibration(one.run / CALIBRATION_FILE).reference for one in (plain, again)]
    assert [one is not None and one.before_refit for one in kept] == [False, True]


@pytest.mark.thorough
def test_the_features_of_a_refit_do_not_depend_on_the_training_before(
    photos: Path, tiny_settings: tuple[str, ...], tmp_path: Path
) -> None:
    settings = merged(
        *tiny_settings,
        *REFIT,
        "train.cache.views=2",
        "augment.flip=horizontal",
        "train.probe.enabled=false",
        "train.finetune.epochs=2",
    )
    stored = []
    for rate in ("0.01", "0.02"):
        recipe = load_recipe("vgg16", [*settings, f"train.finetune.learning_rate={rate}"])
        caches = tmp_path / f"caches {rate}"
        result = finetune(photos, recipe=recipe, out=tmp_path / f"run {rate}", feature_cache=caches)
        assert result.metrics["refit"]["finetune_epochs"] > 0
        files = caches.rglob("pooled.bin")
        stored.append({str(file.relative_to(caches)): file.read_bytes() for file in files})
    assert len(stored[0]) == 4  # training and validation images, original and augmented
    assert stored[0] == stored[1]


@pytest.mark.thorough
def test_a_test_set_is_measured_on_the_refitted_model(
    finetune_tiny: Finetune, photos: Path
) -> None:
    settings = ("data.test_fraction=0.3", "evaluate.report=true")
    result = finetune_tiny(photos, *REFIT, *settings)
    assert result.metrics["refit"]["evaluated"] == REFITTED
    measured = evaluate(result.run, photos, split="test")
    assert measured["log_loss"] == result.metrics["log_loss"]
    assert measured["accuracy"] == result.metrics["accuracy"]
    assert "The model was refitted on all" in RunLayout(result.run).report.read_text("utf-8")


def test_validation_images_are_training_images_for_a_later_evaluation(
    refitted: FinetuneResult, photos: Path
) -> None:
    messages = Messages()
    evaluate(refitted.run, photos, split="validation", observer=messages)
    assert any("refitted on all of these validation images" in text for text in messages.texts)


@pytest.mark.thorough
def test_a_refit_that_was_stopped_twice_is_resumed(
    finetune_tiny: Finetune, photos: Path, tmp_path: Path
) -> None:
    schedule = ("train.schedule=plateau", "train.plateau_patience=1", "model.head.dropout=0.3")
    start = ("train.probe.enabled=false", "train.early_stopping.monitor=val_loss")
    settings = (*REFIT, *schedule, *start, "train.finetune.epochs=3")
    whole = finetune_tiny(photos, *settings)
    assert {row["phase"] for row in history(whole)} >= {"refit_head", "refit_finetune"}
    with pytest.raises(Interrupted):
        finetune_tiny(photos, *settings, observer=Stopper("refit_head", 1))
    half = sorted(tmp_path.glob("run*"))[-1]
    with pytest.raises(Interrupted):
        resume(half, observer=Stopper("refit_finetune", 2))
    resumed = resume(half)
    assert resumed.metrics == whole.metrics
    digests = [read_manifest(RunLayout(one).manifest).model_digest for one in (half, whole.run)]
    assert digests[0] == digests[1]


def test_a_run_with_a_time_limit_has_no_refit(finetune_tiny: Finetune, photos: Path) -> None:
    messages = Messages()
    settings = (*REFIT, "train.finetune.epochs=0")
    result = finetune_tiny(photos, *settings, time_limit=600.0, observer=messages)
    assert result.metrics["refit"] is None
    assert "no refit: the run has a time limit" in messages.texts


@pytest.mark.thorough
@pytest.mark.slow
def test_a_run_with_a_refit_is_reproduced(refitted: FinetuneResult, tmp_path: Path) -> None:
    assert reproduce(refitted.run, out=tmp_path / "second").verdict == "bit-identical"


def test_images_that_the_source_gives_for_validation_are_used_if_the_recipe_says_so(
    finetune_tiny: Finetune, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    write_fruit(data / "train", n=6, seed=5)
    write_fruit(data / "val", n=3, seed=6)
    messages = Messages()
    left_out = finetune_tiny(data, *REFIT, *ONLY_PROBE, observer=messages)
    assert left_out.metrics["refit"] is None
    assert any("the source defines the validation images" in text for text in messages.texts)
    result = finetune_tiny(data, *REFIT, *ONLY_PROBE, "train.refit=on")
    assert result.metrics["refit"] == {
        "images": 27,
        "head_epochs": 0,
        "finetune_epochs": 0,
        "evaluated": BEFORE_REFIT,
    }


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("data.fold=1/3", "train.finetune.epochs=0"), "a fold of a cross-validation"),
        (("train.probe.enabled=false", *ONLY_PROBE), "train"),
    ],
)
def test_auto_says_why_there_is_no_refit(
    finetune_tiny: Finetune, photos: Path, settings: tuple[str, ...], reason: str
) -> None:
    messages = Messages()
    result = finetune_tiny(photos, *REFIT, *settings, observer=messages)
    assert result.metrics["refit"] is None
    assert any("no refit" in text and reason in text for text in messages.texts)


@pytest.mark.thorough
@pytest.mark.slow
def test_the_prior_correction_is_that_of_the_model_before(
    finetune_tiny: Finetune, tmp_path: Path
) -> None:
    photos = write_fruit(tmp_path / "photos", n=10, seed=7)
    for extra in sorted((photos / "plum").iterdir())[4:]:
        extra.unlink()
    probe = (*ONLY_PROBE, "train.imbalance=weights")

    def bias(*settings: str) -> np.ndarray:
        run = finetune_tiny(photos, *probe, *settings).run
        layer = load_artifact(run).network.model.get_layer("head_logits")
        return np.asarray(layer.get_weights()[1])

    corrected = "evaluate.prior_correction=true"
    shift = bias(corrected) - bias()
    again = bias(corrected, "train.refit=on") - bias("train.refit=on")
    assert np.ptp(shift) > 0.3
    np.testing.assert_allclose(again, shift, atol=1e-5)
