"""Finds JPEG files that are damaged inside, but still decoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tltool.data.audit.file_warnings import FileWarning, broken_inside
from tltool.data.decoding.image_file import read_image_file
from tltool.data.decoding.native_messages import JpegWarnings


def find_damage(
    path: Path, decode: Callable[[bytes], object], warnings: JpegWarnings
) -> FileWarning | None:
    """Decode a JPEG once more, alone, and return a warning if libjpeg prints one.

    Args:
        path: the file.
        decode: decodes its bytes with libjpeg.
        warnings: the context, in which no other image is decoded now.
    """
    try:
        message = libjpeg_message(read_image_file(path), decode, warnings)
    except Exception:  # it has changed since it was decoded: what uses it next reports that
        return None
    return None if message is None else broken_inside(message)


def libjpeg_message(
    data: bytes, decode: Callable[[bytes], object], warnings: JpegWarnings
) -> str | None:
    """Decode a JPEG and return the warning that libjpeg prints, or None.

    Args:
        data: the bytes of a file that can be decoded.
        decode: decodes them with libjpeg.
        warnings: the context, in which no other image is decoded now.
    """
    warnings.take()
    decode(data)
    messages = warnings.take()
    return messages[0] if messages else None


class WarnedBatches:
    """The images about which libjpeg may have warned; a few batches are decoded ahead."""

    _AHEAD = 3

    def __init__(self) -> None:
        self._batches: list[list[int]] = []
        self._warned: list[bool] = []

    def add(self, indices: list[int], *, warned: bool) -> None:
        """Add a batch; ``warned``: whether there was a warning since the one before."""
        self._batches.append(indices)
        self._warned.append(warned)

    def indices(self) -> list[int]:
        """Return the positions of the images, in order."""
        chosen = {
            index
            for number, batch in enumerate(self._batches)
            if any(self._warned[max(number - self._AHEAD, 0) : number + 1])
            for index in batch
        }
        return sorted(chosen)
