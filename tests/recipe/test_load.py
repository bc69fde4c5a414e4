"""Recipes: reading, inheriting, overriding, and saying what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tltool.errors import UsageError
from tltool.recipe.load import all_keys, load_recipe, to_yaml


@pytest.fixture
def write(tmp_path):
    def to_file(text: str, name: str = "my.yaml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return to_file


def problem(reference: str, *overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_recipe(reference, overrides)
    return caught.value.message


def test_an_empty_file_is_all_defaults_under_its_own_name(write):
    recipe = load_recipe(write("", "mine.yaml"))
    assert recipe.name == "mine"
    assert recipe.train.batch_size == 32


def test_a_base_gives_what_the_recipe_does_not_say(write):
    write("seed: 5\ntrain: {batch_size: 7, head: {epochs: 3}}", "parent.yaml")
    recipe = load_recipe(write("base: parent.yaml\ntrain: {head: {learning_rate: 0.5}}"))
    assert (recipe.seed, recipe.train.batch_size) == (5, 7)
    assert (recipe.train.head.epochs, recipe.train.head.learning_rate) == (3, 0.5)


def test_a_shipped_recipe_can_be_the_base(write):
    recipe = load_recipe(write("base: quick", "my.yaml"))
    assert recipe.train.finetune.epochs == 0
    assert recipe.name == "my"


def test_a_list_of_the_base_is_replaced_and_not_extended(write):
    write("train: {probe: {strengths: [1, 2, 3]}}", "parent.yaml")
    recipe = load_recipe(write("base: parent.yaml\ntrain: {probe: {strengths: [9]}}"))
    assert recipe.train.probe.strengths == (9,)


def test_null_switches_off_what_the_base_has_on(write):
    write("augment: {mixup: {alpha: 0.4}}", "parent.yaml")
    assert load_recipe(write("base: parent.yaml\naugment: {mixup: null}")).augment.mixup is None


def test_bases_that_go_in_a_circle(write):
    write("base: b.yaml", "a.yaml")
    message = problem(write("base: a.yaml", "b.yaml"))
    assert "circle" in message
    assert "a.yaml" in message


def test_a_recipe_that_is_its_own_base(write):
    assert "circle" in problem(write("base: my.yaml"))


def test_an_unknown_base(write):
    assert "vgg16" in problem(write("base: vgg61"))


def test_a_base_that_is_no_name(write):
    assert "base must be" in problem(write("base: [a, b]"))


def test_all_mistakes_are_told_at_once(write):
    message = problem(
        write("trian: 1\nseed: -1\ntrain: {batch_size: x, ema: 2}\naugment: {flip: sideways}")
    )
    for told in ("'trian'", "seed", "train.batch_size", "train.ema", "augment.flip"):
        assert told in message
    assert "Did you mean 'train'?" in message


def test_a_key_in_the_wrong_section_is_pointed_to_the_right_one(write):
    assert "Did you mean 'data.image_size'?" in problem(write("image_size: 160"))


def test_a_key_like_no_other_gets_the_list_of_known_ones(write):
    assert "Known here: kind, dropout" in problem(write("model: {head: {qqqq: 1}}"))


def test_a_key_that_stands_twice(write):
    message = problem(write("train:\n  ema: 0.1\n  ema: 0.2\n"))
    assert "'ema' stands twice (line 3)" in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train:\n\tema: 0", "tabs are not allowed"),
        ("- a", "not a map of keys to values but a list"),
        ("just words", "but a str"),
        ("a: [1, 2", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("seed: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("--- 1\n--- 2", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_recipe(write, text, told):
    assert told in problem(write(text))


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "photo.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    assert "cannot be read" in problem(str(tmp_path / "photo.yaml"))


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.batch_size=8", ("train", "batch_size"), 8),
        ("train.cache=off", ("train", "cache", "mode"), "off"),
        ("train.cache=on", ("train", "cache", "mode"), "on"),
        ("train.cache.mode=off", ("train", "cache", "mode"), "off"),
        ("train.cache=auto", ("train", "cache", "mode"), "auto"),
        ("augment.crop=null", ("augment", "crop"), None),
        ("augment.mixup.alpha=0.3", ("augment", "mixup", "alpha"), 0.3),
        ("train.finetune.learning_rate=1e-4", ("train", "finetune", "learning_rate"), 1e-4),
        ("train.probe.strengths=[0.1, 1]", ("train", "probe", "strengths"), (0.1, 1.0)),
        ("export.enabled=false", ("export", "enabled"), False),
        ("train.deterministic=no", ("train", "deterministic"), False),
        ("name=a=b", None, None),
    ],
)
def test_overrides(override, path, value):
    if path is None:
        assert "name" in problem("vgg16", override)
        return
    found = load_recipe("vgg16", [override])
    for part in path:
        found = getattr(found, part)
    assert found == value


def test_the_later_override_wins():
    assert load_recipe("vgg16", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("override", ["seed", "=3", "train..ema=1", "train.ema.x=1", "seed="])
def test_an_override_that_makes_no_sense(override):
    assert problem("vgg16", override)


def test_yaml_1_1_booleans_in_a_file_mean_the_cache_modes(write):
    assert load_recipe(write("train: {cache: off}")).train.cache.mode == "off"
    assert load_recipe(write("train: {cache: on}")).train.cache.mode == "on"


def test_a_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "bom.yaml").write_text("seed: 4", encoding="utf-8-sig")
    assert load_recipe(str(tmp_path / "bom.yaml")).seed == 4


def test_a_resolved_recipe_shows_every_key():
    text = to_yaml(load_recipe("vgg16", ["augment.mixup.alpha=1", "augment.cutmix.alpha=1"]))
    for key in all_keys():
        assert f"{key.rsplit('.', 1)[-1]}:" in text


def test_a_missing_file_and_a_missing_name(tmp_path):
    assert "no recipe file" in problem(str(tmp_path / "gone.yaml"))
    assert "Did you mean 'quick'?" in problem("qick")
    assert problem("../recipes/vgg16")
    assert problem("")


def test_a_folder_is_no_recipe(tmp_path):
    assert str(Path(tmp_path).name) in problem(str(tmp_path))
