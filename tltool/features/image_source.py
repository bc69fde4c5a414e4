"""Labelled images, original or augmented, in the order of an epoch, in batches."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tltool.augment.spec import AugmentSpec
from tltool.data.catalog import Item
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.item_columns import as_columns
from tltool.data.pipeline import ImageFiles, image_files
from tltool.events import Observer
from tltool.features.background_writer import BackgroundWriter
from tltool.features.decoded_images import (
    DecodedImages,
    PixelType,
    decode_again,
    decoded_store,
    to_pixels,
)
from tltool.features.image_reader import image_reader, shared_augmenter
from tltool.features.own_rows import RowsOf, own_order, regrouped, taken
from tltool.features.pass_reader import Batch
from tltool.features.sampler import Sampler, shuffled_order, spread_over_classes

_DIGEST_ROWS = 4096


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
        decoded: the images decoded before, in this order; None decodes the files in every pass.
        augment_on_gpu: whether the pixels of augmented images are computed in batches on the GPU,
            from the same draws, instead of one by one on the threads of the CPU.
    """

    items: Sequence[Item]
    labels: np.ndarray
    classes: int
    decode: DecodeSpec
    batch_size: int
    weights: np.ndarray | None = None
    decoded: DecodedImages | None = None
    augment_on_gpu: bool = False

    def __len__(self) -> int:
        return len(self.items)

    def spread(self, count: int) -> ImageSource:
        """Return about ``count`` images, evenly spread over all, with some of each class."""
        chosen = spread_over_classes(self.labels, count)
        items = as_columns(self.items).select(chosen)
        weights = None if self.weights is None else self.weights[chosen]
        labels = self.labels[chosen]
        return replace(self, items=items, labels=labels, weights=weights, decoded=None)

    def decode_once(self, folder: Path, pixels: PixelType, observer: Observer) -> ImageSource:
        """Return the same images, decoded to a file of ``folder`` that all further passes read.

        Images that an earlier process has stored there are not decoded again.

        Args:
            folder: for this source alone.
            pixels: type of the stored pixels. With uint8 they are rounded, by at most 0.5; then
                batches of original images are uint8 too.
            observer: receives the progress.

        Raises:
            EnvironmentProblem: no disk space for all images.
        """
        count = len(self)
        store = decoded_store(folder, self.decode, count=count, pixels=pixels)
        again = partial(decode_again, store, self.items, self.decode, pixels)
        store.repair_with(again, observer)
        done = store.rows
        if done < count:
            with BackgroundWriter(store) as writer:
                for _, images, _ in self.original(start=done):
                    writer.append(images=to_pixels(images, pixels))
                    done += len(images)
                    observer.on_progress(done, count)
        column = store.columns["images"]
        return replace(self, decoded=DecodedImages(column.path, pixels, column))

    def followed_by(self, other: ImageSource) -> ImageSource:
        """Return the images of both, first these, then those of ``other``."""
        sources, weights = (self, other), None
        if any(one.weights is not None for one in sources):
            weights = np.concatenate(
                [np.ones(len(s), np.float32) if s.weights is None else s.weights for s in sources]
            )
        return replace(
            self,
            items=as_columns(self.items).joined(as_columns(other.items)),
            labels=np.concatenate([one.labels for one in sources]),
            weights=weights,
            decoded=None,
        )

    def original(self, *, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Return batches (index, images, one-hot labels) of the original images.

        The images are float32, or as they are stored where they were decoded once.

        Args:
            start: position of the first image, a multiple of the batch size.
            stop: position behind the last image, likewise; None for all.
        """
        order = np.arange(len(self))[:stop]
        return self._read(order, AugmentSpec(), key=(0, 0), start=start)

    def augmented(
        self,
        spec: AugmentSpec,
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[Batch]:
        """Return batches (index, images, labels) of one augmented view in its own random order.

        Args:
            spec: the augmentation.
            seed: seed of the run.
            epoch: number of the epoch or view.
            start: position in that order of the first image, a multiple of the batch size.
            stop: position behind the last image, likewise; None for all.
        """
        order = shuffled_order(len(self), seed=seed, epoch=epoch)[:stop]
        return self._read(order, spec, key=(seed, epoch), start=start)

    def at_positions(
        self, spec: AugmentSpec, positions: np.ndarray, *, seed: int, epoch: int
    ) -> Iterator[Batch]:
        """Return batches (index, images, labels) of chosen images as augmented in an epoch.

        Args:
            spec: the augmentation.
            positions: of the images, int64 [M], in order.
            seed: seed of the run.
            epoch: number of the epoch or view.
        """
        return self._read(positions, spec, key=(seed, epoch), start=0)

    def sampled(
        self, spec: AugmentSpec, sampler: Sampler, *, epoch: int, rows: RowsOf | None = None
    ) -> Iterator[Batch]:
        """Return batches (draw, images, labels) of the images that ``sampler`` draws in an epoch.

        An image that is drawn again in the same epoch is augmented differently.

        Args:
            spec: the augmentation.
            sampler: draws the images.
            epoch: number of the epoch.
            rows: the rows to return of each batch; None for all. Others are decoded only if mixup
                or cutmix may blend them into these.
        """
        positions, passes = sampler.sample(epoch)
        first = np.full(len(self), np.iinfo(np.int64).max)
        np.minimum.at(first, positions, passes)
        draws = positions + len(self) * (passes - first[positions])
        key = (sampler.seed, epoch)
        if rows is None:
            return self._read(draws, spec, key=key, start=0)
        if spec.mixes:
            return taken(self._read(draws, spec, key=key, start=0), rows)
        own, counts = own_order(len(draws), self.batch_size, rows)
        some = replace(self, batch_size=counts[0])
        return regrouped(some._read(draws[own], spec, key=key, start=0), counts)

    def expected_labels(self) -> np.ndarray:
        """Return one-hot labels times the weights of the images, float32 [N, C]."""
        weights = 1.0 if self.weights is None else self.weights
        return weighted_one_hot(self.labels, weights, self.classes)

    def _read(
        self, order: np.ndarray, augment: AugmentSpec, *, key: tuple[int, int], start: int
    ) -> Iterator[Batch]:
        pixels = None if self.decoded is None else self.decoded.pixels
        on_gpu = self.augment_on_gpu and not augment.identity
        reader = image_reader(self.decode, augment, self.classes, self.batch_size, pixels, on_gpu)
        weights = np.ones(len(self)) if self.weights is None else self.weights
        with tf.device("/CPU:0"):
            request = (
                *self._files,
                tf.constant("" if self.decoded is None else os.fsencode(self.decoded.path)),
                tf.constant(self.labels, tf.int64),
                tf.constant(weights, tf.float32),
                tf.constant(order[start:], tf.int64),
                tf.constant(key, tf.int32),
                tf.constant(start // self.batch_size, tf.int64),
            )
        count = -(-len(order[start:]) // self.batch_size)
        batches: Iterator[Any] = reader.read(request, count=count)
        if not on_gpu:
            return batches
        augmenter = shared_augmenter(augment, (self.decode.height, self.decode.width))
        return map(augmenter.transform, batches)

    def digest(self) -> str:
        """Return a SHA-256 (hex) of contents, labels, order and decoding: part of the cache key."""
        described = [self.classes, self.decode.to_json(), self.batch_size]
        if self.weights is not None:
            described.append(self.weights.tolist())
        digest = hashlib.sha256(b"[[")
        columns = as_columns(self.items)
        for start in range(0, len(columns), _DIGEST_ROWS):  # the JSON of all rows, piece by piece
            rows = slice(start, start + _DIGEST_ROWS)
            pairs = list(zip(columns.digests(rows), self.labels[rows].tolist(), strict=True))
            digest.update((", " * bool(start) + json.dumps(pairs)[1:-1]).encode())
        digest.update(f"], {json.dumps(described)[1:]}".encode())
        return digest.hexdigest()

    @cached_property
    def _files(self) -> ImageFiles:
        return image_files(self.items)


def weighted_one_hot(
    labels: np.ndarray, weights: np.ndarray | float, classes: int, dtype: type = np.float32
) -> np.ndarray:
    """Return one-hot labels times the weights of the images, [N, C] of ``dtype``.

    Args:
        labels: class numbers, int [N].
        weights: of each image, float [N], or one for all.
        classes: the number of classes C.
        dtype: of the result.
    """
    rows: np.ndarray = np.zeros((len(labels), classes), dtype)
    rows[np.arange(len(labels)), labels] = weights
    return rows
