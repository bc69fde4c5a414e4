"""A run that was stopped and resumed is bit-identical to one that never stopped."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ONLY_PROBE, by_cost, merged
from tests.fork_server import ForkServer
from tltool.errors import DataError, EnvironmentProblem, GateError, Interrupted, UsageError
from tltool.events import SilentObserver
from tltool.recipe.load import load_recipe
from tltool.runs.lock import locked
from tltool.runs.manifest import read_manifest, write_manifest
from tltool.workflows.finetune import FinetuneResult, finetune
from tltool.workflows.resume import resume

# The weekly check asks for all 34; live ones take three times as long. In this process runs are
# stopped twice in the fine-tune phase below, and in the refit in test_refit.py.
KILLS = {"cached": 20 if os.environ.get("TLTOOL_WEEKLY") else 6, "live": 10, "decoded": 4}
SMALL_SHARDS = (
    "train.batch_size=2",
    "train.head.epochs=3",
    "train.finetune.epochs=3",
    "augment.flip=none",  # every child traces the augmentation anew, which takes seconds
    "augment.crop=null",
)
WAYS = {
    "cached": (
        "augment.mixup.alpha=0.4",
        "train.schedule=plateau",
        "train.imbalance=balanced_sampling",
        "model.head.dropout=0.3",
    ),
    "live": (
        "train.cache=off",
        "train.optimizer=sgd",
        "model.head.kind=mlp",
        "model.head.norm=batch",
        "model.head.dropout_kind=dropconnect",
        "model.regularization.drop_block.size=2",
        "model.head.hidden_units=8",
    ),
    "decoded": ("train.cache=off", "train.cache_decoded=on", "data.image_size=24"),
}


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("way", by_cost(list(WAYS), thorough=["cached"]))
def test_killed_at_any_moment_and_resumed_it_is_bit_identical(
    forked_tltool: ForkServer,
    fruit: Path,
    tmp_path: Path,
    tiny_settings: tuple[str, ...],
    way: str,
) -> None:
    settings = merged(*tiny_settings, *SMALL_SHARDS, *WAYS[way])
    program = Path(__file__).with_name("kills.py").read_text(encoding="utf-8")
    arguments = (str(fruit), str(tmp_path), str(KILLS[way]), "0", *settings)
    ended = forked_tltool.run(program, *arguments)
    assert ended.returncode == 0, ended.stderr[-3000:]
    report = json.loads(ended.stdout.splitlines()[-1])
    kills = report["kills"]
    print(f"{way}: {len(kills)} kills, seed 0, {dict(Counter(row['phase'] for row in kills))}")
    assert all(row["identical"] for row in kills), kills
    assert all(row["repeated"] <= 1 for row in kills), kills
    assert not any(row["left"] for row in kills)


class Stopper(SilentObserver):
    """Raises what it is given when a phase begins, or in the epoch of a phase."""

    def __init__(self, error: BaseException, phase: str, epoch: int | None = None) -> None:
        self.error, self.phase, self.epoch, self._now = error, phase, epoch, ""

    def on_phase(self, name: str, detail: str = "") -> None:
        self._now = name
        if name == self.phase and self.epoch is None:
            raise self.error

    def on_epoch(self, epoch: int, epochs: int, metrics: object) -> None:
        if self._now == self.phase and epoch == self.epoch:
            raise self.error


def stopped(
    photos: Path, out: Path, settings: tuple[str, ...], observer: Stopper, error: type[Exception]
) -> Path:
    with pytest.raises(error):
        finetune(photos, recipe=load_recipe("vgg16", merged(*settings)), out=out, observer=observer)
    return out


@pytest.fixture(scope="module")
def interrupted(
    fruit: Path, tiny_settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a run that the user interrupted in the second epoch of the fine-tune phase."""
    stopper = Stopper(KeyboardInterrupt(), "finetune", 2)
    out = tmp_path_factory.mktemp("interrupted") / "half"
    return stopped(fruit, out, tiny_settings, stopper, Interrupted)


@pytest.fixture
def half_done(interrupted: Path, tmp_path: Path) -> Path:
    """Return a copy of the interrupted run."""
    return shutil.copytree(interrupted, tmp_path / "half")


