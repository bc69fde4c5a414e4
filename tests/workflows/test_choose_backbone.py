"""finetune --backbone auto: the backbone is chosen on training images, within a budget."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import ONLY_PROBE, PhotoMaker, merged
from tests.workflows.conftest import TINY, write_fruit
from tltool.cli.main import app
from tltool.errors import UsageError
from tltool.models.backbone_registry import BACKBONES, get_backbone
from tltool.models.build import build_model
from tltool.recipe.load import load_recipe
from tltool.recipe.schema import Recipe
from tltool.runs.run_options import RunOptions
from tltool.weights import weights_store
from tltool.workflows import finetune as story
from tltool.workflows.choose_backbone import BackboneChoice, choose_backbone, stratified_sample
from tltool.workflows.dataset import backbone_search
from tltool.workflows.dataset.backbone_probes import (
    LeaderboardEntry,
    describe_saving,
    fastest_within_one_standard_error,
)
from tltool.workflows.dataset.embeddings import ForwardTime
from tltool.workflows.preflight import backbone_candidates, network
from tltool.workflows.reproduce import reproduce

NAMES = ("tiny_vgg", "tiny_resnet")
AUTO = merged(*TINY, *ONLY_PROBE, "model.backbone=auto", "model.weights=imagenet")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with weights of the two tiny networks."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLTOOL_WEIGHTS_DIR", str(folder))
        for name in NAMES:
            file = folder / f"{name}.weights.h5"
            options = {"head": "gap", "dropout": 0.0, "hidden_units": 1, "norm": "none"}
            model = build_model(
                get_backbone(name), image_size=(32, 32), classes=2, weights=None, seed=1, **options
            )
            model.save_weights(file)
            weights_store.add(name, file, source="here", licence="none")
    return folder


@pytest.fixture(autouse=True)
def _tiny_networks_alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny networks be the only ones with published weights."""
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(store))
    published = MappingProxyType(dict.fromkeys(NAMES))
    for module in (backbone_candidates, network):
        monkeypatch.setattr(module, "PUBLISHED", published)
    entries = tuple(BACKBONES[name] for name in NAMES)
    monkeypatch.setattr(backbone_candidates, "listed_backbones", lambda: entries)


def auto(*settings: str) -> Recipe:
    return load_recipe("vgg16", merged(*AUTO, *settings))


def choose(data: Path) -> BackboneChoice:
    return choose_backbone(auto(), RunOptions(str(data)), budget=3600)


