"""Write a copy of labelled images with corrected labels; the images themselves stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tltool.data.audit.audit import audit
from tltool.data.audit.corrected_audit import corrected_audit
from tltool.data.catalog import Catalog
from tltool.data.corrections.apply import load_corrections
from tltool.data.sources.open import read_source
from tltool.data.splits.split import Split
from tltool.events import Observer, SilentObserver
from tltool.recipe.schema import DataSection
from tltool.training.own_settings import with_own_settings
from tltool.workflows.dataset.export_split import export_split
from tltool.workflows.dataset.split_checks import check_empty, check_not_in_cache
from tltool.workflows.preflight.output_paths import check_outside_images


@dataclass(frozen=True)
class CorrectedCopy:
    """A copy of a data set with corrected labels.

    Attributes:
        folder: where it lies: one folder per class, within train, validation and test folders if
            the source defines splits.
        images: how many it has.
        relabelled: how many of them have another label than in the source.
        excluded: how many images of the source it leaves out.
        not_applied: decisions that fit no image.
    """

    folder: Path
    images: int
    relabelled: int
    excluded: int
    not_applied: int


@with_own_settings
def apply_corrections(
    source: str,
    corrections: Path,
    *,
    write: Path,
    corrections_by: str | None = None,
    how: Literal["copy", "link"] = "copy",
    pixels: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> CorrectedCopy:
    """Lay the images of ``source`` out in a new folder, each in the folder of its corrected class.

    Args:
        source: any source of labelled images; it is only read.
        corrections: written by `tltool review`.
        write: a missing or empty folder.
        corrections_by: the person whose decision counts where people disagree.
        how: copy or link.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        offline: open no network connection.
        observer: receives progress and warnings.

    Raises:
        UsageError: ``write`` is not empty or is among the images, there is no such file of
            corrections, or links would lead into the cache.
        DataError: the images cannot be used, the corrections are damaged, people disagree, or
            they name a class that the images do not have.
        EnvironmentProblem: ``write`` cannot be written.
    """
    observer = observer or SilentObserver()
    check_empty(write, option="--write")
    decided = load_corrections(corrections, prefer=corrections_by)
    observer.on_phase("audit", source)
    listing = read_source(source, pixels=pixels, offline=offline, observer=observer)
    check_outside_images(write, listing, option="--write")
    check_not_in_cache(listing, how)
    settings = DataSection()
    audited = audit(
        listing,
        on_bad=settings.on_bad,
        max_bad_fraction=settings.max_bad_fraction,
        max_pixels=settings.max_pixels,
        observer=observer,
    )
    audited = corrected_audit(audited, decided, observer)
    corrected = audited.corrected
    if corrected is None:
        raise AssertionError("corrected_audit records what it has changed")
    observer.on_phase("copy", str(write))
    export_split(write.resolve(), audited.catalog, _splits_of(audited.catalog), how, observer)
    _warn_about_columns(audited.catalog, observer)
    return CorrectedCopy(
        write,
        len(audited.catalog),
        len(corrected.relabelled),
        len(corrected.excluded),
        len(corrected.gone) + len(corrected.stale),
    )


def _splits_of(catalog: Catalog) -> Split | None:
    """Return the splits that the source defines; None if it defines none."""
    if all(item.given_split is None for item in catalog.items):
        return None
    names = tuple(item.given_split or "train" for item in catalog.items)
    return Split(names, tuple(item.group or "" for item in catalog.items))


def _warn_about_columns(catalog: Catalog, observer: Observer) -> None:
    if any(item.group or item.fold is not None or item.weight != 1 for item in catalog.items):
        observer.on_message(
            "a folder per class has no groups, folds and weights; to keep those of the table, "
            "train on it with --corrections",
            level="warning",
        )
