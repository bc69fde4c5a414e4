"""The result of ``tltool monitor``, and its sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tltool.errors import counted
from tltool.evaluation.drift.accuracy_estimate import ASSUMPTION, AccuracyEstimate
from tltool.evaluation.drift.drift_tests import ALPHA, ClassChange, Drift, DriftTest

FEW_IMAGES = 50
_SHOWN = 3  # classes in a sentence
_WHAT = {
    "classes": "the shares of the predicted classes",
    "confidence": "the confidences",
    "ood_scores": "the OOD scores",
    "features": "the features",
}


@dataclass(frozen=True)
class UnusualImage:
    """An image that differs from the validation images.

    Attributes:
        name: as the user knows it.
        predicted: the most probable class.
        confidence: its probability.
        ood_score: OOD score; None without an OOD detector.
    """

    name: str
    predicted: str
    confidence: float
    ood_score: float | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class OodRates:
    """Shares of out-of-distribution images, 0 … 1; None where there are no OOD scores.

    Attributes:
        before: of the validation images.
        now: of the new images.
    """

    before: float | None
    now: float | None


@dataclass(frozen=True)
class MonitorResult:
    """How new images differ from the validation images, and how accurate the model is on them.

    Attributes:
        model: name of the model.
        drift: the tests.
        changes: of every predicted class, the largest first.
        confidences: bins of confidences with their shares of the validation and the new images.
        ood_rates: shares of out-of-distribution images.
        estimate: of the accuracy, without labels.
        measured: accuracy on the labelled images with its Wilson interval, and their number;
            None without labels.
        unusual: images that differ most.
        failed: images that cannot be read.
        copies: identical copies, which are left out.
        asserts: which conditions are met.
    """

    model: str
    drift: Drift
    changes: Sequence[ClassChange]
    confidences: Sequence[tuple[str, float, float]]
    ood_rates: OodRates
    estimate: AccuracyEstimate
    measured: Mapping[str, Any] | None
    unusual: Sequence[UnusualImage]
    failed: int = 0
    copies: int = 0
    asserts: Sequence[Mapping[str, Any]] = ()

    def values(self) -> dict[str, float | None]:
        """Return the values for conditions, by the names of ``DRIFT_METRICS``."""
        return {
            "drift": self.drift.size,
            "psi_classes": self.drift.value_of("classes"),
            "psi_confidence": self.drift.value_of("confidence"),
            "feature_auc": self.drift.value_of("features"),
            "ood_rate": self.ood_rates.now,
            "accuracy": self.measured["value"] if self.measured else None,
            "estimated_accuracy": self.estimate.value,
        }

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "model": self.model,
            "n": self.drift.n,
            "failed": self.failed,
            "copies": self.copies,
            "drift": self.drift.to_json(),
            "classes": [change.to_json() for change in self.changes],
            "confidences": [
                {"bin": name, "before": before, "now": now}
                for name, before, now in self.confidences
            ],
            "ood_rate": {"before": self.ood_rates.before, "now": self.ood_rates.now},
            "estimated_accuracy": self.estimate.to_json(),
            "accuracy": self.measured,
            "unusual": [image.to_json() for image in self.unusual],
            "asserts": list(self.asserts),
        }


def describe_verdict(result: MonitorResult) -> str:
    """Return the answer in one sentence."""
    drift = result.drift
    images = f"{drift.n:,} image{'s' if drift.n != 1 else ''}"
    reference = f"{drift.reference_n:,} validation images"
    if drift.found:
        names = [_WHAT[test.name] for test in drift.tests if test.found]
        return f"drift found: {_listed(names)} of {images} differ from those of {reference}"
    return f"no drift found: {images} do not differ significantly from {reference}"


def describe_details(result: MonitorResult) -> Iterator[str]:
    """Yield what has changed, the accuracy, and what limits both."""
    drift = result.drift
    changed = [change for change in result.changes if change.found]
    for change in changed[:_SHOWN]:
        verb = "more" if change.now > change.before else "less"
        yield (
            f"{change.name} is predicted {verb} often: {change.now:.1%} of the images, "
            f"{change.before:.1%} of the validation images"
        )
    if len(changed) > _SHOWN:
        yield f"the shares of {len(changed) - _SHOWN:,} more classes have changed"
    if result.ood_rates.now is not None:
        before = result.ood_rates.before
        reference = "" if before is None else f", {before:.1%} of the validation images"
        yield f"out-of-distribution: {result.ood_rates.now:.1%} of the images{reference}"
    yield from describe_accuracy(result)
    if drift.n < FEW_IMAGES or drift.reference_n < FEW_IMAGES:
        few = min(drift.n, drift.reference_n)
        yield f"with {few} images only a large drift can be found"
    if result.failed:
        yield f"{counted(result.failed, 'image is', 'images are')} left out: not readable"
    if result.copies:
        yield f"{counted(result.copies, 'identical copy is', 'identical copies are')} left out"


def describe_accuracy(result: MonitorResult) -> Iterator[str]:
    """Yield the measured accuracy, where there are labels, and the estimate with its assumption."""
    measured, estimate = result.measured, result.estimate
    if measured is not None:
        yield (
            f"accuracy {measured['value']:.3f} (95 % interval {measured['low']:.3f} to "
            f"{measured['high']:.3f}), measured on {measured['n']:,} labelled images"
        )
    doubt = "; drift was found, so this is in doubt" if result.drift.found else ""
    yield (
        f"estimated accuracy without labels {estimate.value:.3f} (95 % interval "
        f"{estimate.low:.3f} to {estimate.high:.3f}): {ASSUMPTION}{doubt}"
    )


def describe_false_alarms(drift: Drift) -> str:
    """Return what a verdict means, in one or two sentences."""
    if drift.before_refit:
        return (
            "How often drift is found where there is none is not known: the model was refitted, "
            "and the validation images were predicted by the model before the refit. p-values are "
            "adjusted by Holm's method."
        )
    return (
        f"Without drift, all tests together find one in at most {ALPHA:.0%} of samples. p-values "
        "are adjusted by Holm's method."
    )


TEST_COLUMNS = ("compared", "drift", "size", "statistic", "value", "p (Holm)")


def row_of_test(test: DriftTest) -> list[str]:
    """Return the cells of a test for a table with the columns ``TEST_COLUMNS``."""
    return [
        _WHAT[test.name].removeprefix("the "),
        "found" if test.found else "not found",
        f"{test.distance:.2f}",
        test.statistic,
        f"{test.value:.3f}",
        f"{test.adjusted:.3g}",
    ]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
