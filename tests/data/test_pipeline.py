"""Batches from files: the requested order, bit-identical to the decoder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from tests.conftest import PhotoMaker, picture
from tests.data.samples import SAMPLES, by_pillow, encode, see_through, tiles
from tltool.data import pipeline as pipeline_module
from tltool.data.audit.audit import audit
from tltool.data.catalog import Item
from tltool.data.decoding import decode as decode_module
from tltool.data.decoding.decode import decode_and_resize, decode_batch, decode_contents
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.gif import first_frame
from tltool.data.decoding.image_formats import decode_stored
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.pipeline import image_dataset, image_files, parallel_calls
from tltool.data.sources.folders.folder import read_folder
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
    content = SAMPLES[name]()
    (tmp_path / "x").write_bytes(content)
    # of a GIF, what is behind the first frame is left out
    assert read_image_bytes(tmp_path / "x") == first_frame(content)


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


@pytest.mark.parametrize(
    ("cores", "memory", "calls"),
    [(2, 2**40, 2), (64, 2**40, 64), (64, 2**32, 8), (64, 2**20, 1)],
)
def test_as_many_images_are_decoded_at_once_as_cores_and_memory_allow(
    monkeypatch: pytest.MonkeyPatch, cores: int, memory: int, calls: int
) -> None:
    monkeypatch.setattr(pipeline_module, "cores", lambda: cores)
    monkeypatch.setattr(pipeline_module, "available_memory", lambda: memory)
    assert parallel_calls() == calls


def test_the_catalog_does_not_import_tensorflow() -> None:
    program = (
        "import sys, tltool.data.audit.audit, tltool.data.splits.split\n"
        "import tltool.data.decoding.transcode\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_decoding_has_no_stateful_op(resize: Literal["squash", "crop", "pad"]) -> None:
    """Under op determinism TensorFlow runs functions with stateful ops one at a time."""
    spec = DecodeSpec(20, 16, resize=resize)
    decode = tf.function(lambda data: decode_and_resize(data, spec), autograph=False)
    graph = decode.get_concrete_function(tf.TensorSpec([], tf.string)).graph.as_graph_def()
    functions = [function.node_def for function in graph.library.function]
    ops = {node.op for nodes in (graph.node, *functions) for node in nodes}
    assert {"DecodeJpeg", "DecodePng", "DecodeBmp"} <= ops
    definitions = [op_def_registry.get(op) for op in ops]  # None for a function
    assert not [each.name for each in definitions if each is not None and each.is_stateful]


def test_only_the_branch_of_an_image_is_visited() -> None:
    """Flattened by TensorFlow, the branches of all formats cost CPU time for every image."""
    spec = DecodeSpec(20, 16, resize="crop")
    decode = tf.function(lambda data: decode_batch(data, spec), autograph=False)
    graph = decode.get_concrete_function(tf.TensorSpec([None], tf.string)).graph.as_graph_def()
    nodes = [node for function in graph.library.function for node in function.node_def]
    branches = [node for node in nodes if "If" in node.op or "Case" in node.op]
    assert branches and not [each.name for each in branches if each.attr[LOWERED].b]


LOWERED = "_lower_using_switch_merge"


def test_the_decoder_is_traced_once_and_saved_once(
    make_photos: PhotoMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracing takes a second of CPU time, and each copy in an export 0.3 MB and half a second."""
    spec, traced = DecodeSpec(18, 14, resize="pad"), []

    def counted(*args: Any, **keywords: Any) -> tuple[tf.Tensor, tf.Tensor]:
        traced.append(args)
        return decode_stored(*args, **keywords)

    monkeypatch.setattr(decode_module, "decode_stored", counted)

    def signature(offset: float) -> Any:
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
        def images(data: tf.Tensor) -> tf.Tensor:
            return decode_batch(data, spec)[0] + offset

        return images

    module = tf.Module()
    module.functions = {f"s{number}": signature(float(number)) for number in range(3)}
    tf.saved_model.save(module, str(tmp_path), signatures=module.functions)
    order = tf.range(2, dtype=tf.int64)
    list(image_dataset(image_files(read_folder(make_photos(n=1)).items), spec, order=order))
    decode_contents([SAMPLES["bmp"](), SAMPLES["gif"]()], spec)
    assert len(traced) == 1
    saved = saved_model_pb2.SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    resizes = [n.name for f in functions for n in f.node_def if n.op == "ScaleAndTranslate"]
    assert len(resizes) == 1


@pytest.mark.thorough
def test_images_are_loaded_at_once_under_determinism(make_photos: PhotoMaker) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two cores")
    root = make_photos(n=4)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(root)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 1


LOAD = """
import sys, threading, time
import numpy as np, tensorflow as tf
from tltool.data import pipeline
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.open import read_source
from tltool.features.image_source import ImageSource

tf.config.experimental.enable_op_determinism()
read, running, most, lock = pipeline.read_image_bytes, 0, 0, threading.Lock()

def slowly(path, **options):
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    time.sleep(0.2)
    with lock:
        running -= 1
    return read(path, **options)

pipeline.read_image_bytes = slowly  # of items that no audit has seen
items = read_source(sys.argv[1]).items
labels = np.zeros(len(items), np.int64)
for batch in ImageSource(items, labels, 2, DecodeSpec(16, 16), batch_size=4).original():
    pass
print(most)
"""
