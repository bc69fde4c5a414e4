"""Reads the TIFF files that Pillow decodes wrongly, and says which ones are not supported.

Pillow takes the pixels of some rare files for those of a common one, without an error. So the tags
decide here what is passed to Pillow.

Reference:
    Adobe, "TIFF, revision 6.0", 1992.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2

Tags = Mapping[int, Any]

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_DESCRIPTION, _OFFSETS, _ORIENTATION, _SAMPLES, _COUNTS, _PLANAR = 270, 273, 274, 277, 279, 284
_TILE_OFFSETS, _TILE_COUNTS, _SUB_IFDS, _EXTRA, _FORMAT = 324, 325, 330, 338, 339
_DNG_VERSION = 50706
_WEBP = 50001  # a compression that libtiff in Pillow's wheels does not have
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_KNOWN_COLOURS = {0, 1, 2, 3, 5, 6, 8}
_CFA = {32803, 34892}  # colour filter arrays, and linear raw data
_REDUCED, _MASK = 1, 4  # bits of the subfile type
_ASSOCIATED, _UNASSOCIATED = 1, 2  # alpha
UNDEFINED_RANGE = "whose range of values is not defined"
_FORMATS = {
    2: f"signed pixels, {UNDEFINED_RANGE}",
    3: f"floating-point pixels, {UNDEFINED_RANGE}",
    5: "complex numbers",
    6: "complex numbers",
}
_MAX_PAGES = 10_000
_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

RAW_DATA = "camera raw"
"""The reason for a file that has only a small preview besides raw data."""


def is_tiff(start: bytes) -> bool:
    """Return whether a file that starts with these bytes is a TIFF or BigTIFF."""
    return start[:4] in _SIGNATURES


def pages(file: BinaryIO) -> Iterator[Tags]:
    """Yield the tags of each page of a TIFF, until one that is damaged."""
    visited: set[int] = set()
    try:
        file.seek(0)
        head = file.read(8)
        if head[2:4] in (b"+\0", b"\0+"):
            head += file.read(8)
        directory = ImageFileDirectory_v2(head)
        while directory.next and directory.next not in visited and len(visited) < _MAX_PAGES:
            visited.add(directory.next)
            file.seek(directory.next)
            directory.load(file)
            yield dict(directory)
    except Exception:  # Pillow's parser raises many kinds of error on damaged files
        return


def first_tags(file: BinaryIO) -> Tags:
    """Return the tags of the first page of a TIFF; empty if they are damaged."""
    return next(pages(file), {})


def count_pages(file: BinaryIO) -> int:
    """Return the number of images in a TIFF, without reduced copies and masks; at least 1.

    ImageJ may store a stack as one page, and the number of its images in the description.
    """
    count, in_stack = 0, 1
    for tags in pages(file):
        count += not int(tags.get(_SUBFILE, 0)) & (_REDUCED | _MASK)
        if count == 1:
            text = re.match(r"ImageJ=.*?\bimages=(\d+)", str(tags.get(_DESCRIPTION)), re.DOTALL)
            in_stack = int(text[1]) if text else 1
    return max(count, in_stack, 1)


def channels(tags: Tags) -> int:
    """Return the number of channels of a page."""
    return int(tags.get(_SAMPLES, 1))


def unsupported_tiff(file: BinaryIO) -> str | None:
    """Return why a TIFF cannot be decoded correctly; None if no reason is known.

    Returns:
        a phrase for "it has …", or ``RAW_DATA``.
    """
    file.seek(8)
    if file.read(2) == b"CR":  # Canon
        return RAW_DATA
    tags = first_tags(file)
    if not tags:
        return None
    is_preview = int(tags.get(_SUBFILE, 0)) & _REDUCED and _SUB_IFDS in tags
    colours = int(tags.get(_PHOTOMETRIC, _BLACK_IS_ZERO))
    if _DNG_VERSION in tags or is_preview or colours in _CFA:
        return RAW_DATA
    return _unsupported_pixels(tags, colours) or _unsupported_planes(tags)


def _unsupported_pixels(tags: Tags, colours: int) -> str | None:
    depth, samples = bits(tags), channels(tags)
    formats = set(tags.get(_FORMAT, (1,)))
    if unknown := formats & _FORMATS.keys():
        return _FORMATS[min(unknown)]
    if depth > 16:
        return f"{depth} bits per channel, {UNDEFINED_RANGE}"
    if colours <= _BLACK_IS_ZERO and samples > 2:
        return f"{samples} channels that are not red, green and blue"
    if colours not in _KNOWN_COLOURS:
        return f"an unknown colour model (photometric interpretation {colours})"
    compression = tags.get(_COMPRESSION, 1)
    if compression == _WEBP or compression not in COMPRESSION_INFO:
        return f"a rare compression (scheme {compression})"
    return None


def _unsupported_planes(tags: Tags) -> str | None:
    """Return why channels that are stored one after the other cannot be decoded."""
    if tags.get(_PLANAR, 1) == 1 or has_raw_planes(tags):
        return None
    raw_tiles = tags.get(_COMPRESSION, 1) == 1 and (bits(tags) > 8 or _EXTRA in tags)
    if raw_tiles or channels(tags) == 2:
        return f"separate planes of {bits(tags)} bits in tiles or with alpha"
    return None


def rare_layout(file: BinaryIO) -> str | None:
    """Return the layout of the pixels if all of them are in the file; None if it is truncated."""
    tags = first_tags(file)
    length = file.seek(0, io.SEEK_END)
    offsets = tags.get(_OFFSETS, tags.get(_TILE_OFFSETS, ()))
    counts = tags.get(_COUNTS, tags.get(_TILE_COUNTS, ()))
    ends = [at + count for at, count in zip(offsets, counts, strict=False)]
    if not ends or max(ends) > length:
        return None
    samples = channels(tags)
    return f"a rare layout of pixels ({samples} x {bits(tags)} bits)"


def size(tags: Tags) -> tuple[int, int]:
    """Return width and height of a page in pixels; 0 if they are missing."""
    return int(tags.get(_WIDTH, 0)), int(tags.get(_HEIGHT, 0))


def bits(tags: Tags) -> int:
    """Return the largest number of bits of a channel."""
    return int(np.max(tags.get(_BITS, 1)))


def is_inverted(tags: Tags) -> bool:
    """Return whether white is zero in more than 8 bits, which Pillow ignores."""
    return int(tags.get(_PHOTOMETRIC, _BLACK_IS_ZERO)) == _WHITE_IS_ZERO and bits(tags) > 8


def black_is_zero(data: bytes) -> bytes:
    """Return a TIFF whose first page says that black is zero, with the same pixels."""
    order = "<" if data[:1] == b"I" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    (start,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, start)
    entry, at, value = (20, start + 8, 12) if big else (12, start + 2, 8)
    patched = bytearray(data)
    for place in range(at, at + count * entry, entry):
        if struct.unpack_from(f"{order}H", data, place)[0] == _PHOTOMETRIC:
            struct.pack_into(f"{order}H", patched, place + value, _BLACK_IS_ZERO)
    return bytes(patched)


def full_range(image: Image.Image, tags: Tags) -> Image.Image:
    """Return a grey image of more than 8 bits (mode I;16) with values from 0 to 65535."""
    values: NDArray[Any] = np.asarray(image).astype(np.uint16)
    depth = bits(tags)
    if depth < 16:
        values = (values << (16 - depth)) | (values >> (2 * depth - 16))
    if is_inverted(tags):
        values ^= 65535
    return Image.fromarray(values)


def has_raw_planes(tags: Tags) -> bool:
    """Return whether uncompressed channels of 8 or 16 bits are stored one after the other."""
    return (
        tags.get(_PLANAR, 1) == 2
        and tags.get(_COMPRESSION, 1) == 1
        and _TILE_OFFSETS not in tags
        and set(np.atleast_1d(tags.get(_BITS, 1)).tolist()) in ({8}, {16})
        and tags.get(_PHOTOMETRIC) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK)
    )


def join_planes(data: bytes, tags: Tags) -> Image.Image:
    """Return the image of a TIFF with raw planes, with 8 bits per channel.

    Raises:
        ValueError: it is truncated.
    """
    colours = tags[_PHOTOMETRIC]
    extra = np.atleast_1d(tags.get(_EXTRA, 0)).tolist()[0]
    alpha = extra in (_ASSOCIATED, _UNASSOCIATED) and colours != _CMYK
    used = {_RGB: 3, _CMYK: 4}.get(colours, 1) + alpha
    planes = [_plane(data, tags, number) for number in range(used)]
    if colours == _WHITE_IS_ZERO:
        planes[0] = 255 - planes[0]
    mode = {1: "L", 2: "LA", 3: "RGB"}.get(used, "CMYK" if colours == _CMYK else "RGBA")
    image = Image.merge(mode, [Image.fromarray(each) for each in planes])
    if alpha and extra == _ASSOCIATED:
        image = _not_premultiplied(image)
    image.getexif()[_ORIENTATION] = tags.get(_ORIENTATION, 1)
    return image


def _plane(data: bytes, tags: Tags, number: int) -> NDArray[np.uint8]:
    height, width = tags[_HEIGHT], tags[_WIDTH]
    strips = list(zip(tags[_OFFSETS], tags[_COUNTS], strict=True))
    each = len(strips) // channels(tags)
    stored = b"".join(data[at : at + count] for at, count in strips[number * each :][:each])
    order = "<" if data[:1] == b"I" else ">"
    values = np.frombuffer(stored, f"{order}u{bits(tags) // 8}").reshape(height, width)
    return (values >> (bits(tags) - 8)).astype(np.uint8)


def _not_premultiplied(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(np.float64)
    alpha = np.maximum(pixels[..., -1:], 1)
    colours = np.clip(np.round(pixels[..., :-1] * 255 / alpha), 0, 255)
    return Image.fromarray(np.concatenate([colours, pixels[..., -1:]], -1).astype(np.uint8))
