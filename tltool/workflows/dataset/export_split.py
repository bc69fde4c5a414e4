"""Exports a split: split.csv, and optionally train, validation and test folders of images."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tltool.data.catalog import Catalog, Item
from tltool.data.columns import TextColumn
from tltool.data.decoding.image_file import read_image_file
from tltool.data.item_columns import ItemColumns
from tltool.data.splits.split import Split, write_split
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.events import Observer
from tltool.runs.lock import NAME as LOCK_FILE
from tltool.runs.lock import is_locked, locked
from tltool.storage.durable import flush
from tltool.workflows.preflight.output_paths import SPLIT_FILE

How = Literal["copy", "link", "list"]
PlaceFile = Callable[[Item, Path], None]


def export_split(
    target: Path,
    catalog: Catalog,
    split: Split | None,
    how: How,
    observer: Observer,
    *,
    addresses: Sequence[tuple[Path, str]] = (),
) -> None:
    """Write split.csv, and a folder of images per split unless they are only listed.

    The folder is written under another name first and then renamed, so that it is never incomplete.

    Args:
        target: a missing or empty folder, absolute.
        catalog: the images.
        split: of the images; None for folders of classes without splits, and no split.csv.
        how: whether the images are copied, linked or only listed.
        observer: receives the progress.
        addresses: as in ``Listing``, for images that are only listed.

    Raises:
        UsageError: another process writes to the folder.
        DataError: a class name is not a valid folder name, or an image cannot be read.
        EnvironmentProblem: the folder cannot be written.
    """
    missing = [p for p in target.parents if not os.path.exists(p)]  # noqa: PTH110  (never raises)
    try:
        _write_folder(target, catalog, split, how, observer, addresses)
    finally:
        for folder in missing:  # the parents created by a failed export: removed if empty
            with suppress(OSError):
                folder.rmdir()


def _write_folder(
    target: Path,
    catalog: Catalog,
    split: Split | None,
    how: How,
    observer: Observer,
    addresses: Sequence[tuple[Path, str]],
) -> None:
    with _draft_of(target) as draft:
        if how != "list":
            places = _places(catalog, split)
            place_file: PlaceFile = _copy if how == "copy" else _link
            for done, (item, place) in enumerate(zip(catalog.items, places, strict=True), start=1):
                (draft / place).parent.mkdir(parents=True, exist_ok=True)
                place_file(item, draft / place)
                observer.on_progress(done, len(catalog))
            items = ItemColumns(
                replace(i, path=target / p) for i, p in zip(catalog.items, places, strict=True)
            )
            catalog = replace(catalog, items=items)
        if split is not None:
            table = draft / SPLIT_FILE
            write_split(table, catalog, split, root=target, digests=False, addresses=addresses)
        _warn_about_names(catalog, observer)
        if how == "copy" and hasattr(os, "sync"):
            os.sync()  # once, not for each of very many files
        (draft / LOCK_FILE).unlink()
        if target.is_dir():
            target.rmdir()  # it is empty
        draft.rename(target)
        flush(target.parent)


@contextmanager
def _draft_of(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target``, for this process alone; it is removed at the end.

    Raises:
        UsageError: another process uses it.
        EnvironmentProblem: it cannot be written.
    """
    draft = target.with_name(f".{target.name}.unfinished")
    try:
        _remove_abandoned(draft)
        draft.mkdir(parents=True)
        try:
            with locked(draft):
                yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except FileExistsError:
        raise UsageError(
            f"'{draft}' exists: another process writes to '{target}'",
            hint="wait until it has ended, or give another folder",
        ) from None
    except OSError as error:
        raise EnvironmentProblem(f"'{target}' cannot be written: {error.strerror}") from None


def _remove_abandoned(draft: Path) -> None:
    """Remove the draft of a process that was killed; a folder of something else stays."""
    if (draft / LOCK_FILE).is_file() and not is_locked(draft):
        shutil.rmtree(draft)
    with suppress(OSError):
        draft.rmdir()  # an empty one: the process was killed before it had the lock


def _warn_about_names(catalog: Catalog, observer: Observer) -> None:
    invalid = [Path(text) for text in catalog.columns.path_texts if not _is_utf8(text)]
    if invalid:
        observer.on_message(
            f"{len(invalid)} file names are not valid UTF-8, such as"
            f" {os.fsencode(invalid[0].name)!r}: {SPLIT_FILE} contains their bytes, which tltool"
            " reads, but other programs may reject",
            level="warning",
        )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _places(catalog: Catalog, split: Split | None) -> TextColumn:
    """Return the path of each image: split if any, class, name; equal names get a number.

    Raises:
        DataError: a class name is not a valid folder name.
    """
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    places = TextColumn()
    split_names = split.names if split is not None else ("",) * len(catalog)
    for item, split_name in zip(catalog.items, split_names, strict=True):
        if item.label != Path(item.label).name or item.label in (".", "..") or "\0" in item.label:
            raise DataError(
                f"class {item.label!r} is not a valid folder name", hint="use --how list"
            )
        place = Path(split_name, item.label, item.path.name)
        name = str(place).casefold()  # some file systems ignore case
        while str(place).casefold() in taken:
            numbers[name] += 1
            place = place.with_name(f"{item.path.stem}-{numbers[name] + 1}{item.path.suffix}")
        taken.add(str(place).casefold())
        places.append(str(place))
    return places


def _copy(item: Item, place: Path) -> None:
    place.write_bytes(read_image_file(item.path, sha256=item.sha256))


def _link(item: Item, place: Path) -> None:
    place.symlink_to(item.path.absolute())
