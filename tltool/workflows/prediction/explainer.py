"""Models that can say what they look at: runs, Keras exports, SavedModels by their signature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.artifact import Artifact, is_artifact
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import UsageError
from tltool.evaluation.explain.saliency import Explainer, Method
from tltool.export.exported_model import load_exported, version_folder
from tltool.inference import Classifier, Predictions, decoder, softmax
from tltool.workflows.prediction.explainable_network import open_network
from tltool.workflows.prediction.model import same_precision


@dataclass(frozen=True)
class Explanation:
    """What a model says to N images, and where it looks.

    Attributes:
        answers: its answers; an image that cannot be decoded has ``ok`` false.
        maps: float32 [N, h, w] in 0…1, a grid over the model's input; zeros where ``ok`` is false.
        classes: the class that each map explains, int64 [N].
    """

    answers: Predictions
    maps: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class ExplainableModel:
    """A model ready to be asked.

    Attributes:
        class_names: in the order of the probabilities.
        decode: how bytes become its input.
        look: encoded images, at least one, and the number of the class to explain in all of them,
            -1 for the one that the model names.
    """

    class_names: tuple[str, ...]
    decode: DecodeSpec
    look: Callable[[Sequence[bytes], int], Explanation]


def load_explainable(path: Path, method: Method) -> ExplainableModel:
    """Open a model to be explained.

    Args:
        path: the folder of a run, or an export to the format keras or saved_model.
        method: see ``Explainer``; a SavedModel knows grad-cam alone.

    Raises:
        UsageError: there is nothing at ``path``, or it cannot be explained by this method.
        DataError: it is no model, or damaged.
    """
    if path.is_dir() and not is_artifact(path) and version_folder(path) is not None:
        return _of_export(path, method)
    return _of_network(open_network(path), method)


def _of_network(artifact: Artifact, method: Method) -> ExplainableModel:
    described, detector = artifact.description, artifact.calibration.detector
    precision = same_precision(described.arithmetic)
    explainer = Explainer(artifact.network, method, precision=precision)
    classifier = Classifier(
        artifact.network,
        temperature=described.temperature,
        detector=detector,
        precision=precision,
    )
    images_of = decoder(described.decode)

    def look(contents: Sequence[bytes], wanted: int) -> Explanation:
        images, ok = images_of(contents)
        found = explainer(np.asarray(images)[ok], np.full(int(ok.sum()), wanted))
        maps = np.zeros((len(ok), *found.maps.shape[1:]), np.float32)
        classes = np.full(len(ok), wanted, np.int64)
        maps[ok], classes[ok] = found.maps, found.classes
        if detector is None:  # all that a second pass through the network would add
            count = len(described.class_names)
            probabilities = np.full((len(ok), count), 1 / count, np.float32)
            probabilities[ok] = softmax(found.logits, described.temperature)
            return Explanation(Predictions(probabilities, ok), maps, classes)
        return Explanation(classifier.answer(images, ok), maps, classes)

    return ExplainableModel(described.class_names, described.decode, look)


def _of_export(path: Path, method: Method) -> ExplainableModel:
    exported = load_exported(path)
    if method != "grad-cam" or not exported.explains:
        what = "explains by grad-cam alone" if exported.explains else "cannot be looked into"
        raise UsageError(
            f"'{path}' is a SavedModel, which {what}",
            hint="give the folder of the run that it came from; or the model exported once more: "
            "tltool export RUN --format keras",
        )

    def look(contents: Sequence[bytes], wanted: int) -> Explanation:
        said = exported.answer(contents)
        answers = Predictions(
            said["probabilities"], said["ok"], said.get("ood_score"), said.get("is_known")
        )
        named = answers.probabilities.argmax(axis=1)
        classes = named if wanted < 0 else np.full(len(contents), wanted, np.int64)
        return Explanation(answers, exported.heat(contents, classes), classes)

    return ExplainableModel(exported.class_names, exported.decode, look)
