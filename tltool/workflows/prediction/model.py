"""Open what a user calls a model: the folder of a run, or an exported SavedModel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from tltool.artifact import is_artifact, load_artifact
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import DataError, UsageError
from tltool.export.exported_model import SAVED_MODEL_FILE, load_exported, version_folder
from tltool.export.seal import MAY_BE_ABSENT
from tltool.inference import Classifier, Predictions, Tta, changed_copies, decoder
from tltool.runs.layout import CALIBRATION_FILE, DESCRIPTION_FILE, MODEL_FILE
from tltool.training.precision import Precision, choose_precision
from tltool.workflows.preflight.arguments import check_model

_SERVED_BATCH = 16
_SHORT = 12  # hexadecimal digits


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to answer.

    Attributes:
        path: as it was given.
        class_names: in the order of the probabilities.
        batch_size: images per call.
        has_ood_detector: whether answers say what is unlike the training images.
        decode: how bytes become images.
        conformity: scores of the validation images, for prediction sets; empty in old models.
        predict_bytes: encoded images, at least one, to answers.
        predict_images: decoded images float32 [N, H, W, 3] to probabilities float32 [N, C].
        temperature: by which the model divides its logits.
    """

    path: Path
    class_names: tuple[str, ...]
    batch_size: int
    has_ood_detector: bool
    decode: DecodeSpec
    conformity: np.ndarray
    predict_bytes: Callable[[Sequence[bytes]], Predictions]
    predict_images: Callable[[tf.Tensor], np.ndarray]
    temperature: float

    def predict(self, contents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities float32 [N, C] and ok bool [N] of encoded images."""
        answers = self.answer(contents)
        return answers.probabilities, answers.ok

    def answer(self, contents: Sequence[bytes], *, tta: Tta = "none") -> Predictions:
        """Return the answers to encoded images, their probabilities averaged over changed copies.

        Whether an image is known is told of the image as it is.
        """
        if not contents:
            return Predictions(
                np.zeros((0, len(self.class_names)), np.float32), np.zeros(0, np.bool_)
            )
        answers = self.predict_bytes(contents)
        if tta == "none":
            return answers
        images, _ = decoder(self.decode)(contents)
        copies = [self.predict_images(copy) for copy in changed_copies(images, tta)]
        mean = np.mean(np.stack([answers.probabilities, *copies]), axis=0)
        even = np.float32(1 / len(self.class_names))
        averaged = np.where(answers.ok[:, None], mean, even)
        return replace(answers, probabilities=averaged, plain=answers.probabilities)

    def calibration_scores(self) -> np.ndarray:
        """Return ``conformity``.

        Raises:
            UsageError: the model has none.
        """
        if not len(self.conformity):
            raise UsageError(
                f"'{self.path}' gives no prediction sets: it was made without calibration scores",
                hint="train and export it again with this version of tltool",
            )
        return self.conformity


def load_model(path: Path) -> LoadedModel:
    """Load the run folder or the exported SavedModel at ``path``.

    Raises:
        UsageError: there is nothing at ``path``.
        DataError: it is neither, or damaged.
    """
    check_model(path)
    if is_artifact(path):
        return _open_run(path)
    if path.is_dir() and version_folder(path) is not None:
        return _open_export(path)
    raise DataError(
        f"'{path}' holds neither a finished run nor an exported model",
        hint="give the folder of a run (runs/…) or of an export (saved_models/<name>)",
    )


def model_digest(path: Path) -> str:
    """Return the beginning of the SHA-256 of the files that decide a model's answers, in hex.

    Args:
        path: a folder that ``load_model`` opens.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in _deciding_files(path):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:_SHORT]


def _deciding_files(path: Path) -> list[Path]:
    if is_artifact(path):
        inside = [path / name for name in (MODEL_FILE, DESCRIPTION_FILE, CALIBRATION_FILE)]
        return [one for one in inside if one.is_file()]
    folder = version_folder(path) or path
    inside = [folder / SAVED_MODEL_FILE, *folder.glob("variables/*"), *folder.glob("assets/*")]
    return sorted(one for one in inside if str(one.relative_to(folder)) not in MAY_BE_ABSENT)


def _open_run(path: Path) -> LoadedModel:
    artifact = load_artifact(path)
    description, calibration = artifact.description, artifact.calibration
    classifier = Classifier(
        artifact.network,
        temperature=description.temperature,
        detector=calibration.detector,
        precision=same_precision(description.arithmetic),
    )

    def predict_bytes(contents: Sequence[bytes]) -> Predictions:
        return classifier.answer(*decoder(description.decode)(contents))

    return LoadedModel(
        path=path,
        class_names=description.class_names,
        batch_size=description.batch_size,
        has_ood_detector=calibration.detector is not None,
        decode=description.decode,
        conformity=calibration.conformity,
        predict_bytes=predict_bytes,
        predict_images=classifier.probabilities,
        temperature=description.temperature,
    )


def _open_export(path: Path) -> LoadedModel:
    exported = load_exported(path)

    def predict_bytes(contents: Sequence[bytes]) -> Predictions:
        said = exported.answer(contents)
        return Predictions(
            said["probabilities"], said["ok"], said.get("ood_score"), said.get("is_known")
        )

    return LoadedModel(
        path=path,
        class_names=exported.class_names,
        batch_size=_SERVED_BATCH,
        has_ood_detector=exported.has_ood_detector,
        decode=exported.decode,
        conformity=exported.calibration.conformity,
        predict_bytes=predict_bytes,
        predict_images=exported.probabilities_of_images,
        temperature=float(exported.metadata["temperature"]),
    )


def same_precision(arithmetic: str) -> Precision:
    """Return the arithmetic of the run's own figures where this machine has it, else float32."""
    gpu = bool(tf.config.list_logical_devices("GPU"))
    if arithmetic == "bfloat16" and choose_precision("auto", gpu=gpu).arithmetic == "bfloat16":
        return choose_precision("bfloat16", gpu=gpu)
    return choose_precision("float32", gpu=gpu)
