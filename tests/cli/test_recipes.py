"""tltool recipes: the output of each verb, and that every shipped recipe trains."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import TINY
from tests.conftest import ONLY_PROBE, WITHOUT_EXTRAS, by_cost, merged
from tltool.models.backbone_registry import get_backbone
from tltool.recipe.augmentation_policies import OFF
from tltool.recipe.json_schema import json_schema_text
from tltool.recipe.library import shipped, shipped_folder
from tltool.recipe.load import load_recipe
from tltool.recipe.section import Section

NAMES = [name for name, _ in shipped()]
EXPORTED = ("vgg16", "digit_recognizer")
# one for each kind of network and phase; the weekly check runs all
CHEAP = ("quick", "vgg16", "fast", "docker_smoke", "tfds_flowers")


# list, show, copy, validate -----------------------------------------------------------------


def test_list_names_every_recipe_with_its_summary(tltool):
    result = tltool("recipes", "list")
    assert result.exit_code == 0
    for name, summary in shipped():
        assert f"{name} " in result.stdout
        assert summary in result.stdout


def test_show_prints_the_file_and_resolved_every_key(tltool):
    assert tltool("recipes", "show", "quick").stdout.startswith("# Probe only")
    resolved = tltool("recipes", "show", "quick", "--resolved", "--set", "train.ema=0.5")
    assert yaml.safe_load(resolved.stdout)["train"]["ema"] == 0.5


def test_a_file_that_is_not_text_is_not_shown(tltool, the_error):
    Path("photo.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    result = tltool("recipes", "show", "photo.yaml")
    assert result.exit_code == 2
    assert "photo.yaml" in the_error(result)


def test_validate_reports_each_recipe_separately(tltool):
    Path("a.yaml").write_text("base: quick")
    Path("b.yaml").write_text("format: 7")
    Path("c.yaml").write_text("model: {backbone: vgg15}")
    result = tltool("recipes", "validate", "a.yaml", "b.yaml", "c.yaml")
    assert result.exit_code == 2
    assert result.stdout == "a.yaml: valid\n"
    assert "later version" in result.stderr
    assert "vgg15" in result.stderr


@pytest.mark.parametrize("command", [("list",), ("validate", "quick"), ("diff", "quick", "vgg16")])
def test_no_framework_is_loaded(command):
    program = (
        "import sys; from typer.testing import CliRunner; from tltool.cli.main import app\n"
        f"code = CliRunner().invoke(app, ['recipes', *{command!r}]).exit_code\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


# diff ---------------------------------------------------------------------------------------


def test_diff_is_a_table_of_the_differences(tltool):
    result = tltool("recipes", "diff", "vgg16", "quick")
    assert result.exit_code == 0
    header, *rows = [line.split() for line in result.stdout.splitlines()]
    assert header == ["key", "vgg16", "quick"]
    assert ["train.head.epochs", "20", "0"] in rows
    assert ["train.cache.mode", "auto", "on"] in rows
    assert not any(row[0] == "train.ema" for row in rows)


def test_diff_of_the_same(tltool):
    assert tltool("recipes", "copy", "quick", "mine.yaml").exit_code == 0
    assert tltool("recipes", "diff", "quick", "mine.yaml").stdout == "the same\n"


def test_diff_in_json_keeps_the_types(tltool):
    document = json.loads(tltool("recipes", "diff", "vgg16", "mixup_cutmix", "--json").stdout)
    assert (document["a"], document["b"]) == ("vgg16", "mixup_cutmix")
    assert {"key": "augment.mixup", "a": "auto", "b": {"alpha": 0.2}} in document["differences"]


def test_diff_takes_the_folders_of_runs(tltool):
    for name, seed in (("one", 1), ("two", 2)):
        Path(name).mkdir()
        Path(name, "recipe.yaml").write_text(f"name: same\nseed: {seed}")
    result = tltool("recipes", "diff", "one", "two")
    assert [line.split() for line in result.stdout.splitlines()][1:] == [["seed", "1", "2"]]


def test_diff_with_an_unknown_recipe(tltool, the_error):
    result = tltool("recipes", "diff", "quick", "qiuck")
    assert result.exit_code == 2
    assert "Did you mean 'quick'?" in the_error(result)


# schema -------------------------------------------------------------------------------------


def test_the_schema_printed_is_the_one_that_ships(tltool):
    text = tltool("recipes", "schema").stdout
    assert text == json_schema_text()
    assert text == (shipped_folder() / "recipe.schema.json").read_text("utf-8")


def test_the_schema_is_written_beside_a_recipe(tltool):
    result = tltool("recipes", "schema", "--output", "recipe.schema.json")
    assert "# yaml-language-server: $schema=recipe.schema.json" in result.stdout
    assert json.loads(Path("recipe.schema.json").read_text("utf-8"))["title"]


def test_a_schema_that_cannot_be_written(tltool, the_error):
    result = tltool("recipes", "schema", "--output", "no/such/folder.json")
    assert result.exit_code == 2
    assert "no/such/folder.json" in the_error(result)


# contradictions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--backbone", "resnet50", "--set", "model.backbone=vgg16"), "--backbone resnet50"),
        (("--seed", "1", "--set", "seed=2"), "--seed 1"),
        (("--seed", "0", "--set", "seed=2"), "--seed 0"),
        (("--name", "a", "--set", "name=b"), "--name a"),
        (("--set", "data.source=elsewhere"), "for data.source"),
        (("--set", "seed=1", "--set", "seed=2"), "--set seed=1 and --set seed=2"),
    ],
)
def test_flags_and_settings_that_contradict_each_other(
    tltool, the_error, make_photos, flags, expected
):
    result = tltool("finetune", make_photos(), *flags)
    assert result.exit_code == 2
    assert "set different values" in the_error(result)
    assert expected in the_error(result)
    assert not Path("runs").exists()


def test_flags_that_agree_with_a_setting_are_fine(tltool, the_error):
    flags = ("--seed", "3", "--set", "seed=3", "--backbone", "vgg16", "--set", "name=mine")
    result = tltool("finetune", "nowhere", *flags)
    assert result.exit_code == 3
    assert "nowhere" in the_error(result)


# run ----------------------------------------------------------------------------------------


def test_a_recipe_without_a_source_needs_one(tltool, the_error):
    result = tltool("recipes", "run", "quick")
    assert result.exit_code == 2
    assert "names no images" in the_error(result)
    assert "tltool recipes run quick DATA" in result.stderr


def test_a_recipe_whose_source_does_not_exist(tltool, the_error):
    Path("my.yaml").write_text("base: docker_smoke\ndata: {source: gone}")
    result = tltool("recipes", "run", "my.yaml")
    assert result.exit_code == 3
    assert str(Path("gone").absolute()) in the_error(result)


@pytest.mark.thorough
@pytest.mark.slow
def test_every_key_is_read_when_a_recipe_with_its_own_source_runs(
    tltool, make_photos, tmp_path, monkeypatch
):
    make_photos(tmp_path / "here" / "pictures")
    features = ("feature_mixup", "feature_cutmix", "feature_noise", "mixstyle")
    every = [f"augment.{name}={{}}" for name in (*OFF, *features) if name != "flip"]
    every.append("model.regularization.drop_block.size=2")
    tree = load_recipe("vgg16", [*TINY, *every])
    own = tree.model_dump(mode="json", exclude={"data": {"source"}})
    Path("my.yaml").write_text(yaml.safe_dump({**own, "data": {"source": "pictures"}}))
    read: set[tuple[str, str]] = set()

    def noting(section: Section, name: str) -> object:
        if name in type(section).model_fields:
            read.add((type(section).__name__, name))
        return object.__getattribute__(section, name)

    monkeypatch.setattr(Section, "__getattribute__", noting, raising=False)
    settings = ("augment.cutmix.alpha=1", "export.parity_images=2")
    result = tltool("recipes", "run", "my.yaml", "--out", "run", "--offline", settings=settings)
    monkeypatch.undo()
    assert result.exit_code == 0, result.stderr
    written = load_recipe(str(tmp_path / "here" / "run"))
    assert written.data.source == str(tmp_path / "here" / "pictures")
    keys = {
        (kind.__name__, name) for kind in Section.__subclasses__() for name in kind.model_fields
    }
    assert keys - read == {("Recipe", "format")}  # which load.py reads before there is a Recipe


def test_the_source_on_the_command_line_overrides_that_of_the_recipe(tltool, make_photos, tmp_path):
    Path("my.yaml").write_text("base: vgg16\ndata: {source: gone}")
    photos, settings = make_photos(), merged(*TINY, *ONLY_PROBE, "export.enabled=false")
    flags = ("--out", "run", "--offline", "--json", "--quiet", "--seed", "4", "--name", "mine")
    result = tltool("recipes", "run", "my.yaml", photos, *flags, settings=tuple(settings))
    assert result.exit_code == 0
    assert json.loads(result.stdout)["run"] == "run"
    recipe = load_recipe("run")
    assert (recipe.data.source, recipe.seed, recipe.name) == (str(photos), 4, "mine")


def tiny(name: str) -> list[str]:
    """Return settings with which a shipped recipe takes seconds but keeps its methods.

    Of recipes that differ only in training, one is exported. tests/workflows/test_reproduce.py
    reproduces a run with all phases.
    """
    recipe = load_recipe(name)
    train, least = recipe.train, get_backbone(recipe.model.backbone).min_size
    return [
        f"data.image_size={max(32, least)}",
        "model.weights=random",
        "train.batch_size=8",
        f"train.head.epochs={min(1, train.head.epochs)}",
        f"train.finetune.epochs={min(1, train.finetune.epochs)}",
        f"train.cache.views={min(2, train.cache.views)}",
        "train.probe.c_values=[0.01]",
        "train.probe.folds=2",
        "export.parity_images=2",
        f"export.enabled={json.dumps(name in EXPORTED)}",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", by_cost(NAMES, thorough=CHEAP))
def test_a_shipped_recipe_runs_and_is_reproduced_bit_identically(tltool, make_photos, name):
    photos = make_photos(size=32)
    settings = tuple(tiny(name))
    result = tltool("recipes", "run", name, photos, "--out", "run", "--offline", settings=settings)
    assert result.exit_code == 0, result.stderr
    assert Path("run", "model.keras").is_file()
    assert Path("saved_models", "photos", "1", "saved_model.pb").is_file() == (name in EXPORTED)
    assert "accuracy" in result.stdout
    again = tltool("runs", "reproduce", "run", "--out", "again", "--offline", "--json", "--quiet")
    assert json.loads(again.stdout)["verdict"] == "bit-identical", again.stdout


def test_the_smoke_recipe_runs_all_phases_without_weights():
    recipe = load_recipe("docker_smoke")
    assert recipe.model.weights == "random"
    assert recipe.train.probe.enabled
    assert (recipe.train.head.epochs, recipe.train.finetune.epochs) == (1, 1)
    assert recipe.export.enabled


def test_a_recipe_file_is_read_once(tltool, tmp_path, make_photos, monkeypatch):
    """From the command line to the end of the run, its base too."""
    base, recipe = tmp_path / "base.yaml", tmp_path / "mine.yaml"
    base.write_text("base: vgg16\n")
    recipe.write_text("base: base.yaml\nmodel: {backbone: tiny_vgg, weights: random}\n")
    reads, read_bytes = Counter[str](), Path.read_bytes

    def counted(path: Path) -> bytes:
        reads[path.name] += path.parent == tmp_path
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    result = tltool(
        *("finetune", make_photos(n=6), "--recipe", recipe, "--out", tmp_path / "run"),
        settings=(*ONLY_PROBE, *WITHOUT_EXTRAS, "export.enabled=false"),
    )
    assert result.exit_code == 0, result.stderr
    assert (reads["mine.yaml"], reads["base.yaml"]) == (1, 1)


def test_a_recipe_whose_backbone_is_chosen_later_is_valid_if_it_fits_one(tltool, tmp_path):
    for name, stage in (("some", "block6"), ("none", "block9")):
        text = f"model: {{backbone: auto}}\ntrain: {{finetune: {{unfreeze: {stage}}}}}\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    assert tltool("recipes", "validate", str(tmp_path / "some.yaml")).exit_code == 0
    wrong = tltool("recipes", "validate", str(tmp_path / "none.yaml"))
    assert wrong.exit_code == 2 and "no stage 'block9'" in wrong.stderr
