"""Shipped recipes: they load, their headers are complete, their commands parse."""

from __future__ import annotations

import shlex

import pytest
from typer.testing import CliRunner

from tltool.cli.main import app
from tltool.errors import UsageError
from tltool.recipe.library import copy_recipe, find, shipped
from tltool.recipe.load import load_recipe
from tltool.workflows.preflight.recipe import check_recipes
from tltool.workflows.resolve.run_spec import resolve

NAMES = [name for name, _ in shipped()]


def test_the_promised_recipes_ship():
    named = {"vgg16", "resnet50", "quick", "mixup_cutmix", "scratch"}
    named |= {
        "fast",
        "mobile",
        "strong",
        "small_data",
        "fine_grained",
        "gpu",
        "imbalanced",
        "docker_smoke",
    }
    assert set(NAMES) == named | {"digit_recognizer", "tfds_flowers", "alexnet_classic"}


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_loads_under_its_own_name(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert resolve(recipe).problems == ()
    assert check_recipes([name]) == [(name, None, [])]


@pytest.mark.parametrize("name", NAMES)
def test_the_header_states_the_use_case_and_a_command_that_parses(
    name, tmp_path, monkeypatch, make_photos
):
    header = [line for line in find(name).read_text("utf-8").splitlines() if line.startswith("#")]
    assert any(line.startswith("# For: ") for line in header)
    command = next(line for line in header if line.startswith("# Command: "))
    program, *args = shlex.split(command.removeprefix("# Command: "))
    assert program == "tltool"
    assert args[args.index("--recipe" if "--recipe" in args else "run") + 1] == name
    # a folder that is not there is the first thing wrong: everything before it was understood
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*args, "--device", "nowhere"])
    assert result.exit_code == 2
    assert "nowhere" in result.stderr
    assert "No such option" not in result.stderr


@pytest.mark.parametrize(("name", "summary"), shipped())
def test_the_summary_is_one_sentence(name, summary):
    assert summary.endswith(".")
    assert 20 < len(summary) < 100


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_means_the_same(name, tmp_path):
    copy_recipe(name, tmp_path / "mine.yaml")
    assert load_recipe(str(tmp_path / "mine.yaml")) == load_recipe(name)


def test_a_copy_never_overwrites(tmp_path):
    (tmp_path / "mine.yaml").write_text("years of work")
    with pytest.raises(UsageError, match="exists"):
        copy_recipe("quick", tmp_path / "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() == "years of work"


def test_quick_is_a_probe_and_nothing_else():
    train = load_recipe("quick").train
    assert train.probe.enabled
    assert (train.head.epochs, train.finetune.epochs) == (0, 0)


def test_scratch_uses_no_pretraining():
    recipe = load_recipe("scratch")
    assert recipe.model.weights == "random"
    assert recipe.train.clip_norm, "VGG16 diverges without"


def test_alexnet_classic_trains_as_in_the_paper():
    recipe = load_recipe("alexnet_classic")
    train = recipe.train
    assert (train.optimizer, train.batch_size, train.weight_decay) == ("sgd", 128, 5e-4)
    assert (train.schedule, train.finetune.learning_rate, train.warmup_epochs) == (
        "plateau",
        0.01,
        0,
    )
    assert (recipe.model.head.kind, recipe.model.head.dropout) == ("original", 0.5)
    assert recipe.augment.crop and recipe.augment.flip == "horizontal"
    assert train.finetune.unfreeze == "all" and recipe.model.weights == "random"


def test_the_settings_of_the_other_recipes():
    default = load_recipe("vgg16")
    small, fine, gpu = map(load_recipe, ("small_data", "fine_grained", "gpu"))
    assert small.train.cache.views > default.train.cache.views
    assert small.train.finetune.learning_rate < default.train.finetune.learning_rate
    assert isinstance(fine.data.image_size, int) and fine.data.image_size > 224
    assert fine.train.label_smoothing > 0
    assert (gpu.train.cache.mode, gpu.train.precision) == ("off", "auto")
    assert gpu.train.batch_size > default.train.batch_size


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_names_no_data_of_this_machine(name):
    source = load_recipe(name).data.source
    assert source == ("tfds:tf_flowers" if name == "tfds_flowers" else None)
