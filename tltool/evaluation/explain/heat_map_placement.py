"""Maps a heat map from the network's input back onto the image: undoes crop, stretch and pad."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tltool.data.decoding.decode_spec import DecodeSpec


class Box(NamedTuple):
    """A rectangle in pixels; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float


def visible_box(spec: DecodeSpec, width: int, height: int) -> Box:
    """Return the part of an upright image that the network sees, in whole pixels of the image.

    ``crop`` uses the centre only, the other resize modes the whole image.
    """
    if spec.resize != "crop":
        return Box(0, 0, width, height)
    box_width = min(width, _times(height, spec.width, spec.height))
    box_height = min(height, _times(width, spec.height, spec.width))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return Box(left, top, left + box_width, top + box_height)


def content_box(spec: DecodeSpec, width: int, height: int) -> Box:
    """Return the position of the image in the network's input, in pixels of the input.

    ``pad`` adds black bars around it, the other resize modes fill the input.
    """
    if spec.resize != "pad":
        return Box(0, 0, spec.width, spec.height)
    new_width = min(spec.width, _times(width, spec.height, height))
    new_height = min(spec.height, _times(height, spec.width, width))
    left, top = (spec.width - new_width) // 2, (spec.height - new_height) // 2
    return Box(left, top, left + new_width, top + new_height)


def place_heat_map(
    heat_map: NDArray[np.float32], spec: DecodeSpec, *, width: int, height: int
) -> NDArray[np.float32]:
    """Return a heat map at the size of the image that it explains.

    Args:
        heat_map: float32 [h, w] in 0…1, a grid over the network's input.
        spec: how the image is decoded into the input.
        width: of the upright image, in pixels.
        height: of the upright image, in pixels.

    Returns:
        float32 [height, width] in 0…1, NaN where the network does not see the image.
    """
    rows, columns = heat_map.shape
    content, visible = content_box(spec, width, height), visible_box(spec, width, height)
    across, down = columns / spec.width, rows / spec.height
    inside = (
        content.left * across,
        content.top * down,
        content.right * across,
        content.bottom * down,
    )
    left, top, right, bottom = (int(edge) for edge in visible)
    grid = Image.fromarray(np.ascontiguousarray(heat_map, np.float32))
    smooth: Any = grid.resize((right - left, bottom - top), Image.Resampling.BICUBIC, box=inside)
    placed = np.full((height, width), np.nan, np.float32)
    placed[top:bottom, left:right] = smooth
    return placed.clip(0, 1)


def _times(size: int, numerator: int, denominator: int) -> int:
    """Return round(size * numerator / denominator), at least 1, rounded as the decoder does."""
    return max(1, round(size * numerator / denominator))
