"""How often the 95 % intervals of the metrics hold the true value: a simulation.

python -m benchmarks.coverage [--classes 2 10] [--images 20 50 153 400 1000]
    [--accuracies 0.6 0.8 0.9 0.95 0.99] [--groups 0] [--repetitions 300] [--replicates 1000]
    [--beta-binomial] [--seed 0]

The logits of an image are Gaussian: variance 1, with a higher mean for its true class, which the
accuracy determines. The calibrated model returns the true probabilities, the overconfident one has
twice the logits. The true values are those of 400,000 other images. With ``--groups SIZE`` the
images are those of groups of about this size, of one class each, whose logits have half of their
variance in common. With ``--beta-binomial`` only accuracies are simulated, which differ between
groups as beta-distributed rates with intraclass correlations of 0.1, 0.5 and 0.9. Needs no images;
prints Markdown: the lowest and the mean coverage over accuracies and models.
"""

import argparse
import functools
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics import confidence_intervals
from tltool.evaluation.metrics.calibration_error import expected_calibration_error
from tltool.evaluation.metrics.classification import compute_metrics
from tltool.evaluation.metrics.confidence_intervals import rate_of
from tltool.evaluation.metrics.probability_scores import brier_scores, log_loss
from tltool.evaluation.metrics.roc_auc import average_precision, roc_auc
from tltool.evaluation.metrics.selective_prediction import selective_metrics

ACCURACIES = (0.6, 0.8, 0.9, 0.95, 0.99)
SHARPNESS = {"calibrated": 1.0, "overconfident": 2.0}
RATES = (
    "accuracy",
    "balanced accuracy",
    "macro precision",
    "macro F1",
    "weighted F1",
    "recall of a class",
    "F1 of a class",
)
_LARGE = 400_000  # images that give the true values
LEAST = 0.93
_ENOUGH = 0.2  # share of samples with an interval that is not rough, for a coverage

Sample = tuple[NDArray[np.float64], NDArray[np.int64]]
Intervals = dict[str, tuple[float, float, bool]]


def separation(accuracy: float, classes: int) -> float:
    """Return the mean logit of the true class at which a model has this accuracy."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    x = np.linspace(-9, 16, 4001)

    def excess(mean: float) -> float:
        return float(np.trapezoid(norm.pdf(x - mean) * norm.cdf(x) ** (classes - 1), x)) - accuracy

    return float(brentq(excess, 0, 12))


def draw(
    random: np.random.Generator,
    n: int,
    classes: int,
    accuracy: float,
    *,
    sharpness: float = 1.0,
    group: NDArray[np.int64] | None = None,
    correlation: float = 0.5,
) -> Sample:
    """Return probabilities float64 [n, C] and labels int64 [n].

    Args:
        random: of the sample.
        n: images.
        classes: C.
        accuracy: of the model.
        sharpness: factor of the calibrated logits.
        group: number of the group of each image, int [n]: a group has one class.
        correlation: of the logits of two images of one group.
    """
    mean = _separation(accuracy, classes)
    noise = random.normal(size=(n, classes))
    labels = random.integers(0, classes, n)
    if group is not None:
        count = int(group.max()) + 1
        common = random.normal(size=(count, classes))[group]
        noise = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * noise
        labels = random.integers(0, classes, count)[group]
    logits = noise + mean * np.eye(classes)[labels]
    logits *= sharpness * mean
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True), labels


_separation = functools.cache(separation)


def groups_of(random: np.random.Generator, n: int, size: int) -> NDArray[np.int64]:
    """Return the groups of n images: sizes of half to one and a half times ``size``, int64 [n]."""
    sizes = random.integers(max(1, size // 2), size + size // 2 + 1, n)
    return np.repeat(np.arange(n), sizes)[:n]


def intervals_of(metrics: dict[str, Any]) -> Intervals:
    """Return lower bound, upper bound and whether it is rough, of each interval."""
    intervals: Intervals = {}
    rates = {"accuracy": metrics["accuracy"], "balanced accuracy": metrics["balanced_accuracy"]}
    for name, rate in rates.items():
        intervals[name] = (rate["low"], rate["high"], rate["rough"])
    first, macro = metrics["per_class"][0], metrics["macro"]
    curve = metrics["selective"]["risk_coverage"]["confidence"]
    for name, row, key in (
        ("log-loss", metrics, "log_loss"),
        ("Brier score", metrics, "brier"),
        ("calibration error", metrics, "ece"),
        ("macro precision", macro, "precision"),
        ("macro F1", macro, "f1"),
        ("weighted F1", metrics["weighted"], "f1"),
        ("ROC-AUC", metrics, "roc_auc"),
        ("average precision", metrics, "average_precision"),
        ("risk-coverage area", curve, "aurc"),
        ("recall of a class", first, "recall"),
        ("F1 of a class", first, "f1"),
        ("ROC-AUC of a class", first, "roc_auc"),
        ("average precision of a class", first, "average_precision"),
    ):
        bounds = row[f"{key}_interval"]
        if bounds is not None:
            intervals[name] = (bounds[0], bounds[1], bool(row.get(f"{key}_rough")))
    return intervals


def evaluate(sample: Sample, groups: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Return the metrics of a sample, as a run computes them."""
    probabilities, labels = sample
    names = [str(number) for number in range(probabilities.shape[1])]
    return {
        **compute_metrics(probabilities, labels, names, groups=groups),
        "selective": selective_metrics(probabilities, labels, None, groups),
    }


