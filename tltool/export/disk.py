"""Disk space, and readable messages for errors of the disk."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from tltool.errors import EnvironmentProblem, TltoolError

SPARE_BYTES = 32 * 2**20  # what a version folder needs besides its weights


def check_space(base_dir: Path, variables: Sequence[Any]) -> None:
    """Check that the disk has space for a copy of ``variables``.

    Raises:
        EnvironmentProblem: it has not.
    """
    sizes = (math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)
    needed, free = sum(sizes) + SPARE_BYTES, shutil.disk_usage(base_dir).free
    if free < needed:
        raise _disk_full(base_dir, f"{free / 2**20:.0f} MB are free, {needed / 2**20:.0f} needed")


def _disk_full(base_dir: Path, detail: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the disk is full: the model cannot be written to '{base_dir}' ({detail})",
        hint=f"free some space, for example remove old versions in {base_dir}, and export again",
    )


@contextmanager
def explain_disk_errors(base_dir: Path) -> Iterator[None]:
    """Turn errors of the disk while writing into ``base_dir`` into one readable message."""
    try:
        yield
    except TltoolError:
        raise
    except (OSError, tf.errors.OpError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left on device" in str(error) or "quota exceeded" in str(error):
            raise _disk_full(base_dir, "it filled up while writing") from error
        if isinstance(error, OSError):
            raise EnvironmentProblem(
                f"the model cannot be written to '{base_dir}': {error.strerror or error}",
                hint="choose a folder with write permission",
            ) from error
        raise
