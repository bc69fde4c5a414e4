"""Turn a preset of KerasHub into the file of a Keras model that is a backbone of the user's own.

A transformer's encoder, one layer in KerasHub, is unfolded into its blocks, which become stages.
Tokens of patches become a feature map at the end, without class and register tokens: the
classifier then takes the mean of the patch tokens (Beyer et al. 2022,
https://arxiv.org/abs/2205.01580), and Grad-CAM weights the map of tokens by its gradients.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from tltool.errors import UsageError, did_you_mean, first_line, some_of
from tltool.models.hub_extra import import_hub
from tltool.models.own_file import check_description

_MAX_EXTRA_TOKENS = 16  # class, distillation and register tokens, which come first


def convert_preset(preset: str, file: Path) -> None:
    """Write the vision backbone of a preset as a ``.keras`` file.

    Args:
        preset: a folder that ``save_to_preset`` wrote, or the name of a preset of KerasHub, which
            is downloaded.
        file: what to write.

    Raises:
        UsageError: there is no such preset, or it is no image model.
        EnvironmentProblem: KerasHub is not installed.
    """
    hub = import_hub()
    folder = Path(preset)
    if folder.is_dir():
        _check_folder(folder)
    else:
        check_name(preset)
    try:
        backbone = hub.models.Backbone.from_preset(preset)
    except Exception as error:  # KerasHub raises errors of any type
        raise UsageError(
            f"the preset '{preset}' cannot be read: {first_line(error)}",
            hint="give a folder that save_to_preset wrote, or a name of a preset of KerasHub",
        ) from None
    try:
        _as_feature_extractor(hub, backbone, preset).save(file)
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise UsageError(
            f"the network of the preset '{preset}' ({type(backbone).__name__}) cannot be used as a "
            f"backbone: KerasHub cannot save its layers ({first_line(error)})",
            hint="choose another, such as a ViT, DINOv2 or SigLIP",
        ) from None


def _check_folder(folder: Path) -> None:
    """Check that the description in a folder names only classes of Keras and KerasHub."""
    file = folder / "config.json"
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(
            f"'{folder}' is no preset of KerasHub: its config.json cannot be read",
            hint="give a folder that save_to_preset wrote",
        ) from None
    check_description(description, file)


def check_name(preset: str) -> None:
    """Check that KerasHub has a preset of this name.

    Raises:
        UsageError: it has none.
        EnvironmentProblem: KerasHub is not installed.
    """
    known = list(import_hub().models.Backbone.presets)
    if preset not in known:
        near = did_you_mean(preset, known)
        raise UsageError(
            f"KerasHub has no preset '{preset}', and there is no folder of this name.{near}",
            hint=f"such as {some_of([one for one in known if one.startswith('vit_')], 3)}",
        )


def _as_feature_extractor(hub: Any, backbone: Any, preset: str) -> keras.Model:
    """Return a model from images to a feature map, with its scaling inside."""
    backbone = getattr(backbone, "vision_encoder", backbone)
    shapes = [tensor.shape for tensor in backbone.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise UsageError(
            f"the preset '{preset}' is no image model", hint="choose one of an image classifier"
        )
    body = keras.Model(backbone.inputs, _features(backbone))
    images = keras.Input(shapes[0][1:], name="images")
    scaled = _scaled(hub, images, preset)
    features = body._run_through_graph([scaled], call_fn=_unfolded)  # as keras.models.clone_model
    features = keras.tree.flatten(features)[0]
    if len(features.shape) == 3:
        features = _as_map(features, backbone, images)
    return keras.Model(images, features, name=Path(preset).name)


def _features(backbone: Any) -> Any:
    """Return the last feature map or the last tokens of a backbone."""
    outputs = keras.tree.flatten(backbone.outputs)
    maps = [tensor for tensor in outputs if len(tensor.shape) == 4]
    if maps:
        return min(maps, key=lambda tensor: tensor.shape[1] or math.inf)
    candidates = [*outputs, *(layer.output for layer in reversed(backbone.layers))]
    return next(
        tensor
        for candidate in candidates
        for tensor in keras.tree.flatten(candidate)
        if len(tensor.shape) in (3, 4)
    )


def _scaled(hub: Any, images: Any, preset: str) -> Any:
    """Return images scaled as the preset says; as they are if it says nothing."""
    try:
        converter = hub.layers.ImageConverter.from_preset(preset)
    except Exception:  # a preset without one
        return images
    if converter.scale is None:
        return images
    offset = 0.0 if converter.offset is None else converter.offset
    return keras.layers.Rescaling(converter.scale, offset, name="scale", dtype="float32")(images)


def _as_map(tokens: Any, backbone: Any, images: Any) -> Any:
    """Return tokens [B, T, D] as a feature map [B, h, w, D], without those that are no patch."""
    count = tokens.shape[1]
    rows, columns = _grid(backbone, images, count)
    extra = count - rows * columns
    if extra:
        tokens = keras.layers.Cropping1D((extra, 0), name="patch_tokens")(tokens)
    return keras.layers.Reshape((rows, columns, tokens.shape[-1]), name="token_map")(tokens)


def _grid(backbone: Any, images: Any, count: int) -> tuple[int, int]:
    patch = getattr(backbone, "patch_size", None)
    if patch is not None and images.shape[1] is not None:
        height, width = (patch, patch) if isinstance(patch, int) else patch
        grid = images.shape[1] // height, images.shape[2] // width
        if 0 <= count - grid[0] * grid[1] <= _MAX_EXTRA_TOKENS:
            return grid
    side = math.isqrt(count)
    return side, side


def _unfolded(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the outputs of a layer; of an encoder, those of its blocks one after another."""
    unfold = _ENCODERS.get(type(layer).__name__)
    return unfold(layer, *args, **kwargs) if unfold else layer(*args, **kwargs)


def _vit(encoder: Any, tokens: Any) -> Any:
    for block in encoder.encoder_layers:
        tokens = block(tokens)
    return encoder.layer_norm(tokens)


def _dino(encoder: Any, tokens: Any, **positions: Any) -> Any:
    for block in encoder.layers:
        tokens = block(tokens, **positions)
    return tokens, {f"stage{number}": tokens for number in range(1, len(encoder.layers) + 1)}


_ENCODERS: Mapping[str, Callable[..., Any]] = {
    "ViTEncoder": _vit,
    "DINOV2Encoder": _dino,
    "DINOV3Encoder": _dino,
}
