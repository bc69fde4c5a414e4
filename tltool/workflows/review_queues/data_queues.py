"""Queues of a data set that no model has seen: copies, odd files, and all images of a class."""

from __future__ import annotations

from pathlib import Path

from tltool.data.audit.audit import LABEL_CONFLICT, LEAKAGE, Audit, audit
from tltool.data.catalog import Item
from tltool.data.sources.open import read_source
from tltool.data.splits.split import shown_path
from tltool.events import Observer
from tltool.recipe.schema import DataSection
from tltool.review.queues import Queue, QueueEntry, ReviewData, ReviewImage, class_queues
from tltool.workflows.dataset.splitting import find_duplicates


def data_review(source: str, *, offline: bool, observer: Observer) -> ReviewData:
    """Audit the images of a source, and return them with the queues that need no model.

    Args:
        source: any source of labelled images; it is only read.
        offline: open no network connection.
        observer: receives the progress.

    Raises:
        DataError: the images cannot be used.
    """
    observer.on_phase("audit", source)
    listing = read_source(source, min_classes=1, offline=offline, observer=observer)
    settings = DataSection()
    audited = audit(
        listing,
        on_bad="skip",
        max_bad_fraction=1.0,
        max_pixels=settings.max_pixels,
        observer=observer,
    )
    catalog = audited.catalog
    images = tuple(_image(item, catalog.root) for item in catalog.items)
    queues = [_copies(audited, observer), _odd_files(audited)]
    names = catalog.class_names
    return ReviewData(
        Path(source).name or source,
        images,
        names,
        (*(one for one in queues if one.entries), *class_queues(images, names)),
    )


def _image(item: Item, root: Path) -> ReviewImage:
    shown = shown_path(item.path, root)
    return ReviewImage(item.path, shown, item.label, item.sha256, item.given_split or "")


def _copies(audited: Audit, observer: Observer) -> Queue:
    """Return a queue of all copies, those with different labels first, cluster by cluster."""
    items = audited.catalog.items
    clusters = sorted(
        find_duplicates(audited.catalog, observer),
        key=lambda cluster: len({items[number].label for number in cluster.members}) < 2,
    )
    entries = []
    for number, cluster in enumerate(clusters, start=1):
        labels = sorted({items[member].label for member in cluster.members})
        kind = "exact" if cluster.exact else "near"
        reason = f"{kind} copies {number}: {' and '.join(labels)}"
        entries += [QueueEntry(member, "", reason) for member in cluster.members]
    about = "Exact and near copies, first those with different labels."
    return Queue("copies", "label conflicts and copies", about, tuple(entries))


def _odd_files(audited: Audit) -> Queue:
    position = {item.path: number for number, item in enumerate(audited.catalog.items)}
    found = {
        position[issue.path]: f"{issue.kind}: {issue.detail}"
        for issue in audited.issues
        if issue.path in position and not issue.bad and issue.kind not in (LABEL_CONFLICT, LEAKAGE)
    }
    entries = tuple(QueueEntry(number, "", reason) for number, reason in found.items())
    return Queue("odd-files", "odd files", "Images that the audit found unusual.", entries)
