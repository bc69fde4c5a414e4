"""The acceptance gate: every format is compared with the trained model, in a fresh process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.errors import GateError
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.export.export_formats import ExportFormat
from tltool.export.fresh_process import FreshProcess, Outputs
from tltool.export.parity import ood_score_failures

_ROUNDING = 1e-9  # 0.96 - 0.95 is more than 0.01

COLUMNS = (
    "format", "MB", "n", "max |Δp|", "allowed", "same class", "95 %", "accuracy", "drop", "gate",
)  # fmt: skip


@dataclass(frozen=True)
class GateSamples:
    """The images on which the formats are compared with the trained model.

    Attributes:
        images: N encoded images.
        arrays: the same images decoded, float32 [N, H, W, 3].
        labels: class ids, int64 [N]; -1 if unknown.
        expected: probabilities of the trained model, float32 [N, C].
        ood_scores: OOD scores of the trained model, float32 [N]; None without an OOD detector.
    """

    images: Sequence[bytes]
    arrays: NDArray[np.float32]
    labels: NDArray[np.int64]
    expected: NDArray[np.float32]
    ood_scores: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class FormatComparison:
    """How one format compares with the trained model.

    Attributes:
        name: of the format.
        size: bytes of the whole export.
        n: number of images.
        max_difference: largest absolute difference of a probability.
        tolerance: largest difference allowed; None if only the drop in accuracy decides.
        same_class: number of images with the same top-1 class; a tie within the tolerance counts.
        accuracy: on the labelled images; None if there are none.
        drop: accuracy of the trained model minus ``accuracy``.
        ms: milliseconds per image, in batches of 8.
        probabilities: of this format, float32 [N, C].
        gate_failures: why the format fails the gate; empty if it passes.
        max_drop: largest ``drop`` allowed.
        labelled: number of images with a label, of which ``accuracy`` is the share.
    """

    name: str
    size: int
    n: int
    max_difference: float
    tolerance: float | None
    same_class: int
    accuracy: float | None
    drop: float
    ms: float
    probabilities: NDArray[np.float32]
    gate_failures: tuple[str, ...] = ()
    max_drop: float = 0.0
    labelled: int = 0

    @property
    def drops_too_much(self) -> bool:
        """Whether the accuracy drops by more than is allowed."""
        return self.drop > self.max_drop + _ROUNDING

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, without the probabilities."""
        low, high = wilson_interval(self.same_class, self.n)
        return {
            "format": self.name,
            "bytes": self.size,
            "n": self.n,
            "max_difference": self.max_difference,
            "tolerance": self.tolerance,
            "same_class": {"value": self.same_class / self.n, "low": low, "high": high},
            "accuracy": self.accuracy,
            "accuracy_drop": self.drop,
            "milliseconds_per_image": round(self.ms, 2),
            "gate_failures": list(self.gate_failures),
        }

    def row(self) -> list[str]:
        """Return the cells of a table with the columns ``COLUMNS``."""
        low, high = wilson_interval(self.same_class, self.n)
        return [
            self.name,
            f"{self.size / 1e6:.1f}",
            str(self.n),
            f"{self.max_difference:.1e}",
            "by drop" if self.tolerance is None else f"{self.tolerance:g}",
            f"{self.same_class / self.n:.1%}",
            f"{low:.3f} … {high:.3f}",
            "–" if self.accuracy is None else f"{self.accuracy:.3f}",
            "–" if self.accuracy is None else f"{self.drop:+.3f}",
            "failed" if self.gate_failures else "passed",
        ]


def compare_format(
    folder: Path,
    export_format: ExportFormat,
    samples: GateSamples,
    *,
    max_drop: float,
    child: FreshProcess,
) -> FormatComparison:
    """Run the export in ``folder`` in ``child`` and compare it with the trained model.

    Args:
        folder: the version folder.
        export_format: its format.
        samples: the images and the outputs of the trained model.
        max_drop: largest drop in accuracy allowed.
        child: the process that runs it.

    Returns:
        The comparison; ``gate_failures`` lists what exceeds the limits.

    Raises:
        GateError: the export does not run.
    """
    is_saved_model = export_format.runtime == "saved_model"
    model = folder if is_saved_model else folder / export_format.file
    encoded = samples.images if is_saved_model else ()
    outputs = child.run(model, arrays=samples.arrays, images=encoded)
    comparison = replace(_compare(outputs, export_format, samples), max_drop=max_drop)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    failures = [*_output_failures(outputs), *_limit_failures(comparison, export_format)]
    if is_saved_model:  # the other formats return probabilities only
        failures += ood_score_failures(outputs, samples.ood_scores)
    return replace(comparison, size=size, gate_failures=tuple(failures))


