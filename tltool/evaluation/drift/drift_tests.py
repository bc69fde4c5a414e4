"""Whether new images differ from the validation images of a model: four tests, one verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.drift.binned import (
    CONFIDENCE_EDGES,
    BinnedDrift,
    compare_counts,
    confidence_counts,
)
from tltool.evaluation.drift.two_sample import compare_features
from tltool.evaluation.metrics.paired_tests import holm
from tltool.training.reference import Reference

ALPHA = 0.05
"""Probability of a false alarm without drift, for all tests of one sample together."""
PERMUTATIONS = 1999


@dataclass(frozen=True)
class Sample:
    """What a model predicts for M new images.

    Attributes:
        predicted: class numbers, int64 [M].
        confidence: probabilities of these classes, float32 [M].
        ood_scores: OOD scores, float32 [M]; empty if the model has no OOD detector.
        features: of J of these images, float16 [J, D]; J may be 0.
    """

    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    ood_scores: NDArray[np.float32]
    features: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.predicted)


@dataclass(frozen=True)
class DriftTest:
    """One test.

    Attributes:
        name: what is compared: classes, confidence, ood_scores or features.
        statistic: name of the statistic.
        value: of the statistic.
        distance: size of the drift, 0 … 1, on the scale of a total variation distance.
        p_value: probability of such a value or a larger one without drift.
        adjusted: the same after Holm's correction for all tests.
    """

    name: str
    statistic: str
    value: float
    distance: float
    p_value: float
    adjusted: float = 1.0

    @property
    def found(self) -> bool:
        """Whether this test finds drift."""
        return self.adjusted <= ALPHA

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {
            "found": self.found
        }


@dataclass(frozen=True)
class Drift:
    """The verdict on a sample.

    Attributes:
        tests: all that the model and the sample permit.
        n: new images.
        reference_n: validation images.
        feature_scores: for the images with features, how little each resembles the reference,
            float64 [J]; empty without features.
        before_refit: whether the reference is of the model before a refit; then the rate of false
            alarms is not known.
    """

    tests: tuple[DriftTest, ...]
    n: int
    reference_n: int
    feature_scores: NDArray[np.float64]
    before_refit: bool = False

    @property
    def found(self) -> bool:
        """Whether any test finds drift; without drift this happens in at most 5 % of samples.

        After a refit of the model it may happen more often.
        """
        return any(test.found for test in self.tests)

    @property
    def size(self) -> float:
        """The largest distance that is significant, 0 … 1; 0 if no drift is found."""
        return max((test.distance for test in self.tests if test.found), default=0.0)

    @property
    def p_value(self) -> float:
        """The smallest adjusted p-value."""
        return min(test.adjusted for test in self.tests)

    def value_of(self, name: str) -> float | None:
        """Return the statistic of a test; None if it was not made."""
        return next((test.value for test in self.tests if test.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "found": self.found,
            "size": self.size,
            "p_value": self.p_value,
            "false_alarm_rate": None if self.before_refit else ALPHA,
            "reference_n": self.reference_n,
            "tests": [test.to_json() for test in self.tests],
        }


def find_drift(
    reference: Reference,
    sample: Sample,
    *,
    classes: int,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Drift:
    """Compare a sample with the reference of the model.

    Predicted classes and confidences are compared by their PSI, OOD scores by the two-sample test
    of Kolmogorov and Smirnov, features by a classifier. Every test is exact or conservative, and
    Holm's correction holds for dependent tests, so that all together give a false alarm for at
    most 5 % of samples without drift.

    Args:
        reference: of the validation images.
        sample: of the new images, at least one.
        classes: of the model.
        permutations: of each permutation test.
        seed: of the permutations.

    Raises:
        ValueError: the sample or the reference is empty.
    """
    tests = list(_tables(reference, sample, classes, permutations, seed))
    if len(reference.ood_scores) and len(sample.ood_scores):
        tests.append(_compare_scores(reference.ood_scores, sample.ood_scores))
    scores = np.zeros(0)
    if len(reference.features) and len(sample.features):
        result = compare_features(
            reference.features, sample.features, permutations=permutations, seed=seed
        )
        scores = result.scores
        tests.append(DriftTest("features", "AUC", result.auc, result.distance, result.p_value))
    adjusted = holm([test.p_value for test in tests])
    corrected = tuple(
        replace(test, adjusted=value) for test, value in zip(tests, adjusted, strict=True)
    )
    return Drift(corrected, len(sample), len(reference), scores, reference.before_refit)


def _tables(
    reference: Reference, sample: Sample, classes: int, permutations: int, seed: int
) -> Iterator[DriftTest]:
    counts = [np.bincount(one.predicted, minlength=classes) for one in (reference, sample)]
    yield _of_counts("classes", compare_counts(*counts, permutations=permutations, seed=seed))
    counts = [confidence_counts(one.confidence) for one in (reference, sample)]
    yield _of_counts("confidence", compare_counts(*counts, permutations=permutations, seed=seed))


def _of_counts(name: str, drift: BinnedDrift) -> DriftTest:
    return DriftTest(name, "PSI", drift.psi, drift.distance, drift.p_value)


def _compare_scores(reference: NDArray[np.floating], scores: NDArray[np.floating]) -> DriftTest:
    from scipy.stats import ks_2samp

    result = ks_2samp(reference, scores, method="auto")
    return DriftTest(
        "ood_scores",
        "KS distance",
        float(result.statistic),
        float(result.statistic),
        float(result.pvalue),
    )


@dataclass(frozen=True)
class ClassChange:
    """How the share of a predicted class has changed.

    Attributes:
        name: of the class.
        before: its share of the validation images, 0 … 1.
        now: its share of the new images.
        adjusted: p-value of Fisher's exact test (1935), after Holm's correction for all classes.
    """

    name: str
    before: float
    now: float
    adjusted: float

    @property
    def found(self) -> bool:
        """Whether the change is significant."""
        return self.adjusted <= ALPHA

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {
            "found": self.found
        }


def class_changes(
    reference: Reference, sample: Sample, class_names: Sequence[str]
) -> list[ClassChange]:
    """Return how the share of every predicted class has changed, the largest change first."""
    from scipy.stats import fisher_exact

    before, now = (
        np.bincount(one.predicted, minlength=len(class_names)) for one in (reference, sample)
    )
    sizes = len(reference), len(sample)
    p_values = [
        float(fisher_exact([[a, sizes[0] - a], [b, sizes[1] - b]])[1])
        for a, b in zip(before.tolist(), now.tolist(), strict=True)
    ]
    changes = [
        ClassChange(name, float(a / sizes[0]), float(b / sizes[1]), adjusted)
        for name, a, b, adjusted in zip(class_names, before, now, holm(p_values), strict=True)
    ]
    return sorted(changes, key=lambda one: (-abs(one.now - one.before), one.name))


def confidence_shares(reference: Reference, sample: Sample) -> list[tuple[str, float, float]]:
    """Return each bin of confidences, and its share of the validation and of the new images."""
    edges = (0.0, *CONFIDENCE_EDGES, 1.0)
    before, now = (
        confidence_counts(one.confidence) / max(1, len(one)) for one in (reference, sample)
    )
    return [
        (f"{low:g} to {high:g}", float(a), float(b))
        for low, high, a, b in zip(edges[:-1], edges[1:], before, now, strict=True)
    ]
