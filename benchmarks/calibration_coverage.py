"""Simulations of calibration: temperature, OOD threshold, prediction sets.

python -m benchmarks.calibration_coverage [temperature|threshold|sets] [--repetitions 60]

Logits are those of Gaussian classes, ``margin * (normal noise + margin * one-hot label)``: these
are calibrated, and times T they are too large by this temperature. Needs no images and no network.
The seed of a repetition is its number with n and the number of classes. Prints Markdown.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm

from tltool.evaluation.calibration.ood_threshold import threshold_for_coverage
from tltool.evaluation.calibration.prediction_sets import (
    class_thresholds,
    conformity_scores,
    prediction_sets,
    set_threshold,
)
from tltool.evaluation.calibration.temperature import choose_temperature
from tltool.evaluation.metrics.calibration_error import expected_calibration_error
from tltool.evaluation.metrics.probability_scores import log_loss

TEMPERATURES, CLASSES, ACCURACIES = (0.5, 1.0, 2.0), (2, 10), (0.8, 0.9, 0.97, 0.99)
NEW_IMAGES = 8000


@cache
def margin_for(accuracy: float, classes: int) -> float:
    """Return the margin at which the best classifier has this accuracy."""

    def reached(margin: float) -> float:
        def density(x: float) -> float:
            return float(norm.pdf(x - margin) * norm.cdf(x) ** (classes - 1))

        return float(quad(density, -10, margin + 10)[0])

    return float(brentq(lambda margin: reached(margin) - accuracy, 0.01, 10))


def draw(
    rng: np.random.Generator,
    n: int,
    *,
    classes: int,
    accuracy: float,
    prior: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated logits, float64 [n, C], and labels."""
    margin = margin_for(accuracy, classes)
    labels = rng.choice(classes, n, p=prior)
    logits = margin * (rng.normal(size=(n, classes)) + margin * np.eye(classes)[labels])
    return logits + (0 if prior is None else np.log(prior)), labels


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, float64 [N, C]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def smoothed_fit(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature of maximum likelihood with Platt's targets, the rule before."""
    n, classes = logits.shape
    targets = np.full(logits.shape, 1 / (n + 2) / (classes - 1))
    targets[np.arange(n), labels] = 1 - 1 / (n + 2)

    def loss(log_temperature: float) -> float:
        rows = np.log(np.maximum(softmax(logits / np.exp(log_temperature)), 1e-300))
        return -float((targets * rows).sum())

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def smoothed_choice(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that the rule before used: 1 where a cross-fitted figure rises."""
    order = np.random.default_rng(0).permutation(len(labels))
    after = np.zeros(logits.shape)
    for fold in np.array_split(order, 5):
        others = np.setdiff1d(order, fold)
        after[fold] = softmax(logits[fold] / smoothed_fit(logits[others], labels[others]))
    for figure in (log_loss, expected_calibration_error):
        if figure(after, labels) >= figure(softmax(logits), labels):
            return 1.0
    return smoothed_fit(logits, labels)


def temperature(repetitions: int) -> None:
    """Print the median fitted temperature, the log-loss on new images, and how often it is skipped.

    In brackets: the same of the rule before, smoothed targets without a prior.
    """
    print("| classes | accuracy | n | T = 0.5 | T = 1 | T = 2 |\n|---|---|---|---|---|---|")
    for classes in CLASSES:
        for accuracy in ACCURACIES:
            test = draw(np.random.default_rng(99), NEW_IMAGES, classes=classes, accuracy=accuracy)
            scales = np.geomspace(0.02, 50, 90)
            losses = [log_loss(softmax(test[0] * scale), test[1]) for scale in scales]
            of_scale = _interpolation(scales, losses)
            for n in (20, 50, 150, 500):
                cells = [
                    _temperature_cell(true, n, classes, accuracy, repetitions, of_scale)
                    for true in TEMPERATURES
                ]
                print(f"| {classes} | {accuracy} | {n} | {' | '.join(cells)} |", flush=True)


def _interpolation(scales: np.ndarray, losses: list[float]) -> Callable[[float], float]:
    return lambda scale: float(np.interp(np.log(scale), np.log(scales), losses))


def _temperature_cell(
    true: float,
    n: int,
    classes: int,
    accuracy: float,
    repetitions: int,
    of_scale: Callable[[float], float],
) -> str:
    fitted, before, gains, gains_before, skipped = [], [], [], [], 0
    for repetition in range(repetitions):
        rng = np.random.default_rng([repetition, n, classes])
        logits, labels = draw(rng, n, classes=classes, accuracy=accuracy)
        wide = (logits * true).astype(np.float32)
        chosen = choose_temperature(wide, labels)
        skipped += chosen.skipped
        fitted.append(chosen.fitted)
        before.append(smoothed_fit(wide, labels))
        gains.append(of_scale(true / chosen.value) - of_scale(true))
        gains_before.append(of_scale(true / smoothed_choice(wide, labels)) - of_scale(true))
    return (
        f"{statistics.median(fitted):.2f} ({statistics.median(before):.2f}), "
        f"{np.mean(gains):+.3f} ({np.mean(gains_before):+.3f}), {skipped / repetitions:.0%}"
    )


def threshold(repetitions: int) -> None:
    """Print how many new images an OOD threshold accepts, and how often its range holds that."""
    print(
        "| groups x images | correlation | coverage | confidence | accepted "
        "| at least the coverage | inside the range |\n|---|---|---|---|---|---|---|"
    )
    designs = (
        (49, 1, 0.0), (200, 1, 0.0), (40, 5, 0.0), (40, 5, 0.5), (40, 5, 0.9), (20, 10, 0.5),
        (20, 20, 0.3), (100, 5, 0.5),
    )  # fmt: skip
    for count, size, correlation in designs:
        for coverage, confidence in ((0.95, None), (0.9, None), (0.9, 0.9)):
            accepted, inside = [], []
            for repetition in range(repetitions):
                rng = np.random.default_rng([repetition, count, size])
                groups = np.repeat(np.arange(count), size)
                noise = np.sqrt(1 - correlation) * rng.normal(size=len(groups))
                scores = np.exp(np.sqrt(correlation) * rng.normal(size=count)[groups] + noise)
                found = threshold_for_coverage(
                    scores, coverage, groups=groups, confidence=confidence
                )
                accepted.append(norm.cdf(np.log(found.value)))
                inside.append(found.accepted[0] <= accepted[-1] <= found.accepted[1])
            enough = np.mean([share >= coverage for share in accepted])
            print(
                f"| {count} x {size} | {correlation} | {coverage} | {confidence or '–'} | "
                f"{np.mean(accepted):.3f} | {enough:.3f} | {np.mean(inside):.3f} |",
                flush=True,
            )


def sets(repetitions: int) -> None:
    """Print coverage and size of prediction sets from 200 images, and of the rarest class."""
    print(
        "| classes | accuracy | T | coverage | mean size | rarest class "
        "| rarest class, --per-class | mean size, --per-class |\n|---|---|---|---|---|---|---|---|"
    )
    for classes, prior in ((2, None), (10, None), (4, np.array([0.4, 0.3, 0.2, 0.1]))):
        for accuracy in (0.6, 0.7, 0.8, 0.88, 0.95):
            for true in (1.0, 2.0):
                rows = [
                    _sets_of(np.random.default_rng(repetition), classes, accuracy, prior, true)
                    for repetition in range(repetitions)
                ]
                reached, *figures = (f"{value:.3f}" for value in np.mean(rows, axis=0))
                kind = classes if prior is None else f"{classes}, uneven"
                row = " | ".join(figures)
                print(f"| {kind} | {reached} | {true:g} | {row} |", flush=True)


def _sets_of(
    rng: np.random.Generator, classes: int, accuracy: float, prior: np.ndarray | None, true: float
) -> list[float]:
    (logits, labels), (new_logits, new_labels) = (
        draw(rng, n, classes=classes, accuracy=accuracy, prior=prior) for n in (200, 2000)
    )
    probabilities, new = (softmax(each * true).astype(np.float32) for each in (logits, new_logits))
    draws, rows, rarest = rng.random(2000), np.arange(2000), new_labels == classes - 1
    scores = conformity_scores(probabilities, labels, rng.random(200))
    inside = prediction_sets(new, draws, set_threshold(scores, 0.9))
    names = [str(number) for number in range(classes)]
    per_class = prediction_sets(new, draws, class_thresholds(scores, labels, names, 0.9).values)
    hits, hits_per_class = (each[rows, new_labels] for each in (inside, per_class))
    return [
        float(value)
        for value in (
            (new_logits.argmax(axis=1) == new_labels).mean(),
            hits.mean(), inside.sum(axis=1).mean(), hits[rarest].mean(),
            hits_per_class[rarest].mean(), per_class.sum(axis=1).mean(),
        )
    ]  # fmt: skip


PARTS = {"temperature": temperature, "threshold": threshold, "sets": sets}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), choices=[*PARTS, []])
    parser.add_argument("--repetitions", type=int, default=60)
    arguments = parser.parse_args()
    for name in arguments.parts or list(PARTS):
        print(f"\n{name}, {arguments.repetitions} repetitions\n")
        PARTS[name](arguments.repetitions)


if __name__ == "__main__":
    main()
