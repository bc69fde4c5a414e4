"""Linear probe: multinomial logistic regression on pooled features, solved to convergence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tltool.models.standardization import fit_standardization
from tltool.runs.keras_setup import import_scikit_learn
from tltool.training.softmax_regression import Solution, solve_softmax
from tltool.training.stratified_folds import group_splitter

_LEAST_OF_CLASS = 10  # images for the probe, so that a rare class can be learned
_ROWS_FOR_SELECTION = 1000  # cross-validation on more takes longer and chooses the same C


@dataclass(frozen=True)
class Probe:
    """A linear classifier on raw pooled features.

    Attributes:
        kernel: float32 [D, C]; the standardisation is folded in.
        bias: float32 [C].
        strength: C, the inverse L2 regularization strength chosen by cross-validation.
        accuracy: cross-validated accuracy on the training set, 0…1.
        loss: cross-validated log-loss on the training set, nats.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float
    accuracy: float
    loss: float

    def logits(self, pooled: np.ndarray) -> np.ndarray:
        """Return logits, float32 [N, C], of pooled features float32 [N, D]."""
        return np.asarray(pooled @ self.kernel + self.bias, np.float32)


def fit_probe(
    pooled: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    c_values: Sequence[float],
    folds: int,
    weights: np.ndarray | None,
    seed: int,
    groups: np.ndarray | None = None,
) -> Probe:
    """Fit the probe on pooled features [N, D] and class numbers [N].

    ``weights`` [N] are sample weights, in the fit and in the choice of C. Images of one of
    ``groups``, int [N], are in one fold of the cross-validation; None if all are independent.

    Features are standardised with a variance floor (``standardization.floored``), in
    cross-validation by the training rows of each fold; L-BFGS runs to convergence (scikit-learn).
    Chosen is the smallest of ``c_values`` whose cross-validated log-loss is within one standard
    error of the minimum (one-standard-error rule; Hastie, Tibshirani and Friedman 2009, section
    7.10).
    """
    scores = _cross_validate(
        pooled,
        labels,
        classes=classes,
        c_values=c_values,
        folds=folds,
        weights=weights,
        seed=seed,
        groups=np.arange(len(labels)) if groups is None else groups,
    )
    strength = _one_standard_error_rule(scores)
    kernel, bias = _solve_on_pooled(
        pooled, labels, classes=classes, strength=strength, weights=weights
    )
    return Probe(
        kernel=kernel,
        bias=bias,
        strength=float(strength),
        accuracy=scores[strength].accuracy,
        loss=scores[strength].loss,
    )


def evenly_by_class(labels: np.ndarray, most: int) -> np.ndarray:
    """Return positions of at most ``most`` images: int64 [K], ascending.

    Each class has its share of them, evenly spaced in its images, and at least ten or all of its
    images; fewer than ten where ``most`` is too small for that.

    Args:
        labels: class numbers, int [N].
        most: number of images.

    Examples:
        >>> evenly_by_class(np.array([0] * 900 + [1] * 12), 100)[-3:]
        array([909, 910, 911])
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    sizes = np.bincount(labels)
    least = np.minimum(sizes, min(_LEAST_OF_CLASS, most // int(np.count_nonzero(sizes))))
    more = sizes - least
    counts: np.ndarray = least + more * (most - least.sum()) // more.sum()
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    chosen = [
        of_class[np.arange(int(count)) * len(of_class) // max(int(count), 1)]
        for of_class, count in zip(members, counts, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def refit_probe(
    probe: Probe,
    pooled: np.ndarray,
    labels: np.ndarray,
    *,
    weights: np.ndarray | None,
) -> Probe:
    """Return ``probe`` fitted anew, at the same C, on pooled features [N, D] of more images.

    Its cross-validated accuracy and log-loss are those of ``probe``. ``weights`` [N] are sample
    weights.
    """
    kernel, bias = _solve_on_pooled(
        pooled,
        labels,
        classes=len(probe.bias),
        strength=probe.strength,
        weights=weights,
    )
    return replace(probe, kernel=kernel, bias=bias)


def _solve_on_pooled(
    pooled: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    strength: float,
    weights: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel [D, C] and bias [C], float32, for features that are not standardised."""
    fitted = fit_standardization(pooled)
    kernel, bias = solve_softmax(
        fitted.apply(pooled), labels, classes=classes, strength=strength, weights=weights
    )
    folded = kernel / fitted.scale[:, None]
    return folded.astype(np.float32), (bias - fitted.mean @ folded).astype(np.float32)


