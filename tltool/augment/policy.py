"""Augmentation in tf.data: the same (seed, epoch, item) always gives the same photo and label."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tltool.augment import layers
from tltool.augment.spec import AugmentSpec

_MIX_SALT = 7919  # keeps the draws of batches apart from those of items

Photo = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # index, image and label of one photo or a batch


class Augmenter:
    """Changes photos one by one, then blends those of a batch.

    Args:
        spec: what to change.
        size: height and width of the images.
    """

    def __init__(self, spec: AugmentSpec, size: tuple[int, int]) -> None:
        self._size = size
        self._stream = layers.SeedStream()
        self._steps = self._steps_of(spec)
        self._kinds: list[Any] = []
        if spec.mixup is not None:
            self._kinds.append(layers.StreamMixUp(spec.mixup, self._stream))
        if spec.cutmix is not None:
            self._kinds.append(layers.StreamCutMix(spec.cutmix, self._stream))

    def _steps_of(self, spec: AugmentSpec) -> list[Any]:
        steps: list[Any] = []
        if spec.flip != "none":
            steps.append(layers.flip(spec.flip, self._stream))
        if spec.crop is not None:
            area, aspect = spec.crop
            steps.append(
                layers.crop_and_resize(
                    self._size, min_area=area, max_aspect=aspect, stream=self._stream
                )
            )
        if spec.cutout is not None:
            steps.append(layers.cutout(spec.cutout, self._stream))
        return steps

    def batches(
        self,
        photos: tf.data.Dataset,
        *,
        key: tf.Tensor,
        batch_size: int,
        first: tf.Tensor | int = 0,
    ) -> tf.data.Dataset:
        """Return batches of augmented photos; also inside a ``tf.function``.

        Args:
            photos: unbatched (index int64, image float32 [H, W, 3] in 0…255, label float32 [C]),
                in the order of training.
            key: int32 [2], the seed of the run and the number of the epoch or cached view.
            batch_size: photos per batch; mixup and cutmix blend within a batch.
            first: number of the first batch, int64, which the draws of a blend depend on.

        Returns:
            Dataset of (index int64 [B], images float32 [B, H, W, 3], labels float32 [B, C]).
        """

        def change(index: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> Photo:
            self._stream.begin(tf.random.experimental.stateless_fold_in(key, index))
            for step in self._steps:
                image = step(image)
            return index, tf.ensure_shape(image, (*self._size, 3)), label

        def mix(number: tf.Tensor, batch: Photo) -> Photo:
            salted = tf.random.experimental.stateless_fold_in(key, _MIX_SALT)
            self._stream.begin(tf.random.experimental.stateless_fold_in(salted, number))
            return self._mixed(*batch)

        changed = photos.map(change, num_parallel_calls=tf.data.AUTOTUNE)
        batches = changed.batch(batch_size)
        if self._kinds:
            batches = batches.enumerate(first).map(mix, num_parallel_calls=tf.data.AUTOTUNE)
        return batches

    def _mixed(self, index: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> Photo:
        """Blend the photos of one batch; with both kinds, by one of them."""
        coin = self._stream.uniform((), 0, len(self._kinds), tf.int32)
        # every kind is traced with its own draws; only the chosen one runs
        branches = [lambda kind=kind: _blend(kind, images, labels) for kind in self._kinds]
        images, labels = tf.switch_case(coin, branches)
        return index, images, labels


def _blend(kind: Any, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    mixed = kind._batch_augment({"images": images, "labels": labels})
    return (
        tf.ensure_shape(mixed["images"], images.shape),
        tf.ensure_shape(mixed["labels"], labels.shape),
    )
