"""Write a copy of labelled images with corrected labels; the images themselves stay as they are.

Images without labels are added to the copy if people have given them a label, and the source does
not have them already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tltool.data.audit.audit import Audit, audit
from tltool.data.audit.corrected_audit import corrected_audit
from tltool.data.catalog import Catalog, Item
from tltool.data.corrections.apply import Corrections, load_corrections
from tltool.data.decoding.image_errors import ImageError
from tltool.data.decoding.image_file import read_image_file
from tltool.data.item_columns import ItemColumns
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_images, read_source
from tltool.data.splits.split import Split
from tltool.errors import DataError, counted
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
        added: how many images that the source does not have were added with their new label.
    """

    folder: Path
    images: int
    relabelled: int
    excluded: int
    not_applied: int
    added: int = 0


@with_own_settings
def apply_corrections(
    source: Path | str,
    corrections: Path | str,
    *,
    write: Path | str,
    add: Path | str | None = None,
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
        add: a source of images without labels, such as those of ``suggest``: images to which a
            decision gives a class of ``source`` are added, as training images. One whose content
            ``source`` has is not added, and of exact copies only the first is.
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

    Examples:
        >>> tltool.apply_corrections("photos", "corrections.csv", write="corrected").relabelled
        1
    """
    observer = observer or SilentObserver()
    source, corrections, write = str(source), Path(corrections), Path(write)
    check_empty(write, option="--write")
    decided = load_corrections(corrections, prefer=corrections_by)
    observer.on_phase("source", source)
    listing = read_source(source, pixels=pixels, offline=offline, observer=observer)
    check_outside_images(write, listing, option="--write")
    check_not_in_cache(listing, how)
    labelled: list[Item] = []
    if add is not None:
        observer.on_phase("new images", str(add))
        new = read_images(add, pixels=pixels, offline=offline, observer=observer)
        check_outside_images(write, new, option="--write")
        check_not_in_cache(new, how)
        labelled = _newly_labelled(listing, new, decided, observer)
    observer.on_phase("audit", source)
    audited, added = _audited(listing, labelled, observer)
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
        added,
    )


def _newly_labelled(
    listing: Listing, new: Listing, corrections: Corrections, observer: Observer
) -> list[Item]:
    """Return the images to which a decision gives a label; unreadable ones are left out.

    Raises:
        DataError: a new label is no class of ``listing``, or no image has got one.
    """
    classes = set(listing.columns.classes())
    corrections.check_classes(classes)
    labelled = []
    for done, item in enumerate(new.items, start=1):
        decision = corrections.decisions.get(_digest(item.path))
        if decision is not None and decision.label in classes:
            labelled.append(Item(item.path, decision.label))
        observer.on_progress(done, len(new.items))
    if not labelled:
        raise DataError(
            f"'{corrections.file}' gives no image of {new.source} a label",
            hint="label them first: tltool review RUN --suggestions FILE",
        )
    return labelled


def _digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file; empty if it cannot be read."""
    try:
        return hashlib.sha256(read_image_file(path)).hexdigest()
    except ImageError:
        return ""


def _audited(listing: Listing, new: Sequence[Item], observer: Observer) -> tuple[Audit, int]:
    """Return the audit of a source and of new images that it does not have, and their number.

    A copy of an image of the source stays out before any label is corrected: it could get into
    another split, and its new label would hide that a decision no longer fits the source.

    Raises:
        DataError: as ``audit``.
    """
    settings = DataSection()
    audited = audit(
        replace(listing, items=listing.columns.joined(ItemColumns(new))),
        on_bad=settings.on_bad,
        max_bad_fraction=settings.max_bad_fraction,
        max_pixels=settings.max_pixels,
        observer=observer,
    )
    bad = {issue.path for issue in audited.issues if issue.bad}
    of_source = sum(item.path not in bad for item in listing.items)
    digests = audited.catalog.columns.digests()
    known, kept = set(digests[:of_source]), list(range(of_source))
    for place, digest in enumerate(digests[of_source:], start=of_source):
        if digest not in known:
            known.add(digest)
            kept.append(place)
    if len(kept) < len(digests):
        count = counted(len(digests) - len(kept), "labelled image is", "labelled images are")
        observer.on_message(f"{count} not added: the copy has the same images already")
    return replace(audited, catalog=audited.catalog.select(kept)), len(kept) - of_source


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
