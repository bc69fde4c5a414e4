"""How often drift is found, by kind of drift and number of images: handwritten digits.

    python benchmarks/drift.py [--repeats 100] [--kinds none darker]

A network with one hidden layer is trained on the digits 0 to 8 of scikit-learn's set (1797 images).
In every repeat, 200 held-out images are the reference and others are the new images, changed or
not. Printed are the shares of repeats in which drift was found, in all and by each test, and the
error of the estimated accuracy. The row "none" is the rate of false alarms; its bound is 5 %.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from tltool.evaluation.drift.accuracy_estimate import estimate_accuracy
from tltool.evaluation.drift.drift_tests import Sample, find_drift
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.training.reference import Reference, as_features

REFERENCE, SIZES, CLASSES = 200, (50, 100, 200), 9
KINDS = ("none", "darker", "blurred", "20 % nines", "mirrored digits", "a third are ones")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=100)
    options.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    given = options.parse_args()
    model = Digits()
    print("| drift | n | found | 95 % interval | by | estimate − accuracy, mean (sd) |")
    print("| --- | ---: | ---: | --- | --- | --- |")
    for kind in given.kinds:
        for n in SIZES:
            print(row(model, kind, n, given.repeats), flush=True)


def row(model: Digits, kind: str, n: int, repeats: int) -> str:
    by, found, errors = Counter(), 0, []
    for seed in range(repeats):
        reference, sample, accuracy = model.draw(kind, n, seed)
        drift = find_drift(reference, sample, classes=CLASSES, permutations=999, seed=seed)
        found += drift.found
        by.update(test.name for test in drift.tests if test.found)
        errors.append(estimate_accuracy(reference, sample.confidence).value - accuracy)
    low, high = wilson_interval(found, repeats)
    tests = ", ".join(f"{name} {count / repeats:.0%}" for name, count in by.most_common())
    error = f"{np.mean(errors):+.3f} ({np.std(errors):.3f})"
    interval = f"{low:.3f} to {high:.3f}"
    return f"| {kind} | {n} | {found / repeats:.3f} | {interval} | {tests or '–'} | {error} |"


class Digits:
    """The network, and the images that it was not trained on."""

    def __init__(self) -> None:
        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(labels))
        images, labels = images[order] / 16, labels[order]
        train = np.flatnonzero(labels < CLASSES)[:700]
        rest = np.setdiff1d(np.arange(len(labels)), train)
        self.network = MLPClassifier((64,), max_iter=1000, random_state=0)
        self.network.fit(images[train], labels[train])
        self.centres = np.stack(
            [self.hidden(images[train][labels[train] == one]).mean(axis=0) for one in range(9)]
        )
        self.images, self.labels = images[rest], labels[rest]

    def hidden(self, images):
        return np.maximum(images @ self.network.coefs_[0] + self.network.intercepts_[0], 0)

    def predict(self, images):
        probabilities = self.network.predict_proba(images)
        hidden = self.hidden(images)
        scores = np.sqrt(((hidden[:, None] - self.centres) ** 2).sum(2)).min(axis=1)
        confidence = probabilities.max(axis=1).astype(np.float32)
        return probabilities.argmax(axis=1), confidence, scores, as_features(hidden)

    def draw(self, kind: str, n: int, seed: int):
        rng = np.random.default_rng(seed)
        known = rng.permutation(np.flatnonzero(self.labels < CLASSES))
        old, new = known[:REFERENCE], known[REFERENCE:]
        if kind == "a third are ones":
            ones = self.labels[new] == 1
            new = np.concatenate([new[ones][: n // 3], new[~ones]])
        if kind == "20 % nines":
            nines = rng.permutation(np.flatnonzero(self.labels == 9))
            new = np.concatenate([nines[: n // 5], new])
        images, labels = change(kind, self.images[new[:n]]), self.labels[new[:n]]
        predicted, confidence, scores, features = self.predict(self.images[old])
        reference = Reference(
            predicted, confidence, predicted == self.labels[old], scores, features
        )
        predicted, confidence, scores, features = self.predict(images)
        sample = Sample(predicted, confidence, scores, features)
        return reference, sample, float((predicted == labels).mean())


def change(kind: str, images):
    if kind == "darker":
        return images * 0.7
    square = images.reshape(-1, 8, 8)
    if kind == "blurred":
        return gaussian_filter(square, (0, 0.6, 0.6)).reshape(-1, 64)
    if kind == "mirrored digits":
        return square[:, :, ::-1].reshape(-1, 64)
    return images


if __name__ == "__main__":
    main()
