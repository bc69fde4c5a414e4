"""Read a file of a Keras model that is someone else's: no code of it runs.

What a file may contain is decided in `tltool.models.model_file`; here are the messages for a
backbone, and whole models in ``.h5`` files.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
from keras.src.legacy.saving.saving_utils import model_from_config

from tltool.errors import UsageError, reading
from tltool.models.model_file import check_claim, computes, load_model_file, objects_of
from tltool.runs.zip_sizes import check_zip
from tltool.weights.hdf5_file import open_hdf5, stored_elements

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ZIP_MAGIC = b"PK\x03\x04"
_NO_CODE = "a file of a model is loaded without running code from it"
_HOW_TO_SAVE = "save it with model.save('backbone.keras')"


def read_model(path: Path) -> keras.Model:
    """Return the model in ``path``, a ``.keras`` file or a whole model in an ``.h5`` file.

    Raises:
        UsageError: the file is damaged, holds only weights, or something else than layers of Keras
            or KerasHub that compute.
        EnvironmentProblem: it needs KerasHub, which is not installed.
    """
    hint = f"give a file of a whole Keras model: {_HOW_TO_SAVE}"
    with reading(path, "Keras model", hint=hint, error=UsageError):
        with path.open("rb") as file:
            start = file.read(len(_HDF5_MAGIC))
        if start == _HDF5_MAGIC:
            model = _read_hdf5(path)
        elif start.startswith(_ZIP_MAGIC):
            model = _read_zip(path)
        else:
            raise ValueError("it is neither a .keras nor an .h5 file")
    if not model.built or not getattr(model, "outputs", None):
        raise UsageError(
            f"'{path}' does not say the shape of its input",
            hint="begin it with keras.Input((224, 224, 3)) and save it again",
        )
    return model


def check_description(description: Any, path: Path) -> None:
    """Check that the description of a model names only classes of Keras and KerasHub that compute.

    Raises:
        UsageError: it names another, or an unusable setting.
        EnvironmentProblem: it names one of KerasHub, which is not installed.
    """
    for entry in objects_of(description):
        _check_object(entry, path)


def _read_zip(path: Path) -> keras.Model:
    with zipfile.ZipFile(path) as archive:
        check_zip(archive, path.stat().st_size)
        if "config.json" not in archive.namelist():
            raise ValueError("it is a zip archive without the config.json of a Keras model")
        check_description(json.loads(archive.read("config.json")), path)
    return load_model_file(path)


def _read_hdf5(path: Path) -> keras.Model:
    with open_hdf5(path) as file:
        text, stored = file.attrs.get("model_config"), stored_elements(file)
    if text is None:
        raise UsageError(
            f"'{path}' holds weights only, no network",
            hint=f"name the network with --backbone NAME --weights {path}; or save all of it with "
            "model.save('backbone.keras')",
        )
    description = json.loads(text)
    check_description(description, path)
    check_claim(lambda: model_from_config(description), stored)
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _check_object(entry: dict[str, Any], path: Path) -> None:
    """Check that an object is one of Keras' layers or one of their settings."""
    kind, config = str(entry["class_name"]), entry.get("config")
    name = config.get("name", kind) if isinstance(config, dict) else kind
    if kind in ("Lambda", "__lambda__", "TFOpLambda", "SlicingOpLambda"):
        raise UsageError(
            f"'{path}' has the Lambda layer '{name}', which is code inside the file: {_NO_CODE}",
            hint="replace it by layers of Keras, such as Rescaling, and save the model again",
        )
    if computes(entry):
        _check_data_format(config, name, path)
        return
    if kind == "function":
        kind = name = str(config)
    raise UsageError(
        f"'{path}' has '{name}' of the class {kind}, which is not one of Keras' layers that only "
        f"compute: {_NO_CODE}",
        hint="build the network of Keras' own layers, and save it again",
    )


def _check_data_format(config: Any, name: str, path: Path) -> None:
    if isinstance(config, dict) and config.get("data_format") == "channels_first":
        raise UsageError(
            f"layer '{name}' of '{path}' has the channels first, and TensorFlow computes "
            "convolutions with the channels last",
            hint="build the network with data_format='channels_last', and save it again",
        )
