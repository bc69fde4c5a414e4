"""The images that a model is measured on, read as its run would read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tltool.artifact import is_artifact
from tltool.data.audit.audit import Audit, audit
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_source
from tltool.errors import DataError
from tltool.events import Observer
from tltool.recipe.load import load_recipe
from tltool.recipe.schema import DataSection
from tltool.runs.layout import RunLayout
from tltool.workflows.dataset.dataset import usable_ood_images
from tltool.workflows.prediction.model import LoadedModel

_NAMED = 6  # files in a message


def read_labelled_inputs(
    model: Path, photos: Path | str, *, pixels: str | None, offline: bool, observer: Observer
) -> tuple[Audit, tuple[Path, ...]]:
    """Return the audited images, and those of no class; a run's own settings tell them apart.

    They also decide what is too large.

    Args:
        model: a run folder or an export; only a run knows settings.
        images: any source of labelled images.
        pixels: shape of the images in a table of pixels; None means that of the run, or square.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        DataError: the images cannot be used.
    """
    settings = _settings(model)
    listing = _listed(
        photos, settings, pixels or settings.pixels, offline=offline, observer=observer
    )
    most = settings.max_pixels
    checked = audit(
        listing, on_bad="skip", max_bad_fraction=1.0, max_pixels=most, observer=observer
    )
    _tell_conflicts(checked, observer)
    return checked, usable_ood_images(listing.ood_images, checked, max_pixels=most)


def _tell_conflicts(checked: Audit, observer: Observer) -> None:
    """Say which images have two labels: the model cannot get both right."""
    labels: dict[str, set[str]] = {}
    for item in checked.catalog.items:
        labels.setdefault(item.sha256, set()).add(item.label)
    twice = [item for item in checked.catalog.items if len(labels[item.sha256]) > 1]
    if twice:
        named = ", ".join(sorted(item.path.name for item in twice)[:_NAMED])
        observer.on_message(
            f"{len(twice):,} images lie in more than one class, of which one label at most is "
            f"right; all of them count: {named}{' …' if len(twice) > _NAMED else ''}",
            level="warning",
        )


def scores_of_ood_images(opened: LoadedModel, ood_images: Sequence[Path]) -> np.ndarray:
    """Return ``ood_score`` float32 [K] of K images; empty where the model has no reject option."""
    found = []
    for start in range(0, len(ood_images), opened.batch_size):
        batch = ood_images[start : start + opened.batch_size]
        scores = opened.answer([read_image_bytes(path) for path in batch]).ood_scores
        found += [] if scores is None else [scores]
    return np.concatenate([np.zeros(0, np.float32), *found])


def _settings(model: Path) -> DataSection:
    recipe = RunLayout(model).recipe
    if is_artifact(model) and recipe.is_file():
        return load_recipe(str(recipe)).data
    return DataSection()


def _listed(
    photos: Path | str,
    settings: DataSection,
    pixels: str | None,
    *,
    offline: bool,
    observer: Observer,
) -> Listing:
    """List the images, without those of ``data.ood_images`` where they lie among the classes."""

    def listed(ood_images: str | None) -> Listing:
        return read_source(
            photos,
            ood_images=ood_images,
            min_classes=1,
            pixels=pixels,
            offline=offline,
            observer=observer,
        )

    named = settings.ood_images
    if named is None or Path(named).is_absolute() or ":" in named:
        return listed(None)  # a source of its own, which need not be here
    try:
        return listed(named)
    except DataError:  # most often there are none of them; else it comes again
        return listed(None)
