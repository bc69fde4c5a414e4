"""Unusual properties of files that can be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.data.decoding.extensions import EXTENSIONS, IMAGE_EXTENSIONS
from tltool.data.decoding.header import Header

BROKEN_INSIDE = "broken inside"
ALMOST_BLACK = "almost black"
NO_CONTRAST = "no contrast"
SEVERAL_PAGES = "several pages"
UNUSED_CHANNELS = "unused channels"
SERIOUS = (BROKEN_INSIDE, ALMOST_BLACK, NO_CONTRAST, SEVERAL_PAGES, UNUSED_CHANNELS)
"""Kinds with which the model may see something else than the user, reported in each run."""

_BLACK = 15  # of 255: values of 12 bits in 16
_BLACK_DEEP = 63  # of 255: values of 14 bits in 16
_FLAT = 4  # of 255, between the darkest and the brightest value
_PAGED = ("tiff", "heif")


@dataclass(frozen=True)
class FileWarning:
    """An unusual property of a file that can be used.

    Attributes:
        kind: a short name.
        detail: a description.
        mend: what to do about it.
    """

    kind: str
    detail: str
    mend: str


def file_warnings(
    path: Path, header: Header, levels: tuple[int, int], thumbnail: NDArray[np.float32]
) -> list[FileWarning]:
    """Return the unusual properties of a usable file.

    Args:
        path: the file.
        header: of the file.
        levels: the darkest and the brightest decoded value, 0 to 255.
        thumbnail: the decoded image averaged to [32, 32, 3].
    """
    found = (
        _wrong_extension(path, header),
        _frames(header),
        _unused_channels(header),
        _levels(header, levels, float(thumbnail.max())),
    )
    return [warning for warning in found if warning is not None]


def broken_inside(message: str) -> FileWarning:
    """Return the warning about a JPEG for which libjpeg printed ``message``."""
    detail = f"{message}: parts of the image may be missing or wrong"
    return FileWarning(
        BROKEN_INSIDE, detail, "look at it; replace it with an intact copy, or remove it"
    )


def _wrong_extension(path: Path, header: Header) -> FileWarning | None:
    extension = path.suffix.lower()
    expected = EXTENSIONS.get(header.format, set())
    if extension in expected or not (expected or extension in IMAGE_EXTENSIONS):
        return None
    detail = f"the content is {header.format.upper()}; the file is used"
    return FileWarning("wrong extension", detail, "rename it; other programs may reject it")


def _frames(header: Header) -> FileWarning | None:
    if header.frames < 2:
        return None
    if header.format in _PAGED:
        detail = f"only the first of {header.frames} pages is used"
        mend = "save each page as a file of its own, or red, green and blue as one RGB image"
        return FileWarning(SEVERAL_PAGES, detail, mend)
    detail = f"only the first of {header.frames} frames is used"
    mend = "save the frame that shows the object as a separate file"
    return FileWarning("animated", detail, mend)


def _unused_channels(header: Header) -> FileWarning | None:
    if not header.unused_channels:
        return None
    used = header.channels - header.unused_channels
    detail = f"only {used} of {header.channels} channels {'is' if used == 1 else 'are'} used"
    return FileWarning(UNUSED_CHANNELS, detail, "save the channels that matter as one RGB image")


def _levels(header: Header, levels: tuple[int, int], mean: float) -> FileWarning | None:
    darkest, brightest = levels
    if header.deep and (brightest <= _BLACK_DEEP or mean <= _BLACK):
        most = min(brightest, round(mean))
        detail = f"it uses only the lower ones of its 16 bits: at most {most} of 255"
        mend = "stretch the values to the full range of 16 bits, the same way for all images"
        return FileWarning(ALMOST_BLACK, detail, mend)
    if brightest <= _BLACK:
        detail = f"no value is above {brightest} of 255"
        mend = "stretch the values to 0 to 255; if it is a mask, remove it"
        return FileWarning(ALMOST_BLACK, detail, mend)
    if brightest - darkest <= _FLAT:
        detail = f"all values are from {darkest} to {brightest} of 255"
        return FileWarning(NO_CONTRAST, detail, "look at it, and remove it if it shows nothing")
    return None
