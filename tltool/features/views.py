"""Several views of the same photos: the plain one first, then augmented ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tltool.augment.spec import AugmentSpec
from tltool.data.catalog import Item
from tltool.data.decode import DecodeSpec
from tltool.data.pipeline import image_dataset
from tltool.features.extract import Features


@dataclass(frozen=True)
class PhotoSource:
    """Photos with their labels, ready to be read in any order.

    Attributes:
        items: the photos.
        labels: class numbers, int64 [N].
        classes: number of classes.
        decode: how bytes become images.
        batch_size: photos per batch.
    """

    items: Sequence[Item]
    labels: np.ndarray
    classes: int
    decode: DecodeSpec
    batch_size: int

    def __len__(self) -> int:
        return len(self.items)

    def plain(self, order: np.ndarray | None = None) -> tf.data.Dataset:
        """Return batches (index, images, one-hot labels) of the photos as they are."""
        photos = image_dataset(self.items, self.decode, batch_size=self.batch_size, order=order)
        return photos.map(self._with_label, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)

    def augmented(self, spec: AugmentSpec, *, seed: int, epoch: int) -> tf.data.Dataset:
        """Return batches (index, images, labels) of one augmented view in its own random order."""
        if spec.identity:
            return self.plain(shuffled_order(len(self), seed=seed, epoch=epoch))
        # keras-cv takes a second to import: only who augments pays for it
        from tltool.augment.policy import augment_dataset

        photos = self.plain(shuffled_order(len(self), seed=seed, epoch=epoch)).unbatch()
        return augment_dataset(
            photos,
            spec,
            size=(self.decode.height, self.decode.width),
            seed=seed,
            epoch=epoch,
            batch_size=self.batch_size,
        )

    def _with_label(
        self, index: tf.Tensor, images: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        numbers = tf.gather(tf.constant(self.labels), index)
        return index, images, tf.one_hot(numbers, self.classes)


def shuffled_order(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order of epoch ``epoch``, int64 [count]: a function of (seed, epoch) only."""
    return np.random.default_rng((seed, epoch, 1)).permutation(count).astype(np.int64)


def rows_of_epoch(views: Sequence[Features], *, seed: int, epoch: int) -> list[tuple[int, int]]:
    """Return (view, row) of every training step's photo in epoch ``epoch``, each photo once.

    Photos start at different views and every photo meets its next view in the next epoch.
    """
    count = len(views[0].index)
    row_of = [np.argsort(view.index) for view in views]
    offset = np.random.default_rng((seed, 2)).integers(0, len(views), count)
    photos = shuffled_order(count, seed=seed, epoch=epoch)
    chosen = (offset[photos] + epoch) % len(views)
    return [(int(v), int(row_of[v][photo])) for v, photo in zip(chosen, photos, strict=True)]
