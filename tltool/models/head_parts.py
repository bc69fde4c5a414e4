"""Building blocks of heads; every layer computes in float32 under every dtype policy."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import keras
import numpy as np
from keras import layers

from tltool.models.backbone_registry import OriginalHead
from tltool.models.dropout import DropConnectDense
from tltool.models.norms import norm_layer
from tltool.models.standardization import fit_standardization

STANDARDIZE = "head_standardize"
DropKind = Literal["dropout", "gaussian", "spatial", "alpha", "dropconnect"]


@dataclass(frozen=True, slots=True)
class DropoutSettings:
    """Kind of dropout in a head, and dropout of attention weights; the rate is separate.

    Attributes:
        kind: dropout (Srivastava et al. 2014), gaussian (the same paper), spatial (whole feature
            maps; Tompson et al. 2015), alpha (Klambauer et al. 2017) or dropconnect (Wan et al.
            2013).
        attention: dropout rate of the attention weights in the head ``attention``.
    """

    kind: DropKind = "dropout"
    attention: float = 0.0


DEFAULT_DROPOUT = DropoutSettings()


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """Arguments of a head builder beside the features."""

    classes: int
    dropout: float
    hidden_units: int
    norm: str
    seed: int
    original: OriginalHead
    dropout_settings: DropoutSettings
    groups: int | None
    standardize: bool


def kernel_initializer(activation: str, seed: int) -> keras.initializers.Initializer:
    """Return a variance-preserving initializer: He et al. 2015 for ReLU, Glorot for tanh."""
    if activation == "tanh":
        return keras.initializers.GlorotUniform(seed)
    return keras.initializers.HeNormal(seed)


def original_initializer(activation: str, seed: int) -> keras.initializers.Initializer:
    """Return the initializer of the heads of AlexNet and VGG, or Glorot's for LeNet-5 (tanh).

    With He's, two layers of 4096 units diverge at the papers' learning rate, 0.01.
    """
    if activation == "tanh":
        return keras.initializers.GlorotUniform(seed)
    return keras.initializers.RandomNormal(stddev=0.01, seed=seed)


def standardized(features: Any, settings: HeadSettings) -> Any:
    """Return features [B, …, C] standardised per channel, once ``set_statistics`` was called.

    Features of VGG reach 200: without standardisation the first losses of random weights are far
    above chance, steps of the usual size overshoot, and dropout of one large feature can cost an
    image a log-loss of hundreds. The layer is not trained; before ``set_statistics`` it is the
    identity.
    """
    if not settings.standardize:
        return features
    layer = layers.BatchNormalization(
        center=False, scale=False, epsilon=1e-6, trainable=False, name=STANDARDIZE, dtype="float32"
    )
    return layer(features)


def set_statistics(layer: keras.layers.BatchNormalization, features: np.ndarray) -> None:
    """Set means and variances of a layer of ``standardized`` from ``features`` [N, …, C].

    Small variances have a floor, see ``standardization.floored``.
    """
    fitted = fit_standardization(features.reshape(-1, layer.moving_mean.shape[0]))
    layer.moving_mean.assign(fitted.mean)
    layer.moving_variance.assign(fitted.scale**2)


def for_standardized(
    layer: keras.layers.BatchNormalization, kernel: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a linear classifier of raw features as one of the outputs of a ``standardized`` layer.

    Args:
        layer: with its statistics set.
        kernel: [D, C], of raw features.
        bias: [C].

    Returns:
        Kernel float64 [D, C] and bias float64 [C] that give the same logits.
    """
    mean, variance = (
        np.asarray(one, np.float64) for one in (layer.moving_mean, layer.moving_variance)
    )
    return kernel * np.sqrt(variance + layer.epsilon)[:, np.newaxis], bias + mean @ kernel


def norm_relu(x: Any, settings: HeadSettings) -> Any:
    """Return the output of a hidden layer after normalisation and ReLU."""
    width = settings.hidden_units
    norm = norm_layer(settings.norm, "head_norm", width, groups=settings.groups, dtype="float32")
    return layers.ReLU(name="head_relu", dtype="float32")(norm(x) if norm else x)


def average(x: Any, name: str) -> Any:
    """Return the mean over positions of maps [B, h, w, C]: [B, C]."""
    return layers.GlobalAveragePooling2D(name=name, dtype="float32")(x)


def classify(vector: Any, settings: HeadSettings) -> Any:
    """Return logits [B, classes] of a vector [B, D] after dropout."""
    initial = keras.initializers.GlorotUniform(settings.seed)
    return logits(drop(vector, settings), settings, initial)


def logits(vector: Any, settings: HeadSettings, initial: keras.initializers.Initializer) -> Any:
    """Return logits [B, classes] of a vector [B, D], without dropout."""
    return dense(settings.classes, settings, name="head_logits", kernel_initializer=initial)(vector)


def dense(units: int, settings: HeadSettings, *, name: str, **kwargs: Any) -> keras.layers.Layer:
    """Return a dense layer, with DropConnect if the head uses it."""
    if settings.dropout_settings.kind == "dropconnect":
        seed = zlib.crc32(name.encode()) % 2**30 + settings.seed
        return DropConnectDense(units, settings.dropout, seed, name=name, dtype="float32", **kwargs)
    return layers.Dense(units, name=name, dtype="float32", **kwargs)


def drop(
    x: Any, settings: HeadSettings, *, name: str = "head_dropout", seed: int | None = None
) -> Any:
    """Return a vector [B, D] or maps [B, h, w, C] after dropout.

    A channel of a pooled vector is a single number: there spatial dropout is dropout.
    """
    kind = settings.dropout_settings.kind
    if kind == "dropconnect":  # applied inside the dense layers
        return x
    layer = _DROPOUT_LAYERS["dropout" if kind == "spatial" and len(x.shape) == 2 else kind]
    layer_seed = settings.seed if seed is None else seed
    return layer(settings.dropout, seed=layer_seed, name=name, dtype="float32")(x)


_DROPOUT_LAYERS: Mapping[str, Callable[..., keras.layers.Layer]] = MappingProxyType(
    {
        "dropout": layers.Dropout,
        "gaussian": layers.GaussianDropout,
        "spatial": layers.SpatialDropout2D,
        "alpha": layers.AlphaDropout,
    }
)
