"""Do two photos show the same thing? A hash finds candidates, a second look decides.

The hash is that of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions" (2010), section 3.2.1, with 16 x 16 instead of 8 x 8 frequencies: signs of the low
frequencies of a small grey copy. Eight make pairs of different flowers as near as cropped copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.fft import dct
from scipy.ndimage import gaussian_filter

from tltool.data.transcode import open_image

Grey = NDArray[np.floating]

HASH_SIDE = 32
"""Pixels a side of the copy that is hashed."""
HASH_BITS = 255
NEAR = 80
"""Bits apart up to which a second look is worth it: crops of 3 % a side reach 78."""
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
_BLOCK = 2048


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


def near_pairs(hashes: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    """Yield the pairs (first < second) of hashes at most ``NEAR`` bits apart: int64 [P, 2].

    All pairs are compared, as products of ±1 vectors in blocks, so that memory stays small.
    """
    packed = _packed(hashes)
    for top in range(0, len(packed), _BLOCK):
        rows = _signs(packed[top : top + _BLOCK])
        for left in range(top, len(packed), _BLOCK):
            # a product is the number of equal bits minus that of different ones
            agreement = rows @ _signs(packed[left : left + _BLOCK]).T
            first, second = np.nonzero(agreement >= HASH_BITS - 2 * NEAR)
            pairs = np.stack([first + top, second + left], axis=1)
            yield pairs[pairs[:, 0] < pairs[:, 1]]


def distance(first: int, second: int) -> int:
    """Return in how many bits two hashes differ."""
    return (first ^ second).bit_count()


def look(path: Path) -> Grey | None:
    """Return a small upright grey copy of an image file, float32 [n, n]; None if unreadable.

    n is 64, and 32 for images below 64 pixels.
    """
    try:
        with path.open("rb") as file, open_image(file) as image:
            side = SMALL if min(image.size) >= SMALL else HASH_SIDE
            image.draft("L", (2 * side, 2 * side))
            upright = ImageOps.exif_transpose(image)
            grey = _over_white(upright).resize((side, side), Image.Resampling.BOX)
            return np.asarray(grey, np.float32)
    except Exception:  # Pillow raises whatever it likes on a damaged EXIF block
        return None


def same_picture(first: Grey, second: Grey, bits_apart: int) -> bool:
    """Tell whether two copies from ``look`` show one picture, cut to slightly different edges.

    Different photos of like things share their low frequencies; only copies share the detail
    that is left when those are taken away.
    """
    if first.shape != second.shape or len(first) < SMALL:
        small = bits_apart <= _NEAR_SMALL
        return small and _detail_agrees(*_equally_large(first, second), _SAME_DETAIL_SMALL)
    if _detail_agrees(first, second, _SAME_DETAIL):
        return True
    if _correlation(first, second) < _WORTH_ALIGNING:
        return False
    return _detail_agrees(_aligned(first, second), second, _SAME_DETAIL) or _detail_agrees(
        _aligned(second, first), first, _SAME_DETAIL
    )


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


def _equally_large(first: Grey, second: Grey) -> tuple[Grey, Grey]:
    """Return both at the smaller of their sizes; the larger one is twice as large."""
    side = min(len(first), len(second))
    halved = [
        each if len(each) == side else each.reshape(side, 2, side, 2).mean((1, 3))
        for each in (first, second)
    ]
    return halved[0], halved[1]


def _correlation(first: Grey, second: Grey) -> float:
    a, b = first - first.mean(), second - second.mean()
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-6))


def _detail_agrees(first: Grey, second: Grey, least: float) -> bool:
    return _correlation(_detail(first), _detail(second)) >= least


def _detail(grey: Grey) -> Grey:
    return grey - gaussian_filter(grey, len(grey) / 32, mode="nearest")


def _aligned(image: Grey, target: Grey) -> Grey:
    """Return the window of ``image`` that is most like ``target``, resampled to its size.

    Gauss-Newton steps on shift and size along each axis, brightness and contrast (B. Lucas and
    T. Kanade, 1981).
    """
    side = len(image)
    along = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    window = np.zeros(4, np.float32)  # shift and growth across, shift and growth down, in sides
    best: Grey = image
    likeness = _correlation(image, target)
    wanted = (target - target.mean()) / max(float(target.std()), 1e-3)
    warped = image
    for _ in range(_STEPS):
        warped = (warped - warped.mean()) / max(float(warped.std()), 1e-3)
        down, across = np.gradient(warped * side)
        slopes = [across, across * along, down, down * along[:, None], warped, np.ones_like(warped)]
        system = np.stack(slopes).reshape(6, -1)
        normal = system @ system.T + 1e-3 * np.eye(6, dtype=np.float32)
        change = np.linalg.solve(normal, system @ (wanted - warped).ravel())
        window = np.clip(window + change[:4], -_FARTHEST, _FARTHEST)
        warped = (
            _sampler(window[2], window[3], side) @ image @ _sampler(window[0], window[1], side).T
        )
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
