"""Inspects one image file: format, header, decoding, and properties worth a warning."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Item
from tltool.data.decoding import transcode
from tltool.data.decoding.gif import is_truncated
from tltool.data.decoding.header import BadFileError, Header, read_header
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
    """

    height: int
    width: int
    orientation: int
    thumbnail: NDArray[np.float32]
    sharpness: float


Decoder = Callable[[bytes], DecodedFacts]

BROKEN_LINK = "broken symbolic link"
LINK_LOOP = "symbolic link that points to itself (a loop)"
NOT_REGULAR = "not a regular file (a pipe, a socket or a device)"
_FOCUS_SIDE = 128  # pixels per side at which sharpness is measured, to be independent of size

_EXTENSIONS = {
    "jpeg": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "png": {".png"},
    "gif": {".gif"},
    "bmp": {".bmp", ".dib"},
    "webp": {".webp"},
    "tiff": {".tif", ".tiff"},
}
_IMAGE_EXTENSIONS = {name for names in _EXTENSIONS.values() for name in names}


@dataclass(frozen=True)
class FileWarning:
    """An unusual property of a file that can be used."""

    kind: str
    detail: str


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
    except transcode.DamagedError as error:
        raise BadFileError("damaged", error.message) from None
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
    status = _status(path)
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait forever
        raise BadFileError("unreadable", NOT_REGULAR)
    if status.st_size == 0:
        raise BadFileError("empty", "0 bytes")
    with path.open("rb") as file:
        header = read_header(file, max_pixels)
        file.seek(0)
        data = file.read()
    if header.format == "gif" and is_truncated(data):  # the decoder stops after the first frame
        raise BadFileError("damaged", "truncated")
    return header, data


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise BadFileError("unreadable", BROKEN_LINK) from None
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadFileError("unreadable", LINK_LOOP) from None
        raise


def _inspect(item: Item, max_pixels: int, decode: Decoder) -> Inspected:
    header, data = read_file(item.path, max_pixels)
    stored = transcode.decodes_as_stored(data)
    decoded = decode(data if stored else transcode.transcode(data, name=item.path.name))
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
    return Inspected(checked, file_warnings(item.path, header), header, decoded, len(data))


def file_warnings(path: Path, header: Header) -> list[FileWarning]:
    """Return the unusual properties of a usable file."""
    warnings, image_format = [], header.format
    extension = path.suffix.lower()
    expected = _EXTENSIONS.get(image_format, set())
    if extension not in expected and (expected or extension in _IMAGE_EXTENSIONS):
        detail = f"the content is {image_format.upper()}; the file is used"
        warnings.append(FileWarning("wrong extension", detail))
    if header.frames > 1:
        detail = f"only the first of {header.frames} frames is used"
        warnings.append(FileWarning("animated", detail))
    return warnings


@functools.cache  # building the graph takes longer than decoding a hundred images
def image_decoder() -> Decoder:
    """Return a function that decodes the bytes of a file with the decoder used in training."""
    import tensorflow as tf

    from tltool.data.decoding import exif
    from tltool.data.decoding.image_formats import decode_stored

    signature = [tf.TensorSpec([], tf.string)]

    def _sharpness(stored: tf.Tensor) -> tf.Tensor:
        """Return the variance of the Laplacian of the green channel, float32 scalar.

        Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.
        """
        green = tf.image.resize(stored[..., 1:2], [_FOCUS_SIDE, _FOCUS_SIDE], method="area")[..., 0]
        inner = green[1:-1, 1:-1]
        around = green[:-2, 1:-1] + green[2:, 1:-1] + green[1:-1, :-2] + green[1:-1, 2:]
        return tf.math.reduce_variance(around - 4 * inner)

    @tf.function(input_signature=signature, autograph=False)
    def decode_all(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        stored, orientation = decode_stored(data)
        side = [perceptual_hash.HASH_SIDE, perceptual_hash.HASH_SIDE]
        small = tf.image.resize(stored, side, method="area")
        # rotating the thumbnail gives the same result and is cheap
        upright = exif.turn_upright(small, orientation)
        return tf.shape(stored), orientation, upright, _sharpness(stored)

    function = decode_all.get_concrete_function()

    def decode(data: bytes) -> DecodedFacts:
        try:
            with tf.device("/CPU:0"):
                shape, orientation, thumbnail, sharpness = function(tf.constant(data))
        except tf.errors.ResourceExhaustedError:
            raise MemoryError from None
        except tf.errors.OpError:
            raise BadFileError("damaged", "truncated or corrupted") from None
        height, width, _ = shape.numpy().tolist()
        turned = int(orientation.numpy())
        if turned >= 5:
            height, width = width, height
        return DecodedFacts(height, width, turned, thumbnail.numpy(), float(sharpness))

    return decode
