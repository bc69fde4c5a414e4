"""What heads are made of; every layer computes in float32 under every policy."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import keras
import numpy as np
from keras import layers

from tltool.models.backbones import OriginalHead
from tltool.models.drops import DropConnectDense
from tltool.models.norms import norm_layer
from tltool.models.standardization import fit_standardization

STANDARDIZE = "head_standardize"
DropKind = Literal["dropout", "gaussian", "spatial", "alpha", "dropconnect"]


@dataclass(frozen=True, slots=True)
class Drops:
    """What a head drops, and where, beside the rate.

    Attributes:
        kind: dropout (Srivastava et al. 2014), gaussian (the same paper), spatial (whole feature
            maps; Tompson et al. 2015), alpha (Klambauer et al. 2017) or dropconnect (Wan et al.
            2013).
        attention: share of the attention weights dropped in the head ``attention``.
    """

    kind: DropKind = "dropout"
    attention: float = 0.0


NO_DROPS = Drops()


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """What a head builder needs to know beside the features."""

    classes: int
    dropout: float
    hidden_units: int
    norm: str
    seed: int
    original: OriginalHead
    drops: Drops
    groups: int | None
    standardize: bool


def kernel_initializer(activation: str, seed: int) -> keras.initializers.Initializer:
    """Return the draw that keeps the size of signals: He et al. 2015 for ReLU, Glorot for tanh."""
    if activation == "tanh":
        return keras.initializers.GlorotUniform(seed)
    return keras.initializers.HeNormal(seed)


def original_initializer(activation: str, seed: int) -> keras.initializers.Initializer:
    """Return the draw of the heads of AlexNet and VGG; tanh is LeNet-5's.

    With He's, two layers of 4096 units diverge at the rate of the papers, 0.01.
    """
    if activation == "tanh":
        return keras.initializers.GlorotUniform(seed)
    return keras.initializers.RandomNormal(stddev=0.01, seed=seed)


def standardized(features: Any, settings: HeadSettings) -> Any:
    """Return features [B, …, C] of mean 0 and variance 1 in every channel, once these are known.

    Features of VGG reach 200, others hardly vary. As they are, random weights begin far above the
    loss of chance, steps of the usual length overshoot, and dropout lets single images lose a
    feature worth hundreds of nats. The layer is not trained; until ``set_statistics`` it changes
    nothing.
    """
    if not settings.standardize:
        return features
    layer = layers.BatchNormalization(
        center=False, scale=False, epsilon=1e-6, trainable=False, name=STANDARDIZE, dtype="float32"
    )
    return layer(features)


def set_statistics(layer: keras.layers.BatchNormalization, features: np.ndarray) -> None:
    """Give a layer of ``standardized`` the means and variances of ``features`` [N, …, C].

    What hardly varies is not blown up, see ``standardization.floored``.
    """
    fitted = fit_standardization(features.reshape(-1, layer.moving_mean.shape[0]))
    layer.moving_mean.assign(fitted.mean)
    layer.moving_variance.assign(fitted.scale**2)


def for_standardized(
    layer: keras.layers.BatchNormalization, kernel: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a linear classifier of features as one of what a layer of ``standardized`` gives.

    Args:
        layer: with its statistics.
        kernel: [D, C], of features as they are.
        bias: [C].

    Returns:
        Kernel float64 [D, C] and bias float64 [C] with the same logits.
    """
    mean, variance = (
        np.asarray(one, np.float64) for one in (layer.moving_mean, layer.moving_variance)
    )
    return kernel * np.sqrt(variance + layer.epsilon)[:, np.newaxis], bias + mean @ kernel


def norm_relu(x: Any, settings: HeadSettings) -> Any:
    """Normalise a hidden layer's output and cut off what is negative."""
    width = settings.hidden_units
    norm = norm_layer(settings.norm, "head_norm", width, groups=settings.groups, dtype="float32")
    return layers.ReLU(name="head_relu", dtype="float32")(norm(x) if norm else x)


def average(x: Any, name: str) -> Any:
    """Return the mean over positions of maps [B, h, w, C]: [B, C]."""
    return layers.GlobalAveragePooling2D(name=name, dtype="float32")(x)


def classify(vector: Any, settings: HeadSettings) -> Any:
    """Return logits [B, classes] of what stays of a vector [B, D]."""
    initial = keras.initializers.GlorotUniform(settings.seed)
    return logits(drop(vector, settings), settings, initial)


def logits(vector: Any, settings: HeadSettings, initial: keras.initializers.Initializer) -> Any:
    """Return logits [B, classes] of a whole vector [B, D]."""
    return dense(settings.classes, settings, name="head_logits", kernel_initializer=initial)(vector)


def dense(units: int, settings: HeadSettings, *, name: str, **others: Any) -> keras.layers.Layer:
    """Return a dense layer, which drops weights where the head drops those."""
    if settings.drops.kind == "dropconnect":
        seed = zlib.crc32(name.encode()) % 2**30 + settings.seed
        return DropConnectDense(units, settings.dropout, seed, name=name, dtype="float32", **others)
    return layers.Dense(units, name=name, dtype="float32", **others)


def drop(
    x: Any, settings: HeadSettings, *, name: str = "head_dropout", seed: int | None = None
) -> Any:
    """Return what stays of a vector [B, D] or of maps [B, h, w, C].

    A channel of a pooled vector is one number: there spatial dropout is dropout.
    """
    kind = settings.drops.kind
    if kind == "dropconnect":  # drops inside the dense layers
        return x
    maker = _DROPS["dropout" if kind == "spatial" and len(x.shape) == 2 else kind]
    drawn = settings.seed if seed is None else seed
    return maker(settings.dropout, seed=drawn, name=name, dtype="float32")(x)


_DROPS: Mapping[str, Callable[..., keras.layers.Layer]] = MappingProxyType(
    {
        "dropout": layers.Dropout,
        "gaussian": layers.GaussianDropout,
        "spatial": layers.SpatialDropout2D,
        "alpha": layers.AlphaDropout,
    }
)
