"""Lay images out as their split has them."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tltool.data.catalog import Catalog
from tltool.data.splits.split import Split, write_split
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.events import Observer
from tltool.workflows.preflight.output_paths import SPLIT_FILE

How = Literal["copy", "link", "list"]
FILE = SPLIT_FILE


def export_split(
    target: Path, catalog: Catalog, split: Split, how: How, observer: Observer
) -> None:
    """Write split.csv, and the images part by part unless they are only listed.

    All is written beside ``target`` first, so that it is whole or not there.

    Args:
        target: an absent or empty folder, absolute.
        catalog: the images.
        split: their division.
        how: whether the images are copied or linked.
        observer: hears the progress.

    Raises:
        UsageError: what an earlier call left is in the way.
        DataError: the name of a class is none of a folder, or an image cannot be read any more.
        EnvironmentProblem: it cannot be written.
    """
    missing = [p for p in target.parents if not os.path.exists(p)]  # noqa: PTH110  (never raises)
    try:
        _lay_out(target, catalog, split, how, observer)
    finally:
        for folder in missing:  # those that were made for nothing: only empty ones go
            with suppress(OSError):
                folder.rmdir()


def _lay_out(target: Path, catalog: Catalog, split: Split, how: How, observer: Observer) -> None:
    draft = target.with_name(f".{target.name}.unfinished")
    try:
        draft.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(
            f"'{draft}' is in the way", hint="it is left of a split that was stopped: remove it"
        ) from None
    except OSError as error:
        raise EnvironmentProblem(f"'{draft}' cannot be written: {error.strerror}") from None
    try:
        if how != "list":
            places = _places(catalog, split)
            lay = _copy if how == "copy" else _link
            for done, (item, place) in enumerate(zip(catalog.items, places, strict=True), start=1):
                (draft / place).parent.mkdir(parents=True, exist_ok=True)
                lay(item.path, draft / place)
                observer.on_progress(done, len(catalog))
            items = (
                replace(i, path=target / p) for i, p in zip(catalog.items, places, strict=True)
            )
            catalog = replace(catalog, items=tuple(items))
        write_split(draft / FILE, catalog, split, root=target, digests=False)
        _tell_odd_names(catalog, observer)
        if target.is_dir():
            target.rmdir()  # it is empty
        draft.rename(target)
    except OSError as error:
        raise EnvironmentProblem(f"'{target}' cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _tell_odd_names(catalog: Catalog, observer: Observer) -> None:
    odd = [item.path for item in catalog.items if not _is_utf8(str(item.path))]
    if odd:
        observer.on_message(
            f"{len(odd)} names of images are not valid UTF-8, such as {os.fsencode(odd[0].name)!r}:"
            f" {FILE} holds their bytes as they are, which tltool reads and other programs may not",
            level="warning",
        )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _places(catalog: Catalog, split: Split) -> list[Path]:
    """Return where each image goes: part, class, name; a number tells equal names apart.

    Raises:
        DataError: the name of a class is none of a folder.
    """
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    places = []
    for item, part in zip(catalog.items, split.names, strict=True):
        if item.label != Path(item.label).name or item.label in (".", "..") or "\0" in item.label:
            raise DataError(
                f"class {item.label!r} cannot be the name of a folder", hint="--how list"
            )
        place = Path(part, item.label, item.path.name)
        name = str(place).casefold()  # as file systems may see it
        while str(place).casefold() in taken:
            numbers[name] += 1
            place = place.with_name(f"{item.path.stem}-{numbers[name] + 1}{item.path.suffix}")
        taken.add(str(place).casefold())
        places.append(place)
    return places


Lay = Callable[[Path, Path], None]


def _copy(photo: Path, place: Path) -> None:
    try:
        content = photo.read_bytes()
    except OSError as error:
        raise DataError(f"{photo} cannot be read: {error.strerror}") from None
    place.write_bytes(content)


def _link(photo: Path, place: Path) -> None:
    place.symlink_to(photo.absolute())
