"""A file that holds no weights is named for what it is, and a model's own file is read whole."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tltool.errors import UsageError
from tltool.weights.other_content import other_content
from tltool.weights.weights_formats import read_layers

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 58889256\n"


def tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.h5"))
    return content.getvalue()


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    return content.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title></html>", "it is a web page"),
        (b"\n\n  <HTML lang=en>", "it is a web page"),
        (b"\xef\xbb\xbf<!-- saved -->\n<!doctype HTML>", "it is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "it is an XML text"),
        (b'{"error": "Repository not found"}', 'it is a text that begins with \'{"error"'),
        (b"Invalid username or password.", "it is a text that begins with 'Invalid username"),
        (POINTER, "it is a Git LFS pointer, not the file itself; run: git lfs pull"),
        (b"", "it is empty"),
        (bytes(5000), "it begins with zeros only"),
        (gzip.compress(b"weights", mtime=0), "it is compressed with gzip"),
        (tar(), "it is a tar archive"),
        (zipped(), "its pickle is damaged"),
        (pickle.dumps({"a": 1}, 2), "it is a Python pickle"),
        (pickle.dumps({"a": 1}, 4), "it is a Python pickle"),
        (b"\x93NUMPY\x01\x00", "it is a NumPy array"),
        (b"%PDF-1.7", "it is a PDF document"),
        (b"\x08\x07" + b"\xff" * 50, "cannot be read"),
        (b"\xff\xd8\xff\xe0" + b"\xff" * 50, "cannot be read"),
    ],
)
def test_a_file_without_weights_is_named_for_what_it_is(tmp_path, data, expected):
    path = tmp_path / "vgg16.onnx"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        read_layers(path)
    assert str(path) in caught.value.message
    assert expected in caught.value.message


@given(st.binary(max_size=300))
def test_any_bytes_are_named_or_may_be_onnx(data):
    words = other_content(data)
    assert words is None or words.startswith("it ")


def nested(depth: int) -> keras.Model:
    """Return a classifier of one's own around a backbone, as many tutorials build it."""
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, name="block1_conv1")(inputs)
    x = keras.layers.BatchNormalization(name="bn1")(x)
    x = keras.layers.Conv2D(5, 3, name="block1_conv2")(x)
    model = keras.Model(inputs, x, name="vgg16")
    for number in range(depth):
        model = keras.Sequential(
            [keras.Input((16, 16, 3)), model, keras.layers.ReLU()], name=f"level{number}"
        )
    flat, logits = keras.layers.Flatten(), keras.layers.Dense(3, name="logits")
    return keras.Sequential([keras.Input((16, 16, 3)), model, flat, logits])


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("name", ["mine.keras", "mine.h5", "mine.weights.h5"])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*HDF5 file.*")
def test_the_backbone_inside_a_model_of_ones_own_is_read_from_every_file(tmp_path, name, depth):
    model = nested(depth)
    path = tmp_path / name
    model.save_weights(path) if "weights" in name else model.save(path)
    inner = model
    while "vgg16" not in [layer.name for layer in inner.layers]:
        inner = inner.layers[0]
    backbone = inner.get_layer("vgg16")
    layers = read_layers(path)
    for layer in (backbone.get_layer(n) for n in ("block1_conv1", "bn1", "block1_conv2")):
        assert len(layers[layer.name]) == len(layer.weights)
        for found, weight in zip(layers[layer.name], layer.weights, strict=True):
            np.testing.assert_array_equal(found, weight)
    assert layers["logits"][0].shape[1] == 3