def raise_gate_failures(comparisons: Sequence[FormatComparison]) -> None:
    """Raise if any format failed the gate.

    Raises:
        GateError: lists the formats and the reasons.
    """
    failed = [
        f"{one.name} ({', '.join(one.gate_failures)})" for one in comparisons if one.gate_failures
    ]
    if failed:
        raise GateError(
            f"the export differs from the trained model: {'; '.join(failed)}",
            hint=f"no format was exported; {_mend(comparisons)}",
        )


def _mend(comparisons: Sequence[FormatComparison]) -> str:
    """Return how the formats can be exported of which some failed the gate."""
    failed = [one for one in comparisons if one.gate_failures]
    passed = [one.name for one in comparisons if not one.gate_failures]
    ways = []
    if all(one.drops_too_much and len(one.gate_failures) == 1 for one in failed):
        drop = math.ceil(1000 * max(one.drop for one in failed) - _ROUNDING) / 1000
        ways.append(f"accept the drop with --max-drop {drop:g}")
    if passed:
        names = " and ".join(one.name for one in failed)
        ways.append(f"leave out {names}: --format {','.join(passed)}")
    return ", or ".join(ways) or "the run folder is unchanged"


def differences(outputs: Outputs, expected: NDArray[np.float32]) -> dict[str, float]:
    """Return the largest difference of any probability by signature; NaN counts as infinite."""
    largest = {}
    for name in ("bytes", "images"):
        if f"{name}_probabilities" in outputs:
            gap = np.abs(outputs[f"{name}_probabilities"] - expected)
            largest[name] = float(np.max(np.where(np.isfinite(gap), gap, np.inf)))
    return largest


def _compare(
    outputs: Outputs, export_format: ExportFormat, samples: GateSamples
) -> FormatComparison:
    exported = outputs.get("bytes_probabilities", outputs["images_probabilities"])
    expected = samples.expected
    if exported.shape != expected.shape:
        raise GateError(
            f"{export_format.name} returns probabilities of shape {exported.shape}, "
            f"expected {expected.shape}"
        )
    rows, top1 = np.arange(len(exported)), exported.argmax(axis=1)
    slack = 2 * (export_format.tolerance or 0.0)
    same = expected.max(axis=1) - expected[rows, top1] <= slack
    labelled = samples.labels >= 0
    accuracy, before = (
        float(np.mean((p.argmax(axis=1) == samples.labels)[labelled])) if labelled.any() else None
        for p in (exported, expected)
    )
    return FormatComparison(
        name=export_format.name,
        size=0,
        n=len(exported),
        max_difference=max(differences(outputs, expected).values()),
        tolerance=export_format.tolerance,
        same_class=int(same.sum()),
        accuracy=accuracy,
        drop=0.0 if accuracy is None or before is None else before - accuracy,
        ms=1000 * float(outputs["images_seconds"]) / len(exported),
        probabilities=exported.astype(np.float32),
        labelled=int(labelled.sum()),
    )


def _output_failures(outputs: Outputs) -> list[str]:
    failures = []
    if float(outputs["repeat_difference"]):  # a NaN too
        failures.append("two calls with the same image return different probabilities")
    undecoded = int((~outputs["bytes_ok"]).sum()) if "bytes_ok" in outputs else 0
    if undecoded:
        failures.append(f"it cannot decode {undecoded} of the images")
    if not np.isfinite(outputs.get("features_features", np.zeros(1))).all():
        failures.append("features are not finite")
    return failures


def _limit_failures(comparison: FormatComparison, export_format: ExportFormat) -> list[str]:
    failures = []
    difference, tolerance = comparison.max_difference, export_format.tolerance
    # a NaN compares false, so test for "within", not for "beyond"
    if tolerance is not None and not difference <= tolerance:
        failures.append(f"a probability differs by {difference:.2g}, allowed is {tolerance:g}")
    if tolerance is None and not np.isfinite(difference):
        failures.append("its probabilities are not finite")
    if export_format.same_class and comparison.same_class < comparison.n:
        changed = comparison.n - comparison.same_class
        failures.append(f"{changed} of {comparison.n} images change their class")
    if comparison.drops_too_much:
        allowed, images = comparison.max_drop, comparison.labelled
        less = f", less than one of the {images} images" if allowed * images < 1 else ""
        failures.append(f"accuracy drops by {comparison.drop:.3f}, allowed is {allowed:g}{less}")
    return failures
