"""Samples of one transform for a contact sheet: of many draws the one that shows it best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from tltool.augment.spec import AugmentSpec
from tltool.data.pipeline import fixed_options
from tltool.features.image_source import ImageSource

SAMPLES = 12  # of each transform of an image: the strongest of them is near the maximum
_BLEND_SAMPLES = 2048  # images in all samples of a blend: with a small alpha few are near one half
_BELOW_HALF_PENALTY = 0.4  # an image that keeps less than half of itself shows a blend worse


@dataclass(frozen=True)
class PreviewSamples:
    """Images of a contact sheet.

    Attributes:
        train: all training images; the batch size is the number of images on the sheet.
        positions: of the images on the sheet, int64 [N].
        seed: seed of the run.
    """

    train: ImageSource
    positions: np.ndarray
    seed: int

    @cached_property
    def original(self) -> tuple[np.ndarray, np.ndarray]:
        """Original images [N, H, W, 3] and labels [N, C]."""
        return self.at_epoch(AugmentSpec(), 0)

    def at_epoch(self, spec: AugmentSpec, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return images [N, H, W, 3] and labels [N, C] as augmented in an epoch."""
        batches = self.train.at_positions(spec, self.positions, seed=self.seed, epoch=epoch)
        ((_, images, labels),) = batches
        return np.asarray(images), np.asarray(labels)

    def clearest(self, spec: AugmentSpec) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each image, the sample that shows a transform best.

        It is the sample that differs most from the original; of a blend, the one that keeps about
        half of the image, rather more than less. The samples are those of the first epoch for an
        image that is drawn again and again.

        Returns:
            Images float32 [N, H, W, 3] and labels float32 [N, C].
        """
        originals, own_labels = self.original
        clearest, labels = originals.copy(), own_labels.copy()
        best = np.full(len(originals), -np.inf)
        for images, mixed in self._samples(spec, originals, own_labels):
            if spec.mixes:
                kept = (mixed * own_labels).sum(axis=1) / (own_labels * own_labels).sum(axis=1)
                score = -np.abs(kept - 0.5) - _BELOW_HALF_PENALTY * (kept < 0.5)
            else:
                score = np.abs(images - originals).mean(axis=(1, 2, 3))
            better = score > best
            clearest[better], labels[better], best[better] = (
                images[better],
                mixed[better],
                score[better],
            )
        return clearest, labels

    def _samples(
        self, spec: AugmentSpec, originals: np.ndarray, labels: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield images, decoded once, and labels: one augmented batch per sample."""
        from tltool.augment.augmenter import Augmenter  # imports keras-cv, which takes a second

        size = len(originals)
        count = -(-_BLEND_SAMPLES // size) if spec.mixes else SAMPLES
        passes = np.repeat(np.arange(count), size)
        rows = np.tile(np.arange(size), count)
        images, one_hot = tf.constant(originals), tf.constant(labels)
        order = tf.data.Dataset.from_tensor_slices(
            (self.positions[rows] + len(self.train) * passes, rows)
        )
        batches = Augmenter(spec, originals.shape[1:3]).batches(
            order.map(lambda draw, row: (draw, tf.gather(images, row), tf.gather(one_hot, row))),
            key=tf.constant([self.seed, 1]),
            batch_size=size,
        )
        for _, augmented, mixed in batches.with_options(fixed_options()).as_numpy_iterator():
            yield augmented, mixed
