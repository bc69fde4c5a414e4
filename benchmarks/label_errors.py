"""Label errors: 5 % of the labels of flowers128 are flipped; how many are found?

python benchmarks/label_errors.py [--size 128] [--seeds 0,1,2,3,4,5] [--share 0.05]

Reads flowers128 from TLTOOL_TEST_DATA; VGG16 with pretrained weights. A label is flipped to one of
the other classes with equal probability. An issue that was not flipped counts as a false positive,
although some original labels are wrong too: the table says how many of the false positives are
issues without any flip.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from tltool.data.audit.audit import audit
from tltool.data.catalog import Catalog
from tltool.data.duplicates.find_duplicates import cluster_duplicates
from tltool.data.sources.open import read_source
from tltool.evaluation.label_errors import LabelErrors, find_label_issues
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.events import SilentObserver
from tltool.models.backbone_registry import get_backbone
from tltool.recipe.train_section import ProbeSection
from tltool.training.probe import fit_probe
from tltool.workflows.dataset.embeddings import extract_embeddings
from tltool.workflows.dataset.splitting import group_numbers

FIRST = 100


def flowers() -> Catalog:
    folder = Path(os.environ["TLTOOL_TEST_DATA"]) / "flowers128"
    quiet = SilentObserver()
    listing = read_source(folder, observer=quiet)
    checked = audit(listing, on_bad="skip", max_bad_fraction=0.1, max_pixels=10**8, observer=quiet)
    return checked.catalog


def embedded(catalog: Catalog, backbone: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features [N, D] of all images, and the number of the group of near copies of each."""
    pooled = extract_embeddings(
        catalog,
        get_backbone(backbone),
        image_size=size,
        resize="crop",
        offline=False,
        observer=SilentObserver(),
    )
    return pooled.features, group_numbers(catalog, cluster_duplicates(catalog.items).clusters)


def find_issues(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: int, seed: int
) -> LabelErrors:
    """Return the label issues as a run finds them, with the regularisation of its probe."""
    settings = ProbeSection()
    options = {"c_values": list(settings.c_values), "folds": settings.folds}
    probe = fit_probe(features, labels, classes=classes, weights=None, seed=seed, **options)
    errors = find_label_issues(
        features, labels, groups, classes=classes, strength=probe.strength, seed=seed
    )
    assert errors is not None
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seeds", default="0,1,2,3,4,5")
    parser.add_argument("--share", type=float, default=0.05)
    options = parser.parse_args()
    catalog = flowers()
    features, groups = embedded(catalog, "vgg16", options.size)
    true, classes = catalog.labels(), len(catalog.class_names)
    print(f"VGG16 at {options.size} pixels, n = {len(true)}, {options.share:.0%} flipped.\n")
    print(
        f"| seed | precision of the first {FIRST} (95 %) | true class suggested | issues | "
        "recall of flipped labels | false positives that are issues without flips | seconds |"
    )
    print("|---|---|---|---|---|---|---|")
    for seed in map(int, options.seeds.split(",")):
        rng = np.random.default_rng(seed)
        flipped = rng.permutation(len(true))[: round(options.share * len(true))]
        labels = true.copy()
        labels[flipped] = (true[flipped] + rng.integers(1, classes, len(flipped))) % classes
        clean = {one.index for one in find_issues(features, true, groups, classes, seed).issues}
        started = time.perf_counter()
        issues = find_issues(features, labels, groups, classes, seed).issues
        seconds = time.perf_counter() - started
        wrong = set(flipped.tolist())
        hits = [one for one in issues[:FIRST] if one.index in wrong]
        false = [one for one in issues[:FIRST] if one.index not in wrong]
        low, high = wilson_interval(len(hits), FIRST)
        suggested = sum(one.suggested == true[one.index] for one in hits)
        recalled = sum(one.index in wrong for one in issues)
        print(
            f"| {seed} | {len(hits) / FIRST:.2f} ({low:.2f} to {high:.2f}) | {suggested} of "
            f"{len(hits)} | {len(issues)} | {recalled} of {len(flipped)} | "
            f"{sum(one.index in clean for one in false)} of {len(false)} | {seconds:.1f} |"
        )


if __name__ == "__main__":
    main()
