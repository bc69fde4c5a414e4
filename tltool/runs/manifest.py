"""manifest.json: what a run was made of, so that another can be compared with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool.errors import DataError
from tltool.runs.durable import write_durably
from tltool.runs.json_text import from_json, to_json

FORMAT = 1
_DIGEST = "manifest_digest"


def write_manifest(path: Path, facts: Mapping[str, Any]) -> None:
    """Write ``facts`` with a digest of themselves, whole or not at all."""
    document = {"format": FORMAT, **facts}
    document[_DIGEST] = _digest(document)
    write_durably(path, f"{to_json(document)}\n".encode())


def read_manifest(path: Path) -> dict[str, Any]:
    """Return what ``write_manifest`` wrote.

    Raises:
        DataError: there is none, it was changed by hand, or it is of a later tltool.
    """
    try:
        return parse_manifest(path.read_bytes(), told=str(path))
    except OSError as error:
        raise DataError(
            f"'{path.parent}' holds no run: {path.name} cannot be read ({error.strerror})",
            hint="give the folder of a run; `tltool runs list` names them",
        ) from None


def parse_manifest(data: bytes, *, told: str) -> dict[str, Any]:
    """Return the manifest in ``data``, which was read from ``told``.

    Raises:
        DataError: it was changed by hand, or it is of a later tltool.
    """
    try:
        document = dict(from_json(data))
    except (ValueError, TypeError):
        raise DataError(
            f"'{told}' is no manifest of a run", hint="restore it from a copy"
        ) from None
    if document.get("format") != FORMAT:
        raise DataError(
            f"'{told}' is of format {document.get('format')}, this tltool reads {FORMAT}",
            hint=f"use the tltool that wrote it ({_writer(document)})",
        )
    digest = document.pop(_DIGEST, None)
    if digest != _digest(document):
        raise DataError(
            f"'{told}' was changed after the run wrote it: its digest does not fit",
            hint="restore the file; what it says can no longer be trusted",
        )
    document.pop("format")
    return document


def _writer(document: Mapping[str, Any]) -> str:
    versions = document.get("versions")
    found = versions.get("tltool") if isinstance(versions, dict) else None
    return f"version {found}" if found else "a later version"


def _digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
