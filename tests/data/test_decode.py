"""The decoder compared with Pillow, and batches with bad items."""

from __future__ import annotations

import functools
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import unless_thorough
from tests.data.samples import (
    SAMPLES,
    by_pillow,
    encode,
    good_files,
    see_through,
    tiles,
    with_orientation,
)
from tests.fork_server import ForkServer
from tltool.data.catalog import Item
from tltool.data.decoding import image_formats
from tltool.data.decoding.decode import (
    decode_and_resize,
    decode_batch,
    decode_contents,
    decode_image,
)
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.pipeline import image_dataset, image_files

SPEC = DecodeSpec(20, 30)
GOOD = good_files()
decode = tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string)])


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def batch(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return decode_batch(data, SPEC)


def decoded(data: bytes) -> np.ndarray:
    return decode(tf.constant(data)).numpy().astype(np.int64)


def resized(data: bytes, spec: DecodeSpec = SPEC) -> np.ndarray:
    return decode_and_resize(tf.constant(data), spec).numpy()


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_decoded_as_pillow_decodes_it(name: str) -> None:
    data = SAMPLES[name]()
    expected = by_pillow(data)
    assert decoded(data).shape == expected.shape
    assert np.abs(decoded(data) - expected).max() <= 1


@pytest.mark.parametrize("name", sorted(GOOD))
def test_every_accepted_file_is_decoded_as_by_pillow(name: str, tmp_path: Path) -> None:
    data = GOOD[name]
    (tmp_path / name).write_bytes(data)
    found, expected = decoded(read_image_bytes(tmp_path / name)), by_pillow(data)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() <= 2


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(kind: str, orientation: int, big_endian: bool) -> None:
    data = with_orientation(tiles(), kind, orientation, big_endian=big_endian)
    expected = by_pillow(data)
    assert decoded(data).shape == expected.shape
    assert np.abs(decoded(data) - expected).max() <= 1


def test_a_corrupted_exif_block_does_not_affect_the_image() -> None:
    data = with_orientation(tiles(), "JPEG", 6)
    at = data.index(b"Exif") + 6
    for junk in (b"\xff" * 8, b"MM\x00*\xff\xff\xff\xf0", b"II*\x00\x08\x00\x00\x00\xff\xff"):
        found = decoded(data[:at] + junk + data[at + len(junk) :])
        assert sorted(found.shape) == [3, 60, 80]


def test_sixteen_bit_grey_keeps_its_range() -> None:
    values = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    found = decoded(encode(Image.fromarray(values), "PNG"))
    assert np.abs(found[..., 0] - values / 257).max() <= 1


@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    orientation=st.integers(1, 8),
    mode=st.sampled_from(["RGB", "L", "LA", "RGBA", "P", "1", "CMYK"]),
    kind=st.sampled_from(["JPEG", "PNG", "WEBP"]),
)
@settings(max_examples=60)
def test_any_size_mode_and_orientation_agrees_with_pillow(
    width: int, height: int, orientation: int, mode: str, kind: str
) -> None:
    image = see_through(tiles(width, height)).convert("RGBA" if mode == "LA" else "RGB")
    image = image.convert(mode)
    allowed = {"JPEG": "RGB L CMYK", "PNG": "RGB L LA RGBA P 1", "WEBP": "RGB RGBA"}
    if mode not in allowed[kind].split():
        image = image.convert("RGB")
    data = with_orientation(image, kind, orientation)
    expected = by_pillow(data)
    assert decoded(data).shape == expected.shape
    assert np.abs(decoded(data) - expected).max() <= 2


