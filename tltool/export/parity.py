"""The parity check: an export must predict the same as the trained model, without tltool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.errors import GateError
from tltool.export.fresh_process import FreshProcess
from tltool.export.saved_model import Embed, float32_model, logits_and_features
from tltool.training.ood import OutlierDetector

TOLERANCE = 1e-5  # of a probability; float32 in another batch size differs by about 1e-6
SCORE_TOLERANCE = 1e-3  # of an ood_score, whose threshold is 1
REFERENCE_BATCH = 8


@dataclass(frozen=True)
class ParityResult:
    """How far the predictions of the export are from those of the trained model.

    Attributes:
        n: number of images.
        max_abs_difference: largest difference of a probability by signature (``bytes``,
            ``images``).
        label_agreement: fraction of images for which both signatures predict the model's class; a
            tie within the tolerance counts as agreement.
    """

    n: int
    max_abs_difference: Mapping[str, float]
    label_agreement: float


def check_parity(
    saved_model_dir: Path,
    *,
    images: Sequence[bytes],
    arrays: NDArray[np.float32],
    expected: NDArray[np.float32],
    ood_scores: NDArray[np.float32] | None = None,
    tolerance: float = TOLERANCE,
) -> ParityResult:
    """Compare both signatures of a SavedModel with ``expected``, in a fresh process.

    Args:
        saved_model_dir: the SavedModel.
        images: N encoded images, all decodable.
        arrays: the same images as the training pipeline decoded them, float32 [N, H, W, 3].
        expected: probabilities of the trained model, float32 [N, C]; see ``reference_outputs``.
        ood_scores: OOD scores of the trained model, float32 [N]; None without an OOD detector.
        tolerance: the largest difference of a probability allowed.

    Returns:
        The result, within the tolerance.

    Raises:
        GateError: the predictions differ from ``expected`` or between two calls, or the SavedModel
            does not run.
    """
    with ParityChild() as child:
        return child.check(
            saved_model_dir,
            images=images,
            arrays=arrays,
            expected=expected,
            ood_scores=ood_scores,
            tolerance=tolerance,
        )


def reference_probabilities(
    model: keras.Model, arrays: NDArray[np.float32], *, temperature: float = 1.0
) -> NDArray[np.float32]:
    """Return the probabilities of ``reference_outputs``, float32 [N, C]."""
    return reference_outputs(model, arrays, temperature=temperature)[0]


def reference_outputs(
    model: keras.Model,
    arrays: NDArray[np.float32],
    *,
    temperature: float = 1.0,
    embed: Embed | None = None,
    detector: OutlierDetector | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return the expected outputs of an export of ``model``, in float32 on the CPU.

    A GPU rounds float32 products to 10 bits of mantissa (TF32), which alone would exceed the
    tolerance.

    Args:
        model: images float32 [B, H, W, 3] in 0…255 to logits [B, C].
        arrays: float32 [N, H, W, 3] in 0…255.
        temperature: divides the logits before the softmax.
        embed: returns the features of the float32 model; required with a detector.
        detector: the OOD detector.

    Returns:
        Probabilities float32 [N, C], and the OOD scores float32 [N] or None.
    """
    network = logits_and_features(float32_model(model), embed if detector else None)
    probabilities, scores = [], []
    with tf.device("/CPU:0"):
        for start in range(0, len(arrays), REFERENCE_BATCH):
            outputs = network(tf.constant(arrays[start : start + REFERENCE_BATCH]), training=False)
            logits = tf.cast(outputs["logits"], tf.float32)
            probabilities.append(tf.nn.softmax(logits / temperature).numpy())
            if detector:
                scores.append(detector.scores(tf.cast(outputs["features"], tf.float32).numpy()))
    return np.concatenate(probabilities), np.concatenate(scores) if detector else None


