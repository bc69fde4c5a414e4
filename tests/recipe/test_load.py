"""Recipes: loading, inheritance, overrides and error messages."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tltool.errors import UsageError
from tltool.recipe.augmentation_policies import OFF, POLICIES
from tltool.recipe.key_paths import all_keys
from tltool.recipe.load import load_recipe, to_yaml
from tltool.recipe.train_section import TrainSection


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


def test_a_file_without_keys_gives_all_defaults_under_its_own_name(write):
    recipe = load_recipe(write("# my recipe\n", "mine.yaml"))
    assert recipe.name == "mine"
    assert recipe.train.batch_size == 32


def test_a_base_sets_what_the_recipe_does_not_set(write):
    write("seed: 5\ntrain: {batch_size: 7, head: {epochs: 3}}", "parent.yaml")
    recipe = load_recipe(write("base: parent.yaml\ntrain: {head: {learning_rate: 0.5}}"))
    assert (recipe.seed, recipe.train.batch_size) == (5, 7)
    assert (recipe.train.head.epochs, recipe.train.head.learning_rate) == (3, 0.5)


def test_a_shipped_recipe_can_be_the_base(write):
    recipe = load_recipe(write("base: quick", "my.yaml"))
    assert recipe.train.finetune.epochs == 0
    assert recipe.name == "my"


def test_a_list_of_the_base_is_replaced_and_not_extended(write):
    write("train: {probe: {c_values: [1, 2, 3]}}", "parent.yaml")
    recipe = load_recipe(write("base: parent.yaml\ntrain: {probe: {c_values: [9]}}"))
    assert recipe.train.probe.c_values == (9,)


def test_null_switches_off_what_the_base_switches_on(write):
    write("augment: {mixup: {alpha: 0.4}}", "parent.yaml")
    assert load_recipe(write("base: parent.yaml\naugment: {mixup: null}")).augment.mixup is None


def test_circular_bases_are_an_error(write):
    write("base: b.yaml", "a.yaml")
    message = problem(write("base: a.yaml", "b.yaml"))
    assert "circle" in message
    assert "a.yaml" in message


def test_a_recipe_that_is_its_own_base(write):
    assert "circle" in problem(write("base: my.yaml"))


def test_an_unknown_base_is_reported_with_the_file_that_names_it(write):
    message = problem(write("base: vgg61"))
    assert "my.yaml', base:" in message
    assert "Did you mean 'vgg16'?" in message


def test_a_base_that_is_not_a_name(write):
    assert "base must be" in problem(write("base: [a, b]"))


def test_all_errors_are_reported_at_once(write):
    message = problem(
        write("trian: 1\nseed: -1\ntrain: {batch_size: x, ema: 2}\naugment: {flip: sideways}")
    )
    for key in ("'trian'", "seed", "train.batch_size", "train.ema", "augment.flip"):
        assert key in message
    assert "Did you mean 'train'?" in message


def test_a_key_in_the_wrong_section_suggests_the_right_one(write):
    assert "Did you mean 'data.image_size'?" in problem(write("image_size: 160"))


def test_a_key_similar_to_no_other_gets_the_list_of_known_keys(write):
    assert "Known keys: kind, dropout" in problem(write("model: {head: {qqqq: 1}}"))
    message = problem(write("train: {qqqq: 0.9}"))
    known = f"None of the {len(TrainSection.model_fields)} keys of 'train' is similar."
    assert f"unknown key 'train.qqqq'. {known}" in message
    assert "Known keys" not in problem(write("train: {batchsize: 8}"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("name=../../evil", "name must consist of 1 to 64 letters A to Z, digits, dots"),
        ("data.pixels=28*28", "data.pixels must be a shape such as 28x28"),
        ("data.fold=2/1", "data.fold must be a fold such as 2, or 2/5"),
    ],
)
def test_a_text_of_the_wrong_form_is_explained_in_words(override, message):
    with pytest.raises(UsageError) as caught:
        load_recipe("quick", [override])
    assert f"{message}" in caught.value.message
    assert caught.value.message.endswith(f", got {override.partition('=')[2]}")
    assert "pattern" not in caught.value.message
    assert caught.value.hint == "`tltool recipes show quick --resolved` shows every key"


def test_a_duplicate_key(write):
    message = problem(write("train:\n  ema: 0.1\n  ema: 0.2\n"))
    assert "duplicate key 'ema'" in message
    assert "line 3" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train:\n\tema: 0", "tabs are not allowed"),
        ("- a", "not a mapping of keys to values but a list"),
        ("just words", "but a str"),
        ("a: [1, 2", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("seed: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("--- 1\n--- 2", "not valid YAML"),
        ("seed: 1\n---\nseed: 2\n", "it has several documents, remove what is behind"),
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("? [a, b]\n: 1", "not valid YAML"),
        ("[" * 5000, "nested too deeply"),
        ("seed: " + "9" * 5000, "not valid YAML"),
        ("seed: 0x" + "f" * 5000, "number too long"),
    ],
)
def test_a_file_that_is_not_a_recipe(write, text, expected):
    assert expected in problem(write(text))


def test_a_file_that_is_not_text(tmp_path):
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
        ("train.probe.c_values=[0.1, 1]", ("train", "probe", "c_values"), (0.1, 1.0)),
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


@pytest.mark.parametrize("override", ["seed", "=3", "train..ema=1", "train.ema.x=1", "seed="])
def test_an_invalid_override(override):
    assert problem("vgg16", override)


@pytest.mark.parametrize("text", ["on", "off", "yes", "no", "2026-01-31", "'007'"])
def test_only_true_and_false_are_booleans_and_no_text_is_a_date(write, text):
    assert load_recipe(write(f"model: {{backbone: {text}}}")).model.backbone == text.strip("'")


@pytest.mark.parametrize("text", ["007", "1e3", "no", "[a", "2026-01-31", "'007'", "x: y"])
def test_an_override_of_a_text_is_a_text(text):
    weights = load_recipe("vgg16", [f"model.weights={text}"]).model.weights
    assert weights == text.strip("'")


@pytest.mark.parametrize(
    "key", ["train.head.epochs", "train.weight_decay", "train.clip_norm", "data.image_size", "seed"]
)
def test_true_is_no_number(key):
    assert problem("vgg16", f"{key}=true").endswith(f"{key}: Input should be a number, got true")


@pytest.mark.parametrize(("word", "value"), [("no", False), ("off", False), ("yes", True)])
def test_a_boolean_may_be_yes_or_no(write, word, value):
    assert load_recipe(write(f"export: {{enabled: {word}}}")).export.enabled is value


def test_a_base_is_not_a_setting():
    assert "base is only allowed in a recipe file" in problem("vgg16", "base=quick")


def test_yaml_1_1_booleans_in_a_file_mean_the_cache_modes(write):
    assert load_recipe(write("train: {cache: off}")).train.cache.mode == "off"
    assert load_recipe(write("train: {cache: on}")).train.cache.mode == "on"


def test_a_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "bom.yaml").write_text("seed: 4", encoding="utf-8-sig")
    assert load_recipe(str(tmp_path / "bom.yaml")).seed == 4


def test_an_empty_section_is_reported_with_its_keys(write):
    message = problem(write("train:\nseed: 1"))
    assert "train: expected a mapping of keys to values, got null" in message
    assert "batch_size" in message


def test_an_anchor_does_not_tie_two_sections_together(write):
    recipe = load_recipe(
        write("augment: {mixup: &same {alpha: 0.4}, cutmix: *same}"), ["augment.mixup.alpha=1"]
    )
    assert (recipe.augment.mixup.alpha, recipe.augment.cutmix.alpha) == (1, 0.4)


def test_a_recipe_from_a_later_version_is_one_error_message(write):
    message = problem(write("format: 2\ntrain: {new_idea: 3}"))
    assert "comes from a later version of tltool" in message
    assert "new_idea" not in message


def test_a_base_from_a_later_version_is_an_error_too(write):
    write("format: 99", "parent.yaml")
    assert "parent.yaml' comes from a later version" in problem(write("base: parent.yaml"))


def test_a_resolved_recipe_states_its_format():
    assert to_yaml(load_recipe("vgg16")).startswith("format: 1\n")


def test_paths_start_at_the_recipe_file_and_those_of_an_override_at_the_working_folder(
    write, tmp_path
):
    (tmp_path / "below").mkdir()
    write("data: {source: photos}", "below/parent.yaml")
    inherited = load_recipe(write("base: below/parent.yaml"))
    assert inherited.data.source == str(tmp_path / "below" / "photos")
    here = load_recipe("vgg16", ["data.source=photos"]).data.source
    assert here == str(Path("photos").absolute())
    assert load_recipe("vgg16", ["data.source=/photos"]).data.source == "/photos"
    assert load_recipe("vgg16").data.source is None


def test_the_folder_of_a_run_is_a_recipe(write, tmp_path):
    write("seed: 8", "recipe.yaml")
    assert load_recipe(str(tmp_path)).seed == 8


def test_a_home_that_does_not_exist():
    assert problem("~nobody-of-this-name/my.yaml")


def test_a_resolved_recipe_shows_every_key():
    text = to_yaml(load_recipe("vgg16", [f"augment.{name}={{}}" for name in OFF if name != "flip"]))
    for key in all_keys():
        assert f"{key.rsplit('.', 1)[-1]}:" in text


def test_a_missing_file_and_a_missing_name(tmp_path):
    assert "no recipe file" in problem(str(tmp_path / "gone.yaml"))
    assert "Did you mean 'quick'?" in problem("qick")
    assert problem("../recipes/vgg16")
    assert problem("")


def test_a_folder_is_not_a_recipe(tmp_path):
    assert str(Path(tmp_path).name) in problem(str(tmp_path))


def test_aliases_of_aliases_do_not_unfold(write):
    lines = ["a: &a [x, x, x, x, x, x, x, x]"]
    lines += [
        f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]" for old, new in pairwise("abcdefghij")
    ]
    message = problem(write("\n".join([*lines, "model: {backbone: *j}"])))
    assert len(message) < 5000
    assert "model.backbone" in message


WORDS = ("data", "train", "model", "base", "vgg16", "seed", "null", "1e3", "on", "0x1", "&a", "*a")
MARKS = ("{", "}", "[", "]", ":", ",", "\n", "- ", "? ", "!!", "'", '"', "|", "#", " ", "<<")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.binary(max_size=80)
    | st.lists(st.sampled_from(WORDS + MARKS), max_size=25).map(
        lambda parts: "".join(parts).encode()
    )
)
def test_any_text_is_a_recipe_or_one_error(tmp_path, text):
    (tmp_path / "fuzz.yaml").write_bytes(text)
    try:
        load_recipe(str(tmp_path / "fuzz.yaml"))
    except UsageError as error:
        assert "fuzz.yaml" in error.message


# policies of augmentation -------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_is_a_recipe_and_sets_every_key(policy):
    section = load_recipe("vgg16", [f"augment.policy={policy}"]).augment
    assert section.policy == policy
    assert "auto" not in section.model_dump(exclude={"policy"}).values()


def test_a_key_overrides_the_policy_which_fills_in_the_rest_of_a_transform(write):
    section = load_recipe(
        write("augment: {policy: medium, mixup: null, crop: {min_area: 0.7}, blur: {}}")
    ).augment
    assert section.mixup is None
    assert (section.crop.min_area, section.crop.max_aspect) == (0.7, 1.33)
    assert section.blur.sigma == 1.5
    assert section.rotation.degrees == 10
    assert section.noise is None


def test_a_policy_replaces_the_augmentation_of_the_base(write):
    off = load_recipe(write("base: mixup_cutmix\naugment: {policy: none}")).augment
    assert (off.mixup, off.cutmix, off.cutout, off.crop, off.flip) == (
        None,
        None,
        None,
        None,
        "none",
    )
    kept = load_recipe(write("base: mixup_cutmix\naugment: {mixup: null}")).augment
    assert kept.mixup is None
    assert kept.cutmix.alpha == 1


def test_the_order_of_overrides_with_a_policy_makes_no_difference():
    settings = ["augment.policy=strong", "augment.mixup=null"]
    one, other = load_recipe("vgg16", settings), load_recipe("vgg16", settings[::-1])
    assert one == other
    assert one.augment.mixup is None


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("augment.policy=meduim", "Did you mean 'medium'?"),
        ("augment.mixpu.alpha=1", "Did you mean 'augment.mixup'?"),
        ("augment.crop.min_are=1", "Did you mean 'augment.crop.min_area'?"),
        ("augment.crop=5", "augment.crop: expected a mapping of keys to values, got 5"),
        ("augment.blur.probability=1.5", "augment.blur.probability: Input should be less than"),
        ("augment.mix_probability=-0.1", "augment.mix_probability: Input should be greater than"),
    ],
)
def test_a_wrong_augmentation_is_one_line(setting, expected):
    with pytest.raises(UsageError) as caught:
        load_recipe("vgg16", [setting])
    assert expected in caught.value.message
    assert "\n" not in caught.value.message
    assert "Section" not in caught.value.message


def test_a_wrong_image_size_is_named_by_its_key_alone():
    for value in ("7", "big"):
        with pytest.raises(UsageError, match=r"data\.image_size: Input should be"):
            load_recipe("vgg16", [f"data.image_size={value}"])
