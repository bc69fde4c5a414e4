"""Prediction sets: as few classes as contain the true class with a chosen probability.

Split conformal prediction with the adaptive score of Romano, Sesia and Candès 2020, "Classification
with valid and adaptive coverage" (arXiv:2006.02544), except that the score of the most probable
class is 0: it is in every set, and the scores of the calibration images must follow the same rule,
or the coverage would be too high. The guarantee is marginal: it holds on average over images like
the calibration images, for any model; with thresholds of each class it holds on average over the
images of each class (Vovk et al. 2005, section 4.5, Mondrian conformal prediction). Here the
calibration images are the validation set, which also selected the best epoch and the temperature,
so the guarantee is approximate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tltool.errors import UsageError
from tltool.evaluation.calibration.conformal_quantile import (
    conformal_quantile,
    highest_level,
    images_needed,
)
from tltool.training.temperature import row_blocks

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class ClassThresholds(NamedTuple):
    """Thresholds of prediction sets whose coverage holds for each class.

    Attributes:
        values: float64 [C]; infinite for a class that is in every set.
        too_few: names of these classes, of which there are too few calibration images.
    """

    values: Floats
    too_few: tuple[str, ...]


def conformity_scores(
    probabilities: NDArray[np.float32], labels: Integers, draws: Floats
) -> Floats:
    """Return the cumulative probability up to the true class, float64 [N] in [0, 1].

    Classes are sorted by descending probability; of the true class itself a random share counts.
    The score is 0 where the true class is the most probable one.

    Args:
        probabilities: [N, C].
        labels: class numbers [N].
        draws: uniform in [0, 1), [N], the random shares; without them the sets would be larger.
    """
    scores = np.empty(len(labels))
    for part in row_blocks(probabilities.shape):
        rows = _class_scores(probabilities[part], draws[part])
        scores[part] = rows[np.arange(len(rows)), labels[part]]
    return scores


def set_threshold(scores: Floats, level: float, groups: Integers | None = None) -> float:
    """Return the score that the true class of a new image stays below with probability ``level``.

    Args:
        scores: conformity scores of the calibration images, [N].
        level: target coverage, between 0 and 1.
        groups: int [N], the group of each image; None if all images are independent.

    Raises:
        UsageError: there are too few images for this coverage.
    """
    quantile = conformal_quantile(scores, level, groups)
    if quantile is None:
        count = _independent(len(scores), groups)
        what = "" if count == len(scores) else " of different groups"
        raise UsageError(
            f"prediction sets with coverage {level:g} need {images_needed(level)} validation "
            f"images{what}; this model has {count}",
            hint=f"use a coverage of at most {highest_level(count):g}, or train with more "
            "validation images",
        )
    return quantile.value


def class_thresholds(
    scores: Floats,
    labels: Integers,
    class_names: Sequence[str],
    level: float,
    groups: Integers | None = None,
) -> ClassThresholds:
    """Return a threshold for each class, from the calibration images of this class alone.

    A class with too few images gets an infinite one: it is in every set, and covered.

    Args:
        scores: conformity scores of the calibration images, [N].
        labels: class numbers [N].
        class_names: the C names.
        level: target coverage of each class, between 0 and 1.
        groups: int [N], the group of each image; None if all images are independent.

    Raises:
        UsageError: there are too few images of every class.
    """
    values, most = np.full(len(class_names), np.inf), 0
    for number in range(len(class_names)):
        inside = labels == number
        own_groups = None if groups is None else groups[inside]
        most = max(most, _independent(int(inside.sum()), own_groups))
        if inside.any():
            quantile = conformal_quantile(scores[inside], level, own_groups)
            values[number] = np.inf if quantile is None else quantile.value
    if np.isinf(values).all():
        raise UsageError(
            f"--per-class with coverage {level:g} needs {images_needed(level)} independent "
            f"validation images of a class; this model has at most {most}",
            hint="leave out --per-class, or train with more validation images",
        )
    too_few = np.array(class_names)[np.isinf(values)].tolist()
    return ClassThresholds(values, tuple(too_few))


def prediction_sets(
    probabilities: NDArray[np.float32], draws: Floats, threshold: float | Floats
) -> NDArray[np.bool_]:
    """Return which classes are in each set, bool [N, C]; the most probable class always is.

    Args:
        probabilities: [N, C].
        draws: uniform in [0, 1), [N].
        threshold: of ``set_threshold``, or of each class [C], of ``class_thresholds``.
    """
    inside: NDArray[np.bool_] = _class_scores(probabilities, draws) <= threshold
    return inside


def uniform_draw(digest: str) -> float:
    """Return a number in [0, 1): uniform over images, and always the same for one image.

    Args:
        digest: SHA-256 (hex) of the image.
    """
    return int(digest[:13], 16) / 16**13


def uniform_draw_of_bytes(content: bytes) -> float:
    """Return ``uniform_draw`` of the digest of an encoded image."""
    return uniform_draw(hashlib.sha256(content).hexdigest())


def _independent(count: int, groups: Integers | None) -> int:
    return count if groups is None else len(np.unique(groups))


def _class_scores(probabilities: NDArray[np.float32], draws: Floats) -> Floats:
    """Return the score of each class, [N, C]: 0 for the most probable class.

    Of the others it is the cumulative probability up to the class, of itself the drawn share.
    """
    wide = probabilities.astype(np.float64)
    order = np.argsort(-wide, axis=1, kind="stable")
    ranked = np.take_along_axis(wide, order, axis=1)
    above = np.cumsum(ranked, axis=1) - ranked
    cumulative = np.empty_like(wide)
    np.put_along_axis(cumulative, order, above + draws[:, np.newaxis] * ranked, axis=1)
    cumulative[np.arange(len(cumulative)), order[:, 0]] = 0.0
    return cumulative
