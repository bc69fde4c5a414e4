"""Weights files of others: no other file is read, and no size is believed that is not there."""

import json
import struct
import zipfile

import h5py
import numpy as np
import pytest

from benchmarks.attack_kinds import hdf5_files
from tltool.errors import UsageError
from tltool.weights.weights_formats import read_layers

REASONS = {
    hdf5_files.external_link: "link to another place",
    hdf5_files.external_group: "link to another place",
    hdf5_files.external_storage: "in another file",
    hdf5_files.virtual: "virtual",
    hdf5_files.soft_link_to_external: "link to another place",
    hdf5_files.not_stored: "claims 8,589,934,592 bytes and contains 0",
    hdf5_files.fill_value: "claims 8,589,934,592 bytes and contains 0",
    hdf5_files.many_not_stored: "claims 16,777,216 bytes and contains|it claims",
    hdf5_files.compressed_zeros: "claims 1,073,741,824 bytes",
    hdf5_files.one_array_under_many_names: "share the array",
}


@pytest.mark.parametrize("attack", hdf5_files.ATTACKS)
@pytest.mark.parametrize("layout", hdf5_files.LAYOUTS)
def test_a_file_that_reaches_or_claims_more_than_it_holds_is_refused(attack, layout, tmp_path):
    hdf5_files.write_secrets(tmp_path)
    path = hdf5_files.write_hdf5(attack, tmp_path, layout)
    with pytest.raises(UsageError, match=REASONS[attack]) as caught:
        read_layers(path)
    assert str(path) in str(caught.value)


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin: int, end: int, shape: list[int], dtype: object = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    [
        safetensors({str(n): entry(0, 4000, [1000]) for n in range(100)}, bytes(4000)),
        safetensors({"w": entry(0, 4 << 40, [1 << 40])}, bytes(16)),
        safetensors({"w": entry(0, 8, [2])}, bytes(64)),
        safetensors({"w": entry(0, 16, [2**62, 2**62])}, bytes(16)),
        safetensors({"w": entry(-8, 8, [4])}, bytes(16)),
        safetensors({"w": {"dtype": "F32"}}, bytes(16)),
        safetensors({"w": entry(0, 16, [4], 7)}, bytes(16)),
        safetensors({"w": [1]}, bytes(16)),
        safetensors([1, 2], bytes(16)),
        safetensors({}, length=1 << 60),
        struct.pack("<Q", 200_000) + b'{"a":' * 40_000,
    ],
    ids=range(11),
)
def test_a_safetensors_file_that_claims_more_than_it_holds_is_refused(content, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"w\.safetensors' cannot be read: "):
        read_layers(path)


@pytest.mark.parametrize("member", ["model.weights.h5", "archive/data.pkl"])
def test_a_zip_that_unpacks_to_far_more_than_its_size_is_refused(member, tmp_path):
    path = tmp_path / "w.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, bytes(50 << 20))
    with pytest.raises(UsageError, match=r"claim|compressed"):
        read_layers(path)


@pytest.mark.parametrize("width", ["<f2", "<f4", "<f8"])
def test_weights_of_any_width_and_compressed_ones_are_read(width, tmp_path):
    path = tmp_path / "w.weights.h5"
    values = np.random.default_rng(0).normal(size=(3, 3, 16, 32)).astype(width)
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/conv1/vars")
        group.create_dataset("0", data=values, compression="gzip", shuffle=True)
        group.create_dataset("1", data=values[0])
        group.create_dataset("2", data=values[0, 0], chunks=(5, 7))
    for read, array in zip(
        read_layers(path)["conv1"], (values, values[0], values[0, 0]), strict=True
    ):
        np.testing.assert_array_equal(read, array.astype(np.float32))
