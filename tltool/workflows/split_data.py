"""Split a source of images, and optionally write the split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tltool.data.audit.audit import audit
from tltool.data.catalog import SPLIT_NAMES, Catalog
from tltool.data.sources.class_names import report_class_names
from tltool.data.sources.grouping import HINT, assign_groups
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_source
from tltool.data.sources.source_cache import cache_folder
from tltool.data.splits.split import Split, make_split, with_folds
from tltool.errors import DataError, UsageError
from tltool.events import Observer, SilentObserver
from tltool.recipe.schema import DataSection
from tltool.training.own_settings import with_own_settings
from tltool.workflows.dataset.export_split import How, export_split
from tltool.workflows.dataset.split_checks import (
    check_drawn,
    check_empty,
    check_groups,
    check_not_in_cache,
)
from tltool.workflows.dataset.splitting import (
    find_duplicates,
    report_duplicates,
    show_duplicates_hint,
)
from tltool.workflows.preflight.output_paths import check_outside_images

DEFAULT_SHARE = 0.15
"""Of the validation set and of the test set."""
_NAMED = 5


@dataclass(frozen=True)
class DataSplit:
    """The result of a split.

    Attributes:
        catalog: the readable images.
        split: with groups and folds.
        written: the folder of the written split, or None.
        ood_folder: the folder of the out-of-distribution images; None where there is no single
            folder, or only a copy in the cache.
    """

    catalog: Catalog
    split: Split
    written: Path | None
    ood_folder: Path | None

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of images by class, then by split and fold."""
        folds = sorted({fold for fold in self.split.folds if fold is not None})
        splits = [name for name in SPLIT_NAMES if name in self.split.names]
        columns = [*splits, *(f"fold {fold}" for fold in folds)]
        counts = {name: dict.fromkeys(columns, 0) for name in self.catalog.class_names}
        each_fold = self.split.folds or (None,) * len(self.catalog)
        labels = self.catalog.columns.labels()
        for label, name, fold in zip(labels, self.split.names, each_fold, strict=True):
            counts[label][name] += 1
            if fold is not None:
                counts[label][f"fold {fold}"] += 1
        return counts


