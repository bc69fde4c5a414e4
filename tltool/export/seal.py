"""The seal of an export: the SHA-256 of each of its files, so that damage is found and named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool.errors import DataError, GateError

SEAL_FILE = Path("assets.extra") / "manifest.json"
FORMAT_VERSION = 1
MAY_BE_ABSENT = frozenset({"assets/golden.npz"})  # it holds images, which not everyone may hand on


def write_seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``facts`` and the digests of all files of ``folder`` into it.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / SEAL_FILE
    path.parent.mkdir(exist_ok=True)
    files = {name: _digest(folder / name) for name in _files(folder)}
    document = {"format_version": FORMAT_VERSION, **facts, "files": files}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_seal(folder: Path) -> dict[str, Any]:
    """Return what ``write_seal`` wrote, without looking at the files.

    Raises:
        DataError: there is none.
        GateError: it is damaged.
    """
    path = folder / SEAL_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        known = document["format_version"] == FORMAT_VERSION and bool(document["files"])
    except OSError:
        raise DataError(
            f"'{folder}' cannot be checked: it has no {SEAL_FILE}",
            hint="exports carry one; export the run again with `tltool export RUN`",
        ) from None
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise GateError(f"the export '{folder}' is damaged: {SEAL_FILE} cannot be read")
    return dict(document)


def check_seal(folder: Path) -> dict[str, Any]:
    """Return the seal's document when every file is there as it was sealed.

    The golden set may be absent.

    Raises:
        DataError: the folder has no seal.
        GateError: files are missing, changed, or were added; they are named.
    """
    document = read_seal(folder)
    files: Mapping[str, Mapping[str, Any]] = document["files"]
    present = set(_files(folder))
    missing = files.keys() - present - MAY_BE_ABSENT
    wrong = [f"{name} is missing" for name in files if name in missing]
    wrong += [
        f"{name} is not as it was exported (SHA-256 differs)"
        for name, digest in files.items()
        if name in present and _digest(folder / name) != digest
    ]
    wrong += [f"{name} was added" for name in sorted(present - set(files))]
    if wrong:
        raise GateError(
            f"the export '{folder}' is damaged: {'; '.join(wrong)}",
            hint="restore it from a copy, or export the run again",
        )
    return document


def _files(folder: Path) -> list[str]:
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if name != SEAL_FILE)


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {
            "bytes": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }
