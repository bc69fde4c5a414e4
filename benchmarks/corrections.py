"""Corrections: how much of the accuracy that wrong labels cost do 200 decisions bring back?

python -m benchmarks.corrections [--size 128] [--seeds 10] [--share 0.05] [--decisions 200]

Reads flowers128 from TLTOOL_TEST_DATA; EfficientNet-Lite0 with pretrained weights. A third of the
groups of near copies are test images, whose labels stay right. A share of the other labels is
flipped to one of the other classes with equal probability. A reviewer answers the original label of
each image, in the order of the queue `label-issues` of `tltool review`, and for comparison of as
many random images. The accuracy is that of a linear probe fitted on the labels before and after.
The intervals of differences are those of the paired t-test over seeds. That of the share of the
loss that is brought back is Fieller's: the shares r for which the mean of (gain - r loss) does not
differ from 0 in this test.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from benchmarks.label_errors import embedded, find_issues, flowers
from tltool.recipe.train_section import ProbeSection
from tltool.training.probe import fit_probe

SHARES = np.linspace(-5, 5, 10_001)


@dataclass(frozen=True)
class Images:
    """All images: features float32 [N, D], the original labels and the group of each, int [N]."""

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    classes: int


def accuracy(
    images: Images, train: np.ndarray, test: np.ndarray, given: np.ndarray, seed: int
) -> float:
    """Return the accuracy on the rows ``test`` of a probe fitted on ``train`` with its labels."""
    settings = ProbeSection()
    probe = fit_probe(
        images.features[train],
        given,
        classes=images.classes,
        c_values=settings.c_values,
        folds=settings.folds,
        weights=None,
        seed=seed,
        groups=images.groups[train],
    )
    predicted = probe.logits(images.features[test]).argmax(axis=1)
    return float((predicted == images.labels[test]).mean())


def one_seed(images: Images, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Return the accuracies with right, wrong and corrected labels, and what the reviewer found."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(int(images.groups.max()) + 1)
    is_test = np.isin(images.groups, order[: len(order) // 3])
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    true = images.labels[train]
    wrong = true.copy()
    flipped = rng.permutation(len(train))[: round(options.share * len(train))]
    other = rng.integers(1, images.classes, len(flipped))
    wrong[flipped] = (true[flipped] + other) % images.classes
    found = find_issues(
        images.features[train], wrong, images.groups[train], images.classes, seed
    ).issues
    queue = np.array([one.index for one in found[: options.decisions]], np.int64)
    random = rng.permutation(len(train))[: len(queue)]
    result: dict[str, float] = {"decisions": len(queue), "flipped": len(flipped)}
    result["found"] = float((wrong != true)[queue].sum())
    result["right"] = accuracy(images, train, test, true, seed)
    result["wrong"] = accuracy(images, train, test, wrong, seed)
    for name, reviewed in (("corrected", queue), ("random", random)):
        given = wrong.copy()
        given[reviewed] = true[reviewed]
        result[name] = accuracy(images, train, test, given, seed)
    return result


def half_width(values: np.ndarray) -> float:
    """Return half the width of the 95 % interval of the mean of ``values``, one per seed."""
    deviation = float(values.std(ddof=1)) / len(values) ** 0.5
    return float(t.ppf(0.975, len(values) - 1)) * deviation


def share_with_interval(gain: np.ndarray, loss: np.ndarray) -> tuple[float, float, float]:
    """Return the share of the loss that the gain brings back, with Fieller's 95 % interval."""
    differences = [gain - share * loss for share in SHARES]
    inside = [abs(float(one.mean())) <= half_width(one) for one in differences]
    within = SHARES[np.array(inside)]
    return float(gain.mean() / loss.mean()), float(within.min()), float(within.max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--decisions", type=int, default=200)
    options = parser.parse_args()
    catalog = flowers()
    features, groups = embedded(catalog, "efficientnet_lite0", options.size)
    images = Images(features, catalog.labels(), groups, len(catalog.class_names))
    rows = [one_seed(images, seed, options) for seed in range(options.seeds)]
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    loss = values["right"] - values["wrong"]
    print(
        f"EfficientNet-Lite0 at {options.size} pixels, {options.seeds} seeds, n = {len(groups)}; "
        f"{options.share:.0%} of the training labels flipped ({values['flipped'].mean():.0f}).\n"
    )
    decisions, found = values["decisions"].mean(), values["found"].mean()
    print(f"{decisions:.0f} decisions, of which {found:.0f} correct a flipped label.\n")
    print("| training labels | accuracy | difference from wrong, points | share of the loss |")
    print("|---|---|---|---|")
    print(f"| wrong | {values['wrong'].mean():.4f} | | |")
    for name in ("right", "corrected", "random"):
        gain = values[name] - values["wrong"]
        cells = [f"{values[name].mean():.4f}"]
        cells.append(f"{100 * gain.mean():+.2f} ± {100 * half_width(gain):.2f}")
        share, low, high = share_with_interval(gain, loss)
        cells.append("" if name == "right" else f"{share:.2f} ({low:.2f} to {high:.2f})")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
