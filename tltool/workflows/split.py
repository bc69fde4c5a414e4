"""Divide a source of photos once and for all, and write down or lay out the division."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tltool.data.audit import audit
from tltool.data.catalog import SPLIT_NAMES, Catalog
from tltool.data.grouping import grouped
from tltool.data.sources.open import read_source
from tltool.data.split import Split, make_split, with_folds, write_split
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.events import Observer, SilentObserver
from tltool.recipe.schema import DataSection
from tltool.workflows.divide import copies

How = Literal["copy", "link", "list"]
FILE = "split.csv"
_NAMED = 5


@dataclass(frozen=True)
class Division:
    """Photos and where each goes.

    Attributes:
        catalog: the readable photos.
        split: their parts, groups and folds.
        written: the folder that was written, or None.
    """

    catalog: Catalog
    split: Split
    written: Path | None

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of photos by class, and in it by part and by fold."""
        folds = sorted({fold for fold in self.split.folds if fold is not None})
        parts = [name for name in SPLIT_NAMES if name in self.split.names]
        columns = [*parts, *(f"fold {fold}" for fold in folds)]
        found = {name: dict.fromkeys(columns, 0) for name in self.catalog.class_names}
        given = self.split.folds or (None,) * len(self.catalog)
        for item, name, fold in zip(self.catalog.items, self.split.names, given, strict=True):
            found[item.label][name] += 1
            if fold is not None:
                found[item.label][f"fold {fold}"] += 1
        return found


def split_photos(
    source: str,
    *,
    validation: float,
    test: float,
    group: str | None = None,
    kfold: int | None = None,
    seed: int = 0,
    write: Path | None = None,
    how: How = "list",
    pixels: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> Division:
    """Divide photos as ``finetune`` does, near copies and groups kept whole.

    The source is only read.

    Args:
        source: any source of photos; parts that it gives are kept.
        validation: share of the photos, 0 for none.
        test: share of the photos, 0 for none.
        group: what keeps photos together, see ``grouped``; by default the table's column group.
        kfold: number of folds to divide all but the test photos into.
        seed: of the division.
        write: an absent or empty folder that gets split.csv, which is a source itself.
        how: whether the photos are copied or linked into it as well, part by part.
        pixels: shape of the images in a table of pixels.
        offline: open no network connection.
        observer: told about everything on the way.

    Raises:
        UsageError: the fractions leave nothing, or ``write`` is not empty.
        DataError: the photos cannot be used, or a class has too few for the parts.
        EnvironmentProblem: ``write`` cannot be written.
    """
    observer = observer or SilentObserver()
    _check_fractions(validation, test, kfold)
    if write is not None:
        _check_target(write, Path(source))
    observer.on_phase("audit", source)
    listing = read_source(source, pixels=pixels, offline=offline, observer=observer)
    listing = grouped(listing, group) if group else listing
    settings = DataSection()
    checked = audit(
        listing,
        on_bad=settings.on_bad,
        max_bad_fraction=settings.max_bad_fraction,
        max_pixels=settings.max_pixels,
        observer=observer,
    )
    observer.on_phase("split", f"{len(checked.catalog)} photos")
    catalog = checked.catalog
    clusters = copies(catalog, observer)
    _tell_given(catalog, observer)
    split = make_split(
        catalog, validation_fraction=validation, test_fraction=test, seed=seed, clusters=clusters
    )
    if kfold:
        split = with_folds(catalog, split, kfold, seed=seed, clusters=clusters)
    division = Division(catalog, split, write)
    _check_whole(division)
    if write is not None:
        _write(write.resolve(), catalog, split, how, observer)
    return division


def _check_whole(division: Division) -> None:
    """Refuse parts without a class, as a source may give them.

    Raises:
        DataError: names the classes and the parts.
    """
    short = [
        f"{part} has no photo of {name!r}"
        for name, row in division.counts().items()
        for part, count in row.items()
        if not count
    ]
    if short:
        more = f", and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
        raise DataError(
            f"{', '.join(short[:_NAMED])}{more}",
            hint="the source gives these parts: add photos, or take its parts apart",
        )


def _check_fractions(validation: float, test: float, kfold: int | None) -> None:
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise UsageError(
            f"--val {validation:g} and --test {test:g} leave nothing for training",
            hint="both are shares of the photos, from 0, below 1 together",
        )
    if not (validation or test or kfold):
        raise UsageError("--val 0 and --test 0 divide nothing", hint="or give --kfold")


def _check_target(folder: Path, source: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"'{folder}' is not empty", hint="give another folder with --write; it was not touched"
        )
    if source.is_dir() and folder.resolve().is_relative_to(source.resolve()):
        raise UsageError(
            f"'{folder}' lies inside the photos", hint="give a folder elsewhere with --write"
        )


def _tell_given(catalog: Catalog, observer: Observer) -> None:
    given = [
        name for name in SPLIT_NAMES if any(item.given_split == name for item in catalog.items)
    ]
    if set(given) - {"train"}:
        observer.on_message(f"the source gives parts itself, which are kept: {', '.join(given)}")


def _write(target: Path, catalog: Catalog, split: Split, how: How, observer: Observer) -> None:
    """Write beside ``target`` first, so that it is whole or not there.

    Raises:
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


def counts_rows(counts: Mapping[str, Mapping[str, int]]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the table of counts, with a line of sums."""
    columns = list(next(iter(counts.values())))
    rows = [[name, *(f"{row[column]:,}" for column in columns)] for name, row in counts.items()]
    sums = [sum(row[column] for row in counts.values()) for column in columns]
    return ["class", *columns], [*rows, ["all", *(f"{total:,}" for total in sums)]]
