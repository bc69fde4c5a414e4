"""The images that a user names: files, folders and other sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.sources.open import is_source, read_images
from tltool.errors import DataError, TltoolError
from tltool.events import Observer
from tltool.workflows.dataset.dataset import report_skipped_files


@dataclass(frozen=True)
class InputImage:
    """An image, and where the user knows it to be."""

    shown: Path
    path: Path

    def content(self) -> bytes | str:
        """Return the bytes of the image, or why it cannot be read."""
        try:
            return read_image_bytes(self.path)
        except TltoolError as error:
            return error.message.removeprefix(f"{self.path} ").removeprefix("is ")


def list_inputs(
    images: Sequence[Path | str], *, pixels: str | None, offline: bool, observer: Observer
) -> list[InputImage]:
    """Return the images themselves; folders and other sources stand for all that they hold.

    Args:
        images: image files, folders, or other sources of images; labels are not looked at.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        DataError: there are none.
    """
    files: list[InputImage] = []
    for given in images:
        if is_source(given):
            found = read_images(given, pixels=pixels, offline=offline, observer=observer)
            files += [InputImage(Path(found.shown(item)), item.path) for item in found.items]
            report_skipped_files(found, observer)
        else:
            files.append(InputImage(Path(given), Path(given)))
    if not files:
        raise DataError(
            f"no images in {', '.join(map(str, images)) or 'nothing'}",
            hint="give image files or folders with images",
        )
    return files
