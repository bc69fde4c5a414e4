"""An .npz file of someone else: no size is believed that is not there."""

import io
import zipfile

import numpy as np
import pytest

from tltool.runs.npz_file import read_arrays


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def test_arrays_come_back(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(0, np.int64), "c": np.array("text")}
    np.savez(tmp_path / "a.npz", **arrays)
    read = read_arrays(tmp_path / "a.npz")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}"), "claims"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}", bytes(16)), "claims"),
        (npy("{'descr': '<U99999', 'fortran_order': False, 'shape': (99999,)}"), "claims"),
        (
            npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n"),
            "objects",
        ),
    ],
)
def test_an_array_that_claims_more_than_it_has_is_refused(content, message, tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ValueError, match=message):
        read_arrays(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path, array = tmp_path / "a.npz", io.BytesIO()
    np.save(array, np.zeros(1 << 23, np.uint8))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", array.getvalue())
    with pytest.raises(ValueError, match="claim"):
        read_arrays(path)
