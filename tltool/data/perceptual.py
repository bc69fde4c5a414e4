"""Do two photos show the same thing? A hash finds candidates, a second look decides.

The hash is that of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions" (2010), section 3.2.1, with 16 x 16 instead of 8 x 8 frequencies: signs of the low
frequencies of a small grey copy. Eight make pairs of different flowers as near as cropped copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.fft import dct
from scipy.ndimage import gaussian_filter1d

from tltool.data.transcode import open_image

Grey = NDArray[np.floating]

HASH_SIDE = 32
"""Pixels a side of the copy that is hashed."""
HASH_BITS = 255
NEAR = 80
"""Bits apart up to which a second look is worth it: crops of 3 % a side reach 78."""
NEAREST = 10
"""As many of the hashes after it a hash is paired with: distinct photos have 2 at most, but where
all have one layout, as X-rays do, every pair is near."""
SMALL = 64
"""Pixels a side below which a crop of one image cannot be told from another image."""

_NEAR_SMALL = 40
_FREQUENCIES = 16
_BASIS = dct(np.eye(HASH_SIDE), axis=0, norm="ortho")[:_FREQUENCIES].astype(np.float32)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FLAT = 2.0  # grey levels of standard deviation, below which there is nothing to recognise
_SAME_DETAIL = 0.85
_SAME_DETAIL_SMALL = 0.93
_STEPS = 8
_WORTH_ALIGNING = 0.3
_FARTHEST = 0.15  # of a side, for shift and change of size
_BLOCK = 1024


def luma(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the luma (ITU-R BT.601) of RGB [..., 3], in the same unit."""
    return image @ _LUMA


