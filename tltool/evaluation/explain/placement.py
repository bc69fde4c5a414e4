"""From the network's input back to the image: what decoding cropped, stretched or padded."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tltool.data.decoding.decode_spec import DecodeSpec


class Box(NamedTuple):
    """A rectangle in pixels; right and bottom are not inside."""

    left: float
    top: float
    right: float
    bottom: float


def seen_box(spec: DecodeSpec, width: int, height: int) -> Box:
    """Return the part of an upright image that the network sees, in pixels of the image.

    Whole pixels. ``crop`` leaves out what is beside the centred box, the others nothing.
    """
    if spec.resize != "crop":
        return Box(0, 0, width, height)
    box_width = min(width, _times(height, spec.width, spec.height))
    box_height = min(height, _times(width, spec.height, spec.width))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return Box(left, top, left + box_width, top + box_height)


def content_box(spec: DecodeSpec, width: int, height: int) -> Box:
    """Return where the image lies in the network's input, in pixels of the input.

    ``pad`` has black borders around it, the others fill the input.
    """
    if spec.resize != "pad":
        return Box(0, 0, spec.width, spec.height)
    new_width = min(spec.width, _times(width, spec.height, height))
    new_height = min(spec.height, _times(height, spec.width, width))
    left, top = (spec.width - new_width) // 2, (spec.height - new_height) // 2
    return Box(left, top, left + new_width, top + new_height)


def place(
    heat: NDArray[np.float32], spec: DecodeSpec, *, width: int, height: int
) -> NDArray[np.float32]:
    """Return a heat map over the image that it explains.

    Args:
        heat: float32 [h, w] in 0…1, a grid over the network's input.
        spec: how the image became the input.
        width: of the upright image, in pixels.
        height: of the upright image.

    Returns:
        float32 [height, width] in 0…1, NaN where the network saw nothing of the image.
    """
    rows, columns = heat.shape
    content, seen = content_box(spec, width, height), seen_box(spec, width, height)
    across, down = columns / spec.width, rows / spec.height
    inside = (
        content.left * across,
        content.top * down,
        content.right * across,
        content.bottom * down,
    )
    size = (int(seen.right - seen.left), int(seen.bottom - seen.top))
    grid = Image.fromarray(np.ascontiguousarray(heat, np.float32))
    smooth: Any = grid.resize(size, Image.Resampling.BICUBIC, box=inside)
    placed = np.full((height, width), np.nan, np.float32)
    placed[int(seen.top) : int(seen.bottom), int(seen.left) : int(seen.right)] = smooth
    return placed.clip(0, 1)


def _times(size: int, numerator: int, denominator: int) -> int:
    """Return round(size * numerator / denominator), at least 1, as the decoder rounds."""
    return max(1, round(size * numerator / denominator))
