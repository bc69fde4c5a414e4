"""Classes of unequal size: balanced accuracy with each way to treat them.

python benchmarks/imbalance.py [--size 64] [--seeds 0,1,2]

Reads flowers128 from TLTOOL_TEST_DATA. Training and validation get 200, 112, 63, 36 and 20 images
of its classes (10:1), in an order that the seed draws; the test part has 300 others of each, so
that its accuracy is the balanced accuracy. VGG16 with real weights at a small size: it compares the
ways, and says nothing of what the recipe reaches at 224 pixels.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune
from tltool.workflows.sweep import paired_interval

WAYS = ("none", "weights", "balanced_sampling", "focal")
COUNTS = (200, 112, 63, 36, 20)
TEST = 300


def write_photos(target: Path, source: Path, seed: int) -> None:
    """Copy images of every class into ``train`` and ``test`` of ``target``."""
    rng = np.random.default_rng(seed)
    classes = sorted(path for path in source.iterdir() if path.is_dir())
    for folder, count in zip(rng.permutation(classes), COUNTS, strict=True):
        photos = rng.permutation(sorted(folder.iterdir()))
        for part, some in (("test", photos[:TEST]), ("train", photos[TEST : TEST + count])):
            (target / part / folder.name).mkdir(parents=True)
            for photo in some:
                shutil.copy(photo, target / part / folder.name)


def measured(seeds: list[int], size: int) -> dict[str, list[dict[str, float]]]:
    """Return accuracy, recall of the smallest and largest class by way, one entry per seed."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            photos = Path(folder) / "photos"
            write_photos(photos, Path(os.environ["TLTOOL_TEST_DATA"]) / "flowers128", seed)
            sizes = {path.name: len(list(path.iterdir())) for path in (photos / "train").iterdir()}
            for way in WAYS:
                settings = [f"seed={seed}", f"data.image_size={size}", f"train.imbalance={way}"]
                recipe = load_recipe("vgg16", [*settings, "export.enabled=false"])
                out, caches = Path(folder) / way, Path(folder) / "caches"
                metrics = finetune(photos, recipe=recipe, out=out, feature_cache=caches).metrics
                recall = {row["name"]: row["recall"] for row in metrics["per_class"]}
                found[way].append(
                    {
                        "accuracy": metrics["accuracy"]["value"],
                        "small": recall[min(sizes, key=sizes.__getitem__)],
                        "large": recall[max(sizes, key=sizes.__getitem__)],
                        "log_loss": metrics["log_loss"],
                    }
                )
                print(seed, way, found[way][-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", default="0,1,2")
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    found = measured(seeds, given.size)
    n = TEST * len(COUNTS)
    print(f"\nVGG16 at {given.size} pixels, seeds {given.seeds}, n = {n} each.\n")
    print(
        "| imbalance | balanced accuracy (95 % each) | mean | against none (95 %, paired by seed) ",
        end="",
    )
    print("| recall of the smallest class | of the largest | log-loss |")
    print("|---|---|---|---|---|---|---|")
    for way, rows in found.items():
        each = ", ".join(_rate(row["accuracy"], n) for row in rows)
        pairs = [a["accuracy"] - b["accuracy"] for a, b in zip(rows, found["none"], strict=True)]
        mean, low, high = paired_interval(pairs)
        against = "" if way == "none" else f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
        columns = [[row[key] for row in rows] for key in ("accuracy", "small", "large", "log_loss")]
        accuracy, small, large, loss = (f"{statistics.fmean(column):.3f}" for column in columns)
        print(f"| {way} | {each} | {accuracy} | {against} | {small} | {large} | {loss} |")


def _rate(value: float, n: int) -> str:
    low, high = wilson_interval(round(value * n), n)
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
