"""Compares grey thumbnails of two images to decide whether they are near duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tltool.data.decoding.image_file import read_image_file
from tltool.data.decoding.transcode import on_white, open_as_decoded
from tltool.data.duplicates.perceptual_hash import HASH_SIDE

Grey = NDArray[np.floating]

THUMBNAIL_SIDE = 64
"""Pixels per side; of smaller images cropped copies cannot be distinguished from others."""

NEAR_SMALL = 40
"""Bits apart up to which images are compared if one is below that size."""

_SAME_DETAIL = 0.85
_SAME_DETAIL_SMALL = 0.93
_STEPS = 8  # of the alignment
_WORTH_ALIGNING = 0.3  # correlation
_FARTHEST = 0.15  # of a side, for translation and scaling


@dataclass(frozen=True, slots=True, eq=False)
class GreyThumbnail:
    """A small upright copy of an image file, normalised for comparison.

    Attributes:
        grey: float32 [n, n] of mean 0 and standard deviation 1.
        detail: its high frequencies, float32 [n, n] of mean 0 and norm 1.
    """

    grey: Grey
    detail: Grey

    @classmethod
    def from_grey(cls, grey: Grey) -> GreyThumbnail:
        """Return the thumbnail of an image of grey levels, float32 [n, n]."""
        normalised = (grey - grey.mean()) / max(float(grey.std()), 1e-3)
        return cls(normalised, _detail(normalised))

    def small(self) -> Grey:
        """Return the grey image at the size that is hashed: [32, 32]."""
        times = len(self.grey) // HASH_SIDE
        result: Grey = self.grey.reshape(HASH_SIDE, times, HASH_SIDE, times).mean((1, 3))
        return result


def load_thumbnail(path: Path) -> GreyThumbnail | None:
    """Return the thumbnail of an image file; None if it is unreadable.

    It has 64 pixels per side, or 32 for images below 64 pixels.
    """
    try:
        with open_as_decoded(read_image_file(path)) as image:
            side = THUMBNAIL_SIDE if min(image.size) >= THUMBNAIL_SIDE else HASH_SIDE
            image.draft("L", (2 * side, 2 * side))
            upright = ImageOps.exif_transpose(image)
            grey = on_white(upright).convert("L").resize((side, side), Image.Resampling.BOX)
            return GreyThumbnail.from_grey(np.asarray(grey, np.float32))
    except Exception:  # Pillow raises many kinds of error on a damaged EXIF block
        return None


def is_same_image(first: GreyThumbnail, second: GreyThumbnail, hash_distance: int) -> bool:
    """Return whether two thumbnails show the same image, possibly cropped differently.

    Different images of similar objects agree in their low frequencies; only duplicates also agree
    in the high ones.
    """
    if first.grey.shape != second.grey.shape or len(first.grey) < THUMBNAIL_SIDE:
        small = hash_distance <= NEAR_SMALL
        return small and _detail_agrees(*_same_size(first, second), _SAME_DETAIL_SMALL)
    if _detail_agrees(first, second, _SAME_DETAIL):
        return True
    if _correlation(first.grey, second.grey) < _WORTH_ALIGNING:
        return False
    return _aligned_detail_agrees(first, second) or _aligned_detail_agrees(second, first)


def _same_size(first: GreyThumbnail, second: GreyThumbnail) -> tuple[GreyThumbnail, GreyThumbnail]:
    """Return both at the smaller of their sizes; the larger one has twice that size."""
    side = min(len(first.grey), len(second.grey))
    halved = [
        each
        if len(each.grey) == side
        else GreyThumbnail.from_grey(each.grey.reshape(side, 2, side, 2).mean((1, 3)))
        for each in (first, second)
    ]
    return halved[0], halved[1]


def _correlation(first: Grey, second: Grey) -> float:
    """Return the correlation of two grey images of mean 0 and standard deviation 1."""
    return float(np.vdot(first, second)) / first.size


def _detail_agrees(first: GreyThumbnail, second: GreyThumbnail, least: float) -> bool:
    return float(np.vdot(first.detail, second.detail)) >= least


def _detail(grey: Grey) -> Grey:
    """Return the high frequencies of a grey image, with mean 0 and norm 1."""
    blur = _blur(len(grey))
    fine = grey - blur @ grey @ blur.T
    fine -= fine.mean()
    return np.asarray(fine / max(float(np.linalg.norm(fine)), 1e-6), np.float32)


@cache
def _blur(side: int) -> Grey:
    """Return the matrix that blurs the columns of an image, float32 [side, side]."""
    from scipy.ndimage import gaussian_filter1d

    identity = np.eye(side, dtype=np.float32)
    result: Grey = gaussian_filter1d(identity, side / 32, axis=0, mode="nearest")
    return result


def _aligned_detail_agrees(first: GreyThumbnail, second: GreyThumbnail) -> bool:
    """Return whether a window of the first image agrees with the second one."""
    aligned = _aligned(first.grey, second.grey)
    return float(np.vdot(_detail(aligned), second.detail)) >= _SAME_DETAIL


def _aligned(image: Grey, target: Grey) -> Grey:
    """Return the window of ``image`` that matches ``target`` best, resampled to its size.

    Gauss-Newton steps on translation and scale along each axis, brightness and contrast (B. Lucas
    and T. Kanade, 1981). All have mean 0 and standard deviation 1.
    """
    side = len(image)
    along = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    window = np.zeros(4, np.float32)  # x translation and scale, y translation and scale, in sides
    system = np.ones((6, side, side), np.float32)
    rows = system.reshape(6, -1)
    best = warped = image
    best_correlation = _correlation(image, target)
    for _ in range(_STEPS):
        system[2], system[0] = np.gradient(warped * side)
        system[1], system[3], system[4] = system[0] * along, system[2] * along[:, None], warped
        normal = rows @ rows.T + 1e-3 * np.eye(6, dtype=np.float32)
        change = np.linalg.solve(normal, rows @ (target - warped).ravel())
        window = np.clip(window + change[:4], -_FARTHEST, _FARTHEST)
        rows_at = resampling_matrix(window[2], window[3], side)
        columns_at = resampling_matrix(window[0], window[1], side)
        warped = rows_at @ image @ columns_at.T
        warped = (warped - warped.mean()) / max(float(warped.std()), 1e-3)
        correlation = _correlation(warped, target)
        if correlation < best_correlation + 1e-3:
            break
        best, best_correlation = warped, correlation
    return best


def resampling_matrix(shift: float, growth: float, side: int) -> Grey:
    """Return the linear interpolation of a translated and scaled window: [side, side]."""
    centres = (np.arange(side) + 0.5) / side - 0.5
    at = np.clip((0.5 + shift + (1 + growth) * centres) * side - 0.5, 0, side - 1)
    left = np.minimum(at.astype(int), side - 2)
    matrix = np.zeros((side, side), np.float32)
    rows = np.arange(side)
    matrix[rows, left] = 1 - (at - left)
    matrix[rows, left + 1] = at - left
    return matrix
