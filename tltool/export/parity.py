"""The proof that an export answers as the trained model did: in a fresh process, without tltool."""

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
SCORE_TOLERANCE = 1e-3  # of an ood_score, whose border is 1
REFERENCE_BATCH = 8


@dataclass(frozen=True)
class ParityResult:
    """How far the export's answers are from the trained model's.

    Attributes:
        n: images compared.
        max_abs_difference: by signature (``bytes``, ``images``), of any probability.
        label_agreement: share of images for which both signatures name the model's class; a tie
            within the tolerance counts as agreement.
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
        images: N encoded images, none of them bad.
        arrays: the same images as the training pipeline decoded them, float32 [N, H, W, 3].
        expected: the probabilities that the trained model gives them, float32 [N, C]; see
            ``reference_answers``.
        ood_scores: how unlike the training images it finds them, float32 [N]; None without.
        tolerance: the largest difference allowed of any probability.

    Returns:
        The figures, all within the tolerance.

    Raises:
        GateError: it differs from ``expected`` or from itself, or does not run.
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
    """Return the probabilities of ``reference_answers``, float32 [N, C]."""
    return reference_answers(model, arrays, temperature=temperature)[0]


def reference_answers(
    model: keras.Model,
    arrays: NDArray[np.float32],
    *,
    temperature: float = 1.0,
    embed: Embed | None = None,
    detector: OutlierDetector | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return what the export of ``model`` has to answer: float32, on the CPU.

    A GPU rounds the products of float32 to 10 bits of mantissa (TF32), which alone would exceed
    the tolerance.

    Args:
        model: images float32 [B, H, W, 3] in 0…255 to logits [B, C].
        arrays: float32 [N, H, W, 3] in 0…255.
        temperature: divides the logits before the softmax.
        embed: finds the features in the float32 model; with a detector it must be given.
        detector: tells images unlike the training ones.

    Returns:
        Probabilities float32 [N, C], and the detector's scores float32 [N] or None.
    """
    network = logits_and_features(float32_model(model), embed if detector else None)
    probabilities, scores = [], []
    with tf.device("/CPU:0"):
        for start in range(0, len(arrays), REFERENCE_BATCH):
            found = network(tf.constant(arrays[start : start + REFERENCE_BATCH]), training=False)
            logits = tf.cast(found["logits"], tf.float32)
            probabilities.append(tf.nn.softmax(logits / temperature).numpy())
            if detector:
                scores.append(detector.scores(tf.cast(found["features"], tf.float32).numpy()))
    return np.concatenate(probabilities), np.concatenate(scores) if detector else None


def score_faults(
    answers: Mapping[str, NDArray[Any]], expected: NDArray[np.float32] | None
) -> list[str]:
    """Return what is wrong with the answers to whether images are known.

    Args:
        answers: of the fresh process.
        expected: the scores wanted, float32 [N]; None wants none.
    """
    if expected is None:
        return []
    faults = []
    for name in ("bytes", "images"):
        said = answers.get(f"{name}_ood_score")
        if said is None:
            faults.append(f"{name} gives no ood_score")
            continue
        known = answers[f"{name}_is_known"] == (expected <= 1)
        gap = float(np.max(np.abs(said - expected) / np.maximum(expected, 1)))
        if not gap <= SCORE_TOLERANCE:  # a NaN too
            faults.append(f"{name}: an ood_score differs by {gap:.2g} of it")
        elif not (known | (np.abs(expected - 1) <= SCORE_TOLERANCE)).all():
            faults.append(f"{name}: is_known does not follow from ood_score")
    return faults


class ParityChild(FreshProcess):
    """The fresh process with TensorFlow alone, which judges a SavedModel."""

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
        """Do what ``check_parity`` does; once per child."""
        if not len(images) == len(arrays) == len(expected) > 0:
            raise ValueError(f"{len(images)} images, {len(arrays)} arrays, {len(expected)} answers")
        answers = self.ask(saved_model_dir, images=images, arrays=arrays)
        result = _compare(answers, expected, tolerance)
        _judge(result, answers, tolerance)
        faults = score_faults(answers, ood_scores)
        if faults:
            raise GateError(
                "The exported model does not tell what it knows as the trained one: "
                + "; ".join(faults),
                hint="nothing was exported; the trained model is kept in the run folder",
            )
        return result


def _compare(
    answers: Mapping[str, NDArray[Any]], expected: NDArray[np.float32], tolerance: float
) -> ParityResult:
    signatures = ("bytes", "images")
    difference = {
        name: float(np.max(np.abs(answers[f"{name}_probabilities"] - expected)))
        for name in signatures
    }
    rows = np.arange(len(expected))
    best = expected.max(axis=1)
    agree = np.ones(len(expected), np.bool_)
    for name in signatures:
        named = answers[f"{name}_class_id"]
        agree &= (named >= 0) & (best - expected[rows, named] <= 2 * tolerance)
    return ParityResult(
        n=len(expected), max_abs_difference=difference, label_agreement=float(agree.mean())
    )


def _judge(result: ParityResult, answers: Mapping[str, NDArray[Any]], tolerance: float) -> None:
    if not float(answers["repeat_difference"]) == 0:
        raise GateError(
            "Two calls of the exported model with the same image differ by "
            f"{float(answers['repeat_difference']):.2g}.",
            hint="something random, such as an augmentation layer, is inside the model",
        )
    unread = int((~answers["bytes_ok"]).sum())
    if unread:
        raise GateError(f"The exported model cannot decode {unread} of {result.n} images.")
    # A NaN compares false, so the question is what is within, not what is beyond.
    within = all(value <= tolerance for value in result.max_abs_difference.values())
    if not within or result.label_agreement < 1:
        figures = ", ".join(f"{k} {v:.2g}" for k, v in result.max_abs_difference.items())
        raise GateError(
            f"The exported model does not answer as the trained one: over {result.n} images its "
            f"probabilities differ by up to {figures} (allowed {tolerance:g}), and "
            f"{result.label_agreement:.1%} of the classes agree.",
            hint="nothing was exported; the trained model is kept in the run folder",
        )
