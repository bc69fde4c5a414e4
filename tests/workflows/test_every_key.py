"""No key of a recipe is accepted and ignored: another value makes another run.

Keys of augmentation: tests/workflows/test_augmentation.py.
"""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ONLY_PROBE, merged
from tests.workflows.conftest import CLASSES, TINY, contents, write_fruit
from tltool.errors import TltoolError
from tltool.recipe.key_paths import all_keys
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune

ELSEWHERE = {
    "model.preprocessing": "tests/workflows/test_own_backbone.py: of a model file alone",
    "format": "tests/recipe/test_load.py",
    "data.source": "tests/cli/test_recipes.py",
    "data.pixels": "tests/workflows/test_sources.py: of tables of pixels alone",
    "evaluate.label_errors": "tests/workflows/test_few_images.py: of pretrained weights alone",
    "evaluate.learning_curve": "tests/workflows/test_few_images.py: of pretrained weights alone",
    "train.jit_compile": "tests/workflows/test_jit_compile.py: not after deterministic operations",
    "train.deterministic": "benchmarks/reproducibility.py: TensorFlow cannot be asked twice",
}
RESNET = ("model.backbone=tiny_resnet",)
MLP = "model.head.kind=mlp"
EXPORT = "export.enabled=true"
# key: another value, and what else must be set for the key to mean anything
CHANGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "name": ("other", (EXPORT,)),
    "seed": ("1", ()),
    "data.image_size": ("40", ()),
    "data.resize": ("pad", ("data.image_size=24",)),
    "data.validation_fraction": ("0.4", ()),
    "data.test_fraction": ("0.3", ()),
    "data.fold": ("1/3", ()),
    "data.ood_images": ("plum", ()),
    "data.on_bad": ("fail", ()),
    "data.max_bad_fraction": ("0", ()),
    "data.max_pixels": ("1600", ()),
    "model.backbone": ("tiny_resnet", ()),
    "model.weights": ("imagenet", ()),
    "model.batch_norm": ("train", RESNET),
    "model.norm_groups": ("2", (MLP, "model.head.norm=group")),
    "model.head.kind": ("gap_max", ()),
    "model.head.dropout": ("0.7", ()),
    "model.head.dropout_kind": ("gaussian", ()),
    "model.head.attention_dropout": ("0.5", ("model.head.kind=attention",)),
    "model.head.hidden_units": ("5", (MLP,)),
    "model.head.norm": ("batch", (MLP,)),
    "model.regularization.stochastic_depth": ("0.5", RESNET),
    "model.regularization.drop_block.rate": ("0.4", ("model.regularization.drop_block.rate=0.1",)),
    "model.regularization.drop_block.size": ("2", ("model.regularization.drop_block.size=1",)),
    "model.regularization.norm": ("group", RESNET),
    "train.batch_size": ("4", ()),
    "train.accumulate": ("2", ()),
    "train.optimizer": ("sgd", ()),
    "train.momentum": ("0.5", ("train.optimizer=sgd",)),
    "train.nesterov": ("true", ("train.optimizer=sgd",)),
    "train.weight_decay": ("0.5", ()),
    "train.l2": ("0.1", ()),
    "train.max_norm": ("0.5", ()),
    "train.clip_norm": ("0.01", ("train.optimizer=sgd",)),
    "train.schedule": ("one_cycle", ()),
    "train.decay_factor": ("0.5", ("train.schedule=step", "train.step_epochs=1")),
    "train.step_epochs": ("1", ("train.schedule=step",)),
    "train.plateau_patience": ("1", ("train.schedule=plateau", "train.head.epochs=6")),
    "train.warmup_epochs": ("0", ()),
    "train.label_smoothing": ("0.3", ()),
    "train.imbalance": ("weights", ()),
    "train.focal_gamma": ("1", ("train.imbalance=focal",)),
    "train.ema": ("0.5", ()),
    "train.precision": ("bfloat16", ("train.precision=float32",)),
    "train.cache.mode": ("off", ()),
    "train.cache_decoded": ("on", ("train.cache.mode=off", "data.image_size=24")),
    "train.cache.views": ("3", ("augment.policy=light",)),
    "train.probe.enabled": ("false", ()),
    "train.probe.c_values": ("[10]", ()),
    "train.probe.folds": ("3", ()),
    "train.probe.rows": ("10", ()),
    "train.head.epochs": ("3", ()),
    "train.head.learning_rate": ("0.1", ()),
    "train.finetune.epochs": ("1", ()),
    "train.finetune.unfreeze": ("block2", ()),
    "train.finetune.learning_rate": ("0.01", ()),
    "train.finetune.stage_decay": ("0.1", ("train.finetune.unfreeze=block2",)),
    "train.finetune.unfreeze_every": ("1", ("train.finetune.unfreeze=block2",)),
    "train.early_stopping.monitor": (
        "val_accuracy",
        ("train.head.epochs=6", "train.probe.enabled=false"),
    ),
    "train.early_stopping.patience": (
        "1",
        ("train.early_stopping.min_delta=5", "train.head.epochs=4"),
    ),
    "train.early_stopping.min_delta": (
        "5",
        ("train.early_stopping.patience=1", "train.head.epochs=4", "train.probe.enabled=false"),
    ),
    "train.refit": ("on", ()),
    "evaluate.calibrate": ("true", ()),
    "evaluate.prior_correction": ("true", ("train.imbalance=weights",)),
    "evaluate.coverage": ("0.6", ()),
    "evaluate.coverage_confidence": ("0.99", ("evaluate.coverage=0.6",)),
    "evaluate.min_accuracy": ("1", ()),
    "evaluate.asserts": ('["log_loss<=0.0001"]', ()),
    "evaluate.report": ("true", ()),
    "evaluate.strict": ("true", ('evaluate.asserts=["accuracy>=0.05"]',)),
    "export.enabled": ("true", ()),
    "export.parity_images": ("2", (EXPORT,)),
    "export.tolerance": ("1e-30", (EXPORT,)),
    "export.top_k": ("1", (EXPORT,)),
}
# keys that need no training step to make a difference; a run without one takes half the time
SEEN_AFTER_A_PROBE = ("name", "seed", "data.", "train.probe.", "evaluate.", "export.")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., object]:
    """Return what a run with these settings leaves, or how it is refused; the same asked once."""
    root = tmp_path_factory.mktemp("every_key")
    photos = write_fruit(root / "photos", n=8)
    (photos / "plum" / "broken.png").write_bytes(b"no picture")
    large = np.random.default_rng(5).integers(0, 200, (60, 40, 3), dtype=np.uint8)
    Image.fromarray(large).save(photos / "plum" / "large.png")
    for extra in (photos / CLASSES[0]).glob("0_0[0-2].png"):
        extra.unlink()  # classes of unequal size

    @functools.cache
    def ran(settings: tuple[str, ...]) -> object:
        folder = root / f"run{len(list(root.glob('run*')))}"
        common = [one.replace("train.cache=", "train.cache.mode=") for one in TINY]
        recipe = load_recipe("vgg16", merged(*common, "name=tiny", *settings))
        exports = folder / "exports"
        try:
            finetune(
                photos,
                recipe=recipe,
                out=folder / "run",
                saved_models=exports,
                offline=True,
                tensorboard=False,
                feature_cache=root / "caches",
            )
        except TltoolError as error:
            return error.message.replace(str(folder), "FOLDER")
        return (
            left_in(folder / "run"),
            [str(one.relative_to(exports)) for one in files(exports)],
            [
                one.read_bytes()
                for one in files(exports)
                if one.name in ("golden.npz", "metadata.json")
            ],
        )

    return ran


