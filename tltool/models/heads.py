"""Classifier heads on a backbone's feature map; logits are float32 under every policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import keras
from keras import layers

from tltool.errors import UsageError, did_you_mean
from tltool.models.backbone_registry import OriginalHead
from tltool.models.head_parts import (
    DEFAULT_DROPOUT,
    DropoutSettings,
    HeadSettings,
    average,
    classify,
    dense,
    drop,
    logits,
    norm_relu,
    original_initializer,
    standardized,
)

LINEAR_HEADS = frozenset({"gap", "gap_conv", "gap_max", "attention"})
"""Heads that can be initialised from a linear probe of the averaged features."""
HEAD_PREFIX = "head_"
_ATTENTION_UNITS = 128  # Ilse et al. have 64 to 256


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
    dropout_settings: DropoutSettings = DEFAULT_DROPOUT,
    groups: int | None = None,
    standardize: bool = False,
) -> Any:
    """Return float32 logits ``[B, classes]`` for a feature map ``[B, h, w, C]``.

    Args:
        features: symbolic tensor, the backbone's output.
        kind: a key of ``HEADS``.
        classes: number of logits.
        dropout: dropout rate before the last layer with weights; of every hidden layer with
            ``original``.
        hidden_units: width of the hidden layer of ``mlp`` and ``flatten``; the others ignore it.
        norm: one of ``norms.NORMS``, of that hidden layer.
        seed: of the initial weights and of dropout.
        original: the head of the backbone's paper, for ``original``.
        dropout_settings: dropout settings.
        groups: of group normalisation; None for 32, or the largest divisor of the units below.
        standardize: put a layer ``head_standardize`` before the first weights and dropout, for
            ``set_statistics``.

    Every layer is named ``head_…``; the pooled vector of ``gap``, ``gap_max`` and ``mlp``, and the
    flat one of ``flatten`` and ``original``, is the output of ``head_pool``.
    """
    if kind not in HEADS:
        message = f"There is no head '{kind}'.{did_you_mean(kind, HEADS)}"
        raise UsageError(message, hint=f"choose one of {', '.join(HEADS)}")
    settings = HeadSettings(
        classes, dropout, hidden_units, norm, seed, original, dropout_settings, groups, standardize
    )
    return HEADS[kind].build(features, settings)


def _gap(features: Any, settings: HeadSettings) -> Any:
    return classify(standardized(average(features, "head_pool"), settings), settings)


def _gap_max(features: Any, settings: HeadSettings) -> Any:
    mean = average(features, "head_average")
    maximum = layers.GlobalMaxPooling2D(name="head_max", dtype="float32")(features)
    pooled = layers.Concatenate(name="head_pool", dtype="float32")([mean, maximum])
    return classify(standardized(pooled, settings), settings)


def _gap_conv(features: Any, settings: HeadSettings) -> Any:
    """Class maps, then their mean (Lin et al. 2014, https://arxiv.org/abs/1312.4400)."""
    if settings.dropout_settings.kind == "dropconnect":
        raise UsageError(
            "DropConnect drops weights of dense layers, and the head 'gap_conv' has none.",
            hint="set model.head.kind to gap, or model.head.dropout_kind to another",
        )
    kept = drop(standardized(features, settings), settings)
    conv = layers.Conv2D(
        settings.classes,
        1,
        kernel_initializer=keras.initializers.GlorotUniform(settings.seed),
        name="head_conv",
        dtype="float32",
    )
    return average(conv(kept), "head_logits")


def _mlp(features: Any, settings: HeadSettings) -> Any:
    # Instance norm is over positions; on a pooled vector it would make every number zero.
    if settings.norm == "instance":
        hidden = norm_relu(_hidden_map(standardized(features, settings), settings), settings)
        return classify(average(hidden, "head_pooled_map"), settings)
    pooled = standardized(average(features, "head_pool"), settings)
    return classify(norm_relu(_hidden_dense(pooled, settings), settings), settings)


def _flatten(features: Any, settings: HeadSettings) -> Any:
    """Every position has weights of its own, as in LeNet, AlexNet and VGG."""
    if settings.norm == "instance":
        raise UsageError(
            "The head 'flatten' has no instance normalisation: it has no positions to average.",
            hint="set model.head.norm to batch, layer, group or none",
        )
    flat = _flat(features, settings)
    return classify(norm_relu(_hidden_dense(flat, settings), settings), settings)


def _flat(features: Any, settings: HeadSettings) -> Any:
    """Return all positions as a vector, after spatial dropout of the feature maps if configured."""
    flat = layers.Flatten(name="head_pool", dtype="float32")(features)
    if settings.dropout_settings.kind != "spatial" and not settings.standardize:
        return flat
    maps = layers.Reshape(features.shape[1:], name="head_maps", dtype="float32")(flat)
    maps = standardized(maps, settings)
    if settings.dropout_settings.kind == "spatial":
        maps = drop(maps, settings, name="head_dropout_maps")
    return layers.Flatten(name="head_flat", dtype="float32")(maps)


def _original(features: Any, settings: HeadSettings) -> Any:
    """The classifier of the backbone's paper, with dropout after each hidden layer."""
    if not settings.original.hidden:
        return _gap(features, settings)
    if settings.original.pooled:
        x = standardized(average(features, "head_pool"), settings)
    else:
        x = _flat(features, settings)
    activation = settings.original.activation
    for number, units in enumerate(settings.original.hidden, start=1):
        seed = settings.seed + number
        x = dense(
            units,
            settings,
            name=f"head_dense{number}",
            activation=activation,
            kernel_initializer=original_initializer(activation, seed),
        )(x)
        x = drop(x, settings, name=f"head_dropout{number}", seed=seed)
    return logits(x, settings, original_initializer(activation, settings.seed))


def _attention(features: Any, settings: HeadSettings) -> Any:
    """A mean over positions whose weights are learnt (Ilse et al. 2018).

    The weight of position x is ``softmax(w tanh(V x))`` over all positions; attention dropout drops
    weights (Vaswani et al. 2017). Initially it is the unweighted mean. Reference:
    https://arxiv.org/abs/1802.04712
    """
    height, width, channels = features.shape[1:]
    features = standardized(features, settings)
    hidden = layers.Conv2D(
        _ATTENTION_UNITS,
        1,
        activation="tanh",
        kernel_initializer=keras.initializers.GlorotUniform(settings.seed + 1),
        name="head_attention_hidden",
        dtype="float32",
    )(features)
    score = layers.Conv2D(
        1,
        1,
        use_bias=False,
        kernel_initializer="zeros",
        name="head_attention_score",
        dtype="float32",
    )(hidden)
    row = layers.Reshape((1, height * width), name="head_attention_row", dtype="float32")(score)
    weights = layers.Softmax(name="head_attention", dtype="float32")(row)
    kept = layers.Dropout(
        settings.dropout_settings.attention, seed=settings.seed + 1, name="head_attention_dropout",
        dtype="float32",
    )(weights)  # fmt: skip
    values = layers.Reshape((height * width, channels), name="head_positions", dtype="float32")(
        features
    )
    mean = layers.Dot((2, 1), name="head_attended", dtype="float32")([kept, values])
    vector = layers.Reshape((channels,), name="head_vector", dtype="float32")(mean)
    return classify(vector, settings)


def _hidden_dense(vector: Any, settings: HeadSettings) -> Any:
    _check_hidden_units(settings)
    hidden = dense(
        settings.hidden_units,
        settings,
        name="head_dense",
        kernel_initializer=keras.initializers.HeNormal(settings.seed + 1),
    )
    return hidden(vector)


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


HEADS: Mapping[str, HeadSpec] = MappingProxyType(
    {
        "gap": HeadSpec("mean over positions, dropout, one dense layer", _gap),
        "gap_conv": HeadSpec("dropout, 1x1 convolution to classes, mean over positions", _gap_conv),
        "gap_max": HeadSpec("mean and maximum over positions, dropout, one dense layer", _gap_max),
        "mlp": HeadSpec("mean over positions, hidden layer with norm, dropout, dense", _mlp),
        "flatten": HeadSpec("all positions, hidden layer with norm, dropout, dense", _flatten),
        "attention": HeadSpec(
            "mean over positions with learnt weights, dropout, dense", _attention
        ),
        "original": HeadSpec("the classifier of the backbone's paper", _original),
    }
)
