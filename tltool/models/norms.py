"""Normalisation layers by name."""

from __future__ import annotations

import math
from typing import Any

from keras import layers

from tltool.errors import UsageError, did_you_mean

NORMS = ("batch", "sync_batch", "layer", "instance", "group", "none")
_GROUPS = 32  # Wu and He's default
_EPSILON = 1e-3  # as Keras has it in all its norms
_MOMENTUM = 0.9  # with Keras' 0.99 the statistics are wrong in the first hundreds of steps


def norm_layer(
    norm: str, name: str, channels: int, *, groups: int | None = None, dtype: str | None = None
) -> Any:
    """Return a layer that normalises ``[B, …, channels]``; None if ``norm`` is none.

    batch (Ioffe and Szegedy 2015, arXiv:1502.03167) computes mean and variance over images and
    positions of a device's batch, sync_batch over those of all devices; layer (Ba et al. 2016,
    arXiv:1607.06450) over positions and channels of each image, instance (Ulyanov et al. 2016,
    arXiv:1607.08022) over its positions, group (Wu and He 2018, arXiv:1803.08494) over positions
    and the channels of a group. Each then scales and shifts every channel.

    Raises:
        UsageError: the groups do not divide the channels, or there is no such norm.
    """
    if norm not in NORMS:
        message = f"There is no norm '{norm}'.{did_you_mean(norm, NORMS)}"
        raise UsageError(message, hint=f"choose one of {', '.join(NORMS)}")
    if norm == "none":
        return None
    if norm in ("batch", "sync_batch"):
        return layers.BatchNormalization(
            momentum=_MOMENTUM, synchronized=norm == "sync_batch", name=name, dtype=dtype
        )
    count = {"layer": 1, "instance": channels}.get(norm, groups or math.gcd(_GROUPS, channels))
    if channels % count:
        raise UsageError(
            f"{count} groups do not divide the {channels} channels of {name}",
            hint="set model.norm_groups to a number that divides them, or to null",
        )
    return layers.GroupNormalization(count, epsilon=_EPSILON, name=name, dtype=dtype)