def time_is(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Let forward passes take ``seconds`` of one image, by the name of the backbone."""
    monkeypatch.setattr(
        backbone_search,
        "forward_time",
        lambda backbone, size, observer: ForwardTime(*[seconds[backbone.name]] * 2),
    )


def entry(name: str, correct: list[bool], seconds: float) -> LeaderboardEntry:
    groups = np.arange(len(correct))
    return LeaderboardEntry(get_backbone(name), np.array(correct), groups, 8, 32, seconds)


def tltool(*args: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def options(*settings: str) -> list[str]:
    """Return the command line of ``AUTO``."""
    changed = [one for one in merged(*AUTO, *settings) if not one.startswith("model.backbone")]
    return ["--backbone", "auto", *(part for one in changed for part in ("--set", one))]


@pytest.mark.thorough
def test_the_run_is_that_of_the_chosen_backbone_and_can_be_reproduced(tmp_path, monkeypatch):
    photos, run = write_fruit(tmp_path / "photos", n=9), tmp_path / "run"
    budget = ("--budget", "1h")  # also enough on a busy machine
    result = tltool("finetune", photos, "--out", run, *budget, *options("evaluate.report=true"))
    assert result.exit_code == 0, result.stderr
    choice = json.loads((run / "manifest.json").read_text())["backbone_choice"]
    name = choice["backbone"]
    assert name in NAMES and f"{name} is chosen: a linear probe reaches" in result.stderr
    assert f"Backbone: {choice['summary']}." in (run / "report.html").read_text()
    assert load_recipe(str(run)).model.backbone == name
    assert {one["backbone"] for one in choice["backbones"]} == set(NAMES)
    assert choice["n"] == (run / "split.csv").read_text().count(",train,")

    monkeypatch.setattr(story, "choose_backbone", None)  # not again
    again = reproduce(run, out=tmp_path / "again")
    assert again.verdict == "bit-identical"


@pytest.mark.thorough
def test_validation_and_test_images_take_no_part(tmp_path):
    train = write_fruit(tmp_path / "one" / "train", n=8)
    shutil.copytree(train, tmp_path / "two" / "train")
    for number, folder in enumerate(("one", "two")):
        for part in ("val", "test"):
            write_fruit(tmp_path / folder / part, n=3, seed=10 * number + len(part))
    one, two = choose(tmp_path / "one"), choose(tmp_path / "two")
    assert one.n == two.n == 24
    for first, second in zip(one.entries, two.entries, strict=True):
        assert first.backbone == second.backbone
        assert first.correct.tolist() == second.correct.tolist()


def test_a_backbone_that_does_not_fit_into_the_budget_is_not_evaluated(tmp_path, monkeypatch):
    time_is(monkeypatch, tiny_vgg=0.0, tiny_resnet=1e6)
    choice = choose(write_fruit(tmp_path / "photos", n=6))
    assert choice.chosen.backbone.name == "tiny_vgg" and choice.runner_up is None
    assert "of the budget were left" in choice.skipped["tiny_resnet"]
    assert choice.summary.endswith("no other backbone was evaluated")


def test_the_fastest_is_evaluated_first_and_the_search_ends_where_none_can_win(
    make_photos: PhotoMaker, monkeypatch
):
    time_is(monkeypatch, tiny_vgg=2e-3, tiny_resnet=1e-3)
    choice = choose(make_photos(n=12))  # colours, which both networks separate
    assert choice.chosen.backbone.name == "tiny_resnet"
    assert choice.skipped["tiny_vgg"].startswith("it cannot be better: tiny_resnet makes")


def test_a_budget_too_short_for_one_backbone(make_photos: PhotoMaker, tmp_path):
    run = tmp_path / "run"
    result = tltool("finetune", make_photos(), "--budget", "1s", "--out", run, *options())
    assert result.exit_code == 2 and not run.exists()
    message = " ".join(result.stderr.partition("error: ")[2].split())
    assert "--budget 1s is too short for one backbone: tiny_" in message
    assert "hint: --budget" in message


@pytest.mark.thorough
def test_a_backbone_whose_weights_are_damaged_is_skipped_with_the_reason(
    make_photos: PhotoMaker, store, tmp_path, monkeypatch
):
    damaged = shutil.copytree(store, tmp_path / "store")
    stored = next(damaged.glob("tiny_vgg-*"))
    stored.write_bytes(bytes(stored.stat().st_size))
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(damaged))
    choice = choose(make_photos())
    assert choice.chosen.backbone.name == "tiny_resnet"
    assert "tiny_vgg" in choice.skipped["tiny_vgg"]


def test_random_weights_leave_nothing_to_compare(make_photos: PhotoMaker):
    with pytest.raises(UsageError, match="published weights, not model\\.weights random"):
        choose_backbone(auto("model.weights=random"), RunOptions(str(make_photos())))


@pytest.mark.parametrize(
    ("of_slow", "chosen"), [(100, "tiny_vgg"), (94, "tiny_vgg"), (90, "tiny_resnet")]
)
def test_the_fastest_within_one_standard_error_is_chosen(of_slow: int, chosen: str):
    # of 100 images; a difference of 4 has a standard error of 2
    fast = entry("tiny_resnet", [True] * 90 + [False] * 10, 1.0)
    slow = entry("tiny_vgg", [True] * of_slow + [False] * (100 - of_slow), 3.0)
    ordered = sorted((fast, slow), key=lambda one: -one.correct.sum())
    assert fastest_within_one_standard_error(ordered).backbone.name == chosen


def test_a_saving_is_named_where_it_was_measured():
    fast = entry("efficientnet_lite0", [True] * 9 + [False], 0.01)
    slow = entry("vgg16", [True] * 9 + [False], 0.1)
    assert describe_saving([slow, fast]) == (
        "efficientnet_lite0 reaches the accuracy of vgg16 within one standard error in 10 % of the "
        "time: --recipe fast"
    )
    assert describe_saving([slow]) is None
    assert describe_saving([entry("vgg16", [True] * 10, 0.015), fast]) is None


def test_a_sample_keeps_the_class_frequencies_and_small_classes():
    labels = np.repeat([0, 1, 2], [2000, 1000, 5])
    rows = stratified_sample(labels, 3, seed=0)
    counts = np.bincount(labels[rows])
    assert counts[2] == 5 and counts[0] == pytest.approx(2 * counts[1], abs=2)
    assert 495 <= len(rows) <= 515 and (np.diff(rows) > 0).all()
    assert len(stratified_sample(labels[-400:], 3, seed=0)) == 400
