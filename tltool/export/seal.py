"""The seal of an export: a manifest with the SHA-256 of each file, which detects damage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool.errors import DataError, GateError, one_line
from tltool.runs.digests import describe_changes, size_and_digest
from tltool.runs.json_text import from_json

SEAL_FILE = Path("assets.extra") / "manifest.json"
FORMAT_VERSION = 1
# it contains images, which not everyone may pass on
MAY_BE_ABSENT = frozenset({"assets/golden.npz"})


def write_seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the seal of ``folder``: ``facts`` and the digests of all files.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / SEAL_FILE
    path.parent.mkdir(exist_ok=True)
    files = {name: size_and_digest(folder / name) for name in _files(folder)}
    document = {"format_version": FORMAT_VERSION, **facts, "files": files}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_seal(folder: Path) -> dict[str, Any]:
    """Return the content of the seal, without checking the files.

    Raises:
        DataError: the folder has no seal.
        GateError: the seal is damaged.
    """
    path = folder / SEAL_FILE
    try:
        document = from_json(path.read_text(encoding="utf-8"))
        readable = document["format_version"] == FORMAT_VERSION and _are_digests(document["files"])
    except OSError:
        raise DataError(
            f"'{folder}' cannot be verified: it has no {SEAL_FILE}",
            hint="export the run again with `tltool export RUN`",
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        readable = False
    if not readable:
        raise GateError(f"the export '{folder}' is damaged: {SEAL_FILE} cannot be read")
    return dict(document)


def check_seal(folder: Path) -> dict[str, Any]:
    """Compare every file with the seal and return the content of the seal.

    The golden set may be absent.

    Raises:
        DataError: the folder has no seal.
        GateError: files are missing, changed or added; the message lists them.
    """
    document = read_seal(folder)
    files: Mapping[str, Mapping[str, Any]] = document["files"]
    damage = describe_changes(folder, files, since="the export", optional=MAY_BE_ABSENT)
    damage += [f"{one_line(name)} was added" for name in _files(folder) if name not in files]
    if damage:
        raise GateError(
            f"the export '{folder}' is damaged: {'; '.join(damage)}",
            hint="restore it from a copy, or export the run again",
        )
    return document


def _files(folder: Path) -> list[str]:
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        name.as_posix() for name in names if name != SEAL_FILE and not _is_of_system(name)
    )


def _is_of_system(name: Path) -> bool:
    """Whether the file managers of macOS and Windows write such files; no runtime reads them."""
    return name.name.startswith(("._", ".DS_Store")) or name.name in ("Thumbs.db", "desktop.ini")


def _are_digests(files: Any) -> bool:
    if not isinstance(files, dict) or not files:
        return False
    inside = all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in files)
    return inside and all(isinstance(digest, dict) for digest in files.values())
