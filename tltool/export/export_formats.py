"""The export formats: SavedModel, LiteRT, ONNX, Keras. No framework is imported here."""

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
    """One export format and its acceptance limits.

    Attributes:
        name: value of ``--format``.
        file: of the model, inside the version folder.
        runtime: runs it in the fresh process.
        summary: one line.
        tolerance: largest difference of a probability allowed; None if only the drop in accuracy
            decides.
        same_class: whether every image must keep its top-1 class.
        check_tolerance: largest difference from its own earlier probabilities, on any machine.
        modules: must be importable to write and to run it.
        extra: of tltool, which installs ``modules``.
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
        "LiteRT (TensorFlow Lite), float32, for phones and single-board computers",
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
        "LiteRT in 8-bit integers, calibrated on training images: a quarter of the bytes",
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
FORMATS = MappingProxyType({one.name: one for one in _ALL})


def parse_formats(names: str) -> tuple[ExportFormat, ...]:
    """Return the formats of a comma-separated list, without duplicates.

    Raises:
        UsageError: a name is unknown, or the list is empty.
        EnvironmentProblem: a package that a format needs is not installed.
    """
    requested = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in requested if name not in FORMATS]
    if unknown:
        raise UsageError(
            f"there is no export format '{unknown[0]}'.{did_you_mean(unknown[0], FORMATS)}",
            hint=f"the formats are {', '.join(FORMATS)}",
        )
    if not requested:
        raise UsageError("no export format given", hint=f"the formats are {', '.join(FORMATS)}")
    formats = tuple(FORMATS[name] for name in requested)
    check_installed(formats)
    return formats


def check_installed(formats: Sequence[ExportFormat]) -> None:
    """Check that the converters and runtimes of ``formats`` are installed.

    Raises:
        EnvironmentProblem: one is missing; the message names the package and the extra.
    """
    for one in formats:
        missing = [name for name in one.modules if find_spec(name) is None]
        if missing:
            raise EnvironmentProblem(
                f"the format {one.name} needs {' and '.join(missing)}, which is not installed",
                hint=f"pip install 'tltool[{one.extra}]'",
            )
