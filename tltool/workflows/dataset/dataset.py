"""Open a source of images: list, audit, split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.data.audit.audit import Audit, audit, write_issues
from tltool.data.audit.inspect_file import image_decoder, inspect_file
from tltool.data.catalog import Catalog, Item, SplitName
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.header import BadFileError
from tltool.data.duplicates.find_duplicates import Cluster
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_source
from tltool.data.splits.split import Split, write_split
from tltool.errors import DataError
from tltool.events import Observer
from tltool.features.image_source import ImageSource
from tltool.recipe.schema import DataSection
from tltool.runs.layout import RunLayout
from tltool.workflows.dataset.splitting import check_shows, split_source


@dataclass(frozen=True)
class Dataset:
    """Audited images and their division.

    Attributes:
        audit: of the images with a class.
        split: their division.
        ood_images: readable out-of-distribution images.
        clusters: of copies and near copies, by position in the catalog.
    """

    audit: Audit
    split: Split
    ood_images: tuple[Path, ...] = ()
    clusters: tuple[Cluster, ...] = ()

    @property
    def catalog(self) -> Catalog:
        """The readable images."""
        return self.audit.catalog

    def part(self, name: SplitName) -> Catalog:
        """Return the images of one part; training images fold by fold, where there are folds."""
        return self.catalog.select(self._order(name))

    def without_test(self) -> tuple[Catalog, list[Cluster]]:
        """Return training and validation images, and the clusters of copies among them."""
        order = np.concatenate([self._order("train"), self._order("validation")]).tolist()
        place = {index: position for position, index in enumerate(order)}
        inside = [
            replace(each, members=tuple(sorted(place[i] for i in each.members if i in place)))
            for each in self.clusters
        ]
        return self.catalog.select(order), [each for each in inside if each.members]

    def _order(self, name: SplitName) -> NDArray[np.int64]:
        indices = self.split.indices(name)
        if name == "train" and self.split.folds:
            folds = [self.split.folds[index] for index in indices]
            indices = indices[np.argsort(np.array(folds, np.int64), kind="stable")]
        return indices

    def source(self, name: SplitName, *, decode: DecodeSpec, batch_size: int) -> ImageSource:
        """Return one part ready to be read."""
        return _source(self.part(name), decode, batch_size)

    def blocks(self, *, decode: DecodeSpec, batch_size: int) -> dict[int, ImageSource]:
        """Return the training part in pieces that come together in other runs too: its folds."""
        if not self.split.folds:
            return {0: self.source("train", decode=decode, batch_size=batch_size)}
        trained = zip(self.split.names, self.split.folds, strict=True)
        folds = sorted({fold for name, fold in trained if name == "train" and fold is not None})
        return {
            fold: _source(
                self.catalog.select(np.flatnonzero([given == fold for given in self.split.folds])),
                decode,
                batch_size,
            )
            for fold in folds
        }


def _source(part: Catalog, decode: DecodeSpec, batch_size: int) -> ImageSource:
    weights = np.array([item.weight for item in part.items], np.float32)
    return ImageSource(
        part.items,
        part.labels(),
        len(part.class_names),
        decode,
        batch_size=batch_size,
        weights=None if (weights == 1).all() else weights,
    )


def load_dataset(
    source: str,
    *,
    test: str | None,
    settings: DataSection,
    seed: int,
    offline: bool,
    observer: Observer,
) -> Dataset:
    """Return the audited and divided images of a source; bad files are named and left alone.

    Raises:
        DataError: the source, its classes or its files cannot be used.
        EnvironmentProblem: what it must be unpacked or fetched into cannot be written.
    """
    listing = read_source(
        source,
        test=test,
        ood_images=settings.ood_images,
        pixels=settings.pixels,
        offline=offline,
        observer=observer,
    )
    checked = audit(
        listing,
        on_bad=settings.on_bad,
        max_bad_fraction=settings.max_bad_fraction,
        max_pixels=settings.max_pixels,
        observer=observer,
    )
    see = "the run's data_issues.csv names them" if test else check_shows(source)
    found = split_source(checked.catalog, settings=settings, seed=seed, see=see, observer=observer)
    checked = replace(checked, issues=(*checked.issues, *found.issues))
    ood_images = _check_ood_images(
        listing.ood_images, checked, settings=settings, observer=observer
    )
    photos = Dataset(checked, found.split, ood_images, tuple(found.clusters))
    _tell_counts(photos, observer)
    report_skipped_files(listing, observer)
    return photos


def usable_ood_images(
    paths: Sequence[Path], checked: Audit, *, max_pixels: int
) -> tuple[Path, ...]:
    """Return the images of no class that can be decoded and are not among those with a class."""
    known = {item.sha256 for item in checked.catalog.items}
    found = []
    for path in paths:
        try:
            item = inspect_file(Item(path, ""), max_pixels=max_pixels, decode=image_decoder()).item
        except BadFileError:
            continue
        if item.sha256 not in known:
            found.append(path)
    return tuple(found)


def _check_ood_images(
    paths: Sequence[Path], checked: Audit, *, settings: DataSection, observer: Observer
) -> tuple[Path, ...]:
    """Return those that can be used to set the border.

    Raises:
        DataError: there are none.
    """
    if not paths:
        return ()
    found = usable_ood_images(paths, checked, max_pixels=settings.max_pixels)
    if not found:
        raise DataError(
            f"none of the {len(paths)} other images can be used: they cannot be read, or are "
            "images of the classes too",
            hint="data.ood_images names images that show none of the classes",
        )
    left = len(paths) - len(found)
    told = f"; {left} unreadable or also among the classes are left out" if left else ""
    observer.on_message(f"{len(found):,} other images set the border of what is known{told}")
    return found


def write_dataset(run: RunLayout, photos: Dataset) -> None:
    """Write split.csv and data_issues.csv."""
    write_split(run.split, photos.catalog, photos.split)
    write_issues(run.issues, photos.audit.issues)


def report_skipped_files(listing: Listing, observer: Observer) -> None:
    """Say how many files of a source are no images, or hidden."""
    if listing.hidden:
        observer.on_message(f"{listing.hidden} hidden files and folders skipped")
    if listing.ignored:
        kinds = ", ".join(
            f"{count} {kind or 'without extension'}" for kind, count in listing.ignored.items()
        )
        observer.on_message(f"files that are no images left out: {kinds}")


def _tell_counts(photos: Dataset, observer: Observer) -> None:
    parts: list[SplitName] = ["train", "validation", "test"]
    present = [name for name in parts if len(photos.split.indices(name))]
    labels = photos.catalog.labels()
    rows = []
    for number, name in enumerate(photos.catalog.class_names):
        counts = [int(np.sum(labels[photos.split.indices(part)] == number)) for part in present]
        rows.append([name, *(f"{count:,}" for count in counts), f"{sum(counts):,}"])
    totals = [len(photos.split.indices(part)) for part in present]
    rows.append(["all", *(f"{total:,}" for total in totals), f"{sum(totals):,}"])
    observer.on_table("Photos", ["class", *present, "all"], rows)