@functools.cache
def true_values(classes: int, accuracy: float, model: str) -> dict[str, float]:
    """Return the metrics of very many images; recall, precision and F1 are equal by symmetry."""
    random = np.random.default_rng(1)
    probabilities, labels = draw(random, _LARGE, classes, accuracy, sharpness=SHARPNESS[model])
    error = expected_calibration_error(probabilities, labels)
    ranked = (probabilities.argmax(axis=1) != labels)[np.argsort(-probabilities.max(axis=1))]
    scores, positive = probabilities[:, 0], labels == 0
    area, precision = roc_auc(scores, positive).value, average_precision(scores, positive).value
    return {
        **dict.fromkeys(RATES, accuracy),
        "log-loss": log_loss(probabilities, labels),
        "Brier score": float(brier_scores(probabilities, labels).mean()),
        "calibration error": 0.0 if model == "calibrated" else error,
        "ROC-AUC": area,
        "ROC-AUC of a class": area,
        "average precision": precision,
        "average precision of a class": precision,
        "risk-coverage area": float((ranked.cumsum() / np.arange(1, _LARGE + 1)).mean()),
    }


def coverages(
    classes: int, accuracy: float, model: str, n: int, *, size: int, repetitions: int, seed: int
) -> Iterator[tuple[str, float | None]]:
    """Yield the coverage of each interval; None where it is marked as rough."""
    true = true_values(classes, accuracy, model)
    random = np.random.default_rng((seed, classes, n, int(1000 * accuracy), len(model)))
    held: dict[str, list[bool]] = defaultdict(list)
    for _ in range(repetitions):
        groups = groups_of(random, n, size) if size else None
        sample = draw(random, n, classes, accuracy, sharpness=SHARPNESS[model], group=groups)
        for name, (low, high, rough) in intervals_of(evaluate(sample, groups)).items():
            held[name] += [] if rough else [low <= true[name] <= high]
    for name in sorted(held):
        enough = len(held[name]) >= _ENOUGH * repetitions
        yield name, float(np.mean(held[name])) if enough else None


def table(
    classes: int,
    images: Sequence[int],
    accuracies: Sequence[float],
    *,
    size: int,
    repetitions: int,
    seed: int,
) -> None:
    """Print the lowest and the mean coverage over all accuracies and both models."""
    lowest: dict[tuple[str, int], list[float | None]] = defaultdict(list)
    for n in images:
        for accuracy in accuracies:
            for model in SHARPNESS:
                for name, share in coverages(
                    classes, accuracy, model, n, size=size, repetitions=repetitions, seed=seed
                ):
                    lowest[name, n].append(share)
                    if share is not None and share < LEAST:
                        print(f"{name}, n = {n}, {accuracy}, {model}: {share:.3f}", file=sys.stderr)
    kind = f"groups of {size}" if size else "single images"
    columns = " | ".join(f"n = {n}" for n in images)
    print(f"\n| {classes} classes, {kind} | {columns} |")
    print("|---" * (len(images) + 1) + "|")
    for name in dict.fromkeys(name for name, _ in lowest):
        cells = [_cell(lowest[name, n]) for n in images]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def beta_binomial_table(*, repetitions: int, seed: int) -> None:
    """Print the coverage of Wilson's interval for rates that differ between groups."""
    random = np.random.default_rng(seed)
    print("\n| groups | images of each | every image independent | effective sample size |")
    print("|---|---|---|---|")
    for count, size in itertools.product((6, 12, 30, 80), (5, 20)):
        shares = []
        for correlation, rate in itertools.product((0.1, 0.5, 0.9), ACCURACIES):
            held = np.zeros(2)
            for _ in range(repetitions):
                scale, group = (1 - correlation) / correlation, np.repeat(np.arange(count), size)
                rates = random.beta(rate * scale, (1 - rate) * scale, count)
                correct = random.random(count * size) < rates[group]
                for position, groups in enumerate((None, group)):
                    interval = rate_of(correct, groups)
                    held[position] += interval["low"] <= rate <= interval["high"]
            shares.append(held / repetitions)
        lowest, mean = np.min(shares, axis=0), np.mean(shares, axis=0)
        cells = [f"{low:.3f}, {average:.3f}" for low, average in zip(lowest, mean, strict=True)]
        print(f"| {count} | {size} | {' | '.join(cells)} |", flush=True)


def _cell(shares: Sequence[float | None]) -> str:
    known = [share for share in shares if share is not None]
    rough = " (rough)" if 0 < len(known) < len(shares) else ""
    return f"{min(known):.3f}, {np.mean(known):.3f}{rough}" if known else "rough"


def main() -> None:
    """Print one table for each number of classes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 10])
    parser.add_argument("--images", type=int, nargs="+", default=[20, 50, 153, 400, 1000])
    parser.add_argument("--accuracies", type=float, nargs="+", default=list(ACCURACIES))
    parser.add_argument("--groups", type=int, default=0, help="mean size; 0 for single images")
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--replicates", type=int, default=1000, help="of each bootstrap")
    parser.add_argument("--beta-binomial", action="store_true", help="only rates of groups")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    confidence_intervals.REPLICATES = options.replicates
    if options.beta_binomial:
        beta_binomial_table(repetitions=options.repetitions, seed=options.seed)
        return
    for classes in options.classes:
        table(
            classes,
            options.images,
            options.accuracies,
            size=options.groups,
            repetitions=options.repetitions,
            seed=options.seed,
        )


if __name__ == "__main__":
    main()
