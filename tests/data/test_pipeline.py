"""Batches from files: the requested order, bit-identical to the decoder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import PhotoMaker, picture
from tests.data.samples import SAMPLES, by_pillow, encode, see_through, tiles
from tltool.data.audit.audit import audit
from tltool.data.catalog import Item
from tltool.data.decoding.decode import decode_and_resize
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.pipeline import image_dataset, image_files
from tltool.data.sources.folder import read_folder
from tltool.errors import DataError
from tltool.events import SilentObserver

SPEC = DecodeSpec(16, 16)


def batches_of(
    items: Sequence[Item], batch_size: int, order: np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    order = np.arange(len(items)) if order is None else order
    images = image_dataset(image_files(items), SPEC, order=tf.constant(order, tf.int64))
    return list(images.batch(batch_size).as_numpy_iterator())


def mixed_photos(make_photos: PhotoMaker) -> Path:
    root = make_photos(n=4)
    picture(77).save(root / "dog" / "a.tif")
    tiles().quantize(4).save(root / "cat" / "p.bmp")
    (root / "cat" / "c.webp").write_bytes(SAMPLES["webp alpha"]())
    return root


@pytest.mark.parametrize("audited", [True, False])
def test_images_are_bit_identical_to_the_decoder(make_photos: PhotoMaker, audited: bool) -> None:
    listing = read_folder(mixed_photos(make_photos))
    items = listing.items
    if audited:
        checked = audit(
            listing,
            on_bad="fail",
            max_bad_fraction=0,
            max_pixels=10**7,
            observer=SilentObserver(),
        )
        items = checked.catalog.items
    batches = batches_of(items, 4)
    assert [len(index) for index, _ in batches] == [4, 4, 3]
    images = np.concatenate([images for _, images in batches])
    expected = [decode_and_resize(read_image_bytes(item.path), SPEC) for item in items]
    np.testing.assert_array_equal(images, np.stack(expected))


def test_the_requested_order_is_kept(make_photos: PhotoMaker) -> None:
    items = read_folder(make_photos(n=20)).items
    order = np.random.default_rng(0).permutation(40)[:30]
    batches = batches_of(items, 7, order)
    np.testing.assert_array_equal(np.concatenate([index for index, _ in batches]), order)
    again = batches_of(items, 30, order)
    np.testing.assert_array_equal(np.concatenate([x for _, x in batches]), again[0][1])


def test_the_shapes_are_known_to_the_graph(make_photos: PhotoMaker) -> None:
    items = read_folder(make_photos(n=1)).items
    order = tf.range(2, dtype=tf.int64)
    index, image = image_dataset(image_files(items), SPEC, order=order).element_spec
    assert image == tf.TensorSpec([16, 16, 3], tf.float32)
    assert index == tf.TensorSpec([], tf.int64)


def test_a_file_damaged_after_the_audit_is_an_error(make_photos: PhotoMaker) -> None:
    items = read_folder(make_photos(n=1)).items
    items[0].path.write_bytes(SAMPLES["jpeg"]()[:200])
    with pytest.raises(tf.errors.InvalidArgumentError):
        batches_of(items, 4)


@pytest.mark.parametrize("kind", ["TIFF", "JPEG2000", "PPM", "AVIF"])
def test_other_formats_are_transcoded_without_loss_of_size(tmp_path: Path, kind: str) -> None:
    tiles().save(tmp_path / "x", kind, quality=100)
    found = np.asarray(by_pillow(read_image_bytes(tmp_path / "x")))
    assert np.abs(found - by_pillow((tmp_path / "x").read_bytes())).max() == 0


def test_alpha_orientation_and_depth_survive_transcoding(tmp_path: Path) -> None:
    see_through(tiles()).save(tmp_path / "alpha.tif")
    assert by_pillow(read_image_bytes(tmp_path / "alpha.tif")).max() == 255
    exif = Image.Exif()
    exif[0x0112] = 6
    tiles().save(tmp_path / "turned.tif", exif=exif)
    assert by_pillow(read_image_bytes(tmp_path / "turned.tif")).shape == (80, 60, 3)
    deep = Image.fromarray((np.arange(4096).reshape(64, 64) * 16).astype(np.uint16))
    deep.save(tmp_path / "deep.tif")
    data = read_image_bytes(tmp_path / "deep.tif")
    assert tf.io.decode_png(data, dtype=tf.uint16).numpy().max() == 4095 * 16


@pytest.mark.parametrize("name", SAMPLES)
def test_formats_of_the_decoder_are_not_transcoded(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(SAMPLES[name]())
    assert read_image_bytes(tmp_path / "x") == SAMPLES[name]()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an image"),
        (b"text", "not an image"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 60, "HEIC"),
        (encode(tiles(), "TIFF")[:3000], "damaged or truncated"),
        (encode(Image.new("1", (20_000, 20_000)), "TIFF", compression="group4"), "too many pixels"),
        (
            encode(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"),
            "range of values is not defined",
        ),
    ],
)
def test_an_unreadable_file_is_a_clear_error(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.tif").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_image_bytes(tmp_path / "x.tif")


def test_the_catalog_does_not_import_tensorflow() -> None:
    program = (
        "import sys, tltool.data.audit.audit, tltool.data.splits.split\n"
        "import tltool.data.decoding.transcode\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
