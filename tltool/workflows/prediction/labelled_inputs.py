"""Read the labelled images for an evaluation, with the data settings of the model's run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tltool.data.audit.audit import Audit, audit
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_source
from tltool.errors import DataError
from tltool.events import Observer
from tltool.recipe.schema import DataSection
from tltool.workflows.dataset.dataset import usable_ood_images
from tltool.workflows.prediction.model import LoadedModel
from tltool.workflows.preflight.model_arguments import run_data_settings

_MAX_LISTED = 6  # files in a message


def read_labelled_inputs(
    model: Path,
    data: Path | str,
    *,
    class_names: Sequence[str],
    pixels: str | None,
    offline: bool,
    observer: Observer,
) -> tuple[Audit, tuple[Path, ...]]:
    """Return the audited images, and the out-of-distribution images.

    The settings of the model's run give the folder of out-of-distribution images and the largest
    image size.

    Args:
        model: a run folder or an export; an export has no data settings.
        data: any source of labelled images.
        class_names: of the model.
        pixels: shape of the images in a table of pixels; None means that of the run, or square.
        offline: open no network connection.
        observer: receives progress events.

    Raises:
        DataError: the images cannot be used.
    """
    settings = run_data_settings(model)
    listing = _list_images(
        data,
        settings,
        pixels or settings.pixels,
        class_names=class_names,
        offline=offline,
        observer=observer,
    )
    max_pixels = settings.max_pixels
    audited = audit(
        listing, on_bad="skip", max_bad_fraction=1.0, max_pixels=max_pixels, observer=observer
    )
    _report_label_conflicts(audited, observer)
    return audited, usable_ood_images(listing.ood_images, audited, max_pixels=max_pixels)


def _report_label_conflicts(audited: Audit, observer: Observer) -> None:
    """Report identical images with different labels: the model cannot predict both right."""
    labels: dict[str, set[str]] = {}
    for item in audited.catalog.items:
        labels.setdefault(item.sha256, set()).add(item.label)
    conflicts = [item for item in audited.catalog.items if len(labels[item.sha256]) > 1]
    if conflicts:
        names = ", ".join(sorted(item.path.name for item in conflicts)[:_MAX_LISTED])
        observer.on_message(
            f"{len(conflicts):,} images are in more than one class, so at most one of their labels "
            f"is right; all are counted: {names}{' …' if len(conflicts) > _MAX_LISTED else ''}",
            level="warning",
        )


def scores_of_ood_images(model: LoadedModel, images: Sequence[Path]) -> np.ndarray:
    """Return ``ood_score`` float32 [K] of K images; empty if the model has no OOD detector."""
    parts = []
    for start in range(0, len(images), model.batch_size):
        batch = images[start : start + model.batch_size]
        scores = model.predict([read_image_bytes(path) for path in batch]).ood_scores
        parts += [] if scores is None else [scores]
    return np.concatenate([np.zeros(0, np.float32), *parts])


def _list_images(
    data: Path | str,
    settings: DataSection,
    pixels: str | None,
    *,
    class_names: Sequence[str],
    offline: bool,
    observer: Observer,
) -> Listing:
    """List the images; the out-of-distribution folder of the run is no class."""

    def read(ood_images: str | None) -> Listing:
        return read_source(
            data,
            ood_images=ood_images,
            min_classes=1,
            known_classes=class_names,
            pixels=pixels,
            offline=offline,
            observer=observer,
        )

    ood_images = settings.ood_images
    if ood_images is None or Path(ood_images).is_absolute() or ":" in ood_images:
        return read(None)  # a separate source, which may not exist here
    try:
        return read(ood_images)
    except DataError:  # usually the folder is missing; any other error is raised again
        return read(None)
