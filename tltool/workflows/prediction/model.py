"""Load a model: the folder of a run, or an exported SavedModel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from tltool.artifact import Calibration, load_artifact
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import UsageError
from tltool.evaluation.calibration.prediction_sets import (
    ClassThresholds,
    class_thresholds,
    set_threshold,
)
from tltool.export.exported_model import ExportedModel, load_exported
from tltool.inference import Classifier, Predictions, Tta, decoder, tta_views
from tltool.runs.layout import is_artifact
from tltool.training.precision import Precision, recorded_precision
from tltool.training.reference import as_features
from tltool.workflows.preflight.model_arguments import check_trained_model

_EXPORT_BATCH = 16


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to predict.

    Attributes:
        path: of the run or the export.
        class_names: in the order of the probabilities.
        batch_size: images per call.
        has_ood_detector: whether the predictions contain OOD scores.
        decode: how bytes become images.
        calibration: from the validation images; empty in old models.
        predict_bytes: maps N > 0 encoded images to predictions.
        predict_images: maps decoded images float32 [N, H, W, 3] to probabilities float32 [N, C].
        temperature: divides the logits before the softmax.
        features: maps N > 0 encoded images to features float16 [N, D] as the reference statistics
            have them, and whether each was decoded, bool [N]; None for exports without features.
    """

    path: Path
    class_names: tuple[str, ...]
    batch_size: int
    has_ood_detector: bool
    decode: DecodeSpec
    calibration: Calibration
    predict_bytes: Callable[[Sequence[bytes]], Predictions]
    predict_images: Callable[[tf.Tensor], np.ndarray]
    temperature: float
    features: Callable[[Sequence[bytes]], tuple[np.ndarray, np.ndarray]] | None = None

    def predict(self, contents: Sequence[bytes], *, tta: Tta = "none") -> Predictions:
        """Return the predictions for encoded images, with test-time augmentation if requested.

        The OOD scores are those of the original image.
        """
        if not contents:
            return Predictions(
                np.zeros((0, len(self.class_names)), np.float32), np.zeros(0, np.bool_)
            )
        predictions = self.predict_bytes(contents)
        if tta == "none":
            return predictions
        images, _ = decoder(self.decode)(contents)
        views = [self.predict_images(view) for view in tta_views(images, tta)]
        mean = np.mean(np.stack([predictions.probabilities, *views]), axis=0)
        uniform = np.float32(1 / len(self.class_names))
        averaged = np.where(predictions.ok[:, None], mean, uniform)
        return replace(predictions, probabilities=averaged, without_tta=predictions.probabilities)

    def set_thresholds(self, level: float, *, per_class: bool) -> ClassThresholds:
        """Return the threshold of each class for prediction sets of coverage ``level``.

        Args:
            level: target coverage.
            per_class: whether the coverage is of each class; otherwise all thresholds are equal.

        Raises:
            UsageError: the model has no conformity scores, or too few.
        """
        known = self.calibration
        if not len(known.conformity) or (per_class and not len(known.labels)):
            what = " per class" if len(known.conformity) else ""
            raise UsageError(
                f"'{self.path}' has no calibration scores{what}, which prediction sets need",
                hint="train and export it again with this version of tltool",
            )
        groups = known.groups if len(known.groups) else None
        if per_class:
            return class_thresholds(known.conformity, known.labels, self.class_names, level, groups)
        value = set_threshold(known.conformity, level, groups)
        return ClassThresholds(np.full(len(self.class_names), value), ())


def load_model(path: Path, *, trust: bool = False) -> LoadedModel:
    """Load the run folder or the exported SavedModel at ``path``.

    Args:
        path: the folder.
        trust: omit the checks of its files and operations; for a model of one's own.

    Raises:
        UsageError: ``path`` does not exist.
        DataError: it is neither, damaged, or has operations that are not allowed.
        GateError: a file has changed since the training or the export.
    """
    check_trained_model(path)
    return (_load_run if is_artifact(path) else _load_export)(path, trust=trust)


def _load_run(path: Path, *, trust: bool) -> LoadedModel:
    artifact = load_artifact(path, trust=trust)
    description, calibration = artifact.description, artifact.calibration
    classifier = Classifier(
        artifact.network,
        temperature=description.temperature,
        detector=calibration.detector,
        precision=same_precision(description.arithmetic),
    )

    def predict_bytes(contents: Sequence[bytes]) -> Predictions:
        return classifier.predict(*decoder(description.decode)(contents))

    def features(contents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        images, ok = decoder(description.decode)(contents)
        return as_features(classifier.pooled(images)), ok

    return LoadedModel(
        path=path,
        class_names=description.class_names,
        batch_size=description.batch_size,
        has_ood_detector=calibration.detector is not None,
        decode=description.decode,
        calibration=calibration,
        predict_bytes=predict_bytes,
        predict_images=classifier.probabilities,
        temperature=description.temperature,
        features=features,
    )


def export_predictions(exported: ExportedModel, contents: Sequence[bytes]) -> Predictions:
    """Return the predictions of a SavedModel for N > 0 encoded images."""
    outputs = exported.outputs(contents)
    return Predictions(
        outputs["probabilities"], outputs["ok"], outputs.get("ood_score"), outputs.get("is_known")
    )


def _load_export(path: Path, *, trust: bool) -> LoadedModel:
    exported = load_exported(path, trust=trust)

    def features(contents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        vectors, ok = exported.features(contents)
        return as_features(vectors), ok

    return LoadedModel(
        path=path,
        class_names=exported.class_names,
        batch_size=_EXPORT_BATCH,
        has_ood_detector=exported.has_ood_detector,
        decode=exported.decode,
        calibration=exported.calibration,
        predict_bytes=partial(export_predictions, exported),
        predict_images=exported.predict_images,
        temperature=exported.metadata["temperature"],
        features=features if exported.has_features else None,
    )


def same_precision(arithmetic: str) -> Precision:
    """Return the precision of the run if this machine supports it, else float32."""
    gpu = bool(tf.config.list_logical_devices("GPU"))
    return recorded_precision(arithmetic, gpu=gpu)
