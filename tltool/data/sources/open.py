"""Opens a source of images: a folder, an archive, a table or a data set, always as image files."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from tltool.data.sources.archives.archive import extract_archive, is_archive
from tltool.data.sources.archives.archive_table import find_table
from tltool.data.sources.folders.folder import list_images, read_folder
from tltool.data.sources.folders.layout_report import report_layout, report_links
from tltool.data.sources.listing import LAYOUT_HINT, Listing, check_classes
from tltool.data.sources.no_images import missing_classes_hint, no_images
from tltool.data.sources.sample_sets.sample_sources import (
    check_sample_source,
    is_sample_source,
    list_sample_source,
)
from tltool.data.sources.separate_test import with_test
from tltool.data.sources.source_cache import cache_folder
from tltool.data.sources.tables.labelled_folder import list_labelled_folder
from tltool.data.sources.tables.path_table import list_table
from tltool.data.sources.tables.pixel_images import Shape
from tltool.data.sources.tables.pixel_table import is_pixels, list_pixels, parse_shape
from tltool.data.sources.tables.table_rows import is_table, open_table
from tltool.data.sources.wrong_source import missing_source, unsupported_file
from tltool.errors import DataError, TltoolError, UsageError
from tltool.events import Observer, SilentObserver
from tltool.recipe.source_text import PREFIXES, TFDS, TFDS_FOLDER
from tltool.runs.offline import is_offline


@dataclass(frozen=True)
class Request:
    """What is read of a source.

    Attributes:
        labelled: whether the images must have labels.
        ood_images: name of a folder of out-of-distribution images.
        known_classes: names of folders that are classes, whatever they contain.
    """

    labelled: bool = True
    ood_images: str | None = None
    known_classes: Collection[str] = ()


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
    known_classes: Collection[str] = (),
    pixels: str | None = None,
    cache: Path | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> Listing:
    """List the labelled images of a source.

    Args:
        source: a folder; a zip or tar of one; a CSV, TSV or JSONL file of paths or pixels;
            ``tfds:NAME[:config][@split]`` or ``tfds-folder:DIR``; ``parquet:PATH`` or ``wds:PATH``.
        test: a source of test images.
        ood_images: out-of-distribution images: the name of a folder next to the class folders, or a
            source with an absolute path.
        min_classes: fewer classes are an error.
        known_classes: names of classes; a folder with such a name is one, whatever it contains.
        pixels: shape of the images in a table of pixels, ``HxW`` or ``HxWxC``; None means square.
        cache: folder of the copies; by default in the user's cache.
        offline: open no network connection.
        observer: receives the progress.

    Raises:
        DataError: a source does not exist, cannot be read or used.
        EnvironmentProblem: the copy in the cache cannot be written.
    """
    access = _access(pixels, cache, offline, observer)
    request = Request(ood_images=ood_images, known_classes=known_classes)
    listing = _read(str(source), access, request)
    report_layout(listing, access.observer)
    report_links(listing, access.observer)
    if ood_images is not None:
        listing = _with_ood_images(listing, ood_images, access)
    if test is not None:
        known = {item.label for item in listing.items}
        tested = _read(str(test), access, Request(known_classes=known))
        report_layout(tested, access.observer)
        listing = with_test(listing, tested)
    if not listing.items:
        raise no_images(listing, hint=_class_hint(listing))
    check_classes(listing, min_classes=min_classes, hint=_class_hint(listing))
    return listing


def _class_hint(listing: Listing) -> str:
    """Return how to give the classes of a source that has too few."""
    if is_table(Path(listing.source)):
        return _ROWS_HINT
    first = listing.items[0].path if listing.items else listing.root
    single = len({item.label for item in listing.items}) == 1
    if single and first.is_relative_to(listing.root) and first.parent != listing.root:
        folder = listing.root / first.relative_to(listing.root).parts[0]
        return missing_classes_hint(listing.root, folder) or LAYOUT_HINT
    return LAYOUT_HINT


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
    access = _access(pixels, cache, offline, observer)
    listing = _read(str(source), access, Request(labelled=False))
    report_layout(listing, access.observer)
    return listing


def check_source(
    source: str | Path,
    *,
    test: str | Path | None = None,
    ood_images: str | None = None,
    min_classes: int = 2,
    known_classes: Collection[str] = (),
) -> Listing | None:
    """Check a source before TensorFlow is loaded; one that must be converted only for existence.

    Args:
        source: as for ``read_source``.
        test: a source of test images.
        ood_images: a source of out-of-distribution images.
        min_classes: fewer classes are an error.
        known_classes: as for ``read_source``.

    Returns:
        What ``read_source`` returns; None for a source that must be converted.

    Raises:
        DataError: as ``read_source``.
    """
    sources = [str(one) for one in (source, test, ood_images) if one is not None]
    for one in filter(is_sample_source, sources):
        check_sample_source(one)
    if any(map(_is_converted, sources)):
        return None
    return read_source(
        source,
        test=test,
        ood_images=ood_images,
        min_classes=min_classes,
        known_classes=known_classes,
    )


def _is_converted(source: str) -> bool:
    if source.startswith(PREFIXES) or is_sample_source(source):
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
    if str(source).startswith(PREFIXES) or is_sample_source(str(source)):
        return True
    return os.path.isdir(path) or is_archive(path) or is_table(path)  # noqa: PTH112


def _access(
    pixels: str | None, cache: Path | None, offline: bool, observer: Observer | None
) -> Access:
    shape = parse_shape(pixels) if pixels else None
    return Access(
        observer or SilentObserver(), offline or is_offline(), cache or cache_folder(), shape
    )


def _read(source: str, access: Access, request: Request) -> Listing:
    if not source.strip():
        raise UsageError("the name of the data source is empty", hint="give a folder or a file")
    if source.startswith((TFDS, TFDS_FOLDER)):
        return _tfds(source, access, request)
    if is_sample_source(source):
        return list_sample_source(
            source, labelled=request.labelled, cache=access.cache, observer=access.observer
        )
    path = Path(source)
    if os.path.isdir(path):  # noqa: PTH112  (Path.is_dir raises without permission)
        beside = list_labelled_folder(path, access.observer) if request.labelled else None
        return beside or _folder(path, request)
    if not os.path.exists(path):  # noqa: PTH110
        raise missing_source(source)
    if is_archive(path):
        return _archive(path, access, request)
    if is_table(path):
        return _table(path, access, labelled=request.labelled)
    raise unsupported_file(path)


def _folder(path: Path, request: Request) -> Listing:
    if request.labelled:
        return read_folder(path, ood_images=request.ood_images, known_classes=request.known_classes)
    return list_images(path)


def _archive(path: Path, access: Access, request: Request) -> Listing:
    root = extract_archive(path, cache=access.cache, observer=access.observer)
    try:
        beside = list_labelled_folder(root, access.observer) if request.labelled else None
        listing = beside or _extracted(root, access, request)
    except TltoolError as error:  # the user knows the archive, not the folder in the cache
        message = error.message.replace(str(root), str(path))
        hint = error.hint
        if hint and str(root) in hint:
            hint = f"{hint.replace(str(root), str(path))}; extract the archive first"
        raise DataError(message, hint=hint) from None
    return replace(listing, source=str(path))


def _extracted(root: Path, access: Access, request: Request) -> Listing:
    """List the content of an archive: class folders, or else the images of its one table."""
    table = find_table(root, labelled=request.labelled)
    try:
        listing = _folder(root, request)
        if table is None or listing.items:
            return listing
    except DataError:
        if table is None:
            raise
    access.observer.on_message(f"the images are those of the table {table.relative_to(root)}")
    return _table(table, access, labelled=request.labelled)


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


def _tfds(source: str, access: Access, request: Request) -> Listing:
    # only this kind of source loads TensorFlow
    from tltool.data.sources.sample_sets.tfds import list_dataset, list_prepared

    cache, observer = access.cache, access.observer
    if source.startswith(TFDS):
        return list_dataset(source, offline=access.offline, cache=cache, observer=observer)
    folder = Path(source.removeprefix(TFDS_FOLDER))
    prepared = list_prepared(source, folder, cache=cache, observer=observer)
    return prepared or replace(_folder(folder, replace(request, ood_images=None)), source=source)


def _with_ood_images(listing: Listing, ood_images: str, access: Access) -> Listing:
    """Return ``listing`` with a folder of it, or another source, as its OOD images."""
    inside = [item.path for item in listing.items if item.label == ood_images]
    images = [*listing.ood_images, *inside]
    if not images and (ood_images.startswith(PREFIXES) or Path(ood_images).is_absolute()):
        images = [item.path for item in _read(ood_images, access, Request(labelled=False)).items]
    if not images:
        raise DataError(
            f"there are no images in '{ood_images}' (data.ood_images, --ood-images)",
            hint=f"name a folder next to the class folders, or give a path such as ./{ood_images}",
        )
    labelled = tuple(item for item in listing.items if item.label != ood_images)
    return replace(listing, items=labelled, ood_images=tuple(images))
