"""Augmentation in tf.data: the same (seed, epoch, image) always gives the same result."""

from __future__ import annotations

import tensorflow as tf

from tltool.augment.image_transforms import image_transforms
from tltool.augment.mixing import Mixer
from tltool.augment.seeded_layers import SeedStream
from tltool.augment.spec import AugmentSpec

_MIX_SALT = 7919  # makes the draws of batches independent of those of images

LabelledImage = tuple[
    tf.Tensor, tf.Tensor, tf.Tensor
]  # index, image and label of one image or a batch


class Augmenter:
    """Transforms images one by one, then blends those of a batch.

    Args:
        spec: the augmentation.
        size: height and width of the images.
    """

    def __init__(self, spec: AugmentSpec, size: tuple[int, int]) -> None:
        self._spec, self._size = spec, size
        self._stream = SeedStream()
        self._transforms = image_transforms(spec, size, self._stream)
        self._mixer = Mixer(spec, self._stream)

    def batches(
        self,
        images: tf.data.Dataset,
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
            batch_size: images per batch; mixup and cutmix blend images of one batch.
            first: number of the first batch, int64, which seeds the blends.

        Returns:
            Dataset of (index int64 [B], images float32 [B, H, W, 3], labels float32 [B, C]).
        """

        def transform(index: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> LabelledImage:
            self._stream.begin(tf.random.experimental.stateless_fold_in(key, index))
            for apply in self._transforms:
                image = apply(image)
            return index, tf.ensure_shape(image, (*self._size, 3)), label

        def mix(number: tf.Tensor, batch: LabelledImage) -> LabelledImage:
            salted = tf.random.experimental.stateless_fold_in(key, _MIX_SALT)
            self._stream.begin(tf.random.experimental.stateless_fold_in(salted, number))
            index, pixels, labels = batch
            return index, *self._mixer(pixels, labels)

        transformed = images.map(transform, num_parallel_calls=tf.data.AUTOTUNE)
        batches = transformed.batch(batch_size)
        if self._spec.mixes:
            batches = batches.enumerate(first).map(mix, num_parallel_calls=tf.data.AUTOTUNE)
        return batches
