"""Images decoded once, at the size of training, in a file that every epoch reads instead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from weakref import WeakValueDictionary

import numpy as np
import tensorflow as tf

from tltool.data.catalog import Item
from tltool.data.decoding.decode import decode_and_resize
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.graph_tracing import without_autograph
from tltool.data.decoding.transcode import read_image_bytes
from tltool.features.feature_store import FeatureStore, StoredContents
from tltool.features.stored_rows import Column, stored_bytes

PixelType = Literal["uint8", "float32"]
"""uint8 rounds the pixels, which resizing leaves between whole numbers; float32 is exact."""

DECODED = StoredContents(
    "decoded images", "or train without them: --set train.cache_decoded=off, which is slower"
)
_READS_AHEAD = 2


# A pass names a file by its path, because a graph takes no objects.
_open_columns: WeakValueDictionary[Path, Column] = WeakValueDictionary()


@dataclass(frozen=True)
class DecodedImages:
    """Decoded images in a file, one after another.

    Attributes:
        path: the file: rows ``pixels`` [height, width, 3], RGB in 0…255.
        pixels: type of the values.
        column: its rows, opened.
    """

    path: Path
    pixels: PixelType
    column: Column = field(compare=False)

    def __post_init__(self) -> None:
        _open_columns[self.path] = self.column


def image_bytes(decode: DecodeSpec, pixels: PixelType) -> int:
    """Return how many bytes a decoded image takes on the disk."""
    return stored_bytes(np.dtype(pixels), (decode.height, decode.width, 3))


def decoded_store(
    folder: Path, decode: DecodeSpec, *, count: int, pixels: PixelType
) -> FeatureStore:
    """Return the store of ``count`` decoded images, with what an earlier process put there.

    Raises:
        EnvironmentProblem: no disk space for all of them.
    """
    columns = {"images": (np.dtype(pixels), (decode.height, decode.width, 3))}
    return FeatureStore(folder, count=count, columns=columns, contents=DECODED)


def decode_again(
    store: FeatureStore,
    items: Sequence[Item],
    decode: DecodeSpec,
    pixels: PixelType,
    rows: Sequence[int],
) -> None:
    """Decode images anew whose rows of a store are damaged.

    Args:
        store: of all images.
        items: the images.
        decode: as in the store.
        pixels: as in the store.
        rows: numbers of the images.

    Raises:
        ChangedImageError: an image is not as it was in the audit.
    """
    for row in rows:
        data = read_image_bytes(items[row].path, sha256=items[row].sha256)
        image = to_pixels(decode_and_resize(tf.constant(data), decode), pixels)
        store.columns["images"].write(row, image.numpy()[np.newaxis])


def to_pixels(images: tf.Tensor, pixels: PixelType) -> tf.Tensor:
    """Return float32 images in 0…255 as ``pixels``; for uint8 rounded to the nearest number."""
    if pixels == "float32":
        return images
    return tf.cast(tf.round(tf.clip_by_value(images, 0, 255)), tf.uint8)


def decoded_dataset(
    path: tf.Tensor,
    decode: DecodeSpec,
    *,
    pixels: PixelType,
    count: tf.Tensor,
    draws: tf.Tensor,
    batch_size: int,
) -> tf.data.Dataset:
    """Read decoded images in batches; also works inside a ``tf.function``.

    Args:
        path: the file, scalar string.
        decode: the size of the images.
        pixels: their type.
        count: number of images N in the file, scalar int64.
        draws: int64 [M]; draw d is of image d modulo N.
        batch_size: images per batch.

    Returns:
        Dataset of (draws int64 [B], images of type ``pixels`` [B, height, width, 3]).
    """
    shape = (decode.height, decode.width, 3)

    def read(file: bytes, number: int, positions: np.ndarray) -> np.ndarray:
        # not a memory map: a page that must come from the disk would stop all of Python
        path = Path(os.fsdecode(file))
        column = _open_columns.get(path) or Column(path, np.dtype(pixels), shape, int(number))
        return column.take(positions.tolist())

    @without_autograph
    def load(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs = [path, count, batch % count]
        images = tf.numpy_function(read, inputs, tf.as_dtype(pixels), stateful=False)
        return batch, tf.ensure_shape(images, (None, *shape))

    batches = tf.data.Dataset.from_tensor_slices(draws).batch(batch_size)
    return batches.map(load, num_parallel_calls=_READS_AHEAD, deterministic=True)
