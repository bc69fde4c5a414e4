"""Models that can explain their predictions: runs, Keras exports, and SavedModels by signature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.artifact import Artifact
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import UsageError
from tltool.evaluation.explain.saliency import Explainer, Method
from tltool.export.exported_model import ExportedModel, load_exported
from tltool.export.grad_cam import why_not_explained
from tltool.export.model_folder import version_folder
from tltool.inference import Classifier, Predictions, decoder, softmax
from tltool.runs.layout import is_artifact
from tltool.workflows.prediction.explainable_network import load_explainable_network
from tltool.workflows.prediction.model import export_predictions, same_precision


@dataclass(frozen=True)
class Explanation:
    """The predictions of a model for N images, with heat maps.

    Attributes:
        predictions: an image that cannot be decoded has ``ok`` false.
        heat_maps: float32 [N, h, w] in 0…1, a grid over the model's input; zeros where ``ok`` is
            false.
        classes: the class id that each heat map explains, int64 [N].
    """

    predictions: Predictions
    heat_maps: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class ExplainableModel:
    """A model ready to explain.

    Attributes:
        class_names: in the order of the probabilities.
        decode: how bytes become its input.
        explain: takes N > 0 encoded images and the class id to explain in all of them, -1 for the
            predicted class.
    """

    class_names: tuple[str, ...]
    decode: DecodeSpec
    explain: Callable[[Sequence[bytes], int], Explanation]


def load_explainable(path: Path, method: Method, *, trust: bool = False) -> ExplainableModel:
    """Load a model that can be explained.

    Args:
        path: the folder of a run, or an export to the format keras or saved_model.
        method: see ``Explainer``; a SavedModel supports only grad-cam.
        trust: omit the checks of its files and operations.

    Raises:
        UsageError: ``path`` does not exist, or the model cannot be explained by this method.
        DataError: it is no model, or damaged.
    """
    if path.is_dir() and not is_artifact(path) and version_folder(path) is not None:
        return _from_saved_model(load_exported(path, trust=trust), path, method)
    return _from_network(load_explainable_network(path, trust=trust), method)


def _from_network(artifact: Artifact, method: Method) -> ExplainableModel:
    description, detector = artifact.description, artifact.calibration.detector
    precision = same_precision(description.arithmetic)
    explainer = Explainer(artifact.network, method, precision=precision)
    classifier = Classifier(
        artifact.network,
        temperature=description.temperature,
        detector=detector,
        precision=precision,
    )
    decode = decoder(description.decode)

    def explain(contents: Sequence[bytes], class_id: int) -> Explanation:
        images, ok = decode(contents)
        result = explainer(np.asarray(images)[ok], np.full(int(ok.sum()), class_id))
        heat_maps = np.zeros((len(ok), *result.maps.shape[1:]), np.float32)
        classes = np.full(len(ok), class_id, np.int64)
        heat_maps[ok], classes[ok] = result.maps, result.classes
        if detector is None:  # only the OOD scores need a second pass through the network
            count = len(description.class_names)
            probabilities = np.full((len(ok), count), 1 / count, np.float32)
            probabilities[ok] = softmax(result.logits, description.temperature)
            return Explanation(Predictions(probabilities, ok), heat_maps, classes)
        return Explanation(classifier.predict(images, ok), heat_maps, classes)

    return ExplainableModel(description.class_names, description.decode, explain)


def _from_saved_model(exported: ExportedModel, path: Path, method: Method) -> ExplainableModel:
    if not exported.can_explain:
        reason, mend = why_not_explained(exported.metadata, exported.decode)
        raise UsageError(f"'{path}' cannot be explained: {reason}", hint=mend)
    if method != "grad-cam":
        raise UsageError(
            f"'{path}' is a SavedModel, which supports only grad-cam",
            hint="give the folder of its run, or export the model again with --format keras",
        )

    def explain(contents: Sequence[bytes], class_id: int) -> Explanation:
        predictions = export_predictions(exported, contents)
        predicted = predictions.probabilities.argmax(axis=1)
        classes = predicted if class_id < 0 else np.full(len(contents), class_id, np.int64)
        return Explanation(predictions, exported.heat_maps(contents, classes), classes)

    return ExplainableModel(exported.class_names, exported.decode, explain)
