"""Properties of a file that a model may learn as a shortcut instead of the object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEATURES = (
    *("width", "height", "aspect", "file size", "JPEG quality"),
    *("mean red", "mean green", "mean blue"),
    *("border red", "border green", "border blue"),
)
"""Names of the numeric properties of a file; its camera is a further property."""

_BORDER = 2  # of the 32 pixels of a thumbnail's side


def features_of(
    *, width: int, height: int, size: int, quality: float, colours: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the properties named in ``FEATURES``, float32 [11].

    Args:
        width: of the upright image, in pixels.
        height: of the upright image.
        size: of the file, in bytes.
        quality: estimated JPEG quality, 0 for other formats.
        colours: from ``colours_of``, float32 [6].
    """
    return np.array([width, height, width / height, size, quality, *colours], np.float32)


def colours_of(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return mean and border colour of thumbnails [N, 32, 32, 3]: float32 [N, 6]."""
    count, side = thumbnails.shape[:2]
    border = np.ones((side, side), np.float32)
    border[_BORDER:-_BORDER, _BORDER:-_BORDER] = 0
    weights = np.stack([np.full(side * side, 1 / side**2), border.ravel() / border.sum()])
    pixels = thumbnails.reshape(count, side * side, 3)
    return (weights.astype(np.float32) @ pixels).reshape(count, 6)
