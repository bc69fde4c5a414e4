"""Labelled images, original or augmented, in the order of an epoch, as tf.data batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import tensorflow as tf

from tltool.augment.spec import AugmentSpec
from tltool.data.catalog import Item
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.pipeline import ImageFiles, fixed_options, image_dataset, image_files
from tltool.features.sampler import Sampler, shuffled_order, spread_over_classes

LabelledImage = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # draw number, image, label

# The network is far slower than decoding: two batches suffice to overlap and keep memory small.
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class ImageSource:
    """Images with their labels, which can be read in any order.

    Attributes:
        items: the images.
        labels: class numbers, int64 [N].
        classes: number of classes.
        decode: how image files are decoded and resized.
        batch_size: images per batch.
        weights: weight of each image in the loss, float32 [N]; None if all are equal.
    """

    items: Sequence[Item]
    labels: np.ndarray
    classes: int
    decode: DecodeSpec
    batch_size: int
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.items)

    def spread(self, count: int) -> ImageSource:
        """Return about ``count`` images, evenly spread over all, with some of each class."""
        chosen = spread_over_classes(self.labels, count)
        items = [self.items[position] for position in chosen]
        weights = None if self.weights is None else self.weights[chosen]
        return replace(self, items=items, labels=self.labels[chosen], weights=weights)

    def original(self, *, start: int = 0) -> tf.data.Dataset:
        """Return batches (index, images, one-hot labels) of the original images.

        Args:
            start: position of the first image, a multiple of the batch size.
        """
        return self._read(np.arange(len(self)), AugmentSpec(), key=(0, 0), start=start)

    def augmented(
        self, spec: AugmentSpec, *, seed: int, epoch: int, start: int = 0
    ) -> tf.data.Dataset:
        """Return batches (index, images, labels) of one augmented view in its own random order.

        Args:
            spec: the augmentation.
            seed: seed of the run.
            epoch: number of the epoch or view.
            start: position of the first image, a multiple of the batch size.
        """
        order = shuffled_order(len(self), seed=seed, epoch=epoch)
        return self._read(order, spec, key=(seed, epoch), start=start)

    def at_positions(
        self, spec: AugmentSpec, positions: np.ndarray, *, seed: int, epoch: int
    ) -> tf.data.Dataset:
        """Return batches (index, images, labels) of chosen images as augmented in an epoch.

        Args:
            spec: the augmentation.
            positions: of the images, int64 [M], in order.
            seed: seed of the run.
            epoch: number of the epoch or view.
        """
        return self._read(positions, spec, key=(seed, epoch), start=0)

    def sampled(self, spec: AugmentSpec, sampler: Sampler, *, epoch: int) -> tf.data.Dataset:
        """Return batches (draw, images, labels) of the images that ``sampler`` draws in an epoch.

        An image that is drawn again in the same epoch is augmented differently.
        """
        positions, passes = sampler.sample(epoch)
        first = np.full(len(self), np.iinfo(np.int64).max)
        np.minimum.at(first, positions, passes)
        draws = positions + len(self) * (passes - first[positions])
        return self._read(draws, spec, key=(sampler.seed, epoch), start=0)

    def expected_labels(self) -> np.ndarray:
        """Return one-hot labels times the weights of the images, float32 [N, C]."""
        one_hot = np.eye(self.classes, dtype=np.float32)[self.labels]
        result: np.ndarray = one_hot if self.weights is None else one_hot * self.weights[:, None]
        return result

    def _read(
        self, order: np.ndarray, augment: AugmentSpec, *, key: tuple[int, int], start: int
    ) -> tf.data.Dataset:
        one_pass = _traced(self.decode, augment, self.classes, self.batch_size)
        weights = np.ones(len(self)) if self.weights is None else self.weights
        with tf.device("/CPU:0"):
            return one_pass(
                self._files,
                tf.constant(self.labels, tf.int64),
                tf.constant(weights, tf.float32),
                tf.constant(order[start:], tf.int64),
                tf.constant(key, tf.int32),
                tf.constant(start // self.batch_size, tf.int64),
            )

    def digest(self) -> str:
        """Return a SHA-256 (hex) of contents, labels, order and decoding: part of the cache key."""
        rows = [(i.sha256, int(n)) for i, n in zip(self.items, self.labels, strict=True)]
        described = [rows, self.classes, self.decode.to_json(), self.batch_size]
        if self.weights is not None:
            described.append(self.weights.tolist())
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()

    @cached_property
    def _files(self) -> ImageFiles:
        return image_files(self.items)


# Tracing takes a second: passes that differ only in images, order and epoch share one graph.
@lru_cache(maxsize=8)
def _traced(
    decode: DecodeSpec, augment: AugmentSpec, classes: int, batch_size: int
) -> Callable[..., tf.data.Dataset]:
    """Return a pass: (files, labels and weights of N images, order [M], key [2], first) to batches.

    ``order`` holds positions of images, plus N for each earlier draw of the same image; the sum
    seeds its augmentation. ``first`` is the number of the first batch.
    """
    augmenter = None
    if not augment.identity:
        # imported here: keras-cv takes a second to load
        from tltool.augment.augmenter import Augmenter

        augmenter = Augmenter(augment, (decode.height, decode.width))

    count = tf.TensorSpec([None], tf.int64)
    signature = [
        ImageFiles(tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.bool)),
        count,
        tf.TensorSpec([None], tf.float32),
        count,
        tf.TensorSpec([2], tf.int32),
        tf.TensorSpec([], tf.int64),
    ]

    @tf.function(input_signature=signature, autograph=False)
    def one_pass(
        files: ImageFiles,
        labels: tf.Tensor,
        weights: tf.Tensor,
        order: tf.Tensor,
        key: tf.Tensor,
        first: tf.Tensor,
    ) -> tf.data.Dataset:
        def labelled(draw: tf.Tensor, decoded: tuple[tf.Tensor, tf.Tensor]) -> LabelledImage:
            index, image = decoded
            label = tf.one_hot(tf.gather(labels, index), classes) * tf.gather(weights, index)
            return draw, image, label

        images = image_dataset(files, decode, order=order % tf.shape(labels, tf.int64)[0])
        examples = tf.data.Dataset.zip(tf.data.Dataset.from_tensor_slices(order), images)
        examples = examples.map(labelled)
        if augmenter is None:
            batches = examples.batch(batch_size)
        else:
            batches = augmenter.batches(examples, key=key, batch_size=batch_size, first=first)
        return batches.prefetch(_BATCHES_AHEAD).with_options(fixed_options())

    result: Callable[..., tf.data.Dataset] = one_pass
    return result
