"""Load a ``.keras`` file that someone else may have written: first check it, then build it.

Keras' safe mode refuses Python code in the file. It does not refuse layers that read other files,
such as ``StringLookup``, nor layers whose weights are not in the file: Keras allocates them first.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tltool.models.hub_extra import import_hub
from tltool.runs.zip_sizes import check_zip
from tltool.weights.hdf5_file import open_hdf5, stored_elements

if TYPE_CHECKING:
    import keras

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_LAYERS = """
    Activation AdaptiveAveragePooling2D AdaptiveMaxPooling2D Add AdditiveAttention AlphaDropout
    Attention Average AveragePooling1D AveragePooling2D BatchNormalization CenterCrop Concatenate
    Conv1D Conv2D Conv2DTranspose Cropping1D Cropping2D Dense DepthwiseConv1D DepthwiseConv2D Dot
    Dropout ELU EinsumDense Embedding Flatten Functional GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D
    GroupNormalization GroupQueryAttention Identity InputLayer LayerNormalization LeakyReLU
    MaxPooling1D MaxPooling2D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU
    Permute RMSNormalization ReLU RepeatVector Rescaling Reshape Resizing SeparableConv1D
    SeparableConv2D Sequential Softmax SpatialDropout1D SpatialDropout2D SpectralNormalization
    Subtract UnitNormalization UpSampling2D ZeroPadding1D ZeroPadding2D
    AugMix AutoContrast CutMix Equalization MaxNumBoundingBoxes MixUp RandAugment RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform
    RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert
    RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness
    RandomShear RandomTranslation RandomZoom Solarization
"""
_SETTINGS = ("keras.initializers", "keras.regularizers", "keras.constraints")
_CALCULATIONS = (*_SETTINGS, *(f"keras.src.ops.{name}" for name in ("image", "numpy", "nn")))
_OF_MODULES = {
    "keras.layers": {*_LAYERS.split()},
    "keras.random": {"SeedGenerator"},
    "keras.src.applications.convnext": {"LayerScale", "StochasticDepth"},
    "keras.src.applications.inception_resnet_v2": {"CustomScaleLayer"},
    "keras.src.ops.core": {"Cast", "StopGradient"},
}
_MODELS = {"Functional", "Sequential", "Model"}
_POLICIES = {"DTypePolicy", "DTypePolicyMap"}
_DATA = {"__keras_tensor__", "__numpy__", "__tensor__", "__tuple__", "__slice__", "__ellipsis__"}
_WITHOUT_MODULE = {*_LAYERS.split(), *_MODELS, *_POLICIES, *_DATA, "Policy"}
_HUB_LAYER = "keras_hub>"
_HUB_PLACES = ("keras_hub.src.models.", "keras_hub.src.layers.modeling.")


def load_model_file(path: Path) -> keras.Model:
    """Return the model in a ``.keras`` file, not compiled, after ``check_model_file``.

    Raises:
        ValueError: see ``check_model_file``.
        Exception: of any type, if it is damaged.

    Examples:
        >>> with reading(path, "model file"):
        ...     model = load_model_file(path)
    """
    import keras

    check_model_file(path)
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def check_model_file(path: Path) -> None:
    """Check a ``.keras`` file; only the shapes of its layers are computed, no weight is allocated.

    Raises:
        ValueError: it contains something else than layers that compute, refers to another file, or
            claims more weights than it contains.
        Exception: of any type, if it is damaged.
    """
    import keras

    with zipfile.ZipFile(path) as archive:
        check_zip(archive, path.stat().st_size)
        config = json.loads(archive.read(_CONFIG))
        with _open_member(archive, _WEIGHTS) as member, open_hdf5(member) as weights:
            stored = stored_elements(weights)
    check_classes(config)
    check_claim(lambda: keras.saving.deserialize_keras_object(config, safe_mode=True), stored)


def _open_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Return a member of ``archive``, open for reading; in memory if it is not compressed.

    HDF5 reads here and there, and a member is read again from its start for every step back: for
    the weights of VGG16, 59 MB, that takes 15 times as long. A compressed member may be far larger
    than the file.
    """
    if archive.getinfo(name).compress_type == zipfile.ZIP_STORED:
        return io.BytesIO(archive.read(name))
    return archive.open(name)


def check_claim(build: Callable[[], keras.Model], stored: int) -> None:
    """Check that a model has no more weights than its file contains; none is allocated.

    Args:
        build: makes the model from its configuration.
        stored: how many numbers the file contains.

    Raises:
        ValueError: it has more.
    """
    import keras

    with keras.StatelessScope(initialize_variables=False):  # shapes only
        claimed = sum(math.prod(variable.shape) for variable in build().weights)
    if claimed > stored:
        raise ValueError(f"it claims {claimed:,} weights and contains {stored:,}")


def check_classes(config: Any) -> None:
    """Check that the configuration of a model names only classes that compute.

    Raises:
        ValueError: it names another class.
        EnvironmentProblem: it names one of KerasHub, which is not installed.
    """
    for entry in objects_of(config):
        if not computes(entry):
            name, module = entry["class_name"], entry.get("module") or "an unknown module"
            raise ValueError(f"it contains {module}.{name}, not allowed here")


def computes(entry: Mapping[str, Any]) -> bool:
    """Whether an object of a configuration computes, and does nothing else.

    Args:
        entry: its ``class_name``, ``module`` and ``registered_name``. Keras 2 wrote no module.

    Raises:
        EnvironmentProblem: it is of KerasHub, which is not installed.
    """
    name, module, registered = str(entry["class_name"]), entry.get("module"), _registered(entry)
    if registered or str(module).startswith("keras_hub."):
        return _is_hub_layer(name, str(module), registered)
    if module is None:
        return name in _WITHOUT_MODULE or _is_setting(name)
    if module in ("keras.models", "keras") or str(module).startswith("keras.src.models."):
        return name in _MODELS or name in _POLICIES
    return module in _CALCULATIONS or name in _OF_MODULES.get(module, ())


def _registered(entry: Mapping[str, Any]) -> str:
    """Return the name ``PACKAGE>NAME`` of a class that Keras looks up before its module, or ""."""
    name = entry.get("registered_name")
    return name if isinstance(name, str) and ">" in name else ""


def _is_setting(name: str) -> bool:
    import keras

    places = (keras.initializers, keras.regularizers, keras.constraints)
    return any(isinstance(getattr(place, name, None), type) for place in places)


def _is_hub_layer(name: str, module: str, registered: str) -> bool:
    """Whether a layer or network of KerasHub reads no file: no tokenizer, converter or task."""
    import keras

    known = not registered or registered.startswith(_HUB_LAYER)
    if not known or not module.startswith(_HUB_PLACES):
        return False
    hub = import_hub()
    layer = keras.saving.get_registered_object(registered)
    if not registered:
        layer = getattr(importlib.import_module(module), name, None)
    others = (hub.models.Task, hub.models.Preprocessor, hub.tokenizers.Tokenizer)
    return (
        isinstance(layer, type)
        and issubclass(layer, keras.layers.Layer)
        and layer.__module__.startswith(_HUB_PLACES)
        and not issubclass(layer, (*others, hub.layers.ImageConverter))
    )


def objects_of(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object with a class in the configuration of a model, the outer ones first."""
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "class_name" in item:
                yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
