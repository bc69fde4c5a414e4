"""Methods that cannot do what a recipe asks of them: one sentence, exit code 2, nothing written."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest

from tests.cli.conftest import TINY
from tltool.recipe.merge import merged
from tltool.recipe.overrides import parse_override
from tltool.recipe.yaml_text import write_yaml

RESNET = "model.backbone=tiny_resnet"

REFUSED = {
    "mixup with a sigmoid in the head": (
        ("augment.mixup.alpha=0.2", "model.head.activation=sigmoid"),
        "unknown key 'model.head.activation'",
    ),
    "a head of one sigmoid": (
        ("augment.mixup.alpha=0.2", "model.head.kind=sigmoid"),
        "model.head.kind: Input should be 'gap',",
    ),
    "a binary loss": (
        ("augment.mixup.alpha=0.2", "train.loss=binary_crossentropy"),
        "unknown key 'train.loss'",
    ),
    "cutmix of pooled features": (
        ("augment.feature_cutmix={}", "train.finetune.epochs=0"),
        "changes the feature maps from which the fine-tune phase starts",
    ),
    "cutmix of maps of one position": (
        (
            "augment.feature_cutmix={}",
            "model.backbone=resnet50v2",  # halves its maps at the end of a stage
            "train.finetune.unfreeze=conv5",
            "data.image_size=32",
        ),
        "augment.feature_cutmix needs feature maps of more than 1x1 positions",
    ),
    "a cache of nothing": (
        ("train.cache=on", "train.finetune.unfreeze=all"),
        "train.finetune.unfreeze leaves no frozen part to cache",
    ),
    "DropBlock larger than the map": (
        ("model.regularization.drop_block.size=9", RESNET),
        "DropBlock squares of 9 x 9 do not fit into the 4 x 4 maps of stage block3",
    ),
    "stochastic depth without residual blocks": (
        ("model.regularization.stochastic_depth=0.2", "model.backbone=vgg16"),
        "stochastic depth skips residual blocks, and vgg16 has none",
    ),
    "groups that do not divide the channels": (
        ("model.regularization.norm=group", "model.norm_groups=3", RESNET),
        "3 groups do not divide the 16 channels of tiny_resnet's first layers",
    ),
    "groups that do not divide the hidden layer": (
        ("model.head.kind=mlp", "model.head.norm=group", "model.norm_groups=7"),
        "7 groups do not divide the 256 hidden units of the head",
    ),
    "DropConnect without a dense layer": (
        ("model.head.kind=gap_conv", "model.head.dropout_kind=dropconnect"),
        "the head gap_conv has none",
    ),
    "instance norm without positions": (
        ("model.head.kind=flatten", "model.head.norm=instance"),
        "the head flatten has no instance normalisation",
    ),
    "group norm where there is no norm": (
        ("model.regularization.norm=group", "model.backbone=vgg16"),
        "vgg16 has no batch normalisation that model.regularization.norm could replace",
    ),
    "another norm under pretrained weights": (
        (
            "model.regularization.norm=group",
            "model.backbone=resnet50",
            "model.weights=imagenet",
            "train.finetune.unfreeze=conv5",
        ),
        "the pretrained weights of resnet50 are for batch normalisation, not group",
    ),
    "weights that do not exist": (
        ("model.backbone=alexnet", "model.weights=imagenet", "train.finetune.unfreeze=conv5"),
        "alexnet has no pretrained weights",
    ),
    "too small for the network": (("data.image_size=16", "model.backbone=vgg16"), "at least 32 px"),
    "too small for any": (("data.image_size=7",), "data.image_size"),
    "a probability above one": (("augment.flip_probability=1.5",), "augment.flip_probability"),
    "a probability below zero": (("augment.blur.probability=-0.1",), "augment.blur.probability"),
    "a share that is everything": (("model.head.dropout=1",), "model.head.dropout"),
    "a depth of more than all": (
        ("model.regularization.stochastic_depth=1.5",),
        "stochastic_depth",
    ),
    "an unknown augmentation": (("augment.cutmx.alpha=1",), "Did you mean 'augment.cutmix'?"),
    "an unknown policy": (("augment.policy=storng",), "Did you mean 'strong'?"),
}


pytestmark = pytest.mark.usefixtures("no_weights")


@pytest.mark.parametrize(("settings", "text"), REFUSED.values(), ids=list(REFUSED))
def test_a_method_that_cannot_be_used_is_refused_and_nothing_is_written(
    finetune_tiny, the_error, make_photos, untouched, tmp_path, settings, text
):
    photos = untouched(make_photos())
    result = finetune_tiny(photos, settings=settings)
    assert result.exit_code == 2
    assert text in the_error(result)
    assert [path.name for path in tmp_path.iterdir()] == ["here", "photos"]
    assert "audit" not in result.stderr, "refused before an image is opened"


def _nested(settings):
    """Return a recipe as YAML of ``key=value`` settings; later ones stand."""
    lines = dict(setting.split("=", 1) for setting in (*TINY, *settings))
    overrides = [parse_override(f"{key}={value}").tree() for key, value in lines.items()]
    return write_yaml(functools.reduce(merged, overrides, {}))


@pytest.mark.parametrize(("settings", "text"), REFUSED.values(), ids=list(REFUSED))
def test_validate_says_the_same_without_tensorflow(tltool, the_error, tmp_path, settings, text):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(_nested(settings), encoding="utf-8")
    result = tltool("recipes", "validate", recipe)
    assert result.exit_code == 2
    assert text in the_error(result)


def test_validate_lists_every_contradiction(tltool, the_error, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "base: vgg16\n"
        "data: {image_size: 16}\n"
        "model: {backbone: alexnet, norm_groups: 7, head: {kind: mlp, norm: group},\n"
        "  regularization: {stochastic_depth: 0.2, norm: group}}\n"
        "train: {cache: on, finetune: {unfreeze: all}}\n"
    )
    result = tltool("recipes", "validate", recipe)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[0] == f"error: recipe '{recipe}':"
    text = ("no frozen part", "at least 63 px", "residual blocks", "no batch normalisation",
            "7 groups", "no pretrained weights")  # fmt: skip
    assert len(lines) == 1 + len(text)
    assert all(words in line for words, line in zip(text, lines[1:], strict=True)), lines


def test_a_recipe_is_checked_without_tensorflow(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        _nested(("model.regularization.drop_block.size=2", RESNET)), "utf-8"
    )
    code = (
        "import sys; from tltool.workflows.preflight.recipe import check_recipes\n"
        "assert check_recipes(['mine.yaml'])[0][1] is None\n"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "command", [("finetune", "--find-lr"), ("finetune", "--kfold", "3"), ("recipes", "sweep")]
)
def test_other_commands_refuse_as_early(tltool, the_error, make_photos, tmp_path, command):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(_nested(("model.backbone=tiny_vgg",)), encoding="utf-8")
    photos = make_photos()
    if command[0] == "recipes":
        grid = ("--grid", "regularization.stochastic_depth=0,0.2")
        result = tltool(*command, recipe, photos, *grid, "--out", "sweep")
    else:
        settings = ("model.regularization.stochastic_depth=0.2",)
        result = tltool(command[0], photos, "--recipe", recipe, *command[1:], settings=settings)
    assert result.exit_code == 2
    assert "stochastic depth skips residual blocks" in the_error(result)
    assert not list((tmp_path / "here").iterdir())


def test_the_hint_at_a_size_names_what_the_command_has(tltool, make_photos):
    result = tltool("finetune", make_photos(), settings=("data.image_size=20",))
    assert "hint: set data.image_size to 32 or more; its own size is 224" in result.stderr
    shown = tltool("backbones", "show", "vgg16", "--image-size", "20")
    assert "hint: set --image-size to 32 or more; its own size is 224" in shown.stderr


def test_all_problems_of_a_recipe_are_named_at_once(tltool, make_photos):
    result = tltool(
        *("finetune", make_photos()),
        settings=("train.finetune.unfreeze=block9", "evaluate.strict=true", "data.image_size=16"),
    )
    assert result.exit_code == 2
    error = result.stderr
    assert "the recipe has 3 problems" in error
    assert "block9" in error
    assert "evaluate.strict is set without a condition" in error
    assert "16" in error


def test_a_batch_has_no_more_parts_than_images(tltool, make_photos):
    settings = ("train.batch_size=4", "train.accumulate=5")
    result = tltool("finetune", make_photos(), settings=settings)
    assert result.exit_code == 2
    assert "train.accumulate 5 is more than the 4 images of a batch" in result.stderr
    assert "--set train.accumulate=4" in result.stderr
