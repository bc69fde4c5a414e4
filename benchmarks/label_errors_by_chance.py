"""Label errors: how often are they advised on, without a wrong label and with some?

python benchmarks/label_errors_by_chance.py [--case digits-100] [--repetitions 60] [--seconds 150]

Each case is a set of features: raw pixels of digits of 8 x 8 (scikit-learn), without replacement,
or normal distributions with the same variance around random centres. Everything is done as in a
run: the probe chooses the regularisation, and out-of-fold probabilities give the label issues and
the number of them that chance gives. A share of the labels is flipped to another class. Digits
can hold wrong labels of their own; the normal distributions hold none.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from tltool.evaluation.label_errors import LabelErrors, find_label_issues
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.recipe.train_section import ProbeSection
from tltool.training.probe import Probe, fit_probe

Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


def digits(n: int) -> Draw:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        rows = rng.permutation(len(labels))[:n]
        return pixels[rows].astype(np.float32), labels[rows]

    return draw


def normal(classes: int, n: int, distance: float, dimensions: int = 50) -> Draw:
    """Return draws of ``classes`` distributions whose centres are ``distance`` apart on average."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        scale = distance / np.sqrt(2 * dimensions)
        centres, labels = rng.normal(0, scale, (classes, dimensions)), np.arange(n) % classes
        return (centres[labels] + rng.normal(0, 1, (n, dimensions))).astype(np.float32), labels

    return draw


CASES = {
    "digits-50": (10, digits(50)),
    "digits-100": (10, digits(100)),
    "digits-300": (10, digits(300)),
    "normal-2-40-3": (2, normal(2, 40, 3.0)),
    "normal-2-40-5": (2, normal(2, 40, 5.0)),
    "normal-2-200-2": (2, normal(2, 200, 2.0)),
    "normal-2-200-4": (2, normal(2, 200, 4.0)),
    "normal-5-500-2": (5, normal(5, 500, 2.0)),
    "normal-10-300-4": (10, normal(10, 300, 4.0)),
}


def search(
    features: np.ndarray, labels: np.ndarray, classes: int, seed: int
) -> tuple[Probe, LabelErrors]:
    """Return the probe and the label issues, as a run finds them."""
    settings = ProbeSection()
    probe = fit_probe(
        features,
        labels,
        classes=classes,
        c_values=settings.c_values,
        folds=settings.folds,
        weights=None,
        seed=seed,
    )
    errors = find_label_issues(
        features,
        labels,
        np.arange(len(labels)),
        classes=classes,
        strength=probe.strength,
        seed=seed,
    )
    assert errors is not None
    return probe, errors


def row(name: str, share: float, repetitions: int, seconds: float) -> str:
    """Return a row of the table: as many repetitions as the time allows."""
    classes, draw = CASES[name]
    started, found = time.perf_counter(), []
    for seed in range(repetitions):
        rng = np.random.default_rng(seed)
        features, labels = draw(rng)
        flipped = rng.permutation(len(labels))[: round(share * len(labels))]
        labels = labels.copy()
        labels[flipped] = (labels[flipped] + rng.integers(1, classes, len(flipped))) % classes
        found.append(search(features, labels, classes, seed))
        if time.perf_counter() - started > seconds:
            break
    advised = sum(errors.above_chance for _, errors in found)
    low, high = wilson_interval(advised, len(found))
    mean = {
        "accuracy": np.mean([probe.accuracy for probe, _ in found]),
        "issues": np.mean([len(errors.issues) for _, errors in found]),
        "chance": np.mean([errors.by_chance.mean for _, errors in found if errors.by_chance]),
        "high": np.mean([errors.by_chance.high for _, errors in found if errors.by_chance]),
    }
    return (
        f"| {name} | {share:.0%} | {len(found)} | {mean['accuracy']:.2f} | {mean['issues']:.1f} | "
        f"{mean['chance']:.1f} ({mean['high']:.1f}) | {advised / len(found):.2f} "
        f"({low:.2f} to {high:.2f}) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--repetitions", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--shares", default="0,0.05,0.1")
    options = parser.parse_args()
    print(
        "| case | wrong labels | repetitions | accuracy of the probe | label issues | "
        "by chance, mean (95 % quantile) | advised (95 %) |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in [options.case] if options.case else CASES:
        for share in map(float, options.shares.split(",")):
            print(row(name, share, options.repetitions, options.seconds), flush=True)


if __name__ == "__main__":
    main()
