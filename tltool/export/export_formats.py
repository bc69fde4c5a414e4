"""The formats that a model can be exported to. No framework is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
from typing import Literal

from tltool.errors import EnvironmentProblem, UsageError, did_you_mean

Runtime = Literal["saved_model", "litert", "onnx", "keras"]


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One format, and what an export of it must live up to.

    Attributes:
        name: as the user types it.
        file: of the model, inside the version folder.
        runtime: what runs it in the fresh process.
        summary: one line.
        tolerance: largest difference allowed of a probability; None where only the drop in
            accuracy decides.
        same_class: whether every image must keep its class.
        check_tolerance: largest difference from its own earlier answers, on another machine too.
        modules: what must be importable to make it and to run it.
        extra: of tltool, that brings ``modules``.
    """

    name: str
    file: str
    runtime: Runtime
    summary: str
    tolerance: float | None
    same_class: bool
    check_tolerance: float
    modules: tuple[str, ...] = ()
    extra: str = ""

    def folder(self, model_name: str) -> str:
        """Return the name of the folder that holds this format's versions."""
        return model_name if self.name == "saved_model" else f"{model_name}-{self.name}"


_LITERT = ("ai_edge_litert",)
_ONNX = ("onnx", "onnxruntime", "tf2onnx")
_ALL = (
    ExportFormat(
        "saved_model",
        "saved_model.pb",
        "saved_model",
        "TensorFlow SavedModel: image bytes in, for TensorFlow Serving and TensorFlow",
        1e-5,
        True,
        1e-5,
    ),
    ExportFormat(
        "litert",
        "model.tflite",
        "litert",
        "LiteRT (TensorFlow Lite), float32, for phones and small boards",
        1e-3,
        False,
        1e-3,
        _LITERT,
        "litert",
    ),
    ExportFormat(
        "litert-fp16",
        "model.tflite",
        "litert",
        "LiteRT with float16 weights: half the bytes",
        1e-2,
        False,
        1e-2,
        _LITERT,
        "litert",
    ),
    ExportFormat(
        "litert-int8",
        "model.tflite",
        "litert",
        "LiteRT in 8-bit integers throughout, calibrated on training images: a quarter",
        None,
        False,
        5e-2,
        _LITERT,
        "litert",
    ),
    ExportFormat(
        "onnx",
        "model.onnx",
        "onnx",
        "ONNX, float32, for ONNX Runtime, OpenVINO and others",
        1e-3,
        False,
        1e-3,
        _ONNX,
        "onnx",
    ),
    ExportFormat(
        "keras",
        "model.keras",
        "keras",
        "one Keras file of built-in layers, which loads without tltool",
        1e-5,
        True,
        1e-5,
    ),
)
FORMATS = MappingProxyType({known.name: known for known in _ALL})


def chosen_formats(names: str) -> tuple[ExportFormat, ...]:
    """Return the formats that a comma-separated list names, each once.

    Raises:
        UsageError: one is unknown, or there is none.
        EnvironmentProblem: what one needs is not installed.
    """
    wanted = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown:
        raise UsageError(
            f"there is no export format '{unknown[0]}'.{did_you_mean(unknown[0], FORMATS)}",
            hint=f"the formats are {', '.join(FORMATS)}",
        )
    if not wanted:
        raise UsageError("no export format is named", hint=f"give some of {', '.join(FORMATS)}")
    formats = tuple(FORMATS[name] for name in wanted)
    check_installed(formats)
    return formats


def check_installed(formats: Sequence[ExportFormat]) -> None:
    """Refuse formats whose converter or runtime is not installed.

    Raises:
        EnvironmentProblem: names the package and the extra.
    """
    for known in formats:
        missing = [name for name in known.modules if find_spec(name) is None]
        if missing:
            raise EnvironmentProblem(
                f"the format {known.name} needs {' and '.join(missing)}, which is not installed",
                hint=f"pip install 'tltool[{known.extra}]'",
            )
