"""Weights files of others: no other file is read, and no size is believed that is not there."""

import io
import json
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from tltool.errors import UsageError
from tltool.weights.weights_formats import read_layers

SECRET = np.arange(8, dtype="<f4")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["s"] = SECRET
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    return tmp_path


def external_link(group: h5py.Group, folder: Path) -> None:
    group["0"] = h5py.ExternalLink(str(folder / "secret.h5"), "/s")


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
    group.create_dataset("0", (1 << 34,), "<f4", chunks=(1 << 20,))


def many_not_stored(group: h5py.Group, _folder: Path) -> None:
    for number in range(200):
        group.create_dataset(str(number), (1 << 18,), "<f4", chunks=(1 << 10,))[:1024] = 1


def compressed_zeros(group: h5py.Group, _folder: Path) -> None:
    group.create_dataset("0", data=np.zeros(1 << 22, "<f4"), compression=9)


def one_array_under_many_names(group: h5py.Group, _folder: Path) -> None:
    group["0"] = np.zeros(1 << 10, "<f4")
    for number in range(1, 100):
        group[str(number)] = group["0"]


ATTACKS = {
    external_link: "link to another place",
    external_storage: "in another file",
    virtual: "virtual",
    soft_link_to_external: "link to another place",
    not_stored: "claims 68,719,476,736 bytes and contains 0",
    many_not_stored: "claims 1,048,576 bytes and contains|it claims",
    compressed_zeros: "claims 16,777,216 bytes",
    one_array_under_many_names: "share the array",
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("layout", ["w.weights.h5", "w.h5", "w.keras"])
def test_a_file_that_reaches_or_claims_more_than_it_holds_is_refused(attack, layout, secret):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        if layout == "w.h5":
            group = file.create_group("conv1")
            file.attrs["layer_names"] = [b"conv1"]
            attack(group, secret)
            group.attrs["weight_names"] = [name.encode() for name in group]
        else:
            attack(file.create_group("layers/conv1/vars"), secret)
    path = secret / layout
    if layout == "w.keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.weights.h5", content.getvalue())
    else:
        path.write_bytes(content.getvalue())
    with pytest.raises(UsageError, match=ATTACKS[attack]) as caught:
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
