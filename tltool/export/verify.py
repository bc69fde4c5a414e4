"""Verify an existing export: its file digests and its predictions on the golden set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tltool.data.decoding.decode import decode_batch
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import DataError, GateError, reading
from tltool.export.acceptance import differences
from tltool.export.export_formats import FORMATS, ExportFormat, check_installed
from tltool.export.fresh_process import FreshProcess
from tltool.export.golden import GOLDEN_ASSET, read_golden
from tltool.export.model_folder import sealed_folder
from tltool.export.operation_checks import check_operations
from tltool.export.saved_model import DECODE_ASSET
from tltool.export.seal import check_seal
from tltool.models.model_file import check_model_file


def verify_export(path: Path) -> dict[str, Any]:
    """Compare every file with its digest, and the predictions with those of the golden set.

    Args:
        path: a version folder, or the folder of the versions: then the newest.

    Returns:
        A JSON-ready dictionary; ``n`` is 0 if the golden set was removed, so that only the files
        were compared.

    Raises:
        UsageError, DataError: there is no export, or it has no manifest.
        GateError: a file is damaged, or the predictions differ.
        EnvironmentProblem: its runtime is not installed.
    """
    folder = sealed_folder(path)
    seal = check_seal(folder)
    export_format = FORMATS.get(seal.get("format", ""))
    if export_format is None:
        raise DataError(f"'{folder}' has the unknown format {seal.get('format')}")
    summary: dict[str, Any] = {
        "path": str(folder),
        "format": export_format.name,
        "files": len(seal["files"]),
    }
    if not (folder / "assets" / GOLDEN_ASSET).is_file():
        return {**summary, "files": summary["files"] - 1, "n": 0, "max_difference": None}
    check_installed([export_format])
    _check_program(folder, export_format)
    largest, n = _golden_difference(folder, export_format)
    tolerance = export_format.check_tolerance
    if not largest <= tolerance:
        raise GateError(
            f"the predictions of the export '{folder}' have changed: on its {n} golden images a "
            f"probability differs by {largest:.2g}, allowed is {tolerance:g}",
            hint="its files are intact; another version of the runtime may be the reason",
        )
    return {**summary, "n": n, "max_difference": largest, "tolerance": tolerance}


def _check_program(folder: Path, export_format: ExportFormat) -> None:
    """Check that an export of TensorFlow or Keras only computes, before it is loaded."""
    if export_format.runtime == "saved_model":
        check_operations(folder)
    if export_format.runtime == "keras":
        path = folder / export_format.file
        with reading(path, "model file", hint="export the run again"):
            check_model_file(path)


def _golden_difference(folder: Path, export_format: ExportFormat) -> tuple[float, int]:
    """Return the largest difference of a probability on the golden set, and its size."""
    with FreshProcess(export_format.runtime) as child:
        golden = read_golden(folder)
        path = folder / "assets" / DECODE_ASSET
        with reading(path, "decode specification"):
            spec = DecodeSpec.from_json(json.loads(path.read_text(encoding="utf-8")))
        decoded, ok = decode_batch(tf.constant(list(golden.images), tf.string), spec)
        if not np.asarray(ok).all():
            raise GateError(f"the golden images of '{folder}' cannot be decoded")
        is_saved_model = export_format.runtime == "saved_model"
        outputs = child.run(
            folder if is_saved_model else folder / export_format.file,
            arrays=np.asarray(decoded),
            images=golden.images if is_saved_model else (),
        )
    return max(differences(outputs, golden.probabilities).values()), len(golden.images)
