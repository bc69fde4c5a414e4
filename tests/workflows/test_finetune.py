"""The main job, end to end, on the tiny backbones."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

from tests.conftest import ONLY_PROBE, merged, unless_thorough
from tltool.evaluation.shared_test_set import digest_of_images
from tltool.features.image_source import ImageSource
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.models.heads import HEADS
from tltool.recipe.load import load_recipe
from tltool.runs.manifest import read_manifest
from tltool.workflows.finetune import FinetuneResult, finetune

BLENDED = ("train.head.epochs=1", "train.finetune.epochs=1", "augment.mixup.alpha=0.4")
CLASSES = ["green apple", "kaki 柿", "plum"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# what a run leaves ----------------------------------------------------------------------------


def test_a_run_folder_holds_everything(trained):
    names = {path.name for path in trained.run.iterdir()}
    assert names >= {
        "recipe.yaml",
        "manifest.json",
        "split.csv",
        "data_issues.csv",
        "history.csv",
        "metrics.json",
        "predictions.csv",
        "plots",
        "model.keras",
        "artifact.json",
    }
    assert {path.name for path in (trained.run / "plots").iterdir()} == {
        "confusion_matrix.png",
        "history.png",
    }
    assert "cache" not in names


def test_the_photos_stay_as_they_were(trained):
    from hashlib import sha256

    now = {
        str(path.relative_to(trained.photos)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(trained.photos.rglob("*"))
        if path.is_file()
    }
    assert now == trained.photos_before


def test_the_recipe_in_the_run_folder_runs_again(trained):
    text = (trained.run / "recipe.yaml").read_text("utf-8")
    again = load_recipe(str(trained.run / "recipe.yaml"))
    assert again.model_dump(mode="json") == yaml.safe_load(text)
    assert (again.name, again.model.backbone) == ("fruit", "tiny_vgg")


def test_the_manifest_names_data_weights_versions_machine_seed_and_times(trained):
    manifest = json.loads((trained.run / "manifest.json").read_text("utf-8"))
    assert len(manifest["data_digest"]) == 64
    assert manifest["weights"]["source"] == "random"
    assert manifest["versions"]["keras"] == keras.__version__
    assert manifest["machine"]["cores"] >= 1
    assert manifest["seed"] == 0
    phases = {
        "weights",
        "audit",
        "model",
        "features",
        "probe",
        "head",
        "finetune",
        "calibration",
        "evaluation",
        "export",
    }
    assert set(manifest["seconds"]) == {*phases, "total"}
    assert sum(manifest["seconds"][name] for name in phases) <= manifest["seconds"]["total"] * 1.01


def test_every_photo_is_in_one_part_and_every_class_in_every_part(trained):
    rows = rows_of(trained.run / "split.csv")
    assert len(rows) == len(trained.photos_before)
    for part in ("train", "validation"):
        assert {row["label"] for row in rows if row["split"] == part} == set(CLASSES)


def test_the_history_tells_all_three_phases(trained):
    rows = rows_of(trained.run / "history.csv")
    assert list(dict.fromkeys(row["phase"] for row in rows)) == ["probe", "head", "finetune"]
    assert next(row["epoch"] for row in rows if row["phase"] == "head") == "1"


def test_the_run_says_how_long_it_waited_for_photos(trained):
    rows = rows_of(trained.run / "history.csv")
    assert [row["data_wait"] for row in rows if row["phase"] == "probe"] == [""]
    shares = [float(row["data_wait"]) for row in rows if row["phase"] != "probe"]
    manifest = json.loads((trained.run / "manifest.json").read_text("utf-8"))
    for share in (*shares, manifest["data_wait"]["features"]):
        assert 0 < share < 1


@pytest.mark.thorough
@pytest.mark.slow
def test_photos_that_come_slowly_are_seen_in_the_history(finetune_tiny, fruit, monkeypatch):
    sampled = ImageSource.sampled

    def slowly(*args: Any, **others: Any) -> Iterator[Any]:
        for batch in sampled(*args, **others):
            time.sleep(0.5)
            yield batch

    monkeypatch.setattr(ImageSource, "sampled", slowly)
    off = ("train.cache=off", "train.finetune.epochs=0", "train.probe.enabled=false")
    rows = rows_of(finetune_tiny(fruit, *off).run / "history.csv")
    assert float(rows[-1]["data_wait"]) > 0.5  # the first epoch also traces the step


def test_the_best_epoch_of_all_phases_is_what_is_kept(trained):
    metrics = json.loads((trained.run / "metrics.json").read_text("utf-8"))
    rows = rows_of(trained.run / "history.csv")
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert metrics["best"] == {"phase": best["phase"], "epoch": int(best["epoch"])}
    assert metrics["validation"]["val_loss"] == pytest.approx(float(best["val_loss"]), rel=1e-4)


def test_metrics_and_predictions_tell_the_same_story(trained):
    metrics = json.loads((trained.run / "metrics.json").read_text("utf-8"))
    rows = rows_of(trained.run / "predictions.csv")
    assert metrics["n"] == len(rows) == int(np.sum(metrics["confusion_matrix"]))
    assert metrics["evaluated_on"] == "validation"
    assert metrics["accuracy"]["low"] <= metrics["accuracy"]["value"] <= metrics["accuracy"]["high"]
    assert trained.result.metrics == metrics
    groups = {row["path"]: row["group"] for row in rows_of(trained.run / "split.csv")}
    assert all(row["group"] == groups[row["path"]] for row in rows)


def test_baselines_stand_beside_the_model(trained):
    metrics = json.loads((trained.run / "metrics.json").read_text("utf-8"))
    baselines = metrics["baselines"]
    rows = rows_of(trained.run / "predictions.csv")
    share = sum(row["label"] == baselines["majority"]["class"] for row in rows) / len(rows)
    assert baselines["majority"]["accuracy"]["value"] == pytest.approx(share)
    probe = next(row for row in rows_of(trained.run / "history.csv") if row["phase"] == "probe")
    assert baselines["probe"]["accuracy"]["value"] == pytest.approx(float(probe["val_accuracy"]))


def test_the_report_tells_the_same_with_heat_maps_over_the_mistakes(trained):
    page = (trained.run / "report.html").read_text("utf-8")
    metrics = json.loads((trained.run / "metrics.json").read_text("utf-8"))
    assert f"{100 * metrics['accuracy']['value']:.1f} % on {metrics['n']} validation" in page
    wrong = metrics["n"] - int(np.trace(metrics["confusion_matrix"]))
    assert page.count('alt="Grad-CAM for') == min(wrong, 12) > 0
    for part in ("Training", "Recipe and reproduction", "OOD threshold (95 %", "unfreeze: block3"):
        assert part in page
    assert len(page) < 5_000_000


def test_the_model_file_is_plain_keras(trained):
    model = keras.saving.load_model(trained.run / "model.keras", safe_mode=True)
    logits = model(np.zeros((2, 32, 32, 3), np.float32))
    assert logits.shape == (2, 3)
    assert logits.dtype == "float32"


@pytest.mark.thorough
def test_the_export_answers_in_a_process_of_plain_tensorflow(trained, forked_tensorflow):
    photo = next((trained.photos / "plum").iterdir())
    program = (
        "import sys, json, pathlib, tensorflow as tf\n"
        "served = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "good = pathlib.Path(sys.argv[2]).read_bytes()\n"
        "answer = served(image_bytes=tf.constant([good, b'junk']))\n"
        "assert 'tltool' not in sys.modules and 'keras_cv' not in sys.modules\n"
        "print(json.dumps([answer['ok'].numpy().tolist(), answer['class_name'][0].numpy().decode(),"
        " answer['probabilities'].numpy().tolist()]))\n"
    )
    done = forked_tensorflow.run(program, str(trained.export), str(photo), cwd=trained.export)
    assert done.returncode == 0, done.stderr[-2000:]
    ok, name, probabilities = json.loads(done.stdout.splitlines()[-1])
    assert ok == [True, False]
    assert name in CLASSES
    assert probabilities[1] == pytest.approx([1 / 3] * 3)
    assert CLASSES[int(np.argmax(probabilities[0]))] == name


# variants -------------------------------------------------------------------------------------


EPOCH = ("train.head.epochs=1", "train.finetune.epochs=1")

# every head, both kinds of backbone, cached and live, one phase, two and three
COVERING = [
    ("tiny_vgg", "original", ("train.cache=off", "train.finetune.unfreeze=all")),
    (
        "tiny_vgg",
        "flatten",
        ("model.head.dropout_kind=spatial", "model.regularization.drop_block.size=2"),
    ),
    ("tiny_vgg", "attention", ("model.head.attention_dropout=0.3", "train.cache=on")),
    (
        "tiny_resnet",
        "gap_conv",
        (
            "train.finetune.unfreeze=all",
            "train.cache=off",
            "train.probe.enabled=false",
            "model.batch_norm=train",
        ),
    ),
    (
        "tiny_resnet",
        "gap_max",
        (
            "train.finetune.unfreeze=block2",
            "train.finetune.stage_decay=0.3",
            "train.early_stopping.monitor=val_accuracy",
            "evaluate.calibrate=false",
            "train.schedule=step",
            "train.l2=0.01",
        ),
    ),
    (
        "tiny_resnet",
        "mlp",
        (
            "model.head.dropout_kind=dropconnect",
            "model.head.norm=group",
            "model.regularization.stochastic_depth=0.5",
            "model.regularization.drop_block.rate=0.2",
            "model.regularization.norm=group",
            "model.norm_groups=4",
        ),
    ),
    (
        "tiny_resnet",
        "gap",
        (
            "train.schedule=one_cycle",
            "train.finetune.unfreeze=block2",
            "train.finetune.unfreeze_every=1",
            "train.clip_norm=1",
            "train.max_norm=3",
        ),
    ),
]
# Every head on both, and every setting of training at least once. What a setting does by itself is
# shown in tests/training and tests/augment, and that a run heeds it in test_every_key.py.
VARIANTS = [
    *COVERING,
    ("tiny_vgg", "gap", ("train.imbalance=balanced_sampling", "augment.mixup.alpha=0.4")),
    ("tiny_vgg", "gap", ("train.cache=auto", "train.imbalance=weights")),
    ("tiny_vgg", "flatten", ("train.imbalance=focal", "train.focal_gamma=1.5")),
    ("tiny_resnet", "flatten", ("train.finetune.epochs=0",)),
    ("tiny_resnet", "original", ("train.cache=on",)),
    ("tiny_vgg", "gap", ("train.head.epochs=0", "train.finetune.epochs=0")),
    ("tiny_vgg", "gap", ("train.finetune.epochs=0", "augment.flip=none", "augment.crop=null")),
    ("tiny_vgg", "gap", ("data.image_size=48", "data.resize=pad", "train.batch_size=5")),
    (
        "tiny_vgg",
        "gap_conv",
        ("augment.mixup.alpha=0.4", "augment.cutmix.alpha=1", "augment.cutout.size=0.5"),
    ),
    (
        "tiny_vgg",
        "gap_max",
        ("train.schedule=plateau", "train.optimizer=sgd", "train.plateau_patience=1"),
    ),
    ("tiny_vgg", "mlp", ("model.head.norm=layer", "train.ema=0.9", "train.label_smoothing=0.1")),
    (
        "tiny_resnet",
        "gap",
        ("train.cache=off", "augment.mixup.alpha=0.4", "augment.cutmix.alpha=1"),
    ),
    (
        "tiny_resnet",
        "mlp",
        ("train.schedule=constant", "train.ema=0", "train.weight_decay=0", "train.cache.views=1"),
    ),
    ("tiny_resnet", "attention", ("train.finetune.epochs=0",)),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "head", "settings"),
    unless_thorough(VARIANTS, *COVERING[:3], COVERING[-1]),
    ids=lambda value: "+".join([*value])[:60],
)
def test_every_head_and_setting_trains(finetune_tiny, fruit, backbone, head, settings):
    names = (f"model.backbone={backbone}", f"model.head.kind={head}")
    result = finetune_tiny(fruit, *names, *EPOCH, *settings)
    rows = rows_of(result.run / "history.csv")
    assert np.isfinite([float(row["val_loss"]) for row in rows]).all()
    wanted = {"probe", "head", "finetune"}
    wanted -= {"probe"} if "train.probe.enabled=false" in settings else set()
    wanted -= {"head"} if "train.head.epochs=0" in settings else set()
    wanted -= {"finetune"} if "train.finetune.epochs=0" in settings else set()
    assert {row["phase"] for row in rows} == wanted
    assert result.export is None
    output = (result.run / "log.txt").read_text()
    assert ("stages will be trained" in output) == ("train.finetune.unfreeze_every=1" in settings)
    assert kept_classes(result.run) <= {"Functional", *dir(keras.layers), *dir(keras.src.ops.numpy)}


def kept_classes(run: Path) -> set[str]:
    """Return the classes of all layers in the model that a run keeps."""
    with zipfile.ZipFile(run / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    return {layer["class_name"] for layer in config["config"]["layers"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "cache"),
    unless_thorough(
        list(itertools.product(["mlp", "flatten", "attention", "gap"], ["on", "off"])),
        ("attention", "on"),
        ("mlp", "off"),
    ),
)
def test_a_head_begins_at_the_probe_or_near_chance_with_features_of_any_size(
    finetune_tiny, fruit, tmp_path, head, cache
):
    weights = loud_weights(tmp_path / "loud.weights.h5")
    result = finetune_tiny(
        fruit,
        f"model.weights={weights}",
        f"model.head.kind={head}",
        f"train.cache={cache}",
        "train.head.epochs=1",
        "train.head.learning_rate=1e-9",
        "train.finetune.epochs=0",
    )
    rows = {row["phase"]: row for row in rows_of(result.run / "history.csv")}
    probe, first = (float(rows[phase]["val_loss"]) for phase in ("probe", "head"))
    metrics = json.loads((result.run / "metrics.json").read_text("utf-8"))
    output = metrics["baselines"]["probe"]["accuracy"]["value"]
    assert float(rows["probe"]["val_accuracy"]) == pytest.approx(output)
    warned = "ended worse than the linear probe" in (result.run / "log.txt").read_text()
    if head in ("attention", "gap"):
        assert first == pytest.approx(probe, abs=1e-3) and not warned
    else:
        assert first < 4 * np.log(len(CLASSES)) and warned == (first > probe)


def loud_weights(path: Path) -> Path:
    """Write weights of tiny_vgg whose features reach hundreds, as those of VGG16 do."""
    model = build_model(
        get_backbone("tiny_vgg"),
        image_size=(32, 32),
        classes=2,
        head="gap",
        dropout=0.0,
        hidden_units=8,
        norm="none",
        weights=None,
        seed=0,
    )
    last = [layer for layer in model.layers if hasattr(layer, "kernel")][-2]
    last.kernel.assign(last.kernel * 1000)
    model.save_weights(path)
    return path


def test_the_variants_cover_every_head():
    assert {head for _, head, _ in COVERING} == set(HEADS)
    for backbone in ("tiny_vgg", "tiny_resnet"):
        assert {head for name, head, _ in VARIANTS if name == backbone} == set(HEADS)


def weights_of(result: FinetuneResult) -> list[np.ndarray]:
    return keras.saving.load_model(result.run / "model.keras").get_weights()


@pytest.fixture(scope="module")
def blended(
    fruit: Path, tiny_settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> FinetuneResult:
    recipe = load_recipe("vgg16", merged(*tiny_settings, *BLENDED))
    return finetune(fruit, recipe=recipe, out=tmp_path_factory.mktemp("blended") / "run")


@pytest.mark.thorough
@pytest.mark.slow
def test_the_same_recipe_gives_the_same_weights(finetune_tiny, fruit, blended):
    again = finetune_tiny(fruit, *BLENDED)
    for one, other in zip(weights_of(blended), weights_of(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert blended.metrics == again.metrics


@pytest.mark.thorough
@pytest.mark.slow
def test_another_seed_gives_other_weights(finetune_tiny, fruit, blended):
    other = finetune_tiny(fruit, *BLENDED, "seed=1")
    assert not np.array_equal(weights_of(blended)[0], weights_of(other)[0])


# ready splits ---------------------------------------------------------------------------------


def split_folders(fruit: Path, root: Path, parts: dict[str, slice]) -> Path:
    for part, numbers in parts.items():
        for folder in fruit.iterdir():
            (root / part / folder.name).mkdir(parents=True)
            for photo in sorted(folder.iterdir())[numbers]:
                shutil.copy(photo, root / part / folder.name)
    return root


@pytest.mark.slow
def test_ready_train_val_and_test_folders_are_kept_as_they_are(finetune_tiny, fruit, tmp_path):
    parts = {"train": slice(0, 4), "val": slice(4, 6), "test": slice(6, 8)}
    result = finetune_tiny(split_folders(fruit, tmp_path / "ready", parts), *ONLY_PROBE)
    for row in rows_of(result.run / "split.csv"):
        assert {"train": "train", "val": "validation", "test": "test"}[
            Path(row["path"]).parts[0]
        ] == row["split"]
    assert result.metrics["evaluated_on"] == "test"
    assert result.metrics["n"] == 6


@pytest.mark.slow
def test_a_separate_test_folder_is_used_only_for_the_last_evaluation(
    finetune_tiny, fruit, tmp_path
):
    parts = {"mine": slice(0, 6), "later": slice(6, 8)}
    root = split_folders(fruit, tmp_path / "both", parts)
    result = finetune_tiny(root / "mine", *ONLY_PROBE, test=root / "later")
    assert result.metrics["evaluated_on"] == "test"
    assert result.metrics["n"] == 6
    names = {Path(row["path"]).name for row in rows_of(result.run / "predictions.csv")}
    assert names == {path.name for path in (root / "later").rglob("*.png")}
    digests = [row["sha256"] for row in rows_of(result.run / "split.csv") if row["split"] == "test"]
    assert read_manifest(result.run / "manifest.json").test_digest == digest_of_images(digests)
    validated = rows_of(result.run / "validation.csv")
    assert len(validated) == result.metrics["validation"]["n"]
    losses = [float(row["loss"]) for row in validated]
    assert np.mean(losses) == pytest.approx(result.metrics["validation"]["val_loss"])
