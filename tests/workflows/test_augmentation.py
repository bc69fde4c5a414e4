"""Augmentation of a run: the policy that the number of images chooses, and changes of features."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import merged
from tltool.augment.augmenter import Augmenter
from tltool.errors import EnvironmentProblem, UsageError
from tltool.events import SilentObserver
from tltool.recipe.augment_section import AugmentSection
from tltool.recipe.augmentation_policies import MIXUP_PAYS, OFF, POLICIES
from tltool.recipe.key_paths import all_keys
from tltool.recipe.load import load_recipe
from tltool.runs.manifest import read_manifest
from tltool.workflows.finetune import finetune
from tltool.workflows.preflight.augmentation_checks import feature_map_problems
from tltool.workflows.preflight.recipe import check_recipe
from tltool.workflows.resolve.augmentation import (
    augment_spec,
    feature_spec,
    resolve_augmentation,
    single_transforms,
)
from tltool.workflows.resolve.run_spec import resolve

FEATURES = (
    "augment.feature_mixup.alpha=0.4",
    "augment.feature_cutmix.alpha=1",
    "augment.feature_noise.stddev=0.2",
    "augment.mixstyle.probability=1",
    "augment.mix_off_epochs=1",
)


class Listener(SilentObserver):
    """Keeps every sentence."""

    def __init__(self) -> None:
        self.output: list[str] = []

    def on_message(self, text: str, *, level: str = "info") -> None:
        self.output.append(text)


class Stop(Listener):
    """Ends a run when it has chosen its augmentation: training says nothing more about it."""

    def on_phase(self, name: str, detail: str = "") -> None:
        if name == "probe":
            raise EnvironmentProblem("enough")


def first_losses(run: Path) -> dict[str, str]:
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        return {row["phase"]: row["loss"] for row in csv.DictReader(file) if row["epoch"] == "1"}


@pytest.mark.thorough
@pytest.mark.slow
def test_a_run_tells_its_policy_and_why_and_changes_features_as_asked(
    fruit, tmp_path, tiny_settings
):
    runs, output = {}, {}
    for name, settings in {"plain": (), "changed": FEATURES}.items():
        listener = Listener()
        recipe = load_recipe("vgg16", merged(*tiny_settings, "augment.policy=auto", *settings))
        out = tmp_path / name
        runs[name] = finetune(fruit, recipe=recipe, out=out, observer=listener).run
        output[name] = listener.output
    why = "training images; mixup needs 5,000"
    assert any(text.startswith("augmentation: light (") and why in text for text in output["plain"])
    noted = read_manifest(runs["plain"] / "manifest.json").augmentation
    assert noted["policy"] == "light"
    assert why in noted["why"]
    light = "flip horizontal, crop (min_area 0.6, max_aspect 1.25)"
    assert noted["changes"] == light
    assert any(text.endswith(f"): {light}") for text in output["plain"])
    plain, changed = first_losses(runs["plain"]), first_losses(runs["changed"])
    assert plain["head"] != changed["head"]
    assert plain["finetune"] != changed["finetune"]


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("cache", ["on", "off"])
def test_where_a_gpu_trains_it_computes_the_augmentation(fruit, finetune_tiny, cache, monkeypatch):
    settings = ("augment.policy=light", f"train.cache={cache}", "train.precision=float32")
    on_cpu = finetune_tiny(fruit, *settings).run
    # the code for a GPU runs on a CPU too
    strategy = tf.distribute.get_strategy()
    monkeypatch.setattr(
        "tltool.workflows.training_run.context.choose_devices", lambda _: (strategy, True)
    )
    batches = []
    transform = Augmenter.transform

    def counted(self: Augmenter, batch: Any) -> Any:
        batches.append(len(batch[0]))
        return transform(self, batch)

    monkeypatch.setattr(Augmenter, "transform", counted)
    on_gpu = finetune_tiny(fruit, *settings).run
    assert sum(batches) > 0
    devices = {
        run: read_manifest(run / "manifest.json").augmentation["device"] for run in (on_cpu, on_gpu)
    }
    assert devices == {on_cpu: "CPU", on_gpu: "GPU"}
    losses = [{name: float(loss) for name, loss in first_losses(run).items()} for run in devices]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_run_names_changes_that_no_policy_has(fruit, tmp_path, tiny_settings):
    listener = Stop()
    more = ("train.cache=off", "augment.policy=none", "augment.rotation.degrees=9")
    recipe = load_recipe("vgg16", merged(*tiny_settings, *more))
    with pytest.raises(EnvironmentProblem, match="enough"):
        finetune(fruit, recipe=recipe, out=tmp_path / "run", observer=listener)
    assert "augmentation: rotation (degrees 9) (as the recipe says)" in listener.output


def test_the_number_of_photos_chooses_the_policy():
    section = load_recipe("vgg16", ["augment.blur={}"]).augment
    few, why_few = resolve_augmentation(section, MIXUP_PAYS - 1)
    many, why_many = resolve_augmentation(section, MIXUP_PAYS)
    assert (few.policy, many.policy) == ("light", "medium")
    assert (why_few.policy, why_many.policy) == ("light", "medium")
    assert not augment_spec(few).mixes
    assert augment_spec(many).mixes
    assert augment_spec(few).blur.amount == 1.5


@pytest.mark.parametrize(
    ("side", "grey", "mirrored"), [(28, True, False), (28, False, True), (33, True, True)]
)
def test_tiny_grey_pictures_are_not_mirrored_by_default(
    tiny_settings, tmp_path, side, grey, mirrored
):
    rng = np.random.default_rng(0)
    for label in ("2", "S"):
        (tmp_path / "signs" / label).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 256, (side, side) if grey else (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "signs" / label / f"{number}.png")
    recipe = load_recipe("vgg16", merged(*tiny_settings, "augment.policy=auto", "train.cache=off"))
    listener, run = Stop(), tmp_path / "run"
    with pytest.raises(EnvironmentProblem, match="enough"):
        finetune(tmp_path / "signs", recipe=recipe, out=run, observer=listener)
    noted = read_manifest(run / "manifest.json").augmentation
    assert noted["policy"] == "light"
    assert ("no mirror images" in noted["why"]) is not mirrored
    assert ("flip horizontal" in noted["changes"]) is mirrored
    assert f"augmentation: light ({noted['why']}): {noted['changes']}" in listener.output


def test_what_a_recipe_says_about_mirror_images_stands():
    for flip in ("none", "horizontal", "vertical"):
        section = load_recipe("vgg16", [f"augment.flip={flip}"]).augment
        assert resolve_augmentation(section, 10, looks_like_text=True)[0].flip == flip
    plain = load_recipe("vgg16").augment
    assert [resolve_augmentation(plain, n, looks_like_text=True)[0].flip for n in (10, 10**6)] == [
        "none",
        "none",
    ]
    assert (
        resolve_augmentation(plain, 10, looks_like_text=True)[0].crop
        == resolve_augmentation(plain, 10)[0].crop
    )
    light = load_recipe("vgg16", ["augment.policy=light"]).augment
    assert resolve_augmentation(light, 10, looks_like_text=True)[0].flip == "horizontal"


def test_a_policy_by_name_does_not_depend_on_the_number_of_photos():
    section = load_recipe("vgg16", ["augment.policy=strong"]).augment
    assert (
        resolve_augmentation(section, 10)[0] == resolve_augmentation(section, 10**6)[0] == section
    )
    assert augment_spec(load_recipe("vgg16", ["augment.policy=none"]).augment).identity


@pytest.mark.parametrize(
    ("settings", "output"),
    [
        (("augment.feature_mixup={}", "train.cache=off"), "augment.feature_mixup changes cached"),
        (("augment.mixstyle={}", "train.finetune.unfreeze=all"), "augment.mixstyle changes cached"),
        (("augment.mixstyle={}", "train.finetune.epochs=0"), "has no such phase"),
        (("augment.feature_cutmix={}", "train.finetune.unfreeze=head"), "has no such phase"),
        (
            ("augment.feature_noise={}", "train.finetune.epochs=0", "train.head.epochs=0"),
            "no phase trains it",
        ),
    ],
)
def test_changes_of_features_that_no_phase_could_make_are_refused(settings, output):
    with pytest.raises(UsageError, match=output) as caught:
        check_recipe(resolve(load_recipe("vgg16", settings)))
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["feature_cutmix", "mixstyle"])
def test_maps_of_one_position_are_refused(name):
    recipe = load_recipe("vgg16", [f"augment.{name}={{}}"])
    changes = resolve(recipe).feature_changes
    assert list(feature_map_problems(changes, height=2, width=1)) == []
    (problem,) = feature_map_problems(changes, height=1, width=1)
    assert f"augment.{name} needs feature maps of more than 1x1" in problem.message


@pytest.mark.parametrize("settings", [("train.cache.views=1",), ("train.head.epochs=0",)])
def test_a_policy_that_no_phase_ever_sees_is_told(fruit, tmp_path, tiny_settings, settings):
    listener = Stop()
    more = ("train.finetune.epochs=0", "train.head.epochs=1", "augment.policy=medium", *settings)
    recipe = load_recipe("vgg16", merged(*tiny_settings, *more))
    with pytest.raises(EnvironmentProblem, match="enough"):
        finetune(fruit, recipe=recipe, out=tmp_path / "run", observer=listener)
    assert any(text.startswith("augmentation: none (") for text in listener.output)


ALL_ON = {name: {} for name in OFF if name != "flip"} | {
    "policy": "none",
    "flip": "horizontal",
    "feature_mixup": {},
    "feature_cutmix": {},
    "feature_noise": {},
    "mixstyle": {},
}
OTHERWISE = {"flip": "vertical", "mix_off_epochs": 3, "crop.max_aspect": 2}


def with_value(key: str, value: object) -> AugmentSection:
    tree = {name: dict(part) if isinstance(part, dict) else part for name, part in ALL_ON.items()}
    *sections, leaf = key.split(".")
    place = tree[sections[0]] if sections else tree
    place[leaf] = value
    return AugmentSection.model_validate(tree)


def values_of(section: AugmentSection) -> tuple[object, ...]:
    return augment_spec(section), feature_spec(section), section.mix_off_epochs


@pytest.mark.parametrize(
    "key", [key.removeprefix("augment.") for key in all_keys() if key.startswith("augment.")]
)
def test_every_key_changes_what_is_done(key):
    if key == "policy":  # it says what the others leave to it
        policies = {values_of(AugmentSection(policy=name)) for name in POLICIES}
        assert len(policies) == len(POLICIES)
        return
    section = AugmentSection.model_validate(ALL_ON)
    value: object = section
    for part in key.split("."):
        value = getattr(value, part)
    if key in OTHERWISE:
        value = OTHERWISE[key]
    else:
        assert isinstance(value, int | float)
        value = value - 1 if isinstance(value, int) else value / 2
    assert values_of(with_value(key, value)) != values_of(section)


def test_each_change_alone_is_told_by_its_key():
    section = load_recipe("vgg16", ["augment.policy=documents"]).augment
    assert list(single_transforms(section, every=False)) == [
        "rotation", "translation", "scale", "shear", "color_jitter", "blur", "noise", "jpeg",
    ]  # fmt: skip
    every = single_transforms(section, every=True)
    assert list(every)[:3] == ["flip horizontal", "flip vertical", "crop"]
    assert len(every) == len(OFF) + 1
    assert every["rotation"].rotation == 3  # as the policy has it
    assert every["blur"].blur.probability == 1