@pytest.fixture(scope="module")
def whole(
    fruit: Path, tiny_settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> FinetuneResult:
    """Return the run that was not interrupted."""
    recipe = load_recipe("vgg16", merged(*tiny_settings))
    return finetune(fruit, recipe=recipe, out=tmp_path_factory.mktemp("whole") / "whole")


@pytest.mark.slow
def test_an_interrupted_run_is_finished_and_tidied(half_done, whole):
    assert read_manifest(half_done / "manifest.json").status == "running"
    result = resume(half_done)
    assert (half_done / "metrics.json").read_bytes() == (whole.run / "metrics.json").read_bytes()
    resumed, whole_run = (read_manifest(run / "manifest.json") for run in (half_done, whole.run))
    assert resumed.model_digest == whole_run.model_digest
    assert resumed.status == "finished"
    assert not {"state", "cache"} & {path.name for path in half_done.iterdir()}
    assert result.metrics == whole.metrics


def test_a_finished_run_is_not_resumed(trained):
    with pytest.raises(UsageError, match="is finished"):
        resume(trained.run)


def test_a_failed_run_is_not_resumed(fruit, tmp_path, tiny_settings):
    settings = (*tiny_settings, *ONLY_PROBE, 'evaluate.asserts=["log_loss<=1e-9"]')
    recipe = load_recipe("vgg16", merged(*settings))
    with pytest.raises(GateError):
        finetune(fruit, recipe=recipe, out=tmp_path / "run")
    with pytest.raises(UsageError, match="ended with an error"):
        resume(tmp_path / "run")


def test_a_run_in_use_is_left_alone(half_done):
    with locked(half_done), pytest.raises(UsageError, match="in use by process"):
        resume(half_done)


@pytest.mark.slow
def test_what_changed_in_the_photos_is_named(half_done, fruit):
    moved = fruit / "plum" / "1_00.png"
    away = fruit.parent / "away.png"
    added = fruit / "plum" / "new.png"
    moved.rename(away)
    added.write_bytes((fruit / "plum" / "1_01.png").read_bytes() + b"x")
    try:
        with pytest.raises(DataError) as caught:
            resume(half_done)
    finally:
        away.rename(moved)
        added.unlink()
    assert "1 added (plum/new.png)" in caught.value.message
    assert "1 removed (plum/1_00.png)" in caught.value.message
    resume(half_done)


def test_renamed_photos_are_refused_since_their_order_counts(half_done, fruit):
    photo = fruit / "plum" / "1_00.png"
    photo.rename(photo.with_name("9.png"))
    try:
        with pytest.raises(DataError, match="renamed"):
            resume(half_done)
    finally:
        photo.with_name("9.png").rename(photo)


def test_a_changed_recipe_is_refused(half_done):
    recipe = half_done / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(DataError, match="changed since the run began"):
        resume(half_done)


def test_other_weights_are_refused(half_done):
    path = half_done / "manifest.json"
    write_manifest(path, replace(read_manifest(path), weights_digest="0" * 64))
    with pytest.raises(EnvironmentProblem, match="weights to start from are not those"):
        resume(half_done)


def test_another_machine_is_told(half_done):
    path = half_done / "manifest.json"
    manifest = read_manifest(path)
    write_manifest(path, replace(manifest, machine={**manifest.machine, "cores": 1234}))

    class Listener(SilentObserver):
        said: list[str] = []  # noqa: RUF012

        def on_message(self, text: str, *, level: str = "info") -> None:
            self.said.append(f"{level}: {text}")

    resume(half_done, observer=Listener())
    assert any("machine.cores was 1234" in text for text in Listener.said)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_a_resume_goes_on(fruit, whole, tmp_path, tiny_settings):
    stopper = Stopper(EnvironmentProblem("the disk is full"), "finetune", 1)
    run = stopped(fruit, tmp_path / "full", tiny_settings, stopper, EnvironmentProblem)
    assert (run / "state").is_dir()
    assert resume(run).metrics == whole.metrics


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no run"):
        resume(tmp_path)
