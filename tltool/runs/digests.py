"""Digests of files: they show whether a file was changed or damaged since it was written."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest, in hex, of a file's bytes.

    Args:
        path: the file.
        algorithm: as `hashlib.new` takes it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, partial(hashlib.new, algorithm, usedforsecurity=False))
        return digest.hexdigest()


def size_and_digest(path: Path) -> dict[str, Any]:
    """Return the size in ``bytes`` and the ``sha256``, in hex, of a file.

    Raises:
        OSError: it cannot be read.
    """
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def describe_changes(
    folder: Path, digests: Mapping[str, Any], *, since: str, optional: Collection[str] = ()
) -> list[str]:
    """Return a phrase for each file of ``digests`` that is missing or has changed.

    Args:
        folder: of the files.
        digests: name to ``size_and_digest``.
        since: when the digests were written, as in "the export".
        optional: names of files that may be missing.

    Examples:
        >>> describe_changes(folder, {"model.keras": size_and_digest(model)}, since="the export")
        ['model.keras has changed since the export (SHA-256 differs)']
    """
    present = {name for name in digests if (folder / name).is_file()}
    missing = [f"{name} is missing" for name in digests if name not in present | {*optional}]
    changed = [name for name in digests if name in present]
    return missing + [
        f"{name} has changed since {since} (SHA-256 differs)"
        for name in changed
        if size_and_digest(folder / name) != digests[name]
    ]
