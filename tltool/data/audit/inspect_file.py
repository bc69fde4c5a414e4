"""Inspects one image file: format, header, decoding, and properties worth a warning."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tltool.data.audit.bad_files import BROKEN_LINK, LINK_LOOP
from tltool.data.audit.file_warnings import FileWarning, file_warnings
from tltool.data.catalog import Item
from tltool.data.decoding import transcode
from tltool.data.decoding.decoding_budget import IN_THIS_PROCESS
from tltool.data.decoding.gif import is_truncated
from tltool.data.decoding.header import Header, read_header
from tltool.data.decoding.image_errors import BadFileError, ImageError, UnreadableError
from tltool.data.decoding.image_file import content_of, open_image_file
from tltool.data.decoding.unreadable import unsupported, unsupported_reason
from tltool.data.duplicates import perceptual_hash
from tltool.errors import DataError


class DecodedFacts(NamedTuple):
    """The properties found by decoding a file.

    Attributes:
        height: of the upright image, in pixels.
        width: of the upright image.
        orientation: the EXIF value as stored.
        thumbnail: the upright image averaged to float32 [32, 32, 3] in 0..255.
        sharpness: variance of its Laplacian (``Item.sharpness``).
        levels: its darkest and its brightest value in any channel, 0 to 255.
    """

    height: int
    width: int
    orientation: int
    thumbnail: NDArray[np.float32]
    sharpness: float
    levels: tuple[int, int]


Decoder = Callable[[bytes], DecodedFacts]

_FOCUS_SIDE = 128  # pixels per side at which sharpness is measured, to be independent of size


@dataclass(frozen=True)
class Inspected:
    """A usable file.

    Attributes:
        item: audited.
        warnings: about the file.
        header: of the file.
        decoded: what decoding has shown.
        size: in bytes.
    """

    item: Item
    warnings: list[FileWarning]
    header: Header
    decoded: DecodedFacts
    size: int


def inspect_file(item: Item, *, max_pixels: int, decode: Decoder) -> Inspected:
    """Open, measure, hash and fully decode one file.

    Raises:
        BadFileError: it cannot be used.
    """
    with as_bad_file_error():
        return _inspect(item, max_pixels, decode)


@contextmanager
def as_bad_file_error() -> Iterator[None]:
    """Convert the errors of reading a file to ``BadFileError``."""
    try:
        yield
    except ImageError as error:
        raise error.as_bad_file() from None
    except DataError as error:
        raise BadFileError("unsupported", error.message) from None
    except OSError as error:
        raise BadFileError("unreadable", error.strerror or str(error)) from None
    except MemoryError:
        raise BadFileError("too large", "does not fit into memory") from None


def read_file(path: Path, max_pixels: int) -> tuple[Header, bytes]:
    """Return the header and the bytes of a file; one with too many pixels is not read.

    Raises:
        BadFileError: it is empty, not a regular file, without a complete image header, or a GIF
            that is truncated after its first frame.
        OSError: the file cannot be read.
    """
    _check_link(path)
    try:
        with open_image_file(path) as (file, size):
            if size == 0:
                raise BadFileError("empty", "0 bytes")
            header = read_header(file, max_pixels)
            data = content_of(path, file, size)
    except UnreadableError as error:
        raise BadFileError(error.kind, error.message.removeprefix(f"{path} is ")) from None
    if header.format == "gif" and is_truncated(data):  # the decoder stops after the first frame
        raise BadFileError("damaged", "truncated")
    return header, data


def _check_link(path: Path) -> None:
    """Check that a symbolic link leads to something.

    Raises:
        BadFileError: it does not.
        OSError: the path cannot be used.
    """
    try:
        path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise BadFileError("unreadable", BROKEN_LINK) from None
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadFileError("unreadable", LINK_LOOP) from None
        raise


def _inspect(item: Item, max_pixels: int, decode: Decoder) -> Inspected:
    path = item.path  # a new object for each access
    header, data = read_file(path, max_pixels)
    with IN_THIS_PROCESS.hold(data):
        prepared = transcode.prepare(data, name=path.name, max_pixels=max_pixels)
        decoded = _decode(prepared, decode)
    checked = replace(
        item,
        sha256=hashlib.sha256(data).hexdigest(),
        width=decoded.width,
        height=decoded.height,
        format=header.format,
        orientation=decoded.orientation,
        brightness=float(perceptual_hash.luma(decoded.thumbnail).mean()),
        sharpness=decoded.sharpness,
        perceptual_hash=perceptual_hash.perceptual_hashes(decoded.thumbnail[np.newaxis])[0],
    )
    warnings = file_warnings(path, header, decoded.levels, decoded.thumbnail)
    return Inspected(checked, warnings, header, decoded, len(data))


def _decode(data: bytes, decode: Decoder) -> DecodedFacts:
    try:
        return decode(data)
    except BadFileError:
        if reason := unsupported_reason(io.BytesIO(data)):
            raise unsupported("the file", reason).as_bad_file() from None
        raise


@functools.cache  # building the graph takes longer than decoding a hundred images
def image_decoder() -> Decoder:
    """Return a function that decodes the bytes of a file with the decoder used in training."""
    import tensorflow as tf

    from tltool.data.decoding import exif
    from tltool.data.decoding.graph_tracing import traced_on_cpu
    from tltool.data.decoding.image_formats import decode_stored

    def _sharpness(stored: tf.Tensor) -> tf.Tensor:
        """Return the variance of the Laplacian of the green channel, float32 scalar.

        Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.
        """
        green = tf.image.resize(stored[..., 1:2], [_FOCUS_SIDE, _FOCUS_SIDE], method="area")[..., 0]
        inner = green[1:-1, 1:-1]
        around = green[:-2, 1:-1] + green[2:, 1:-1] + green[1:-1, :-2] + green[1:-1, 2:]
        return tf.math.reduce_variance(around - 4 * inner)

    def decode_all(data: tf.Tensor) -> tuple[tf.Tensor, ...]:
        stored, orientation = decode_stored(data)
        side = [perceptual_hash.HASH_SIDE, perceptual_hash.HASH_SIDE]
        small = tf.image.resize(stored, side, method="area")
        # rotating the thumbnail gives the same result and is cheap
        upright = exif.turn_upright(small, orientation)
        levels = tf.stack([tf.reduce_min(stored), tf.reduce_max(stored)])
        return tf.shape(stored), orientation, upright, _sharpness(stored), levels

    function = traced_on_cpu(decode_all, tf.TensorSpec([], tf.string))

    def decode(data: bytes) -> DecodedFacts:
        try:
            with tf.device("/CPU:0"):
                shape, orientation, thumbnail, sharpness, levels = function(tf.constant(data))
        except tf.errors.ResourceExhaustedError:
            raise MemoryError from None
        except tf.errors.OpError:
            raise BadFileError("damaged", "truncated or corrupted") from None
        height, width, _ = shape.numpy().tolist()
        turned = int(orientation.numpy())
        if turned >= 5:
            height, width = width, height
        darkest, brightest = levels.numpy().tolist()
        return DecodedFacts(
            height, width, turned, thumbnail.numpy(), float(sharpness), (darkest, brightest)
        )

    return decode
