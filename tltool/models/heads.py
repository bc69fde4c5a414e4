"""Classifier heads on a backbone's feature map; logits are float32 under every policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import keras
from keras import layers

from tltool.errors import UsageError, did_you_mean
from tltool.models.backbones import OriginalHead

LINEAR_HEADS = frozenset({"gap", "gap_conv", "gap_max"})
Norm = Literal["batch", "layer", "group", "instance", "none"]
NORMS: tuple[Norm, ...] = ("batch", "layer", "group", "instance", "none")
HEAD_PREFIX = "head_"


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """What a head builder needs to know beside the features."""

    classes: int
    dropout: float
    hidden_units: int
    norm: str
    seed: int
    original: OriginalHead


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """A kind of head: its one-line summary and the function that builds it."""

    summary: str
    build: Callable[[Any, HeadSettings], Any]


def attach_head(
    features: Any,
    *,
    kind: str,
    classes: int,
    dropout: float,
    hidden_units: int,
    norm: str,
    seed: int,
    original: OriginalHead,
) -> Any:
    """Return float32 logits ``[B, classes]`` for a feature map ``[B, h, w, C]``.

    Args:
        features: symbolic tensor, the backbone's output.
        kind: a key of ``HEADS``.
        classes: how many logits.
        dropout: fraction dropped before the last layer with weights; of every hidden layer with
            ``original``.
        hidden_units: width of the hidden layer of ``mlp`` and ``flatten``; the others ignore it.
        norm: one of ``NORMS``, of that hidden layer.
        seed: of the initial weights and of dropout.
        original: what ``original`` builds, of the backbone's registry entry.

    Every layer is named ``head_…``; the pooled vector of ``gap``, ``gap_max`` and ``mlp``, and the
    flat one of ``flatten`` and ``original``, is the output of ``head_pool``.
    """
    if kind not in HEADS:
        message = f"There is no head '{kind}'.{did_you_mean(kind, HEADS)}"
        raise UsageError(message, hint=f"choose one of {', '.join(HEADS)}")
    settings = HeadSettings(classes, dropout, hidden_units, norm, seed, original)
    return HEADS[kind].build(features, settings)


def _gap(features: Any, settings: HeadSettings) -> Any:
    return _classify(_average(features, "head_pool"), settings)


def _gap_max(features: Any, settings: HeadSettings) -> Any:
    average = _average(features, "head_average")
    maximum = layers.GlobalMaxPooling2D(name="head_max", dtype="float32")(features)
    pooled = layers.Concatenate(name="head_pool", dtype="float32")([average, maximum])
    return _classify(pooled, settings)


def _gap_conv(features: Any, settings: HeadSettings) -> Any:
    """Class maps, then their mean (Lin et al. 2014, https://arxiv.org/abs/1312.4400)."""
    kept = _dropout(settings)(features)
    conv = layers.Conv2D(
        settings.classes,
        1,
        kernel_initializer=keras.initializers.GlorotUniform(settings.seed),
        name="head_conv",
        dtype="float32",
    )
    return _average(conv(kept), "head_logits")


def _mlp(features: Any, settings: HeadSettings) -> Any:
    # Instance norm is over positions; on a pooled vector it would make every number zero.
    if settings.norm == "instance":
        hidden = _norm_relu(_hidden_map(features, settings), settings)
        return _classify(_average(hidden, "head_pooled_map"), settings)
    pooled = _average(features, "head_pool")
    return _classify(_norm_relu(_hidden_dense(pooled, settings), settings), settings)


def _flatten(features: Any, settings: HeadSettings) -> Any:
    """Every position has weights of its own, as in LeNet, AlexNet and VGG."""
    if settings.norm == "instance":
        raise UsageError(
            "The head 'flatten' knows no instance normalisation: it has no positions to average.",
            hint="set model.head.norm to batch, layer, group or none",
        )
    flat = layers.Flatten(name="head_pool", dtype="float32")(features)
    return _classify(_norm_relu(_hidden_dense(flat, settings), settings), settings)


def _original(features: Any, settings: HeadSettings) -> Any:
    """The classifier of the backbone's paper, its hidden layers dropped out one by one."""
    if not settings.original.hidden:
        return _gap(features, settings)
    x = layers.Flatten(name="head_pool", dtype="float32")(features)
    for number, units in enumerate(settings.original.hidden, start=1):
        seed = settings.seed + number
        x = layers.Dense(
            units,
            activation=settings.original.activation,
            kernel_initializer=kernel_initializer(settings.original.activation, seed),
            name=f"head_dense{number}",
            dtype="float32",
        )(x)
        x = layers.Dropout(
            settings.dropout, seed=seed, name=f"head_dropout{number}", dtype="float32"
        )(x)
    return _logits(x, settings)


def kernel_initializer(activation: str, seed: int) -> keras.initializers.Initializer:
    """Return the draw that keeps the size of signals: He et al. 2015 for ReLU, Glorot for tanh."""
    if activation == "tanh":
        return keras.initializers.GlorotUniform(seed)
    return keras.initializers.HeNormal(seed)


def _hidden_dense(vector: Any, settings: HeadSettings) -> Any:
    _check_hidden_units(settings)
    dense = layers.Dense(
        settings.hidden_units,
        kernel_initializer=keras.initializers.HeNormal(settings.seed + 1),
        name="head_dense",
        dtype="float32",
    )
    return dense(vector)


def _hidden_map(features: Any, settings: HeadSettings) -> Any:
    _check_hidden_units(settings)
    conv = layers.Conv2D(
        settings.hidden_units,
        1,
        kernel_initializer=keras.initializers.HeNormal(settings.seed + 1),
        name="head_dense",
        dtype="float32",
    )
    return conv(features)


def _check_hidden_units(settings: HeadSettings) -> None:
    if settings.hidden_units < 1:
        raise UsageError(
            f"The head needs at least 1 hidden unit, not {settings.hidden_units}.",
            hint="set model.head.hidden_units, e.g. 256",
        )


def _norm_relu(x: Any, settings: HeadSettings) -> Any:
    norm = _norm_layer(settings)
    return layers.ReLU(name="head_relu", dtype="float32")(norm(x) if norm else x)


def _norm_layer(settings: HeadSettings) -> keras.layers.Layer | None:
    groups = math.gcd(32, settings.hidden_units)  # 32 is Wu & He's default, it must divide
    makers: Mapping[str, Callable[[], keras.layers.Layer | None]] = {
        "batch": lambda: layers.BatchNormalization(name="head_norm", dtype="float32"),
        "layer": lambda: layers.LayerNormalization(name="head_norm", dtype="float32"),
        "group": lambda: layers.GroupNormalization(groups, name="head_norm", dtype="float32"),
        "instance": lambda: layers.GroupNormalization(-1, name="head_norm", dtype="float32"),
        "none": lambda: None,
    }
    if settings.norm not in makers:
        message = f"There is no norm '{settings.norm}'.{did_you_mean(settings.norm, NORMS)}"
        raise UsageError(message, hint=f"choose one of {', '.join(NORMS)}")
    return makers[settings.norm]()


def _average(x: Any, name: str) -> Any:
    return layers.GlobalAveragePooling2D(name=name, dtype="float32")(x)


def _classify(vector: Any, settings: HeadSettings) -> Any:
    return _logits(_dropout(settings)(vector), settings)


def _logits(vector: Any, settings: HeadSettings) -> Any:
    dense = layers.Dense(
        settings.classes,
        kernel_initializer=keras.initializers.GlorotUniform(settings.seed),
        name="head_logits",
        dtype="float32",
    )
    return dense(vector)


def _dropout(settings: HeadSettings) -> keras.layers.Layer:
    return layers.Dropout(
        settings.dropout, seed=settings.seed, name="head_dropout", dtype="float32"
    )


HEADS: Mapping[str, HeadSpec] = MappingProxyType(
    {
        "gap": HeadSpec("mean over positions, dropout, one dense layer", _gap),
        "gap_conv": HeadSpec("dropout, 1x1 convolution to classes, mean over positions", _gap_conv),
        "gap_max": HeadSpec("mean and maximum over positions, dropout, one dense layer", _gap_max),
        "mlp": HeadSpec("mean over positions, hidden layer with norm, dropout, dense", _mlp),
        "flatten": HeadSpec("all positions, hidden layer with norm, dropout, dense", _flatten),
        "original": HeadSpec("the classifier of the backbone's paper", _original),
    }
)
