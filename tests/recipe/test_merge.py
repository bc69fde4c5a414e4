"""How recipes are merged, and which settings contradict each other."""

from __future__ import annotations

import pytest

from tltool.errors import UsageError
from tltool.recipe.diff import Difference, differences
from tltool.recipe.load import load_recipe
from tltool.recipe.merge import find_conflict, merged
from tltool.recipe.overrides import Override


@pytest.mark.parametrize(
    ("below", "over", "result"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": 3}, {"a": 3, "b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": 7}, {"a": 7}),
    ],
)
def test_merging(below, over, result):
    assert merged(below, over) == result


def test_merging_changes_neither_tree():
    below, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    merged(below, over)["a"]["d"] = 3
    assert (below, over) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_a_grandparent_sets_what_no_other_recipe_sets(tmp_path):
    (tmp_path / "a.yaml").write_text("train: {ema: 0.5, batch_size: 4, head: {epochs: 1}}")
    (tmp_path / "b.yaml").write_text("base: a.yaml\ntrain: {batch_size: 5, head: {epochs: 2}}")
    (tmp_path / "c.yaml").write_text("base: b.yaml\ntrain: {head: {epochs: 3}}")
    train = load_recipe(str(tmp_path / "c.yaml")).train
    assert (train.ema, train.batch_size, train.head.epochs) == (0.5, 5, 3)


@pytest.mark.parametrize(
    ("base", "own", "mode", "views"),
    [
        ("cache: {views: 7}", "cache: off", "off", 7),
        ("cache: on", "cache: {views: 7}", "on", 7),
        ("cache: auto", "cache: false", "off", 2),
    ],
)
def test_the_shorthand_of_the_cache_merges_like_its_full_form(tmp_path, base, own, mode, views):
    (tmp_path / "a.yaml").write_text(f"train: {{{base}}}")
    (tmp_path / "b.yaml").write_text(f"base: a.yaml\ntrain: {{{own}}}")
    cache = load_recipe(str(tmp_path / "b.yaml")).train.cache
    assert (cache.mode, cache.views) == (mode, views)


CONTRADICTIONS = [
    ("seed=1", "seed=2", "different values for seed"),
    ("augment.mixup=null", "augment.mixup.alpha=1", "for augment.mixup"),
    ("augment.mixup={alpha: 2}", "augment.mixup.alpha=1", "for augment.mixup.alpha"),
    ("train.cache=off", "train.cache.mode=on", "for train.cache.mode"),
    ("train.probe.c_values=[1]", "train.probe.c_values=[1, 2]", "c_values"),
]


@pytest.mark.parametrize(("one", "other", "expected"), CONTRADICTIONS)
@pytest.mark.parametrize("turned", [False, True])
def test_settings_that_contradict_each_other_are_an_error(one, other, expected, turned):
    settings = [other, one] if turned else [one, other]
    with pytest.raises(UsageError) as caught:
        load_recipe("vgg16", settings)
    for part in (f"--set {one}", f"--set {other}", "set different values", expected):
        assert part in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        ("seed=1", "seed=1"),
        ("train.ema=0", "train.ema=0.0"),
        ("augment.mixup={alpha: 1}", "augment.mixup.alpha=1"),
        ("train.cache=off", "train.cache.mode=off", "train.cache.views=3"),
        ("train.head.epochs=1", "train.head.learning_rate=1"),
    ],
)
def test_settings_that_agree_are_fine(settings):
    assert load_recipe("vgg16", settings) == load_recipe("vgg16", settings[::-1])


def test_a_flag_is_named_as_it_was_written():
    flag = Override("model.backbone", "resnet50", "--backbone resnet50")
    with pytest.raises(UsageError, match=r"--backbone resnet50 and --set model\.backbone=vgg16"):
        load_recipe("vgg16", [flag, "model.backbone=vgg16"])


def test_trees_with_equal_values_have_no_conflict():
    assert find_conflict({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}) is None
    assert find_conflict({"a": {"b": 1}}, {"a": {"b": 2}}) == "a.b"


def test_differences_between_two_recipes_in_the_order_of_the_schema():
    a = load_recipe("vgg16")
    b = load_recipe("vgg16", ["seed=3", "train.ema=0.5", "augment.mixup.alpha=0.4"])
    assert differences(a, b) == [
        Difference("seed", 0, 3),
        Difference("augment.mixup", "auto", {"alpha": 0.4}),
        Difference("train.ema", 0.95, 0.5),
    ]
    assert differences(a, a) == []
