"""Build a model: preprocessing, backbone and head as one flat Keras model."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras

from tltool.models.backbone_registry import Backbone
from tltool.models.classic_networks import build_alexnet, build_digits_cnn, build_lenet5
from tltool.models.efficientnet_lite import build_efficientnet_lite
from tltool.models.head_parts import DEFAULT_DROPOUT, DropoutSettings, kernel_initializer
from tltool.models.heads import HEAD_PREFIX, attach_head
from tltool.models.keras_applications import build_application
from tltool.models.own_backbone import own_output
from tltool.models.preprocessing import preprocessed
from tltool.models.regularization import regularize_backbone
from tltool.models.regularization_spec import NO_REGULARIZATION, RegularizationSpec
from tltool.models.resnet import build_resnet, build_tiny_resnet, build_tiny_vgg
from tltool.weights.load_weights import fitting_layers, load_weights

BUILDERS: Mapping[str, Callable[[Any], Any]] = {
    "resnet18": partial(build_resnet, 18),
    "resnet34": partial(build_resnet, 34),
    "efficientnet_lite0": partial(build_efficientnet_lite, 0),
    "efficientnet_lite1": partial(build_efficientnet_lite, 1),
    "efficientnet_lite2": partial(build_efficientnet_lite, 2),
    "alexnet": build_alexnet,
    "lenet5": build_lenet5,
    "digits_cnn": build_digits_cnn,
    "tiny_vgg": build_tiny_vgg,
    "tiny_resnet": build_tiny_resnet,
}

_NAMED_BY_KERAS = ("vgg", "resnet", "resnet_v2")  # flat, and every layer has a name
_INPUT_STDDEV = {"vgg": 64.0}  # of its pixels; others have about 1, or normalise their input


def build_model(
    backbone: Backbone,
    *,
    image_size: tuple[int, int],
    classes: int,
    head: str,
    dropout: float,
    hidden_units: int,
    norm: str,
    weights: Path | None,
    seed: int,
    train_batch_norm: bool = False,
    dropout_settings: DropoutSettings = DEFAULT_DROPOUT,
    groups: int | None = None,
    regularization: RegularizationSpec = NO_REGULARIZATION,
) -> keras.Model:
    """Return one flat functional model from images to logits.

    Args:
        backbone: its registry entry.
        image_size: height and width of the input.
        classes: number of logits.
        head: kind of the head, a key of ``heads.HEADS``.
        dropout: dropout rate of the head.
        hidden_units: of the heads ``mlp`` and ``flatten``.
        norm: of the heads ``mlp`` and ``flatten``.
        weights: a file that ``weights.load_weights`` reads, or None for random weights.
        seed: determines random weights and dropout.
        train_batch_norm: False keeps the backbone's BatchNorm in inference mode in every phase.
        dropout_settings: dropout settings of the head.
        groups: number of groups of group normalisation in the head.
        regularization: regularization of the backbone.

    Returns:
        ``images`` float32 ``[B, H, W, 3]`` in 0..255 to ``head_logits`` float32 ``[B, classes]``.

    Raises:
        UsageError: the size is too small for the backbone, the weights do not fit it, or the
            regularization does not apply to it.
    """
    backbone.check_size(*image_size)
    extractor = regularize_backbone(
        _extractor(backbone, image_size, pretrained=weights is not None),
        backbone,
        regularization,
        pretrained=weights is not None,
        seed=seed,
    )
    _fill(extractor, backbone, weights, seed)
    logits = attach_head(
        extractor.output,
        kind=head,
        classes=classes,
        dropout=dropout,
        hidden_units=hidden_units,
        norm=norm,
        seed=seed,
        original=backbone.head,
        dropout_settings=dropout_settings,
        groups=groups,
        standardize=weights is not None,
    )
    # converters take no name with a space in it, as a file may have
    name = "classifier" if backbone.file else f"{backbone.name}_classifier"
    model = keras.Model(extractor.input, logits, name=name)
    _set_batch_norm(model, trainable=train_batch_norm)
    return model


def outline(backbone: Backbone, image_size: tuple[int, int]) -> keras.Model:
    """Return the network of a backbone's paper with its head, without initialised weights.

    A backbone of the user's own has no head.

    It has shapes and names, takes a second where ``build_model`` draws 138 M numbers, and cannot be
    called.

    Raises:
        UsageError: the size is too small for the backbone.
    """
    backbone.check_size(*image_size)
    with keras.StatelessScope(initialize_variables=False):
        extractor = _extractor(backbone, image_size)
        if backbone.file is not None:
            return extractor
        logits = attach_head(
            extractor.output,
            kind="original",
            classes=backbone.head.classes,
            dropout=backbone.head.dropout,
            hidden_units=0,
            norm="none",
            seed=0,
            original=backbone.head,
        )
        return keras.Model(extractor.input, logits, name=backbone.name)


def check_weights(backbone: Backbone, image_size: tuple[int, int], path: Path) -> None:
    """Check that a file of weights fits a backbone, before the network is built.

    Raises:
        UsageError: it does not, or the size is too small for the backbone.
    """
    backbone.check_size(*image_size)
    with keras.StatelessScope(initialize_variables=False):
        extractor = _extractor(backbone, image_size)
    fitting_layers(extractor, path, backbone=backbone.name)


def _extractor(
    backbone: Backbone, image_size: tuple[int, int], *, pretrained: bool = False
) -> keras.Model:
    """Return the model from images to features.

    Its weights are not meant to be used, except those of a model file if ``pretrained`` is set.
    """

    def pixels_of_images() -> Any:
        images = keras.Input((*image_size, 3), name="images", dtype="float32")
        return preprocessed(images, backbone.preprocessing)

    by_keras = backbone.builder not in BUILDERS and backbone.family not in _NAMED_BY_KERAS
    if by_keras and not backbone.file:
        return build_application(backbone.builder, pixels_of_images)
    pixels = pixels_of_images()
    (images,) = keras.utils.get_source_inputs(pixels)
    if backbone.file:
        return keras.Model(images, own_output(backbone, pixels, weights=pretrained))
    if backbone.builder in BUILDERS:
        return keras.Model(images, BUILDERS[backbone.builder](pixels))
    application = getattr(keras.applications, backbone.builder)
    features = application(include_top=False, weights=None, input_tensor=pixels).output
    return keras.Model(images, features)


def _fill(extractor: keras.Model, backbone: Backbone, weights: Path | None, seed: int) -> None:
    if weights is None:
        _randomise(extractor, seed, _INPUT_STDDEV.get(backbone.family, 1.0))
    elif backbone.file is None or weights != backbone.file.path:
        load_weights(extractor, weights, backbone=backbone.name)


def _randomise(extractor: keras.Model, seed: int, stddev: float) -> None:
    """Initialise kernels as a function of ``seed`` and the layer's name.

    keras.applications draws from global state, and with its Glorot initialisation the signal of a
    16-layer ReLU network vanishes (He et al. 2015, https://arxiv.org/abs/1502.01852). The first
    kernel scales pixels of standard deviation ``stddev`` to 1; else VGG's logits start far from 0.
    """
    for layer in extractor.layers:
        for kernel in _kernels(layer):
            name = layer.name if kernel.name == "kernel" else f"{layer.name}/{kernel.name}"
            layer_seed = zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF
            draw = kernel_initializer(keras.activations.serialize(layer.activation), layer_seed)
            kernel.assign(_drawn(layer, kernel, draw) / stddev)
            stddev = 1.0


def _kernels(layer: Any) -> list[Any]:
    if isinstance(layer, keras.layers.SeparableConv2D):
        return [layer.depthwise_kernel, layer.pointwise_kernel]
    kernel = getattr(layer, "kernel", None)
    return [] if kernel is None else [kernel]


def _drawn(layer: Any, kernel: Any, draw: Any) -> Any:
    """Return a kernel whose fan-in is that of the layer: of a depthwise one, a single channel."""
    shape = tuple(kernel.shape)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D) or kernel.name == "depthwise_kernel"
    if not depthwise:
        return draw(shape, "float32")
    rows, columns, channels, multiplier = shape
    return keras.ops.reshape(draw((rows, columns, 1, channels * multiplier), "float32"), shape)


def _set_batch_norm(model: keras.Model, *, trainable: bool) -> None:
    for layer in model.layers:
        of_backbone = not layer.name.startswith(HEAD_PREFIX)
        if of_backbone and isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = trainable
