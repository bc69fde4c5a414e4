"""Writes the files of an archive safely: paths, sizes and counts are checked first."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from tltool.errors import DataError, EnvironmentProblem

CHUNK = 1 << 16
"""Bytes per read; also the largest header inside a tar."""

EXTRACT_HINT = "extract it yourself and give the folder"

_ALWAYS_ALLOWED = 1 << 28  # bytes; below that no compression ratio is suspicious
_MOST_RATIO = 100  # images hardly compress; drawings stored as BMP reach 50
_MAX_DISK_SHARE = 0.9  # of the free disk space
_FEW_MEMBERS = 20_000  # allowed in an archive of any size
_BYTES_A_MEMBER = 32  # in the archive; the smallest images in a tar.gz take three times that
_MOST_MEMBERS = 5_000_000
_DEEPEST = 100  # nested folders; removing them is recursive
_BAD_NAMES = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL}


class Readable(Protocol):
    """A file of an archive, open for reading."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""
        ...


class ExtractionTarget:
    """A folder for the files of an archive, with limits for names, depth, sizes and counts.

    Args:
        archive: the file, for the errors; its size sets the limits.
        folder: an empty folder.
    """

    def __init__(self, archive: Path, folder: Path) -> None:
        self.archive, self._folder = archive, folder
        size = archive.stat().st_size
        self._most = max(_ALWAYS_ALLOWED, _MOST_RATIO * size)
        self._most_members = min(max(_FEW_MEMBERS, size // _BYTES_A_MEMBER), _MOST_MEMBERS)
        self._room = int(shutil.disk_usage(folder).free * _MAX_DISK_SHARE)
        self._written = 0
        self._announced = 0
        self._members = 0
        self.notes: list[str] = []
        """Remarks about the archive for the user."""
        self.renamed: list[str] = []
        """New names of files whose names another file has."""
        self._copies: Counter[Path] = Counter()

    def announce(self, size: int) -> None:
        """Check the limits with one more member, before it is read.

        Raises:
            DataError: the content is too large or has too many files for the archive's size.
            EnvironmentProblem: the content is too large for the disk.
        """
        self._announced += size
        self._members += 1
        self._check(self._announced)
        if self._members > self._most_members:
            raise DataError(
                f"{self.archive} contains more than {self._most_members:,} files, too many for its"
                " size: it may be a decompression bomb",
                hint=f"if you trust it, {EXTRACT_HINT}",
            )

    def write(self, name: str, source: Readable) -> None:
        """Write one file; under another name if there is one with this name and other content.

        Raises:
            DataError: its path is outside the folder or invalid, or the content is too large.
            EnvironmentProblem: the content is too large for the disk.
        """
        place = self._place(name)
        with self._names_checked(name):
            place.parent.mkdir(parents=True, exist_ok=True)
            first, place = place, self._free_name(place)
            with place.open("wb") as file:
                while chunk := source.read(CHUNK):
                    self._written += len(chunk)
                    self._check(self._written)
                    file.write(chunk)
        if place != first:
            if filecmp.cmp(first, place, shallow=False):
                place.unlink()
            else:
                self.renamed.append(place.relative_to(self._folder).as_posix())

    def _free_name(self, place: Path) -> Path:
        """Return a path that does not exist: ``1 (2).jpg`` if there is a file ``1.jpg``."""
        free = place
        while free.is_file():
            self._copies[place] += 1
            free = place.with_name(f"{place.stem} ({self._copies[place] + 1}){place.suffix}")
        return free

    def link(self, name: str, existing_name: str) -> bool:
        """Give an extracted file a second name; return whether that file exists.

        Raises:
            DataError: one of the paths is outside the folder or invalid.
        """
        place, existing = self._place(name), self._place(existing_name)
        with self._names_checked(name):
            if not existing.is_file():
                return False
            if place.exists() and place.samefile(existing):  # GNU tar links a file to itself
                return True
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            _link_or_copy(existing, place)
        return True

    def _place(self, name: str) -> Path:
        """Return the path of a member."""
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/") or "\0" in name:
            raise DataError(
                f"{self.archive} contains a path outside itself: {name!r}",
                hint="it may be malicious; do not extract it",
            )
        if len(parts) - 1 > _DEEPEST:
            raise DataError(
                f"{self.archive} contains a file in more than {_DEEPEST} nested folders:"
                f" {name[:80]!r} …",
                hint=f"if you trust it, {EXTRACT_HINT}",
            )
        return self._folder.joinpath(*parts)

    def _check(self, size: int) -> None:
        if size > self._most:
            raise DataError(
                f"{self.archive} contains more than {self._most / 2**20:,.0f} MB,"
                f" over {_MOST_RATIO} times its own size: it may be a decompression bomb",
                hint=f"if you trust it, {EXTRACT_HINT}",
            )
        if size > self._room:
            raise EnvironmentProblem(
                f"{self.archive} extracts to more than {self._room / 2**20:,.0f} MB, 90% of the"
                " free disk space of the cache",
                hint="free some disk space, or set TLTOOL_DATA_DIR to another folder",
            )

    @contextmanager
    def _names_checked(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, UnicodeEncodeError) as error:
            if isinstance(error, OSError) and error.errno not in _BAD_NAMES:
                raise
            raise DataError(
                f"{self.archive} contains a file name that cannot be written: {name[:80]!r}",
                hint=EXTRACT_HINT,
            ) from None


def _link_or_copy(existing: Path, place: Path) -> None:
    try:
        os.link(existing, place)
    except OSError as error:
        if error.errno in _BAD_NAMES:
            raise
        shutil.copyfile(existing, place)  # a disk without hard links, or with too many of them
