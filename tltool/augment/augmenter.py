"""Augmentation in tf.data: the same (seed, epoch, item) always gives the same image and label."""

from __future__ import annotations

import tensorflow as tf

from tltool.augment.image_transforms import steps_of
from tltool.augment.mixing import Mixer
from tltool.augment.seeded_layers import SeedStream
from tltool.augment.spec import AugmentSpec

_MIX_SALT = 7919  # keeps the draws of batches apart from those of items

LabelledImage = tuple[
    tf.Tensor, tf.Tensor, tf.Tensor
]  # index, image and label of one image or a batch


class Augmenter:
    """Changes images one by one, then blends those of a batch.

    Args:
        spec: what to change.
        size: height and width of the images.
    """

    def __init__(self, spec: AugmentSpec, size: tuple[int, int]) -> None:
        self._spec, self._size = spec, size
        self._stream = SeedStream()
        self._steps = steps_of(spec, size, self._stream)
        self._mixer = Mixer(spec, self._stream)

    def batches(
        self,
        photos: tf.data.Dataset,
        *,
        key: tf.Tensor,
        batch_size: int,
        first: tf.Tensor | int = 0,
    ) -> tf.data.Dataset:
        """Return batches of augmented images; also inside a ``tf.function``.

        Args:
            images: unbatched (index int64, image float32 [H, W, 3] in 0…255, label float32 [C]),
                in the order of training.
            key: int32 [2], the seed of the run and the number of the epoch or cached view.
            batch_size: images per batch; mixup and cutmix blend within a batch.
            first: number of the first batch, int64, which the draws of a blend depend on.

        Returns:
            Dataset of (index int64 [B], images float32 [B, H, W, 3], labels float32 [B, C]).
        """

        def change(index: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> LabelledImage:
            self._stream.begin(tf.random.experimental.stateless_fold_in(key, index))
            for step in self._steps:
                image = step(image)
            return index, tf.ensure_shape(image, (*self._size, 3)), label

        def mix(number: tf.Tensor, batch: LabelledImage) -> LabelledImage:
            salted = tf.random.experimental.stateless_fold_in(key, _MIX_SALT)
            self._stream.begin(tf.random.experimental.stateless_fold_in(salted, number))
            index, images, labels = batch
            return index, *self._mixer(images, labels)

        changed = photos.map(change, num_parallel_calls=tf.data.AUTOTUNE)
        batches = changed.batch(batch_size)
        if self._spec.mixes:
            batches = batches.enumerate(first).map(mix, num_parallel_calls=tf.data.AUTOTUNE)
        return batches
