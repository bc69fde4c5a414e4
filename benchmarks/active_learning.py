"""Active learning: do the images that `tltool suggest` chooses help more than random ones?

python benchmarks/active_learning.py [--size 128] [--seeds 5] [--rounds 5] [--budget 50]

Reads flowers128 from TLTOOL_TEST_DATA; EfficientNet-Lite0 with pretrained weights. A third of the
groups of near copies are test images. The others are a pool of which 20 per class are labelled at
first. In each round a linear probe is fitted on the labelled images, and each strategy chooses the
budget from the rest. The same seeds give every strategy the same start and test images. The
interval of the difference from random is that of the paired t-test over seeds.
"""

import argparse

import numpy as np

from benchmarks.label_errors import embedded, flowers
from tltool.evaluation.label_suggestions import STRATEGIES, Pool, Strategy, suggest_images
from tltool.models.standardization import fit_standardization
from tltool.training.softmax_regression import solve_softmax

FIRST = 20  # labelled images per class at the start
STRENGTH = 0.01


def probabilities(
    features: np.ndarray, labels: np.ndarray, known: np.ndarray, classes: int
) -> np.ndarray:
    """Return the probabilities of a probe on the rows ``known`` for all rows, float64 [N, C]."""
    standard = fit_standardization(features[known]).apply(features)
    kernel, bias = solve_softmax(
        standard[known], labels[known], classes=classes, strength=STRENGTH, weights=None
    )
    logits = standard @ kernel + bias
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def accuracies(
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    strategy: Strategy,
    seed: int,
    options: argparse.Namespace,
) -> list[float]:
    """Return the test accuracy before the first round and after each."""
    rng, classes = np.random.default_rng(seed), int(labels.max()) + 1
    order = rng.permutation(int(groups.max()) + 1)
    test = np.isin(groups, order[: len(order) // 3])
    pool = rng.permutation(np.flatnonzero(~test))
    known = np.concatenate([pool[labels[pool] == one][:FIRST] for one in range(classes)])
    names = [str(one) for one in range(classes)]
    result = []
    for number in range(options.rounds + 1):
        predicted = probabilities(features, labels, known, classes)
        result.append(float((predicted[test].argmax(axis=1) == labels[test]).mean()))
        rest = np.setdiff1d(pool, known)
        everything = np.ones(len(rest), np.bool_)
        images = Pool(predicted[rest], features[rest], everything, names)
        chosen = suggest_images(
            images, options.budget, strategy=strategy, ood_share=0.0, seed=100 * seed + number
        )
        known = np.concatenate([known, rest[[one.row for one in chosen]]])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=50)
    options = parser.parse_args()
    catalog = flowers()
    features, groups = embedded(catalog, "efficientnet_lite0", options.size)
    labels = catalog.labels()
    results = {
        strategy: np.array(
            [
                accuracies(features, labels, groups, strategy, seed, options)
                for seed in range(options.seeds)
            ]
        )
        for strategy in STRATEGIES
    }
    from scipy.stats import t

    factor = float(t.ppf(0.975, options.seeds - 1)) / options.seeds**0.5
    counts = [
        FIRST * len(catalog.class_names) + options.budget * n for n in range(options.rounds + 1)
    ]
    print(
        f"EfficientNet-Lite0 at {options.size} pixels, {options.seeds} seeds, n = {len(labels)}.\n"
    )
    print(f"| strategy | {' | '.join(f'{count} labels' for count in counts)} |")
    print(f"|---|{'---|' * len(counts)}")
    for strategy, values in results.items():
        cells = []
        for column in range(len(counts)):
            difference = values[:, column] - results["random"][:, column]
            half = factor * difference.std(ddof=1)
            mean = difference.mean()
            pair = f" ({100 * mean:+.1f} ± {100 * half:.1f})" if strategy != "random" else ""
            cells.append(f"{values[:, column].mean():.3f}{pair}")
        print(f"| {strategy} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
