"""The decoder compared with tifffile, imagecodecs and Pillow on odd, intact files.

A library may decode a rare file wrongly without an error. So a file is right, or it is called
unsupported; never is it damaged, and never are its pixels others than a second decoder sees.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.odd_images import Odd, converted, native
from tests.data.odd_pngs import pngs
from tests.data.odd_tiffs import few_bits, lab_tiff, premultiplied, tiffs, turned_planes
from tests.data.unsupported_images import UNSUPPORTED
from tltool.data.audit.inspect_file import image_decoder, inspect_file
from tltool.data.catalog import Item
from tltool.data.decoding.decode import decode_batch, decode_image
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.image_errors import BadFileError, UnsupportedError
from tltool.data.decoding.transcode import (
    decodes_as_stored,
    on_white,
    open_as_decoded,
    read_image_bytes,
)
from tltool.data.pipeline import image_dataset, image_files

NATIVE = [*native(), *pngs()]
CONVERTED = [*converted(), *tiffs(), *premultiplied(), *few_bits(), turned_planes(), lab_tiff()]
decode = tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string)])


def decoded(data: bytes) -> np.ndarray:
    return decode(tf.constant(data)).numpy().astype(np.float64)


def check(odd: Odd, found: np.ndarray) -> None:
    assert odd.pixels is not None
    assert found.shape == odd.pixels.shape
    assert np.abs(found - odd.pixels).max() <= odd.tolerance


@pytest.mark.parametrize("odd", NATIVE, ids=lambda odd: odd.name)
def test_an_odd_file_is_decoded_as_it_is_stored(odd: Odd) -> None:
    assert decodes_as_stored(odd.data)
    check(odd, decoded(odd.data))


@pytest.mark.parametrize("odd", CONVERTED, ids=lambda odd: odd.name)
def test_a_converted_file_has_the_pixels_that_a_second_decoder_sees(
    odd: Odd, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(odd.data)
    assert not decodes_as_stored(odd.data)
    if odd.pixels is None:
        with pytest.raises(UnsupportedError):
            read_image_bytes(tmp_path / "x")
        return
    check(odd, decoded(read_image_bytes(tmp_path / "x")))
    shown = on_white(open_as_decoded(odd.data)).convert("RGB")  # for thumbnails and heat maps
    assert np.abs(np.asarray(shown) - odd.pixels).max() <= odd.tolerance + 1


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_intact_file_of_a_rare_kind_is_unsupported_and_not_damaged(
    name: str, tmp_path: Path
) -> None:
    make, reason = UNSUPPORTED[name]
    path = tmp_path / "x.tif"
    path.write_bytes(make())
    with pytest.raises(BadFileError) as bad:
        inspect_file(Item(path, "a"), max_pixels=10**7, decode=image_decoder())
    assert bad.value.kind == "unsupported"
    assert reason in bad.value.detail
    assert "8-bit" in bad.value.mend or "as JPEG or PNG" in bad.value.mend


def test_the_exported_decoder_rejects_what_must_be_converted() -> None:
    files = [odd.data for odd in CONVERTED] + [make() for make, _ in UNSUPPORTED.values()]
    odd = NATIVE
    images, ok = decode_batch(
        tf.constant([*files, *(each.data for each in odd)]), DecodeSpec(16, 16)
    )
    assert ok.numpy().tolist() == [False] * len(files) + [True] * len(odd)
    assert not images[: len(files)].numpy().any()


def test_training_reads_a_converted_jpeg_through_the_conversion(tmp_path: Path) -> None:
    lossless = next(odd for odd in CONVERTED if odd.name == "jpeg lossless")
    path = tmp_path / "x.jpg"
    path.write_bytes(lossless.data)
    found = inspect_file(Item(path, "a"), max_pixels=10**7, decode=image_decoder())
    assert found.item.format == "jpeg"
    order = tf.constant([0], tf.int64)
    spec = DecodeSpec(60, 80)
    ((_, image),) = image_dataset(image_files([found.item]), spec, order=order)
    check(lossless, image.numpy())


def test_a_gif_of_a_huge_screen_is_rejected_before_it_is_filled() -> None:
    data = bytearray(native()[0].data)
    data[6:10] = b"\xff\xff\xff\xff"
    with pytest.raises(tf.errors.InvalidArgumentError, match="too_many_pixels"):
        decoded(bytes(data))


def test_the_screen_of_a_gif_is_as_large_as_pillow_shows_it() -> None:
    for odd in native()[:4]:
        assert Image.open(io.BytesIO(odd.data)).size == decoded(odd.data).shape[1::-1]
