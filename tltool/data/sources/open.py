"""Opens a source of images: a folder, an archive, a table or a data set, always as image files."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from tltool.data.item_columns import ItemColumns
from tltool.data.sources.archives.archive import is_archive
from tltool.data.sources.folders.layout_report import report_layout, report_links
from tltool.data.sources.listing import LAYOUT_HINT, Listing, check_classes
from tltool.data.sources.no_images import missing_classes_hint, no_images
from tltool.data.sources.one_source import (
    Access,
    Request,
    access_to_sources,
    is_converted,
    read_one,
)
from tltool.data.sources.remote.remote_source import check_remote
from tltool.data.sources.sample_sets.sample_sources import check_sample_source, is_sample_source
from tltool.data.sources.separate_test import with_test
from tltool.data.sources.source_cache import cache_folder
from tltool.data.sources.tables.table_rows import is_table
from tltool.errors import DataError
from tltool.events import Observer
from tltool.recipe.source_text import PREFIXES, is_remote
from tltool.runs.offline import is_offline

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
            ``tfds:NAME[:config][@split]`` or ``tfds-folder:DIR``; ``parquet:PATH`` or ``wds:PATH``;
            each but ``tfds:`` also in an object store, as ``s3://BUCKET/photos``.
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
    access = access_to_sources(pixels, cache, offline, observer)
    request = Request(ood_images=ood_images, known_classes=known_classes)
    listing = read_one(str(source), access, request)
    report_layout(listing, access.observer)
    report_links(listing, access.observer)
    if ood_images is not None:
        listing = _with_ood_images(listing, ood_images, access)
    if test is not None:
        known = set(listing.columns.classes())
        tested = read_one(str(test), access, Request(known_classes=known))
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
    single = len(listing.columns.classes()) == 1
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
    access = access_to_sources(pixels, cache, offline, observer)
    listing = read_one(str(source), access, Request(labelled=False))
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
    for one in filter(is_remote, sources):
        check_remote(one, offline=is_offline(), cache=cache_folder())
    for one in filter(is_sample_source, sources):
        if not is_remote(one):
            check_sample_source(one)
    if any(map(is_converted, sources)):
        return None
    return read_source(
        source,
        test=test,
        ood_images=ood_images,
        min_classes=min_classes,
        known_classes=known_classes,
    )


def is_source(source: str | Path) -> bool:
    """Return whether ``source`` is a source of images and not a single image file."""
    path = Path(source)
    if str(source).startswith(PREFIXES) or is_sample_source(str(source)) or is_remote(str(source)):
        return True
    return os.path.isdir(path) or is_archive(path) or is_table(path)  # noqa: PTH112


def _with_ood_images(listing: Listing, ood_images: str, access: Access) -> Listing:
    """Return ``listing`` with a folder of it, or another source, as its OOD images."""
    inside = [item.path for item in listing.items if item.label == ood_images]
    images = [*listing.ood_images, *inside]
    if not images and (
        ood_images.startswith(PREFIXES) or is_remote(ood_images) or Path(ood_images).is_absolute()
    ):
        images = [item.path for item in read_one(ood_images, access, Request(labelled=False)).items]
    if not images:
        raise DataError(
            f"there are no images in '{ood_images}' (data.ood_images, --ood-images)",
            hint=f"name a folder next to the class folders, or give a path such as ./{ood_images}",
        )
    labelled = ItemColumns(item for item in listing.items if item.label != ood_images)
    return replace(listing, items=labelled, ood_images=tuple(images))