TIMED = ("seconds", "images_per_second", "data_wait")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def left_in(run: Path) -> dict[str, object]:
    """Return contents of a run's files without what names the recipe, times and folders."""
    timed = {"recipe.yaml", "manifest.json", "log.txt", "history.csv", "report.html"}
    timed |= {"model.keras", "seal.json"}  # which contains the time, and its digest
    kept: dict[str, object] = {k: v for k, v in contents(run).items() if Path(k).name not in timed}
    kept["files"] = [str(path.relative_to(run)) for path in files(run)]
    kept["weights"] = json.loads((run / "manifest.json").read_text())["model_digest"]
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        kept["history"] = [
            {k: v for k, v in row.items() if k not in TIMED} for row in csv.DictReader(file)
        ]
    return kept


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("key", sorted(CHANGES))
def test_another_value_makes_another_run(outcome, key):
    value, context = CHANGES[key]
    if key.startswith(SEEN_AFTER_A_PROBE):
        context = (*ONLY_PROBE, *context)
    assert outcome((*context, f"{key}={value}")) != outcome(context)


@pytest.mark.thorough
@pytest.mark.slow
def test_the_same_settings_make_the_same_run(outcome):
    assert outcome(()) == outcome(("train.l2=0",))


def test_no_key_is_left_out():
    keys = {key for key in all_keys() if not key.startswith("augment.")}
    assert keys == CHANGES.keys() | ELSEWHERE.keys()
