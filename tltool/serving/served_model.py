"""One version of a model: loaded, proved, ready to be asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import DataError, GateError
from tltool.export.exported_model import SAVED_MODEL_FILE
from tltool.export.grad_cam import EXPLAIN_CLASS_SIGNATURE, EXPLAIN_SIGNATURE
from tltool.export.saved_model import (
    BYTES_SIGNATURE,
    CLASS_NAMES_ASSET,
    DECODE_ASSET,
)
from tltool.serving.api_errors import ApiError
from tltool.serving.requests import Arrays
from tltool.serving.signatures import Signature, read_signatures

IMAGE_INPUT, CLASS_INPUT = "image_bytes", "class_id"
_BAD_INPUT = (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError)


@dataclass(frozen=True)
class ServedModel:
    """A version that answers.

    Attributes:
        name: of the model.
        version: its number.
        signatures: by name.
        class_names: in the order of the probabilities; empty where the model does not say.
        decode: how images become its input; None where it does not say.
        proof: what was checked before it was served, in words.
    """

    name: str
    version: int
    signatures: dict[str, Signature]
    class_names: tuple[str, ...]
    decode: DecodeSpec | None
    proof: str
    # the functions hold their variables by weak references only
    _loaded: Any

    @property
    def takes_images(self) -> Signature | None:
        """The signature over the bytes of image files that gives probabilities, if it has one."""
        signature = self.signatures.get(BYTES_SIGNATURE)
        if signature is None or set(signature.inputs) != {IMAGE_INPUT}:
            return None
        return signature if "probabilities" in signature.outputs else None

    @property
    def explains(self) -> Signature | None:
        """The signature that says where images speak for their class, if it has one."""
        return self._explaining(EXPLAIN_SIGNATURE, {IMAGE_INPUT})

    @property
    def explains_classes(self) -> Signature | None:
        """The signature that says where images speak for a given class, if it has one."""
        return self._explaining(EXPLAIN_CLASS_SIGNATURE, {IMAGE_INPUT, CLASS_INPUT})

    def _explaining(self, name: str, inputs: set[str]) -> Signature | None:
        signature = self.signatures.get(name)
        if signature is None or self.decode is None or set(signature.inputs) != inputs:
            return None
        return signature if {"heatmap", "ok"} <= set(signature.outputs) else None

    def run(self, signature: Signature, inputs: Arrays) -> Arrays:
        """Return the outputs of ``signature``.

        Raises:
            ApiError: the model refuses the inputs.
        """
        tensors = {
            name: tf.constant(array, dtype=tf.string if array.dtype == object else None)
            for name, array in inputs.items()
        }
        try:
            found = self._loaded.signatures[signature.name](**tensors)
        except _BAD_INPUT:
            # TensorFlow's own words name files of the server
            raise ApiError(400, "The model does not accept these inputs") from None
        return {name: tensor.numpy() for name, tensor in found.items()}


def load_version(name: str, version: int, folder: Path) -> ServedModel:
    """Load the SavedModel in ``folder`` and prove it.

    Raises:
        DataError: it is no SavedModel that can be loaded.
        GateError: it is damaged, or does not answer as it did when it was exported.
    """
    sealed = _check_seal(folder)
    try:
        signatures = read_signatures(folder / SAVED_MODEL_FILE)
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises whatever it likes on damaged files
        raise DataError(
            f"the SavedModel '{folder}' cannot be loaded: it is damaged or not whole",
            hint="export it again, or restore the folder from a copy",
        ) from error
    names, decode = _class_names(folder), _decode_spec(folder)
    model = ServedModel(name, version, signatures, names, decode, "", _loaded=loaded)
    answers = _prove(model, folder)
    proof = ", ".join([*(["files as exported"] if sealed else []), *answers]) or "loaded"
    return replace(model, proof=proof)


def _class_names(folder: Path) -> tuple[str, ...]:
    try:
        names = json.loads((folder / "assets" / CLASS_NAMES_ASSET).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _decode_spec(folder: Path) -> DecodeSpec | None:
    try:
        document = json.loads((folder / "assets" / DECODE_ASSET).read_text(encoding="utf-8"))
        return DecodeSpec.from_json(document)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _check_seal(folder: Path) -> bool:
    """Compare the files with their digests; return whether there were any."""
    from tltool.export.seal import SEAL_FILE, check_seal

    if not (folder / SEAL_FILE).is_file():
        return False
    check_seal(folder)
    return True


def _prove(model: ServedModel, folder: Path) -> list[str]:
    """Ask the model the images that travel with it; this also warms it up."""
    from tltool.export.export_formats import FORMATS
    from tltool.export.golden import GOLDEN_ASSET, read_golden

    signature = model.takes_images
    if signature is None or not (folder / "assets" / GOLDEN_ASSET).is_file():
        return []
    golden = read_golden(folder)
    given = model.run(signature, {IMAGE_INPUT: images_array(golden.images)})["probabilities"]
    allowed = FORMATS["saved_model"].check_tolerance
    worst = float(np.abs(given - golden.probabilities).max())
    if not worst <= allowed:
        raise GateError(
            f"the export '{folder}' does not answer as it did: a probability differs by "
            f"{worst:.2g}, allowed is {allowed:g}",
            hint="another version of TensorFlow may be the reason; export the run again",
        )
    return [f"{len(golden.images)} golden images answered"]


def images_array(contents: tuple[bytes, ...] | list[bytes]) -> np.ndarray:
    """Return encoded images as the array of bytes that a signature takes."""
    array = np.empty(len(contents), dtype=object)
    array[:] = list(contents)
    return array
