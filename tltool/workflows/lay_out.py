"""Lay photos out as their split has them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tltool.data.catalog import Catalog
from tltool.data.split import Split, write_split
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.events import Observer

How = Literal["copy", "link", "list"]
FILE = "split.csv"


def lay_out(target: Path, catalog: Catalog, split: Split, how: How, observer: Observer) -> None:
    """Write split.csv, and the photos part by part unless they are only listed.

    All is written beside ``target`` first, so that it is whole or not there.

    Args:
        target: an absent or empty folder, absolute.
        catalog: the photos.
        split: their division.
        how: whether the photos are copied or linked.
        observer: hears the progress.

    Raises:
        UsageError: what an earlier call left is in the way.
        DataError: the name of a class is none of a folder.
        EnvironmentProblem: it cannot be written.
    """
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
        if target.is_dir():
            target.rmdir()  # it is empty
        draft.rename(target)
    except OSError as error:
        raise EnvironmentProblem(f"'{target}' cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _places(catalog: Catalog, split: Split) -> list[Path]:
    """Return where each photo goes: part, class, name; a number tells equal names apart.

    Raises:
        DataError: the name of a class is none of a folder.
    """
    taken: set[str] = set()
    places = []
    for item, part in zip(catalog.items, split.names, strict=True):
        if item.label != Path(item.label).name or item.label in (".", "..") or "\0" in item.label:
            raise DataError(
                f"class {item.label!r} cannot be the name of a folder", hint="--how list"
            )
        place, number = Path(part, item.label, item.path.name), 1
        while str(place).casefold() in taken:  # as file systems may see it
            number += 1
            place = Path(part, item.label, f"{item.path.stem}-{number}{item.path.suffix}")
        taken.add(str(place).casefold())
        places.append(place)
    return places


Lay = Callable[[Path, Path], None]


def _copy(photo: Path, place: Path) -> None:
    shutil.copyfile(photo, place)


def _link(photo: Path, place: Path) -> None:
    place.symlink_to(photo.absolute())
