"""The export formats: SavedModel, LiteRT, ONNX, OpenVINO, Keras. No framework is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from tltool.errors import EnvironmentProblem, UsageError, did_you_mean
from tltool.export.versions import versions
from tltool.runs.install_hint import install_hint

Runtime = Literal["saved_model", "litert", "onnx", "openvino", "keras"]


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
        "openvino",
        "model.xml",
        "openvino",
        "OpenVINO IR, float32, for processors of Intel; the weights are in model.bin",
        1e-3,
        False,
        1e-3,
        ("openvino",),
        "openvino",
    ),
    ExportFormat(
        "keras",
        "model.keras",
        "keras",
        "one Keras file of built-in layers, which Keras 3.6 and later load without tltool",
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


def other_format(folder: Path) -> ExportFormat | None:
    """Return the format of an export that contains no SavedModel; None for any other folder.

    Args:
        folder: of the versions, or one version.
    """
    folders = [folder, *(folder / str(number) for number in versions(folder))]
    names = {path.name for one in folders for path in one.iterdir()}
    if FORMATS["saved_model"].file in names:
        return None
    return next((one for one in FORMATS.values() if one.file in names), None)


def saved_model_beside(folder: Path, found: ExportFormat) -> str:
    """Return how to get the SavedModel of an export to the format ``found``, for a hint.

    Args:
        folder: as for ``other_format``.
        found: its result.
    """
    base = folder.parent if folder.name.isdecimal() else folder
    suffixes = [f"-{one.name}" for one in FORMATS.values() if one.file == found.file]
    names = [base.name.removesuffix(one) for one in suffixes if base.name.endswith(one)]
    for sibling in (base.with_name(name) for name in names if name):
        if any(
            (sibling / str(n) / FORMATS["saved_model"].file).is_file() for n in versions(sibling)
        ):
            return f"give the SavedModel: {sibling}"
    return "give the folder of the SavedModel, or create one: tltool export RUN"


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
                hint=install_hint(one.extra),
            )
