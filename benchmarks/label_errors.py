"""Wrong labels: 5 % of flowers128's labels are flipped; how many of the first suspects are these?

python benchmarks/label_errors.py [--size 128] [--seeds 0,1,2,3,4,5] [--share 0.05]

Reads flowers128 from TLTOOL_TEST_DATA, real VGG16 weights. A label is flipped to one of the other
classes with equal chance. What is no flip counts as false, although some of the labels as they came
are wrong too: the last column says how many of the false ones are suspects without any flip.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from tltool.data.audit.audit import audit
from tltool.data.catalog import Catalog
from tltool.data.duplicates.find_duplicates import find_copies
from tltool.data.sources.open import read_source
from tltool.evaluation.label_errors import LabelErrors, label_errors
from tltool.evaluation.metrics.intervals import wilson
from tltool.events import SilentObserver
from tltool.models.backbone_registry import get_backbone
from tltool.recipe.train_section import ProbeSection
from tltool.training.probe import fit_probe
from tltool.workflows.dataset.embeddings import extract_embeddings
from tltool.workflows.dataset.splitting import groups_of

FIRST = 100


def flowers() -> Catalog:
    folder = Path(os.environ["TLTOOL_TEST_DATA"]) / "flowers128"
    quiet = SilentObserver()
    listing = read_source(folder, observer=quiet)
    checked = audit(listing, on_bad="skip", max_bad_fraction=0.1, max_pixels=10**8, observer=quiet)
    return checked.catalog


def suspects(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: int, seed: int
) -> LabelErrors:
    """Return what a run finds, its strength chosen by its probe."""
    settings = ProbeSection()
    how = {"c_values": list(settings.c_values), "folds": settings.folds}
    probe = fit_probe(features, labels, classes=classes, weights=None, seed=seed, **how)
    found = label_errors(
        features, labels, groups, classes=classes, strength=probe.strength, seed=seed
    )
    assert found is not None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seeds", default="0,1,2,3,4,5")
    parser.add_argument("--share", type=float, default=0.05)
    given = parser.parse_args()
    catalog = flowers()
    pooled = extract_embeddings(
        catalog,
        get_backbone("vgg16"),
        image_size=given.size,
        resize="crop",
        offline=False,
        observer=SilentObserver(),
    )
    true, classes = catalog.labels(), len(catalog.class_names)
    groups = groups_of(catalog, find_copies(catalog.items).clusters)
    print(f"VGG16 at {given.size} pixels, n = {len(true)}, {given.share:.0%} flipped.\n")
    print(
        f"| seed | of the first {FIRST} flipped (95 %) | right class suggested | suspects | "
        "flipped ones found | false among the first that are suspects without flips | seconds |"
    )
    print("|---|---|---|---|---|---|---|")
    for seed in map(int, given.seeds.split(",")):
        rng = np.random.default_rng(seed)
        flipped = rng.permutation(len(true))[: round(given.share * len(true))]
        labels = true.copy()
        labels[flipped] = (true[flipped] + rng.integers(1, classes, len(flipped))) % classes
        clean = {
            one.index for one in suspects(pooled.features, true, groups, classes, seed).suspects
        }
        started = time.perf_counter()
        found = suspects(pooled.features, labels, groups, classes, seed).suspects
        seconds = time.perf_counter() - started
        wrong = set(flipped.tolist())
        hits = [one for one in found[:FIRST] if one.index in wrong]
        false = [one for one in found[:FIRST] if one.index not in wrong]
        low, high = wilson(len(hits), FIRST)
        suggested = sum(one.suggested == true[one.index] for one in hits)
        all_found = sum(one.index in wrong for one in found)
        print(
            f"| {seed} | {len(hits) / FIRST:.2f} ({low:.2f} to {high:.2f}) | {suggested} of "
            f"{len(hits)} | {len(found)} | {all_found} of {len(flipped)} | "
            f"{sum(one.index in clean for one in false)} of {len(false)} | {seconds:.1f} |"
        )


if __name__ == "__main__":
    main()
