"""Estimate whether caching the trunk's activations is faster than computing them every epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tltool.training.precision import Precision
from tltool.training.validation import Pooling

_BACKWARD = 3.0  # a training step costs about three forward passes
_LIVE_BONUS = 1.2  # new augmentation in every epoch is worth so much more time
_CHEAP_SECONDS = 60.0  # below this a GPU trains without cache, which would save little


@dataclass(frozen=True)
class CacheChoice:
    """Whether the cache is used, and the reason."""

    cached: bool
    reason: str


@dataclass(frozen=True)
class Workload:
    """Size of a run: images, views and epochs."""

    train: int
    validation: int
    views: int
    head_epochs: int
    finetune_epochs: int


@dataclass(frozen=True)
class ImageSeconds:
    """Measured seconds per image.

    Attributes:
        trunk: of a forward pass of the trunk.
        tail: of a forward pass of the tail.
        decode: of reading and decoding a file; 0 if it was not measured.
        augment: of reading, decoding and augmenting a file; the same.
    """

    trunk: float
    tail: float
    decode: float = 0.0
    augment: float = 0.0

    @property
    def summary(self) -> str:
        """The measured parts in milliseconds, for the user."""
        parts = {
            "reading": self.decode,
            "reading with augmentation": self.augment,
            "network": self.trunk + self.tail,
        }
        return ", ".join(f"{name} {1000 * one:.2g} ms" for name, one in parts.items() if one)


def estimate(work: Workload, seconds: ImageSeconds, *, gpu: bool) -> CacheChoice:
    """Choose by the measured seconds per image.

    On a GPU images are loaded while the network computes, so the slower of the two counts; on a CPU
    both share the cores, so their sum counts.
    """
    original, augmented = work.train + work.validation, (work.views - 1) * work.train

    def passed(images: int, load: float, network: float) -> float:
        return images * (max(load, network) if gpu else load + network)

    whole, step = seconds.trunk + seconds.tail, _BACKWARD * seconds.tail
    from_cache = work.train * step + work.validation * seconds.tail
    once = passed(original, seconds.decode, whole)
    views = passed(augmented, seconds.augment, whole)
    cached = once + views + work.finetune_epochs * from_cache
    validation = passed(work.validation, seconds.decode, whole)
    head_epoch = passed(work.train, seconds.augment, whole) + validation
    finetune_epoch = passed(work.train, seconds.augment, seconds.trunk + step) + validation
    live = once + work.head_epochs * head_epoch + work.finetune_epochs * finetune_epoch
    reason = (
        f"about {cached:.0f} s with cached activations, {live:.0f} s without; per image "
        f"{seconds.summary}"
    )
    if gpu and live < _CHEAP_SECONDS:
        return CacheChoice(False, f"{reason}: fast enough to augment anew in every epoch")
    return CacheChoice(cached * _LIVE_BONUS < live, reason)


def seconds_per_image(part: keras.Model, *, batch: int, precision: Precision) -> float:
    """Return the seconds per image of a forward pass of ``part``, measured on a small batch."""
    inputs = tf.constant(np.zeros((batch, *part.input_shape[1:]), np.float32))
    run: Callable[[tf.Tensor], np.ndarray] = Pooling(part, precision)
    run(inputs)
    started = time.perf_counter()
    run(inputs)
    return (time.perf_counter() - started) / batch


def seconds_per_load(batches: Callable[[], Iterable[Any]], *, count: int) -> float:
    """Return the seconds per image of reading ``count`` images; the first pass is not timed.

    The first pass traces the graph, and brings the files into the cache of the operating system, as
    the audit before a run does.
    """
    for _ in batches():
        pass
    started = time.perf_counter()
    for _ in batches():
        pass
    return (time.perf_counter() - started) / count
