"""Opens a source of images: a folder, an archive, a table or a data set, always as image files."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from tltool.data.sources.archive import ARCHIVES, extract_archive, is_archive
from tltool.data.sources.folder import LAYOUT_HINT, list_images, read_folder
from tltool.data.sources.listing import Listing, check_classes, listed
from tltool.data.sources.path_table import list_table
from tltool.data.sources.pixel_table import Shape, is_pixels, list_pixels, parse_shape
from tltool.data.sources.source_cache import cache_folder
from tltool.data.sources.table_rows import TABLES, is_table, open_table
from tltool.errors import DataError, TltoolError
from tltool.events import Observer, SilentObserver
from tltool.recipe.source_text import TFDS, TFDS_FOLDER
from tltool.runs.offline import is_offline

_LINKS_NAMED = 3


@dataclass(frozen=True)
class Access:
    """Options for reading sources.

    Attributes:
        observer: receives the progress.
        offline: whether network connections are forbidden.
        cache: folder of the copies of sources that are not folders.
        pixels: shape of the images in a table of pixels; None means square.
    """

    observer: Observer
    offline: bool
    cache: Path
    pixels: Shape | None


_ROWS_HINT = "each line after the first is an image, with its path and label (or its pixels)"


def read_source(
    source: str | Path,
    *,
    test: str | Path | None = None,
    ood_images: str | None = None,
    min_classes: int = 2,
    pixels: str | None = None,
    cache: Path | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> Listing:
    """List the labelled images of a source.

    Args:
        source: a folder; a zip or tar of one; a CSV, TSV or JSONL file of paths or pixels;
            ``tfds:NAME[:config][@split]`` or ``tfds-folder:DIR``.
        test: a source of test images.
        ood_images: out-of-distribution images: the name of a folder next to the class folders, or a
            source with an absolute path.
        min_classes: fewer classes are an error.
        pixels: shape of the images in a table of pixels, ``HxW`` or ``HxWxC``; None means square.
        cache: folder of the copies; by default in the user's cache.
        offline: open no network connection.
        observer: receives the progress.

    Raises:
        DataError: a source does not exist, cannot be read or used.
        EnvironmentProblem: the copy in the cache cannot be written.
    """
    access = _access(pixels, cache, offline, observer)
    listing = _read(str(source), access, ood_images=ood_images)
    _report_links(listing, access.observer)
    if ood_images is not None:
        listing = _with_ood_images(listing, ood_images, access)
    if test is not None:
        listing = _with_test(listing, _read(str(test), access))
    hint = _ROWS_HINT if is_table(Path(listing.source)) else LAYOUT_HINT
    check_classes(listing, min_classes=min_classes, hint=hint)
    return listing


def read_images(
    source: str | Path,
    *,
    pixels: str | None = None,
    cache: Path | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> Listing:
    """List the images of a source as ``read_source`` does; it need not have labels.

    Raises:
        DataError: it does not exist, cannot be read or used.
        EnvironmentProblem: the copy in the cache cannot be written.
    """
    return _read(str(source), _access(pixels, cache, offline, observer), labelled=False)


def check_source(
    source: str | Path,
    *,
    test: str | Path | None = None,
    ood_images: str | None = None,
    min_classes: int = 2,
) -> None:
    """Check a source before TensorFlow is loaded; one that must be converted only for existence.

    Args:
        source: as for ``read_source``.
        test: a source of test images.
        ood_images: a source of out-of-distribution images.
        min_classes: fewer classes are an error.

    Raises:
        DataError: as ``read_source``.
    """
    sources = [str(one) for one in (source, test, ood_images) if one is not None]
    if not any(map(_is_converted, sources)):
        read_source(source, test=test, ood_images=ood_images, min_classes=min_classes)


def _is_converted(source: str) -> bool:
    if source.startswith((TFDS, TFDS_FOLDER)):
        return True
    path = Path(source)
    if os.path.isdir(path) or not os.path.exists(path):  # noqa: PTH110, PTH112
        return False
    if is_archive(path):
        return True
    if not is_table(path):
        return False
    with open_table(path) as table:
        return is_pixels(table)


def is_source(source: str | Path) -> bool:
    """Return whether ``source`` is a source of images and not a single image file."""
    path = Path(source)
    if str(source).startswith((TFDS, TFDS_FOLDER)):
        return True
    return os.path.isdir(path) or is_archive(path) or is_table(path)  # noqa: PTH112


def _access(
    pixels: str | None, cache: Path | None, offline: bool, observer: Observer | None
) -> Access:
    shape = parse_shape(pixels) if pixels else None
    return Access(
        observer or SilentObserver(), offline or is_offline(), cache or cache_folder(), shape
    )


def _read(
    source: str, access: Access, *, labelled: bool = True, ood_images: str | None = None
) -> Listing:
    if source.startswith((TFDS, TFDS_FOLDER)):
        return _tfds(source, access, labelled=labelled)
    path = Path(source)
    if os.path.isdir(path):  # noqa: PTH112  (Path.is_dir raises without permission)
        return _folder(path, labelled=labelled, ood_images=ood_images)
    if not os.path.exists(path):  # noqa: PTH110
        raise DataError(f"there is no folder or file {path}", hint="check the path for a typo")
    if is_archive(path):
        return _archive(path, access, labelled=labelled, ood_images=ood_images)
    if is_table(path):
        return _table(path, access, labelled=labelled)
    raise DataError(
        f"{path} is a file, not a folder of images",
        hint=f"supported sources: folders, archives ({', '.join(ARCHIVES[:4])} …) and tables"
        f" ({', '.join(TABLES[:3])})",
    )


def _folder(path: Path, *, labelled: bool, ood_images: str | None = None) -> Listing:
    if labelled:
        return read_folder(path, ood_images=ood_images)
    return list_images(path)


def _archive(path: Path, access: Access, *, labelled: bool, ood_images: str | None) -> Listing:
    root = extract_archive(path, cache=access.cache, observer=access.observer)
    try:
        listing = _folder(root, labelled=labelled, ood_images=ood_images)
    except TltoolError as error:  # the user knows the archive, not the folder in the cache
        raise DataError(error.message.replace(str(root), str(path)), hint=error.hint) from None
    return replace(listing, source=str(path))


def _table(path: Path, access: Access, *, labelled: bool) -> Listing:
    with open_table(path) as table:
        if is_pixels(table):
            return list_pixels(
                table,
                shape=access.pixels,
                labelled=labelled,
                cache=access.cache,
                observer=access.observer,
            )
        return list_table(table, labelled=labelled, observer=access.observer)


def _tfds(source: str, access: Access, *, labelled: bool) -> Listing:
    # only this kind of source loads TensorFlow
    from tltool.data.sources.tfds import list_dataset, list_prepared

    cache, observer = access.cache, access.observer
    if source.startswith(TFDS):
        return list_dataset(source, offline=access.offline, cache=cache, observer=observer)
    folder = Path(source.removeprefix(TFDS_FOLDER))
    prepared = list_prepared(source, folder, cache=cache, observer=observer)
    return prepared or replace(_folder(folder, labelled=labelled), source=source)


def _report_links(listing: Listing, observer: Observer) -> None:
    if listing.repeated_folders:
        names = [path.relative_to(listing.root).as_posix() for path in listing.repeated_folders]
        observer.on_message(
            f"symbolic links to folders of the same class are skipped: {listed(names)}"
        )
    links = listing.cross_class_links
    for link in links[:_LINKS_NAMED]:
        path = link.path.relative_to(listing.root).as_posix()
        observer.on_message(
            f"'{path}': {link.describe(listing.root)}; remove the link", level="warning"
        )
    if len(links) > _LINKS_NAMED:
        more = len(links) - _LINKS_NAMED
        observer.on_message(f"and {more} more links to images of other classes", level="warning")


def _with_ood_images(listing: Listing, ood_images: str, access: Access) -> Listing:
    """Return ``listing`` with a folder of it, or another source, as its OOD images."""
    inside = [item.path for item in listing.items if item.label == ood_images]
    images = [*listing.ood_images, *inside]
    if not images and (
        ood_images.startswith((TFDS, TFDS_FOLDER)) or Path(ood_images).is_absolute()
    ):
        images = [item.path for item in _read(ood_images, access, labelled=False).items]
    if not images:
        raise DataError(
            f"there are no images in '{ood_images}' (data.ood_images, --ood-images)",
            hint=f"name a folder next to the class folders, or give a path such as ./{ood_images}",
        )
    labelled = tuple(item for item in listing.items if item.label != ood_images)
    return replace(listing, items=labelled, ood_images=tuple(images))


def _with_test(listing: Listing, test: Listing) -> Listing:
    """Return ``listing`` with all images of another source as its test images."""
    if any(item.given_split == "test" for item in listing.items):
        raise DataError(
            f"there are two test sets: {test.source} and the test split of {listing.source}",
            hint="omit --test, or remove the test split of the source",
        )
    if any(item.given_split in ("train", "validation") for item in test.items):
        raise DataError(
            f"{test.source} defines train or validation splits",
            hint="give only the test images with --test",
        )
    return replace(
        listing,
        items=listing.items + tuple(replace(item, given_split="test") for item in test.items),
        hidden=listing.hidden + test.hidden,
        ignored=dict(sorted((Counter(listing.ignored) + Counter(test.ignored)).items())),
        stray=listing.stray + test.stray,
        empty_classes=listing.empty_classes + test.empty_classes,
    )