class _Score(NamedTuple):
    loss: float
    error: float  # standard error of the loss
    accuracy: float


def _one_standard_error_rule(scores: dict[float, _Score]) -> float:
    """Return the smallest C whose loss is within one standard error of the minimum."""
    least = min(scores.values(), key=lambda score: score.loss)
    limit = least.loss + least.error
    return min(strength for strength, score in scores.items() if score.loss <= limit)


def _cross_validate(
    pooled: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    c_values: Sequence[float],
    folds: int,
    weights: np.ndarray | None,
    seed: int,
    groups: np.ndarray,
) -> dict[float, _Score]:
    """Return the score of every C over stratified folds that keep groups together."""
    rows = np.random.default_rng(seed).permutation(len(labels))[:_ROWS_FOR_SELECTION]
    features, targets = pooled[rows], labels[rows]
    counted = np.ones(len(rows)) if weights is None else weights[rows]
    members = np.unique(groups[rows], return_inverse=True)[1]
    splits = _stratified_folds(targets, members, classes=classes, folds=folds, seed=seed)
    if not splits:
        # too few images for cross-validation: the middle C, without scores
        return {c_values[len(c_values) // 2]: _Score(0.0, 0.0, 0.0)}
    parts = [
        (train, validation, fit_standardization(features[train])) for train, validation in splits
    ]
    order = np.concatenate([validation for _, validation, _ in parts])
    scores: dict[float, _Score] = {}
    solutions: list[Solution | None] = [None] * len(parts)  # of each fold, with the C before
    for strength in sorted(c_values):
        losses, hits = [], []
        for number, (train, validation, fitted) in enumerate(parts):
            kernel, bias = solutions[number] = solve_softmax(
                fitted.apply(features[train]),
                targets[train],
                classes=classes,
                strength=strength,
                weights=None if weights is None else counted[train],
                start=solutions[number],
            )
            predicted = fitted.apply(features[validation]) @ kernel + bias
            loss, hit = _score(predicted, targets[validation])
            losses.append(loss * counted[validation])
            hits.append(hit)
        every = np.concatenate(losses)
        scores[strength] = _Score(
            loss=float(every.mean()),
            error=standard_error(every, members[order]),
            accuracy=float(np.concatenate(hits).mean()),
        )
        least = min(scores.values(), key=lambda score: score.loss)
        if scores[strength].loss > least.loss + least.error:
            break  # weaker regularisation overfits more and is slowest to solve
    return scores


def _stratified_folds(
    labels: np.ndarray, groups: np.ndarray, *, classes: int, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return training and validation rows of each fold; none with too few images of a class.

    Args:
        labels: class numbers [N].
        groups: group numbers [N]; images of one group are in one fold.
        classes: number of classes.
        folds: at most.
        seed: of the folds.
    """
    import_scikit_learn()
    from sklearn.model_selection import StratifiedKFold

    distinct = np.unique(np.stack([labels, groups]), axis=1)
    smallest = int(np.bincount(distinct[0], minlength=classes).min())
    if smallest < 2:
        return []
    single = groups.max() + 1 == len(groups)
    count = min(folds, smallest)
    splitter = (
        StratifiedKFold(count, shuffle=True, random_state=seed)
        if single
        else group_splitter(count, seed=seed)
    )
    return [
        (train, validation)
        for train, validation in splitter.split(labels, labels, None if single else groups)
        if len(validation) and len(np.unique(labels[train])) > 1
    ]


def standard_error(losses: np.ndarray, groups: np.ndarray) -> float:
    """Return the standard error of the mean of ``losses`` [N], which are independent by group."""
    sums = np.bincount(groups, weights=losses - losses.mean())
    return float(np.sqrt((sums**2).sum()) / len(losses))


def _score(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log-loss and correctness of every row."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return log_sum - shifted[np.arange(len(labels)), labels], logits.argmax(axis=1) == labels
