"""Few images: does the cross-validated accuracy of the probe hold what its interval promises?

python benchmarks/cross_validation.py [--repetitions 300] [--seconds 600]

Two classes of normal distributions in 20 dimensions, n labelled images, single or in groups of 5
that share most of their noise. The estimate is that of a run with few validation images: out-of-
fold predictions of the probe, and a Wilson interval, for groups at the effective sample size. The
truth is the accuracy, on 4,000 new images, of a probe fitted on four fifths of the
images, as the probe of a run is. The last column is the validation set of the run: the same
number of images, of which one fifth is evaluated.
"""

import argparse
import time

import numpy as np

from tltool.evaluation.metrics.confidence_intervals import effective_sample_size, wilson_interval
from tltool.recipe.train_section import ProbeSection
from tltool.training.cross_validated_probe import cross_validate_probe
from tltool.training.probe import fit_probe

CELLS = ((40, 1), (100, 1), (100, 5), (200, 5))
DIMENSIONS, NEW, SHARED = 20, 4_000, 0.8


def draw(
    n: int, group: int, centres: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, labels and groups; a share of the variance is common to a group."""
    groups = np.arange(n) // group
    labels = groups % 2
    common = rng.normal(size=(groups.max() + 1, DIMENSIONS))[groups]
    own = rng.normal(size=(n, DIMENSIONS))
    shared = SHARED if group > 1 else 0.0
    noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    return (centres[labels] + noise).astype(np.float32), labels, groups


def repetition(n: int, group: int, seed: int) -> tuple[float, float, float, float, float]:
    """Return estimate, bounds, truth and the accuracy on one fifth of the images."""
    rng, settings = np.random.default_rng(seed), ProbeSection()
    how = {"c_values": settings.c_values, "folds": settings.folds, "weights": None, "seed": seed}
    centres = rng.normal(0, 0.45, (2, DIMENSIONS))
    features, labels, groups = draw(n, group, centres, rng)
    predicted = cross_validate_probe(features, labels, groups, classes=2, **how)
    assert predicted is not None
    correct = predicted.logits.argmax(axis=1) == labels
    effective = effective_sample_size(correct, groups)
    low, high = wilson_interval(float(correct.mean() * effective), effective)
    new, truth, _ = draw(NEW, 1, centres, rng)
    train = slice(0, n * 4 // 5)
    probe = fit_probe(features[train], labels[train], classes=2, **how)
    accuracy = float((probe.logits(new).argmax(axis=1) == truth).mean())
    rest = probe.logits(features[n * 4 // 5 :]).argmax(axis=1) == labels[n * 4 // 5 :]
    return float(correct.mean()), low, high, accuracy, float(rest.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=1e9)
    options = parser.parse_args()
    print(
        "| images | group | repetitions | accuracy | bias of the estimate | coverage (95 %) | "
        "width | mean absolute error | the same of one fifth |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for n, group in CELLS:
        started, rows = time.perf_counter(), []
        for seed in range(options.repetitions):
            rows.append(repetition(n, group, seed))
            if time.perf_counter() - started > options.seconds:
                break
        value, low, high, truth, rest = np.array(rows).T
        inside = int(((low <= truth) & (truth <= high)).sum())
        bounds = wilson_interval(inside, len(rows))
        print(
            f"| {n} | {group} | {len(rows)} | {truth.mean():.3f} | {(value - truth).mean():+.3f} | "
            f"{inside / len(rows):.3f} ({bounds[0]:.3f} to {bounds[1]:.3f}) | "
            f"{(high - low).mean():.3f} | {np.abs(value - truth).mean():.3f} | "
            f"{np.abs(rest - truth).mean():.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
