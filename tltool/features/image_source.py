"""Several views of the same images: the plain one first, then augmented ones."""

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
from tltool.data.decoding.decode import DecodeSpec
from tltool.data.pipeline import ImageFiles, fixed_options, image_dataset, image_files
from tltool.features.extract import Features
from tltool.features.sampler import Sampler, shuffled_order, spread_over_classes

LabelledImage = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # number of the draw, image, label

# The network is far slower than decoding: two batches ahead overlap fully and keep memory small.
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class ImageSource:
    """Images with their labels, ready to be read in any order.

    Attributes:
        items: the images.
        labels: class numbers, int64 [N].
        classes: number of classes.
        decode: how bytes become images.
        batch_size: images per batch.
        weights: how much each image counts in the loss, float32 [N]; None where all count the same.
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
        """Return about ``count`` of the images, evenly spread over all, and some of each class."""
        chosen = spread_over_classes(self.labels, count)
        items = [self.items[position] for position in chosen]
        weights = None if self.weights is None else self.weights[chosen]
        return replace(self, items=items, labels=self.labels[chosen], weights=weights)

    def plain(self, *, start: int = 0) -> tf.data.Dataset:
        """Return batches (index, images, one-hot labels) of the images as they are.

        Args:
            start: where to begin, a multiple of the batch size.
        """
        return self._read(np.arange(len(self)), AugmentSpec(), key=(0, 0), start=start)

    def augmented(
        self, spec: AugmentSpec, *, seed: int, epoch: int, start: int = 0
    ) -> tf.data.Dataset:
        """Return batches (index, images, labels) of one augmented view in its own random order.

        Args:
            spec: what to change.
            seed: seed of the run.
            epoch: number of the epoch or view.
            start: where to begin, a multiple of the batch size.
        """
        order = shuffled_order(len(self), seed=seed, epoch=epoch)
        return self._read(order, spec, key=(seed, epoch), start=start)

    def some(
        self, spec: AugmentSpec, positions: np.ndarray, *, seed: int, epoch: int
    ) -> tf.data.Dataset:
        """Return batches (index, images, labels) of some images as an epoch changes them.

        Args:
            spec: what to change.
            positions: of the images, int64 [M], in the order wanted.
            seed: seed of the run.
            epoch: number of the epoch or view.
        """
        return self._read(positions, spec, key=(seed, epoch), start=0)

    def drawn(self, spec: AugmentSpec, sampler: Sampler, *, epoch: int) -> tf.data.Dataset:
        """Return batches (draw, images, labels) of what ``sampler`` draws in an epoch.

        An image drawn again in the same epoch is changed in another way.
        """
        photos, turns = sampler.draws(epoch)
        first = np.full(len(self), np.iinfo(np.int64).max)
        np.minimum.at(first, photos, turns)
        draws = photos + len(self) * (turns - first[photos])
        return self._read(draws, spec, key=(sampler.seed, epoch), start=0)

    def expected_labels(self) -> np.ndarray:
        """Return one-hot labels times the images' weights, float32 [N, C]."""
        one_hot = np.eye(self.classes, dtype=np.float32)[self.labels]
        return one_hot if self.weights is None else one_hot * self.weights[:, None]

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
        """Return a SHA-256 (hex) over contents, labels, order and how they are read."""
        rows = [(i.sha256, int(n)) for i, n in zip(self.items, self.labels, strict=True)]
        described = [rows, self.classes, self.decode.to_json(), self.batch_size]
        if self.weights is not None:
            described.append(self.weights.tolist())
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()

    @cached_property
    def _files(self) -> ImageFiles:
        return image_files(self.items)


# Tracing takes a second: all passes of a run share what differs only in images, order and epoch.
@lru_cache(maxsize=8)
def _traced(
    decode: DecodeSpec, augment: AugmentSpec, classes: int, batch_size: int
) -> Callable[..., tf.data.Dataset]:
    """Return a pass: (files, labels and weights of N images, order [M], key [2], first) to batches.

    ``order`` holds numbers of images, plus N for every time that an image was drawn before: its
    changes are drawn from the sum. ``first`` is the number of the first batch.
    """
    augmenter = None
    if not augment.identity:
        # keras-cv takes a second to import: only who augments pays for it
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
        def labelled(draw: tf.Tensor, photo: tuple[tf.Tensor, tf.Tensor]) -> LabelledImage:
            index, image = photo
            label = tf.one_hot(tf.gather(labels, index), classes) * tf.gather(weights, index)
            return draw, image, label

        images = image_dataset(files, decode, order=order % tf.shape(labels, tf.int64)[0])
        photos = tf.data.Dataset.zip(tf.data.Dataset.from_tensor_slices(order), images)
        photos = photos.map(labelled)
        if augmenter is None:
            batches = photos.batch(batch_size)
        else:
            batches = augmenter.batches(photos, key=key, batch_size=batch_size, first=first)
        return batches.prefetch(_BATCHES_AHEAD).with_options(fixed_options())

    return one_pass


def rows_of_epoch(views: Sequence[Features], sampler: Sampler, epoch: int) -> list[tuple[int, int]]:
    """Return (view, row) of every training step's image in epoch ``epoch``.

    Images start at different views and every image meets its next view when it is drawn next.
    """
    row_of = [np.argsort(view.index) for view in views]
    offset = np.random.default_rng((sampler.seed, 2)).integers(0, len(views), len(sampler.labels))
    photos, turns = sampler.draws(epoch)
    chosen = (offset[photos] + turns) % len(views)
    return [(int(v), int(row_of[v][photo])) for v, photo in zip(chosen, photos, strict=True)]
