"""KerasHub, the extra ``hub``: whether it is there, and references to its presets."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from tltool.errors import EnvironmentProblem
from tltool.runs.install_hint import install_hint

_OF_EVERY_LAYER = ("name", "dtype", "trainable")
_WITHOUT_TENSORFLOW = "pip install --no-deps keras-hub kagglehub tokenizers"


def import_hub() -> Any:
    """Return the module ``keras_hub``, whose import registers its layers.

    Raises:
        EnvironmentProblem: it is not installed.
    """
    check_hub()
    module = importlib.import_module("keras_hub")
    _accept_own_settings()
    return module


def _accept_own_settings() -> None:
    """Let layers of KerasHub be read from the settings that they write.

    Some of KerasHub 0.32 write keys that they do not take, such as ``key_dim`` of the blocks of a
    ViT: a model with them could be saved but not loaded.
    """
    import keras

    waiting = keras.layers.Layer.__subclasses__()
    while waiting:
        layer = waiting.pop()
        waiting += layer.__subclasses__()
        if layer.__module__.startswith("keras_hub.") and "from_config" not in vars(layer):
            takes = {*inspect.signature(layer.__init__).parameters, *_OF_EVERY_LAYER}
            layer.from_config = classmethod(functools.partial(_from_known, takes))


def _from_known(takes: set[str], layer: Any, config: Mapping[str, Any]) -> Any:
    """Return a layer from those of its settings that it takes."""
    return layer(**{key: value for key, value in config.items() if key in takes})


def check_hub() -> None:
    """Check, without importing it, that KerasHub is installed.

    Raises:
        EnvironmentProblem: it is not.
    """
    if find_spec("keras_hub") is None:
        raise EnvironmentProblem(
            "this backbone needs KerasHub, which is not installed: pip install 'tltool[hub]'",
            hint=_how_to_install(),
        )


def _how_to_install() -> str:
    try:
        importlib.metadata.version("tensorflow-cpu")
    except importlib.metadata.PackageNotFoundError:
        return install_hint("hub")
    return (
        "the extra would install tensorflow over the tensorflow-cpu of this environment; what is "
        f"needed here: {_WITHOUT_TENSORFLOW}"
    )
