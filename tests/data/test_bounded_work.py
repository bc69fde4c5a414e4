"""One image takes bounded time and memory: its size and scans are read before it is decoded."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.odd_images import chunk
from tests.data.samples import SAMPLES, encode, tiles
from tests.data.test_gif import frames
from tltool.data.audit.inspect_file import image_decoder, inspect_file
from tltool.data.catalog import Item
from tltool.data.decoding.decode import decode_image
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.decoding_budget import DecodingBudget
from tltool.data.decoding.image_errors import BadFileError, DamagedError
from tltool.data.decoding.image_size import ImageSize, read_size
from tltool.data.decoding.jpeg_scans import count_scans
from tltool.data.decoding.transcode import prepare, read_image_bytes
from tltool.data.pipeline import image_dataset, image_files
from tltool.errors import DataError

EMPTY_SCAN = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00"


def with_scans(count: int, between: bytes = b"", side: int = 64) -> bytes:
    """Return a progressive JPEG with ``count`` further scans without data."""
    data = encode(tiles(side, side), "JPEG", progressive=True)
    return data[:-2] + (between + EMPTY_SCAN) * count + b"\xff\xd9"


@pytest.mark.parametrize(
    "data",
    [with_scans(600), with_scans(600, b"\xff" * 9), with_scans(600, b"\xff\xfe\0\4ab"),
     with_scans(600, b"abc\xff\0\xff\xd3"), with_scans(5000)],
    ids=["plain", "fill bytes", "comments", "rubbish", "thousands"],
)  # fmt: skip
def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match="takes too long to decode") as refused:
        read_image_bytes(path)
    assert str(path) in refused.value.message
    with pytest.raises(BadFileError) as bad:
        inspect_file(Item(path, "a"), max_pixels=10**7, decode=image_decoder())
    assert "500 scans" in bad.value.detail


def test_the_scans_are_counted_with_the_pixels() -> None:
    data = with_scans(90, side=200)
    assert prepare(data, name="it") is data
    with pytest.raises(DataError, match=r"200 x 200 pixels in 100 scans"):
        prepare(data, name="it", max_pixels=200_000)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_usual_jpeg_files_are_within_the_limit_at_any_size(mode: str, progressive: bool) -> None:
    data = encode(tiles().convert(mode), "JPEG", progressive=progressive)
    size = read_size(data)
    assert size is not None
    assert prepare(data, name="it", max_pixels=size.pixels) is data


def test_scans_behind_the_end_of_the_image_are_not_counted() -> None:
    photo = encode(tiles(), "JPEG", progressive=True)
    assert count_scans(photo + with_scans(600)) == count_scans(photo) == 10


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "JPEG2000", "PPM",
                                  "ICO", "AVIF", "DIB"])  # fmt: skip
def test_the_size_is_read_from_the_bytes_of_every_format(kind: str) -> None:
    data = encode(tiles(48, 32), kind, **({"sizes": [(48, 32)]} if kind == "ICO" else {}))
    assert read_size(data) is not None
    assert read_size(data)[:2] == (48, 32)


def test_lossless_and_extended_webp_have_a_size() -> None:
    for options in ({"lossless": True}, {"exif": b"Exif\0\0"}, {"quality": 50}):
        assert read_size(encode(tiles(50, 31), "WEBP", **options)) == ImageSize(50, 31)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "JPEG2000", "AVIF"])
def test_a_file_that_ends_inside_its_header_has_no_size(kind: str) -> None:
    whole = encode(tiles(48, 32), kind)
    for length in range(20):
        assert read_size(whole[:length]) is None


def test_an_icon_has_the_size_of_the_image_inside() -> None:
    inner = encode(tiles(300, 200), "PNG")
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    assert read_size(b"\0\0\1\0\1\0" + entry + inner) == ImageSize(300, 200)


def test_a_text_does_not_hide_the_size_of_a_png(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 6, 0, 0, 0)
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**21)))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text
    (tmp_path / "a.png").write_bytes(start + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="20000 x 20000"):
        read_image_bytes(tmp_path / "a.png")


def test_compressed_texts_of_a_png_are_not_given_to_the_decoder() -> None:
    image = tiles()
    data = encode(image, "PNG")
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20)))
    prepared = prepare(data[:33] + text * 3 + data[33:], name="it")
    assert prepared == data
    assert prepare(data, name="it") is data


@pytest.mark.parametrize(
    ("size", "length"), [((5000, 4000), 0), ((100, 100), 5_000_000)], ids=["pixels", "bytes"]
)
@pytest.mark.parametrize("start", [0, 14], ids=["bmp", "dib"])
def test_a_bmp_whose_run_lengths_take_long_is_refused(
    size: tuple[int, int], length: int, start: int
) -> None:
    for compression in (1, 2):
        header = struct.pack("<IiiHHIIiiII", 40, *size, 1, 8, compression, 0, 0, 0, 0, 0)
        data = (b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header)[start:]
        with pytest.raises(DataError, match="takes too long to decode: a BMP with run-length"):
            prepare(data + bytes(length), name="it")


@pytest.mark.parametrize(
    "text",
    [b"P2 2 1 255\n1", b"P2 2 1 255\n1 256", b"P2 2 1 255\n1 -1", b"P2 2 1 255\n1 99999999999",
     b"P2 2 1 0\n1 1", b"P1 2 1\n02", b"P3 1 1 9#\n1 1 1", b"P5 2 1 127\n1", b"P4 9 1\n1"],
)  # fmt: skip
def test_a_netpbm_text_with_other_numbers_is_damaged(text: bytes) -> None:
    with pytest.raises(DamagedError, match="it is damaged or truncated"):
        prepare(text, name="it")


def test_only_the_first_frame_of_a_gif_is_read_in_training(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(frames(8, side=16))
    assert len(read_image_bytes(path)) < path.stat().st_size / 4
    item = inspect_file(Item(path, "a"), max_pixels=10**7, decode=image_decoder()).item
    (read,) = image_dataset(
        image_files([item]), DecodeSpec(16, 16), order=tf.constant([0], tf.int64)
    )
    np.testing.assert_array_equal(read[1], decode_image(tf.constant(path.read_bytes())))


def test_transparency_is_blended_alike_in_all_strips() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1101, 1003, 4), dtype=np.uint8)  # more than one strip
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    decoded = decode_image(tf.constant(buffer.getvalue())).numpy()
    colour, alpha = pixels[..., :3].astype(np.float64), pixels[..., 3:] / 255
    np.testing.assert_array_equal(decoded, np.round(colour * alpha + 255 * (1 - alpha)))


def test_large_images_are_decoded_within_the_budget_and_small_ones_at_once() -> None:
    large = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", 4000, 4000, 8, 6, 0, 0, 0)
    )
    budget = DecodingBudget(150_000_000)  # one of 128 MB fits
    entered, release = threading.Event(), threading.Event()

    def second() -> None:
        with budget.hold(large):
            entered.set()

    with budget.hold(large):
        thread = threading.Thread(target=second)
        thread.start()
        with budget.hold(SAMPLES["png"]()):
            release.set()
        assert release.is_set()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()
