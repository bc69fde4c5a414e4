"""Arrays for cached activations: in memory while the budget lasts, then memory-mapped."""

from __future__ import annotations

import errno
import math
import os
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import psutil

from tltool.errors import EnvironmentProblem

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_SPARE_BYTES = 256 * 2**20  # left free on the disk for logs, the model and the export


class ActivationStore:
    """Allocates bfloat16 arrays under one memory budget.

    Args:
        folder: where arrays beyond the budget are memory-mapped; made when needed.
        ram_fraction: share of the memory free now that arrays may take together.
    """

    def __init__(self, folder: Path, *, ram_fraction: float) -> None:
        self._folder = folder
        self._budget = int(psutil.virtual_memory().available * ram_fraction)
        self._files = 0

    @property
    def spilled(self) -> bool:
        """Whether an array had to go to disk."""
        return self._files > 0

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return a writable bfloat16 array of ``shape``.

        Raises:
            EnvironmentProblem: neither memory nor disk has room for it.
        """
        size = math.prod(shape) * BFLOAT16.itemsize
        if size <= self._budget:
            self._budget -= size
            return np.empty(shape, BFLOAT16)
        return self._map(shape, size)

    def _map(self, shape: tuple[int, ...], size: int) -> np.ndarray:
        self._folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        if free < size + _SPARE_BYTES:
            raise disk_full(self._folder, size)
        path = self._folder / f"activations-{self._files}.bin"
        self._files += 1
        reserve(path, size)
        # numpy cannot map bfloat16 itself, so the same bits are mapped as uint16
        return np.memmap(path, np.uint16, "r+", shape=shape).view(BFLOAT16)

    def clear(self) -> None:
        """Delete what was written to disk."""
        shutil.rmtree(self._folder, ignore_errors=True)


def reserve(path: Path, size: int) -> None:
    """Make a file of ``size`` bytes whose blocks exist, so that writing to a map cannot fail.

    Raises:
        EnvironmentProblem: the disk is full. (Through a map that would be a bus error.)
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
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


def disk_full(folder: Path, size: int) -> EnvironmentProblem:
    """Return the error for a disk without room for ``size`` bytes."""
    return EnvironmentProblem(
        f"the disk of '{folder}' has no room for {size / 2**30:.1f} GiB of cached activations",
        hint="free some space, give another disk with --out, lower train.cache.views, "
        "or train without the cache: --set train.cache=off",
    )
