"""Do two images show the same picture? A look at small copies of both decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter1d

from tltool.data.decoding.transcode import open_image
from tltool.data.duplicates.perceptual_hash import HASH_SIDE

Grey = NDArray[np.floating]

SMALL = 64
"""Pixels a side below which a crop of one image cannot be told from another image."""

_NEAR_SMALL = 40
_SAME_DETAIL = 0.85
_SAME_DETAIL_SMALL = 0.93
_STEPS = 8
_WORTH_ALIGNING = 0.3
_FARTHEST = 0.15  # of a side, for shift and change of size


@dataclass(frozen=True, slots=True, eq=False)
class GreyThumbnail:
    """A small upright copy of an image file, made ready to be compared with many others.

    Attributes:
        grey: float32 [n, n] of mean 0 and deviation 1.
        detail: what its low frequencies leave of it, float32 [n, n] of mean 0 and length 1.
    """

    grey: Grey
    detail: Grey

    @classmethod
    def of(cls, grey: Grey) -> GreyThumbnail:
        """Return the look at a copy with grey levels, float32 [n, n]."""
        even = (grey - grey.mean()) / max(float(grey.std()), 1e-3)
        return cls(even, _detail(even))

    def small(self) -> Grey:
        """Return the grey at the size that is hashed: [32, 32]."""
        times = len(self.grey) // HASH_SIDE
        return self.grey.reshape(HASH_SIDE, times, HASH_SIDE, times).mean((1, 3))


def look(path: Path) -> GreyThumbnail | None:
    """Return a look at an image file; None if it is unreadable.

    It is 64 pixels a side, and 32 for images below 64 pixels.
    """
    try:
        with path.open("rb") as file, open_image(file) as image:
            side = SMALL if min(image.size) >= SMALL else HASH_SIDE
            image.draft("L", (2 * side, 2 * side))
            upright = ImageOps.exif_transpose(image)
            grey = _over_white(upright).resize((side, side), Image.Resampling.BOX)
            return GreyThumbnail.of(np.asarray(grey, np.float32))
    except Exception:  # Pillow raises whatever it likes on a damaged EXIF block
        return None


def same_picture(first: GreyThumbnail, second: GreyThumbnail, bits_apart: int) -> bool:
    """Tell whether two looks show one picture, cut to slightly different edges.

    Different images of like things share their low frequencies; only copies share the detail
    that is left when those are taken away.
    """
    if first.grey.shape != second.grey.shape or len(first.grey) < SMALL:
        small = bits_apart <= _NEAR_SMALL
        return small and _detail_agrees(*_equally_large(first, second), _SAME_DETAIL_SMALL)
    if _detail_agrees(first, second, _SAME_DETAIL):
        return True
    if _correlation(first.grey, second.grey) < _WORTH_ALIGNING:
        return False
    return _lies_over(first, second) or _lies_over(second, first)


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return image.convert("L")


def _equally_large(
    first: GreyThumbnail, second: GreyThumbnail
) -> tuple[GreyThumbnail, GreyThumbnail]:
    """Return both at the smaller of their sizes; the larger one is twice as large."""
    side = min(len(first.grey), len(second.grey))
    halved = [
        each
        if len(each.grey) == side
        else GreyThumbnail.of(each.grey.reshape(side, 2, side, 2).mean((1, 3)))
        for each in (first, second)
    ]
    return halved[0], halved[1]


def _correlation(first: Grey, second: Grey) -> float:
    """Return the correlation of two greys of mean 0 and deviation 1."""
    return float(np.vdot(first, second)) / first.size


def _detail_agrees(first: GreyThumbnail, second: GreyThumbnail, least: float) -> bool:
    return float(np.vdot(first.detail, second.detail)) >= least


def _detail(grey: Grey) -> Grey:
    """Return a grey without its low frequencies, of mean 0 and length 1."""
    blur = _BLURS[len(grey)]
    fine = grey - blur @ grey @ blur.T
    fine -= fine.mean()
    return np.asarray(fine / max(float(np.linalg.norm(fine)), 1e-6), np.float32)


_BLURS = {
    side: gaussian_filter1d(np.eye(side, dtype=np.float32), side / 32, axis=0, mode="nearest")
    for side in (HASH_SIDE, SMALL)
}
"""By the side of an image, the matrix that blurs its columns."""


def _lies_over(first: GreyThumbnail, second: GreyThumbnail) -> bool:
    """Tell whether a window of one image shows the same as the other."""
    aligned = _aligned(first.grey, second.grey)
    return float(np.vdot(_detail(aligned), second.detail)) >= _SAME_DETAIL


def _aligned(image: Grey, target: Grey) -> Grey:
    """Return the window of ``image`` that is most like ``target``, resampled to its size.

    Gauss-Newton steps on shift and size along each axis, brightness and contrast (B. Lucas and
    T. Kanade, 1981). All have mean 0 and deviation 1.
    """
    side = len(image)
    along = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    window = np.zeros(4, np.float32)  # shift and growth across, shift and growth down, in sides
    system = np.ones((6, side, side), np.float32)
    rows = system.reshape(6, -1)
    best = warped = image
    likeness = _correlation(image, target)
    for _ in range(_STEPS):
        system[2], system[0] = np.gradient(warped * side)
        system[1], system[3], system[4] = system[0] * along, system[2] * along[:, None], warped
        normal = rows @ rows.T + 1e-3 * np.eye(6, dtype=np.float32)
        change = np.linalg.solve(normal, rows @ (target - warped).ravel())
        window = np.clip(window + change[:4], -_FARTHEST, _FARTHEST)
        warped = sampler(window[2], window[3], side) @ image @ sampler(window[0], window[1], side).T
        warped = (warped - warped.mean()) / max(float(warped.std()), 1e-3)
        found = _correlation(warped, target)
        if found < likeness + 1e-3:
            break
        best, likeness = warped, found
    return best


def sampler(shift: float, growth: float, side: int) -> Grey:
    """Return the linear interpolation that reads a shifted and grown window: [side, side]."""
    centres = (np.arange(side) + 0.5) / side - 0.5
    at = np.clip((0.5 + shift + (1 + growth) * centres) * side - 0.5, 0, side - 1)
    left = np.minimum(at.astype(int), side - 2)
    matrix = np.zeros((side, side), np.float32)
    rows = np.arange(side)
    matrix[rows, left] = 1 - (at - left)
    matrix[rows, left + 1] = at - left
    return matrix
