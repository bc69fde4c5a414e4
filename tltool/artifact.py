"""The artifact: the trained model that training saves, and prediction and export load."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import DataError
from tltool.models import preprocessing  # noqa: F401  (registers the layer a model file names)
from tltool.models.backbone_registry import get_backbone
from tltool.models.network_parts import Network
from tltool.runs.layout import CALIBRATION_FILE, DESCRIPTION_FILE, MODEL_FILE
from tltool.training.ood import OutlierDetector

FORMAT_VERSION = 1
_ARRAYS = ("labels", "groups")  # of the validation images; missing in files of older versions


@dataclass(frozen=True)
class Description:
    """The facts that a model needs to give the same predictions elsewhere.

    Attributes:
        name: name of the run.
        class_names: in the order of the model's outputs.
        decode: how image bytes become the model's input.
        backbone: name of the backbone.
        head: kind of the head.
        arithmetic: of the evaluation of this model: float32, bfloat16 or float16.
        batch_size: images per batch of that evaluation.
        temperature: divides the logits before the softmax.
        licence: of the pretrained weights.
    """

    name: str
    class_names: tuple[str, ...]
    decode: DecodeSpec
    backbone: str
    head: str
    arithmetic: str
    batch_size: int
    temperature: float
    licence: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary with the format version."""
        return {
            "format_version": FORMAT_VERSION,
            **{field: getattr(self, field) for field in self.__dataclass_fields__},
            "class_names": list(self.class_names),
            "decode": self.decode.to_json(),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Description:
        """Return the description that ``to_json`` wrote."""
        fields = {key: value for key, value in document.items() if key != "format_version"}
        fields["class_names"] = tuple(fields["class_names"])
        fields["decode"] = DecodeSpec.from_json(fields["decode"])
        return cls(**fields)


@dataclass(frozen=True)
class Calibration:
    """Calibration data from the validation images: OOD detector and conformity scores.

    Attributes:
        detector: the OOD detector; None without one.
        conformity: conformity scores of the V validation images, for prediction sets, float64 [V],
            ascending; empty in models of older versions.
        labels: their class numbers, int64 [V]; empty in models of older versions.
        groups: their groups, int64 [V]; likewise.
    """

    detector: OutlierDetector | None = None
    conformity: np.ndarray = field(default_factory=lambda: np.zeros(0))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    groups: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def to_bytes(self) -> bytes:
        """Return the content of the file; equal calibrations give equal bytes."""
        arrays = {name: getattr(self, name) for name in ("conformity", *_ARRAYS)}
        arrays |= self.detector.to_arrays() if self.detector else {}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Calibration:
        """Return the calibration that ``to_bytes`` wrote.

        Raises:
            ValueError: ``content`` is damaged.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            more = {name: arrays[name] for name in _ARRAYS if name in arrays}
            return cls(OutlierDetector.from_arrays(arrays), arrays["conformity"], **more)
        except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError("not a calibration file") from error


@dataclass(frozen=True)
class Artifact:
    """A trained network (images float32 [B, H, W, 3] in 0…255 to logits) and its description."""

    network: Network
    description: Description
    calibration: Calibration = field(default_factory=Calibration)


def save_artifact(folder: Path, artifact: Artifact) -> None:
    """Write the model, its calibration and its description into ``folder``."""
    artifact.network.model.save(folder / MODEL_FILE)
    (folder / CALIBRATION_FILE).write_bytes(artifact.calibration.to_bytes())
    text = json.dumps(artifact.description.to_json(), indent=2, ensure_ascii=False)
    (folder / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")


def is_artifact(folder: Path) -> bool:
    """Whether ``folder`` contains a trained model."""
    return (folder / DESCRIPTION_FILE).is_file() and (folder / MODEL_FILE).is_file()


def load_description(folder: Path) -> Description:
    """Return the description in ``folder``, without loading the model.

    Raises:
        DataError: there is none, or its format version is not supported.
    """
    path = folder / DESCRIPTION_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"'{folder}' contains no trained model: {path.name} cannot be read ({error})",
            hint="give the folder of a finished run, or of an exported model",
        ) from None
    if document.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"'{path}' has format version {document.get('format_version')}; this version of tltool "
            f"reads {FORMAT_VERSION}",
            hint="use the version of tltool that wrote it, or upgrade",
        )
    return Description.from_json(document)


def load_artifact(folder: Path) -> Artifact:
    """Return the trained model in ``folder``. Keras' safe mode runs no code from the file.

    Raises:
        DataError: there is no trained model, or its file is damaged.
    """
    description = load_description(folder)
    path = folder / MODEL_FILE
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().split("\n", 1)[0]
        raise DataError(
            f"the model file '{path}' is damaged or missing: {first}",
            hint="train again, or restore the file from a copy",
        ) from None
    network = Network(model, get_backbone(description.backbone), description.head)
    return Artifact(network, description, read_calibration(folder / CALIBRATION_FILE))


def read_calibration(path: Path) -> Calibration:
    """Return the calibration in ``path``; an empty one if an older model has no such file.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return Calibration()
    try:
        return Calibration.from_bytes(path.read_bytes())
    except ValueError:
        raise DataError(
            f"'{path}' is damaged", hint="train or export again, or restore the file from a copy"
        ) from None
