"""Perceptual hash (pHash): near-duplicate images have hashes that differ in few bits.

C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), section
3.2.1, with 16 x 16 instead of 8 x 8 frequencies: one bit for each low frequency of a small grey
copy. With 8 x 8, different flowers are as near to each other as cropped copies are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HASH_SIDE = 32
"""Pixels per side of the copy that is hashed."""
HASH_BITS = 255
NEAR = 80
"""Hamming distance up to which two images are compared: crops of 3 % per side reach 78."""

_FREQUENCIES = 16
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FLAT = 2.0  # grey levels of standard deviation; below it an image has no contrast
_BLOCK = 1024


def luma(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the luma (ITU-R BT.601) of RGB [..., 3], in the same unit."""
    return image @ _LUMA


def perceptual_hashes(thumbnails: NDArray[np.float32]) -> list[int | None]:
    """Return a hash of ``HASH_BITS`` bits for each image; near duplicates share most of them.

    Args:
        thumbnails: the upright images, float32 [N, 32, 32, 3] in 0..255.

    Returns:
        the hashes, with None for an image without contrast.
    """
    greys = luma(thumbnails)
    flat = greys.std(axis=(1, 2)) < _FLAT
    return [
        None if no_contrast else value
        for value, no_contrast in zip(hashes_of(frequencies_of(greys)), flat, strict=True)
    ]


def frequencies_of(greys: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the low frequencies of grey images [N, 32, 32], without the mean: [N, 255]."""
    basis = _basis()
    result: NDArray[np.floating] = (basis @ greys @ basis.T).reshape(len(greys), -1)[:, 1:]
    return result


@cache
def _basis() -> NDArray[np.float32]:
    """Return the lowest frequencies of the discrete cosine transform, float32 [16, 32]."""
    from scipy.fft import dct

    result: NDArray[np.float64] = dct(np.eye(HASH_SIDE), axis=0, norm="ortho")
    return result[:_FREQUENCIES].astype(np.float32)


def hashes_of(frequencies: NDArray[np.floating]) -> list[int]:
    """Return one bit for each frequency [N, 255]: whether it is above the median."""
    median = np.partition(frequencies, HASH_BITS // 2, axis=1)[:, HASH_BITS // 2]
    packed = np.packbits(frequencies > median[:, np.newaxis], axis=1)
    return [int.from_bytes(bits.tobytes(), "big") for bits in packed]


class NearPairs(NamedTuple):
    """Pairs of similar hashes, of which the first is in one block.

    Attributes:
        pairs: int64 [P, 2], first < second, sorted by the first, then by distance.
        not_compared: how many more pairs are near, but have nearer neighbours.
        crowded: the hashes of those pairs, bool [N].
    """

    pairs: NDArray[np.int64]
    not_compared: int
    crowded: NDArray[np.bool_]


def near_pairs(packed: NDArray[np.uint8], *, near: int, nearest: int) -> Iterator[NearPairs]:
    """Yield the pairs of hashes with a Hamming distance of at most ``near``, block by block.

    All pairs are compared, as products of ±1 vectors in blocks, so that memory stays small; but
    each hash is paired with at most ``nearest`` later ones.

    Args:
        packed: the bits of each hash, uint8 [N, 32].
        near: largest Hamming distance.
        nearest: most pairs for each hash.
    """
    for top in range(0, len(packed), _BLOCK):
        rows = as_signs(packed[top : top + _BLOCK])
        kept, not_compared = np.zeros((3, 0), np.int64), 0
        crowded = np.zeros(len(packed), np.bool_)
        for left in range(top, len(packed), _BLOCK):
            # a product is the number of equal bits minus that of different ones
            agreement = rows @ as_signs(packed[left : left + _BLOCK]).T
            # np.nonzero of a matrix takes ten times as long
            flat = np.flatnonzero(agreement >= HASH_BITS - 2 * near)
            first, second = np.unravel_index(flat, agreement.shape)
            apart = -agreement.ravel()[flat].astype(np.int64)
            pairs = np.stack([first + top, second + left, apart])
            ordered = pairs[:, pairs[0] < pairs[1]]
            kept, farther = _nearest(np.concatenate([kept, ordered], axis=1), nearest)
            not_compared += farther.shape[1]
            crowded[farther[:2]] = True
        yield NearPairs(kept[:2].T, not_compared, crowded)


def _nearest(pairs: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split pairs [3, P] of (first, second, distance): the ``most`` nearest of each, and the rest.

    Both are sorted by the first, then by distance.
    """
    pairs = pairs[:, np.lexsort((pairs[2], pairs[0]))]
    near = np.arange(pairs.shape[1]) - np.searchsorted(pairs[0], pairs[0]) < most
    return pairs[:, near], pairs[:, ~near]


def distance(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> int:
    """Return the Hamming distance of two hashes, uint8 [32] each."""
    return int(distances(first, second))


def distances(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the Hamming distances of pairs of hashes, uint8 [P, 32] each: [P]."""
    apart: NDArray[np.uint64] = np.bitwise_count(first ^ second).sum(axis=-1)
    return apart


def pack_hashes(hashes: Iterable[int]) -> NDArray[np.uint8]:
    """Return hashes as bytes: uint8 [N, 32]."""
    size = (HASH_BITS + 7) // 8
    joined = bytearray()
    for each in hashes:  # bytes.join would keep all parts as objects
        joined += each.to_bytes(size, "big")
    return np.frombuffer(joined, np.uint8).reshape(-1, size)


def as_signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the bits of packed hashes as ±1: float32 [N, 255]."""
    bits = np.unpackbits(packed, axis=1, count=HASH_BITS)
    return bits.astype(np.float32) * 2 - 1
