"""Copies of sources that are no folders of images: made once, kept in the user's cache.

A copy is a folder of images that is named after its source and a digest of what it was made from.
It can be deleted at any time and is made anew when it is needed; so is one that lost files.
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
    """Return where copies are kept: ``TLTOOL_DATA_DIR``, else in the user's cache."""
    chosen = os.environ.get("TLTOOL_DATA_DIR")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("tltool")) / "data"


def kept(cache: Path, name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder that ``make`` filled, now or earlier.

    Args:
        cache: folder of all copies.
        name: what a person recognises it by.
        key: says what it is made from; the same key means the same files.
        make: fills an empty folder. A crash at any moment leaves either nothing or all of it.

    Raises:
        EnvironmentProblem: the cache cannot be written or the disk is full.
    """
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:16]
    target = cache / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:80]}-{digest}"
    if _is_whole(target):
        return target / _FILES
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=cache) as partial:
            (Path(partial) / _FILES).mkdir()
            make(Path(partial) / _FILES)
            record = json.dumps(_measured(Path(partial) / _FILES))
            (Path(partial) / _RECORD).write_text(record, encoding="utf-8")
            _move(Path(partial), target)
    except OSError as error:
        raise EnvironmentProblem(
            f"no copy of {name} can be made in {cache}: {error.strerror or error}",
            hint="free some space there, or set TLTOOL_DATA_DIR to another folder",
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


def _is_whole(target: Path) -> bool:
    try:
        record = json.loads((target / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(record == _measured(target / _FILES))


def _measured(folder: Path) -> dict[str, int]:
    """Return count and bytes of the files below ``folder``: what a deleted or cut file changes."""
    count, size = 0, 0
    for place, _, names in os.walk(folder):
        for name in names:
            count += 1
            size += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118  (42,000 files)
    return {"files": count, "bytes": size}


def _move(partial: Path, target: Path) -> None:
    """Give a finished copy its name, unless another process was faster."""
    moved = partial / "moved"
    moved.mkdir()
    for part in (_FILES, _RECORD):
        (partial / part).rename(moved / part)
    try:
        moved.rename(target)
    except OSError:
        if _is_whole(target):
            return
        shutil.rmtree(target)
        moved.rename(target)


def _sweep(cache: Path) -> None:
    # a kill -9 cannot clean up after itself: the next copy does, a day later
    for leftover in cache.glob(f"{_PARTIAL}*"):
        with suppress(OSError):  # another process may have just finished it
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