@with_own_settings
def split_data(
    source: Path | str,
    *,
    validation: float | None = None,
    test: float | None = None,
    group: str | None = None,
    kfold: int | None = None,
    seed: int = 0,
    out: Path | str | None = None,
    how: How = "list",
    ood_images: str | None = None,
    pixels: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> DataSplit:
    """Split images as ``finetune`` does; duplicates and groups stay in one split.

    The source is only read.

    Args:
        source: any source of images; the validation and test splits that it defines are kept.
        validation: share of the images, 0 for none; None is ``DEFAULT_SHARE`` if the source does
            not define a validation split.
        test: the same for the test split.
        group: images of one group stay in one split, see ``assign_groups``; by default the column
            ``group`` of a table.
        kfold: number of cross-validation folds for all images except test.
        seed: of the split.
        out: a missing or empty folder for split.csv, which is itself a source.
        how: whether the images are copied or linked there, or only listed.
        ood_images: name of a folder of out-of-distribution images, which are in no split.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        offline: open no network connection.
        observer: receives the progress and the messages.

    Raises:
        UsageError: the shares leave no training images, or are for splits that the source defines;
            ``out`` is not empty or is among the images; or images in the cache are not copied.
        DataError: the images cannot be used, or a class has too few images for the splits.
        EnvironmentProblem: ``out`` cannot be written.

    Examples:
        >>> split = tltool.split_data("photos", validation=0.2, test=0.2, out="split")
        >>> split.written
        PosixPath('split')
    """
    observer = observer or SilentObserver()
    shares = _shares(validation, test, kfold)
    if group is not None and not group.strip():
        raise UsageError("--group is empty", hint=HINT)
    source = str(source)
    out = None if out is None else Path(out)
    if out is not None:
        check_empty(out)
    observer.on_phase("audit", source)
    listing = read_source(
        source, ood_images=ood_images, pixels=pixels, offline=offline, observer=observer
    )
    if out is not None:
        check_outside_images(out, listing, option="--out")
        check_not_in_cache(listing, how)
    check_drawn(listing, validation, test)
    if listing.ood_images:
        observer.on_message(
            f"{len(listing.ood_images):,} out-of-distribution images in {ood_images} are in no"
            " split; to train with them, set data.ood_images to their folder"
        )
    ood_folder = _ood_folder(listing, ood_images)
    if group is not None:
        listing = _with_groups(listing, group)
        check_groups(listing, group, shares, kfold)
    catalog = _audited(listing, observer)
    report_class_names(catalog.class_names, observer)
    split = _draw(catalog, shares, kfold, seed, show_duplicates_hint(source), observer)
    result = DataSplit(catalog, split, out, ood_folder)
    _check_every_class(result)
    if out is not None:
        export_split(out.resolve(), catalog, split, how, observer, addresses=listing.addresses)
    return result


def _audited(listing: Listing, observer: Observer) -> Catalog:
    settings = DataSection()
    return audit(
        listing,
        on_bad=settings.on_bad,
        max_bad_fraction=settings.max_bad_fraction,
        max_pixels=settings.max_pixels,
        observer=observer,
    ).catalog


def _draw(
    catalog: Catalog,
    shares: tuple[float, float],
    kfold: int | None,
    seed: int,
    hint: str,
    observer: Observer,
) -> Split:
    observer.on_phase("split", f"{len(catalog)} images")
    clusters = find_duplicates(catalog, observer)
    _report_source_splits(catalog, observer)
    split = make_split(
        catalog,
        validation_fraction=shares[0],
        test_fraction=shares[1],
        seed=seed,
        clusters=clusters,
    )
    if kfold:
        split = with_folds(catalog, split, kfold, seed=seed, clusters=clusters)
    report_duplicates(catalog, split, clusters, hint=hint, observer=observer)
    return split


def _ood_folder(listing: Listing, ood_images: str | None) -> Path | None:
    name = Path(ood_images or "").name
    folders = {
        next((p for p in path.parents if p.name == name), None) for path in listing.ood_images
    }
    folder = folders.pop() if len(folders) == 1 else None
    if folder is None or folder.absolute().is_relative_to(cache_folder().absolute()):
        return None
    return folder.absolute()


def _check_every_class(result: DataSplit) -> None:
    """Check that every split has images of every class; a source may define others.

    Raises:
        DataError: names the classes and the splits.
    """
    missing = [
        f"{split} has no image of {name!r}"
        for name, row in result.counts().items()
        for split, count in row.items()
        if not count
    ]
    if missing:
        more = f", and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise DataError(
            f"{', '.join(missing[:_NAMED])}{more}",
            hint="the source defines these splits: add images, or merge its splits into one source",
        )


def _shares(validation: float | None, test: float | None, kfold: int | None) -> tuple[float, float]:
    """Return the shares of validation and test, which together are below 1."""
    shares = (
        DEFAULT_SHARE if validation is None else validation,
        DEFAULT_SHARE if test is None else test,
    )
    for option, share in zip(("--val", "--test"), shares, strict=True):
        if not 0 <= share < 1:
            raise UsageError(
                f"{option} {share:g} is not a valid share", hint="use a number >= 0 and < 1"
            )
    if sum(shares) >= 1:
        raise UsageError(
            f"--val {shares[0]:g} and --test {shares[1]:g} leave no images for training",
            hint="the sum of both shares must be below 1",
        )
    if not (any(shares) or kfold):
        raise UsageError(
            "--val 0 and --test 0 do not split the images", hint="set one of them, or --kfold"
        )
    return shares


def _with_groups(listing: Listing, by: str) -> Listing:
    """Return the listing with groups; ``group`` means those that it already has."""
    has_groups = by.lower() == "group" and any(item.group is not None for item in listing.items)
    return listing if has_groups else assign_groups(listing, by)


def _report_source_splits(catalog: Catalog, observer: Observer) -> None:
    columns = catalog.columns
    names = [name for name in SPLIT_NAMES if name in columns.given_splits()]
    if "validation" in names:
        observer.on_message(f"the splits defined by the source are kept: {', '.join(names)}")
    elif "test" in names:
        observer.on_message("the test split defined by the source is kept")
    elif "train" in names and (columns.rows["given_split"] < 0).any():
        observer.on_message("images marked train in the source are split like the others")
