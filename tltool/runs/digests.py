"""Digests of files: they show whether a file was changed or damaged since it was written."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> dict[str, Any]:
    """Return the size in ``bytes`` and the ``sha256``, in hex, of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return {
            "bytes": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def describe_changes(
    folder: Path, digests: Mapping[str, Any], *, since: str, optional: Collection[str] = ()
) -> list[str]:
    """Return a phrase for each file of ``digests`` that is missing or has changed.

    Args:
        folder: of the files.
        digests: name to ``file_digest``.
        since: when the digests were written, as in "the export".
        optional: names of files that may be missing.

    Example:
        >>> describe_changes(folder, {"model.keras": file_digest(model)}, since="the export")
        ['model.keras has changed since the export (SHA-256 differs)']
    """
    present = {name for name in digests if (folder / name).is_file()}
    missing = [f"{name} is missing" for name in digests if name not in present | {*optional}]
    changed = [name for name in digests if name in present]
    return missing + [
        f"{name} has changed since {since} (SHA-256 differs)"
        for name in changed
        if file_digest(folder / name) != digests[name]
    ]
