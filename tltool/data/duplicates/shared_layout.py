"""Hashes for images of one layout, such as X-rays, portraits or frames of a fixed camera.

All of them are near to each other, so that the usual hash says nothing. What they share is taken
away first: their mean, what it becomes when it is cut or turned a little, as in copies, and the
directions in which they differ most.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import rotate

from tltool.data.duplicates.image_match import Grey, sampler
from tltool.data.duplicates.perceptual_hash import frequencies_of, hashes_of

NEAR = 92
"""Bits apart up to which a second look is worth it: crops of 3 % a side reach 88."""

_CUTS = (0.03, 0.06)  # of a side, from either end
_TURNS = (-1.0, 1.0)  # degrees
_MOST_VARIED = 4
_IMAGES_PER_VARIED = 20


def layout_free_hashes(frequencies: NDArray[np.float32], layout: Grey) -> list[int]:
    """Return hashes in which images of one layout differ as much as any others do.

    Of 400 made-up images of one layout, copies that are cut by up to 3 % a side are 34 to 88 bits
    apart then, and others 94 at least.

    Args:
        frequencies: of the small images, float32 [N, 255].
        layout: their mean, [32, 32].
    """
    rest = frequencies - frequencies.mean(axis=0)
    changed = frequencies_of(np.stack(list(_changes(layout))))
    _, sizes, directions = np.linalg.svd(changed, full_matrices=False)
    rest = _without(rest, directions[sizes > 1e-3 * sizes[0]].T)
    varied = min(_MOST_VARIED, len(rest) // _IMAGES_PER_VARIED)
    _, directions = np.linalg.eigh(rest.T @ rest)  # the most varied last
    return hashes_of(_without(rest, directions[:, directions.shape[1] - varied :]))


def _changes(layout: Grey) -> Iterator[Grey]:
    """Yield a layout, and what cutting an edge off or turning it adds."""
    yield layout
    side = len(layout)
    for cut in _CUTS:
        for shift in (-cut / 2, cut / 2):
            window = sampler(shift, -cut, side)
            yield window @ layout - layout
            yield layout @ window.T - layout
    for angle in _TURNS:
        yield rotate(layout, angle, reshape=False, order=1, mode="nearest") - layout


def _without(rows: NDArray[np.floating], directions: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return rows [N, 255] without what lies along orthonormal directions [255, K]."""
    return rows - rows @ directions @ directions.T
