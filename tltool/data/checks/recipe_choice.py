"""Recommends a recipe for images that differ from photos, such as digits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tltool.data.catalog import Item
from tltool.data.checks.file_properties import FEATURES

TINY = 32  # pixels per side
_MOST = 0.9  # of the images
_SAMPLE = 32  # images opened to check whether all are grey
_GREY = 1.0  # largest difference of the channel means of a grey image


def recommend_recipe(features: NDArray[np.float32]) -> str | None:
    """Return the recipe for tiny grey images, such as digits; None for other images.

    Args:
        features: of the images, float32 [N, 11] in the order of ``FEATURES``.
    """
    columns = dict(zip(FEATURES, features.T, strict=True))
    colours = np.stack([columns[f"mean {name}"] for name in ("red", "green", "blue")])
    fits = (np.maximum(columns["width"], columns["height"]) <= TINY) & (
        np.ptp(colours, axis=0) <= _GREY
    )
    return "digit_recognizer" if len(fits) and fits.mean() >= _MOST else None


def looks_like_text(items: Sequence[Item]) -> bool:
    """Return whether audited images are like digits and letters: tiny (<= 32 pixels) and grey."""
    tiny = [max(item.width, item.height) <= TINY for item in items]
    if not items or np.mean(tiny) < _MOST:
        return False
    some = np.linspace(0, len(items) - 1, min(len(items), _SAMPLE)).astype(int)
    return float(np.mean([_grey(items[position]) for position in some])) >= _MOST


def _grey(item: Item) -> bool:
    try:
        with Image.open(item.path) as image:
            pixels = np.asarray(image.convert("RGB"), np.float32)
    except OSError:
        return False
    return float(np.ptp(pixels, axis=2).mean()) <= _GREY
