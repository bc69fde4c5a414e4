"""The cache of sources that were extracted, converted or downloaded to image files.

A copy is a folder of images, named after its source and a digest of the content. It can be deleted
at any time and is created again when needed, also when files are missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import platformdirs

from tltool.errors import DataError, EnvironmentProblem

_PARTIAL = ".partial-"
_STALE_SECONDS = 24 * 3600.0
_FILES = "files"
_RECORD = "complete.json"


def cache_folder() -> Path:
    """Return the folder of the copies: ``TLTOOL_DATA_DIR``, by default in the user's cache."""
    configured = os.environ.get("TLTOOL_DATA_DIR")
    return Path(configured) if configured else Path(platformdirs.user_cache_dir("tltool")) / "data"


def cached_copy(cache: Path, name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return a cached folder; ``make`` fills it if it is missing or incomplete.

    Args:
        cache: folder of all copies.
        name: a readable prefix of the folder's name.
        key: identifies the content; the same key means the same files.
        make: fills an empty folder. The result is moved into place atomically.

    Raises:
        EnvironmentProblem: the cache cannot be written or the disk is full.
    """
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:16]
    target = cache / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:80]}-{digest}"
    if _is_complete(target):
        return target / _FILES
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(cache)
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=cache) as partial:
            (Path(partial) / _FILES).mkdir()
            make(Path(partial) / _FILES)
            record = json.dumps(_count_files(Path(partial) / _FILES))
            (Path(partial) / _RECORD).write_text(record, encoding="utf-8")
            _move(Path(partial), target)
    except OSError as error:
        raise EnvironmentProblem(
            f"no copy of {name} can be written to {cache}: {error.strerror or error}",
            hint="free some disk space, or set TLTOOL_DATA_DIR to another folder",
        ) from None
    return target / _FILES


def content_key(path: Path) -> str:
    """Return a SHA-256 (hex) of a file's bytes.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _is_complete(target: Path) -> bool:
    try:
        record = json.loads((target / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(record == _count_files(target / _FILES))


def _count_files(folder: Path) -> dict[str, int]:
    """Return number and bytes of the files below ``folder``, to detect missing or cut files."""
    count, size = 0, 0
    for place, _, names in os.walk(folder):
        for name in names:
            count += 1
            size += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118  (42,000 files)
    return {"files": count, "bytes": size}


def _move(partial: Path, target: Path) -> None:
    """Rename a finished copy to ``target``, unless another process has just done so."""
    moved = partial / "moved"
    moved.mkdir()
    for part in (_FILES, _RECORD):
        (partial / part).rename(moved / part)
    try:
        moved.rename(target)
    except OSError:
        if _is_complete(target):
            return
        shutil.rmtree(target)
        moved.rename(target)


def _remove_leftovers(cache: Path) -> None:
    # copies interrupted by kill -9 are removed by a later call, after a day
    for leftover in cache.glob(f"{_PARTIAL}*"):
        with suppress(OSError):  # another process may have just renamed it
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
