"""Reads a source of labelled images whose splits do not matter."""

from __future__ import annotations

from tltool.data.audit.audit import audit
from tltool.data.catalog import Catalog
from tltool.data.sources.open import read_source
from tltool.events import Observer
from tltool.recipe.schema import DataSection


def read_labelled_images(
    data: str,
    *,
    ood_images: str | None = None,
    pixels: str | None = None,
    offline: bool,
    observer: Observer,
) -> Catalog:
    """Return all readable images of a source, of all its splits.

    Args:
        data: any source of labelled images.
        ood_images: name of a folder of out-of-distribution images next to the class folders.
        pixels: shape of the images in a table of pixels.
        offline: open no network connection.
        observer: receives progress and messages.

    Raises:
        DataError: the images cannot be used.
    """
    observer.on_phase("audit", data)
    listing = read_source(
        data, ood_images=ood_images, pixels=pixels, offline=offline, observer=observer
    )
    settings = DataSection()
    checked = audit(
        listing,
        on_bad=settings.on_bad,
        max_bad_fraction=settings.max_bad_fraction,
        max_pixels=settings.max_pixels,
        observer=observer,
    )
    return checked.catalog
