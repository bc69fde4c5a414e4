"""Rows of one shape and type in a file, each with a checksum that every reading compares."""

from __future__ import annotations

import math
import threading
import weakref
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from tltool.errors import EnvironmentProblem
from tltool.runs.environment import available_memory
from tltool.storage.durable import sync

_SUM = np.dtype("<u4")  # CRC-32: 4 GB/s on one core
_MEMORY_SHARE = 0.25  # of the free memory; larger columns are not read as a whole
_BLOCK_BYTES = 16 * 2**20


class Rows(Protocol):
    """Rows of one shape and type, in a file or elsewhere."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows ``start`` to ``stop``."""

    def take(self, numbers: Sequence[int]) -> np.ndarray:
        """Return the rows with these numbers."""


def stored_bytes(dtype: np.dtype, shape: tuple[int, ...]) -> int:
    """Return how many bytes a row takes in a file, with its checksum."""
    return math.prod(shape) * dtype.itemsize + _SUM.itemsize


class Column:
    """Rows of one shape and type in a file, each followed by its CRC-32. Safe in several threads.

    Args:
        path: the file; it must exist.
        dtype: type of the elements.
        shape: shape of one row.
        count: number of rows.

    Attributes:
        repair: called with the numbers of rows that are not as they were written, to write them
            again; None if they cannot be had again.
    """

    def __init__(self, path: Path, dtype: np.dtype, shape: tuple[int, ...], count: int) -> None:
        self.path = path
        self._file = path.open("r+b", buffering=0)
        weakref.finalize(self, self._file.close)
        self._one_at_a_time = threading.Lock()  # the file has one position
        self.dtype, self.row_shape, self.count = dtype, shape, count
        self._stride = stored_bytes(dtype, shape)
        self.row_bytes = self._stride - _SUM.itemsize
        self.repair: Callable[[list[int]], None] | None = None

    def __len__(self) -> int:
        return self.count

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write ``rows`` [n, *row_shape] from row ``start`` on."""
        stored = np.empty((len(rows), self._stride), np.uint8)
        values = np.ascontiguousarray(rows, self.dtype).reshape(-1).view(np.uint8)
        stored[:, : self.row_bytes] = values.reshape(len(rows), self.row_bytes)
        sums = np.array([zlib.crc32(row[: self.row_bytes].data) for row in stored], _SUM)
        stored[:, self.row_bytes :] = sums.view(np.uint8).reshape(len(rows), _SUM.itemsize)
        self._write(start, stored)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows ``start`` to ``stop``, [stop - start, *row_shape].

        Raises:
            EnvironmentProblem: some are damaged, and cannot be repaired.
        """
        return self.take(range(start, max(start, min(stop, self.count))))

    def whole(self) -> np.ndarray:
        """Return all rows, [count, *row_shape]: in memory, or of the file if they are large.

        Rows that take more than a quarter of the free memory are mapped from the file, read-only,
        so that the operating system can drop them from memory. They are compared with their
        checksums once, here.

        Raises:
            EnvironmentProblem: some are damaged, and cannot be repaired.
        """
        if self.count * self.row_bytes <= available_memory() * _MEMORY_SHARE:
            return self.read(0, self.count)
        block = max(_BLOCK_BYTES // self._stride, 1)
        for start in range(0, self.count, block):
            self.read(start, start + block)
        stored = np.memmap(self.path, np.uint8, "r", shape=(self.count, self._stride))
        values = stored[:, : self.row_bytes].view(self.dtype)
        return values.reshape(self.count, *self.row_shape)

    def take(self, numbers: Sequence[int]) -> np.ndarray:
        """Return the rows with these numbers, [n, *row_shape].

        Raises:
            EnvironmentProblem: some are damaged, and cannot be repaired.
        """
        stored = self._read(numbers)
        damaged = self._damaged(numbers, stored)
        if damaged and self.repair is not None:
            self.repair(damaged)
            stored = self._read(numbers)
            damaged = self._damaged(numbers, stored)
        if damaged:
            raise EnvironmentProblem(
                f"'{self.path}' is damaged: its checksums do not match in {len(damaged):,} of "
                f"{self.count:,} rows",
                hint="check the disk and the memory of this machine, or work on another disk",
            )
        values = np.ascontiguousarray(stored[:, : self.row_bytes]).reshape(-1)
        return values.view(self.dtype).reshape(len(numbers), *self.row_shape)

    def sync(self) -> None:
        """Wait until all written rows are on disk."""
        sync(self._file.fileno())

    def _damaged(self, numbers: Sequence[int], stored: np.ndarray) -> list[int]:
        sums = np.ascontiguousarray(stored[:, self.row_bytes :]).reshape(-1).view(_SUM)
        return sorted(
            {
                int(number)
                for number, row, expected in zip(numbers, stored, sums.tolist(), strict=True)
                if zlib.crc32(row[: self.row_bytes].data) != expected
            }
        )

    def _read(self, numbers: Sequence[int]) -> np.ndarray:
        """Return rows with their checksums, uint8 [n, stride]; zeros behind the end of the file."""
        stored = np.zeros((len(numbers), self._stride), np.uint8)
        if isinstance(numbers, range):
            self._fill(stored.reshape(-1), numbers.start * self._stride)
            return stored
        for row, number in zip(stored, numbers, strict=True):
            self._fill(row, number * self._stride)
        return stored

    def _fill(self, target: np.ndarray, offset: int) -> None:
        rest = target.data
        with self._one_at_a_time:
            self._file.seek(offset)
            while rest:
                got = self._file.readinto(rest)
                if not got:
                    return
                rest = rest[got:]

    def _write(self, start: int, stored: np.ndarray) -> None:
        rest = stored.reshape(-1).data
        with self._one_at_a_time:
            self._file.seek(start * self._stride)
            while rest:
                rest = rest[self._file.write(rest) :]