@functools.cache  # the bomb takes long to make
def damaged() -> dict[str, bytes]:
    jpeg, png = SAMPLES["jpeg"](), SAMPLES["png"]()
    return {
        "nothing": b"",
        "text": b"this is no image at all, only a text named so",
        "half a jpeg": jpeg[: len(jpeg) // 2],
        "a jpeg without its end": jpeg[:-2],
        "half a png": png[: len(png) // 2],
        "a png without its end": png[:-12],
        "half a gif": SAMPLES["gif"]()[:300],
        "half a webp": SAMPLES["webp"]()[:60],
        "half a bmp": SAMPLES["bmp"]()[:900],
        "a compressed bmp": SAMPLES["bmp"]()[:30] + b"\x01" + SAMPLES["bmp"]()[31:],
        "only signatures": b"\xff\xd8\xff",
        "png signature": b"\x89PNG\r\n\x1a\n",
        "webp signature": b"RIFF....WEBP",
        "gif signature": b"GIF8",
        "bmp signature": b"BM",
        "a pixel bomb": encode(Image.new("1", (20_000, 20_000)), "PNG"),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_data_raise_invalid_argument(name: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(damaged()[name])


def test_one_bad_item_does_not_fail_its_batch_and_order_is_kept() -> None:
    good = [encode(tiles(90 + i, 70, seed=i), "JPEG") for i in range(40)]
    items = [x for pair in zip(good, list(damaged().values()) * 3, strict=False) for x in pair]
    images, ok = batch(tf.constant(items))
    assert ok.numpy().tolist() == [True, False] * len(good)
    np.testing.assert_array_equal(images[::2], np.stack([resized(data) for data in good]))
    assert not images[1::2].numpy().any()


def test_an_empty_batch() -> None:
    images, ok = batch(tf.constant([], tf.string))
    assert images.shape == (0, 20, 30, 3)
    assert ok.shape == (0,)


@given(
    junk=st.lists(st.binary(max_size=200), max_size=4),
    start=st.sampled_from([b"", b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"]),
)
@settings(max_examples=60)
def test_random_bytes_never_fail_a_batch(junk: list[bytes], start: bytes) -> None:
    items = [start + data for data in junk] + [SAMPLES["jpeg"]()]
    images, ok = batch(tf.constant(items))
    assert ok.numpy()[-1]
    assert images.shape == (len(items), 20, 30, 3)


@given(data=st.data(), name=st.sampled_from(sorted(SAMPLES)))
@settings(max_examples=100)
def test_changed_bytes_in_a_file_never_fail_a_batch(data: st.DataObject, name: str) -> None:
    changed = bytearray(SAMPLES[name]())
    last = data.draw(st.sampled_from([30, 400, len(changed) - 1]), label="last place")
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, min(len(changed) - 1, last)))] = data.draw(
            st.integers(0, 255)
        )
    del changed[data.draw(st.sampled_from([len(changed), len(changed) // 2, 40]), label="end") :]
    _, ok = batch(tf.constant([bytes(changed), SAMPLES["png"]()]))
    assert ok.numpy()[1]


def test_an_opaque_animation_cannot_overwrite_memory() -> None:
    data = SAMPLES["webp animated"]()
    assert not data[20] & 16, "the sample must not declare alpha"
    for _ in range(20):
        assert decoded(data).shape == (60, 80, 3)


def test_training_prediction_and_the_exported_graph_see_the_same_pixels(
    tmp_path: Path, forked_tensorflow: ForkServer
) -> None:
    (tmp_path / "photos").mkdir()
    for name, data in GOOD.items():
        (tmp_path / "photos" / name).write_bytes(data)
    files = [Item(path, "x") for path in sorted((tmp_path / "photos").iterdir())]
    items = [*(read_image_bytes(file.path) for file in files), b"junk"]
    module = tf.Module()
    module.batch = batch
    tf.saved_model.save(module, str(tmp_path / "saved"))
    np.save(tmp_path / "items.npy", np.array(items, dtype=object), allow_pickle=True)
    program = (
        "import sys, numpy as np, tensorflow as tf\n"
        "tf.config.experimental.enable_op_determinism()\n"
        "loaded = tf.saved_model.load(sys.argv[1] + '/saved')\n"
        "items = np.load(sys.argv[1] + '/items.npy', allow_pickle=True).tolist()\n"
        "images, ok = loaded.batch(tf.constant(items))\n"
        "assert loaded.batch(tf.constant([], tf.string))[0].shape == (0, 20, 30, 3)\n"
        "np.savez(sys.argv[1] + '/found.npz', images=images, ok=ok)\n"
    )
    done = forked_tensorflow.run(program, str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    exported = np.load(tmp_path / "found.npz")
    predicted, ok = batch(tf.constant(items))
    np.testing.assert_array_equal(exported["images"], predicted)
    assert exported["ok"].tolist() == ok.numpy().tolist() == [True] * len(files) + [False]
    order = tf.range(len(files), dtype=tf.int64)
    trained = image_dataset(image_files(files), SPEC, order=order).as_numpy_iterator()
    np.testing.assert_array_equal(np.stack([image for _, image in trained]), predicted[:-1])


@pytest.mark.thorough
def test_the_formats_are_traced_once_for_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = SAMPLES["bmp"]()
    decoded(data)
    monkeypatch.delattr(tf.io, "decode_bmp")  # tracing its branch again would fail
    for spec in (DecodeSpec(17, 19), DecodeSpec(19, 17, "pad")):
        images, ok = decode_batch(tf.constant([data]), spec)
        assert ok.numpy().all()
        np.testing.assert_array_equal(images[0], resized(data, spec))


@pytest.mark.parametrize(
    "spec",
    unless_thorough([SPEC, DecodeSpec(20, 30, "crop"), DecodeSpec(20, 30, "pad")], SPEC),
    ids=str,
)
def test_decoding_in_threads_equals_the_batch_that_is_exported(spec: DecodeSpec) -> None:
    files = [b"", b"no image", *(sample() for sample in SAMPLES.values())]
    contents = [*files, SAMPLES["jpeg"]()[:300], *files]
    images, ok = decode_contents(contents, spec)
    expected, expected_ok = decode_batch(tf.constant(contents), spec)
    assert not ok[0]
    assert ok.sum() == 2 * len(SAMPLES)
    np.testing.assert_array_equal(ok, expected_ok)
    np.testing.assert_array_equal(images, expected)


def test_images_of_one_format_need_only_its_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first image of a process: the graph of all formats takes longer than a prediction."""
    monkeypatch.setattr(image_formats, "_decode_graph", functools.lru_cache(_not_traced))
    contents = [sample() for sample in SAMPLES.values()]
    alone = [decode_contents([data], SPEC) for data in contents]
    monkeypatch.undo()
    images, ok = decode_batch(tf.constant(contents), SPEC)
    np.testing.assert_array_equal(np.concatenate([one for one, _ in alone]), images)
    np.testing.assert_array_equal(np.concatenate([ok for _, ok in alone]), ok)


def _not_traced() -> None:
    raise AssertionError("the graph of all formats was traced")


def test_no_images_decode_to_an_empty_batch() -> None:
    images, ok = decode_contents([], SPEC)
    assert images.shape == (0, 20, 30, 3)
    assert images.dtype == tf.float32
    assert ok.shape == (0,)


def test_squash_stretches_to_the_size() -> None:
    data = encode(tiles(), "PNG")
    expected = tf.image.resize(decoded(data).astype(np.uint8), (20, 30), antialias=True)
    np.testing.assert_array_equal(resized(data), expected)
    assert resized(data).dtype == np.float32


@pytest.mark.parametrize("shape", [(200, 50), (50, 200), (61, 61), (1, 300)])
def test_crop_keeps_the_centre_and_the_aspect_ratio(shape: tuple[int, int]) -> None:
    stripes = np.zeros((*shape, 3), np.uint8)
    stripes[: shape[0] // 2, :, 0] = 255
    found = resized(encode(Image.fromarray(stripes), "PNG"), DecodeSpec(24, 24, "crop"))
    assert found.shape == (24, 24, 3)
    if shape[0] > 1:
        assert abs(found[..., 0].mean() - 127.5) < 6


def test_pad_keeps_the_whole_image_and_fills_with_black() -> None:
    data = encode(Image.new("RGB", (100, 50), "white"), "PNG")
    found = resized(data, DecodeSpec(40, 40, "pad"))
    assert found[10:30].min() > 254.9
    assert found[:10].max() == found[30:].max() == 0


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_decoded_at_a_smaller_scale_is_close_to_the_full_one(
    resize: str, orientation: int
) -> None:
    smooth = tiles(16, 12).resize((1600, 1200), Image.Resampling.BICUBIC)
    data = with_orientation(smooth, "JPEG", orientation)
    spec = DecodeSpec(100, 120, resize)
    whole = io.BytesIO()
    Image.fromarray(decoded(data).astype(np.uint8)).save(whole, "PNG")
    assert np.abs(resized(data, spec) - resized(whole.getvalue(), spec)).mean() < 1.5


def test_a_jpeg_is_never_decoded_below_the_target() -> None:
    fine = np.zeros((64, 64, 3), np.uint8)
    fine[:, ::8] = 255
    data = encode(Image.fromarray(fine), "JPEG", quality=100, subsampling=0)
    found = resized(data, DecodeSpec(64, 64))
    assert np.abs(found - decoded(data)).max() == 0
    half = resized(data, DecodeSpec(33, 33))
    assert half.max() - half.min() > 40


def test_the_spec_survives_json_and_rejects_invalid_values() -> None:
    spec = DecodeSpec(10, 12, "pad")
    assert DecodeSpec.from_json(spec.to_json()) == spec
    for bad in ({"height": 0, "width": 1}, {"height": 1, "width": 1, "resize": "stretch"}):
        with pytest.raises(ValueError, match="invalid decode spec"):
            DecodeSpec(**bad)


def test_a_huge_webp_is_rejected_by_its_header() -> None:
    data = bytearray(SAMPLES["webp alpha"]())
    assert data[12:16] == b"VP8X" or data[12:16] == b"VP8L"
    chunk = b"VP8X" + struct.pack("<IB3x", 10, 0) + b"\xff\xff\xff" + b"\xff\xff\xff"
    with pytest.raises(tf.errors.InvalidArgumentError, match="too_many_pixels"):
        decoded(bytes(data[:12]) + chunk + bytes(data[12:]))
