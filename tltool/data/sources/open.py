"""Open any source by its spelling. Whatever it is, images are files afterwards."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from tltool.data.sources.archive import ARCHIVES, is_archive, unpacked
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

_TOLD_ASTRAY = 3


@dataclass(frozen=True)
class Access:
    """How sources are reached.

    Attributes:
        observer: hears the progress.
        offline: whether connections are forbidden.
        cache: folder of the copies of sources that are no folders.
        pixels: shape of the images in a table of pixels; None means square.
    """

    observer: Observer
    offline: bool
    cache: Path
    pixels: Shape | None


_ROWS_HINT = "each line below the first is an image, with its path and label (or its pixels)"


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
        ood_images: out-of-distribution images: the name of one class of the source, or a source
            with an absolute path.
        min_classes: fewer classes are an error.
        pixels: shape of the images in a table of pixels, ``HxW`` or ``HxWxC``; None means square.
        cache: folder of the copies; by default in the user's cache.
        offline: open no network connection.
        observer: hears the progress.

    Raises:
        DataError: a source does not exist, cannot be read or used.
        EnvironmentProblem: its copy cannot be written.
    """
    access = _access(pixels, cache, offline, observer)
    listing = _read(str(source), access, ood_images=ood_images)
    _tell_again(listing, access.observer)
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
        EnvironmentProblem: its copy cannot be written.
    """
    return _read(str(source), _access(pixels, cache, offline, observer), labelled=False)


def check_source(
    source: str | Path,
    *,
    test: str | Path | None = None,
    ood_images: str | None = None,
    min_classes: int = 2,
) -> None:
    """Find at once what is wrong with a source: all, or for what must be copied that it exists.

    Args:
        source: as ``read_source`` takes it, like the others.
        test: a source of test images.
        ood_images: a source of out-of-distribution images.
        min_classes: fewer classes are an error.

    Raises:
        DataError: as ``read_source`` would.
    """
    given = [str(one) for one in (source, test, ood_images) if one is not None]
    if not any(map(_is_copied, given)):
        read_source(source, test=test, ood_images=ood_images, min_classes=min_classes)


def _is_copied(source: str) -> bool:
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
    """Tell whether ``source`` stands for many images and not for one file."""
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
        hint=f"images may come as a folder, as {', '.join(ARCHIVES[:4])} … or as"
        f" {', '.join(TABLES[:3])}",
    )


def _folder(path: Path, *, labelled: bool, ood_images: str | None = None) -> Listing:
    if labelled:
        return read_folder(path, ood_images=ood_images)
    return list_images(path)


def _archive(path: Path, access: Access, *, labelled: bool, ood_images: str | None) -> Listing:
    root = unpacked(path, cache=access.cache, observer=access.observer)
    try:
        listing = _folder(root, labelled=labelled, ood_images=ood_images)
    except TltoolError as error:  # the user knows the archive, not where it was unpacked
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
    # TensorFlow is loaded here and for no other source
    from tltool.data.sources.tfds import list_dataset, list_prepared

    cache, observer = access.cache, access.observer
    if source.startswith(TFDS):
        return list_dataset(source, offline=access.offline, cache=cache, observer=observer)
    folder = Path(source.removeprefix(TFDS_FOLDER))
    prepared = list_prepared(source, folder, cache=cache, observer=observer)
    return prepared or replace(_folder(folder, labelled=labelled), source=source)


def _tell_again(listing: Listing, observer: Observer) -> None:
    if listing.again:
        names = [path.relative_to(listing.root).as_posix() for path in listing.again]
        observer.on_message(
            "links lead to folders that their class holds already, which are read once:"
            f" {listed(names)}"
        )
    for each in listing.astray[:_TOLD_ASTRAY]:
        path = each.path.relative_to(listing.root).as_posix()
        observer.on_message(
            f"'{path}': {each.told(listing.root)}; remove the link", level="warning"
        )
    if len(listing.astray) > _TOLD_ASTRAY:
        more = len(listing.astray) - _TOLD_ASTRAY
        observer.on_message(f"and {more} more links lead to images of others", level="warning")


def _with_ood_images(listing: Listing, ood_images: str, access: Access) -> Listing:
    """Return ``listing`` with a folder of it, or another source, as its OOD images."""
    inside = [item.path for item in listing.items if item.label == ood_images]
    found = [*listing.ood_images, *inside]
    if not found and (ood_images.startswith((TFDS, TFDS_FOLDER)) or Path(ood_images).is_absolute()):
        found = [item.path for item in _read(ood_images, access, labelled=False).items]
    if not found:
        raise DataError(
            f"there are no images in '{ood_images}', named by data.ood_images (--ood-images)",
            hint=f"name a folder next to the class folders, or give a path such as ./{ood_images}",
        )
    kept = tuple(item for item in listing.items if item.label != ood_images)
    return replace(listing, items=kept, ood_images=tuple(found))


def _with_test(listing: Listing, test: Listing) -> Listing:
    """Return ``listing`` with all images of another source as its test images."""
    if any(item.given_split == "test" for item in listing.items):
        raise DataError(
            f"there are two test sets: {test.source} and the test part of {listing.source}",
            hint="leave out --test, or the other test part",
        )
    if any(item.given_split in ("train", "validation") for item in test.items):
        raise DataError(
            f"{test.source} has parts of its own", hint="give its test images alone to --test"
        )
    return replace(
        listing,
        items=listing.items + tuple(replace(item, given_split="test") for item in test.items),
        hidden=listing.hidden + test.hidden,
        ignored=dict(sorted((Counter(listing.ignored) + Counter(test.ignored)).items())),
        stray=listing.stray + test.stray,
        empty_classes=listing.empty_classes + test.empty_classes,
    )
