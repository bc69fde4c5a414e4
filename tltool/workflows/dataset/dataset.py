"""Loads a data set: the images of a source are listed, audited and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.data.audit.audit import Audit, audit, write_issues
from tltool.data.audit.corrected_audit import corrected_audit
from tltool.data.audit.inspect_file import image_decoder, inspect_file
from tltool.data.catalog import SPLIT_NAMES, Catalog, Item, SplitName
from tltool.data.corrections.apply import Corrections
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.decoding.image_errors import BadFileError
from tltool.data.duplicates.find_duplicates import Cluster
from tltool.data.sources.class_names import report_class_names
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_source
from tltool.data.splits.split import Split, write_split
from tltool.errors import DataError, counted
from tltool.events import Observer
from tltool.features.image_source import ImageSource
from tltool.recipe.schema import DataSection
from tltool.runs.layout import RunLayout
from tltool.workflows.dataset.counts_table import counts_table
from tltool.workflows.dataset.splitting import (
    group_numbers,
    show_duplicates_hint,
    split_source,
)


@dataclass(frozen=True)
class Dataset:
    """Audited images and their split.

    Attributes:
        audit: of the images with a class.
        split: of the catalog.
        ood_images: readable out-of-distribution images.
        clusters: of exact and near duplicates, by position in the catalog.
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
        """Return the images of one split; training images are ordered by fold if there are any."""
        return self.catalog.select(self._order(name))

    def groups(self, name: SplitName) -> NDArray[np.int64]:
        """Return the group of each image of ``part(name)``, int64 [n].

        Duplicates and the images of one group (a patient, a film) have the same number.
        """
        return group_numbers(self.catalog, self.clusters)[self._order(name)]

    def without_test(self) -> tuple[Catalog, list[Cluster]]:
        """Return training and validation images, and the clusters of duplicates among them."""
        order = np.concatenate([self._order("train"), self._order("validation")]).tolist()
        position = {index: number for number, index in enumerate(order)}
        inside = [
            replace(each, members=tuple(sorted(position[i] for i in each.members if i in position)))
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
        """Return one split as a source of image batches."""
        return _source(self.part(name), decode, batch_size)

    def train_folds(self, *, decode: DecodeSpec, batch_size: int) -> dict[int, ImageSource]:
        """Return the training images by fold, for a feature cache that other runs share.

        Without folds, all of them are fold 0.
        """
        if not self.split.folds:
            return {0: self.source("train", decode=decode, batch_size=batch_size)}
        splits_and_folds = zip(self.split.names, self.split.folds, strict=True)
        folds = sorted(
            {fold for name, fold in splits_and_folds if name == "train" and fold is not None}
        )
        return {
            fold: _source(
                self.catalog.select(np.flatnonzero([each == fold for each in self.split.folds])),
                decode,
                batch_size,
            )
            for fold in folds
        }


def _source(part: Catalog, decode: DecodeSpec, batch_size: int) -> ImageSource:
    weights = part.columns.rows["weight"].astype(np.float32)
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
    corrections: Corrections | None = None,
) -> Dataset:
    """List, audit and split the images of a source; bad files are reported and skipped.

    Args:
        source: any source of labelled images.
        test: a source of test images, or None.
        settings: of the recipe.
        seed: of the split.
        offline: open no network connection.
        observer: receives the progress and the warnings.
        corrections: of labels, applied before the split.

    Raises:
        DataError: the source, its classes or its files cannot be used.
        EnvironmentProblem: the cache cannot be written, or a download fails.
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
    if corrections is not None:
        checked = corrected_audit(checked, corrections, observer)
    report_class_names(checked.catalog.class_names, observer)
    hint = "listed in the run's data_issues.csv" if test else show_duplicates_hint(source)
    result = split_source(
        checked.catalog, settings=settings, seed=seed, hint=hint, observer=observer
    )
    checked = replace(checked, issues=(*checked.issues, *result.issues))
    ood_images = _check_ood_images(
        listing.ood_images, checked, settings=settings, observer=observer
    )
    dataset = Dataset(checked, result.split, ood_images, tuple(result.clusters))
    _show_counts(dataset, observer)
    if corrections is not None:
        observer.on_message(f"{corrections.file.name}: {describe_corrected(dataset)}")
    report_skipped_files(listing, observer)
    return dataset


def usable_ood_images(
    paths: Sequence[Path], checked: Audit, *, max_pixels: int
) -> tuple[Path, ...]:
    """Return the OOD images that can be decoded and are not also images of a class."""
    known = set(checked.catalog.columns.digests())
    usable = []
    for path in paths:
        try:
            item = inspect_file(Item(path, ""), max_pixels=max_pixels, decode=image_decoder()).item
        except BadFileError:
            continue
        if item.sha256 not in known:
            usable.append(path)
    return tuple(usable)


def _check_ood_images(
    paths: Sequence[Path], checked: Audit, *, settings: DataSection, observer: Observer
) -> tuple[Path, ...]:
    """Return the OOD images that can be used for the OOD threshold.

    Raises:
        DataError: none can be used.
    """
    if not paths:
        return ()
    usable = usable_ood_images(paths, checked, max_pixels=settings.max_pixels)
    if not usable:
        raise DataError(
            f"none of the {len(paths)} out-of-distribution images can be used: they are unreadable "
            "or also images of a class",
            hint="data.ood_images must name images that show none of the classes",
        )
    unused = len(paths) - len(usable)
    note = f"; {unused} are unreadable or also in a class and are skipped" if unused else ""
    observer.on_message(
        f"{len(usable):,} out-of-distribution images are used for the OOD threshold{note}"
    )
    return usable


def write_dataset(run: RunLayout, dataset: Dataset) -> None:
    """Write split.csv and data_issues.csv."""
    write_split(run.split, dataset.catalog, dataset.split)
    write_issues(run.issues, dataset.audit.issues)


def corrected_labels(dataset: Dataset) -> dict[str, int]:
    """Return the number of corrected labels by split; splits without one are left out."""
    corrected = dataset.audit.corrected
    changed = {item.path for item, _ in corrected.relabelled} if corrected else set()
    splits = zip(dataset.catalog.items, dataset.split.names, strict=True)
    counts = Counter(name for item, name in splits if item.path in changed)
    return {name: counts[name] for name in SPLIT_NAMES if counts[name]}


def describe_corrected(dataset: Dataset) -> str:
    """Return what corrections have changed, test labels apart: they change what is measured."""
    corrected = dataset.audit.corrected
    by_split = [f"{count:,} {name}" for name, count in corrected_labels(dataset).items()]
    labels = counted(sum(corrected_labels(dataset).values()), "label", "labels")
    where = f" ({', '.join(by_split)})" if by_split else ""
    excluded = counted(len(corrected.excluded) if corrected else 0, "image", "images")
    return f"{labels} corrected{where}, {excluded} excluded"


def report_skipped_files(listing: Listing, observer: Observer) -> None:
    """Report the number of hidden files and of files that are not images."""
    if listing.hidden:
        observer.on_message(f"{listing.hidden} hidden files and folders skipped")
    if listing.ignored:
        kinds = ", ".join(
            f"{count} {kind or 'without extension'}" for kind, count in listing.ignored.items()
        )
        observer.on_message(f"files that are not images skipped: {kinds}")


def _show_counts(dataset: Dataset, observer: Observer) -> None:
    names = dataset.catalog.class_names
    present = [name for name in SPLIT_NAMES if len(dataset.split.indices(name))]
    parts = {name: dataset.part(name).counts() for name in present}
    counts = {
        label: {
            **{name: part[label] for name, part in parts.items()},
            "all": sum(part[label] for part in parts.values()),
        }
        for label in names
    }
    observer.on_table("Images", *counts_table(counts))