def ood_score_failures(
    outputs: Mapping[str, NDArray[Any]], expected: NDArray[np.float32] | None
) -> list[str]:
    """Return how ``ood_score`` and ``is_known`` differ from the trained model's; empty if equal.

    Args:
        outputs: of the fresh process.
        expected: the expected scores, float32 [N]; None without an OOD detector.
    """
    if expected is None:
        return []
    failures = []
    for name in ("bytes", "images"):
        scores = outputs.get(f"{name}_ood_score")
        if scores is None:
            failures.append(f"signature {name} has no ood_score")
            continue
        consistent = outputs[f"{name}_is_known"] == (expected <= 1)
        gap = float(np.max(np.abs(scores - expected) / np.maximum(expected, 1)))
        if not gap <= SCORE_TOLERANCE:  # a NaN too
            failures.append(f"{name}: an ood_score has a relative error of {gap:.2g}")
        elif not (consistent | (np.abs(expected - 1) <= SCORE_TOLERANCE)).all():
            failures.append(f"{name}: is_known is inconsistent with ood_score")
    return failures


class ParityChild(FreshProcess):
    """A fresh process with TensorFlow only, which runs the parity check of a SavedModel."""

    def check(
        self,
        saved_model_dir: Path,
        *,
        images: Sequence[bytes],
        arrays: NDArray[np.float32],
        expected: NDArray[np.float32],
        ood_scores: NDArray[np.float32] | None = None,
        tolerance: float = TOLERANCE,
    ) -> ParityResult:
        """Do what ``check_parity`` does. Call it once per process."""
        if not len(images) == len(arrays) == len(expected) > 0:
            raise ValueError(
                f"{len(images)} images, {len(arrays)} arrays, {len(expected)} expected rows"
            )
        outputs = self.run(saved_model_dir, images=images, arrays=arrays)
        result = _compare(outputs, expected, tolerance)
        _check_result(result, outputs, tolerance)
        failures = ood_score_failures(outputs, ood_scores)
        if failures:
            raise GateError(
                "the OOD detection of the exported model differs from the trained model's: "
                + "; ".join(failures),
                hint="nothing was exported; the trained model is kept in the run folder",
            )
        return result


def _compare(
    outputs: Mapping[str, NDArray[Any]], expected: NDArray[np.float32], tolerance: float
) -> ParityResult:
    signatures = ("bytes", "images")
    difference = {
        name: float(np.max(np.abs(outputs[f"{name}_probabilities"] - expected)))
        for name in signatures
    }
    rows = np.arange(len(expected))
    best = expected.max(axis=1)
    agree = np.ones(len(expected), np.bool_)
    for name in signatures:
        class_ids = outputs[f"{name}_class_id"]
        agree &= (class_ids >= 0) & (best - expected[rows, class_ids] <= 2 * tolerance)
    return ParityResult(
        n=len(expected), max_abs_difference=difference, label_agreement=float(agree.mean())
    )


def _check_result(
    result: ParityResult, outputs: Mapping[str, NDArray[Any]], tolerance: float
) -> None:
    if not float(outputs["repeat_difference"]) == 0:
        raise GateError(
            "two calls of the exported model with the same image differ by "
            f"{float(outputs['repeat_difference']):.2g}",
            hint="the model contains a random operation, such as an augmentation layer",
        )
    undecoded = int((~outputs["bytes_ok"]).sum())
    if undecoded:
        raise GateError(f"the exported model cannot decode {undecoded} of {result.n} images")
    # A NaN compares false, so test for "within", not for "beyond".
    within = all(value <= tolerance for value in result.max_abs_difference.values())
    if not within or result.label_agreement < 1:
        figures = ", ".join(f"{k} {v:.2g}" for k, v in result.max_abs_difference.items())
        raise GateError(
            f"the exported model differs from the trained model: on {result.n} images its "
            f"probabilities differ by up to {figures} (allowed {tolerance:g}), and "
            f"{result.label_agreement:.1%} of the predicted classes agree",
            hint="nothing was exported; the trained model is kept in the run folder",
        )
