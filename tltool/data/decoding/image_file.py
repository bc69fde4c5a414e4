"""Reads image files: regular ones only, of bounded size, with the content that the audit saw."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tltool.data.decoding.image_errors import ChangedImageError, UnreadableError
from tltool.errors import one_line

NOT_REGULAR = "not a regular file (a pipe, a socket or a device)"
MAX_BYTES = 2**30
"""Largest file that is read: 178,956,970 pixels, the most that are decoded, of 48 bits each."""

# Without O_NONBLOCK, opening a pipe waits for a process that writes to it.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def open_image_file(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Yield a file, open for reading, and its size in bytes; it may lie behind links.

    Raises:
        UnreadableError: it is a pipe, a socket, a device or a folder, or larger than ``MAX_BYTES``.
        OSError: it cannot be opened.
    """
    _check(path, path.stat())  # before it is opened: to open a device can have effects
    with os.fdopen(os.open(path, _FLAGS), "rb") as file:
        status = os.fstat(file.fileno())
        _check(path, status)  # it may have been replaced meanwhile
        yield file, status.st_size


def read_image_file(path: Path, *, sha256: str = "") -> bytes:
    """Return the bytes of a file.

    Args:
        path: of the file.
        sha256: digest (hex) of the bytes in the audit; empty if there was none.

    Raises:
        ChangedImageError: it is missing or has other bytes, and there was an audit.
        UnreadableError: as ``open_image_file``, or it cannot be read, or grows.
    """
    try:
        with open_image_file(path) as (file, size):
            data = content_of(path, file, size)
    except OSError as error:
        if sha256 and isinstance(error, FileNotFoundError | NotADirectoryError):
            raise _changed(path, "gone") from None
        raise UnreadableError(f"{path} cannot be read: {error.strerror or error}") from None
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise _changed(path, "different")
    return data


def content_of(path: Path, file: BinaryIO, size: int) -> bytes:
    """Return all bytes of an open file of ``size`` bytes.

    Raises:
        UnreadableError: it has become larger.
        OSError: it cannot be read.
    """
    file.seek(0)
    data = file.read(size + 1) or b""
    if len(data) > size:
        raise UnreadableError(f"{path} cannot be read: it grows while it is read")
    return data


def check_regular(path: Path) -> None:
    """Check that a table or an archive can be opened without waiting for another process.

    Raises:
        UnreadableError: it is a pipe, a socket, a device or a folder.
        OSError: it does not exist, or may not be looked at.
    """
    _check_kind(path, path.stat())


def _check_kind(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else NOT_REGULAR
        raise UnreadableError(f"{path} is {kind}")


def _check(path: Path, status: os.stat_result) -> None:
    _check_kind(path, status)
    if status.st_size > MAX_BYTES:
        raise UnreadableError(f"{path} is larger than {MAX_BYTES // 2**20:,} MiB")


def _changed(path: Path, how: str) -> ChangedImageError:
    name = one_line(f"{path.parent.name}/{path.name}")
    return ChangedImageError(
        f"{name} is {how} since the audit at the start of this command",
        hint="put the files back as they were; do not change them while a command uses them",
    )
