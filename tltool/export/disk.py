"""Room on the disk, and what is said when there is none."""

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
    """Refuse to write a copy of ``variables`` to a disk without room for it.

    Raises:
        EnvironmentProblem: it has none.
    """
    sizes = (math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)
    needed, free = sum(sizes) + SPARE_BYTES, shutil.disk_usage(base_dir).free
    if free < needed:
        raise _disk_full(base_dir, f"{free / 2**20:.0f} MB are free, {needed / 2**20:.0f} needed")


def _disk_full(base_dir: Path, detail: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"The disk is full: the model cannot be written to {base_dir} ({detail}).",
        hint=f"free some space there, or remove old versions in {base_dir}, and export again",
    )


@contextmanager
def disk_problems_explained(base_dir: Path) -> Iterator[None]:
    """Turn what the disk refuses while writing into ``base_dir`` into one sentence."""
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
                f"The model cannot be written to {base_dir}: {error.strerror or error}.",
                hint="choose a folder that you may write to",
            ) from error
        raise
