"""Reads one source: a folder, an archive, a table or a data set, always as image files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tltool.data.sources.archives.archive import extract_archive, is_archive
from tltool.data.sources.archives.archive_table import find_table
from tltool.data.sources.folders.folder import list_images, read_folder
from tltool.data.sources.listing import Listing
from tltool.data.sources.remote.remote_source import check_remote, copy_source
from tltool.data.sources.remote.table_images import copy_images, has_addresses
from tltool.data.sources.sample_sets.sample_sources import is_sample_source, list_sample_source
from tltool.data.sources.source_cache import cache_folder
from tltool.data.sources.tables.labelled_folder import list_labelled_folder
from tltool.data.sources.tables.path_table import list_table
from tltool.data.sources.tables.pixel_images import Shape
from tltool.data.sources.tables.pixel_table import is_pixels, list_pixels, parse_shape
from tltool.data.sources.tables.table_rows import is_table, open_table
from tltool.data.sources.wrong_source import missing_source, unsupported_file
from tltool.errors import DataError, TltoolError, UsageError
from tltool.events import Observer, SilentObserver
from tltool.recipe.source_text import PREFIXES, TFDS, TFDS_FOLDER, is_remote
from tltool.runs.offline import is_offline
from tltool.storage.place import Place


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


def is_converted(source: str) -> bool:
    """Return whether a source is first converted to image files in the cache."""
    if source.startswith(PREFIXES) or is_sample_source(source) or is_remote(source):
        return True
    path = Path(source)
    if os.path.isdir(path) or not os.path.exists(path):  # noqa: PTH110, PTH112
        return False
    if is_archive(path):
        return True
    if not is_table(path):
        return False
    with open_table(path) as table:
        return is_pixels(table) or has_addresses(path)


def access_to_sources(
    pixels: str | None, cache: Path | None, offline: bool, observer: Observer | None
) -> Access:
    """Return the options for reading sources, with their defaults.

    Args:
        pixels: shape of the images in a table of pixels, ``HxW`` or ``HxWxC``; None means square.
        cache: folder of the copies; None means the user's cache.
        offline: open no network connection.
        observer: receives the progress; None ignores it.

    Raises:
        UsageError: ``pixels`` is no shape.
    """
    shape = parse_shape(pixels) if pixels else None
    return Access(
        observer or SilentObserver(), offline or is_offline(), cache or cache_folder(), shape
    )


def read_one(source: str, access: Access, request: Request) -> Listing:
    """List the images of one source, of any kind.

    Raises:
        UsageError: its name is empty.
        DataError: it does not exist, cannot be read or used.
        EnvironmentProblem: the copy in the cache cannot be written.
    """
    if not source.strip():
        raise UsageError("the name of the data source is empty", hint="give a folder or a file")
    if is_remote(source):
        return _remote(source, access, request)
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


def _table(path: Path, access: Access, *, labelled: bool, home: Place | None = None) -> Listing:
    """List the images of a table; ``home`` is its place if it is a copy from an object store."""
    cache, observer = access.cache, access.observer
    with open_table(path) as table:
        if is_pixels(table):
            return list_pixels(
                table, shape=access.pixels, labelled=labelled, cache=cache, observer=observer
            )
        if home is None and not has_addresses(path):
            return list_table(table, labelled=labelled, observer=observer)
    copy = copy_images(path, home, cache=cache, offline=access.offline, observer=observer)
    with _named_as(copy.table.parent, str(home or path.parent)), open_table(copy.table) as table:
        return copy.named(list_table(copy.localized(table), labelled=labelled, observer=observer))


def _remote(source: str, access: Access, request: Request) -> Listing:
    """List the images of a source in an object store, by a copy on this machine."""
    check_remote(source, offline=access.offline, cache=access.cache)
    copy = copy_source(source, cache=access.cache, offline=access.offline, observer=access.observer)
    with _named_as(copy.root, str(copy.place)):
        path = Path(copy.source)
        if is_table(path):
            listing = _table(path, access, labelled=request.labelled, home=copy.place)
        else:
            listing = read_one(copy.source, access, request)
    addresses = listing.addresses or ((copy.root, str(copy.place)),)
    return replace(listing, source=source, addresses=addresses)


@contextmanager
def _named_as(root: Path, name: str) -> Iterator[None]:
    """Name what the user knows in errors, not a folder in the cache."""
    try:
        yield
    except TltoolError as error:
        message = error.message.replace(str(root), name)
        hint = error.hint and error.hint.replace(str(root), name)
        raise type(error)(message, hint=hint) from None


def _tfds(source: str, access: Access, request: Request) -> Listing:
    # only this kind of source loads TensorFlow
    from tltool.data.sources.sample_sets.tfds import list_dataset, list_prepared

    cache, observer = access.cache, access.observer
    if source.startswith(TFDS):
        return list_dataset(source, offline=access.offline, cache=cache, observer=observer)
    folder = Path(source.removeprefix(TFDS_FOLDER))
    prepared = list_prepared(source, folder, cache=cache, observer=observer)
    return prepared or replace(_folder(folder, replace(request, ood_images=None)), source=source)
