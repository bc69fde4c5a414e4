"""Class imbalance: balanced accuracy with each remedy.

python benchmarks/imbalance.py [--size 64] [--seeds 0,1,2]

Reads flowers128 from TLTOOL_TEST_DATA. Training and validation get 200, 112, 63, 36 and 20 images
of its classes (10:1), in a random order given by the seed; the test set has 300 others of each, so
that its accuracy is the balanced accuracy. VGG16 with pretrained weights at a small image size: the
results compare remedies, they are not the accuracy at 224 pixels.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.evaluation.metrics.seed_comparison import over_drawn_splits
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune

REMEDIES = ("none", "weights", "balanced_sampling", "focal")
COUNTS = (200, 112, 63, 36, 20)
TEST = 300


def write_data(target: Path, source: Path, seed: int) -> None:
    """Copy images of every class into ``train`` and ``test`` of ``target``."""
    rng = np.random.default_rng(seed)
    classes = sorted(path for path in source.iterdir() if path.is_dir())
    for folder, count in zip(rng.permutation(classes), COUNTS, strict=True):
        images = rng.permutation(sorted(folder.iterdir()))
        for part, some in (("test", images[:TEST]), ("train", images[TEST : TEST + count])):
            (target / part / folder.name).mkdir(parents=True)
            for image in some:
                shutil.copy(image, target / part / folder.name)


def measure(seeds: list[int], size: int) -> dict[str, list[dict[str, float]]]:
    """Return accuracy, recall of the smallest and largest class by remedy, one entry per seed."""
    results: dict[str, list[dict[str, float]]] = {remedy: [] for remedy in REMEDIES}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "images"
            write_data(data, Path(os.environ["TLTOOL_TEST_DATA"]) / "flowers128", seed)
            sizes = {path.name: len(list(path.iterdir())) for path in (data / "train").iterdir()}
            for remedy in REMEDIES:
                settings = [f"seed={seed}", f"data.image_size={size}", f"train.imbalance={remedy}"]
                recipe = load_recipe("vgg16", [*settings, "export.enabled=false"])
                out, caches = Path(folder) / remedy, Path(folder) / "caches"
                metrics = finetune(data, recipe=recipe, out=out, feature_cache=caches).metrics
                recall = {row["name"]: row["recall"] for row in metrics["per_class"]}
                results[remedy].append(
                    {
                        "accuracy": metrics["accuracy"]["value"],
                        "small": recall[min(sizes, key=sizes.__getitem__)],
                        "large": recall[max(sizes, key=sizes.__getitem__)],
                        "log_loss": metrics["log_loss"],
                    }
                )
                print(seed, remedy, results[remedy][-1], flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", default="0,1,2")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    results = measure(seeds, args.size)
    n = TEST * len(COUNTS)
    print(f"\nVGG16 at {args.size} pixels, seeds {args.seeds}, n = {n} each.\n")
    print(
        "| imbalance | balanced accuracy (95 % each) | mean | against none (95 %, paired by seed) ",
        end="",
    )
    print("| recall of the smallest class | of the largest | log-loss |")
    print("|---|---|---|---|---|---|---|")
    for remedy, rows in results.items():
        each = ", ".join(_rate(row["accuracy"], n) for row in rows)
        pairs = [a["accuracy"] - b["accuracy"] for a, b in zip(rows, results["none"], strict=True)]
        mean, low, high = over_drawn_splits(pairs, ratio=0.0)
        against = "" if remedy == "none" else f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
        columns = [[row[key] for row in rows] for key in ("accuracy", "small", "large", "log_loss")]
        accuracy, small, large, loss = (f"{statistics.fmean(column):.3f}" for column in columns)
        print(f"| {remedy} | {each} | {accuracy} | {against} | {small} | {large} | {loss} |")


def _rate(value: float, n: int) -> str:
    low, high = wilson_interval(round(value * n), n)
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
