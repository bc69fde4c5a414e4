"""Stored features of one pass: files of a folder, written shard by shard to survive a kill.

Activations are never loaded into memory as a whole. They are read from the file row by row, and
the operating system caches as much of the file as free memory allows: a store larger than the
memory is slower, but does not fail.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import ml_dtypes
import numpy as np

from tltool.errors import EnvironmentProblem
from tltool.runs.durable import write_durably

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FORMAT = 1
_SPARE_BYTES = 256 * 2**20  # disk space left for logs, the model and the export


class Rows(Protocol):
    """Rows of one shape and type, in a file or elsewhere."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows ``start`` to ``stop``."""

    def take(self, numbers: Sequence[int]) -> np.ndarray:
        """Return the rows with these numbers."""


class Column:
    """Rows of one shape and type in a file.

    Args:
        path: the file; it must exist.
        dtype: type of the elements.
        shape: shape of one row.
        count: number of rows.
    """

    def __init__(self, path: Path, dtype: np.dtype, shape: tuple[int, ...], count: int) -> None:
        self._file = path.open("r+b", buffering=0)
        weakref.finalize(self, self._file.close)
        self.dtype, self.row_shape, self.count = dtype, shape, count
        self.row_bytes = math.prod(shape) * dtype.itemsize

    def __len__(self) -> int:
        return self.count

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write ``rows`` [n, *row_shape] from row ``start`` on."""
        self._file.seek(start * self.row_bytes)
        rest = _bytes(np.ascontiguousarray(rows, self.dtype))
        while rest:
            rest = rest[self._file.write(rest) :]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows ``start`` to ``stop``, [stop - start, *row_shape]."""
        rows = np.empty((max(0, min(stop, self.count) - start), *self.row_shape), self.dtype)
        self._fill(rows, start)
        return rows

    def take(self, numbers: Sequence[int]) -> np.ndarray:
        """Return the rows with these numbers, [n, *row_shape]."""
        rows = np.empty((len(numbers), *self.row_shape), self.dtype)
        for row, number in zip(rows, numbers, strict=True):
            self._fill(row, number)
        return rows

    def sync(self) -> None:
        """Wait until all written rows are on disk."""
        os.fsync(self._file.fileno())

    def _fill(self, target: np.ndarray, start: int) -> None:
        self._file.seek(start * self.row_bytes)
        rest = _bytes(target)
        while rest:
            got = self._file.readinto(rest)
            if not got:
                raise EOFError(f"{self._file.name} is shorter than {start + 1} rows")
            rest = rest[got:]


def _bytes(array: np.ndarray) -> memoryview:
    """Return the memory of a contiguous array of any type."""
    view: memoryview = array.reshape(-1).view(np.uint8).data
    return view


class FeatureStore:
    """Features of one pass over ``count`` images, one file per column.

    Args:
        folder: created if missing; rows that an earlier process stored there are kept.
        count: number of images.
        columns: type and shape of a row, by name.

    Attributes:
        rows: number of rows that are on disk.

    Raises:
        EnvironmentProblem: no disk space for all rows.
    """

    def __init__(
        self, folder: Path, *, count: int, columns: Mapping[str, tuple[np.dtype, tuple[int, ...]]]
    ) -> None:
        self._folder, self.count = folder, count
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
                name: count * math.prod(shape) * dtype.itemsize
                for name, (dtype, shape) in columns.items()
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
        rows = int(document.pop("rows", 0))
        return rows if document == self._layout else 0

    def _make(self, sizes: Mapping[str, int]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        total = sum(sizes.values())
        if shutil.disk_usage(self._folder).free < total + _SPARE_BYTES:
            raise disk_full(self._folder, total)
        for name, size in sizes.items():
            reserve(self._path(name), size)


def reserve(path: Path, size: int) -> None:
    """Create a file of ``size`` bytes with allocated blocks, so that writing to it cannot fail.

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
            raise disk_full(path.parent, size) from None
        raise


def _allocate_blocks(descriptor: int, size: int) -> None:
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


def disk_full(folder: Path, size: int) -> EnvironmentProblem:
    """Return the error for a disk without ``size`` free bytes."""
    return EnvironmentProblem(
        f"the disk of '{folder}' has no space for {size / 2**20:,.0f} MiB of cached activations",
        hint="free some space, choose another disk with --out, lower train.cache.views, "
        "or train without the cache: --set train.cache=off",
    )
