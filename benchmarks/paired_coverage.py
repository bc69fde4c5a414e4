"""Paired comparisons: coverage of the intervals, and how often equal models have a winner.

python benchmarks/paired_coverage.py [PART ...] [--repetitions 1000]

PART is differences, groups, safe, gain, sweep, chance or optimism; without any, all are measured.
Needs no images: predictions are simulated, with seed 0. The parts ``differences`` and ``safe`` are
exact sums over all outcomes. Prints Markdown.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from scipy.stats import multinomial

from tltool.evaluation.metrics.class_metrics import confusion_matrix_metrics
from tltool.evaluation.metrics.confusion_matrix import ConfusionMatrix
from tltool.evaluation.metrics.paired_intervals import noninferiority_p_value, paired_interval
from tltool.evaluation.metrics.paired_tests import compare_with_first
from tltool.evaluation.metrics.seed_comparison import (
    MeanDifference,
    over_drawn_splits,
    over_given_images,
)
from tltool.evaluation.metrics.tta_gain import tta_gain
from tltool.evaluation.shared_test_set import expected_optimism

MARGIN, MIN_IMAGES = 0.05, 75  # of preview --rank
GAINED = (0.0, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4)
Row = tuple[object, ...]


def outcomes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of numbers of images that only the first or the second has correct."""
    first, second = (axis.ravel() for axis in np.indices((n + 1, n + 1)))
    return first[first + second <= n], second[first + second <= n]


def chances(n: int, lost: float, gained: float) -> np.ndarray:
    """Return the probability of each of ``outcomes``."""
    first, second = outcomes(n)
    counts = np.stack([first, second, n - first - second], axis=1)
    probability: np.ndarray = multinomial.pmf(counts, n, [lost, gained, 1 - lost - gained])
    return probability


def percentile_interval(first: int, second: int, n: int) -> tuple[float, float]:
    """Return the bootstrap interval of earlier versions, for comparison."""
    shares = np.array([first, second, n - first - second]) / n
    drawn = np.random.default_rng(0).multinomial(n, shares, size=2000)
    low, high = np.quantile((drawn[:, 1] - drawn[:, 0]) / n, (0.025, 0.975))
    difference = (second - first) / n
    return (difference - 3 / n, difference + 3 / n) if low == high else (low, high)


def differences(_: int) -> Iterator[Row]:
    yield "n", "only one correct (first, second)", "Bonett-Price", "bootstrap (earlier)"
    for n in (20, 50, 153, 300, 1000):
        for lost, gained in ((0.0, 0.01), (0.01, 0.01), (0.01, 0.05), (0.05, 0.1), (0.3, 0.3)):
            first, second = outcomes(n)
            probability = chances(n, lost, gained)
            kept = probability > 1e-7
            pairs = list(zip(first[kept].tolist(), second[kept].tolist(), strict=True))
            covered = []
            for interval in (paired_interval, percentile_interval):
                if interval is percentile_interval and n > 300:
                    covered.append("")
                    continue
                bounds = np.array([interval(*pair, n) for pair in pairs])
                true = gained - lost
                inside = (bounds[:, 0] <= true + 1e-12) & (true - 1e-12 <= bounds[:, 1])
                covered.append(f"{probability[kept][inside].sum():.3f}")
            yield n, f"{lost:.2f}, {gained:.2f}", *covered


def safe(_: int) -> Iterator[Row]:
    yield (
        "n",
        "'safe' at a true loss of 5 points, most",
        "by Bonett-Price alone",
        "'safe' at no loss",
    )
    for n in (60, 75, 100, 120, 153, 200):
        first, second = outcomes(n)
        pairs = list(zip(first.tolist(), second.tolist(), strict=True))
        alone = np.array([paired_interval(*pair, n)[0] >= -MARGIN for pair in pairs])
        tests = np.array([noninferiority_p_value(*pair, n, margin=MARGIN) for pair in pairs])
        rules = ((tests <= 0.025) & alone & (n >= MIN_IMAGES), alone)
        most = [max(chances(n, MARGIN + g, g)[rule].sum() for g in GAINED) for rule in rules]
        none = ", ".join(f"{chances(n, g, g)[rules[0]].sum():.2f}" for g in (0.003, 0.01, 0.03))
        yield n, f"{most[0]:.3f}", f"{most[1]:.3f}", f"{none} (0.3, 1, 3 % change each way)"


