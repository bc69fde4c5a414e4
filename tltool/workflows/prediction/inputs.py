"""List the images to predict: files, folders and other sources."""

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
    """An image to predict.

    Attributes:
        shown: the path that the user knows, such as the name inside an archive.
        path: the image file itself.
    """

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
    """Return the image files, and all images of folders and other sources.

    Args:
        images: image files, folders, or other sources of images; labels are ignored.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        offline: open no network connection.
        observer: receives progress events.

    Raises:
        DataError: there are no images.
    """
    inputs: list[InputImage] = []
    for source in images:
        if is_source(source):
            listing = read_images(source, pixels=pixels, offline=offline, observer=observer)
            inputs += [InputImage(Path(listing.shown(item)), item.path) for item in listing.items]
            report_skipped_files(listing, observer)
        else:
            inputs.append(InputImage(Path(source), Path(source)))
    if not inputs:
        raise DataError(
            f"no images in {', '.join(map(str, images)) or 'nothing'}",
            hint="give image files or folders with images",
        )
    return inputs
