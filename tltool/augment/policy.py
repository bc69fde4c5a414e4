"""Augmentation in tf.data: the same (seed, epoch, item) always gives the same photo and label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tltool.augment import layers
from tltool.augment.spec import AugmentSpec

_MIX_SALT = 7919  # keeps the draws of batches apart from those of items


def augment_dataset(
    photos: tf.data.Dataset,
    spec: AugmentSpec,
    *,
    size: tuple[int, int],
    seed: int,
    epoch: int,
    batch_size: int,
) -> tf.data.Dataset:
    """Return batches of augmented photos.

    Args:
        photos: unbatched (index int64, image float32 [H, W, 3] in 0…255, label float32 [C]), in
            the order of training.
        spec: what to change.
        size: height and width of the images.
        seed: seed of the run.
        epoch: number of the epoch or of the cached view.
        batch_size: photos per batch; mixup and cutmix blend within a batch.

    Returns:
        Dataset of (index int64 [B], images float32 [B, H, W, 3], labels float32 [B, C]).
    """
    key = tf.constant([seed, epoch], tf.int32)
    changed = photos.map(_item_function(spec, size, key), num_parallel_calls=tf.data.AUTOTUNE)
    batches = changed.batch(batch_size)
    if spec.mixes:
        numbered = batches.enumerate()
        batches = numbered.map(_mix_function(spec, key), num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(2)


def _item_function(
    spec: AugmentSpec, size: tuple[int, int], key: tf.Tensor
) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Return the function that changes one photo."""
    stream = layers.SeedStream()
    steps: list[Any] = []
    if spec.flip != "none":
        steps.append(layers.flip(spec.flip, stream))
    if spec.crop is not None:
        area, aspect = spec.crop
        steps.append(layers.crop_and_resize(size, min_area=area, max_aspect=aspect, stream=stream))
    if spec.cutout is not None:
        steps.append(layers.cutout(spec.cutout, stream))

    def change(
        index: tf.Tensor, image: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        stream.begin(tf.random.experimental.stateless_fold_in(key, index))
        for step in steps:
            image = step(image)
        return index, tf.ensure_shape(image, (*size, 3)), label

    return change


def _mix_function(
    spec: AugmentSpec, key: tf.Tensor
) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Return the function that blends the photos of one batch; with both kinds, one by a coin."""
    stream = layers.SeedStream()
    kinds: list[Any] = []
    if spec.mixup is not None:
        kinds.append(layers.StreamMixUp(spec.mixup, stream))
    if spec.cutmix is not None:
        kinds.append(layers.StreamCutMix(spec.cutmix, stream))

    def mix(
        number: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        index, images, labels = batch
        salted = tf.random.experimental.stateless_fold_in(key, _MIX_SALT)
        stream.begin(tf.random.experimental.stateless_fold_in(salted, number))
        coin = stream.uniform((), 0, len(kinds), tf.int32)
        # every kind is traced with its own draws; only the chosen one runs
        branches = [lambda kind=kind: _blend(kind, images, labels) for kind in kinds]
        images, labels = tf.switch_case(coin, branches)
        return index, images, labels

    return mix


def _blend(kind: Any, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    mixed = kind._batch_augment({"images": images, "labels": labels})
    return (
        tf.ensure_shape(mixed["images"], images.shape),
        tf.ensure_shape(mixed["labels"], labels.shape),
    )
