"""HDF5 files with weights that reach into another file, or claim more than they hold."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np

LAYOUTS = (".weights.h5", ".h5", ".keras")
SECRET = np.arange(8, dtype="<f4")
_HUGE, _CHUNK = 1 << 31, 1 << 20  # elements of four bytes

Attack = Callable[[h5py.Group, Path], None]
"""Writes the arrays of a layer; the folder has the files of ``write_secrets``."""


def write_secrets(folder: Path) -> None:
    """Write the files that must not be read."""
    with h5py.File(folder / "secret.h5", "w") as file:
        file["s"] = SECRET
    (folder / "secret.bin").write_bytes(SECRET.tobytes())


def write_hdf5(attack: Attack, folder: Path, layout: str) -> Path:
    """Write a file of weights with one layer, and return its path.

    Args:
        attack: one of ``ATTACKS``.
        folder: with the files of ``write_secrets``.
        layout: one of ``LAYOUTS``.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        if layout == ".h5":
            group = file.create_group("conv1")
            file.attrs["layer_names"] = [b"conv1"]
            attack(group, folder)
            group.attrs["weight_names"] = [key.encode() for key in group]
        else:
            attack(file.create_group("layers/conv1/vars"), folder)
    path = folder / f"{attack.__name__}{layout}"
    if layout == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.weights.h5", content.getvalue())
    else:
        path.write_bytes(content.getvalue())
    return path


def external_link(group: h5py.Group, folder: Path) -> None:
    group["0"] = h5py.ExternalLink(str(folder / "secret.h5"), "/s")


def external_group(group: h5py.Group, folder: Path) -> None:
    group["0"] = SECRET
    group.file["layers/other"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")


def external_storage(group: h5py.Group, folder: Path) -> None:
    group.create_dataset("0", (8,), "<f4", external=[(str(folder / "secret.bin"), 0, 32)])


def virtual(group: h5py.Group, folder: Path) -> None:
    layout = h5py.VirtualLayout((8,), "<f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "s", shape=(8,))
    group.create_virtual_dataset("0", layout)


def soft_link_to_external(group: h5py.Group, folder: Path) -> None:
    group.file["elsewhere"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")
    group["0"] = h5py.SoftLink("/elsewhere/s")


def not_stored(group: h5py.Group, _folder: Path) -> None:
    group.create_dataset("0", (_HUGE,), "<f4", chunks=(_CHUNK,))


def fill_value(group: h5py.Group, _folder: Path) -> None:
    group.create_dataset("0", (_HUGE,), "<f4", chunks=(_CHUNK,), fillvalue=1.0)


def many_not_stored(group: h5py.Group, _folder: Path) -> None:
    for number in range(500):
        array = group.create_dataset(str(number), (4 * _CHUNK,), "<f4", chunks=(1 << 10,))
        array[: 1 << 10] = 1


def compressed_zeros(group: h5py.Group, _folder: Path) -> None:
    count, packed = 256, zlib.compress(bytes(4 * _CHUNK), 9)
    array = group.create_dataset("0", (count * _CHUNK,), "<f4", chunks=(_CHUNK,), compression=9)
    for number in range(count):
        array.id.write_direct_chunk((number * _CHUNK,), packed)


def one_array_under_many_names(group: h5py.Group, _folder: Path) -> None:
    group["0"] = np.zeros(_CHUNK, "<f4")
    for number in range(1, 600):
        group[str(number)] = group["0"]


ATTACKS: Sequence[Attack] = (
    external_link,
    external_group,
    external_storage,
    virtual,
    soft_link_to_external,
    not_stored,
    fill_value,
    many_not_stored,
    compressed_zeros,
    one_array_under_many_names,
)
