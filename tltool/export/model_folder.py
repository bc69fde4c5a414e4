"""What a folder holds: a trained run, or an export. No framework is imported here."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tltool.errors import DataError, UsageError
from tltool.export.export_formats import FORMATS
from tltool.export.seal import MAY_BE_ABSENT, SEAL_FILE
from tltool.export.versions import versions
from tltool.runs.digests import file_digest
from tltool.runs.json_text import from_json
from tltool.runs.layout import CALIBRATION_FILE, DESCRIPTION_FILE, MODEL_FILE, is_artifact

SAVED_MODEL_FILE = FORMATS["saved_model"].file
CLASS_NAMES_ASSET = "class_names.json"
METADATA_ASSET = "metadata.json"
_DIGEST_LENGTH = 12  # hexadecimal digits


def version_folder(path: Path) -> Path | None:
    """Return the SavedModel at ``path``: itself or its newest version; ``None`` without one."""
    if (path / SAVED_MODEL_FILE).is_file():
        return path
    complete = [n for n in versions(path) if (path / str(n) / SAVED_MODEL_FILE).is_file()]
    return path / str(complete[-1]) if complete else None


def keras_export(folder: Path) -> Path | None:
    """Return the version folder of a Keras export: ``folder`` itself or its newest version."""
    candidates = [folder, *(folder / str(number) for number in reversed(versions(folder)))]
    return next((one for one in candidates if (one / MODEL_FILE).is_file()), None)


def is_export(folder: Path) -> bool:
    """Return whether a folder holds an export of any format."""
    if not folder.is_dir():
        return False
    candidates = [folder, *(folder / str(number) for number in versions(folder))]
    return version_folder(folder) is not None or any(
        (one / "assets" / METADATA_ASSET).is_file() for one in candidates
    )


def class_names_of(path: Path) -> tuple[str, ...] | None:
    """Return the class names of a run or an export, in the order of the probabilities.

    Args:
        path: the folder of a run, an export or one of its versions, or the file of its model.

    Returns:
        None where they cannot be read: loading the model says why.
    """
    folder = path if path.is_dir() else path.parent
    if is_artifact(folder):
        names = _document(folder / DESCRIPTION_FILE, "class_names")
    else:
        export = version_folder(folder) or keras_export(folder)
        names = _document(export / "assets" / CLASS_NAMES_ASSET) if export else None
    valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if valid else None


def model_digest(path: Path) -> str:
    """Return a short SHA-256, in hex, of the files that determine the predictions of a model.

    Args:
        path: the folder of a run, of an export or of one of its versions.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in _model_files(path):
        digest.update(bytes.fromhex(file_digest(file)))
    return digest.hexdigest()[:_DIGEST_LENGTH]


def _model_files(path: Path) -> list[Path]:
    if is_artifact(path):
        files = [path / name for name in (MODEL_FILE, DESCRIPTION_FILE, CALIBRATION_FILE)]
        return [one for one in files if one.is_file()]
    folder = version_folder(path) or path
    files = [folder / SAVED_MODEL_FILE, *folder.glob("variables/*"), *folder.glob("assets/*")]
    return sorted(one for one in files if str(one.relative_to(folder)) not in MAY_BE_ABSENT)


def exportable_run(path: Path) -> Path:
    """Return the folder of a run to export: ``path`` itself, or the folder of its model file.

    Raises:
        UsageError: ``path`` does not exist.
        DataError: it is no run with a trained model.
    """
    if not path.exists():
        raise UsageError(
            f"there is no run '{path}'",
            hint="give the folder of a run; `tltool runs list` shows them",
        )
    run = path.parent if path.name == MODEL_FILE else path
    if is_artifact(run):
        return run
    if version_folder(path) is not None:
        raise DataError(
            f"'{path}' is an export; other formats are exported from its run",
            hint="give the folder of the run; `tltool runs list` shows them",
        )
    raise DataError(
        f"'{path}' contains no trained model",
        hint="give the folder of a finished run; `tltool runs resume RUN` finishes one",
    )


def sealed_folder(path: Path) -> Path:
    """Return the version folder at ``path``: ``path`` itself or its newest version.

    Raises:
        UsageError: ``path`` does not exist.
        DataError: it contains no export.
    """
    if not path.exists():
        raise UsageError(f"there is no export '{path}'", hint="ls saved_models/ lists the exports")
    if (path / SEAL_FILE).is_file() or any((path / one.file).is_file() for one in FORMATS.values()):
        return path
    numbers = versions(path)
    if not numbers:
        raise DataError(
            f"'{path}' contains no export: it has no version folder",
            hint="give saved_models/NAME or saved_models/NAME/VERSION",
        )
    return path / str(numbers[-1])


def _document(path: Path, key: str | None = None) -> Any:
    """Return a JSON document, or one of its fields; None where it cannot be read."""
    try:
        document = from_json(path.read_text(encoding="utf-8"))
        return document if key is None else document[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None
