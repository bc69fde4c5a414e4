"""Which images may show the same thing? Those whose hashes differ in few bits.

The hash is that of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions" (2010), section 3.2.1, with 16 x 16 instead of 8 x 8 frequencies: signs of the low
frequencies of a small grey copy. Eight make pairs of different flowers as near as cropped copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

HASH_SIDE = 32
"""Pixels a side of the copy that is hashed."""
HASH_BITS = 255
NEAR = 80
"""Bits apart up to which a second look is worth it: crops of 3 % a side reach 78."""

_FREQUENCIES = 16
_BASIS = dct(np.eye(HASH_SIDE), axis=0, norm="ortho")[:_FREQUENCIES].astype(np.float32)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FLAT = 2.0  # grey levels of standard deviation, below which there is nothing to recognise
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
    flat = greys.std(axis=(1, 2)) < _FLAT
    return [
        None if without else found
        for found, without in zip(hashes_of(frequencies_of(greys)), flat, strict=True)
    ]


def frequencies_of(greys: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the low frequencies of greys [N, 32, 32] without their mean brightness: [N, 255]."""
    return (_BASIS @ greys @ _BASIS.T).reshape(len(greys), -1)[:, 1:]


def hashes_of(frequencies: NDArray[np.floating]) -> list[int]:
    """Return in one bit for each frequency [N, 255] whether it is above the middle one."""
    middle = np.partition(frequencies, HASH_BITS // 2, axis=1)[:, HASH_BITS // 2]
    packed = np.packbits(frequencies > middle[:, np.newaxis], axis=1)
    return [int.from_bytes(bits.tobytes(), "big") for bits in packed]


class Near(NamedTuple):
    """Hashes that are near to those of one block.

    Attributes:
        pairs: int64 [P, 2], first < second, in the order of the first, the nearest before others.
        left_out: how many pairs are near too, but were passed over for nearer ones.
        crowded: the hashes of those pairs, bool [N].
    """

    pairs: NDArray[np.int64]
    left_out: int
    crowded: NDArray[np.bool_]


def near_pairs(hashes: Sequence[int], *, near: int, nearest: int) -> Iterator[Near]:
    """Yield the pairs of hashes at most ``near`` bits apart, block by block.

    All pairs are compared, as products of ±1 vectors in blocks, so that memory stays small; but
    each hash is paired with the ``nearest`` ones after it and no more.
    """
    packed = _packed(hashes)
    for top in range(0, len(packed), _BLOCK):
        rows = _signs(packed[top : top + _BLOCK])
        kept, left_out = np.zeros((3, 0), np.int64), 0
        crowded = np.zeros(len(packed), np.bool_)
        for left in range(top, len(packed), _BLOCK):
            # a product is the number of equal bits minus that of different ones
            agreement = rows @ _signs(packed[left : left + _BLOCK]).T
            # np.nonzero of a matrix takes ten times as long
            flat = np.flatnonzero(agreement >= HASH_BITS - 2 * near)
            first, second = np.unravel_index(flat, agreement.shape)
            apart = -agreement.ravel()[flat].astype(np.int64)
            found = np.stack([first + top, second + left, apart])
            kept, passed = _nearest(
                np.concatenate([kept, found[:, found[0] < found[1]]], axis=1), nearest
            )
            left_out += passed.shape[1]
            crowded[passed[:2]] = True
        yield Near(kept[:2].T, left_out, crowded)


def _nearest(pairs: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide pairs [3, P] of first, second and distance: ``most`` of each first, and the farther.

    The nearest of each first come first.
    """
    pairs = pairs[:, np.lexsort((pairs[2], pairs[0]))]
    near = np.arange(pairs.shape[1]) - np.searchsorted(pairs[0], pairs[0]) < most
    return pairs[:, near], pairs[:, ~near]


def distance(first: int, second: int) -> int:
    """Return in how many bits two hashes differ."""
    return (first ^ second).bit_count()


def _packed(hashes: Sequence[int]) -> NDArray[np.uint8]:
    """Return hashes as bytes: uint8 [N, 32]."""
    size = (HASH_BITS + 7) // 8
    joined = b"".join(each.to_bytes(size, "big") for each in hashes)
    return np.frombuffer(joined, np.uint8).reshape(len(hashes), size)


def _signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the bits of packed hashes as ±1: float32 [N, 255]."""
    bits = np.unpackbits(packed, axis=1, count=HASH_BITS)
    return bits.astype(np.float32) * 2 - 1
