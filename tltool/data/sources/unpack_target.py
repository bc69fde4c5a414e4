"""The folder that an archive is unpacked into. What goes there is checked before it is written."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from tltool.errors import DataError, EnvironmentProblem

CHUNK = 1 << 16
"""Bytes read at once; also the most that a header inside a tar may ask for."""

UNPACK_HINT = "unpack it yourself and give the folder"

_ALWAYS_ALLOWED = 1 << 28  # bytes; below that no ratio is suspicious
_MOST_RATIO = 100  # images hardly shrink; flat drawings stored as BMP reach 50
_FILLED_AT_MOST = 0.9  # of what is free on the disk
_FEW_MEMBERS = 20_000  # allowed in an archive of any size
_BYTES_A_MEMBER = 32  # in the archive; the smallest images in a tar.gz take three times that
_MOST_MEMBERS = 5_000_000
_DEEPEST = 100  # folders in folders; removing them again calls itself for each
_BAD_NAMES = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL}


class Readable(Protocol):
    """A file of an archive, open for reading."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""
        ...


class Target:
    """A folder that is filled from an archive: names, depth, sizes and counts are bounded.

    Args:
        archive: the file, for the errors; its size sets the bounds.
        folder: an empty folder.
    """

    def __init__(self, archive: Path, folder: Path) -> None:
        self.archive, self._folder = archive, folder
        size = archive.stat().st_size
        self._most = max(_ALWAYS_ALLOWED, _MOST_RATIO * size)
        self._most_members = min(max(_FEW_MEMBERS, size // _BYTES_A_MEMBER), _MOST_MEMBERS)
        self._room = int(shutil.disk_usage(folder).free * _FILLED_AT_MOST)
        self._written = 0
        self._announced = 0
        self._members = 0

    def announce(self, size: int) -> None:
        """Refuse a member that makes the whole larger than it may be, before it is read.

        Raises:
            DataError: the archive holds too much for its own size.
            EnvironmentProblem: it holds too much for the disk.
        """
        self._announced += size
        self._members += 1
        self._check(self._announced)
        if self._members > self._most_members:
            raise DataError(
                f"{self.archive} holds more than {self._most_members:,} files, too many for its"
                " size: it may be a decompression bomb",
                hint=f"if you trust it, {UNPACK_HINT}",
            )

    def write(self, name: str, source: Readable) -> None:
        """Write one file.

        Raises:
            DataError: its name leads elsewhere or cannot be written, or there is too much of it.
            EnvironmentProblem: there is too much of it for the disk.
        """
        place = self._place(name)
        with self._names_checked(name):
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as file:
                while chunk := source.read(CHUNK):
                    self._written += len(chunk)
                    self._check(self._written)
                    file.write(chunk)

    def link(self, name: str, other: str) -> bool:
        """Give an unpacked file a second name; return whether there is such a file.

        Raises:
            DataError: one of the names leads elsewhere or cannot be written.
        """
        place, existing = self._place(name), self._place(other)
        with self._names_checked(name):
            if not existing.is_file():
                return False
            if place.exists() and place.samefile(existing):  # GNU tar links a file to itself
                return True
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            os.link(existing, place)
        return True

    def _place(self, name: str) -> Path:
        """Return where a member goes."""
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/") or "\0" in name:
            raise DataError(
                f"{self.archive} names a file outside itself: {name!r}",
                hint="it may be meant to harm; do not unpack it",
            )
        if len(parts) - 1 > _DEEPEST:
            raise DataError(
                f"{self.archive} holds a file deeper than {_DEEPEST} folders: {name[:80]!r} …",
                hint=f"if you trust it, {UNPACK_HINT}",
            )
        return self._folder.joinpath(*parts)

    def _check(self, size: int) -> None:
        if size > self._most:
            raise DataError(
                f"{self.archive} holds more than {self._most / 2**20:,.0f} MB,"
                f" over {_MOST_RATIO} times its own size: it may be a decompression bomb",
                hint=f"if you trust it, {UNPACK_HINT}",
            )
        if size > self._room:
            raise EnvironmentProblem(
                f"{self.archive} unpacks to more than {self._room / 2**20:,.0f} MB, nine tenths of"
                f" what is free for its copy",
                hint="free some space there, or set TLTOOL_DATA_DIR to another folder",
            )

    @contextmanager
    def _names_checked(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, UnicodeEncodeError) as error:
            if isinstance(error, OSError) and error.errno not in _BAD_NAMES:
                raise
            raise DataError(
                f"{self.archive} holds a name that cannot be written: {name[:80]!r}",
                hint=UNPACK_HINT,
            ) from None
