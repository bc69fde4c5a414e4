"""Which labels are probably wrong, by confident learning.

Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", 2021
(https://arxiv.org/abs/1911.00068). Their package cleanlab brings pandas; what is needed of it is
here.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.models.standardization import fit_standardization
from tltool.training.probe import solve_softmax

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

COLUMNS = ("file", "given", "suggested", "p_given", "p_suggested", "score")
_FOLDS, _FEWEST = 5, 2
_ROWS_PER_FIT = 10_000  # more rows make a fold slow and hardly better
_REPEATS, _REPEATED_UP_TO = 3, 5_000  # divisions into folds that are averaged; images


@dataclass(frozen=True)
class Suspect:
    """A label that is probably wrong.

    Attributes:
        index: row of the image.
        given: number of its class as labelled.
        suggested: number of the class that it more probably has.
        p_given: out-of-fold probability of the class given.
        p_suggested: out-of-fold probability of the class suggested.
    """

    index: int
    given: int
    suggested: int
    p_given: float
    p_suggested: float

    @property
    def score(self) -> float:
        """How sure it is, 0…1: the probability that the class given is not the right one."""
        return 1.0 - self.p_given


@dataclass(frozen=True)
class LabelErrors:
    """What confident learning says of ``n`` labels.

    Attributes:
        suspects: the surest first.
        expected: how many labels are estimated to be wrong; more or fewer than the suspects.
        n: labels looked at.
        left_out: numbers of classes that no label was looked at of; they have images of one group.
    """

    suspects: tuple[Suspect, ...]
    expected: float
    n: int
    left_out: tuple[int, ...] = ()


def label_errors(
    pooled: Floats,
    labels: Integers,
    groups: Integers,
    *,
    classes: int,
    strength: float,
    seed: int,
) -> LabelErrors | None:
    """Look for wrong labels with a logistic regression on features that no label has shaped.

    Args:
        pooled: features of the pretrained backbone, float [N, D]. Those of a fine-tuned one have
            learnt the wrong labels too.
        labels: class numbers, int [N].
        groups: images of one number stay in one fold, int [N]: copies would vouch for each other.
        classes: number of classes.
        strength: inverse L2 strength C that suits a probe on these features.
        seed: of the folds.

    Returns:
        The suspects; None when fewer than two classes have images of two groups.
    """
    present = np.unique(labels)
    small = [one for one in present if len(np.unique(groups[labels == one])) < _FEWEST]
    if len(present) - len(small) < _FEWEST:
        return None
    rows = np.flatnonzero(~np.isin(labels, small))
    pooled, labels, groups = pooled[rows], labels[rows], groups[rows]
    repeats = _REPEATS if len(labels) <= _REPEATED_UP_TO else 1
    seeds = np.random.default_rng(seed).integers(2**31, size=repeats).tolist()
    found = [
        out_of_fold(pooled, labels, groups, classes=classes, strength=strength, seed=one)
        for one in seeds
    ]
    errors = confident_learning(np.mean(found, axis=0), labels)
    suspects = (replace(one, index=int(rows[one.index])) for one in errors.suspects)
    return replace(errors, suspects=tuple(suspects), left_out=tuple(map(int, small)))


def out_of_fold(
    pooled: Floats,
    labels: Integers,
    groups: Integers,
    *,
    classes: int,
    strength: float,
    seed: int,
) -> NDArray[np.float64]:
    """Return probabilities float64 [N, C], each row by a model that did not see its fold.

    Every class that is there has images of two groups or more.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    present = np.unique(labels)
    folds = min(_FOLDS, *(len(np.unique(groups[labels == label])) for label in present))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    rng = np.random.default_rng(seed)
    found = np.full((len(labels), classes), 1.0 / classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # small classes: told by the suspects
        parts = list(splitter.split(pooled, labels, groups))
    for train, held in parts:
        rows = train if len(train) <= _ROWS_PER_FIT else rng.permutation(train)[:_ROWS_PER_FIT]
        standard = _of_one_length(pooled, rows)
        kernel, bias = solve_softmax(
            standard[rows], labels[rows], classes=classes, strength=strength, weights=None
        )
        logits = standard[held] @ kernel + bias
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        found[held] = exponents / exponents.sum(axis=1, keepdims=True)
    return found


def _of_one_length(pooled: Floats, rows: Integers) -> NDArray[np.float64]:
    """Return features standardised by ``rows`` and brought to one length, float64 [N, D].

    An image with strong features would otherwise be sure of its class for its contrast alone:
    of the first 100 suspects among flowers with 5 % of the labels flipped, some 80 instead of 69
    were flipped ones.
    """
    standard = fit_standardization(pooled[rows]).apply(pooled)
    length = np.linalg.norm(standard, axis=1, keepdims=True)
    return np.asarray(standard * np.sqrt(pooled.shape[1]) / np.maximum(length, 1e-12))


def confident_learning(probabilities: Floats, labels: Integers) -> LabelErrors:
    """Return the labels that out-of-fold probabilities contradict with confidence.

    An image counts as of class j when the probability of j is at least the mean that the images
    labelled j have for it; of several such classes the most probable counts. Where that is another
    class than the label, the label is suspect. The counts, scaled to the number of images of each
    class, estimate how many labels are wrong.

    Args:
        probabilities: out of fold, float [N, C].
        labels: class numbers as given, int [N].
    """
    rows, classes = probabilities.shape
    usual = np.full(classes, np.inf)
    for label in np.unique(labels):
        usual[label] = probabilities[labels == label, label].mean()
    confident = np.where(probabilities >= usual, probabilities, -1.0)
    counted = confident.max(axis=1) >= 0
    believed = np.where(counted, confident.argmax(axis=1), labels)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[counted], believed[counted]), 1)
    given = np.bincount(labels, minlength=classes)
    share = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1)
    expected = float((given[:, np.newaxis] * share * (1 - np.eye(classes))).sum())
    suspects = [
        Suspect(
            int(row),
            int(labels[row]),
            int(believed[row]),
            float(probabilities[row, labels[row]]),
            float(probabilities[row, believed[row]]),
        )
        for row in np.flatnonzero(believed != labels)
    ]
    ranked = sorted(suspects, key=lambda suspect: (-suspect.score, suspect.index))
    return LabelErrors(tuple(ranked), expected, rows)


def write_suspects(
    path: Path, found: LabelErrors, files: Sequence[str], class_names: Sequence[str]
) -> None:
    """Write ``label_suspects.csv``: file, given, suggested, p_given, p_suggested, score; UTF-8.

    Bytes of names that are not UTF-8 are escaped: a backslash, ``udc`` and two digits.

    Args:
        path: replaced if it is there.
        found: the suspects.
        files: the N images, as a person knows them.
        class_names: the C names.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in found.suspects:
            names = [class_names[one.given], class_names[one.suggested]]
            figures = [f"{value:.6f}" for value in (one.p_given, one.p_suggested, one.score)]
            writer.writerow([files[one.index], *names, *figures])
