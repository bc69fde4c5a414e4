"""Stored features of one pass: files of a folder, written shard by shard to survive a kill.

Activations are never loaded into memory as a whole. They are read from the file row by row, and
the operating system caches as much of the file as free memory allows: a store larger than the
memory is slower, but does not fail.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np

from tltool.errors import EnvironmentProblem, counted
from tltool.events import Observer
from tltool.features.stored_rows import Column, stored_bytes
from tltool.storage.durable import write_durably

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FORMAT = 2
_SPARE_BYTES = 256 * 2**20  # disk space left for logs, the model and the export
# ZFS, some FUSE and network disks
_NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class StoredContents(NamedTuple):
    """What a store holds, for the message about a full disk.

    Attributes:
        name: in the plural.
        remedy: how to need less space.
    """

    name: str
    remedy: str


ACTIVATIONS = StoredContents(
    "cached activations",
    "lower train.cache.views, or train without the cache: --set train.cache=off",
)


class FeatureStore:
    """Features of one pass over ``count`` images, one file per column.

    Args:
        folder: created if missing; rows that an earlier process stored there are kept.
        count: number of images.
        columns: type and shape of a row, by name.
        contents: what is stored, for messages.

    Attributes:
        rows: number of rows that are on disk.

    Raises:
        EnvironmentProblem: no disk space for all rows.
    """

    def __init__(
        self,
        folder: Path,
        *,
        count: int,
        columns: Mapping[str, tuple[np.dtype, tuple[int, ...]]],
        contents: StoredContents = ACTIVATIONS,
    ) -> None:
        self._folder, self.count, self._contents = folder, count, contents
        self._layout = {
            "format": FORMAT,
            "count": count,
            "columns": {
                name: [str(dtype), list(shape)] for name, (dtype, shape) in columns.items()
            },
        }
        self.rows = self._rows_on_disk()
        if not self.rows:
            sizes = {
                name: count * stored_bytes(dtype, shape) for name, (dtype, shape) in columns.items()
            }
            self._make(sizes)
        self.columns = {
            name: Column(self._path(name), dtype, shape, count)
            for name, (dtype, shape) in columns.items()
        }
        self._written = self.rows

    def append(self, **rows: np.ndarray) -> None:
        """Write the next rows of every column; they are durable after the next ``commit``."""
        for name, values in rows.items():
            self.columns[name].write(self._written, values)
        self._written += len(next(iter(rows.values())))

    def commit(self) -> None:
        """Wait until all rows are on disk and record their number."""
        for column in self.columns.values():
            column.sync()
        self.rows = self._written
        document = {**self._layout, "rows": self.rows}
        write_durably(self._progress, json.dumps(document).encode())

    def repair_with(self, compute: Callable[[list[int]], None], observer: Observer) -> None:
        """Let rows that are damaged be computed again, with a warning.

        Args:
            compute: writes the rows with these numbers again.
            observer: receives the warning.
        """

        def repair(rows: list[int]) -> None:
            observer.on_message(
                f"{counted(len(rows), 'row', 'rows')} of {self._contents.name} in '{self._folder}' "
                "were damaged on the disk (wrong checksum) and are computed again; check the disk "
                "and the memory of this machine",
                level="warning",
            )
            compute(rows)

        for column in self.columns.values():
            column.repair = repair

    @property
    def _progress(self) -> Path:
        return self._folder / "progress.json"

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.bin"

    def _rows_on_disk(self) -> int:
        try:
            document = dict(json.loads(self._progress.read_bytes()))
        except (OSError, ValueError, TypeError):
            return 0
        rows = document.pop("rows", 0)
        known = document == self._layout and isinstance(rows, int) and 0 <= rows <= self.count
        return rows if known else 0

    def _make(self, sizes: Mapping[str, int]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        total = sum(sizes.values())
        problem = space_problem(self._folder, total, self._contents)
        if problem is not None:
            raise problem
        for name, size in sizes.items():
            reserve(self._path(name), size, contents=self._contents)


def space_problem(folder: Path, size: int, contents: StoredContents) -> EnvironmentProblem | None:
    """Return the error if ``size`` bytes do not fit on a disk, with room for the rest of a run.

    Args:
        folder: on the disk; it need not exist.
        size: in bytes.
        contents: what should be stored.
    """
    existing = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(existing).free
    if free >= size + _SPARE_BYTES:
        return None
    return disk_full(folder, size, free=free, contents=contents)


def reserve(path: Path, size: int, *, contents: StoredContents = ACTIVATIONS) -> None:
    """Create a file of ``size`` bytes with allocated blocks, so that writing to it cannot fail.

    On a disk that cannot reserve blocks only its free space is checked.

    Args:
        path: of the file.
        size: in bytes.
        contents: what will be stored, for messages.

    Raises:
        EnvironmentProblem: the disk is full.
    """
    try:
        with path.open("wb") as file:
            file.truncate(size)
            _allocate_blocks(file.fileno(), size)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise disk_full(path.parent, size, contents=contents) from None
        raise


def _allocate_blocks(descriptor: int, size: int) -> None:
    if not size or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        disk = os.fstatvfs(descriptor)
        if disk.f_bavail * disk.f_frsize < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None


def disk_full(
    folder: Path, size: int, *, free: int | None = None, contents: StoredContents = ACTIVATIONS
) -> EnvironmentProblem:
    """Return the error for a disk without space for ``size`` bytes.

    Args:
        folder: on the disk.
        size: of all rows.
        free: bytes on the disk, where some of them must be left for the rest of the run.
        contents: what should be stored.
    """
    space = ""
    if free is not None:
        needed = (size + _SPARE_BYTES) / 2**20
        space = f": {free / 2**20:,.0f} MiB are free, and the run needs {needed:,.0f} MiB"
    return EnvironmentProblem(
        f"the disk of '{folder}' has no space for {size / 2**20:,.0f} MiB of {contents.name}"
        f"{space}",
        hint=f"free some space, choose another disk with --out, {contents.remedy}",
    )
