"""A backbone of the user's own: any Keras image model without its head, from a file."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras

from tltool.errors import UsageError, first_line
from tltool.models.backbone import Backbone, ModelFile, PreprocessMode
from tltool.models.own_file import read_model
from tltool.models.own_layers import SharedLayerError, copied_output
from tltool.models.own_stages import find_stages, map_side
from tltool.models.preprocessing import preprocessed
from tltool.runs.digests import file_digest

_DEFAULT_SIDE = 224  # of a model that takes images of any size
_GREY_LEVELS = 255.0
_LARGEST_UNIT_MEAN = 2.0  # a mean above it is one of 0…255
_CHOICES = (
    "tf (-1 to 1), torch (ImageNet mean and deviation), unit (0 to 1), tf128, lite, caffe, or none "
    "for 0 to 255"
)


def read_own_backbone(
    path: Path, preprocessing: PreprocessMode | None = None, *, side: int | None = None
) -> Backbone:
    """Return the description of the backbone in a file.

    Args:
        path: a ``.keras`` file, or a whole model in an ``.h5`` file, without its head.
        preprocessing: what its input expects; None where the model scales its input itself.
        side: of the images; None for that of the model, or 224 where it takes any.

    Raises:
        UsageError: the file is no such model, it cannot take images of this size, or the
            preprocessing is not known.
    """
    digest = file_digest(path)
    model = _opened(path, digest)
    _check_ends(model, path)
    mode = _preprocessing(model, preprocessing, path)
    own = _own_side(model, path)
    size = side or own or _DEFAULT_SIDE
    stages = find_stages(_extractor(model, mode, own or _DEFAULT_SIDE, path))
    extractor = _extractor(model, mode, size, path)
    sides = tuple(map_side(extractor.get_layer(stage.layer)) for stage in stages)
    from_hub = any(x.__class__.__module__.startswith("keras_hub.") for x in extractor.layers)
    norms = any(isinstance(x, keras.layers.BatchNormalization) for x in extractor.layers)
    return Backbone(
        path.stem,
        "hub" if from_hub else "own",
        "",
        own or _DEFAULT_SIDE,
        mode,
        stages,
        extractor.count_params(),
        "",
        "your own",
        1,
        norm_channels=int(norms),
        file=ModelFile(path.absolute(), digest, sides),
    )


def own_output(backbone: Backbone, pixels: Any, *, weights: bool) -> Any:
    """Return the feature map [B, h, w, K] of the backbone on preprocessed images.

    Args:
        backbone: what ``read_own_backbone`` returned.
        pixels: symbolic tensor [B, H, W, C], the output of ``preprocessed``.
        weights: whether its layers get the weights of the file.

    Raises:
        UsageError: the file changed since, or it cannot take images of this size.
    """
    file = backbone.file
    assert file is not None
    if file_digest(file.path) != file.sha256:
        raise UsageError(
            f"'{file.path}' was changed since it was checked", hint="start the run again"
        )
    return _output(_opened(file.path, file.sha256), pixels, file.path, weights=weights)


def forget() -> None:
    """Free the memory of the model that was read last."""
    _opened.cache_clear()


@functools.lru_cache(maxsize=1)
def _opened(path: Path, digest: str) -> keras.Model:
    """Return the model of a file; of the same file the same, which is only read."""
    del digest
    return read_model(path)


def _check_ends(model: keras.Model, path: Path) -> None:
    """Check that the model takes one image and ends in a feature map."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UsageError(
            f"'{path}' has {len(model.inputs)} inputs and {len(model.outputs)} outputs; a backbone "
            "takes one image and gives one feature map",
            hint="save keras.Model(model.inputs[0], model.get_layer(NAME).output)",
        )
    shape = model.inputs[0].shape
    if len(shape) != 4 or shape[-1] not in (1, 3):
        raise UsageError(
            f"the input of '{path}' has the shape {_text(shape)}; that of a backbone is (height, "
            "width, 3), or (height, width, 1) for greyscale",
            hint="channels come last: keras.Input((224, 224, 3))",
        )
    if len(model.outputs[0].shape) != 4:
        raise _has_head(model, path)


def _has_head(model: keras.Model, path: Path) -> UsageError:
    last = model.outputs[0]._keras_history.operation
    where = _last_map(model)
    hint = "a backbone ends in feature maps (height, width, channels)"
    if where is not None:
        hint = (
            f"cut it at its last feature map: keras.Model(model.inputs, "
            f"model.get_layer('{where}').output).save('backbone.keras')"
        )
    return UsageError(
        f"'{path}' ends in the layer '{last.name}' ({type(last).__name__}) of shape "
        f"{_text(model.outputs[0].shape)}, not in a feature map: its head is still on",
        hint=hint,
    )


