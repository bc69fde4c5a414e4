"""Load a SavedModel, after its files and its operations were checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from tltool.errors import DataError
from tltool.export.model_folder import METADATA_ASSET
from tltool.export.operation_checks import TRUST_HINT, check_operations
from tltool.export.seal import SEAL_FILE, check_seal


def load_saved_model(folder: Path, *, trust: bool = False) -> Any:
    """Return the SavedModel in ``folder``, after ``check_saved_model``.

    Args:
        folder: of the SavedModel.
        trust: omit the checks; for a model of one's own.

    Raises:
        DataError: it is damaged, has operations that are not allowed, or lost its seal.
        GateError: a file has changed since the export.

    Examples:
        >>> loaded = load_saved_model(Path("saved_models/flowers/1"))
        >>> loaded.signatures["serving_default"]
    """
    if not trust:
        check_saved_model(folder)
    try:
        return tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises errors of any type on damaged files
        raise DataError(
            f"the SavedModel '{folder}' is damaged and cannot be loaded",
            hint="export it again, or restore the folder from a copy",
        ) from error


def check_saved_model(folder: Path) -> bool:
    """Check the digests of all files, and that the graph only computes.

    Returns:
        Whether the model has digests; one that tltool did not export may have none.

    Raises:
        DataError, GateError: see ``load_saved_model``.
    """
    sealed = check_export_seal(folder)
    check_operations(folder)
    return sealed


def check_export_seal(folder: Path) -> bool:
    """Check the digests of all files of an export of any format; return whether it has digests.

    Raises:
        DataError: tltool wrote the export, and its digests were removed.
        GateError: a file has changed since the export.
    """
    if (folder / SEAL_FILE).is_file():
        check_seal(folder)
        return True
    if (folder / "assets" / METADATA_ASSET).is_file():
        raise DataError(
            f"the export '{folder}' cannot be verified: its {SEAL_FILE} is missing",
            hint=f"restore it from a copy, or export the run again; {TRUST_HINT}",
        )
    return False
