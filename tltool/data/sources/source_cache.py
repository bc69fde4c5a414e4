"""The cache of sources that were extracted, converted or downloaded to image files.

A copy is a folder of images, named after its source and a digest of the content. It can be deleted
at any time and is created again when needed, also when files are missing or damaged.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tltool.data.decoding.image_file import check_regular
from tltool.errors import DataError, EnvironmentProblem
from tltool.runs.digests import file_digest
from tltool.runs.user_cache import user_cache
from tltool.storage.durable import write_durably

_PARTIAL = ".partial-"
_STALE_SECONDS = 24 * 3600.0
_FILES = "files"
_RECORD = "complete.json"
_CHUNK = 2**20
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def cache_folder() -> Path:
    """Return the folder of the copies: ``TLTOOL_DATA_DIR``, by default in the user's cache."""
    return user_cache("data", variable="TLTOOL_DATA_DIR")


def cached_copy(cache: Path, name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return a cached folder; ``make`` fills it if it is missing or incomplete.

    Args:
        cache: folder of all copies.
        name: a readable prefix of the folder's name.
        key: identifies the content; the same key means the same files.
        make: fills an empty folder. The result is moved into place atomically, with the files that
            ``make`` writes next to the folder.

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
            record = json.dumps(_contents(Path(partial) / _FILES))
            write_durably(Path(partial) / _RECORD, record.encode())
            _move(Path(partial), target)
    except OSError as error:
        raise EnvironmentProblem(
            f"no copy of {name} can be written to {cache}: {error.strerror or error}",
            hint="free some disk space, or set TLTOOL_DATA_DIR to another folder",
        ) from None
    return target / _FILES


def is_complete_copy(folder: Path) -> bool:
    """Return whether a folder that ``cached_copy`` has returned is still as it was written."""
    return folder.name == _FILES and _is_complete(folder.parent)


def content_key(path: Path) -> str:
    """Return a SHA-256 (hex) of a file's bytes.

    Raises:
        DataError: it cannot be read.
    """
    try:
        check_regular(path)
        return file_digest(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _is_complete(target: Path) -> bool:
    try:
        record = json.loads((target / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    try:
        return bool(record == _contents(target / _FILES))
    except OSError:
        return False


def _contents(folder: Path) -> dict[str, int | str]:
    """Return number, bytes and a digest of the files below ``folder``, to detect any change.

    The digest is of names, sizes and CRC-32. It takes 0.4 s for 42,000 small files, or for 1.5 GB.

    Raises:
        OSError: one cannot be read, or is no regular file.
    """
    digest, count, size = hashlib.sha256(), 0, 0
    for place, folders, names in os.walk(folder):
        folders.sort()
        digest.update(os.fsencode(os.path.relpath(place, folder)) + b"\0")
        for name in sorted(names):
            checksum, length = _checksum(os.path.join(place, name))  # noqa: PTH118  (42,000 files)
            digest.update(os.fsencode(name) + b"\0%d %d\0" % (length, checksum))
            count, size = count + 1, size + length
    return {"files": count, "bytes": size, "digest": digest.hexdigest()}


def _checksum(path: str) -> tuple[int, int]:
    """Return the CRC-32 and the size of a file that is no link."""
    checksum, size = 0, 0
    with os.fdopen(os.open(path, os.O_RDONLY | _NO_LINK), "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            checksum, size = zlib.crc32(chunk, checksum), size + len(chunk)
    return checksum, size


def _move(partial: Path, target: Path) -> None:
    """Rename a finished copy to ``target``, unless another process has just done so."""
    moved = partial / "moved"
    moved.mkdir()
    for part in [path for path in partial.iterdir() if path != moved]:
        part.rename(moved / part.name)
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
