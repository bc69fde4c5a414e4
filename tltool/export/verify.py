"""Prove an export that exists once more, from what travels inside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tltool.data.decoding.decode import decode_batch
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import DataError, GateError, UsageError
from tltool.export.acceptance import differences
from tltool.export.export_formats import FORMATS, check_installed
from tltool.export.fresh_process import FreshProcess
from tltool.export.golden import GOLDEN_ASSET, read_golden
from tltool.export.saved_model import DECODE_ASSET
from tltool.export.seal import SEAL_FILE, check_seal
from tltool.export.versions import versions


def sealed_folder(path: Path) -> Path:
    """Return the version folder that ``path`` names: itself, or its newest version.

    Raises:
        UsageError: there is nothing at ``path``.
        DataError: it holds no export.
    """
    if not path.exists():
        raise UsageError(f"there is no export '{path}'", hint="ls saved_models/ shows the exports")
    if (path / SEAL_FILE).is_file() or any((path / one.file).is_file() for one in FORMATS.values()):
        return path
    numbers = versions(path)
    if not numbers:
        raise DataError(
            f"'{path}' holds no export: no version folder is in it",
            hint="give saved_models/NAME or saved_models/NAME/VERSION",
        )
    return path / str(numbers[-1])


def check_export(path: Path) -> dict[str, Any]:
    """Compare every file with its digest, and the answers with those that travel along.

    Args:
        path: a version folder, or the folder of the versions: then the newest.

    Returns:
        A JSON-ready dictionary of what was found; ``n`` is 0 where the golden set was taken out,
        so that only the files could be compared.

    Raises:
        UsageError, DataError: there is no export, or one without a seal.
        GateError: a file is damaged, which is named, or the answers differ.
        EnvironmentProblem: its runtime is not installed.
    """
    folder = sealed_folder(path)
    seal = check_seal(folder)
    known = FORMATS.get(seal.get("format", ""))
    if known is None:
        raise DataError(f"'{folder}' is of the format {seal.get('format')}, which is not known")
    about: dict[str, Any] = {"path": str(folder), "format": known.name, "files": len(seal["files"])}
    if not (folder / "assets" / GOLDEN_ASSET).is_file():
        return {**about, "files": about["files"] - 1, "n": 0, "max_difference": None}
    check_installed([known])
    worst, n = _answers_differ_by(folder, known.runtime, known.file)
    if not worst <= known.check_tolerance:
        raise GateError(
            f"the export '{folder}' does not answer as it did: over its {n} golden images a "
            f"probability differs by {worst:.2g}, allowed is {known.check_tolerance:g}",
            hint="its files are whole; another version of the runtime may be the reason",
        )
    return {**about, "n": n, "max_difference": worst, "tolerance": known.check_tolerance}


def _answers_differ_by(folder: Path, runtime: Any, file: str) -> tuple[float, int]:
    with FreshProcess(runtime) as child:
        golden = read_golden(folder)
        document = json.loads((folder / "assets" / DECODE_ASSET).read_text(encoding="utf-8"))
        decoded, ok = decode_batch(
            tf.constant(list(golden.images), tf.string), DecodeSpec.from_json(document)
        )
        if not np.asarray(ok).all():
            raise GateError(f"the golden images of '{folder}' cannot be decoded")
        served = runtime == "saved_model"
        answers = child.ask(
            folder if served else folder / file,
            arrays=np.asarray(decoded),
            images=golden.images if served else (),
        )
    return max(differences(answers, golden.probabilities).values()), len(golden.images)