def perceptual_hashes(thumbnails: NDArray[np.float32]) -> list[int | None]:
    """Return ``HASH_BITS`` bits for each image, which copies of it mostly share.

    Args:
        thumbnails: the upright images, float32 [N, 32, 32, 3] in 0..255.

    Returns:
        the hashes, with None for an image without contrast.
    """
    greys = luma(thumbnails)
    frequencies = (_BASIS @ greys @ _BASIS.T).reshape(len(greys), -1)
    low = frequencies[:, 1:]  # without the mean brightness
    middle = np.partition(low, HASH_BITS // 2, axis=1)[:, HASH_BITS // 2]
    packed = np.packbits(low > middle[:, np.newaxis], axis=1)
    flat = greys.std(axis=(1, 2)) < _FLAT
    return [
        None if without else int.from_bytes(bits.tobytes(), "big")
        for bits, without in zip(packed, flat, strict=True)
    ]


class Near(NamedTuple):
    """Hashes that are near to those of one block.

    Attributes:
        pairs: int64 [P, 2], first < second, in the order of the first, the nearest before others.
        left_out: how many pairs are near too, but were passed over for nearer ones.
        done: as many hashes were compared with all others.
    """

    pairs: NDArray[np.int64]
    left_out: int
    done: int


def near_pairs(hashes: Sequence[int], *, nearest: int = NEAREST) -> Iterator[Near]:
    """Yield the pairs of hashes at most ``NEAR`` bits apart, block by block.

    All pairs are compared, as products of ±1 vectors in blocks, so that memory stays small; but
    each hash is paired with the ``nearest`` ones after it and no more.
    """
    packed = _packed(hashes)
    for top in range(0, len(packed), _BLOCK):
        rows = _signs(packed[top : top + _BLOCK])
        kept, seen = np.zeros((3, 0), np.int64), 0
        for left in range(top, len(packed), _BLOCK):
            # a product is the number of equal bits minus that of different ones
            agreement = rows @ _signs(packed[left : left + _BLOCK]).T
            first, second = np.nonzero(agreement >= HASH_BITS - 2 * NEAR)
            apart = -agreement[first, second].astype(np.int64)
            found = np.stack([first + top, second + left, apart])
            found = found[:, found[0] < found[1]]
            seen += found.shape[1]
            kept = _nearest(np.concatenate([kept, found], axis=1), nearest)
        yield Near(kept[:2].T, seen - kept.shape[1], min(top + _BLOCK, len(packed)))


def _nearest(pairs: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return pairs [3, P] of first, second and distance: ``most`` of each first, nearest first."""
    pairs = pairs[:, np.lexsort((pairs[2], pairs[0]))]
    starts = np.searchsorted(pairs[0], pairs[0])
    return pairs[:, np.arange(pairs.shape[1]) - starts < most]


def distance(first: int, second: int) -> int:
    """Return in how many bits two hashes differ."""
    return (first ^ second).bit_count()


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A small upright copy of an image file, made ready to be compared with many others.

    Attributes:
        grey: float32 [n, n] of mean 0 and deviation 1.
        detail: what its low frequencies leave of it, float32 [n, n] of mean 0 and length 1.
    """

    grey: Grey
    detail: Grey

    @classmethod
    def of(cls, grey: Grey) -> Look:
        """Return the look at a copy with grey levels, float32 [n, n]."""
        even = (grey - grey.mean()) / max(float(grey.std()), 1e-3)
        return cls(even, _detail(even))


def look(path: Path) -> Look | None:
    """Return a look at an image file; None if it is unreadable.

    It is 64 pixels a side, and 32 for images below 64 pixels.
    """
    try:
        with path.open("rb") as file, open_image(file) as image:
            side = SMALL if min(image.size) >= SMALL else HASH_SIDE
            image.draft("L", (2 * side, 2 * side))
            upright = ImageOps.exif_transpose(image)
            grey = _over_white(upright).resize((side, side), Image.Resampling.BOX)
            return Look.of(np.asarray(grey, np.float32))
    except Exception:  # Pillow raises whatever it likes on a damaged EXIF block
        return None


def same_picture(first: Look, second: Look, bits_apart: int) -> bool:
    """Tell whether two looks show one picture, cut to slightly different edges.

    Different photos of like things share their low frequencies; only copies share the detail
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


def _packed(hashes: Sequence[int]) -> NDArray[np.uint8]:
    """Return hashes as bytes: uint8 [N, 32]."""
    size = (HASH_BITS + 7) // 8
    joined = b"".join(each.to_bytes(size, "big") for each in hashes)
    return np.frombuffer(joined, np.uint8).reshape(len(hashes), size)


def _signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the bits of packed hashes as ±1: float32 [N, 255]."""
    bits = np.unpackbits(packed, axis=1, count=HASH_BITS)
    return bits.astype(np.float32) * 2 - 1


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return image.convert("L")


def _equally_large(first: Look, second: Look) -> tuple[Look, Look]:
    """Return both at the smaller of their sizes; the larger one is twice as large."""
    side = min(len(first.grey), len(second.grey))
    halved = [
        each
        if len(each.grey) == side
        else Look.of(each.grey.reshape(side, 2, side, 2).mean((1, 3)))
        for each in (first, second)
    ]
    return halved[0], halved[1]


def _correlation(first: Grey, second: Grey) -> float:
    """Return the correlation of two greys of mean 0 and deviation 1."""
    return float(np.vdot(first, second)) / first.size


def _detail_agrees(first: Look, second: Look, least: float) -> bool:
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


def _lies_over(first: Look, second: Look) -> bool:
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
        warped = (
            _sampler(window[2], window[3], side) @ image @ _sampler(window[0], window[1], side).T
        )
        warped = (warped - warped.mean()) / max(float(warped.std()), 1e-3)
        found = _correlation(warped, target)
        if found < likeness + 1e-3:
            break
        best, likeness = warped, found
    return best


def _sampler(shift: float, growth: float, side: int) -> Grey:
    """Return the linear interpolation that reads a shifted and grown window: [side, side]."""
    centres = (np.arange(side) + 0.5) / side - 0.5
    at = np.clip((0.5 + shift + (1 + growth) * centres) * side - 0.5, 0, side - 1)
    left = np.minimum(at.astype(int), side - 2)
    matrix = np.zeros((side, side), np.float32)
    rows = np.arange(side)
    matrix[rows, left] = 1 - (at - left)
    matrix[rows, left + 1] = at - left
    return matrix
