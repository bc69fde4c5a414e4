"""One version of a served model: loaded and verified."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tltool.artifact import Calibration, read_calibration
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import DataError, GateError
from tltool.export.grad_cam import (
    EXPLAIN_CLASS_SIGNATURE,
    EXPLAIN_SIGNATURE,
    why_not_explained,
)
from tltool.export.model_folder import CLASS_NAMES_ASSET, METADATA_ASSET, SAVED_MODEL_FILE
from tltool.export.open_saved_model import check_saved_model, load_saved_model
from tltool.export.saved_model import BYTES_SIGNATURE, DECODE_ASSET
from tltool.runs.json_text import from_json
from tltool.runs.layout import CALIBRATION_FILE
from tltool.serving.api_errors import ApiError
from tltool.serving.json_values import Arrays
from tltool.serving.signatures import Signature, read_signatures
from tltool.training.reference import Reference

IMAGE_INPUT, CLASS_INPUT = "image_bytes", "class_id"
_BAD_INPUT = (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError)


@dataclass(frozen=True)
class ServedModel:
    """A loaded version of a model.

    Attributes:
        name: of the model.
        version: its number.
        signatures: by name.
        class_names: in the order of the probabilities; empty if the model has none.
        decode: how image bytes become its input; None if the model does not contain it.
        checks: which checks the version has passed, in words.
        validation_images: independent images on which it was validated; None if unknown.
        why_not_explained: why it has no heat maps and what to do, if it has none.
        reference: reference statistics, for drift; None in older exports.
        digest: of its files, for a log of predictions; "" without a log.
    """

    name: str
    version: int
    signatures: dict[str, Signature]
    class_names: tuple[str, ...]
    decode: DecodeSpec | None
    checks: str
    validation_images: int | None
    # the functions hold their variables by weak references only
    _loaded: Any
    why_not_explained: str = ""
    reference: Reference | None = None
    digest: str = ""

    @property
    def image_signature(self) -> Signature | None:
        """The signature from image bytes to probabilities, if the model has one."""
        signature = self.signatures.get(BYTES_SIGNATURE)
        if signature is None or set(signature.inputs) != {IMAGE_INPUT}:
            return None
        return signature if "probabilities" in signature.outputs else None

    @property
    def explain_signature(self) -> Signature | None:
        """The signature that returns heat maps of the predicted class, if the model has one."""
        return self._heat_map_signature(EXPLAIN_SIGNATURE, {IMAGE_INPUT})

    @property
    def explain_class_signature(self) -> Signature | None:
        """The signature that returns heat maps of any class, if the model has one."""
        return self._heat_map_signature(EXPLAIN_CLASS_SIGNATURE, {IMAGE_INPUT, CLASS_INPUT})

    def _heat_map_signature(self, name: str, inputs: set[str]) -> Signature | None:
        signature = self.signatures.get(name)
        if signature is None or self.decode is None or set(signature.inputs) != inputs:
            return None
        return signature if {"heatmap", "ok"} <= set(signature.outputs) else None

    def probabilities_in(self, outputs: Arrays) -> np.ndarray | None:
        """Return the probabilities [N, C] of its C classes; None if the outputs have none."""
        probabilities, classes = outputs.get("probabilities"), len(self.class_names)
        fit = probabilities is not None and classes and probabilities.shape[1:] == (classes,)
        return probabilities if fit else None

    @property
    def predicting_signatures(self) -> dict[str, Signature]:
        """The signatures that return probabilities; all if none does.

        Features and heat maps mean something else for every backbone, probabilities do not.
        """
        found = {
            name: one for name, one in self.signatures.items() if "probabilities" in one.outputs
        }
        return found or self.signatures

    def why_not_replaced_by(self, other: ServedModel) -> str:
        """Return how predictions of ``other`` differ in form from its own; "" if they do not."""
        if self.class_names != other.class_names:
            return "it has other classes"
        for name, signature in self.predicting_signatures.items():
            if name not in other.signatures:
                return f"it has no signature {name}"
            if signature.interface != other.signatures[name].interface:
                return (
                    f"inputs or outputs of its signature {name} have other names, types or shapes"
                )
        return ""

    def run(self, signature: Signature, inputs: Arrays) -> Arrays:
        """Return the outputs of ``signature``.

        Raises:
            ApiError: the model rejects the inputs.
        """
        tensors = {
            name: tf.constant(array, dtype=tf.string if array.dtype == object else None)
            for name, array in inputs.items()
        }
        try:
            outputs = self._loaded.signatures[signature.name](**tensors)
        except _BAD_INPUT:
            # TensorFlow's message contains paths of the server
            raise ApiError(400, "The model does not accept these inputs") from None
        return {name: tensor.numpy() for name, tensor in outputs.items()}


def load_version(name: str, version: int, folder: Path, *, trust: bool = False) -> ServedModel:
    """Load the SavedModel in ``folder`` and verify its files, operations and predictions.

    Args:
        name: of the model.
        version: its number.
        folder: of the version.
        trust: omit the checks of files and operations; for a model of one's own.

    Raises:
        DataError: it is no SavedModel, cannot be loaded, or has operations that are not allowed.
        GateError: a file has changed, or the predictions for the golden set have changed.
    """
    sealed = False if trust else check_saved_model(folder)
    try:
        signatures = read_signatures(folder / SAVED_MODEL_FILE)
        loaded = load_saved_model(folder, trust=True)
    except Exception as error:  # TensorFlow raises errors of any type on damaged files
        raise DataError(
            f"the SavedModel '{folder}' cannot be loaded: it is damaged or incomplete",
            hint="export it again, or restore the folder from a copy",
        ) from error
    names, decode = _class_names(folder), _decode_spec(folder)
    why = "; ".join(why_not_explained(_metadata(folder), decode))
    calibration = _calibration(folder)
    model = ServedModel(
        name,
        version,
        signatures,
        names,
        decode,
        "",
        _validation_images(calibration),
        loaded,
        why,
        calibration.reference,
    )
    golden = _verify_golden_set(model, folder)
    checks = ", ".join([*(["files verified"] if sealed else []), *golden]) or "loaded"
    return replace(model, checks=checks)


def _calibration(folder: Path) -> Calibration:
    try:
        return read_calibration(folder / "assets" / CALIBRATION_FILE)
    except DataError:
        return Calibration()


def _validation_images(calibration: Calibration) -> int | None:
    """Return the number of independent validation images; None without calibration scores."""
    images = len(calibration.conformity)
    return len(np.unique(calibration.groups)) or images or None


def _class_names(folder: Path) -> tuple[str, ...]:
    try:
        names = from_json((folder / "assets" / CLASS_NAMES_ASSET).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _metadata(folder: Path) -> dict[str, Any]:
    try:
        facts = from_json((folder / "assets" / METADATA_ASSET).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _decode_spec(folder: Path) -> DecodeSpec | None:
    try:
        document = from_json((folder / "assets" / DECODE_ASSET).read_text(encoding="utf-8"))
        return DecodeSpec.from_json(document)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _verify_golden_set(model: ServedModel, folder: Path) -> list[str]:
    """Predict the golden set and compare; this also warms the model up."""
    from tltool.export.export_formats import FORMATS
    from tltool.export.golden import GOLDEN_ASSET, read_golden

    signature = model.image_signature
    if signature is None or not (folder / "assets" / GOLDEN_ASSET).is_file():
        return []
    golden = read_golden(folder)
    outputs = model.run(signature, {IMAGE_INPUT: bytes_array(golden.images)})
    allowed = FORMATS["saved_model"].check_tolerance
    largest = float(np.abs(outputs["probabilities"] - golden.probabilities).max())
    if not largest <= allowed:
        raise GateError(
            f"the predictions of the export '{folder}' have changed: on its golden images a "
            f"probability differs by {largest:.2g}, allowed is {allowed:g}",
            hint="another version of TensorFlow may be the reason; export the run again",
        )
    return [f"{len(golden.images)} golden images verified"]


def bytes_array(contents: tuple[bytes, ...] | list[bytes]) -> np.ndarray:
    """Return encoded images as an object array of bytes, which a signature takes."""
    array = np.empty(len(contents), dtype=object)
    array[:] = list(contents)
    return array
