"""The gate that every format passes: its answers on real images, in a fresh process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.errors import GateError
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.export.export_formats import ExportFormat
from tltool.export.fresh_process import FreshProcess, Predictions
from tltool.export.parity import score_faults

_ROUNDING = 1e-9  # 0.96 - 0.95 is more than 0.01

COLUMNS = (
    "format", "MB", "n", "max |Δp|", "allowed", "same class", "95 %", "accuracy", "drop", "gate",
)  # fmt: skip


@dataclass(frozen=True)
class GateSamples:
    """What the formats are measured on.

    Attributes:
        images: encoded images, N of them.
        arrays: the same, decoded: float32 [N, H, W, 3].
        labels: class numbers int64 [N]; -1 where unknown.
        expected: the trained model's probabilities, float32 [N, C].
        ood_scores: how unlike the training images it finds them, float32 [N]; None without.
    """

    images: Sequence[bytes]
    arrays: NDArray[np.float32]
    labels: NDArray[np.int64]
    expected: NDArray[np.float32]
    ood_scores: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Figures:
    """How one format compares with the trained model.

    Attributes:
        name: of the format.
        size: bytes of the whole export.
        n: images compared.
        max_difference: of any probability.
        tolerance: allowed of it; None if only the drop decides.
        same_class: images whose best class is the model's; a tie within the tolerance counts.
        accuracy: on the images with a label; None without any.
        drop: by how much the accuracy is lower than the trained model's.
        ms: milliseconds per image, in batches of 8.
        answers: the probabilities, float32 [N, C].
        problems: why it is refused; empty when it passed.
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
    answers: NDArray[np.float32]
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, without the answers."""
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
            "milliseconds_per_photo": round(self.ms, 2),
            "problems": list(self.problems),
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
            "refused" if self.problems else "passed",
        ]


def measure(
    folder: Path, known: ExportFormat, photos: GateSamples, *, max_drop: float, child: FreshProcess
) -> Figures:
    """Run the export in ``folder`` in ``child`` and compare it with the trained model.

    Returns:
        The figures; ``problems`` says what is beyond what is allowed.

    Raises:
        GateError: it does not run.
    """
    model = folder if known.runtime == "saved_model" else folder / known.file
    encoded = photos.images if known.runtime == "saved_model" else ()
    answers = child.ask(model, arrays=photos.arrays, images=encoded)
    found = _figures(answers, known, photos)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    problems = [*_faults(answers), *_beyond(found, known, max_drop)]
    if known.runtime == "saved_model":  # the other formats give probabilities alone
        problems += score_faults(answers, photos.ood_scores)
    return replace(found, size=size, problems=tuple(problems))


def refuse_any(figures: Sequence[Figures]) -> None:
    """Stop when one format was refused.

    Raises:
        GateError: names the formats and why.
    """
    refused = [f"{one.name} ({', '.join(one.problems)})" for one in figures if one.problems]
    if refused:
        raise GateError(
            f"not exported, because not the same as the trained model: {'; '.join(refused)}",
            hint="nothing was written, the other formats neither; the run is kept",
        )


def differences(answers: Predictions, expected: NDArray[np.float32]) -> dict[str, float]:
    """Return the largest difference of any probability by signature; NaN counts as infinite."""
    found = {}
    for name in ("bytes", "images"):
        if f"{name}_probabilities" in answers:
            gap = np.abs(answers[f"{name}_probabilities"] - expected)
            found[name] = float(np.max(np.where(np.isfinite(gap), gap, np.inf)))
    return found


def _figures(answers: Predictions, known: ExportFormat, photos: GateSamples) -> Figures:
    said = answers.get("bytes_probabilities", answers["images_probabilities"])
    if said.shape != photos.expected.shape:
        raise GateError(f"{known.name} answers {said.shape}, not {photos.expected.shape}")
    rows, named = np.arange(len(said)), said.argmax(axis=1)
    slack = 2 * (known.tolerance or 0.0)
    same = photos.expected.max(axis=1) - photos.expected[rows, named] <= slack
    labelled = photos.labels >= 0
    right, before = (
        float(np.mean((p.argmax(axis=1) == photos.labels)[labelled])) if labelled.any() else None
        for p in (said, photos.expected)
    )
    return Figures(
        name=known.name,
        size=0,
        n=len(said),
        max_difference=max(differences(answers, photos.expected).values()),
        tolerance=known.tolerance,
        same_class=int(same.sum()),
        accuracy=right,
        drop=0.0 if right is None or before is None else before - right,
        ms=1000 * float(answers["images_seconds"]) / len(said),
        answers=said.astype(np.float32),
    )


def _faults(answers: Predictions) -> list[str]:
    faults = []
    if float(answers["repeat_difference"]):  # a NaN too
        faults.append("two calls with the same image differ")
    unread = int((~answers["bytes_ok"]).sum()) if "bytes_ok" in answers else 0
    if unread:
        faults.append(f"it cannot decode {unread} of the images")
    if not np.isfinite(answers.get("features_features", np.zeros(1))).all():
        faults.append("features are not finite")
    return faults


def _beyond(found: Figures, known: ExportFormat, max_drop: float) -> list[str]:
    beyond = []
    # a NaN compares false, so the question is what is within, not what is beyond
    if known.tolerance is not None and not found.max_difference <= known.tolerance:
        beyond.append(
            f"a probability differs by {found.max_difference:.2g}, allowed is {known.tolerance:g}"
        )
    if known.tolerance is None and not np.isfinite(found.max_difference):
        beyond.append("its answers are not finite")
    if known.same_class and found.same_class < found.n:
        beyond.append(f"{found.n - found.same_class} of {found.n} images get another class")
    if found.drop > max_drop + _ROUNDING:
        beyond.append(f"accuracy drops by {found.drop:.3f}, allowed is {max_drop:g}")
    return beyond
