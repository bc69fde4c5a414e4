"""One file under the magnifier: what it is, whether it decodes, what is odd about it."""

from __future__ import annotations

import functools
import hashlib
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tltool.data import perceptual, transcode
from tltool.data.catalog import Item
from tltool.errors import DataError


class Seen(NamedTuple):
    """What decoding a file has shown.

    Attributes:
        height: of the upright image, in pixels.
        width: of the upright image.
        orientation: the EXIF value as stored.
        thumbnail: the upright image averaged to float32 [32, 32, 3] in 0..255.
    """

    height: int
    width: int
    orientation: int
    thumbnail: NDArray[np.float32]


Decoder = Callable[[bytes], Seen]

_EXTENSIONS = {
    "jpeg": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "png": {".png"},
    "gif": {".gif"},
    "bmp": {".bmp", ".dib"},
    "webp": {".webp"},
    "tiff": {".tif", ".tiff"},
}


@dataclass(frozen=True)
class Note:
    """Something odd about a file that can be used all the same."""

    kind: str
    detail: str


class BadFileError(Exception):
    """A file that cannot be used: kind and detail of its issue."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


def inspect_file(item: Item, *, max_pixels: int, decode: Decoder) -> tuple[Item, list[Note]]:
    """Open, measure, hash and fully decode one file.

    Returns:
        the item with what is now known of it, and what is odd but does no harm.

    Raises:
        BadFileError: it cannot be used.
    """
    try:
        return _inspect(item, max_pixels, decode)
    except DataError as error:
        raise BadFileError("unsupported", error.message) from None
    except OSError as error:
        raise BadFileError("unreadable", error.strerror or str(error)) from None
    except MemoryError:
        raise BadFileError("too large", "it does not fit into memory") from None


def _inspect(item: Item, max_pixels: int, decode: Decoder) -> tuple[Item, list[Note]]:
    status = item.path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait forever
        raise BadFileError("unreadable", "it is not a regular file")
    if status.st_size == 0:
        raise BadFileError("empty", "0 bytes")
    with item.path.open("rb") as file:
        image_format, frames = _read_header(file, max_pixels)
        file.seek(0)
        data = file.read()
    stored = transcode.decodes_as_stored(data)
    seen = decode(data if stored else transcode.transcode(data, name=item.path.name))
    checked = replace(
        item,
        sha256=hashlib.sha256(data).hexdigest(),
        width=seen.width,
        height=seen.height,
        format=image_format,
        orientation=seen.orientation,
        perceptual_hash=perceptual.perceptual_hash(seen.thumbnail),
    )
    return checked, _notes(item.path, image_format, frames)


def _read_header(file: BinaryIO, max_pixels: int) -> tuple[str, int]:
    """Return format and number of frames; nothing is decoded yet."""
    start = file.read(64)
    file.seek(0)
    try:
        with Image.open(file) as image:
            _check_pixels(image.size, max_pixels)
            name = image.format or "image"
            frames = getattr(image, "n_frames", 1) if name in ("GIF", "PNG", "WEBP") else 1
            return transcode.FORMATS.get(name, name.lower()), frames
    except Image.DecompressionBombError:
        raise BadFileError("too many pixels", f"more than {2 * _pillow_limit():,}") from None
    except UnidentifiedImageError:
        raise _unidentified(start) from None
    except (SyntaxError, ValueError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's error, not Pillow's about the content
        raise BadFileError("damaged", f"its header is broken: {error}") from None


def _pillow_limit() -> int:
    return Image.MAX_IMAGE_PIXELS or transcode.MAX_PIXELS


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise BadFileError(
            "too many pixels", f"{width} x {height}, over the limit of {max_pixels:,} pixels"
        )


def _unidentified(start: bytes) -> BadFileError:
    if transcode.decodes_as_stored(start):
        return BadFileError("damaged", "it is truncated or damaged: its header is broken")
    error = transcode.not_an_image(start, "the file")
    if error.hint:
        return BadFileError("unsupported", f"{error.message}; {error.hint}")
    return BadFileError("not an image", "its content is of no known image format")


def _notes(path: Path, image_format: str, frames: int) -> list[Note]:
    notes = []
    extension = path.suffix.lower()
    known = {name for names in _EXTENSIONS.values() for name in names}
    expected = _EXTENSIONS.get(image_format, set())
    if extension not in expected and (expected or extension in known):
        detail = f"it is a {image_format.upper()} file; used all the same"
        notes.append(Note("wrong extension", detail))
    if frames > 1:
        detail = f"only the first of its {frames} frames is used"
        notes.append(Note("animated", detail))
    return notes


@functools.cache  # building the graph takes longer than decoding a hundred photos
def image_decoder() -> Decoder:
    """Return a function that decodes the bytes of a file as training does."""
    import tensorflow as tf

    from tltool.data import exif
    from tltool.data.formats import decode_stored

    signature = [tf.TensorSpec([], tf.string)]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def decode_all(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        stored, orientation = decode_stored(data)
        side = [perceptual.HASH_SIDE, perceptual.HASH_SIDE]
        small = tf.image.resize(stored, side, method="area")
        # turning the small copy is the same and costs nothing
        return tf.shape(stored), orientation, exif.turn_upright(small, orientation)

    function = decode_all.get_concrete_function()

    def decode(data: bytes) -> Seen:
        try:
            with tf.device("/CPU:0"):
                shape, orientation, thumbnail = function(tf.constant(data))
        except tf.errors.ResourceExhaustedError:
            raise MemoryError from None
        except tf.errors.OpError:
            raise BadFileError("damaged", "it is truncated or damaged") from None
        height, width, _ = shape.numpy().tolist()
        turned = int(orientation.numpy())
        if turned >= 5:
            height, width = width, height
        return Seen(height, width, turned, thumbnail.numpy())

    return decode
