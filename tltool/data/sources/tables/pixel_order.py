"""Whether the colours of a row of pixels are adjacent (RGBRGB…) or in planes (RR…GG…BB…)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SAMPLE = 64
"""Rows that are compared."""
_CLEARLY = 0.7


def smoother_order(rows: Sequence[bytes], height: int, width: int) -> str | None:
    """Return the order in which colour images are clearly smoother; None if it is not clear.

    Neighbours in an image are similar. In the wrong order they are pixels of other rows and other
    colours.

    Args:
        rows: of images, ``3 * height * width`` values 0 to 255 each.
        height: in pixels.
        width: in pixels.

    Returns:
        ``"adjacent"`` or ``"planes"``.
    """
    if not rows:
        return None
    values = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1).astype(np.int16)
    adjacent = _roughness(values.reshape(-1, height, width, 3))
    planes = _roughness(values.reshape(-1, 3, height, width).transpose(0, 2, 3, 1))
    if planes < _CLEARLY * adjacent:
        return "planes"
    return "adjacent" if adjacent < _CLEARLY * planes else None


def _roughness(images: NDArray[np.int16]) -> float:
    """Return the mean difference of neighbours in images int16 [N, H, W, 3]."""
    differences = [
        np.abs(np.diff(images, axis=axis)).mean() for axis in (1, 2) if images.shape[axis] > 1
    ]
    return float(np.mean(differences)) if differences else 0.0


def adjacent_colours(row: bytes) -> bytes:
    """Return a row of three planes with the colours of each pixel adjacent."""
    return np.frombuffer(row, np.uint8).reshape(3, -1).T.tobytes()
