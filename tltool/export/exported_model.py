"""Load an exported SavedModel and run its signatures: image bytes in, probabilities out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.artifact import Calibration, as_class_names, read_calibration
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import DataError, UsageError, reading
from tltool.export.grad_cam import EXPLAIN_CLASS_SIGNATURE
from tltool.export.model_folder import (
    CLASS_NAMES_ASSET,
    METADATA_ASSET,
    SAVED_MODEL_FILE,
    version_folder,
)
from tltool.export.open_saved_model import load_saved_model
from tltool.export.saved_model import (
    BYTES_SIGNATURE,
    DECODE_ASSET,
    FEATURES_SIGNATURE,
    IMAGES_SIGNATURE,
)
from tltool.features.out_of_memory import InParts
from tltool.runs.json_text import from_json
from tltool.runs.layout import CALIBRATION_FILE


@dataclass(frozen=True)
class ExportedModel:
    """A loaded SavedModel.

    Attributes:
        path: the version folder.
        class_names: in the order of the probabilities.
        decode: how the model decodes and resizes image bytes.
        metadata: content of assets/metadata.json.
        calibration: calibration data from the validation images; empty in older exports.
    """

    path: Path
    class_names: tuple[str, ...]
    decode: DecodeSpec
    metadata: Mapping[str, Any]
    # Its functions hold their variables by weak references only.
    _loaded: Any
    calibration: Calibration = field(default_factory=Calibration)

    def predict(self, contents: Sequence[bytes]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return probabilities float32 [N, C] and ok bool [N] of N encoded images.

        Images that cannot be decoded have ok false and the probabilities 1/C. All images run as one
        batch, so the caller limits N.
        """
        if not contents:
            return np.zeros((0, len(self.class_names)), np.float32), np.zeros(0, np.bool_)
        outputs = self.outputs(contents)
        return outputs["probabilities"], outputs["ok"]

    def outputs(self, contents: Sequence[bytes]) -> dict[str, NDArray[Any]]:
        """Return all outputs of ``serving_default``, by name, for N > 0 encoded images."""
        batch = tf.constant(list(contents), tf.string)
        signature = self._loaded.signatures[BYTES_SIGNATURE]
        tensors = InParts(lambda part: signature(image_bytes=part), "predictions")(batch)
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    def features(self, contents: Sequence[bytes]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return features float32 [N, D] and ok bool [N] of N > 0 encoded images.

        Only if ``has_features`` is true.
        """
        outputs = self._loaded.signatures[FEATURES_SIGNATURE](
            image_bytes=tf.constant(list(contents), tf.string)
        )
        return outputs["features"].numpy(), outputs["ok"].numpy()

    def predict_images(self, images: tf.Tensor) -> NDArray[np.float32]:
        """Return probabilities float32 [N, C] of decoded images float32 [N, H, W, 3]."""
        outputs = self._loaded.signatures[IMAGES_SIGNATURE](images=images)
        probabilities: NDArray[np.float32] = outputs["probabilities"].numpy()
        return probabilities

    def heat_maps(
        self, contents: Sequence[bytes], classes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return heat maps float32 [N, h, w] of N > 0 encoded images for class ids int64 [N].

        Only if ``can_explain`` is true.
        """
        signature = self._loaded.signatures[EXPLAIN_CLASS_SIGNATURE]
        heat_maps: NDArray[np.float32] = signature(
            image_bytes=tf.constant(list(contents), tf.string),
            class_id=tf.constant(classes, tf.int64),
        )["heatmap"].numpy()
        return heat_maps

    @property
    def has_features(self) -> bool:
        """Whether it has the ``features`` signature."""
        return FEATURES_SIGNATURE in self._loaded.signatures

    @property
    def can_explain(self) -> bool:
        """Whether it has the ``explain`` signatures; older exports have not."""
        return EXPLAIN_CLASS_SIGNATURE in self._loaded.signatures

    @property
    def has_ood_detector(self) -> bool:
        """Whether it returns ``ood_score`` and ``is_known``."""
        return "is_known" in self._loaded.signatures[BYTES_SIGNATURE].structured_outputs


def load_exported(path: Path, *, trust: bool = False) -> ExportedModel:
    """Load ``saved_models/NAME`` (its newest version) or ``saved_models/NAME/VERSION``.

    Args:
        path: the folder.
        trust: omit the checks of its files and operations; for a model of one's own.

    Raises:
        UsageError: there is no such folder.
        DataError: it contains no SavedModel, one that tltool did not export, a damaged one, or one
            with operations that are not allowed.
        GateError: a file has changed since the export.
    """
    if not path.exists():
        raise UsageError(f"there is no folder '{path}'", hint="ls saved_models/ lists the exports")
    folder = version_folder(path)
    if folder is None:
        raise DataError(
            f"'{path}' contains no SavedModel: no {SAVED_MODEL_FILE} and no version folder with it",
            hint="give saved_models/NAME or saved_models/NAME/VERSION",
        )
    loaded = load_saved_model(folder, trust=trust)
    metadata = _document(folder, METADATA_ASSET)
    with reading(folder, "export", hint=_EXPORT_AGAIN):
        return ExportedModel(
            path=folder,
            class_names=as_class_names(_document(folder, CLASS_NAMES_ASSET)),
            decode=DecodeSpec.from_json(_document(folder, DECODE_ASSET)),
            metadata={**metadata, "temperature": float(metadata["temperature"])},
            _loaded=loaded,
            calibration=read_calibration(folder / "assets" / CALIBRATION_FILE),
        )


_EXPORT_AGAIN = "only models exported by tltool contain their class names; export it again"


def _document(folder: Path, name: str) -> Any:
    try:
        return from_json((folder / "assets" / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"'{folder}' is a SavedModel, but its assets/{name} is missing or damaged",
            hint=_EXPORT_AGAIN,
        ) from error
