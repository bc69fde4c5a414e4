"""Augmentation of a pass: the same (seed, epoch, image) always gives the same result."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import tensorflow as tf

from tltool.augment.image_transforms import image_transforms
from tltool.augment.mixing import Mixer, Pair
from tltool.augment.seeded_layers import SeedStream
from tltool.augment.spec import AugmentSpec
from tltool.augment.transform import Draws

_MIX_SALT = 7919  # makes the draws of batches independent of those of images

LabelledImage = tuple[
    tf.Tensor, tf.Tensor, tf.Tensor
]  # index, image and label of one image or a batch
DrawnBatch = tuple[tf.Tensor, tf.Tensor, tf.Tensor, Any]  # and the draws of its transforms


class Augmenter:
    """Transforms images, then blends those of a batch.

    ``batches`` does so in tf.data, image by image on the threads of the CPU. Where a GPU trains,
    ``drawn_batches`` makes the same draws in tf.data, and ``transform`` computes the pixels of a
    batch on the GPU.

    Args:
        spec: the augmentation.
        size: height and width of the images.
    """

    def __init__(self, spec: AugmentSpec, size: tuple[int, int]) -> None:
        self._spec, self._size = spec, size
        self._stream = SeedStream()
        self._transforms = image_transforms(spec, size, self._stream)
        self._mixer = Mixer(spec, size, self._stream)
        of_batches = [one.apply_to_batch for one in self._transforms]
        on_cpu = [number for number, apply in enumerate(of_batches) if apply is None]
        self._on_cpu = 1 + max(on_cpu, default=-1)  # so many transforms, at the beginning
        self._in_batches = [apply for apply in of_batches[self._on_cpu :] if apply is not None]

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
            image, _ = self._transformed(index, image, key, count=len(self._transforms))
            return index, image, label

        def mix(number: tf.Tensor, batch: LabelledImage) -> LabelledImage:
            index, pixels, labels = batch
            draws = self._mix_draws(number, tf.shape(labels)[0], key)
            return index, *self._mixer.apply(pixels, labels, draws)

        transformed = images.map(transform, num_parallel_calls=tf.data.AUTOTUNE)
        batches = transformed.batch(batch_size)
        if self._spec.mixes:
            batches = batches.enumerate(first).map(mix, num_parallel_calls=tf.data.AUTOTUNE)
        return batches

    def drawn_batches(
        self,
        images: tf.data.Dataset,
        *,
        key: tf.Tensor,
        batch_size: int,
        first: tf.Tensor | int = 0,
    ) -> tf.data.Dataset:
        """Return batches of images with their draws, for ``transform``.

        Transforms that need a CPU, and those before them, are applied already.

        Args:
            images: as in ``batches``.
            key: as in ``batches``.
            batch_size: images per batch.
            first: number of the first batch, int64.

        Returns:
            Dataset of (index int64 [B], images float32 [B, H, W, 3], labels float32 [B, C], draws).
        """

        def draw(index: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> DrawnBatch:
            image, draws = self._transformed(index, image, key, count=self._on_cpu)
            return index, image, label, draws

        def draw_mix(number: tf.Tensor, batch: DrawnBatch) -> DrawnBatch:
            index, pixels, labels, draws = batch
            mix = self._mix_draws(number, tf.shape(labels)[0], key) if self._spec.mixes else ()
            return index, pixels, labels, (draws, mix)

        batches = images.map(draw, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)
        return batches.enumerate(first).map(draw_mix, num_parallel_calls=tf.data.AUTOTUNE)

    def transform(self, batch: DrawnBatch) -> LabelledImage:
        """Return what ``batches`` would, within rounding, for a batch of ``drawn_batches``.

        The pixels are computed on the GPU, if there is one.
        """
        index, images, labels, draws = batch
        return index, *self._on_device(images, labels, draws)

    @cached_property
    def _on_device(self) -> Any:
        shape = (None, *self._size, 3)

        def compute(images: tf.Tensor, labels: tf.Tensor, draws: Any) -> Pair:
            images = tf.ensure_shape(tf.cast(images, tf.float32), shape)
            of_images, of_batch = draws
            for apply, drawn in zip(self._in_batches, of_images, strict=True):
                images = tf.ensure_shape(apply(images, *drawn), shape)
            return self._mixer.apply(images, labels, of_batch) if of_batch else (images, labels)

        return tf.function(compute, autograph=False, reduce_retracing=True)

    def _transformed(
        self, index: tf.Tensor, image: tf.Tensor, key: tf.Tensor, *, count: int
    ) -> tuple[tf.Tensor, tuple[Draws, ...]]:
        """Return an image after the first ``count`` transforms, and the draws of the others."""
        self._stream.begin(tf.random.experimental.stateless_fold_in(key, index))
        draws = []
        for number, one in enumerate(self._transforms):
            drawn = one.draw()
            if number < count:
                image = one.apply(image, *drawn)
            else:
                draws.append(drawn)
        return tf.ensure_shape(image, (*self._size, 3)), tuple(draws)

    def _mix_draws(self, number: tf.Tensor, size: tf.Tensor, key: tf.Tensor) -> tuple[Draws, ...]:
        salted = tf.random.experimental.stateless_fold_in(key, _MIX_SALT)
        self._stream.begin(tf.random.experimental.stateless_fold_in(salted, number))
        return self._mixer.draw(size)
