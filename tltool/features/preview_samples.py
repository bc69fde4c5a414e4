"""Draws of one change of images, of which the one is kept that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from tltool.augment.spec import AugmentSpec
from tltool.data.pipeline import fixed_options
from tltool.features.image_source import ImageSource

DRAWS = 12  # of each change of an image: the strongest of them is near the largest allowed
_BLENDED = 2048  # images in all draws of a blend: with a small alpha few are near one half
_LESS_THAN_HALF = 0.4  # how much worse it is that an image keeps less than half of itself


@dataclass(frozen=True)
class Shown:
    """Images of a sheet.

    Attributes:
        train: all training images; the batch size is the number of those shown.
        positions: of those shown, int64 [N].
        seed: of the run.
    """

    train: ImageSource
    positions: np.ndarray
    seed: int

    @cached_property
    def plain(self) -> tuple[np.ndarray, np.ndarray]:
        """Images [N, H, W, 3] and labels [N, C] as they are."""
        return self.at_epoch(AugmentSpec(), 0)

    def at_epoch(self, spec: AugmentSpec, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return images [N, H, W, 3] and labels [N, C] as an epoch changes them."""
        batches = self.train.some(spec, self.positions, seed=self.seed, epoch=epoch)
        ((_, images, labels),) = batches.as_numpy_iterator()
        return images, labels

    def clearest(self, spec: AugmentSpec) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each image, the draw that shows best what a change does.

        That is the draw that changes the image most; of a blend, the one that keeps about half of
        it, rather more than less. All draws are of the first epoch: those of an image that is drawn
        again and again.

        Returns:
            Images float32 [N, H, W, 3] and labels float32 [N, C].
        """
        photos, given = self.plain
        shown, labels = photos.copy(), given.copy()
        best = np.full(len(photos), -np.inf)
        for images, mixed in self._drawn(spec, photos, given):
            if spec.mixes:
                kept = (mixed * given).sum(axis=1) / (given * given).sum(axis=1)
                score = -np.abs(kept - 0.5) - _LESS_THAN_HALF * (kept < 0.5)
            else:
                score = np.abs(images - photos).mean(axis=(1, 2, 3))
            better = score > best
            shown[better], labels[better], best[better] = (
                images[better],
                mixed[better],
                score[better],
            )
        return shown, labels

    def _drawn(
        self, spec: AugmentSpec, photos: np.ndarray, labels: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the images, decoded once, and their labels draw by draw."""
        from tltool.augment.augmenter import Augmenter  # imports keras-cv, which takes a second

        size = len(photos)
        draws = -(-_BLENDED // size) if spec.mixes else DRAWS
        turns = np.repeat(np.arange(draws), size)
        rows = np.tile(np.arange(size), draws)
        images, one_hot = tf.constant(photos), tf.constant(labels)
        order = tf.data.Dataset.from_tensor_slices(
            (self.positions[rows] + len(self.train) * turns, rows)
        )
        batches = Augmenter(spec, photos.shape[1:3]).batches(
            order.map(lambda draw, row: (draw, tf.gather(images, row), tf.gather(one_hot, row))),
            key=tf.constant([self.seed, 1]),
            batch_size=size,
        )
        for _, changed, mixed in batches.with_options(fixed_options()).as_numpy_iterator():
            yield changed, mixed
