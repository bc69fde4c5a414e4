"""Estimate whether caching the trunk's activations is faster than computing them every epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tltool.training.precision import Precision
from tltool.training.validation import Pooling

_BACKWARD = 3.0  # a training step costs about three forward passes
_LIVE_BONUS = 1.2  # without cache every epoch is augmented anew: that may cost this much more
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


def estimate(
    work: Workload, *, trunk_seconds: float, tail_seconds: float, gpu: bool
) -> CacheChoice:
    """Choose by the measured seconds per image of a forward pass of trunk and tail."""
    step = _BACKWARD * tail_seconds
    epoch = work.train * step + work.validation * tail_seconds
    once = (work.views * work.train + work.validation) * (trunk_seconds + tail_seconds)
    cached = once + work.finetune_epochs * epoch
    full = (work.train + work.validation) * (trunk_seconds + tail_seconds)
    repeated = (work.train + work.validation) * trunk_seconds
    live = full + work.head_epochs * full + work.finetune_epochs * (epoch + repeated)
    reason = f"about {cached:.0f} s with cached activations, {live:.0f} s without"
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