def groups(repetitions: int) -> Iterator[Row]:
    yield (
        "groups", "of images", "correlation", "images that differ", "winner named, equal models",
        "McNemar on images", "coverage",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for count in (6, 20, 50):
        for size in (5, 20):
            for correlation in (0.05, 0.3, 0.8):
                for differing in (0.05, 0.3):
                    rates = grouped_rates(rng, repetitions, count, size, correlation, differing)
                    yield count, size, correlation, differing, *(f"{rate:.3f}" for rate in rates)


def grouped_rates(
    rng: np.random.Generator,
    repetitions: int,
    count: int,
    size: int,
    correlation: float,
    differing: float,
) -> np.ndarray:
    """Return rates of a winner with groups, of one without them, and of coverage."""
    group, rates = np.repeat(np.arange(count), size), np.zeros(3)
    shares = np.array([differing / 2, 1 - differing, differing / 2])
    for _ in range(repetitions):
        of_group = rng.dirichlet(shares * (1 - correlation) / correlation, count)
        limits = of_group.cumsum(axis=1)[group]
        kinds = (rng.random(len(group))[:, None] > limits[:, :2]).sum(axis=1)
        first, second = kinds != 2, kinds != 0
        found, alone = (compare_with_first(first, [second], groups=g)[0] for g in (group, None))
        rates += [found.distinguishable, alone.distinguishable, found.low <= 0 <= found.high]
    return rates / repetitions


def gain(repetitions: int) -> Iterator[Row]:
    yield "n", "accuracy", "coverage: gain in accuracy", "coverage: gain in log-loss"
    rng = np.random.default_rng(0)
    for sharpness in (1.0, 2.0, 3.0):
        for scale in (1.0, 2.5):
            without, with_tta, labels = views(rng, 300_000, sharpness, scale)
            true = tta_gain(without, with_tta, labels)
            accuracy = (without.argmax(axis=1) == labels).mean()
            for n in (20, 50, 153, 500):
                covered = np.zeros(2)
                for _ in range(repetitions):
                    found = tta_gain(*views(rng, n, sharpness, scale))
                    for position, name in enumerate(true):
                        low, high = found[name]["low"], found[name]["high"]
                        covered[position] += low <= true[name]["value"] <= high
                rates = (f"{rate:.3f}" for rate in covered / repetitions)
                yield n, f"{accuracy:.3f} (logits times {scale})", *rates


def views(
    rng: np.random.Generator, n: int, sharpness: float, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities of one view and of the mean of two, and the labels."""
    labels = rng.integers(0, 2, n)
    evidence = rng.normal(0, 1, n) + sharpness * (2 * labels - 1)
    one, two = (1 / (1 + np.exp(-scale * (evidence + rng.normal(0, 0.7, n)))) for _ in range(2))
    mean = (one + two) / 2
    return np.stack([1 - one, one], axis=1), np.stack([1 - mean, mean], axis=1), labels


def sweep(repetitions: int) -> Iterator[Row]:
    yield (
        "validation images", "settings", "seeds", "winner named: accuracy, log-loss",
        "plain t-test over seeds",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for settings in (2, 4):
        for n, name, draw in (
            (60, "a fifth of 60, drawn", drawn_sweep),
            (300, "a fifth of 300, drawn", drawn_sweep),
            (20, "20, given", given_sweep),
            (153, "153, given", given_sweep),
        ):
            rates = {seeds: np.zeros(4) for seeds in (3, 5, 10, 20)}
            for _ in range(repetitions):
                results = draw(rng, settings, n)
                for seeds, rate in rates.items():
                    rate += np.array(winners(results[:, :, :seeds], n)) / repetitions
            for seeds, rate in rates.items():
                shown = [f"{each:.3f}" for each in rate]
                yield name, settings, seeds, ", ".join(shown[:2]), ", ".join(shown[2:])


def winners(results: np.ndarray, n: int) -> list[bool]:
    """Return whether accuracy and log-loss name a winner, then whether the plain t-test does.

    ``results`` are of each metric, setting and seed, and of each image where images are given;
    higher is better. The plain test compares the best with the second only.
    """
    named, plainly = [], []
    for values, step in zip(results, (5 / n, 0.0), strict=True):
        means = values.reshape(*values.shape[:2], -1).mean(axis=2)
        first, *others = np.argsort(-means.mean(axis=1))
        found = [compare(values[first] - values[other], step) for other in others]
        named.append(all(one.low is not None and one.low > 0 for one in found))
        plain = over_drawn_splits(list(means[first] - means[others[0]]), ratio=0.0)
        plainly.append(plain.excludes_zero())
    return [*named, *plainly]


def compare(differences: np.ndarray, step: float) -> MeanDifference:
    """Return the interval as a sweep has it, of differences [seeds] or [seeds, N]."""
    if differences.ndim == 1:
        return over_drawn_splits(list(differences), ratio=0.25, step=step)
    return over_given_images(differences, np.arange(differences.shape[1]))


def drawn_sweep(rng: np.random.Generator, settings: int, n: int, seeds: int = 20) -> np.ndarray:
    """Return accuracy and negative log-loss of equal settings, [2, settings, seeds].

    Each is a linear discriminant on four features that all have and on four of its own.
    """
    labels = rng.integers(0, 2, n)
    features = rng.normal(0.88 * labels[:, None], 1, (n, 4 + 4 * settings))
    results = np.zeros((2, settings, seeds))
    for seed in range(seeds):
        order = rng.permutation(n)
        train, validation = order[n // 5 :], order[: n // 5]
        sign = 2 * labels[validation] - 1
        for setting in range(settings):
            columns = np.r_[0:4, 4 + 4 * setting : 8 + 4 * setting]
            inside = features[np.ix_(train, columns)]
            means = [inside[labels[train] == label].mean(axis=0) for label in (0, 1)]
            rest = inside - np.where(labels[train][:, None] == 1, means[1], means[0])
            spread = rest.T @ rest / len(train) + 0.1 * np.eye(8)
            weights = np.linalg.solve(spread, means[1] - means[0])
            middle = (means[0] + means[1]) / 2
            margins = sign * ((features[np.ix_(validation, columns)] - middle) @ weights)
            results[:, setting, seed] = (margins > 0).mean(), -np.logaddexp(0, -margins).mean()
    return results


def given_sweep(rng: np.random.Generator, settings: int, n: int, seeds: int = 20) -> np.ndarray:
    """Return both metrics of each image for equal settings, [2, settings, seeds, N].

    Each setting is good at other images, and each run has luck of its own.
    """
    margins = rng.normal(1, 1, n) + rng.normal(0, 0.7, (settings, 1, n))
    margins = margins + rng.normal(0, 0.1, (settings, seeds, 1))
    margins = margins + rng.normal(0, 0.5, (settings, seeds, n))
    return np.stack([(margins > 0).astype(np.float64), -np.logaddexp(0, -margins)])


def chance(repetitions: int) -> Iterator[Row]:
    yield "classes", "images of each", "runs of a guessing model that clear a class"
    rng = np.random.default_rng(0)
    for classes in (2, 10, 100):
        for size in (5, 20):
            labels, cleared = np.repeat(np.arange(classes), size), 0
            names = [str(number) for number in range(classes)]
            for _ in range(repetitions):
                predicted = rng.integers(0, classes, len(labels))
                matrix = ConfusionMatrix.count(labels, predicted, classes=classes)
                found = confusion_matrix_metrics(matrix, names)["not_above_chance"]
                cleared += len(found) < classes
            yield classes, size, f"{cleared / repetitions:.3f}"


def optimism(repetitions: int) -> Iterator[Row]:
    yield "models", "noise of each", "test images", "best above its true accuracy", "estimated"
    rng = np.random.default_rng(0)
    for models in (2, 11, 50):
        for noise in (0.3, 1.0, 3.0):
            lost, found = [], []
            for _ in range(repetitions):
                values = rng.normal(0, 1, 153) + rng.normal(0, noise, (models, 153))
                correct = values < 1.2816 * (1 + noise**2) ** 0.5
                lost.append(correct.mean(axis=1).max() - 0.9)
                found.append(expected_optimism(correct, np.arange(153), models))
            yield (
                models,
                noise,
                153,
                *(f"{100 * np.mean(each):.2f} points" for each in (lost, found)),
            )


PARTS = {part.__name__: part for part in (differences, groups, safe, gain, sweep, chance, optimism)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--repetitions", type=int, default=1000)
    options = parser.parse_args()
    for name in options.parts or PARTS:
        print(f"\n{name}, {options.repetitions} repetitions\n")
        for number, row in enumerate(PARTS[name](options.repetitions)):
            print(f"| {' | '.join(map(str, row))} |", flush=True)
            if not number:
                print(f"|{'---|' * len(row)}")


if __name__ == "__main__":
    main()
