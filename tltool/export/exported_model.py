"""Load an exported SavedModel and ask it: bytes in, probabilities out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.artifact import Calibration, read_calibration
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import DataError, UsageError
from tltool.export.grad_cam import EXPLAIN_CLASS_SIGNATURE
from tltool.export.saved_model import (
    BYTES_SIGNATURE,
    CLASS_NAMES_ASSET,
    DECODE_ASSET,
    IMAGES_SIGNATURE,
    METADATA_ASSET,
)
from tltool.export.versions import versions
from tltool.runs.layout import CALIBRATION_FILE

SAVED_MODEL_FILE = "saved_model.pb"


@dataclass(frozen=True)
class ExportedModel:
    """A loaded SavedModel.

    Attributes:
        path: the version folder.
        class_names: in the order of the probabilities.
        decode: how the model brings bytes to its size.
        metadata: the facts that the export wrote down.
        calibration: what the validation images say of the model; empty in older exports.
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

        Those that cannot be decoded have ok false and the probabilities 1/C. They all run as one
        batch, so the caller bounds N.
        """
        if not contents:
            return np.zeros((0, len(self.class_names)), np.float32), np.zeros(0, np.bool_)
        answers = self.answer(contents)
        return answers["probabilities"], answers["ok"]

    def answer(self, contents: Sequence[bytes]) -> dict[str, NDArray[Any]]:
        """Return all that the model says to N > 0 encoded images, by the name of the output."""
        batch = tf.constant(list(contents), tf.string)
        said = self._loaded.signatures[BYTES_SIGNATURE](image_bytes=batch)
        return {name: tensor.numpy() for name, tensor in said.items()}

    def probabilities_of_images(self, images: tf.Tensor) -> NDArray[np.float32]:
        """Return probabilities float32 [N, C] of decoded images float32 [N, H, W, 3]."""
        found: NDArray[np.float32]
        found = self._loaded.signatures[IMAGES_SIGNATURE](images=images)["probabilities"].numpy()
        return found

    def heat(self, contents: Sequence[bytes], classes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return heat maps float32 [N, h, w] of N > 0 encoded images, of these classes int64 [N].

        Only where ``explains`` is true.
        """
        signature = self._loaded.signatures[EXPLAIN_CLASS_SIGNATURE]
        found: NDArray[np.float32]
        found = signature(
            image_bytes=tf.constant(list(contents), tf.string),
            class_id=tf.constant(classes, tf.int64),
        )["heatmap"].numpy()
        return found

    @property
    def explains(self) -> bool:
        """Whether it can say where images speak for a class; older exports cannot."""
        return EXPLAIN_CLASS_SIGNATURE in self._loaded.signatures

    @property
    def has_ood_detector(self) -> bool:
        """Whether it says what is unlike the training images."""
        return "is_known" in self._loaded.signatures[BYTES_SIGNATURE].structured_outputs


def version_folder(path: Path) -> Path | None:
    """Return the SavedModel that ``path`` names: itself, or its newest version; else ``None``."""
    if (path / SAVED_MODEL_FILE).is_file():
        return path
    whole = [n for n in versions(path) if (path / str(n) / SAVED_MODEL_FILE).is_file()]
    return path / str(whole[-1]) if whole else None


def load_exported(path: Path) -> ExportedModel:
    """Load ``saved_models/NAME`` (its newest version) or ``saved_models/NAME/VERSION``.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no SavedModel, one that tltool did not export, or a damaged one.
    """
    if not path.exists():
        raise UsageError(f"There is no folder {path}.", hint="ls saved_models/ shows the exports")
    folder = version_folder(path)
    if folder is None:
        raise DataError(
            f"{path} holds no SavedModel: neither {SAVED_MODEL_FILE} nor a version folder with it.",
            hint="give saved_models/NAME or saved_models/NAME/VERSION",
        )
    class_names = _document(folder, CLASS_NAMES_ASSET)
    decode = _document(folder, DECODE_ASSET)
    return ExportedModel(
        path=folder,
        class_names=tuple(class_names),
        decode=DecodeSpec.from_json(decode),
        metadata=_document(folder, METADATA_ASSET),
        _loaded=_load(folder),
        calibration=read_calibration(folder / "assets" / CALIBRATION_FILE),
    )


def _document(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / "assets" / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} is a SavedModel, but its assets/{name} is missing or damaged.",
            hint="only models exported by tltool know their class names; export it again",
        ) from error


def _load(folder: Path) -> Any:
    try:
        return tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises whatever it likes on damaged files
        raise DataError(
            f"The SavedModel {folder} is damaged and cannot be loaded.",
            hint="export it again, or restore the folder from a copy",
        ) from error
