"""List the images to predict: files, folders and other sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.data.catalog import Item
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.sources.listing import Listing
from tltool.data.sources.no_images import no_images
from tltool.data.sources.open import is_source, read_images
from tltool.data.sources.wrong_source import check_image_names
from tltool.errors import DataError, TltoolError
from tltool.events import Observer
from tltool.storage.address import is_object_store
from tltool.workflows.dataset.dataset import report_skipped_files


@dataclass(frozen=True)
class InputImage:
    """An image to predict.

    Attributes:
        shown: the path that the user knows, such as the name inside an archive; of an object in a
            store its address, as text, because a path cannot have two slashes.
        path: the image file itself.
    """

    shown: Path | str
    path: Path

    def content(self) -> bytes | str:
        """Return the bytes of the image, or why it cannot be read."""
        try:
            return read_image_bytes(self.path)
        except TltoolError as error:
            message = error.message.removeprefix(f"{self.path} ").removeprefix("is ")
            return f"{message}; {error.hint}" if error.hint else message


@dataclass(frozen=True)
class ImageInMemory:
    """An image to predict that is no file.

    Attributes:
        name: for messages and results.
        data: the bytes of an image file.
    """

    name: str
    data: bytes
    path: Path | None = None

    @property
    def shown(self) -> Path:
        """The name, as the path that results have."""
        return Path(self.name)

    def content(self) -> bytes | str:
        """Return the bytes of the image."""
        return self.data


def _shown(listing: Listing, item: Item) -> Path | str:
    shown = listing.shown(item)
    return shown if is_object_store(shown) else Path(shown)


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
        DataError: there are no images, or an address or a pattern stands for them.
    """
    check_image_names(images)
    inputs: list[InputImage] = []
    empty: list[Listing] = []
    for source in images:
        if is_source(source):
            listing = read_images(source, pixels=pixels, offline=offline, observer=observer)
            inputs += [InputImage(_shown(listing, item), item.path) for item in listing.items]
            report_skipped_files(listing, observer)
            empty += [] if listing.items else [listing]
        else:
            inputs.append(InputImage(Path(source), Path(source)))
    if not inputs and empty:
        raise no_images(empty[0], hint="give image files or folders with images")
    if not inputs:
        raise DataError(
            f"no images in {', '.join(map(str, images)) or 'nothing'}",
            hint="give image files or folders with images",
        )
    return inputs
