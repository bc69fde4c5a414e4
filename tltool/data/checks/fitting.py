"""Which shipped recipe suits photos that the usual one does not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tltool.data.checks.properties import FEATURES

TINY = 32  # pixels a side
_MOST = 0.9  # of the images
_GREY = 1.0  # levels that the mean colours of a grey image are apart at most


def fitting_recipe(features: NDArray[np.float32]) -> str | None:
    """Return the recipe for tiny grey images, such as digits; None where the usual ones suit.

    Args:
        features: of the images, float32 [N, 11] in the order of ``FEATURES``.
    """
    columns = dict(zip(FEATURES, features.T, strict=True))
    colours = np.stack([columns[f"mean {name}"] for name in ("red", "green", "blue")])
    fits = (np.maximum(columns["width"], columns["height"]) <= TINY) & (
        np.ptp(colours, axis=0) <= _GREY
    )
    return "digit_recognizer" if len(fits) and fits.mean() >= _MOST else None
