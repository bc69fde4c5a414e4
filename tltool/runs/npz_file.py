"""Read the arrays of an ``.npz`` file of someone else: no code, and no size that is not there."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from tltool.runs.zip_sizes import check_zip

_SUFFIX = ".npy"


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file by name.

    NumPy allocates what the header of an array claims, so that is first compared with the file.

    Raises:
        ValueError: an array claims more than the file contains, or holds Python objects.
        Exception: of any type, if the file is damaged.

    Examples:
        >>> np.savez(path, weights=np.zeros(3))
        >>> read_arrays(path)["weights"].shape
        (3,)
    """
    with zipfile.ZipFile(path) as archive:
        check_zip(archive, path.stat().st_size)
        for member in archive.infolist():
            with archive.open(member) as file:
                _check_header(member, file)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _check_header(member: zipfile.ZipInfo, file: IO[bytes]) -> None:
    if not member.filename.endswith(_SUFFIX):
        raise ValueError(f"'{member.filename}' is no array")
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"'{member.filename}' has the unknown version {version}")
    shape, _, dtype = read[version](file)
    if dtype.hasobject:
        raise ValueError(f"'{member.filename}' holds Python objects")
    if math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
        raise ValueError(f"'{member.filename}' claims another size than it has")
