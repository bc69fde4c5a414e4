"""The golden set: a few images with their expected probabilities, stored in every export."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.data.decoding.decode import decode_image
from tltool.errors import GateError, reading
from tltool.runs.npz_file import read_arrays

GOLDEN_ASSET = "golden.npz"
GOLDEN_IMAGES = 16
LARGEST = 2**18  # bytes; a larger image is stored as a smaller copy
_SMALL_SIDE = 640


@dataclass(frozen=True)
class Golden:
    """N encoded images and their expected probabilities, float32 [N, C]."""

    images: tuple[bytes, ...]
    probabilities: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """Return the content of the asset."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            contents=np.frombuffer(b"".join(self.images), np.uint8),
            ends=np.cumsum([len(image) for image in self.images]),
            probabilities=self.probabilities,
        )
        return buffer.getvalue()


def read_golden(folder: Path) -> Golden:
    """Return the golden set of the export in ``folder``.

    Raises:
        GateError: the golden set is missing or damaged.
    """
    path = folder / "assets" / GOLDEN_ASSET
    with reading(path, "golden set", error=GateError):
        arrays = read_arrays(path)
        contents, ends = arrays["contents"].tobytes(), arrays["ends"].tolist()
        probabilities = arrays["probabilities"].astype(np.float32)
        starts = [0, *ends[:-1]]
        images = tuple(contents[start:end] for start, end in zip(starts, ends, strict=True))
        if probabilities.ndim != 2 or len(probabilities) != len(images):
            raise ValueError("it has another number of images than of predictions")
    return Golden(images, probabilities)


def golden_images(contents: Sequence[bytes]) -> list[bytes]:
    """Return up to ``GOLDEN_IMAGES`` of ``contents``, large ones as smaller copies."""
    count = min(GOLDEN_IMAGES, len(contents))
    chosen = np.unique(np.linspace(0, len(contents) - 1, count).astype(int))
    return [_small(contents[position]) for position in chosen]


def _small(content: bytes) -> bytes:
    if len(content) <= LARGEST:
        return content
    with tf.device("/CPU:0"):
        image = decode_image(tf.constant(content))
        resized = tf.image.resize(
            image, [_SMALL_SIDE, _SMALL_SIDE], preserve_aspect_ratio=True, antialias=True
        )
        encoded: bytes = tf.io.encode_jpeg(tf.cast(resized, tf.uint8), quality=90).numpy()
    return encoded
