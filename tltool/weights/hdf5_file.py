"""Open HDF5 files of others: no reference to another file, no size that the file does not hold.

An HDF5 file may name other files, whose content then appears as its own: external links, external
storage and virtual data sets. It may also claim arrays of any size, of which it stores nothing.
Both are rejected before an array is read.

Source: https://docs.hdfgroup.org/hdf5/v1_14/_h5_d__u_g.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_MOST_COMPRESSED = 16  # times the stored size; the weights of a network hardly shrink
_FLOAT32 = 4  # bytes
_DAMAGED = "it is incomplete or damaged; copy or download it again"
_SMALL = 1 << 20  # bytes; padding and fill values of small arrays


@contextmanager
def open_hdf5(source: Path | IO[bytes]) -> Iterator[Any]:
    """Open an HDF5 file for reading as ``h5py.File``, after ``check_hdf5``.

    Raises:
        ValueError: it refers to another file, claims more data than it contains, or is damaged.
        OSError: it cannot be opened.
    """
    import h5py

    try:
        file = h5py.File(source, "r")
    except OSError as error:
        if error.strerror:
            raise
        raise ValueError(_DAMAGED) from error
    with file:
        try:
            check_hdf5(file)
            yield file
        except (RuntimeError, KeyError) as error:  # its own words say nothing to a user
            raise ValueError(_DAMAGED) from error


def check_hdf5(file: Any) -> None:
    """Check every link and data set of an open HDF5 file, without reading an array.

    Raises:
        ValueError: a link or data set refers to another file, or claims more than it contains.
    """
    claimed = stored = 0
    for name, dataset in _datasets(file):
        _check_inside(name, dataset)
        size = dataset.id.get_storage_size()
        if _claimed(dataset) > _allowed(dataset, size):
            raise ValueError(f"'{name}' claims {_claimed(dataset):,} bytes and contains {size:,}")
        claimed, stored = claimed + _claimed(dataset), stored + size
    if claimed > _MOST_COMPRESSED * stored + _SMALL:
        raise ValueError(f"it claims {claimed:,} bytes and contains {stored:,}")


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Yield the path and the object of each data set, each object once."""
    import h5py

    seen, groups = {address(file)}, [("", file)]
    while groups:
        path, group = groups.pop()
        for key in group:
            name = f"{path}/{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise ValueError(f"'{name}' is a link to another place or file")
            item = group[key]
            if address(item) in seen:
                continue
            seen.add(address(item))
            if isinstance(item, h5py.Group):
                groups.append((name, item))
            elif isinstance(item, h5py.Dataset):
                yield name, item


def address(item: Any) -> Any:
    """Return what identifies a group or data set in its file, whatever its name."""
    import h5py

    return h5py.h5o.get_info(item.id).addr


def _check_inside(name: str, dataset: Any) -> None:
    if dataset.is_virtual:
        raise ValueError(f"'{name}' is a virtual data set: its values are in another file")
    if dataset.external:
        raise ValueError(f"'{name}' has its values in another file")


def _claimed(dataset: Any) -> int:
    """Return the bytes that the whole array takes, as stored or as float32."""
    if dataset.shape is None:
        return 0
    width: int = max(dataset.dtype.itemsize, _FLOAT32)
    elements: int = math.prod(dataset.shape)
    return elements * width


def _allowed(dataset: Any, stored: int) -> int:
    """Return the most bytes that an array may take of which ``stored`` are in the file."""
    if dataset.id.get_create_plist().get_nfilters():
        return _MOST_COMPRESSED * stored
    width: int = max(dataset.dtype.itemsize, 1)
    return stored * max(1, _FLOAT32 // width) + (_SMALL if stored else 0)


def stored_elements(file: Any) -> int:
    """Return how many numbers the data sets of an open HDF5 file contain."""
    return sum(int(dataset.size or 0) for _, dataset in _datasets(file))
