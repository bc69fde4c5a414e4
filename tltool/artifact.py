"""The artifact: the trained model that training saves, and prediction and export load."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import DataError, GateError, reading
from tltool.models import own_model
from tltool.models.backbone_registry import Backbone, get_backbone
from tltool.models.model_file import load_model_file
from tltool.models.network_parts import Network
from tltool.runs.digests import describe_changes, size_and_digest
from tltool.runs.layout import CALIBRATION_FILE, DESCRIPTION_FILE, MODEL_FILE, SEAL_FILE
from tltool.runs.npz_file import read_arrays
from tltool.storage.durable import replaced_file, write_durably
from tltool.training.ood import OutlierDetector
from tltool.training.reference import Reference

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
        own_backbone: description of a backbone that is not in the registry.
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
    own_backbone: dict[str, Any] | None = None

    def find_backbone(self) -> Backbone:
        """Return the backbone: from the registry, or as the model describes it.

        Raises:
            UsageError: this version of tltool has no such backbone.
            KeyError, TypeError: the description is damaged.
        """
        if self.own_backbone is not None:
            return own_model.from_json(self.own_backbone)
        return get_backbone(self.backbone)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary with the format version."""
        return {
            "format_version": FORMAT_VERSION,
            **{
                field: getattr(self, field)
                for field in self.__dataclass_fields__
                if field != "own_backbone" or self.own_backbone
            },
            "class_names": list(self.class_names),
            "decode": self.decode.to_json(),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Description:
        """Return the description that ``to_json`` wrote.

        Raises:
            Exception: of any type, for another document.
        """
        fields = {key: value for key, value in document.items() if key != "format_version"}
        return cls(
            **{
                **fields,
                "class_names": as_class_names(fields["class_names"]),
                "decode": DecodeSpec.from_json(fields["decode"]),
                "batch_size": _positive(fields["batch_size"]),
                "temperature": _temperature(fields["temperature"]),
            }
        )


def as_class_names(value: Any) -> tuple[str, ...]:
    """Return the class names in a document; raise ValueError for something else."""
    if not isinstance(value, list) or not value or len({*map(str, value)}) < len(value):
        raise ValueError("its class names are no list of different names")
    if not all(isinstance(name, str) for name in value):
        raise ValueError("its class names are not text")
    return tuple(value)


def _positive(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value < 1 << 16:
        raise ValueError(f"{value!r} is no batch size")
    return value


def _temperature(value: Any) -> float:
    if isinstance(value, bool) or not 0 < float(value) < math.inf:
        raise ValueError(f"{value!r} is no temperature")
    return float(value)


@dataclass(frozen=True)
class Calibration:
    """What is known from the validation images: OOD detector, conformity scores, reference.

    Attributes:
        detector: the OOD detector; None without one.
        conformity: conformity scores of the V validation images, for prediction sets, float64 [V],
            ascending; empty in models of older versions.
        labels: their class numbers, int64 [V]; empty in models of older versions.
        groups: their groups, int64 [V]; likewise.
        reference: the predictions for them, to find drift later; None in models of older versions.
    """

    detector: OutlierDetector | None = None
    conformity: np.ndarray = field(default_factory=lambda: np.zeros(0))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    groups: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    reference: Reference | None = None

    def to_bytes(self) -> bytes:
        """Return the content of the file; equal calibrations give equal bytes."""
        arrays = {name: getattr(self, name) for name in ("conformity", *_ARRAYS)}
        arrays |= self.detector.to_arrays() if self.detector else {}
        arrays |= self.reference.to_arrays() if self.reference else {}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_file(cls, path: Path) -> Calibration:
        """Return the calibration in a file of ``to_bytes``.

        Raises:
            Exception: of any type, if it is damaged.
        """
        arrays = read_arrays(path)
        more = {name: arrays[name] for name in _ARRAYS if name in arrays}
        return cls(
            OutlierDetector.from_arrays(arrays),
            arrays["conformity"],
            **more,
            reference=Reference.from_arrays(arrays),
        )


@dataclass(frozen=True)
class Artifact:
    """A trained network (images float32 [B, H, W, 3] in 0…255 to logits) and its description."""

    network: Network
    description: Description
    calibration: Calibration = field(default_factory=Calibration)


def save_artifact(folder: Path, artifact: Artifact) -> None:
    """Write the model, its calibration, its description and their digests into ``folder``.

    Raises:
        OSError: one cannot be written; no incomplete file is left.
    """
    with replaced_file(folder / MODEL_FILE) as part:
        artifact.network.model.save(part)
    write_durably(folder / CALIBRATION_FILE, artifact.calibration.to_bytes())
    text = json.dumps(artifact.description.to_json(), indent=2, ensure_ascii=False)
    write_durably(folder / DESCRIPTION_FILE, f"{text}\n".encode())
    digests = {name: size_and_digest(folder / name) for name in _SEALED}
    write_durably(folder / SEAL_FILE, f"{json.dumps({'files': digests}, indent=2)}\n".encode())


_SEALED = (MODEL_FILE, CALIBRATION_FILE, DESCRIPTION_FILE)


def check_artifact_seal(folder: Path) -> None:
    """Compare the files of the trained model with their digests; older runs have none.

    Raises:
        GateError: a file is missing or has changed.
        DataError: the digests cannot be read.
    """
    path = folder / SEAL_FILE
    if not path.exists():
        return
    with reading(path, "list of digests", hint="restore it from a copy"):
        digests = json.loads(path.read_text("utf-8"))["files"]
        damage = describe_changes(
            folder, {name: digests[name] for name in _SEALED}, since="the training"
        )
    if damage:
        raise GateError(
            f"the trained model in '{folder}' is damaged: {'; '.join(damage)}",
            hint="restore the files from a copy; if you changed your own model yourself, predict, "
            "evaluate and explain load it with --trust",
        )


def load_description(folder: Path) -> Description:
    """Return the description in ``folder``, without loading the model.

    Raises:
        DataError: there is none, or its format version is not supported.
    """
    path = folder / DESCRIPTION_FILE
    with reading(path, "description of the model", hint=_NO_MODEL_HINT):
        document = dict(json.loads(path.read_text(encoding="utf-8")))
    if document.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"'{path}' has format version {document.get('format_version')}; this version of tltool "
            f"reads {FORMAT_VERSION}",
            hint="use the version of tltool that wrote it, or upgrade",
        )
    with reading(path, "description of the model", hint=_NO_MODEL_HINT):
        return Description.from_json(document)


_NO_MODEL_HINT = "give the folder of a finished run, or restore the file from a copy"


def load_artifact(folder: Path, *, trust: bool = False) -> Artifact:
    """Return the trained model in ``folder``. No code from its files is run.

    Args:
        folder: of the run.
        trust: do not compare its files with their digests; for a model of one's own.

    Raises:
        DataError: there is no trained model, or its file is damaged.
        GateError: a file has changed since the training.
    """
    if not trust:
        check_artifact_seal(folder)
    description = load_description(folder)
    path = folder / MODEL_FILE
    with reading(path, "model file", hint="train again, or restore the file from a copy"):
        model = load_model_file(path)
        _check_fits(model, description)
    with reading(folder / DESCRIPTION_FILE, "description of the model", hint=_NO_MODEL_HINT):
        backbone = description.find_backbone()
    network = Network(model, backbone, description.head)
    return Artifact(network, description, read_calibration(folder / CALIBRATION_FILE))


def _check_fits(model: Any, description: Description) -> None:
    spec, classes = description.decode, len(description.class_names)
    images, logits = (None, spec.height, spec.width, 3), (None, classes)
    if (model.input_shape, model.output_shape) != (images, logits):
        raise ValueError(
            f"it maps {model.input_shape} to {model.output_shape}, not to {classes} classes"
        )


def read_calibration(path: Path) -> Calibration:
    """Return the calibration in ``path``; an empty one if an older model has no such file.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return Calibration()
    with reading(path, "calibration", hint="train or export again, or restore it from a copy"):
        return Calibration.from_file(path)
