"""Methods of training, one at a time: what each does to the accuracy with few photos.

python benchmarks/methods.py [--size 64] [--seeds 0,1,2] [--test 300] [--methods none,light,…]

Reads flowers128 from TLTOOL_TEST_DATA: 100 photos of each of its five classes for training and
validation, in an order that the seed draws, and others as test. VGG16 with real weights at a small
size, four cached views: it compares the methods, and says nothing of what a recipe reaches at 224
pixels. Each method but the first two is added to `light`.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

from tltool.evaluation.intervals import wilson
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune
from tltool.workflows.sweep import paired_interval

TRAIN = 100
SHARED = ("train.cache.mode=on", "train.cache.views=4", "evaluate.report=false")
METHODS = {
    "none": ["augment.policy=none"],
    "light": ["augment.policy=light"],
    "medium": ["augment.policy=medium"],
    "strong": ["augment.policy=strong"],
    "fine_grained": ["augment.policy=fine_grained"],
    "mixup": ["augment.policy=light", "augment.mixup.alpha=0.2"],
    "cutmix": ["augment.policy=light", "augment.cutmix.alpha=1"],
    "cutout": ["augment.policy=light", "augment.cutout.size=0.5"],
    "grid_mask": ["augment.policy=light", "augment.grid_mask={}"],
    "color_jitter": ["augment.policy=light", "augment.color_jitter={}"],
    "rand_augment": ["augment.policy=light", "augment.rand_augment={}"],
    "aug_mix": ["augment.policy=light", "augment.aug_mix={}"],
    "feature_mixup": ["augment.policy=light", "augment.feature_mixup.alpha=0.2"],
    "feature_cutmix": ["augment.policy=light", "augment.feature_cutmix.alpha=1"],
    "feature_noise": ["augment.policy=light", "augment.feature_noise={}"],
    "mixstyle": ["augment.policy=light", "augment.mixstyle={}"],
}


def write_photos(target: Path, source: Path, *, seed: int, test: int) -> None:
    """Copy photos of every class into ``train`` and ``test`` of ``target``."""
    rng = np.random.default_rng(seed)
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        photos = rng.permutation(sorted(folder.iterdir()))
        for part, some in (("train", photos[:TRAIN]), ("test", photos[TRAIN : TRAIN + test])):
            (target / part / folder.name).mkdir(parents=True)
            for photo in some:
                shutil.copy(photo, target / part / folder.name)


def measured(
    methods: list[str], seeds: list[int], *, size: int, test: int
) -> dict[str, list[dict[str, float]]]:
    """Return accuracy, n and log-loss by method, one entry per seed."""
    found: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            photos, caches = Path(folder) / "photos", Path(folder) / "caches"
            source = Path(os.environ["TLTOOL_TEST_DATA"]) / "flowers128"
            write_photos(photos, source, seed=seed, test=test)
            for method in methods:
                settings = [f"seed={seed}", f"data.image_size={size}", "export.enabled=false"]
                recipe = load_recipe("vgg16", [*settings, *SHARED, *METHODS[method]])
                out = Path(folder) / method
                metrics = finetune(photos, recipe=recipe, out=out, caches=caches).metrics
                found[method].append(
                    {
                        "accuracy": metrics["accuracy"]["value"],
                        "log_loss": metrics["log_loss"],
                        "n": metrics["n"],
                    }
                )
                print(seed, method, found[method][-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--test", type=int, default=300, help="photos per class")
    parser.add_argument("--methods", default=",".join(METHODS))
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    methods = given.methods.split(",")
    found = measured(methods, seeds, size=given.size, test=given.test)
    n = found[methods[0]][0]["n"]
    print(f"\nVGG16 at {given.size} pixels, seeds {given.seeds}, n = {n} each.\n")
    print(
        f"| method | accuracy (95 % each) | mean | against {methods[0]} (95 %, paired by seed) "
        "| log-loss |"
    )
    print("|---|---|---|---|---|")
    for method, rows in found.items():
        each = ", ".join(_rate(row["accuracy"], row["n"]) for row in rows)
        mean = statistics.fmean(row["accuracy"] for row in rows)
        loss = statistics.fmean(row["log_loss"] for row in rows)
        against = "" if method == methods[0] else _against(rows, found[methods[0]])
        print(f"| {method} | {each} | {mean:.3f} | {against} | {loss:.3f} |")


def _against(rows: list[dict[str, float]], first: list[dict[str, float]]) -> str:
    pairs = [a["accuracy"] - b["accuracy"] for a, b in zip(rows, first, strict=True)]
    if len(pairs) == 1:
        return f"{pairs[0]:+.3f}"
    mean, low, high = paired_interval(pairs)
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def _rate(value: float, n: float) -> str:
    low, high = wilson(round(value * n), int(n))
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
