"""Open what a user calls a model: the folder of a run, or an exported SavedModel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tltool.artifact import is_artifact, load_artifact
from tltool.data.decode import decode_batch
from tltool.errors import DataError, UsageError
from tltool.export.load import load_exported, version_folder
from tltool.inference import Classifier
from tltool.training.precision import Precision, choose_precision

_SERVED_BATCH = 16

# encoded photos to probabilities float32 [N, C] and ok bool [N]
Predict = Callable[[Sequence[bytes]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class OpenModel:
    """A model ready to answer.

    Attributes:
        class_names: in the order of the probabilities.
        batch_size: photos per call.
        predict: encoded photos to probabilities and ok.
        temperature: by which the model divides its logits.
    """

    class_names: tuple[str, ...]
    batch_size: int
    predict: Predict
    temperature: float


def open_model(path: Path) -> OpenModel:
    """Load the run folder or the exported SavedModel at ``path``.

    Raises:
        UsageError: there is nothing at ``path``.
        DataError: it is neither, or damaged.
    """
    if not path.exists():
        raise UsageError(
            f"there is no model '{path}'",
            hint="give the folder of a run (runs/…) or of an export (saved_models/<name>)",
        )
    if is_artifact(path):
        return _open_run(path)
    if path.is_dir() and version_folder(path) is not None:
        exported = load_exported(path)
        temperature = float(exported.metadata["temperature"])
        return OpenModel(exported.class_names, _SERVED_BATCH, exported.predict, temperature)
    raise DataError(
        f"'{path}' holds neither a finished run nor an exported model",
        hint="give the folder of a run (runs/…) or of an export (saved_models/<name>)",
    )


def _open_run(path: Path) -> OpenModel:
    artifact = load_artifact(path)
    description = artifact.description
    classifier = Classifier(
        artifact.network,
        temperature=description.temperature,
        precision=same_precision(description.arithmetic),
    )

    def predict(contents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        images, readable = decode_batch(tf.constant(list(contents), tf.string), description.decode)
        ok = np.asarray(readable)
        probabilities = classifier.probabilities(images)
        probabilities[~ok] = 1.0 / len(description.class_names)
        return probabilities, ok

    return OpenModel(
        description.class_names, description.batch_size, predict, description.temperature
    )


def same_precision(arithmetic: str) -> Precision:
    """Return the arithmetic of the run's own figures where this machine has it, else float32."""
    gpu = bool(tf.config.list_logical_devices("GPU"))
    if arithmetic == "bfloat16" and choose_precision("auto", gpu=gpu).arithmetic == "bfloat16":
        return choose_precision("bfloat16", gpu=gpu)
    return choose_precision("float32", gpu=gpu)
