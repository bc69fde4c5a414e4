"""Effect of each training method alone on the accuracy with few images.

python benchmarks/methods.py [--size 64] [--seeds 0,1,2] [--test 300] [--networks NAME,NAME]
                             [--methods NAME,NAME] [--rows FILE]

Reads flowers128 from TLTOOL_TEST_DATA. Of each of its five classes 100 images are for training and
validation, in a random order given by the seed, and ``--test`` others are the test set. VGG16 with
pretrained weights and ResNet-18 from scratch, at a small image size: results compare methods, they
are not the accuracy at 224 pixels. Each difference is to the first row of its network. Runs that
are in FILE already are not repeated; each new run adds a line.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import keras
import numpy as np

from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.evaluation.metrics.seed_comparison import over_drawn_splits
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune

LIGHT = "augment.policy=light"
PRETRAINED = {
    "light": (),
    "none": ("augment.policy=none",),
    "medium": ("augment.policy=medium",),
    "strong": ("augment.policy=strong",),
    "fine_grained": ("augment.policy=fine_grained",),
    "mixup": ("augment.mixup.alpha=0.2",),
    "cutmix": ("augment.cutmix.alpha=1",),
    "cutout": ("augment.cutout.size=0.5",),
    "grid_mask": ("augment.grid_mask={}",),
    "color_jitter": ("augment.color_jitter={}",),
    "rand_augment": ("augment.rand_augment={}",),
    "aug_mix": ("augment.aug_mix={}",),
    "feature mixup": ("augment.feature_mixup.alpha=0.2",),
    "feature cutmix": ("augment.feature_cutmix.alpha=1",),
    "feature noise": ("augment.feature_noise.stddev=0.1",),
    "MixStyle": ("augment.mixstyle.alpha=0.1",),
    "label smoothing 0.1": ("train.label_smoothing=0.1",),
    "no dropout": ("model.head.dropout=0",),
    "dropout 0.5": ("model.head.dropout=0.5",),
    "gaussian dropout 0.5": ("model.head.dropout=0.5", "model.head.dropout_kind=gaussian"),
    "alpha dropout 0.5": ("model.head.dropout=0.5", "model.head.dropout_kind=alpha"),
    "DropConnect 0.5": ("model.head.dropout=0.5", "model.head.dropout_kind=dropconnect"),
    "attention, dropout 0.1": ("model.head.kind=attention", "model.head.attention_dropout=0.1"),
    "DropBlock 0.1": ("model.regularization.drop_block.size=2",),
    "no EMA": ("train.ema=0",),
    "max-norm 3": ("train.max_norm=3",),
    "gradual unfreezing": ("train.finetune.unfreeze=block4", "train.finetune.unfreeze_every=2"),
}
SCRATCH = {
    "light": (),
    "none": ("augment.policy=none",),
    "stochastic depth 0.2": ("model.regularization.stochastic_depth=0.2",),
    "DropBlock 0.1": ("model.regularization.drop_block.size=2",),
    "group norm": ("model.regularization.norm=group",),
    "no label smoothing": ("train.label_smoothing=0",),
}
NETWORKS = {
    "VGG16": ("vgg16", PRETRAINED, ("train.cache.mode=on", "train.cache.views=4")),
    "ResNet-18": (
        "scratch",
        SCRATCH,
        # 500 images for 20 epochs: enough to see which methods break training
        ("train.finetune.epochs=20", "train.finetune.learning_rate=0.02"),
    ),
}
TRAINING = 100


def write_data(target: Path, source: Path, seed: int, test: int) -> None:
    """Copy images of every class into ``train`` and ``test`` of ``target``."""
    rng = np.random.default_rng(seed)
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        images = rng.permutation(sorted(folder.iterdir()))
        parts = {"train": images[:TRAINING], "test": images[TRAINING : TRAINING + test]}
        for part, some in parts.items():
            (target / part / folder.name).mkdir(parents=True)
            for image in some:
                shutil.copy(image, target / part / folder.name)


def measure(data: Path, network: str, method: str, *, seed: int, size: int) -> dict[str, float]:
    """Return accuracy, its n and the log-loss of one run."""
    recipe_name, methods, common = NETWORKS[network]
    recipe = load_recipe(
        recipe_name,
        [
            *(() if any("policy" in setting for setting in methods[method]) else (LIGHT,)),
            *common,
            *methods[method],
            f"seed={seed}",
            f"data.image_size={size}",
            "export.enabled=false",
            "evaluate.report=false",
            "evaluate.label_errors=false",
        ],
    )
    out = data.parent / f"{network} {method}"
    metrics = finetune(
        data, recipe=recipe, out=out, feature_cache=data.parent / "caches", tensorboard=False
    ).metrics
    keras.backend.clear_session()
    accuracy = metrics["accuracy"]
    return {"accuracy": accuracy["value"], "n": metrics["n"], "log_loss": metrics["log_loss"]}


def table(network: str, results: dict[str, list[dict[str, float]]]) -> None:
    print(f"\n| {network} | accuracy (95 % each) | mean | against the first row | log-loss |")
    print("|---|---|---|---|---|")
    first = next(iter(results.values()))
    for method, rows in results.items():
        each = ", ".join(_rate(row["accuracy"], int(row["n"])) for row in rows)
        pairs = [a["accuracy"] - b["accuracy"] for a, b in zip(rows, first, strict=True)]
        mean, low, high = over_drawn_splits(pairs, ratio=0.0)
        against = "" if rows is first or low is None else f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
        accuracy, loss = (
            f"{statistics.fmean(row[key] for row in rows):.3f}" for key in ("accuracy", "log_loss")
        )
        print(f"| {method} | {each} | {accuracy} | {against} | {loss} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--methods", help="names, separated by commas; by default all")
    parser.add_argument("--rows", type=Path)
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    networks = [name for name in NETWORKS if name in args.networks.split(",")]
    selected = args.methods.split(",") if args.methods else None
    results = {
        name: {method: [] for method in NETWORKS[name][1] if not selected or method in selected}
        for name in networks
    }
    rows = args.rows or Path(tempfile.mkdtemp()) / "rows.jsonl"
    rows.touch()
    known = {tuple(one[:5]): one[5] for one in map(json.loads, rows.read_text().splitlines())}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "images"
            source = Path(os.environ["TLTOOL_TEST_DATA"]) / "flowers128"
            write_data(data, source, seed, args.test)
            for name in networks:
                for method in results[name]:
                    key = (args.size, args.test, seed, name, method)
                    if key not in known:
                        known[key] = measure(data, name, method, seed=seed, size=args.size)
                        with rows.open("a", encoding="utf-8") as file:
                            file.write(json.dumps([*key, known[key]]) + "\n")
                    results[name][method].append(known[key])
                    print(json.dumps([*key, known[key]]), flush=True)
    for name in networks:
        table(name, results[name])


def _rate(value: float, n: int) -> str:
    low, high = wilson_interval(round(value * n), n)
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