def _last_map(model: keras.Model) -> str | None:
    """Return the last layer whose output is a feature map."""
    names = [
        layer.name
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer)
        and len(getattr(layer.output, "shape", ())) == 4
    ]
    return names[-1] if names else None


def _own_side(model: keras.Model, path: Path) -> int | None:
    """Return the side of the images for which a model was built; None for any."""
    height, width = model.inputs[0].shape[1:3]
    if height is None or width is None:
        return None
    if height != width and _takes_one_size(model, path, height):
        raise UsageError(
            f"'{path}' takes images of {height} x {width} pixels only, and tltool makes images "
            "square",
            hint="build it for square images, or for any size: keras.Input((None, None, 3))",
        )
    return int(height)


def _takes_one_size(model: keras.Model, path: Path, own: int) -> bool:
    """Whether a model takes images of its own size only."""
    images = keras.Input((own, own, model.inputs[0].shape[-1]))
    try:
        _output(model, images, path, weights=False)
    except UsageError:
        return True
    return False


def _extractor(model: keras.Model, mode: PreprocessMode, side: int, path: Path) -> keras.Model:
    images = keras.Input((side, side, 3), name="images", dtype="float32")
    pixels = preprocessed(images, mode)
    return keras.Model(images, _output(model, pixels, path, weights=False))


def _output(model: keras.Model, pixels: Any, path: Path, *, weights: bool) -> Any:
    """Return the output of a flat copy of the model on ``pixels``.

    Raises:
        UsageError: it cannot take images of this size, or a layer is used several times.
    """
    if pixels.shape[-1] == 1 and _scaling(model):
        # the preprocessing ``grey`` ends in 0…1, and the model scales 0…255 itself
        pixels = keras.layers.Rescaling(_GREY_LEVELS, name="grey_levels", dtype="float32")(pixels)
    try:
        return copied_output(model, pixels, weights=weights)
    except SharedLayerError as error:
        raise UsageError(
            f"'{path}' uses the layer '{error}' at several places, which tltool cannot train",
            hint="use a layer of its own at each place",
        ) from None
    except Exception as error:  # Keras raises errors of any type
        own, side = model.inputs[0].shape[1], pixels.shape[1]
        if own is not None and own != side:
            raise UsageError(
                f"'{path}' takes images of {own} x {own} pixels only, not {side} x {side}",
                hint=f"--set data.image_size={own}, or leave it out",
            ) from None
        raise UsageError(
            f"'{path}' cannot compute images of {side} x {side} pixels: {first_line(error)}",
            hint="set data.image_size to another size",
        ) from None


def _preprocessing(
    model: keras.Model, requested: PreprocessMode | None, path: Path
) -> PreprocessMode:
    """Return the mapping of 0…255 to the model's input.

    Raises:
        UsageError: it is not known, or does not fit the model.
    """
    grey = model.inputs[0].shape[-1] == 1
    scaling = _scaling(model)
    if grey:
        if requested not in (None, "grey"):
            raise UsageError(
                f"'{path}' takes greyscale images, and model.preprocessing is {requested}",
                hint="--set model.preprocessing=grey, which gives 0 to 1",
            )
        return "grey"
    if requested == "grey":
        raise UsageError(
            f"'{path}' takes colour images, and model.preprocessing is grey", hint=_CHOICES
        )
    if scaling is not None:
        if requested not in (None, "none"):
            raise UsageError(
                f"'{path}' scales its input itself, in the layer '{scaling}', and "
                f"model.preprocessing {requested} would scale it a second time",
                hint="leave model.preprocessing out",
            )
        return "none"
    if requested is None:
        raise UsageError(
            f"'{path}' does not scale its input itself: it is not known what pixels it expects",
            hint=f"--set model.preprocessing=MODE, the one it was trained with: {_CHOICES}",
        )
    return requested


def _scaling(model: keras.Model) -> str | None:
    """Return the layer that scales the input: one before the first layer that is trained."""
    # a sequential model has layers alone
    for operation in getattr(model, "operations", model.layers):
        if isinstance(operation, keras.layers.Rescaling) or _normalizes_bytes(operation):
            return str(operation.name)
        if isinstance(operation, keras.Model):
            inside = _scaling(operation)
            if inside is not None:
                return inside
        if getattr(operation, "weights", None):
            return None
    return None


def _normalizes_bytes(operation: Any) -> bool:
    """Whether it normalises pixels in 0…255, and not in 0…1."""
    if not isinstance(operation, keras.layers.Normalization):
        return False
    return float(keras.ops.max(operation.mean)) > _LARGEST_UNIT_MEAN


def _text(shape: tuple[int | None, ...]) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in shape[1:])
    return f"({sizes})"
