"""Divide a source of images once and for all, and write down or lay out the division."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tltool.data.audit.audit import audit
from tltool.data.catalog import SPLIT_NAMES, Catalog
from tltool.data.sources.grouping import HINT, grouped
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_source
from tltool.data.sources.source_cache import cache_folder
from tltool.data.splits.split import Split, make_split, with_folds
from tltool.errors import DataError, UsageError
from tltool.events import Observer, SilentObserver
from tltool.recipe.schema import DataSection
from tltool.workflows.dataset.export_split import FILE, How, export_split
from tltool.workflows.dataset.splitting import check_shows, find_duplicates, report_duplicates
from tltool.workflows.preflight.output_paths import refuse_among

SHARE = 0.15
"""Of validation and of test, where nothing else is said."""
_NAMED = 5


@dataclass(frozen=True)
class Division:
    """Images and where each goes.

    Attributes:
        catalog: the readable images.
        split: their parts, groups and folds.
        written: the folder that was written, or None.
        ood_folder: the folder of the out-of-distribution images; None where there is no single
            folder, or only a copy in the cache.
    """

    catalog: Catalog
    split: Split
    written: Path | None
    ood_folder: Path | None

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of images by class, and in it by part and by fold."""
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


def split_data(
    source: str,
    *,
    validation: float | None = None,
    test: float | None = None,
    group: str | None = None,
    kfold: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    how: How = "list",
    ood_images: str | None = None,
    pixels: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> Division:
    """Divide images as ``finetune`` does, near copies and groups kept whole.

    The source is only read.

    Args:
        source: any source of images; validation and test parts that it gives are kept.
        validation: share of the images, 0 for none; None is ``SHARE`` where the source gives no
            validation part.
        test: the same for the test.
        group: what keeps images together, see ``grouped``; by default the table's column group.
        kfold: number of folds to divide all but the test images into.
        seed: of the division.
        out: an absent or empty folder that gets split.csv, which is a source itself.
        how: whether the images are copied or linked into it as well, part by part.
        ood_images: name of a folder of out-of-distribution images, which are in no part.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        offline: open no network connection.
        observer: told about everything on the way.

    Raises:
        UsageError: the fractions leave nothing, or are of parts that the source gives; ``out`` is
            not empty, or lies among the images; or images in the cache should not be copied.
        DataError: the images cannot be used, or a class has too few for the parts.
        EnvironmentProblem: ``out`` cannot be written.
    """
    observer = observer or SilentObserver()
    shares = _shares(validation, test, kfold)
    if group is not None and not group.strip():
        raise UsageError("--group '' names nothing", hint=HINT)
    if out is not None:
        _check_empty(out)
    observer.on_phase("audit", source)
    listing = read_source(
        source, ood_images=ood_images, pixels=pixels, offline=offline, observer=observer
    )
    if out is not None:
        refuse_among(out, listing, option="--out")
        _check_lasting(listing, how)
    _check_drawn(listing, validation, test)
    if listing.ood_images:
        told = f"{len(listing.ood_images):,} images of {ood_images} are in no part"
        observer.on_message(f"{told}; to train with them, name their folder as data.ood_images")
    ood_folder = _ood_folder(listing, ood_images)
    if group is not None:
        listing = _grouped(listing, group)
        _check_groups(listing, group, shares, kfold)
    settings = DataSection()
    checked = audit(
        listing,
        on_bad=settings.on_bad,
        max_bad_fraction=settings.max_bad_fraction,
        max_pixels=settings.max_pixels,
        observer=observer,
    )
    observer.on_phase("split", f"{len(checked.catalog)} images")
    catalog = checked.catalog
    clusters = find_duplicates(catalog, observer)
    _tell_given(catalog, observer)
    split = make_split(
        catalog,
        validation_fraction=shares[0],
        test_fraction=shares[1],
        seed=seed,
        clusters=clusters,
    )
    if kfold:
        split = with_folds(catalog, split, kfold, seed=seed, clusters=clusters)
    report_duplicates(catalog, split, clusters, see=check_shows(source), observer=observer)
    division = Division(catalog, split, out, ood_folder)
    _check_whole(division)
    if out is not None:
        export_split(out.resolve(), catalog, split, how, observer)
    return division


def _ood_folder(listing: Listing, ood_images: str | None) -> Path | None:
    name = Path(ood_images or "").name
    folders = {
        next((p for p in path.parents if p.name == name), None) for path in listing.ood_images
    }
    found = folders.pop() if len(folders) == 1 else None
    lasting = found is not None and not found.absolute().is_relative_to(cache_folder().absolute())
    return found.absolute() if found is not None and lasting else None


def _check_whole(division: Division) -> None:
    """Refuse parts without a class, as a source may give them.

    Raises:
        DataError: names the classes and the parts.
    """
    short = [
        f"{part} has no image of {name!r}"
        for name, row in division.counts().items()
        for part, count in row.items()
        if not count
    ]
    if short:
        more = f", and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
        raise DataError(
            f"{', '.join(short[:_NAMED])}{more}",
            hint="the source gives these parts: add images, or take its parts apart",
        )


def _shares(validation: float | None, test: float | None, kfold: int | None) -> tuple[float, float]:
    """Return the shares of validation and test, which together leave something."""
    given = (SHARE if validation is None else validation, SHARE if test is None else test)
    for option, share in zip(("--val", "--test"), given, strict=True):
        if not 0 <= share < 1:
            raise UsageError(
                f"{option} {share:g} is no share of the images", hint="from 0, and below 1"
            )
    if sum(given) >= 1:
        raise UsageError(
            f"--val {given[0]:g} and --test {given[1]:g} leave nothing for training",
            hint="both are shares of the images, from 0, below 1 together",
        )
    if not (any(given) or kfold):
        raise UsageError("--val 0 and --test 0 divide nothing", hint="or give --kfold")
    return given


def _check_drawn(listing: Listing, validation: float | None, test: float | None) -> None:
    """Refuse a share of a part that is not drawn, since the source gives it.

    Raises:
        UsageError: names the option.
    """
    given = {item.given_split for item in listing.items}
    for option, share, parts in (
        ("--val", validation, ("validation",)),
        ("--test", test, ("test", "validation")),  # with a validation part, nothing is drawn
    ):
        kept = [part for part in parts if part in given]
        if share and kept:
            raise UsageError(
                f"{option} {share:g} would change nothing: {listing.source} gives a {kept[0]} part"
                f" itself{', so that no part is drawn' if kept[0] == 'validation' else ''}",
                hint=f"leave out {option}, or take the images of all parts as one source",
            )


def _check_lasting(listing: Listing, how: How) -> None:
    """Refuse to list or link images that lie in the cache, which anybody may empty.

    Raises:
        UsageError: they do.
    """
    cache = cache_folder().absolute()
    if how != "copy" and any(i.path.absolute().is_relative_to(cache) for i in listing.items):
        raise UsageError(
            f"the images of {listing.source} were unpacked into a cache that can be emptied at any"
            f" time, so that {FILE} must not point there",
            hint="copy them: --how copy",
        )


def _grouped(listing: Listing, by: str) -> Listing:
    """Return the listing with groups; those that it has are what ``group`` means."""
    known = by.lower() == "group" and any(item.group is not None for item in listing.items)
    return listing if known else grouped(listing, by)


def _check_groups(
    listing: Listing, by: str, shares: tuple[float, float], kfold: int | None
) -> None:
    """Refuse groups that are too few for the parts; an image without one is a group of its own.

    Raises:
        DataError: names the classes.
    """
    given = {item.given_split for item in listing.items}
    parts = (
        0
        if "validation" in given
        else 1 + bool(shares[0]) + bool(shares[1] and "test" not in given)
    )
    needed = max(parts, kfold or 0)
    free = [item for item in listing.items if item.given_split in (None, "train")]
    groups: dict[str, set[str]] = {}
    for item in free:
        groups.setdefault(item.label, set()).add(item.group or f"\0{item.path}")
    few = [
        f"{name!r} has {len(groups[name])}" for name in sorted(groups) if len(groups[name]) < needed
    ]
    if few:
        what = f"{kfold} folds" if needed > parts else f"{parts} parts"
        raise DataError(
            f"--group {by} leaves too few groups for {what}: {', '.join(few)}",
            hint="ask for fewer parts (--test 0, a smaller --kfold), or group by something else",
        )


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            f"'{folder}' is a file", hint="give a folder with --out; it was not touched"
        )
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"'{folder}' is not empty", hint="give another folder with --out; it was not touched"
        )


def _tell_given(catalog: Catalog, observer: Observer) -> None:
    parts = {item.given_split for item in catalog.items}
    given = [name for name in SPLIT_NAMES if name in parts]
    if "validation" in given:
        observer.on_message(f"the source gives parts itself, which are kept: {', '.join(given)}")
    elif "test" in given:
        observer.on_message("the source gives a test part itself, which is kept")
    elif "train" in given and None in parts:
        observer.on_message("images that the source calls train are divided like the others")


def counts_rows(counts: Mapping[str, Mapping[str, int]]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the table of counts, with a line of sums."""
    columns = list(next(iter(counts.values())))
    rows = [[name, *(f"{row[column]:,}" for column in columns)] for name, row in counts.items()]
    sums = [sum(row[column] for row in counts.values()) for column in columns]
    return ["class", *columns], [*rows, ["all", *(f"{total:,}" for total in sums)]]
