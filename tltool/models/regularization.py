"""Regularization inside a backbone: stochastic depth, DropBlock, another normalisation.

The network is rebuilt with inserted layers; existing layers keep their names and variables, so
pretrained weights still fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from tltool.models.backbone_registry import Backbone
from tltool.models.dropout import DropBlock, DropConnectDense
from tltool.models.norms import norm_layer
from tltool.models.regularization_spec import RegularizationSpec, check_regularization

_DROP_BLOCK_STAGES = 2  # last stages; the paper applies it to groups 3 and 4 of ResNet-50

Call = Callable[..., Any]


def regularize_backbone(
    model: keras.Model,
    backbone: Backbone,
    settings: RegularizationSpec,
    *,
    pretrained: bool,
    seed: int,
) -> keras.Model:
    """Return the feature extractor ``model`` (images to maps), rebuilt with regularization.

    Args:
        model: without loaded weights: the weights of the rebuilt model are new.
        backbone: its registry entry.
        settings: the regularization.
        pretrained: whether pretrained weights will be loaded.
        seed: of the random masks.

    Raises:
        UsageError: see ``check_regularization``.
    """
    if settings.identity:
        return model
    side = min(model.input.shape[1:3])
    check_regularization(backbone, settings, side=side, pretrained=pretrained)
    adds = [layer.name for layer in model.layers if isinstance(layer, layers.Add)]
    before: dict[str, list[Call]] = {}
    after: dict[str, list[Call]] = {}
    if settings.drop_block:
        _plan_drop_block(model, backbone, settings.drop_block, seed, before, after)
    if settings.stochastic_depth:
        _plan_stochastic_depth(adds, settings.stochastic_depth, seed, before)

    branches = _residual_branches(model)

    def call(layer: keras.layers.Layer, *inputs: Any, **kwargs: Any) -> Any:
        if layer.name in before:
            summands = list(inputs[0])
            residual = branches[layer.name]
            for drop in before[layer.name]:
                summands[residual] = drop(summands[residual])
            inputs = (summands,)
        # batch normalisation was called with mask=None, which other layers do not accept
        known = {name: value for name, value in kwargs.items() if value is not None}
        output = layer(*inputs, **known)
        for drop in after.get(layer.name, ()):
            output = drop(output)
        return output

    replace = _norm_replacer(settings)
    return keras.models.clone_model(model, clone_function=replace, call_function=call)


def _residual_branches(model: keras.Model) -> dict[str, int]:
    """Return the position of the residual branch in each addition: the input of the longer path.

    Keras' EfficientNet and Xception add the shortcut last, the other networks first.
    """
    depths: dict[int, int] = {}
    branches = {}
    for operation in model.operations:  # the preprocessing does not consist of layers
        of_input = isinstance(operation, layers.InputLayer)
        inputs = [] if of_input else keras.tree.flatten(operation.input)
        before = [depths[id(tensor)] for tensor in inputs]
        depths[id(operation.output)] = 1 + max(before, default=0)
        if isinstance(operation, layers.Add):
            branches[operation.name] = int(before[1] >= before[0])
    return branches


def _plan_stochastic_depth(
    adds: Sequence[str], last: float, seed: int, before: dict[str, list[Call]]
) -> None:
    """Block l of L is skipped with l / L of the probability of the last (Huang et al. 2016).

    Each image is drawn independently, and kept branches are divided by their probability
    (keras-cv's DropPath), so that inference uses all blocks unchanged. Reference: https://arxiv.org/abs/1603.09382
    """
    # imported here: KerasCV takes seconds, and few recipes need it
    from tltool.augment.keras_cv_operations import DropPath

    for number, name in enumerate(adds, start=1):
        drop = DropPath(last * number / len(adds), seed=seed + number, name=f"{name}_drop_path")
        before.setdefault(name, []).append(drop)


def _plan_drop_block(
    model: keras.Model,
    backbone: Backbone,
    settings: tuple[float, int],
    seed: int,
    before: dict[str, list[Call]],
    after: dict[str, list[Call]],
) -> None:
    """DropBlock on residual branches, or else after convolutions, of the last two stages."""
    rate, side = settings
    for number, layer in enumerate(_last_stages(model, backbone)):
        residual = isinstance(layer, layers.Add)
        drop = DropBlock(rate, side, seed + number, name=f"{layer.name}_drop_block")
        (before if residual else after).setdefault(layer.name, []).append(drop)


def _last_stages(model: keras.Model, backbone: Backbone) -> list[keras.layers.Layer]:
    """Return the additions, or else the convolutions, of the last two stages."""
    earlier = backbone.stages[:-_DROP_BLOCK_STAGES]
    known: set[str] = set()
    if earlier:
        output = model.get_layer(earlier[-1].layer).output
        known = {layer.name for layer in keras.Model(model.inputs, output).layers}
    late = [layer for layer in model.layers if layer.name not in known]
    kind = layers.Add if any(isinstance(one, layers.Add) for one in model.layers) else layers.Conv2D
    last = backbone.stages[-1].layer  # its output is the head's input: nothing is dropped there
    return [layer for layer in late if isinstance(layer, kind) and layer.name != last]


def _norm_replacer(
    settings: RegularizationSpec,
) -> Callable[[keras.layers.Layer], keras.layers.Layer]:
    """Return a function that copies a layer, replacing batch normalisation."""
    norm = settings.norm
    if norm == "batch":
        return _copied

    def replaced(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, layers.BatchNormalization):
            return _copied(layer)
        if norm == "sync_batch":
            config = {**layer.get_config(), "synchronized": True}
            return layers.BatchNormalization.from_config(config)
        other = norm_layer(norm, layer.name, layer.input.shape[-1], groups=settings.groups)
        return other or layers.Identity(name=layer.name)

    return replaced


def _copied(layer: keras.layers.Layer) -> keras.layers.Layer:
    return type(layer).from_config(layer.get_config())


def for_inference(model: keras.Model) -> keras.Model:
    """Return ``model`` without layers that only act in training, of Keras' own layers only.

    Its predictions are the same, and it can be loaded without tltool or keras-cv. A model without
    such layers is returned unchanged.
    """
    if not any(_only_trains(layer) for layer in model.layers):
        return model
    copy = keras.models.clone_model(model, clone_function=_inference_layer)
    for old, new in zip(model.layers, copy.layers, strict=True):
        new.set_weights(old.get_weights())
    return copy


def _only_trains(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, DropBlock | DropConnectDense) or type(layer).__name__ == "DropPath"


def _inference_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    config = layer.get_config()
    if isinstance(layer, DropConnectDense):
        del config["rate"], config["seed"]
        return layers.Dense.from_config(config)
    if _only_trains(layer):
        return layers.Identity(name=layer.name, dtype=config["dtype"])
    return _copied(layer)
